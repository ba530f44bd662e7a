//! I2: a reader never sees half an output; a stage that fails leaves what stood there before.

use cairn_testkit::Project;

use super::{BINARY, run};

#[test]
fn a_failed_stage_leaves_the_outputs_of_before() {
    for sandbox in ["private", "off"] {
        let project = Project::with_pipeline(
            BINARY,
            &format!(
                "[pipeline]\nsandbox = \"{sandbox}\"\n[stages.s]\nrun = \"echo half > out; test \\\"$(cat in)\\\" = good; \
                 cat in > out\"\ninputs = [\"in\"]\noutputs = [\"out\"]\n"
            ),
        );
        project.write("in", "good");
        assert_eq!(run(&project, &[]), "s=RAN");
        project.write("in", "bad");
        assert_eq!(run(&project, &[]), "s=FAILED");
        assert_eq!(project.read("out"), "good", "sandbox {sandbox}");
    }
}

#[test]
fn a_reader_sees_the_old_or_the_new_output() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"head -c 4000000 /dev/zero | tr '\\\\0' $(cat in) > out\"\ninputs = [\"in\"]\noutputs = [\"out\"]\n",
    );
    project.write("in", "a");
    assert_eq!(run(&project, &[]), "s=RAN");
    for letter in ["b", "c", "d"] {
        project.write("in", letter);
        let mut child = project.start(&["run"]);
        while child.try_wait().unwrap().is_none() {
            let seen = std::fs::read(project.file("out")).unwrap();
            assert_eq!(seen.len(), 4_000_000);
            assert!(seen.iter().all(|byte| *byte == seen[0]), "two outputs in one");
        }
        assert!(project.read("out").starts_with(letter));
    }
}
