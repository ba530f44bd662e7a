use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use cairn_model::{Domain, EntryKind, FileContent, Tree, TreeEntry};
use tempfile::TempDir;

use super::*;
use crate::mounted::Mounted;
use crate::objects::NoSmall;
use crate::{FileKey, Row, Rows};

struct NoRows;

impl Rows for NoRows {
    fn get(&self, keys: &[FileKey]) -> Vec<Option<Row>> {
        vec![None; keys.len()]
    }
}

/// A project with its state folder and a content store.
struct Project {
    top: TempDir,
    placer: Placer,
    objects: Objects,
}

fn project() -> Project {
    let top = tempfile::tempdir().unwrap();
    let state = top.path().join(".cairn");
    fs::create_dir(&state).unwrap();
    let objects = Objects::open(&state, Arc::new(NoSmall)).unwrap();
    let placer = Placer::new(top.path(), &state, objects.clone(), "run").unwrap();
    Project { top, placer, objects }
}

impl Project {
    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn store(&self, bytes: &[u8], executable: bool) -> FileContent {
        let content =
            FileContent { digest: Domain::File.digest(bytes), size: bytes.len() as u64, executable };
        let staged = self.path(".cairn/staged");
        fs::write(&staged, bytes).unwrap();
        self.objects.prepare(&staged, &content, &mut Barrier::new()).unwrap();
        self.objects.adopt(&staged, &content.digest, &mut Barrier::new()).unwrap();
        content
    }

    fn file(&self, path: &str, bytes: &[u8]) -> Output {
        output(path, Content::File(self.store(bytes, false)))
    }

    /// A folder output with a file of each of `names` that holds its name.
    fn folder(&self, path: &str, names: &[&str]) -> Output {
        let entry = |name: &&str| TreeEntry {
            path: name.as_bytes().to_vec(),
            kind: EntryKind::File(self.store(name.as_bytes(), false)),
        };
        output(path, Content::Folder(Tree::new(names.iter().map(entry).collect())))
    }

    fn check(&self, output: &Output) -> Standing {
        self.placer.check(self.top.path(), output, &Digests::new(Box::new(NoRows), 1)).unwrap()
    }

    fn stage(&self, output: &Output) -> Result<Placement, PlaceError> {
        let mut barrier = Barrier::new();
        let staged = self.placer.stage(self.top.path(), output, &mut barrier)?;
        barrier.sync().unwrap();
        Ok(staged)
    }

    fn swap(&self, staged: Placement, ours: bool) -> Result<Placed, PlaceError> {
        let mut barrier = Barrier::new();
        let placed = self.placer.swap(staged, |_| ours, &mut barrier)?;
        barrier.sync().unwrap();
        Ok(placed)
    }

