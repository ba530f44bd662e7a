//! What was in the way and is not cairn's (I11): moved to the state folder's `trash/`, never overwritten.

use std::io;
use std::path::{Path, PathBuf};

use cairn_model::ProjectPath;

use crate::FileError;
use crate::durable::{Barrier, create_folders, parent};
use crate::relocate::relocate;

/// Things of one name in one run's trash: far more than are ever put there.
const SAME_NAME_MAX: u32 = 1000;

/// Moves what is at `path` below `folder` to `trash/<stamp>/<path>` in the state folder, durably, and returns where it
/// is. `stamp` is the run's id. If that name is taken, the folder is called `<stamp>~1` and so on.
///
/// A link is moved as a link. What lies on another filesystem is copied, made durable and then removed.
pub fn move_to_trash(
    state: &Path,
    stamp: &str,
    folder: &Path,
    path: &ProjectPath,
) -> Result<PathBuf, FileError> {
    put(state, stamp, &path.below(folder), Path::new(path.as_str()))
}

/// Moves `from` to `trash/<stamp>/<name>`, as [`move_to_trash`].
pub(crate) fn put(state: &Path, stamp: &str, from: &Path, name: &Path) -> Result<PathBuf, FileError> {
    let mut last = None;
    for number in 0..SAME_NAME_MAX {
        let stamp = if number == 0 { stamp.to_owned() } else { format!("{stamp}~{number}") };
        let to = state.join("trash").join(stamp).join(name);
        let mut barrier = Barrier::new();
        let moved =
            create_folders(parent(&to), &mut barrier).and_then(|()| relocate(from, &to, &mut barrier));
        match moved {
            Ok(()) => {
                barrier.folder(parent(&to));
                barrier.folder(parent(from));
                barrier.sync()?;
                tracing::info!(from = %from.display(), to = %to.display(), "moved to the trash");
                return Ok(to);
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) =>
            {
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.expect("each of the names was taken"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::mounted::Mounted;

    fn path(text: &str) -> ProjectPath {
        ProjectPath::parse(text).unwrap()
    }

    #[test]
    fn things_of_one_name_do_not_replace_each_other() {
        let top = tempfile::tempdir().unwrap();
        let state = top.path().join(".cairn");
        fs::create_dir(&state).unwrap();
        let trash = |name: &str| move_to_trash(&state, "run", top.path(), &path(name)).unwrap();
        // A file, a file of the same name, and a folder of that name with something in it.
        fs::write(top.path().join("a"), "1").unwrap();
        assert_eq!(trash("a"), state.join("trash/run/a"));
        fs::write(top.path().join("a"), "2").unwrap();
        assert_eq!(trash("a"), state.join("trash/run~1/a"));
        fs::create_dir_all(top.path().join("a/sub")).unwrap();
        fs::write(top.path().join("a/sub/b"), "3").unwrap();
        assert_eq!(trash("a/sub/b"), state.join("trash/run~2/a/sub/b"));
        assert_eq!(trash("a/sub"), state.join("trash/run~3/a/sub"));
        assert_eq!(trash("a"), state.join("trash/run~4/a"));
        assert_eq!(fs::read(state.join("trash/run/a")).unwrap(), b"1");
        assert_eq!(fs::read(state.join("trash/run~1/a")).unwrap(), b"2");
        assert_eq!(fs::read(state.join("trash/run~2/a/sub/b")).unwrap(), b"3");
        assert!(!top.path().join("a").exists());
    }

    #[test]
    fn a_link_is_moved_and_what_it_leads_to_stays() {
        let top = tempfile::tempdir().unwrap();
        let state = top.path().join(".cairn");
        fs::write(top.path().join("target"), "x").unwrap();
        symlink("target", top.path().join("link")).unwrap();
        let moved = move_to_trash(&state, "run", top.path(), &path("link")).unwrap();
        assert_eq!(fs::read_link(moved).unwrap(), Path::new("target"));
        assert!(top.path().join("target").exists());
    }

    #[test]
    fn what_is_not_there_cannot_be_moved() {
        let top = tempfile::tempdir().unwrap();
        let error = move_to_trash(&top.path().join(".cairn"), "run", top.path(), &path("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn from_another_filesystem_it_is_copied_whole() {
        let top = tempfile::tempdir().unwrap();
        let (state, other) = (top.path().join(".cairn"), top.path().join("other"));
        fs::create_dir(&other).unwrap();
        let Some(_mounted) = Mounted::memory(1 << 20, &other) else { return };
        fs::create_dir_all(other.join("folder/empty")).unwrap();
        fs::write(other.join("folder/script"), "run").unwrap();
        fs::set_permissions(other.join("folder/script"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/etc", other.join("folder/link")).unwrap();
        let written = fs::metadata(other.join("folder/script")).unwrap().modified().unwrap();

        let moved = move_to_trash(&state, "run", top.path(), &path("other/folder")).unwrap();
        assert!(!other.join("folder").exists() && moved.join("empty").is_dir());
        assert_eq!(fs::read(moved.join("script")).unwrap(), b"run");
        let metadata = fs::metadata(moved.join("script")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o755);
        assert_eq!(metadata.modified().unwrap(), written);
        assert_eq!(fs::read_link(moved.join("link")).unwrap(), Path::new("/etc"));
        assert!(Path::new("/etc").exists());

        for name in ["file", "link"] {
            fs::write(other.join("file"), "x").unwrap();
            symlink("file", other.join("link")).unwrap();
            move_to_trash(&state, "run", top.path(), &path(&format!("other/{name}"))).unwrap();
            assert!(other.join(name).symlink_metadata().is_err());
            for entry in fs::read_dir(&other).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }
}
