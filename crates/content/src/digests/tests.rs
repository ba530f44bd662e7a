use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use cairn_model::{Domain, EntryKind, TreeEntry};
use rustix::fs::CWD;
use tempfile::TempDir;

use super::*;

/// Rows in memory that count how often they are asked.
#[derive(Default, Clone)]
struct Stored {
    rows: HashMap<FileKey, Row>,
    calls: Arc<AtomicUsize>,
}

impl Rows for Stored {
    fn get(&self, keys: &[FileKey]) -> Vec<Option<Row>> {
        assert!(keys.is_sorted() && keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
        self.calls.fetch_add(1, Ordering::Relaxed);
        keys.iter().map(|key| self.rows.get(key).copied()).collect()
    }
}

/// Digests for which every file that is there is settled.
fn later(stored: &Stored) -> Digests {
    let now_ns = || filesystem::now_ns() + 10 * SETTLED_NS;
    Digests { now_ns, ..Digests::new(Box::new(stored.clone()), 1) }
}

fn folder_of(files: usize) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..files).map(|number| folder.path().join(number.to_string())).collect();
    for path in &paths {
        fs::write(path, path.as_os_str().as_bytes()).unwrap();
    }
    (folder, paths)
}

/// Rows for `paths` that say that each holds `lie`.
fn lies(paths: &[PathBuf]) -> Stored {
    let row = |path: &PathBuf| {
        let metadata = fs::metadata(path).unwrap();
        (FileKey::of(&metadata), Row { stamp: Stamp::of(&metadata), digest: Domain::File.digest(b"lie") })
    };
    Stored { rows: paths.iter().map(row).collect(), ..Stored::default() }
}

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn set_mtime(path: &Path, seconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
}

/// Waits until the clock of the filesystem has moved on.
fn tick() {
    let before = filesystem::now_ns();
    while filesystem::now_ns() - before < 20_000_000 {
        std::thread::yield_now();
    }
}

#[test]
fn many_files_are_found_in_their_order_with_one_call_for_the_rows() {
    let (_folder, mut paths) = folder_of(100);
    paths.reverse();
    paths.push(paths[7].clone());
    let stored = Stored::default();
    let found = later(&stored).files(&paths);
    for (path, found) in paths.iter().zip(found) {
        assert_eq!(found.unwrap().content.digest, Domain::File.digest(path.as_os_str().as_bytes()));
    }
    assert_eq!(stored.calls.load(Ordering::Relaxed), 1);
}

#[test]
fn rows_are_kept_once_and_only_of_settled_files() {
    let (_folder, paths) = folder_of(3);
    let fresh = Digests::new(Box::new(Stored::default()), 1);
    assert!(fresh.files(&paths).into_iter().all(|found| !found.unwrap().settled));
    assert_eq!(fresh.take_new_rows(), []);

    let digests = later(&Stored::default());
    assert!(digests.files(&paths).into_iter().all(|found| found.unwrap().settled));
    let rows = digests.take_new_rows();
    assert_eq!(rows.len(), 3);
    digests.files(&paths);
    assert_eq!(digests.take_new_rows(), []);

    let stored = Stored { rows: rows.into_iter().collect(), ..Stored::default() };
    let digests = later(&stored);
    assert!(digests.files(&paths).into_iter().all(|found| found.is_ok()));
    assert_eq!(digests.take_new_rows(), []);
}

#[test]
fn a_row_stands_for_reading_until_the_file_changes() {
    let (_folder, paths) = folder_of(20);
    // Only a row that is not checked can lie; the one that is checked is the error.
    let stored = lies(&paths);
    let digests = later(&stored);
    let lie = Domain::File.digest(b"lie");
    let found = digests.files(&paths);
    let trusted =
        |found: &Result<Found, DigestError>| found.as_ref().is_ok_and(|found| found.content.digest == lie);
    assert_eq!(found.iter().filter(|found| trusted(found)).count(), 19);

    let change = |path: &Path, kind: usize| match kind {
        0 => fs::write(path, "longer than it was before").unwrap(),
        1 => set_mtime(path, 1_000_000_000),
        2 => fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap(),
        _ => {
            let beside = path.with_extension("new");
            fs::write(&beside, fs::read(path).unwrap()).unwrap();
            crate::durable::rename(&beside, path).unwrap();
        }
    };
    for (kind, path) in paths.iter().take(4).enumerate() {
        change(path, kind);
        let found = digests.file(path).unwrap();
        assert_eq!(found.content.digest, Domain::File.digest(&fs::read(path).unwrap()), "{kind}");
        assert!(!found.reread);
    }
}

