//! Golden vectors: 360 recipes whose input-hashes never change without a new key version.
//!
//! A change of `tests/input-hash.golden` makes every checkpoint that users have unreachable: it needs a new
//! `KEY_VERSION` and a decision record. `CAIRN_BLESS=1 cargo test -p cairn-model` writes the file anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cairn_model::{Command, Domain, InputKey, OutputKind, ProjectPath, Recipe, RecipeInput, Tree};

fn commands() -> Vec<(&'static str, Command)> {
    let shell = |shell: &[&str], script: &str| Command::Shell {
        shell: shell.iter().map(|part| (*part).to_owned()).collect(),
        script: script.to_owned(),
    };
    let argv = |argv: &[&str]| Command::Argv(argv.iter().map(|part| (*part).to_owned()).collect());
    vec![
        ("bash", shell(&["bash", "-euo", "pipefail", "-c"], "sort in > out")),
        ("sh", shell(&["/bin/sh", "-euc"], "sort in > out")),
        ("empty", shell(&["sh", "-c"], "")),
        ("argv", argv(&["sort", "in", "-o", "out"])),
        ("argv-space", argv(&["sort", "in -o", "out"])),
        ("unicode", argv(&["écho", "naïve ☃\n"])),
    ]
}

type Environment = (&'static str, BTreeMap<String, String>, BTreeMap<String, Option<String>>);
type Outputs = (&'static str, BTreeMap<ProjectPath, (String, OutputKind)>);

fn environments() -> Vec<Environment> {
    let env = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let pass = |pairs: &[(&str, Option<&str>)]| -> BTreeMap<String, Option<String>> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    };
    vec![
        ("none", env(&[]), pass(&[])),
        ("one", env(&[("TZ", "UTC")]), pass(&[])),
        ("empty", env(&[("TZ", "")]), pass(&[])),
        ("unset", env(&[]), pass(&[("TOKEN", None)])),
        ("passed", env(&[("A", "B=C")]), pass(&[("TOKEN", Some("")), ("USER_KEY", Some("x"))])),
    ]
}

fn inputs() -> Vec<(&'static str, BTreeMap<InputKey, RecipeInput>)> {
    let key = |name: &str, subject: &str| InputKey { name: name.to_owned(), subject: subject.to_owned() };
    let file = |bytes: &[u8], executable, link: Option<&[u8]>| RecipeInput::File {
        digest: Domain::File.digest(bytes),
        executable,
        link: link.map(<[u8]>::to_vec),
    };
    vec![
        ("none", BTreeMap::new()),
        ("file", BTreeMap::from([(key("", "in"), file(b"1", false, None))])),
        (
            "named",
            BTreeMap::from([
                (key("left", "in"), file(b"1", true, None)),
                (key("right", "in2"), file(b"2", false, Some(b"in"))),
            ]),
        ),
        (
            "mixed",
            BTreeMap::from([
                (key("", "folder"), RecipeInput::Folder { digest: Tree::default().digest(), link: None }),
                (key("", "gone"), RecipeInput::Missing),
                (key("", "HOME_KEY"), RecipeInput::Environment(None)),
                (key("v", "python3 --version"), RecipeInput::Printed(b"Python 3.11\n".to_vec())),
            ]),
        ),
    ]
}

fn outputs() -> Vec<Outputs> {
    let path = |text: &str| ProjectPath::parse(text).expect("a path");
    vec![
        ("file", BTreeMap::from([(path("out"), (String::new(), OutputKind::File))])),
        ("stdout", BTreeMap::from([(path("out"), ("stdout".to_owned(), OutputKind::Stdout))])),
        (
            "folder",
            BTreeMap::from([
                (path("a/b"), ("parts".to_owned(), OutputKind::Folder)),
                (path("out"), (String::new(), OutputKind::File)),
            ]),
        ),
    ]
}

#[test]
fn input_hashes_are_what_they_were() {
    let mut actual = String::new();
    for (command_name, command) in commands() {
        for (env_name, env, pass_env) in environments() {
            for (input_name, inputs) in inputs() {
                for (output_name, outputs) in outputs() {
                    let recipe = Recipe {
                        command: command.clone(),
                        env: env.clone(),
                        pass_env: pass_env.clone(),
                        tools: if env_name == "one" {
                            BTreeMap::from([("awk".to_owned(), b"mawk 1.3.4\n".to_vec())])
                        } else {
                            BTreeMap::new()
                        },
                        inputs: inputs.clone(),
                        outputs,
                        salt: (input_name == "named").then(|| "1".to_owned()),
                        platform: "linux-x86_64".to_owned(),
                        effect: None,
                        records: None,
                    };
                    let hash = recipe.input_hash();
                    writeln!(actual, "{command_name}/{env_name}/{input_name}/{output_name} {hash}")
                        .expect("a string");
                }
            }
        }
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/input-hash.golden");
    if std::env::var_os("CAIRN_BLESS").is_some() {
        std::fs::write(golden, &actual).expect("the source tree can be written");
    }
    let expected = std::fs::read_to_string(golden).expect("it is in the repository");
    assert_eq!(expected.lines().count(), 360);
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        assert_eq!(expected, actual, "the input-hash drifted: see the head of this file");
    }
    let mut hashes: Vec<&str> = expected.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 360, "two different recipes share an input-hash");
}
