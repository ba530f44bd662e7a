use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::file_error::cannot;
use crate::{FileError, temporary};

/// Folders open at once. What lies deeper is moved up to the top of the tree and removed from there.
const OPEN_MAX: usize = 64;

/// Removes `path` with all in it, which lies below the folder `below`: in all that is cairn's, the state folder.
///
/// Each step goes by an open folder and a name in it. So no link is followed, neither in `path` nor in what is
/// removed, even if something puts one there meanwhile, and nothing beyond a mount point is touched. Folders that
/// may not be written are removed too. A path that is not there is removed already.
///
/// # Errors
/// `InvalidInput` for a path that is not below `below`; else what the system answered, in which case a part may be gone.
pub fn remove_tree(below: &Path, path: &Path) -> Result<(), FileError> {
    match remove(below, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot("remove", path)(error)),
    }
}

fn remove(below: &Path, path: &Path) -> io::Result<()> {
    let mut names = names_below(below, path)?;
    let last = names.pop().ok_or_else(|| outside(below))?;
    let folder = open_below(below, names)?;
    remove_entry(folder.as_fd(), last, FileType::Unknown)
}

/// Who owns a folder and what they may do in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    mode: u32,
    owner: u32,
    group: u32,
}

impl Rights {
    /// Returns those of the folder at `path`.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        let data = std::fs::symlink_metadata(path).map_err(cannot("read the folder", path))?;
        Ok(Self { mode: data.mode(), owner: data.uid(), group: data.gid() })
    }
}

/// Removes all in the folder `path`, which lies below the folder `below`, but the folders `kept`: their paths below it,
/// each with the folders above it. As [`remove_tree`] it follows no link and touches nothing that is mounted in it.
///
/// # Errors
/// `NotFound` when a kept folder is not there, `InvalidData` when one has not the given `rights`: what is left is then not
/// as it was made. Else as [`remove_tree`].
pub fn empty_tree(
    below: &Path,
    path: &Path,
    kept: &BTreeSet<PathBuf>,
    rights: Rights,
) -> Result<(), FileError> {
    let open_top = || open_below(below, names_below(below, path)?);
    let top = open_top().map_err(cannot("empty", path))?;
    let empty = |inner: &Path| -> io::Result<()> {
        let mut folder = None;
        for name in names_below(Path::new(""), inner)? {
            folder = Some(open_folder(folder.as_ref().unwrap_or(&top).as_fd(), &name)?);
        }
        let folder = folder.as_ref().unwrap_or(&top);
        let data = rustix::fs::fstat(folder)?;
        if rights != (Rights { mode: data.st_mode, owner: data.st_uid, group: data.st_gid }) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its owner or mode was changed"));
        }
        for (name, kind) in entries(folder)? {
            if !kept.contains(&inner.join(OsStr::from_bytes(name.to_bytes()))) {
                remove_entry(folder.as_fd(), name, kind)?;
            }
        }
        Ok(())
    };
    let inner = kept.iter().map(PathBuf::as_path);
    std::iter::once(Path::new("")).chain(inner).try_for_each(empty).map_err(cannot("empty", path))
}

fn outside(below: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is not below `{}`", below.display()))
}

/// Returns the names that lead from `below` down to `path`.
fn names_below(below: &Path, path: &Path) -> io::Result<Vec<CString>> {
    let name = |component| match component {
        Component::Normal(name) => c_string(name),
        _ => Err(outside(below)),
    };
    path.strip_prefix(below).map_err(|_| outside(below))?.components().map(name).collect()
}

fn open_below(below: &Path, names: Vec<CString>) -> io::Result<OwnedFd> {
    let folder = rustix::fs::openat(CWD, below, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
    names.into_iter().try_fold(folder, |folder, name| open_folder(folder.as_fd(), &name))
}

fn entries(folder: &OwnedFd) -> io::Result<Vec<(CString, FileType)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(entries)
}

fn remove_entry(folder: BorrowedFd<'_>, name: CString, kind: FileType) -> io::Result<()> {
    let kind = if kind == FileType::Unknown { file_type(folder, &name)? } else { kind };
    match kind {
        FileType::Directory => remove_folder(folder, name),
        _ => Ok(rustix::fs::unlinkat(folder, &name, AtFlags::empty())?),
    }
}

/// A folder being emptied.
struct Level {
    folder: OwnedFd,
    name: CString,
    /// What is still in it.
    entries: Vec<(CString, FileType)>,
}

impl Level {
    fn open(parent: BorrowedFd<'_>, name: CString) -> io::Result<Self> {
        let folder = open_folder(parent, &name)?;
        let mode = Mode::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode);
        if !mode.contains(Mode::RWXU) {
            rustix::fs::fchmod(&folder, Mode::RWXU)?;
        }
        let entries = entries(&folder)?;
        Ok(Self { folder, name, entries })
    }
}

