//! `cairn check`: all errors of all pipelines, and a tally.

use cairn_testkit::Project;
use insta::assert_snapshot;

use super::super::BINARY;
use super::{sales, see};

#[test]
fn all_well() {
    assert_snapshot!(see(&sales(), &["check"]), @r"
    exit status: 0
    ----- stdout -----
    1 pipeline, 3 stages, 3 instances: all well
    ");
}

#[test]
fn a_warning_is_no_error() {
    let project = Project::with_pipeline(BINARY, "[params]\nunused = 1\n[stages.a]\nrun = \"true\"\n");
    assert_snapshot!(see(&project, &["check"]), @r"
    exit status: 0
    ----- stdout -----
    1 pipeline, 1 stage, 1 instance: 1 warning
    ----- stderr -----
    warning[CRN0701]: the param `unused` is not used
     --> pipeline.toml:2:1
      |
    2 | unused = 1
      | ^^^^^^ no template refers to it
      |
      = help: write `{{ params.unused }}` where it counts, or remove it

    warning: 1 warning in `pipeline.toml`
    ");
}

#[test]
fn several_pipelines_are_all_checked() {
    let project = Project::new(BINARY);
    project
        .write("cairn.toml", "")
        .write("pipelines/good.toml", "[stages.a]\nrun = \"true\"\n")
        .write("pipelines/bad.toml", "[stages.a]\nrunn = \"true\"\n")
        .write("pipelines/worse/pipeline.toml", "[stages.a]\nrun = 1\n");
    assert_snapshot!(see(&project, &["check"]), @r#"
    exit status: 2
    ----- stdout -----
    3 pipelines: 2 errors
    ----- stderr -----
    error[CRN0201]: a stage has no key `runn`
     --> pipelines/bad.toml:2:1
      |
    2 | runn = "true"
      | ^^^^ unknown key
      |
    help: did you mean `run`?
      |
    2 - runn = "true"
    2 + run = "true"
      |

    error: 1 error in `pipelines/bad.toml`

    error[CRN0204]: `run` must be a string or an array of strings, not an integer
     --> pipelines/worse/pipeline.toml:2:7
      |
    2 | run = 1
      |       ^ this is an integer
      |
    help: write `"1"`
      |
    2 - run = 1
    2 + run = "1"
      |

    error: 1 error in `pipelines/worse/pipeline.toml`
    "#);
    assert_snapshot!(see(&project, &["check", "good"]), @r"
    exit status: 0
    ----- stdout -----
    1 pipeline, 1 stage, 1 instance: all well
    ");
    let both = project.cairn(&["check", "good", "pipelines/worse"]).expect(2);
    assert!(both.stdout.starts_with("2 pipelines: 1 error"), "{}", both.shown());
}
