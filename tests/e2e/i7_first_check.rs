//! I7: errors of the definition are found before anything runs, and all of them are reported at once.

use cairn_testkit::Project;

use super::BINARY;

#[test]
fn all_errors_at_once_and_nothing_runs() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.fine]\nrun = \"touch /tmp/never-made-by-cairn\"\n\n[stages.one]\ncmd = \"echo\"\n\n\
         [stages.two]\nrun = \"echo {{ params.yaer }}\"\ninputs = [\"missing.txt\"]\nretries = { attempts = \"three\" }\n",
    );
    for command in ["check", "plan", "run"] {
        let outcome = project.cairn(&[command]).expect(2);
        for part in ["pipeline.toml:5:", "cmd", "run", "yaer", "missing.txt", "attempts"] {
            assert!(outcome.stderr.contains(part), "`{command}` must tell of `{part}`: {}", outcome.shown());
        }
        assert!(!project.exists(".cairn"), "`{command}` made a state folder");
    }
}

#[test]
fn a_cycle_is_shown_as_a_path() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.a]\nrun = \"cp c a\"\ninputs = [\"c\"]\noutputs = [\"a\"]\n\
         [stages.b]\nrun = \"cp a b\"\ninputs = [\"a\"]\noutputs = [\"b\"]\n\
         [stages.c]\nrun = \"cp b c\"\ninputs = [\"b\"]\noutputs = [\"c\"]\n",
    );
    let outcome = project.cairn(&["run"]).expect(2);
    let shown = outcome.shown();
    assert!(shown.contains("a → c → b → a"), "a waits for c, c for b, b for a: {shown}");
}
