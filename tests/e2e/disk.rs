//! Disks that are full or read-only, and state folders that cannot be used: the cause is named, all that was there
//! is intact, and once there is room again a run ends as if nothing had been.
//!
//! The disks are small ones in memory, which only root can mount: for anyone else these tests say that they did nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::{Outcome, Project};
use rustix::fs::{FlockOperation, flock};

use super::{BINARY, run};

mod postgres;
mod records;

/// A disk in memory, mounted for as long as it is not dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one of `size` at a folder, which is made; `None` where that is not allowed.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let options = format!("size={size},mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { folder: folder.to_owned() });
        }
        eprintln!("NOT TESTED: no disk can be mounted here, which takes root: nothing was checked");
        None
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-o", &format!("remount,{options}")]).arg(&self.folder).status().unwrap();
        assert!(mounted.success(), "remount with {options}");
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut file = File::create(self.folder.join("filler")).unwrap();
        let filled = std::io::copy(&mut std::io::repeat(b'x'), &mut file);
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        let filler = self.folder.join("filler");
        if filler.exists() {
            fs::remove_file(filler).unwrap();
        }
        self.remount("size=64m");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that ends at this moment may still have a file open.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "cannot unmount");
    }
}

const MEGABYTES: usize = 1_000_000;

/// `small` before `big`, which is of so many bytes, `last` behind it, and `other` beside them.
fn pipeline(sandbox: &str, bytes: usize) -> String {
    format!(
        r#"
[pipeline]
name = "disk"
sandbox = "{sandbox}"
[stages.small]
run = "echo small > small.txt"
outputs = ["small.txt"]
[stages.big]
run = "head -c {bytes} /dev/zero > big.bin"
inputs = ["small.txt"]
outputs = ["big.bin"]
[stages.last]
run = "wc -c < big.bin > last.txt"
inputs = ["big.bin"]
outputs = ["last.txt"]
[stages.other]
run = "echo other > other.txt"
inputs = ["small.txt"]
outputs = ["other.txt"]
"#
    )
}

#[track_caller]
fn names_the_cause(outcome: &Outcome) {
    // In our own words: what the database says while it fails is not for people.
    let lines = outcome.stderr.lines().filter(|line| !line.contains(": [db/") && !line.contains(": [file/"));
    let told = lines.collect::<Vec<_>>().join("\n").to_lowercase();
    assert!(told.contains("disk is full") || told.contains("no space left"), "{}", outcome.shown());
    assert!(!told.contains("panicked"), "{}", outcome.shown());
}

/// Checks what must hold once there is room again.
#[track_caller]
fn ends_well(project: &Project, disk: &Disk, bytes: usize) {
    disk.make_room();
    let outcomes = run(project, &[]);
    assert!(!outcomes.contains("FAILED") && !outcomes.contains("BLOCKED"), "{outcomes}");
    assert_eq!(project.read("last.txt").trim(), bytes.to_string());
    assert_eq!(fs::metadata(project.file("big.bin")).unwrap().len(), bytes as u64);
    assert_eq!(
        (project.read("small.txt").as_str(), project.read("other.txt").as_str()),
        ("small\n", "other\n")
    );
    assert_eq!(run(project, &[]), "big=FRESH last=FRESH other=FRESH small=FRESH");
    let stray = project.snapshot().into_keys().find(|path| path.contains(".tmp") || path.contains(".cairn-"));
    assert_eq!(stray, None, "something is left behind");
}

/// The stage's own command is the one that finds the disk full, and so is its log: it can tell nobody but cairn.
#[test]
fn full_state_folder_while_a_command_writes() {
    let project = Project::with_pipeline(BINARY, &pipeline("private", 4 * MEGABYTES));
    let Some(disk) = Disk::mount(&project.file(".cairn"), "3m") else { return };
    let outcome = project.cairn(&["run", "-j1"]);
    // The store may be at work on what was written down before, and then it is the one that finds no room.
    assert!(matches!(outcome.status, Some(1 | 5)), "{}", outcome.shown());
    assert!(outcome.stderr.contains("FAILED    big"), "{}", outcome.shown());
    assert!(!project.exists("big.bin") && !project.exists("last.txt"), "{}", outcome.shown());
    assert_eq!(run(&project, &["small"]), "small=FRESH");
    names_the_cause(&outcome);
    ends_well(&project, &disk, 4 * MEGABYTES);
}