fn remove_folder(parent: BorrowedFd<'_>, name: CString) -> io::Result<()> {
    // A list and not a recursion: a tree can be deeper than the stack.
    let mut levels = vec![Level::open(parent, name)?];
    while let Some(deepest) = levels.last_mut() {
        let Some((name, kind)) = deepest.entries.pop() else {
            let empty = levels.pop().expect("the loop saw a last level");
            let above = levels.last().map_or(parent, |level| level.folder.as_fd());
            rustix::fs::unlinkat(above, &empty.name, AtFlags::REMOVEDIR)?;
            continue;
        };
        let folder = levels[levels.len() - 1].folder.as_fd();
        let kind = if kind == FileType::Unknown { file_type(folder, &name)? } else { kind };
        if kind != FileType::Directory {
            rustix::fs::unlinkat(folder, &name, AtFlags::empty())?;
        } else if levels.len() < OPEN_MAX {
            let level = Level::open(folder, name)?;
            levels.push(level);
        } else {
            let new_name = c_string(OsStr::new(&temporary::name()))?;
            move_up(folder, &name, levels[0].folder.as_fd(), &new_name)?;
            levels[0].entries.push((new_name, FileType::Directory));
        }
    }
    Ok(())
}

fn move_up(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, new_name: &CStr) -> io::Result<()> {
    let moved = rustix::fs::renameat(from, name, to, new_name);
    if moved != Err(Errno::ACCESS) {
        return Ok(moved?);
    }
    // Another folder above it makes a folder change its entry `..`, so it must be writable itself.
    allow(from, name)?;
    Ok(rustix::fs::renameat(from, name, to, new_name)?)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the folder `name`: not a link, not a mount point.
fn open_folder(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    match open_same_mount(parent, name) {
        Err(Errno::ACCESS) => {
            allow(parent, name)?;
            Ok(open_same_mount(parent, name)?)
        }
        Err(Errno::XDEV) => Err(io::Error::other("something is mounted in it")),
        opened => Ok(opened?),
    }
}

#[cfg(target_os = "linux")]
fn open_same_mount(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    let within = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match rustix::fs::openat2(parent, name, FOLDER, Mode::empty(), within) {
        // Kernels before 5.6, and containers that close the call.
        Err(Errno::NOSYS | Errno::PERM) => open_same_device(parent, name),
        opened => opened,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_same_mount(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    open_same_device(parent, name)
}

fn open_same_device(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let folder = rustix::fs::openat(parent, name, FOLDER, Mode::empty())?;
    if rustix::fs::fstat(&folder)?.st_dev == rustix::fs::fstat(parent)?.st_dev {
        Ok(folder)
    } else {
        Err(Errno::XDEV)
    }
}

/// Gives the owner all rights to the folder `name`, which may be unreadable and so cannot be opened as usual.
#[cfg(target_os = "linux")]
fn allow(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    let path_only = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(parent, name, path_only, Mode::empty())?;
    // chmod by name would follow a link that stands there by now.
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(target_os = "linux"))]
fn allow(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn file_type(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode))
}

fn c_string(name: &OsStr) -> io::Result<CString> {
    Ok(CString::new(name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A state folder with something in it, beside a folder that must survive.
    fn state() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let (state, outside) = (top.path().join("state"), top.path().join("outside"));
        fs::create_dir_all(state.join("staging/one/inner")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "1").unwrap();
        (top, state, outside)
    }

    #[test]
    fn removes_files_folders_and_what_is_gone_already() {
        let (_top, state, _) = state();
        let odd = state.join("staging/one").join(OsStr::from_bytes(b"\xff\n"));
        fs::write(&odd, "x").unwrap();
        remove_tree(&state, &odd).unwrap();
        assert!(!odd.exists());
        fs::write(&odd, "x").unwrap();
        for _ in 0..2 {
            remove_tree(&state, &state.join("staging/one")).unwrap();
            assert_eq!(fs::read_dir(state.join("staging")).unwrap().count(), 0);
        }
        remove_tree(&state, &state.join("no/such/path")).unwrap();
    }

    #[test]
    fn emptying_leaves_the_kept_folders_and_nothing_else() {
        let (_top, state, outside) = state();
        let one = state.join("staging/one");
        let rights = Rights::of(&one).unwrap();
        let kept: BTreeSet<PathBuf> = ["inner", "inner/kept"].map(PathBuf::from).into();
        let fill = || {
            fs::create_dir_all(one.join("inner/kept")).unwrap();
            fs::create_dir_all(one.join("inner/other/deeper")).unwrap();
            for file in ["file", "inner/file", "inner/kept/file", "inner/other/deeper/file"] {
                fs::write(one.join(file), "x").unwrap();
            }
            symlink(&outside, one.join("inner/kept/link")).unwrap();
        };
        fill();
        empty_tree(&state, &one, &kept, rights).unwrap();
        assert!(fs::read_dir(one.join("inner/kept")).unwrap().next().is_none());
        for folder in [&one, &one.join("inner")] {
            assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "{}", folder.display());
        }
        assert!(outside.join("precious").exists());

        fs::set_permissions(one.join("inner"), Permissions::from_mode(0o700 ^ rights.mode & 0o777)).unwrap();
        assert_eq!(empty_tree(&state, &one, &kept, rights).unwrap_err().kind(), io::ErrorKind::InvalidData);
        remove_tree(&state, &one.join("inner")).unwrap();
        assert_eq!(empty_tree(&state, &one, &kept, rights).unwrap_err().kind(), io::ErrorKind::NotFound);
        symlink(&outside, one.join("inner")).unwrap();
        empty_tree(&state, &one, &kept, rights).unwrap_err();
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let (_top, state, outside) = state();
        symlink(&outside, state.join("staging/one/inner/link")).unwrap();
        symlink(&outside, state.join("staging/link")).unwrap();
        remove_tree(&state, &state.join("staging/one")).unwrap();
        remove_tree(&state, &state.join("staging/link/precious")).unwrap_err();
        remove_tree(&state, &state.join("staging/link")).unwrap();
        assert_eq!(fs::read_dir(state.join("staging")).unwrap().count(), 0);
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn a_path_outside_is_refused() {
        let (_top, state, outside) = state();
        for path in [
            state.clone(),
            state.join("."),
            state.join("staging/.."),
            state.join("../outside"),
            state.join("staging/../../outside"),
            outside.clone(),
            outside.join("precious"),
            std::path::PathBuf::from("staging/one"),
        ] {
            let error = remove_tree(&state, &path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}", path.display());
        }
        assert!(outside.join("precious").exists() && state.join("staging/one/inner").exists());
    }

    #[test]
    fn folders_without_permissions_are_removed() {
        let (_top, state, _) = state();
        for mode in [0o000, 0o111, 0o222, 0o444, 0o555] {
            let inner = state.join("staging/one/inner/deeper");
            fs::create_dir_all(&inner).unwrap();
            fs::write(inner.join("file"), "x").unwrap();
            for folder in [inner.as_path(), &state.join("staging/one/inner"), &state.join("staging/one")] {
                fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
            }
            remove_tree(&state, &state.join("staging/one")).unwrap();
            assert!(!state.join("staging/one").exists(), "{mode:o}");
        }
    }

    #[test]
    fn trees_deeper_than_a_path_can_say_are_removed() {
        use rustix::process::{Resource, getrlimit, setrlimit};
        // As many files as most systems let a process have open.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.current.map_or(Some(1024), |current| Some(current.min(1024)));
        setrlimit(Resource::Nofile, limit).unwrap();
        for (depth, mode) in [(300, 0o700), (1500, 0o700), (300, 0o500)] {
            let (_top, state, _) = state();
            let top = fs::File::open(state.join("staging/one")).unwrap();
            let mut folder = OwnedFd::from(top);
            for _ in 0..depth {
                rustix::fs::mkdirat(&folder, "deeper", Mode::RWXU).unwrap();
                let deeper = rustix::fs::openat(&folder, "deeper", FOLDER, Mode::empty()).unwrap();
                rustix::fs::openat(&deeper, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
                rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode)).unwrap();
                folder = deeper;
            }
            remove_tree(&state, &state.join("staging/one")).unwrap();
            assert_eq!(fs::read_dir(state.join("staging")).unwrap().count(), 0, "{depth}");
        }
    }

    #[test]
    fn a_folder_that_becomes_a_link_meanwhile_is_not_followed() {
        let (_top, state, outside) = state();
        let (folder, link) = (state.join("staging/one/inner"), state.join("staging/link"));
        symlink(&outside, &link).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = crate::durable::exchange(&folder, &link);
                }
            });
            for _ in 0..200 {
                let _ = fs::create_dir_all(folder.join("deeper"));
                let _ = remove_tree(&state, &folder.join("precious"));
                let _ = remove_tree(&state, &state.join("staging/one"));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn without_openat2_neither_links_nor_other_filesystems_are_entered() {
        let (_top, state, outside) = state();
        symlink(&outside, state.join("link")).unwrap();
        let folder = fs::File::open(&state).unwrap();
        let open = |name: &CStr| open_same_device(folder.as_fd(), name);
        assert!(open(c"staging").is_ok());
        assert!(matches!(open(c"link"), Err(Errno::LOOP | Errno::NOTDIR)));
        let Some(_mounted) = crate::mounted::Mounted::memory(1 << 20, &state.join("staging")) else { return };
        assert_eq!(open(c"staging").unwrap_err(), Errno::XDEV);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_mounted_inside_is_not_touched() {
        let (_top, state, outside) = state();
        let inner = state.join("staging/one/inner");
        let Some(_mounted) = crate::mounted::Mounted::bind(&outside, &inner) else { return };
        let error = remove_tree(&state, &state.join("staging/one")).unwrap_err();
        assert!(error.to_string().contains("mounted"), "{error}");
        remove_tree(&state, &inner.join("precious")).unwrap_err();
        assert!(outside.join("precious").exists());
    }
}