#[test]
fn at_least_one_row_and_about_one_in_a_hundred_is_checked() {
    let (_folder, paths) = folder_of(1000);
    let honest = later(&Stored::default());
    honest.files(&paths);
    let stored = Stored { rows: honest.take_new_rows().into_iter().collect(), ..Stored::default() };

    let checked = |seed, paths: &[PathBuf]| -> Vec<usize> {
        let found = Digests::new(Box::new(stored.clone()), seed).files(paths);
        let found = found.iter().map(|found| found.as_ref().unwrap().reread).enumerate();
        found.filter_map(|(at, reread)| reread.then_some(at)).collect()
    };
    let total: usize = (0..10).map(|seed| checked(seed, &paths).len()).sum();
    assert!((50..200).contains(&total), "{total} of 10 000");
    assert_eq!(checked(1, &paths), checked(1, &paths));
    assert_ne!(checked(1, &paths), checked(2, &paths));
    for seed in 0..20 {
        assert!(!checked(seed, &paths[..1]).is_empty() && !checked(seed, &paths[..10]).is_empty(), "{seed}");
    }
}

#[test]
fn one_by_one_too_only_the_first_row_is_checked_for_certain() {
    let (_folder, paths) = folder_of(20);
    let digests = later(&lies(&paths));
    let errors = paths.iter().filter(|path| digests.file(path).is_err()).count();
    assert!((1..5).contains(&errors), "{errors}");
}

#[test]
fn a_huge_file_is_not_the_one_that_is_checked_for_certain() {
    let (_folder, paths) = folder_of(1);
    fs::File::options().write(true).open(&paths[0]).unwrap().set_len(CERTAIN_CHECK_MAX + 1).unwrap();
    let stored = lies(&paths);
    let digests = later(&stored);
    let chance = digests.chance(*stored.rows.keys().next().unwrap());
    assert_eq!(digests.file(&paths[0]).is_err(), chance.is_multiple_of(100));
}

#[test]
fn a_stamp_that_lied_is_an_error_once() {
    let (_folder, paths) = folder_of(1);
    // Also when the file is younger than it should be by now: the row says that it was settled.
    for digests in [later(&lies(&paths)), Digests::new(Box::new(lies(&paths)), 1)] {
        let error = digests.file(&paths[0]).unwrap_err();
        assert!(matches!(&error, DigestError::StampLied { path } if *path == paths[0]), "{error}");
        assert!(error.help().unwrap().contains("touch"));
        let rows = digests.take_new_rows();
        assert_eq!(rows[0].1.digest, Domain::File.digest(&fs::read(&paths[0]).unwrap()));
        assert_eq!(digests.file(&paths[0]).unwrap().content.digest, rows[0].1.digest);
    }
}

#[test]
fn stamps_of_a_filesystem_that_is_not_known_are_not_trusted() {
    let digests = later(&Stored::default());
    let version = Path::new("/proc/version");
    if !version.exists() {
        return;
    }
    let found = digests.file(version).unwrap();
    assert!(!found.settled);
    assert_eq!(found.content.digest, Domain::File.digest(&fs::read(version).unwrap()));
    assert_eq!(digests.take_new_rows(), []);
}

