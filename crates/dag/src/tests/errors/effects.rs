//! Effects: what their tables mean, and what is wrong with them.

use cairn_model::{Command, EffectMode};

use super::*;
use crate::{OnUncertain, code};

const PUBLISH: &str = r#"
[pipeline]
on_failure = "rollback"
[params]
day = "2024-05-01"
[stages.publish]
run = "publish {{ params.day }}"
on_failure = "rollback"
[stages.publish.effect]
mode = "exactly-once"
key = "sales/{{ params.day }}"
confirm = "took-place {{ params.day }}"
probe = ["fingerprint", "{{ stage.name }}"]
undo = "unpublish"
on_uncertain = "retry"
"#;

#[test]
fn an_effect_is_what_its_table_says() {
    let pipeline = pipeline(PUBLISH, &[]);
    let publish = instance(&pipeline, "publish");
    let effect = publish.effect.as_ref().unwrap();
    assert_eq!((effect.mode, effect.on_uncertain), (EffectMode::ExactlyOnce, OnUncertain::Retry));
    assert_eq!(effect.key.as_deref(), Some("sales/2024-05-01"));
    assert_eq!(effect.confirm.as_ref().unwrap().to_string(), "took-place 2024-05-01");
    let probe = ["fingerprint", "publish"].map(str::to_owned).to_vec();
    assert_eq!(effect.probe, Some(Command::Argv(probe)));
    assert_eq!(effect.undo.as_ref().unwrap().argv().last(), Some(&"unpublish"));
    assert!(pipeline.rollback && publish.policy.rollback && publish.outputs.is_empty());
}

#[test]
fn an_effect_needs_no_more_than_its_mode() {
    let text = "[stages.a]\nrun = \"x\"\neffect = { mode = \"at-most-once\" }\n";
    let pipeline = pipeline(text, &[]);
    let effect = instance(&pipeline, "a").effect.as_ref().unwrap();
    assert_eq!((effect.mode, effect.on_uncertain), (EffectMode::AtMostOnce, OnUncertain::Hold));
    assert!(effect.key.is_none() && effect.confirm.is_none() && effect.probe.is_none());
}

#[test]
fn all_that_is_wrong_with_an_effect_is_told() {
    let effect = |table: &str| codes(&format!("[stages.a]\nrun = \"x\"\neffect = {table}\n"), &[]);
    assert_eq!(effect("1"), [code::WRONG_TYPE]);
    assert_eq!(effect("{ key = \"k\" }"), [code::MISSING_KEY], "no mode");
    assert_eq!(effect("{ mode = \"once\" }"), [code::BAD_VALUE]);
    assert_eq!(effect("{ mode = \"exactly-once\" }"), [code::MISSING_KEY], "no confirm");
    assert_eq!(effect("{ mode = \"at-most-once\", confirm = \"c\" }"), [code::BAD_VALUE]);
    assert_eq!(effect("{ mode = \"at-least-once\", on_uncertain = \"hold\" }"), [code::BAD_VALUE]);
    assert_eq!(effect("{ mode = \"at-least-once\", key = \" \" }"), [code::BAD_VALUE]);
    assert_eq!(effect("{ mode = \"at-least-once\", undo = [] }"), [code::BAD_VALUE]);
    assert_eq!(effect("{ mode = \"at-least-once\", prob = \"p\" }"), [code::UNKNOWN_KEY]);
    assert_eq!(effect("{ mode = \"at-least-once\", check = \"p\" }"), [code::FOREIGN_KEY]);
    let keyed = |key: &str| effect(&format!("{{ mode = \"at-least-once\", key = \"{key}\" }}"));
    assert_eq!(keyed("{{ run.id }}"), [code::NAME_NOT_HERE]);
    assert_eq!(keyed("{{ params.none }}"), [code::UNKNOWN_TEMPLATE_NAME]);
    assert_eq!(keyed(&"k".repeat(513)), [code::BAD_VALUE]);
    assert_eq!(keyed("a\\nb"), [code::BAD_VALUE]);
    assert_eq!(codes("[stages.a]\nrun = \"x\"\non_failure = \"undo\"\n", &[]), [code::BAD_VALUE]);
    assert_eq!(codes("on_failure = \"rollback\"\n[stages.a]\nrun = \"x\"\n", &[]), [code::FOREIGN_KEY]);
}

#[test]
fn a_wrong_effect_is_shown_with_its_mend() {
    let wrong_words =
        "[stages.a]\nrun = \"x\"\n[stages.a.effect]\nmode = \"exactly_once\"\nonuncertain = \"hold\"\n";
    insta::assert_snapshot!(drawn(wrong_words, &[]), @r#"
    error[CRN0205]: `exactly_once` is no mode of an effect
     --> pipeline.toml:4:8
      |
    4 | mode = "exactly_once"
      |        ^^^^^^^^^^^^^^ unknown word
      |
    help: write `"at-least-once"`, `"at-most-once"` or `"exactly-once"`
      |
    4 - mode = "exactly_once"
    4 + mode = "exactly-once"
      |

    error[CRN0201]: `effect` has no key `onuncertain`
     --> pipeline.toml:5:1
      |
    5 | onuncertain = "hold"
      | ^^^^^^^^^^^ unknown key
      |
    help: did you mean `on_uncertain`?
      |
    5 | on_uncertain = "hold"
      |   +

    error: 2 errors in `pipeline.toml`
    "#);
    let no_confirm = "[stages.a]\nrun = \"x\"\neffect = { mode = \"exactly-once\" }\n";
    insta::assert_snapshot!(drawn(no_confirm, &[]), @r#"
    error[CRN0206]: an `exactly-once` effect has no `confirm`
     --> pipeline.toml:3:19
      |
    3 | effect = { mode = "exactly-once" }
      |                   ^^^^^^^^^^^^^^ after a cut-off attempt nothing can tell whether it took place
      |
      = help: write `confirm = "…"`, which exits with 0 when the effect took place and with 1 when it did not; without one, `at-most-once` leaves it to a person and `at-least-once` does it again

    error: 1 error in `pipeline.toml`
    "#);
    let one_key = "[stages.a]\nrun = \"x\"\nmatrix = { x = [1, 2] }\neffect = { mode = \"at-least-once\", key = \"k\" }\n";
    insta::assert_snapshot!(drawn(one_key, &[]), @r#"
    error[CRN0607]: `a[1]` and `a[2]` have effects with the same key `k`
     --> pipeline.toml:4:42
      |
    4 | effect = { mode = "at-least-once", key = "k" }
      |                                          ^^^ the second would count as done
      |
      = help: put what tells its instances apart into the key, for example `{{ matrix.… }}` or `{{ stage.instance }}`

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn two_instances_do_not_share_a_key() {
    let matrix =
        "[stages.a]\nmatrix = { x = [1, 2] }\nrun = \"x\"\n[stages.a.effect]\nmode = \"at-least-once\"\n";
    assert_eq!(codes(&format!("{matrix}key = \"k\"\n"), &[]), [code::SAME_EFFECT]);
    pipeline(&format!("{matrix}key = \"k/{{{{ matrix.x }}}}\"\n"), &[]);
    pipeline(matrix, &[]);
    let stage = |name: &str| {
        format!("[stages.{name}]\nrun = \"x\"\neffect = {{ mode = \"at-least-once\", key = \"k\" }}\n")
    };
    assert_eq!(codes(&(stage("a") + &stage("b")), &[]), [code::SAME_EFFECT]);
}