/// A stage beside it ends while there is no room: whichever of the two it hits, nothing is lost.
#[test]
fn full_state_folder_while_one_writes_and_another_ends() {
    let text = pipeline("private", 4 * MEGABYTES)
        .replace("big.bin\"\ninputs", "big.bin || { sleep 0.3; exit 1; }\"\ninputs");
    let project = Project::with_pipeline(BINARY, &text.replace("echo other", "sleep 0.2; echo other"));
    let Some(disk) = Disk::mount(&project.file(".cairn"), "3m") else { return };
    let outcome = project.cairn(&["run", "-k", "-j2"]);
    assert!(matches!(outcome.status, Some(1 | 5)), "{}", outcome.shown());
    assert!(!project.exists("big.bin") && !project.exists("last.txt"), "{}", outcome.shown());
    names_the_cause(&outcome);
    ends_well(&project, &disk, 4 * MEGABYTES);
}

/// The command has done its work in the project's folder; its bytes do not fit into the content store.
#[test]
fn full_state_folder_while_outputs_are_taken_in() {
    let project = Project::with_pipeline(BINARY, &pipeline("off", 4 * MEGABYTES));
    let Some(disk) = Disk::mount(&project.file(".cairn"), "3m") else { return };
    let outcome = project.cairn(&["run", "-k"]).expect(1);
    assert!(outcome.stderr.contains("FAILED    big"), "{}", outcome.shown());
    names_the_cause(&outcome);
    assert!(!project.exists("last.txt"), "{}", outcome.shown());
    ends_well(&project, &disk, 4 * MEGABYTES);
}

/// The disk fills up between two stages: what is to be written down then is the result of the second.
#[test]
fn full_state_folder_while_a_result_is_committed() {
    let project = Project::new(BINARY);
    // Again and again, for the folders of the stages before may still be on their way out. The output goes into the store: to commit
    // it takes more than what the last page of the store's log has left.
    let filler = project.file(".cairn/filler");
    let filler = filler.display();
    let fill = format!(
        "> big.bin; for n in $(seq 20); do head -c 64000000 /dev/zero >> {filler} || true; sleep 0.2; done; head -c 64000000 /dev/zero >> {filler} || true\""
    );
    project.write("pipeline.toml", pipeline("private", 4000).replace("> big.bin\"", &fill));
    let Some(disk) = Disk::mount(&project.file(".cairn"), "3m") else { return };
    let outcome = project.cairn(&["run", "-j1"]);
    assert!(matches!(outcome.status, Some(1 | 5)), "{}", outcome.shown());
    names_the_cause(&outcome);
    assert!(!project.exists("last.txt"), "{}", outcome.shown());
    // Reading goes on, in a store that is as whole as before.
    project.cairn(&["runs"]).expect(0);
    // The filler fills the larger disk no more.
    project.write("pipeline.toml", pipeline("private", 100));
    ends_well(&project, &disk, 100);
}

#[test]
fn full_before_a_run_begins() {
    let project = Project::with_pipeline(BINARY, &pipeline("private", 100));
    let Some(disk) = Disk::mount(&project.file(".cairn"), "3m") else { return };
    assert_eq!(run(&project, &[]), "big=RAN last=RAN other=RAN small=RAN");
    let before = project.snapshot();
    disk.fill();
    let outcome = project.cairn(&["run", "--force"]).expect(5);
    names_the_cause(&outcome);
    assert!(outcome.stderr.contains("help: free some space"), "{}", outcome.shown());
    assert_eq!(project.snapshot(), before);
    project.cairn(&["runs"]).expect(0);
    project.cairn(&["status"]).expect(0);
    ends_well(&project, &disk, 100);
}

/// The database's own talk is for `-v`; a person reads one error, once.
#[test]
fn a_full_disk_is_told_in_a_few_lines() {
    let project = Project::with_pipeline(BINARY, &pipeline("private", 100));
    let Some(disk) = Disk::mount(&project.file(".cairn"), "3m") else { return };
    assert_eq!(run(&project, &[]), "big=RAN last=RAN other=RAN small=RAN");
    disk.fill();
    let outcome = project.cairn(&["run", "--force"]).expect(5);
    assert!(outcome.stderr.lines().count() <= 4, "{}", outcome.shown());
    assert!(
        !outcome.stderr.contains("VersionEdit") && !outcome.stderr.contains("db_impl"),
        "{}",
        outcome.shown()
    );
}

#[test]
fn too_small_for_a_store() {
    let project = Project::with_pipeline(BINARY, &pipeline("private", 100));
    let Some(disk) = Disk::mount(&project.file(".cairn"), "32k") else { return };
    for _ in 0..2 {
        names_the_cause(&project.cairn(&["run"]).expect(5));
    }
    ends_well(&project, &disk, 100);
}