#[test]
fn what_is_no_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    fifo(&path("fifo"));
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    symlink("loop", path("loop")).unwrap();
    symlink("nothing", path("dangling")).unwrap();
    symlink("fifo", path("to-fifo")).unwrap();
    fs::write(path("file"), "x").unwrap();
    let digests = later(&Stored::default());
    let check = |path: &Path, expect: &str| {
        let error = digests.file(path).unwrap_err();
        let prefix = format!("{}/", folder.path().display());
        assert_eq!(error.to_string().replace(&prefix, ""), expect);
        assert_eq!(error.path(), path);
    };
    check(&path("missing"), "`missing` does not exist");
    check(&path("file/below"), "`file/below` does not exist");
    check(&path("folder"), "`folder` is a folder, not a file");
    check(&path("fifo"), "`fifo` is a FIFO, not a file");
    check(&path("to-fifo"), "`to-fifo` is a FIFO, not a file");
    check(&path("socket"), "`socket` is a socket, not a file");
    check(Path::new("/dev/null"), "`/dev/null` is a device, not a file");
    check(&path("loop"), "`loop` is a link that leads in a circle");
    check(&path("dangling"), "`dangling` is a link to `nothing`, which does not exist");
    let error = digests.tree(&path("file")).unwrap_err();
    assert!(matches!(error, DigestError::NotFolder { .. }), "{error}");
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_passed_over() {
    let digests = later(&Stored::default());
    // Opens for anyone and reads for no one, not even for root.
    if Path::new("/proc/self/mem").exists() {
        let error = digests.file(Path::new("/proc/self/mem")).unwrap_err();
        assert!(matches!(error, DigestError::Unreadable(_)), "{error}");
    }
    let (folder, paths) = folder_of(2);
    fs::set_permissions(&paths[1], fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&paths[1]).is_ok() {
        return; // root
    }
    for error in [digests.file(&paths[1]).unwrap_err(), digests.tree(folder.path()).unwrap_err()] {
        assert!(matches!(error, DigestError::Unreadable(_)), "{error}");
        assert_eq!(error.path(), paths[1]);
    }
}

#[test]
fn a_file_that_grows_all_the_time_is_being_written() {
    let (_folder, paths) = folder_of(1);
    let stop = AtomicBool::new(false);
    // Long enough to read that the writer, which waits for nothing, gets in between.
    let mut file = File::options().append(true).open(&paths[0]).unwrap();
    file.set_len(100 << 20).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"x").unwrap();
            }
        });
        let found = later(&Stored::default()).file(&paths[0]);
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(found, Err(DigestError::Unstable { .. })), "{found:?}");
    });
    assert!(later(&Stored::default()).file(&paths[0]).is_ok());
}

