//! What happens between a command's end and its outputs' place: one that fails there takes nothing else with it.

use std::fmt::Write as _;

use cairn_testkit::Project;

use super::{BINARY, run};

#[test]
fn an_output_that_cannot_be_placed_fails_alone() {
    let outside = tempfile::tempdir().unwrap();
    let project = Project::new(BINARY);
    let mut text = format!(
        "[stages.bad]\nrun = \"ln -s {} {}; mkdir -p bad; echo 1 > first; echo 1 > bad/out\"\n\
         outputs = [\"first\", \"bad/out\"]\n",
        outside.path().display(),
        project.file("bad").display()
    );
    for number in 0..12 {
        writeln!(text, "[stages.good{number}]\nrun = \"head -c 9000 /dev/urandom > good{number}\"\noutputs = [\"good{number}\"]").unwrap();
    }
    project.write("pipeline.toml", text);
    let outcome = project.cairn(&["run", "--json", "--keep-going", "-j", "4"]).expect(1);
    let outcomes = cairn_testkit::outcomes(&outcome.stdout);
    for (instance, told) in &outcomes {
        assert_eq!(told, if instance == "bad" { "FAILED" } else { "RAN" }, "{instance}: {}", outcome.shown());
    }
    assert_eq!(outcomes.len(), 13);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!project.exists("first"), "outputs are placed together");
}

#[test]
fn a_folder_whose_object_had_rotted_is_placed_from_what_was_made() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"cat in > out/small; head -c 9000 /dev/zero > out/x\"\ninputs = [\"in\"]\noutputs = [\"out/\"]\n",
    );
    project.write("in", "1");
    assert_eq!(run(&project, &[]), "s=RAN");
    for folder in std::fs::read_dir(project.file(".cairn/objects")).unwrap().flatten() {
        for object in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            std::fs::remove_file(object.path()).unwrap();
            std::fs::write(object.path(), vec![b'x'; 9000]).unwrap();
        }
    }
    project.write("in", "2");
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!((project.read("out/x"), project.read("out/small")), ("\0".repeat(9000), "2".to_owned()));
    project.remove("out/x");
    assert_eq!(run(&project, &[]), "s=RESTORED");
}

#[test]
fn a_made_program_of_any_size_can_be_run() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.make]\nrun = \"cp /bin/true small; cp /bin/true large; head -c 2000000 /dev/zero >> large\"\n\
         outputs = [\"small\", \"large\"]\n\
         [stages.use]\nrun = \"./small && ./large && echo both > used\"\ninputs = [\"small\", \"large\"]\noutputs = [\"used\"]\n",
    );
    assert_eq!(run(&project, &[]), "make=RAN use=RAN");
}

#[test]
fn a_folder_that_goes_away_meanwhile_stops_nothing() {
    let project = Project::new(BINARY);
    let gone = project.file("gone").display().to_string();
    project.write(
        "pipeline.toml",
        format!(
            "[stages.a]\nrun = \"echo 1 > gone/a\"\noutputs = [\"gone/a\"]\n\
             [stages.b]\nrun = \"rm -rf {gone}; echo 1 > b\"\nneeds = [\"a\"]\noutputs = [\"b\"]\n\
             [stages.c]\nrun = \"echo 1 > c\"\nneeds = [\"b\"]\noutputs = [\"c\"]\n"
        ),
    );
    assert_eq!(run(&project, &[]), "a=RAN b=RAN c=RAN");
    assert_eq!(run(&project, &[]), "a=RESTORED b=FRESH c=FRESH");
}
