//! I11: what cairn did not put there, or what was edited since, goes to the trash and is named, never overwritten.

use super::{chain, run};

fn in_trash(project: &cairn_testkit::Project, text: &str) -> bool {
    fn find(folder: &std::path::Path, text: &str) -> bool {
        let Ok(entries) = std::fs::read_dir(folder) else { return false };
        entries.flatten().any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                find(&path, text)
            } else {
                std::fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes())
            }
        })
    }
    find(&project.file(".cairn/trash"), text)
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
    assert!(
        !project.exists(".cairn/trash")
            || std::fs::read_dir(project.file(".cairn/trash")).unwrap().count() == 0
    );
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