/// The outputs are made and kept, but do not fit into the project.
#[test]
fn full_project_folder_while_outputs_are_published() {
    let mut project = Project::new(BINARY);
    let state = tempfile::tempdir().unwrap();
    project.set_env("CAIRN_STATE", &state.path().join("state").to_string_lossy());
    let Some(disk) = Disk::mount(project.path(), "1m") else { return };
    project.write("pipeline.toml", pipeline("private", 1000));
    assert_eq!(run(&project, &[]), "big=RAN last=RAN other=RAN small=RAN");
    project.write("pipeline.toml", pipeline("private", 4 * MEGABYTES));
    let outcome = project.cairn(&["run", "-k"]).expect(1);
    assert!(outcome.stderr.contains("FAILED    big"), "{}", outcome.shown());
    names_the_cause(&outcome);
    // A file that is half there is worse than the one of before.
    assert_eq!(fs::metadata(project.file("big.bin")).unwrap().len(), 1000);
    assert_eq!(project.read("last.txt").trim(), "1000");
    assert_eq!(run(&project, &["small", "other"]), "other=FRESH small=FRESH");
    ends_well(&project, &disk, 4 * MEGABYTES);
}

/// The name of a temporary file says nothing to the reader; the output's does.
#[test]
fn the_output_that_does_not_fit_is_named() {
    let mut project = Project::new(BINARY);
    let state = tempfile::tempdir().unwrap();
    project.set_env("CAIRN_STATE", &state.path().join("state").to_string_lossy());
    let Some(_disk) = Disk::mount(project.path(), "1m") else { return };
    project.write("pipeline.toml", pipeline("private", 4 * MEGABYTES));
    let outcome = project.cairn(&["run", "-k"]).expect(1);
    assert!(outcome.stderr.contains("`big.bin`") && !outcome.stderr.contains(".tmp`"), "{}", outcome.shown());
}

/// Project and state on one disk, as it is without a `--state`.
#[test]
fn full_disk_that_holds_all() {
    let project = Project::new(BINARY);
    // So much that `big` fits once and not twice, beside some 5 MB that the database sets aside.
    let Some(disk) = Disk::mount(project.path(), "11m") else { return };
    project.write("pipeline.toml", pipeline("private", 4 * MEGABYTES));
    let outcome = project.cairn(&["run", "-k"]).expect(1);
    assert!(outcome.stderr.contains("FAILED    big"), "{}", outcome.shown());
    names_the_cause(&outcome);
    assert!(!project.exists("big.bin") && !project.exists("last.txt"));
    // And again, with less room than before.
    project.cairn(&["resume"]).expect(1);
    ends_well(&project, &disk, 4 * MEGABYTES);
}

#[test]
fn read_only_state_folder() {
    let project = Project::with_pipeline(BINARY, &pipeline("private", 100));
    let Some(disk) = Disk::mount(&project.file(".cairn"), "8m") else { return };
    assert_eq!(run(&project, &[]), "big=RAN last=RAN other=RAN small=RAN");
    disk.remount("ro");
    let before = project.snapshot();
    for command in [&["run"][..], &["run", "--force"]] {
        let outcome = project.cairn(command).expect(5);
        assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.shown());
        assert!(
            outcome.stderr.contains(".cairn") && outcome.stderr.contains("help: "),
            "{}",
            outcome.shown()
        );
    }
    assert_eq!(project.snapshot(), before);
    // To look needs no writing.
    for command in
        [&["plan"][..], &["status"], &["runs"], &["show"], &["logs"], &["graph"], &["why", "big"], &["check"]]
    {
        project.cairn(command).expect(0);
    }
    disk.remount("rw");
    assert_eq!(run(&project, &[]), "big=FRESH last=FRESH other=FRESH small=FRESH");
}

#[test]
fn read_only_project() {
    let project = Project::new(BINARY);
    let Some(disk) = Disk::mount(project.path(), "8m") else { return };
    project.write("pipeline.toml", pipeline("private", 100));
    disk.remount("ro");
    let outcome = project.cairn(&["run"]).expect(5);
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.shown());
    for command in ["plan", "runs", "check", "graph"] {
        project.cairn(&[command]).expect(0);
    }
    disk.remount("rw");
    assert_eq!(run(&project, &[]), "big=RAN last=RAN other=RAN small=RAN");
}

/// The state folder can be written, the project cannot: what is made cannot be put in place.
#[test]
fn read_only_project_with_its_state_elsewhere() {
    let mut project = Project::new(BINARY);
    let state = tempfile::tempdir().unwrap();
    project.set_env("CAIRN_STATE", &state.path().join("state").to_string_lossy());
    let Some(disk) = Disk::mount(project.path(), "8m") else { return };
    project.write("pipeline.toml", pipeline("private", 100));
    disk.remount("ro");
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("FAILED    small"), "{}", outcome.shown());
    assert!(outcome.stderr.to_lowercase().contains("read-only"), "{}", outcome.shown());
    disk.remount("rw");
    let outcomes = run(&project, &[]);
    assert!(!outcomes.contains("FAILED") && !outcomes.contains("BLOCKED"), "{outcomes}");
}

