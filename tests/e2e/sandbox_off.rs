//! `sandbox = "off"`: the command runs in the project itself, and the promises hold as far as they can.

use cairn_testkit::Project;

use super::{BINARY, run};

fn trash(project: &Project) -> Vec<String> {
    let files = project.snapshot_of(".cairn/trash").into_values();
    files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

#[test]
fn what_a_person_put_in_an_outputs_place_is_in_the_trash_after_a_success() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"[ ! -e out ] && [ ! -e tree/x ] && echo new > out && echo new > tree/x\"\n\
         outputs = [\"out\", \"tree/\"]\nsandbox = \"off\"\n",
    );
    project.write("out", "mine").write("tree/x", "mine too");
    let outcome = project.cairn(&["run"]).expect(0);
    assert_eq!((project.read("out").as_str(), project.read("tree/x").as_str()), ("new\n", "new\n"));
    let mut kept = trash(&project);
    kept.sort();
    assert_eq!(kept, ["mine", "mine too"]);
    assert!(outcome.stderr.contains(".cairn/trash/"), "{}", outcome.shown());
}

#[test]
fn cairns_own_outputs_fill_no_trash() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"cp in out\"\ninputs = [\"in\"]\noutputs = [\"out\"]\nsandbox = \"off\"\n",
    );
    for text in ["1".repeat(5000), "2".to_owned(), "3".repeat(5000)] {
        project.write("in", &text);
        assert_eq!(run(&project, &[]), "s=RAN");
        assert_eq!(project.read("out"), text);
    }
    assert_eq!(trash(&project), Vec::<String>::new());
}

#[test]
fn a_made_input_that_was_edited_meanwhile_is_put_back_before_the_command() {
    for size in [10, 5000] {
        let project = Project::new(BINARY);
        let edits = project.file("out/a").display().to_string();
        project.write(
            "pipeline.toml",
            format!(
                "[stages.a]\nrun = \"head -c {size} /dev/zero | tr '\\\\0' a > out/a\"\noutputs = [\"out/a\"]\n\
                 [stages.editor]\nrun = \"echo edited > {edits}; echo 1 > out/e\"\ninputs = [\"out/a\"]\noutputs = [\"out/e\"]\n\
                 [stages.b]\nrun = \"cat out/a out/e > out/b\"\ninputs = [\"out/a\", \"out/e\"]\noutputs = [\"out/b\"]\n\
                 sandbox = \"off\"\n"
            ),
        );
        assert_eq!(run(&project, &[]), "a=RAN b=RAN editor=RAN");
        assert_eq!(project.read("out/b"), "a".repeat(size) + "1\n");
        assert_eq!(trash(&project), ["edited\n"], "the edit is kept");
    }
}

#[test]
fn what_a_killed_run_set_aside_is_put_back_by_the_run_of_another_pipeline() {
    let project = Project::new(BINARY);
    project.write("cairn.toml", "").write(
        "pipelines/a/pipeline.toml",
        "[stages.a]\nrun = \"echo half > out/a; echo half > tree/x; sleep 60\"\noutputs = [\"out/a\", \"tree/\"]\n\
         sandbox = \"off\"\n",
    );
    project.write(
        "pipelines/b/pipeline.toml",
        "[stages.b]\nrun = \"echo b > out/b\"\noutputs = [\"out/b\"]\nsandbox = \"off\"\n",
    );
    project.write("pipelines/a/out/a", "mine").write("pipelines/a/tree/x", "mine too");
    let mut expected = project.snapshot();

    let mut run = project.start(&["run", "pipelines/a/pipeline.toml"]);
    while std::fs::read(project.file("pipelines/a/tree/x")).ok().as_deref() != Some(b"half\n") {
        assert!(run.try_wait().unwrap().is_none(), "it waits for its command");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let group = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    run.wait().unwrap();

    project.cairn(&["run", "pipelines/b/pipeline.toml"]).expect(0);
    expected.insert("pipelines/b/out/b".to_owned(), b"b\n".to_vec());
    assert_eq!(project.snapshot(), expected);
    assert_eq!(trash(&project), ["half\n", "half\n"], "what the command wrote until then");
}
