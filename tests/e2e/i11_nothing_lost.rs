//! I11: what cairn did not put there, or what was edited since, goes to the trash and is named, never overwritten.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cairn_testkit::Project;

use super::{BINARY, chain, run};

fn any_in_trash(project: &Project, is_it: &dyn Fn(&Path) -> bool) -> bool {
    fn find(folder: &Path, is_it: &dyn Fn(&Path) -> bool) -> bool {
        let Ok(entries) = fs::read_dir(folder) else { return false };
        entries
            .flatten()
            .map(|entry| entry.path())
            .any(|path| is_it(&path) || (path.is_dir() && !path.is_symlink() && find(&path, is_it)))
    }
    find(&project.file(".cairn/trash"), is_it)
}

fn in_trash(project: &Project, text: &str) -> bool {
    any_in_trash(project, &|path| fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()))
}

fn named_in_trash(project: &Project, name: &str) -> bool {
    any_in_trash(project, &|path| path.ends_with(name))
}

fn assert_no_trash(project: &Project) {
    assert!(!any_in_trash(project, &|_| true));
}

/// A stage whose output folder has a link and an empty folder of its own, and another link each time it is executed.
fn links() -> Project {
    Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"mkdir -p out/deep/empty && cp in out/deep/a && cp in out/deep-b && ln -s deep/a out/link && \
         ln -s $(date +%s%N) out/random\"\ninputs = [\"in\"]\noutputs = [\"out/\"]\n",
    )
}

#[test]
fn a_file_of_a_person_in_an_outputs_place_is_kept() {
    let project = chain();
    project.write("out/a.txt", "by hand");
    let outcome = project.cairn(&["run"]).expect(0);
    assert_eq!(project.read("out/a.txt"), "a\nb\n");
    assert!(in_trash(&project, "by hand"));
    assert!(outcome.stderr.contains(".cairn/trash/"), "{}", outcome.shown());
}

#[test]
fn an_edited_output_is_kept_when_it_is_put_back() {
    let project = chain();
    run(&project, &[]);
    project.write("out/a.txt", "edited");
    let outcome = project.cairn(&["run"]).expect(0);
    assert!(in_trash(&project, "edited"));
    assert!(outcome.stderr.contains(".cairn/trash/"), "{}", outcome.shown());
}

#[test]
fn cairns_own_old_outputs_fill_no_trash() {
    let project = chain();
    run(&project, &[]);
    project.write("source.txt", "z\n");
    run(&project, &[]);
    assert_no_trash(&project);
}

#[test]
fn links_and_empty_folders_of_a_person_in_an_output_folder_are_kept() {
    // The folder is put back, and it is replaced.
    for (source, status) in [("1", "s=RESTORED"), ("2", "s=RAN")] {
        for (name, put) in [
            ("link-of-mine", (|path| symlink("/etc/hostname", path)) as fn(&Path) -> std::io::Result<()>),
            ("empty-of-mine", |path| fs::create_dir(path)),
        ] {
            let project = links();
            project.write("in", "1");
            run(&project, &[]);
            put(&project.file("out/deep").join(name)).unwrap();
            project.write("in", source);
            assert_eq!(run(&project, &[]), status);
            assert!(named_in_trash(&project, name), "{name} {status}");
            assert!(project.file("out/deep").join(name).symlink_metadata().is_err());
            assert_eq!(project.read("out/deep/a"), source);
        }
    }
}

#[test]
fn cairns_own_links_and_empty_folders_fill_no_trash() {
    let project = links();
    for (source, more, status) in [
        ("1", &[][..], "s=RAN"),
        ("2", &[], "s=RAN"),
        // Put back from an earlier result, and that replaced.
        ("1", &[], "s=RESTORED"),
        ("3", &[], "s=RAN"),
        // Another result of the same inputs.
        ("3", &["--force"], "s=RAN"),
        ("3", &["--force"], "s=RAN"),
    ] {
        project.write("in", source);
        assert_eq!(run(&project, more), status);
        assert_no_trash(&project);
    }
}

#[test]
fn a_folder_that_is_no_state_folder_is_not_taken_for_one() {
    let project = super::chain();
    project.write("work/tmp/thesis", "mine").write("work/staging/site", "mine");
    for _ in 0..2 {
        let outcome = project.cairn(&["run", "--state", "work"]).expect(5);
        assert!(outcome.stderr.contains("holds other files"), "{}", outcome.shown());
    }
    assert_eq!(project.snapshot_of("work").len(), 2);
    project.cairn(&["run", "--state", "new/folder"]).expect(0);
    project.cairn(&["run", "--state", "new/folder"]).expect(0);
}

#[test]
fn a_state_folder_of_another_project_is_refused_unless_that_was_moved() {
    let (one, other, elsewhere) = (super::chain(), super::chain(), tempfile::tempdir().unwrap());
    let state = elsewhere.path().join("state").display().to_string();
    one.cairn(&["run", "--state", &state]).expect(0);
    let outcome = other.cairn(&["run", "--state", &state]).expect(5);
    assert!(outcome.stderr.contains("belongs to the project"), "{}", outcome.shown());
    drop(one);
    let outcome = other.cairn(&["run", "--state", &state, "--json"]).expect(0);
    assert!(
        cairn_testkit::outcomes(&outcome.stdout).values().all(|outcome| outcome == "RESTORED"),
        "{}",
        outcome.shown()
    );
}