/// What has to be moved from one disk to another cannot be renamed, in neither mode.
#[test]
fn state_folder_on_another_disk() {
    for sandbox in ["private", "off"] {
        let project = Project::with_pipeline(BINARY, &pipeline(sandbox, 1000));
        let Some(_disk) = Disk::mount(&project.file(".cairn"), "64m") else { return };
        assert_eq!(run(&project, &[]), "big=RAN last=RAN other=RAN small=RAN", "{sandbox}");
        project.write("pipeline.toml", pipeline(sandbox, 2000));
        assert_eq!(run(&project, &[]), "big=RAN last=RAN other=FRESH small=FRESH", "{sandbox}");
        // I11: what a person wrote is kept.
        project.write("last.txt", "mine").remove("other.txt");
        let outcome = project.cairn(&["run"]).expect(0);
        assert_eq!(project.read("last.txt"), "2000\n");
        let kept = outcome.stderr.split('`').flat_map(str::split_whitespace);
        let kept =
            kept.map(|word| word.trim_matches([')', '('])).find(|word| word.starts_with(".cairn/trash/"));
        assert_eq!(project.read(kept.expect(&outcome.stderr)), "mine", "{sandbox}");
        let left = fs::read_dir(project.file(".cairn/staging")).unwrap().count();
        assert_eq!(left, 0, "{sandbox}: a working folder is left behind");
    }
}

/// An entry of `HEAD` as a later cairn might write it: the text `cairnHED`, format 99, batch 1, an empty chain, and the beginning of
/// the BLAKE3 digest of all that.
const HEAD_OF_FORMAT_99: &[u8; 60] =
    b"cairnHED\0\0\0\x63\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\xba\x79\x4f\xd9\x60\xf5\xb0\xb3";

#[test]
fn a_store_of_a_newer_format() {
    let project = Project::with_pipeline(BINARY, &pipeline("private", 100));
    run(&project, &[]);
    let head = fs::read(project.file(".cairn/HEAD")).unwrap();
    project.write(".cairn/HEAD", HEAD_OF_FORMAT_99);
    for command in [
        &["run"][..],
        &["plan"],
        &["status"],
        &["runs"],
        &["show"],
        &["logs"],
        &["graph"],
        &["resume"],
        &["why", "big"],
    ] {
        let outcome = project.cairn(command).expect(5);
        let told = &outcome.stderr;
        assert!(
            told.contains(".cairn") && told.contains("newer") && told.contains("format 99"),
            "{}",
            outcome.shown()
        );
        assert!(told.contains("help: "), "{}", outcome.shown());
    }
    // Neither is the definition's business.
    project.cairn(&["check"]).expect(0);
    assert_eq!(fs::read(project.file(".cairn/HEAD")).unwrap(), HEAD_OF_FORMAT_99, "it was not touched");
    project.write(".cairn/HEAD", head);
    assert_eq!(run(&project, &[]), "big=FRESH last=FRESH other=FRESH small=FRESH");
}

#[test]
fn a_state_folder_that_is_a_file() {
    let project = Project::with_pipeline(BINARY, &pipeline("private", 100));
    project.write(".cairn", "mine");
    for command in ["run", "plan", "status", "runs", "show", "logs", "graph", "resume"] {
        let outcome = project.cairn(&[command]).expect(5);
        let told = &outcome.stderr;
        assert!(
            told.contains("/.cairn`"),
            "what is in the way is named, not what would be in it: {}",
            outcome.shown()
        );
        assert!(told.contains("not a folder") || told.contains("is a file"), "{}", outcome.shown());
        assert!(told.contains("help: "), "{}", outcome.shown());
    }
    assert_eq!(project.read(".cairn"), "mine");
}

#[test]
fn a_lock_that_is_held() {
    let project = Project::with_pipeline(BINARY, &pipeline("private", 100));
    run(&project, &[]);
    let lock = File::options().read(true).write(true).open(project.file(".cairn/lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    for command in [&["run"][..], &["run", "--frozen"]] {
        let outcome = project.cairn(command).expect(5);
        assert!(
            outcome.stderr.contains(".cairn") && outcome.stderr.contains("is open in"),
            "{}",
            outcome.shown()
        );
        assert!(outcome.stderr.contains("help: "), "{}", outcome.shown());
    }
    // Whoever holds it, one may look.
    for command in [&["plan"][..], &["status"], &["runs"], &["show"], &["logs"], &["graph"]] {
        project.cairn(command).expect(0);
    }
    drop(lock);
    // What an ended process wrote into it, and left there, holds nobody up.
    project.write(".cairn/lock", "pid 1\nstart-ticks 1\nboot another\nopened-ms 1\ncommand cairn run\n");
    assert_eq!(run(&project, &[]), "big=FRESH last=FRESH other=FRESH small=FRESH");
}