#[test]
fn a_file_that_is_replaced_all_the_time_is_one_or_the_other() {
    let (folder, paths) = folder_of(1);
    let versions = [vec![b'a'; 5000], vec![b'b'; 5000]];
    fs::write(&paths[0], &versions[0]).unwrap();
    let stop = AtomicBool::new(false);
    let digests = later(&Stored::default());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let beside = folder.path().join("beside");
            for version in versions.iter().cycle() {
                fs::write(&beside, version).unwrap();
                crate::durable::rename(&beside, &paths[0]).unwrap();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let expect = versions.each_ref().map(|version| Domain::File.digest(version));
        for _ in 0..200 {
            match digests.file(&paths[0]) {
                Ok(found) => assert!(expect.contains(&found.content.digest)),
                Err(error) => assert!(matches!(error, DigestError::Unstable { .. }), "{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_link_is_followed_and_told() {
    let (folder, paths) = folder_of(2);
    let link = folder.path().join("link");
    symlink("0", &link).unwrap();
    let digests = later(&Stored::default());
    let found = digests.file(&link).unwrap();
    let target = digests.file(&paths[0]).unwrap();
    assert_eq!(found.link.as_deref(), Some(&b"0"[..]));
    assert_eq!((found.content, found.key, target.link.as_ref()), (target.content, target.key, None));
    assert!(digests.unchanged(&link, &found).unwrap());

    // The same file by another way, and then another file.
    for other in [paths[0].as_path(), Path::new("1")] {
        fs::remove_file(&link).unwrap();
        symlink(other, &link).unwrap();
        assert!(!digests.unchanged(&link, &found).unwrap(), "{}", other.display());
    }
}

#[test]
fn a_second_look_sees_each_way_of_changing() {
    type Change = fn(&Path);
    let check = |change: Change, expect: bool, what: &str| {
        for settled in [false, true] {
            let (folder, paths) = folder_of(1);
            set_mtime(&paths[0], 1_000_000_000);
            let digests = Digests::new(Box::new(Stored::default()), 1);
            let digests = if settled { later(&Stored::default()) } else { digests };
            let found = digests.file(&paths[0]).unwrap();
            let tree = digests.tree(folder.path()).unwrap();
            assert_eq!(found.settled, settled);
            tick();
            change(&paths[0]);
            assert_eq!(digests.unchanged(&paths[0], &found).unwrap(), expect, "{what}");
            assert_eq!(digests.tree_unchanged(folder.path(), &tree).unwrap(), expect, "tree, {what}");
        }
    };
    check(|_| {}, true, "nothing");
    check(|path| fs::write(path, "other").unwrap(), false, "written");
    check(|path| fs::write(path, fs::read(path).unwrap()).unwrap(), false, "written and back again");
    check(
        |path| {
            let length = fs::metadata(path).unwrap().len();
            fs::write(path, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
            set_mtime(path, 1_000_000_000);
        },
        false,
        "written under the old time",
    );
    check(|path| fs::remove_file(path).unwrap(), false, "removed");
    check(
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        false,
        "a folder",
    );
    check(
        |path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap(),
        false,
        "made executable",
    );
    check(
        |path| {
            let elsewhere = tempfile::tempdir_in(path.parent().unwrap().parent().unwrap()).unwrap();
            fs::hard_link(path, elsewhere.path().join("second")).unwrap();
        },
        true,
        "had a second name for a while",
    );
}

#[test]
fn a_tree_keeps_names_empty_folders_links_and_bits() {
    let top = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    let path = |name: &[u8]| top.path().join(OsStr::from_bytes(name));
    fs::create_dir_all(path(b"a/empty")).unwrap();
    fs::write(path(b"a/\xff\n"), "raw").unwrap();
    fs::write(path(b"a-b"), "sorts before a/").unwrap();
    fs::write(path(b"script"), "run").unwrap();
    fs::set_permissions(path(b"script"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink(outside.path(), path(b"a/link")).unwrap();
    symlink("loop", path(b"loop")).unwrap();

    let file = |bytes: &[u8], executable| {
        EntryKind::File(FileContent {
            digest: Domain::File.digest(bytes),
            size: bytes.len() as u64,
            executable,
        })
    };
    let outside_name = outside.path().as_os_str().as_bytes().to_vec();
    let expect = [
        (&b"a"[..], EntryKind::Folder),
        (b"a-b", file(b"sorts before a/", false)),
        (b"a/empty", EntryKind::Folder),
        (b"a/link", EntryKind::Link(outside_name)),
        (b"a/\xff\n", file(b"raw", false)),
        (b"loop", EntryKind::Link(b"loop".to_vec())),
        (b"script", file(b"run", true)),
    ];
    let expect: Vec<_> =
        expect.into_iter().map(|(path, kind)| TreeEntry { path: path.to_vec(), kind }).collect();

    let digests = later(&Stored::default());
    let found = digests.tree(top.path()).unwrap();
    assert_eq!(found.tree.entries, expect);
    assert_eq!(found.link, None);
    let names: Vec<&[u8]> = found.files.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(names, [&b"a-b"[..], b"a/\xff\n", b"script"]);
    assert_eq!(digests.take_new_rows().len(), 3);

    let link = outside.path().join("to-top");
    symlink(top.path(), &link).unwrap();
    let by_link = digests.tree(&link).unwrap();
    assert_eq!(by_link.tree, found.tree);
    assert_eq!(by_link.link.as_deref(), Some(top.path().as_os_str().as_bytes()));
}

#[test]
fn deep_and_wide_trees_are_whole() {
    let top = tempfile::tempdir().unwrap();
    let mut deep = top.path().to_owned();
    for _ in 0..300 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("last"), "x").unwrap();
    for number in 0..500 {
        fs::write(top.path().join(number.to_string()), number.to_string()).unwrap();
    }
    let found = later(&Stored::default()).tree(top.path()).unwrap();
    assert_eq!((found.tree.entries.len(), found.files.len()), (801, 501));
    assert!(found.tree.entries.is_sorted_by(|left, right| left.path < right.path));
    for (name, found) in &found.files {
        let bytes: &[u8] = if name.ends_with(b"last") { b"x" } else { name };
        assert_eq!(found.content.digest, Domain::File.digest(bytes));
    }
}

#[test]
fn a_special_file_anywhere_in_a_tree_is_an_error() {
    let (folder, _) = folder_of(3);
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    let path = folder.path().join("a/b/pipe");
    fifo(&path);
    let error = later(&Stored::default()).tree(folder.path()).unwrap_err();
    assert!(matches!(&error, DigestError::Special { path: at, kind: "FIFO" } if *at == path), "{error}");
}
