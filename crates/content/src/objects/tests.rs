use std::os::unix::fs::symlink;

use cairn_model::Domain;
use tempfile::TempDir;

use super::*;
use crate::mounted::Mounted;

fn content(bytes: &[u8]) -> FileContent {
    FileContent { digest: Domain::File.digest(bytes), size: bytes.len() as u64, executable: false }
}

/// A state folder with one object, and that object's content.
fn store_with(bytes: &[u8]) -> (TempDir, Objects, FileContent) {
    let state = tempfile::tempdir().unwrap();
    let objects = Objects::open(state.path(), Arc::new(NoSmall)).unwrap();
    let content = content(bytes);
    let staged = state.path().join("staged");
    fs::write(&staged, bytes).unwrap();
    adopt(&objects, &staged, &content);
    (state, objects, content)
}

fn adopt(objects: &Objects, staged: &Path, content: &FileContent) {
    let mut barrier = Barrier::new();
    objects.prepare(staged, content, &mut barrier).unwrap();
    barrier.sync().unwrap();
    let mut barrier = Barrier::new();
    objects.adopt(staged, &content.digest, &mut barrier).unwrap();
    barrier.sync().unwrap();
    assert!(!staged.exists());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn what_goes_in_comes_out() {
    for bytes in [vec![], b"abc".to_vec(), vec![7; 3_000_000]] {
        let (state, objects, content) = store_with(&bytes);
        assert!(objects.contains(&content.digest, content.size));
        assert!(!objects.contains(&content.digest, content.size + 1));
        assert_eq!(mode(&objects.path(&content.digest)), 0o444);
        for executable in [false, true] {
            let to = state.path().join(format!("out-{executable}"));
            objects.copy_out(&FileContent { executable, ..content }, &to).unwrap();
            assert_eq!(fs::read(&to).unwrap(), bytes);
            assert_eq!(mode(&to), if executable { 0o755 } else { 0o644 });
            // A copy that is edited must not reach the object.
            fs::write(&to, "edited").unwrap();
        }
        assert_eq!(fs::read(objects.path(&content.digest)).unwrap(), bytes);
    }
}

#[test]
fn a_file_with_a_second_name_becomes_an_object_of_its_own() {
    let (state, objects, _) = store_with(b"");
    let (staged, second) = (state.path().join("staged"), state.path().join("second"));
    fs::write(&staged, "abc").unwrap();
    fs::hard_link(&staged, &second).unwrap();
    let content = content(b"abc");
    adopt(&objects, &staged, &content);
    fs::write(&second, "xyz").unwrap();
    assert_eq!(fs::read(objects.path(&content.digest)).unwrap(), b"abc");
    assert_eq!(mode(&objects.path(&content.digest)), 0o444);
}

#[test]
fn what_is_not_what_was_said_does_not_come_in() {
    let (state, objects, _) = store_with(b"");
    let path = |name: &str| state.path().join(name);
    fs::write(path("file"), "abc").unwrap();
    symlink("file", path("link")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    let mut barrier = Barrier::new();
    let mut prepare =
        |name: &str, bytes| objects.prepare(&path(name), &content(bytes), &mut barrier).unwrap_err();
    assert!(matches!(prepare("file", b"longer"), ObjectError::Changed { .. }));
    assert!(matches!(prepare("folder", b"abc"), ObjectError::Changed { .. }));
    assert!(matches!(prepare("link", b"abc"), ObjectError::Io(_)));
    assert!(matches!(prepare("missing", b"abc"), ObjectError::Io(_)));
    let error = objects.copy_in(&path("file"), &content(b"xyz"), &mut barrier).unwrap_err();
    assert!(matches!(error, ObjectError::Changed { .. }), "{error}");
    assert_eq!(fs::read_dir(path("tmp")).unwrap().count(), 0);
}

#[test]
fn what_is_copied_in_is_adopted_once_it_is_durable() {
    let (state, objects, _) = store_with(b"");
    let from = state.path().join("from");
    fs::write(&from, "abc").unwrap();
    let content = content(b"abc");
    let mut barrier = Barrier::new();
    let copied = objects.copy_in(&from, &content, &mut barrier).unwrap();
    assert!(!objects.contains(&content.digest, 3));
    barrier.sync().unwrap();
    objects.adopt(&copied, &content.digest, &mut Barrier::new()).unwrap();
    assert!(objects.contains(&content.digest, 3) && from.exists());
    assert_eq!(mode(&objects.path(&content.digest)), 0o444);
}

#[test]
fn a_missing_object_is_told_as_missing() {
    let (state, objects, _) = store_with(b"");
    let to = state.path().join("to");
    let error = objects.copy_out(&content(b"never stored"), &to).unwrap_err();
    assert!(matches!(error, ObjectError::Missing { .. }), "{error}");
    assert!(!to.exists());
}

#[test]
fn a_damaged_object_never_comes_out_and_moves_to_the_trash() {
    type Damage = fn(&Path);
    let damages: [Damage; 6] = [
        |object| flip_last_byte(object),
        |object| writable(object).set_len(10).unwrap(),
        |object| writable(object).set_len(0).unwrap(),
        |object| writable(object).set_len(2_000_000).unwrap(),
        |object| {
            fs::remove_file(object).unwrap();
            symlink("/dev/zero", object).unwrap();
        },
        |object| {
            fs::remove_file(object).unwrap();
            fs::create_dir(object).unwrap();
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let bytes = vec![7; 1_000_000];
        let (state, objects, content) = store_with(&bytes);
        let object = objects.path(&content.digest);
        let to = state.path().join("to");
        for round in 0..2 {
            damage(&object);
            let error = objects.copy_out(&content, &to).unwrap_err();
            let ObjectError::Damaged { digest, moved } = &error else { panic!("{number}: {error}") };
            assert_eq!(*digest, content.digest);
            assert!(
                moved.starts_with(state.path().join("trash")) && moved.symlink_metadata().is_ok(),
                "{round}"
            );
            assert!(!to.exists() && object.symlink_metadata().is_err());
            assert!(matches!(objects.copy_out(&content, &to).unwrap_err(), ObjectError::Missing { .. }));
            // Made anew it is as good as ever.
            let staged = state.path().join("staged");
            fs::write(&staged, &bytes).unwrap();
            adopt(&objects, &staged, &content);
        }
        objects.copy_out(&content, &to).unwrap();
    }
}

fn writable(object: &Path) -> File {
    fs::set_permissions(object, Permissions::from_mode(0o644)).unwrap();
    File::options().write(true).open(object).unwrap()
}

fn flip_last_byte(object: &Path) {
    use std::os::unix::fs::FileExt;
    let length = fs::metadata(object).unwrap().len();
    writable(object).write_all_at(b"!", length - 1).unwrap();
}

#[test]
fn an_object_that_comes_in_again_replaces_a_damaged_one() {
    let (state, objects, content) = store_with(b"abc");
    flip_last_byte(&objects.path(&content.digest));
    let staged = state.path().join("staged");
    fs::write(&staged, "abc").unwrap();
    adopt(&objects, &staged, &content);
    objects.copy_out(&content, &state.path().join("to")).unwrap();
}

#[test]
fn what_stands_there_is_not_replaced_by_a_copy() {
    let (state, objects, content) = store_with(b"abc");
    let (to, target) = (state.path().join("to"), state.path().join("target"));
    for is_link in [false, true] {
        if is_link {
            symlink(&target, &to).unwrap();
        } else {
            fs::write(&to, "mine").unwrap();
        }
        let error = objects.copy_out(&content, &to).unwrap_err();
        assert!(
            matches!(&error, ObjectError::Io(error) if error.kind() == io::ErrorKind::AlreadyExists),
            "{error}"
        );
        assert!(to.symlink_metadata().is_ok() && !target.exists());
        fs::remove_file(&to).unwrap();
    }
}

#[test]
fn a_full_disk_is_told_with_the_path_and_leaves_nothing() {
    let (state, objects, content) = store_with(&vec![7; 2 << 20]);
    let small = state.path().join("small");
    fs::create_dir(&small).unwrap();
    let Some(_mounted) = Mounted::memory(1 << 20, &small) else { return };
    let error = objects.copy_out(&content, &small.join("to")).unwrap_err();
    let ObjectError::Io(file_error) = &error else { panic!("{error}") };
    assert!(file_error.is_disk_full() && error.to_string().ends_with("small/to`"), "{error}");
    assert!(error.help().is_some());
    assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
    assert!(objects.contains(&content.digest, content.size));
}

/// Small objects that a test keeps.
#[derive(Default)]
struct Kept(Mutex<HashMap<Digest, Vec<u8>>>);

impl SmallObjects for Kept {
    fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(digest).cloned()
    }
}

#[test]
fn small_objects_are_there_while_they_are_taken_in_and_once_they_are_kept() {
    let state = tempfile::tempdir().unwrap();
    let kept = Arc::new(Kept::default());
    let objects = Objects::open(state.path(), Arc::clone(&kept) as Arc<dyn SmallObjects>).unwrap();
    let (from, to) = (state.path().join("from"), state.path().join("to"));
    for length in [0, 1, 4096] {
        let bytes = vec![b'x'; length];
        fs::write(&from, &bytes).unwrap();
        let content = FileContent { executable: true, ..content(&bytes) };
        assert_eq!(objects.take_in(&from, &content).unwrap(), bytes);
        assert!(!objects.contains(&content.digest, content.size), "it is not durable yet");
        let out = || {
            objects.copy_out(&content, &to)?;
            assert_eq!((fs::read(&to).unwrap(), mode(&to)), (bytes.clone(), 0o755));
            fs::remove_file(&to).unwrap();
            Ok::<_, ObjectError>(())
        };
        out().unwrap();
        objects.forget_taken();
        assert!(matches!(out(), Err(ObjectError::Missing { .. })));
        kept.0.lock().unwrap().insert(content.digest, bytes.clone());
        out().unwrap();
        assert!(objects.contains(&content.digest, content.size));
        assert!(!objects.contains(&content.digest, content.size + 1));
        // Bytes that are not those of the digest are none.
        kept.0.lock().unwrap().insert(content.digest, b"other".to_vec());
        assert!(!objects.contains(&content.digest, content.size));
        assert!(matches!(out(), Err(ObjectError::Missing { .. })));
    }
}

#[test]
fn what_is_not_the_small_object_that_was_said_is_not_taken_in() {
    let (state, objects, _) = store_with(b"");
    let from = state.path().join("from");
    fs::write(&from, vec![b'x'; 5000]).unwrap();
    for said in [content(b"abc"), content(&[b'x'; 4096]), content(&[b'x'; 5000])] {
        let error = objects.take_in(&from, &said).unwrap_err();
        assert!(matches!(error, ObjectError::Changed { .. }), "{error}");
    }
    symlink(&from, state.path().join("link")).unwrap();
    objects.take_in(&state.path().join("link"), &content(&[b'x'; 5000])).unwrap_err();
}
