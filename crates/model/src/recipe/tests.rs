//! The input-hash: each field counts, nothing runs into its neighbour, explanations name what changed.

use super::*;

fn recipe() -> Recipe {
    let key = |name: &str, subject: &str| InputKey { name: name.to_owned(), subject: subject.to_owned() };
    let file = |bytes: &[u8]| RecipeInput::File {
        digest: Domain::File.digest(bytes),
        executable: false,
        link: None,
    };
    Recipe {
        command: Command::Shell { shell: vec!["sh".into(), "-c".into()], script: "cat a b > c".into() },
        env: BTreeMap::from([("TZ".into(), "UTC".into())]),
        pass_env: BTreeMap::from([("TOKEN".into(), None)]),
        tools: BTreeMap::from([("awk".into(), b"mawk 1.3.4".to_vec())]),
        inputs: BTreeMap::from([(key("left", "a"), file(b"1")), (key("right", "b"), file(b"2"))]),
        outputs: BTreeMap::from([(ProjectPath::parse("c").unwrap(), (String::new(), OutputKind::File))]),
        salt: None,
        platform: "linux-x86_64".into(),
        effect: None,
        records: None,
    }
}

type Change = (&'static str, fn(&mut Recipe));

fn set_input(recipe: &mut Recipe, name: &str, change: impl FnOnce(&mut RecipeInput)) {
    let (_, input) = recipe.inputs.iter_mut().find(|(key, _)| key.name == name).unwrap();
    change(input);
}

/// Each changes one thing that may decide a result.
const CHANGES: &[Change] = &[
    ("the command changed", |r| {
        r.command = Command::Shell { shell: vec!["sh".into(), "-c".into()], script: "cat b a > c".into() };
    }),
    ("the shell changed", |r| {
        r.command = Command::Shell { shell: vec!["sh".into(), "-ec".into()], script: "cat a b > c".into() };
    }),
    ("env `TZ` changed", |r| drop(r.env.insert("TZ".into(), "CET".into()))),
    ("env `X` is new", |r| drop(r.env.insert("X".into(), String::new()))),
    ("environment variable `TOKEN` changed", |r| {
        drop(r.pass_env.insert("TOKEN".into(), Some(String::new())));
    }),
    ("tool `awk` changed", |r| drop(r.tools.insert("awk".into(), b"gawk 5".to_vec()))),
    ("input `a` changed", |r| {
        set_input(r, "left", |input| {
            *input = RecipeInput::File { digest: Domain::File.digest(b"3"), executable: false, link: None };
        });
    }),
    ("the executable bit of `a` changed", |r| {
        set_input(r, "left", |input| {
            *input = RecipeInput::File { digest: Domain::File.digest(b"1"), executable: true, link: None };
        });
    }),
    ("input `a` is new", |r| {
        set_input(r, "left", |input| {
            let link = Some(b"elsewhere".to_vec());
            *input = RecipeInput::File { digest: Domain::File.digest(b"1"), executable: false, link };
        });
    }),
    ("the salt changed", |r| r.salt = Some(String::new())),
    ("the effect's mode is new", |r| r.effect = Some((EffectMode::AtLeastOnce, None))),
    ("the platform changed", |r| r.platform = "macos-aarch64".into()),
    ("output `c` changed", |r| {
        let path = ProjectPath::parse("c").unwrap();
        r.outputs.insert(path, (String::new(), OutputKind::Stdout));
    }),
    ("output `d` is new", |r| {
        let path = ProjectPath::parse("d").unwrap();
        r.outputs.insert(path, (String::new(), OutputKind::File));
    }),
];

#[test]
fn every_field_counts_and_is_named() {
    let base = recipe();
    let mut hashes = vec![base.input_hash()];
    for (expect, change) in CHANGES {
        let mut changed = base.clone();
        change(&mut changed);
        hashes.push(changed.input_hash());
        let found = differences(&base.encode(), &changed.encode()).unwrap();
        let found: Vec<String> = found.iter().map(Difference::summary).collect();
        assert_eq!(found, [*expect]);
    }
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count, "two changes share an input-hash");
}

/// All of it differs; saying so part by part would be no answer.
#[test]
fn a_new_or_lost_input_is_one_thing_to_say() {
    let (mut without, with) = (recipe(), recipe());
    let _ = without.inputs.pop_last();
    let summaries = |before: &Recipe, after: &Recipe| {
        let found = differences(&before.encode(), &after.encode()).unwrap();
        let mut found: Vec<String> = found.iter().map(Difference::summary).collect();
        found.dedup();
        found
    };
    assert_eq!(summaries(&without, &with), ["input `b` is new"]);
    assert_eq!(summaries(&with, &without), ["input `b` is gone"]);
}

/// Museum: a cache that sorts digests and drops names took `diff(a, b)` for `diff(b, a)` (Snakemake's between-workflow
/// cache).
#[test]
fn museum_swapped_named_inputs() {
    let base = recipe();
    let mut swapped = base.clone();
    let left = base.inputs.iter().find(|(key, _)| key.name == "left").unwrap().1.clone();
    let right = base.inputs.iter().find(|(key, _)| key.name == "right").unwrap().1.clone();
    set_input(&mut swapped, "left", |input| *input = right);
    set_input(&mut swapped, "right", |input| *input = left);
    assert_ne!(base.input_hash(), swapped.input_hash());
}

/// Museum: maps hashed without lengths let `{a: {b: 1}}` and `{a: 1, b: …}` meet (Nextflow#4916).
#[test]
fn museum_map_against_map_of_map() {
    let with = |pairs: &[(&str, &str)]| {
        let mut recipe = recipe();
        recipe.env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        recipe.input_hash()
    };
    let hashes = [
        with(&[]),
        with(&[("A", "B=C")]),
        with(&[("A", "B"), ("C", "")]),
        with(&[("A", ""), ("B", "C")]),
        with(&[("AB", "C")]),
        with(&[("A", "BC")]),
    ];
    for (at, left) in hashes.iter().enumerate() {
        assert!(!hashes[at + 1..].contains(left));
    }
}

/// Museum: the staging name decides what the command reads, so it counts (Nextflow#4106).
#[test]
fn museum_staging_names_count() {
    let base = recipe();
    let mut renamed = base.clone();
    let input = renamed.inputs.remove(&InputKey { name: "left".into(), subject: "a".into() }).unwrap();
    renamed.inputs.insert(InputKey { name: "left".into(), subject: "sub/a".into() }, input);
    assert_ne!(base.input_hash(), renamed.input_hash());
}

/// Museum: unset and empty are different (moon, turbo#4645).
#[test]
fn museum_unset_is_not_empty() {
    let base = recipe();
    let mut empty = base.clone();
    empty.pass_env.insert("TOKEN".into(), Some(String::new()));
    assert_ne!(base.input_hash(), empty.input_hash());
}

#[test]
fn an_argument_with_a_space_is_not_two() {
    let with = |argv: &[&str]| {
        let mut recipe = recipe();
        recipe.command = Command::Argv(argv.iter().map(|arg| (*arg).to_owned()).collect());
        recipe.input_hash()
    };
    assert_ne!(with(&["a b"]), with(&["a", "b"]));
    assert_ne!(with(&["a", ""]), with(&["a"]));
}
