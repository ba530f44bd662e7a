//! I1: an instance whose input-hash has a checkpoint is not executed; its outputs are put back where they are missing.

use super::{chain, run};

#[test]
fn a_second_run_executes_nothing() {
    let project = chain();
    assert_eq!(run(&project, &[]), "a=RAN b=RAN c=RAN");
    let before = project.snapshot();
    assert_eq!(run(&project, &[]), "a=FRESH b=FRESH c=FRESH");
    assert_eq!(project.snapshot(), before);
    project.cairn(&["run", "--frozen"]).expect(0);
}

#[test]
fn a_changed_input_runs_its_cone_and_stops_at_equal_bytes() {
    let project = chain();
    run(&project, &[]);
    // Other bytes that sort to the same: the wave stops at `a`.
    project.write("source.txt", "a\nb\n");
    assert_eq!(run(&project, &[]), "a=RAN b=FRESH c=FRESH");
    // Another first line with the same number of lines: `b` makes the same bytes again.
    project.write("source.txt", "c\nb\n");
    assert_eq!(run(&project, &[]), "a=RAN b=RAN c=RAN");
    assert_eq!(project.read("out/c.txt"), "b\nc\n2\n");
}

#[test]
fn going_back_to_an_earlier_input_executes_nothing() {
    let project = chain();
    run(&project, &[]);
    let first = project.snapshot();
    project.write("source.txt", "z\n");
    run(&project, &[]);
    project.write("source.txt", "b\na\n");
    assert_eq!(run(&project, &[]), "a=RESTORED b=RESTORED c=RESTORED");
    assert_eq!(project.snapshot(), first);
}

#[test]
fn missing_and_edited_outputs_are_put_back() {
    let project = chain();
    run(&project, &[]);
    project.remove("out/a.txt").write("out/b.txt", "scribble");
    assert_eq!(run(&project, &[]), "a=RESTORED b=RESTORED c=FRESH");
    assert_eq!((project.read("out/a.txt").as_str(), project.read("out/b.txt").trim()), ("a\nb\n", "2"));
}

#[test]
fn an_executable_bit_is_part_of_an_output() {
    let project = cairn_testkit::Project::with_pipeline(
        super::BINARY,
        "[stages.make]\nrun = \"printf '#!/bin/sh\\\\nexit 0\\\\n' > tool && chmod +x tool\"\noutputs = [\"tool\"]\n\
         [stages.use]\nrun = [\"./tool\"]\ninputs = [\"tool\"]\n",
    );
    assert_eq!(run(&project, &[]), "make=RAN use=RAN");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(project.file("tool"), mode).unwrap();
    assert_eq!(run(&project, &[]), "make=RESTORED use=FRESH");
}

#[test]
fn force_cache_and_ttl() {
    let project = cairn_testkit::Project::with_pipeline(
        super::BINARY,
        "[stages.never]\nrun = \"echo n > n\"\noutputs = [\"n\"]\ncache = false\n\
         [stages.short]\nrun = \"echo s > s\"\noutputs = [\"s\"]\ncache = { ttl = \"1h\" }\n\
         [stages.always]\nrun = \"echo a > a\"\noutputs = [\"a\"]\n",
    );
    assert_eq!(run(&project, &[]), "always=RAN never=RAN short=RAN");
    assert_eq!(run(&project, &[]), "always=FRESH never=RAN short=FRESH");
    assert_eq!(run(&project, &["--force=always"]), "always=RAN never=RAN short=FRESH");
    project.write(
        "pipeline.toml",
        "[stages.short]\nrun = \"echo s > s\"\noutputs = [\"s\"]\ncache = { ttl = \"1ms\" }\n",
    );
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(run(&project, &[]), "short=RAN", "the same recipe, and its checkpoint is older than 1 ms");
}

#[test]
fn a_folder_output_is_restored_as_a_whole() {
    let project = cairn_testkit::Project::with_pipeline(
        super::BINARY,
        "[stages.split]\nrun = \"mkdir -p parts/empty && echo 1 > parts/one && echo 2 > parts/two\"\n\
         outputs = [\"parts/\"]\n\
         [stages.join]\nrun = \"cat parts/one parts/two > all\"\ninputs = [\"parts/\"]\noutputs = [\"all\"]\n",
    );
    assert_eq!(run(&project, &[]), "join=RAN split=RAN");
    assert!(project.file("parts/empty").is_dir());
    project.remove("parts/one").write("parts/extra", "not made by anybody");
    std::fs::remove_dir(project.file("parts/empty")).unwrap();
    assert_eq!(run(&project, &[]), "join=FRESH split=RESTORED");
    assert!(project.file("parts/empty").is_dir() && project.exists("parts/one"));
    assert!(!project.exists("parts/extra"), "the folder is what the stage made");
}
