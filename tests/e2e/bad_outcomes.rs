//! What can go wrong at run time: the instance is named, everything else is intact, and nothing wrong is committed.

use cairn_testkit::Project;

use super::{BINARY, chain, run};

#[track_caller]
fn fails(stage: &str, says: &str) {
    let text = format!(
        "[stages.good]\nrun = \"echo 1 > good\"\noutputs = [\"good\"]\n[stages.bad]\n{stage}\nneeds = [\"good\"]\n"
    );
    let project = Project::with_pipeline(BINARY, &text);
    project.write("plain.txt", "no program");
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("bad") && outcome.stderr.contains(says), "{says}: {}", outcome.shown());
    assert!(project.exists("good") && !project.exists("out"), "{}", outcome.shown());
    assert_eq!(run(&project, &["good"]), "good=FRESH");
}

#[test]
fn commands_that_cannot_start() {
    fails("run = [\"no-such-command\"]", "`no-such-command` not found");
    fails("run = [\"./plain.txt\"]\ninputs = [\"plain.txt\"]", "is not executable");
}

#[test]
fn outputs_that_are_not_what_was_declared() {
    fails("run = \"true\"\noutputs = [\"out\"]", "`out` was not made");
    fails("run = \"echo 1 > Out\"\noutputs = [\"out\"]", "Out");
    fails("run = \"mkfifo out\"\noutputs = [\"out\"]", "FIFO");
    fails("run = \"mkfifo out\"\noutputs = [\"out\"]", "have the command make a file at `out`");
    fails("run = \"ln -s /etc/passwd out\"\noutputs = [\"out\"]", "outside of the stage's folder");
    fails("run = \"mkdir out\"\noutputs = [\"out\"]", "closing slash");
    fails("run = \"echo 1 > out\"\noutputs = [\"out/\"]", "out");
    fails("run = \"ln -s /dev/null out\"\noutputs = [\"out\"]", "out");
}

/// A chain whose outputs are files in the content store: small ones are kept with their checkpoints.
fn chain_of_files() -> Project {
    let project = chain();
    project.write("source.txt", "b\na\n".repeat(2000));
    project
}

#[test]
fn a_small_output_needs_no_object_file() {
    let project = chain();
    run(&project, &[]);
    std::fs::remove_dir_all(project.file(".cairn/objects")).unwrap();
    project.remove("out/a.txt").write("out/b.txt", "edited");
    assert_eq!(run(&project, &[]), "a=RESTORED b=RESTORED c=FRESH");
    assert_eq!(project.read("out/a.txt"), "a\nb\n");
}

#[test]
fn a_damaged_object_is_found_and_its_stage_runs_again() {
    let project = chain_of_files();
    run(&project, &[]);
    let mut damaged = 0;
    for folder in std::fs::read_dir(project.file(".cairn/objects")).unwrap().flatten() {
        for object in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let mut bytes = std::fs::read(object.path()).unwrap();
            bytes[0] ^= 1;
            std::fs::remove_file(object.path()).unwrap();
            std::fs::write(object.path(), bytes).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 2, "the third is small");
    project.remove("out/a.txt").remove("out/c.txt");
    let outcomes = run(&project, &[]);
    assert_eq!(outcomes, "a=RAN b=FRESH c=RAN");
    assert_eq!(project.read("out/a.txt"), "a\n".repeat(2000) + &"b\n".repeat(2000));
}

#[test]
fn a_lost_object_is_noticed_when_it_is_needed() {
    let project = chain_of_files();
    run(&project, &[]);
    std::fs::remove_dir_all(project.file(".cairn/objects")).unwrap();
    assert_eq!(run(&project, &[]), "a=FRESH b=FRESH c=FRESH", "everything is in place");
    project.remove("out/a.txt");
    assert_eq!(run(&project, &[]), "a=RAN b=FRESH c=FRESH");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn flipped_bytes_in_the_store_never_make_a_wrong_output() {
    let project = chain();
    run(&project, &[]);
    let good = project.snapshot();
    let outside = tempfile::tempdir().unwrap();
    let pristine = outside.path().join("state");
    copy_folder(&project.file(".cairn"), &pristine);
    let files: Vec<_> = std::fs::read_dir(pristine.join("store")).unwrap().flatten().collect();
    assert!(files.len() >= 3, "the database's files are in `.cairn/store`");
    let (mut refused, mut passed) = (0, 0);
    for file in files {
        let bytes = std::fs::read(file.path()).unwrap();
        for part in 0..3 {
            let Some(at) = (!bytes.is_empty()).then(|| (bytes.len() - 1) * part / 2) else { continue };
            std::fs::remove_dir_all(project.file(".cairn")).unwrap();
            copy_folder(&pristine, &project.file(".cairn"));
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            std::fs::write(project.file(".cairn/store").join(file.file_name()), damaged).unwrap();
            project.remove("out/a.txt");
            let outcome = project.cairn(&["run"]);
            match outcome.status {
                Some(0) => {
                    passed += 1;
                    assert_eq!(project.snapshot(), good, "{:?}, byte {at}", file.file_name());
                }
                Some(5) => {
                    refused += 1;
                    assert!(outcome.stderr.contains("help: "), "{}", outcome.shown());
                    project.write("out/a.txt", "a\nb\n");
                    assert_eq!(project.snapshot(), good, "{:?}, byte {at}", file.file_name());
                }
                _ => panic!("{:?}, byte {at}: {}", file.file_name(), outcome.shown()),
            }
        }
    }
    assert!(refused > 0, "some byte must matter: {passed} passed");
}