    /// Places `output` and returns what it put into the trash, as paths in the project.
    fn place(&self, output: &Output, ours: bool) -> Result<Vec<String>, PlaceError> {
        let trashed = self.swap(self.stage(output)?, ours)?.trashed;
        let top = self.top.path().canonicalize().unwrap();
        Ok(trashed.iter().map(|path| path.strip_prefix(&top).unwrap().display().to_string()).collect())
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn output(path: &str, content: Content) -> Output {
    Output { path: ProjectPath::parse(path).unwrap(), content }
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_file_is_placed_with_the_folders_above_it() {
    let project = project();
    let output = project.file("build/deep/er/a", b"new");
    assert_eq!(project.check(&output), Standing::Absent);
    assert_eq!(project.place(&output, false).unwrap(), nothing());
    assert_eq!(project.check(&output), Standing::InPlace);
    assert_eq!(fs::read(project.path("build/deep/er/a")).unwrap(), b"new");
    assert_eq!(project.names("build/deep/er"), ["a"]);
}

#[test]
fn bytes_and_the_executable_bit_make_a_file_the_output() {
    let project = project();
    let output = output("a", Content::File(project.store(b"run", true)));
    project.place(&output, false).unwrap();
    assert_eq!(project.check(&output), Standing::InPlace);
    let set_mode = |mode| fs::set_permissions(project.path("a"), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o644);
    assert_eq!(project.check(&output), Standing::Different);
    set_mode(0o700);
    assert_eq!(project.check(&output), Standing::InPlace);
    fs::write(project.path("a"), "rum").unwrap();
    assert_eq!(project.check(&output), Standing::Different);
}

#[test]
fn a_file_of_ours_is_replaced_and_another_goes_to_the_trash() {
    let project = project();
    project.place(&project.file("a", b"1"), false).unwrap();
    assert_eq!(project.place(&project.file("a", b"2"), true).unwrap(), nothing());
    assert_eq!(fs::read(project.path("a")).unwrap(), b"2");
    fs::write(project.path("a"), "edited").unwrap();
    assert_eq!(project.place(&project.file("a", b"3"), false).unwrap(), [".cairn/trash/run/a"]);
    assert_eq!(fs::read(project.path("a")).unwrap(), b"3");
    assert_eq!(fs::read(project.path(".cairn/trash/run/a")).unwrap(), b"edited");
    assert_eq!(project.names("."), [".cairn", "a"]);
}

#[test]
fn ours_is_asked_of_the_destination_before_it_is_touched() {
    let project = project();
    fs::write(project.path("a"), "there").unwrap();
    let staged = project.stage(&project.file("a", b"new")).unwrap();
    let destination = staged.destination().to_owned();
    let ours = |path: &Path| {
        assert_eq!(path, destination);
        fs::read(path).unwrap() == b"there"
    };
    assert_eq!(
        project.placer.swap(staged, ours, &mut Barrier::new()).unwrap().trashed,
        Vec::<PathBuf>::new()
    );
}

#[test]
fn what_is_edited_while_ours_is_asked_goes_to_the_trash() {
    type Edit = fn(&Path);
    let file_edits: [Edit; 3] = [
        |path| fs::write(path, "edited").unwrap(),
        |path| {
            fs::write(path.with_extension("new"), "edited").unwrap();
            durable::rename(&path.with_extension("new"), path).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            symlink("edited", path).unwrap();
        },
    ];
    for edit in file_edits {
        let project = project();
        project.place(&project.file("a", b"1"), false).unwrap();
        let staged = project.stage(&project.file("a", b"2")).unwrap();
        let ours = |path: &Path| {
            edit(path);
            true
        };
        assert_eq!(project.placer.swap(staged, ours, &mut Barrier::new()).unwrap().trashed.len(), 1);
        let kept = project.path(".cairn/trash/run/a");
        let text = fs::read_link(&kept)
            .map_or_else(|_| fs::read(&kept).unwrap(), |to| to.into_os_string().into_vec());
        assert_eq!(text, b"edited");
        assert_eq!(fs::read(project.path("a")).unwrap(), b"2");
        assert_eq!(project.names("."), [".cairn", "a"]);
    }
    let project = project();
    project.place(&project.file("b", b"1"), false).unwrap();
    let staged = project.stage(&project.file("b", b"2")).unwrap();
    let ours = |path: &Path| fs::remove_file(path).is_ok();
    assert_eq!(
        project.placer.swap(staged, ours, &mut Barrier::new()).unwrap().trashed,
        Vec::<PathBuf>::new()
    );
    assert_eq!(fs::read(project.path("b")).unwrap(), b"2");
    fs::remove_file(project.path("b")).unwrap();

    project.place(&project.folder("a", &["x"]), false).unwrap();
    let staged = project.stage(&project.folder("a", &["y"])).unwrap();
    let ours = |path: &Path| {
        let ours = !path.join("mine").exists();
        fs::write(path.join("mine"), "x").unwrap();
        ours
    };
    assert_eq!(project.placer.swap(staged, ours, &mut Barrier::new()).unwrap().trashed.len(), 1);
    assert_eq!(project.names(".cairn/trash/run/a"), ["mine", "x"]);
    assert_eq!(project.names("a"), ["y"]);
    assert_eq!(project.names("."), [".cairn", "a"]);
}

#[test]
fn a_link_at_the_destination_is_replaced_and_not_written_through() {
    for ours in [false, true] {
        let project = project();
        fs::write(project.path("target"), "kept").unwrap();
        symlink("target", project.path("a")).unwrap();
        let output = project.file("a", b"kept");
        assert_eq!(project.check(&output), Standing::Different);
        let trashed = project.place(&output, ours).unwrap();
        assert_eq!(trashed.len(), usize::from(!ours));
        assert!(fs::symlink_metadata(project.path("a")).unwrap().is_file());
        assert_eq!(fs::read(project.path("target")).unwrap(), b"kept");
    }
}

#[test]
fn a_link_swapped_in_between_the_steps_is_not_written_through() {
    let project = project();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "kept").unwrap();
    let staged = project.stage(&project.file("a", b"new")).unwrap();
    symlink(outside.path().join("precious"), project.path("a")).unwrap();
    assert_eq!(project.swap(staged, false).unwrap().trashed.len(), 1);
    assert_eq!(fs::read(project.path("a")).unwrap(), b"new");
    assert_eq!(fs::read(outside.path().join("precious")).unwrap(), b"kept");
}

#[test]
fn a_folder_in_the_place_of_a_file_goes_to_the_trash_and_the_other_way_round() {
    let project = project();
    fs::create_dir(project.path("a")).unwrap();
    fs::write(project.path("a/mine"), "x").unwrap();
    assert_eq!(project.place(&project.file("a", b"new"), false).unwrap(), [".cairn/trash/run/a"]);
    assert!(project.path(".cairn/trash/run/a/mine").exists());
    let folder = project.folder("a", &["x"]);
    assert_eq!(project.check(&folder), Standing::Different);
    assert_eq!(project.place(&folder, false).unwrap(), [".cairn/trash/run~1/a"]);
    assert_eq!(project.check(&folder), Standing::InPlace);
    // What is ours goes without a trace.
    assert_eq!(project.place(&project.file("a", b"new"), true).unwrap(), nothing());
    assert_eq!(project.place(&folder, true).unwrap(), nothing());
    assert_eq!(project.names("."), [".cairn", "a"]);
}

#[test]
fn a_file_in_the_place_of_a_folder_above_goes_to_the_trash() {
    let project = project();
    fs::write(project.path("build"), "mine").unwrap();
    let output = project.file("build/sub/a", b"new");
    assert_eq!(project.check(&output), Standing::Absent);
    assert_eq!(project.place(&output, false).unwrap(), [".cairn/trash/run/build"]);
    assert_eq!(fs::read(project.path(".cairn/trash/run/build")).unwrap(), b"mine");
    assert_eq!(project.check(&output), Standing::InPlace);
}

#[test]
fn special_files_at_the_destination_go_to_the_trash() {
    let project = project();
    assert!(std::process::Command::new("mkfifo").arg(project.path("a")).status().unwrap().success());
    let output = project.file("a", b"new");
    assert_eq!(project.check(&output), Standing::Different);
    assert_eq!(project.place(&output, false).unwrap(), [".cairn/trash/run/a"]);
}

#[test]
fn a_folder_is_placed_with_all_that_is_in_it() {
    let project = project();
    let entry = |path: &[u8], kind| TreeEntry { path: path.to_vec(), kind };
    let tree = Tree::new(vec![
        entry(b"empty", EntryKind::Folder),
        entry(b"sub", EntryKind::Folder),
        entry(b"sub/\xff\n", EntryKind::File(project.store(b"raw", false))),
        entry(b"sub/script", EntryKind::File(project.store(b"run", true))),
        entry(b"link", EntryKind::Link(b"/etc".to_vec())),
        entry(b"dangling", EntryKind::Link(b"\xfe".to_vec())),
    ]);
    let output = output("out", Content::Folder(tree));
    assert_eq!(project.check(&output), Standing::Absent);
    assert_eq!(project.place(&output, false).unwrap(), nothing());
    assert_eq!(project.check(&output), Standing::InPlace);
    assert_eq!(fs::read(project.path("out/sub").join(OsStr::from_bytes(b"\xff\n"))).unwrap(), b"raw");
    assert_eq!(fs::read_link(project.path("out/link")).unwrap(), Path::new("/etc"));

    fs::write(project.path("out/extra"), "mine").unwrap();
    assert_eq!(project.check(&output), Standing::Different);
    assert_eq!(project.place(&output, false).unwrap(), [".cairn/trash/run/out"]);
    assert!(project.path(".cairn/trash/run/out/extra").exists());
    assert_eq!(project.check(&output), Standing::InPlace);

    fs::remove_dir(project.path("out/empty")).unwrap();
    assert_eq!(project.check(&output), Standing::Different);
    assert_eq!(project.place(&output, true).unwrap(), nothing());
    assert_eq!(project.check(&output), Standing::InPlace);
    assert_eq!(project.names("."), [".cairn", "out"]);
}

#[test]
fn many_outputs_are_checked_in_their_order() {
    let project = project();
    let placed = project.file("a", b"1");
    let folder = project.folder("b", &["x", "y"]);
    project.place(&placed, false).unwrap();
    project.place(&folder, false).unwrap();
    symlink("b", project.path("c")).unwrap();
    let outputs = [
        project.file("missing/a", b"1"),
        placed.clone(),
        project.folder("b", &["x"]),
        folder.clone(),
        project.file("a", b"2"),
        project.folder("c", &["x", "y"]),
        project.folder("a", &[]),
        project.file("b", b""),
    ];
    let digests = Digests::new(Box::new(NoRows), 1);
    let outputs: Vec<&Output> = outputs.iter().collect();
    let told = project.placer.check_all(project.top.path(), &outputs, &digests);
    let told: Vec<Standing> = told.into_iter().map(Result::unwrap).collect();
    let different = Standing::Different;
    let (first, rest) = told.split_at(4);
    assert_eq!(first, [Standing::Absent, Standing::InPlace, different, Standing::InPlace]);
    assert_eq!(rest, [different; 4]);
}

#[test]
fn a_folder_above_that_leads_out_of_the_project_is_refused() {
    let project = project();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), project.path("out")).unwrap();
    symlink(".cairn/objects", project.path("state")).unwrap();
    symlink("/there/is/no/such/disk", project.path("unmounted")).unwrap();
    symlink("round", project.path("round")).unwrap();
    for path in ["out/a", "out/sub/a", "state/a", "unmounted/a", "round/a"] {
        let error = project.stage(&project.file(path, b"new")).unwrap_err();
        assert!(matches!(error, PlaceError::LeavesProject { .. }), "{path}: {error}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(project.names(".cairn/tmp"), nothing());

    // Within the project a link is followed.
    fs::create_dir(project.path("real")).unwrap();
    symlink("real", project.path("build")).unwrap();
    project.place(&project.file("build/a", b"new"), false).unwrap();
    assert_eq!(project.names("real"), ["a"]);
    assert!(project.path("build").is_symlink());
}

#[test]
fn a_tree_that_reaches_out_of_its_folder_is_refused() {
    let project = project();
    let outside = tempfile::tempdir().unwrap();
    let content = project.store(b"x", false);
    let link = || EntryKind::Link(outside.path().as_os_str().as_bytes().to_vec());
    let file = || EntryKind::File(content);
    let refused: &[&[(&[u8], EntryKind)]] = &[
        &[(b"..", file())],
        &[(b"../a", file())],
        &[(b"/tmp/a", file())],
        &[(b"/a", file())],
        &[(b"", file())],
        &[(b".", EntryKind::Folder)],
        &[(b"a//b", file())],
        &[(b"a/", EntryKind::Folder)],
        &[(b"a\0b", file())],
        &[(b"missing/a", file())],
        &[(b"a", file()), (b"a/b", file())],
        &[(b"link", link()), (b"link/a", file())],
        &[(b"sub", EntryKind::Folder), (b"sub/..", EntryKind::Folder), (b"sub/../a", file())],
    ];
    for entries in refused {
        let entry = |(path, kind): &(&[u8], EntryKind)| TreeEntry { path: path.to_vec(), kind: kind.clone() };
        let tree = Tree { entries: entries.iter().map(entry).collect() };
        let error = project.stage(&output("out", Content::Folder(tree))).unwrap_err();
        assert!(matches!(error, PlaceError::BadTree { .. }), "{entries:?}: {error}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(project.names("."), [".cairn"]);
}

#[test]
fn what_is_mounted_at_the_destination_is_refused() {
    let project = project();
    fs::create_dir(project.path("out")).unwrap();
    let Some(_mounted) = Mounted::memory(1 << 20, &project.path("out")) else { return };
    fs::write(project.path("out/mine"), "x").unwrap();
    for ours in [false, true] {
        for output in [project.file("out", b"new"), project.folder("out", &["x"])] {
            let error = project.place(&output, ours).unwrap_err();
            assert!(matches!(error, PlaceError::MountPoint { .. }), "{error}");
        }
    }
    // Below it there is no harm in it, and what is in the way is copied to the trash.
    assert_eq!(
        project.place(&project.file("out/mine", b"new"), false).unwrap(),
        [".cairn/trash/run/out/mine"]
    );
    assert_eq!(project.names("out"), ["mine"]);
    assert_eq!(project.names("."), [".cairn", "out"]);
}

#[test]
fn a_placement_that_is_not_swapped_leaves_nothing() {
    let project = project();
    drop(project.stage(&project.file("a", b"new")).unwrap());
    drop(project.stage(&project.folder("b", &["x", "y"])).unwrap());
    let damaged = project.folder("c", &["x", "y"]);
    let Content::Folder(tree) = &damaged.content else { unreachable!("it was made so") };
    let (_, content) = tree.files().next().unwrap();
    fs::remove_file(project.objects.path(&content.digest)).unwrap();
    let error = project.stage(&damaged).unwrap_err();
    assert!(matches!(error, PlaceError::Object(ObjectError::Missing { .. })), "{error}");
    assert_eq!(project.names("."), [".cairn"]);
}

#[test]
fn leftovers_of_a_crash_are_cleaned_and_nothing_else() {
    let project = project();
    std::mem::forget(project.stage(&project.file("build/a", b"new")).unwrap());
    std::mem::forget(project.stage(&project.folder("build/b", &["x"])).unwrap());
    for name in ["build/kept", "build/.cairn-mine.tmp", "build/.hidden"] {
        fs::write(project.path(name), "x").unwrap();
    }
    assert_eq!(Placer::clean_leftovers(&project.path("build")).unwrap(), 2);
    assert_eq!(project.names("build"), [".cairn-mine.tmp", ".hidden", "kept"]);
    assert_eq!(Placer::clean_leftovers(&project.path("build")).unwrap(), 0);
    assert_eq!(Placer::clean_leftovers(&project.path("missing")).unwrap(), 0);
}

#[test]
fn what_was_just_placed_is_known_without_reading_it() {
    let project = project();
    let outputs = [project.file("a", b"new"), project.folder("b", &["x", "y"])];
    let digests = Digests::new(Box::new(NoRows), 1);
    let mut learned = 0;
    for output in &outputs {
        let placed = project.swap(project.stage(output).unwrap(), false).unwrap();
        for file in &placed.files {
            let found = digests.learn(file).unwrap();
            assert_eq!((found.content, found.key), (file.content, file.key));
            let trusted = crate::filesystem::stamps_hold(&file.path) == Some(true);
            assert_eq!(found.settled, trusted);
            if !trusted {
                return;
            }
            // As it is settled, even a wrong digest is believed: nothing is read.
            let content = FileContent { digest: Domain::File.digest(b"lie"), ..file.content };
            digests.learn(&PlacedFile { content, ..file.clone() }).unwrap();
            assert_eq!(digests.file(&file.path).unwrap().content, content);
            learned += 1;
        }
    }
    assert_eq!((learned, digests.take_new_rows().len()), (3, 3));
}

#[test]
fn what_is_written_or_replaced_since_is_not_learned_nor_believed() {
    type Change = fn(&Path);
    let changes: [Change; 5] = [
        |path| fs::write(path, "wen").unwrap(),
        |path| fs::write(path, "new").unwrap(),
        |path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            // Another file with the same times, as by `cp -p` and `mv`.
            let (other, modified) =
                (path.with_extension("other"), fs::metadata(path).unwrap().modified().unwrap());
            fs::write(&other, "wen").unwrap();
            fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
            durable::rename(&other, path).unwrap();
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for learned_before in [false, true] {
            let project = project();
            let placed = project.swap(project.stage(&project.file("a", b"new")).unwrap(), false).unwrap();
            let digests = Digests::new(Box::new(NoRows), 1);
            if learned_before {
                digests.learn(&placed.files[0]).unwrap();
            }
            // Within the same tick of the clock as the rename, if it can be.
            change(&project.path("a"));
            assert_eq!(digests.learn(&placed.files[0]), None, "{number}");
            let now = fs::read(project.path("a")).ok().map(|bytes| Domain::File.digest(&bytes));
            let found = digests.file(&project.path("a")).ok().map(|found| found.content.digest);
            assert_eq!(found, now, "{number}");
        }
    }
}

#[test]
fn a_folder_that_may_not_be_written_is_an_error_and_stays_as_it_was() {
    let project = project();
    fs::create_dir(project.path("build")).unwrap();
    fs::write(project.path("build/a"), "old").unwrap();
    fs::set_permissions(project.path("build"), fs::Permissions::from_mode(0o555)).unwrap();
    let placed = project.place(&project.file("build/a", b"new"), true);
    if placed.is_ok() {
        return; // root
    }
    let error = placed.unwrap_err();
    assert!(error.to_string().contains("permission denied") && error.help().is_some(), "{error}");
    assert_eq!(fs::read(project.path("build/a")).unwrap(), b"old");
    assert_eq!(project.names("build"), ["a"]);
    fs::set_permissions(project.path("build"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_full_disk_leaves_what_stood_there() {
    let project = project();
    let output = project.file("small/a", &vec![7; 2 << 20]);
    fs::create_dir(project.path("small")).unwrap();
    let Some(_mounted) = Mounted::memory(1 << 20, &project.path("small")) else { return };
    fs::write(project.path("small/a"), "old").unwrap();
    let error = project.stage(&output).unwrap_err();
    assert!(matches!(&error, PlaceError::Object(ObjectError::Io(error)) if error.is_disk_full()), "{error}");
    assert_eq!(fs::read(project.path("small/a")).unwrap(), b"old");
    assert_eq!(project.names("small"), ["a"]);
}
