use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::sync;
use crate::FileError;
use crate::file_error::cannot;

/// Files and folders of one filesystem that are synced one by one; with more, the whole filesystem is, in one call.
/// A call for each costs some 0.2 ms, so beyond this the one that waits for everybody's writes is the cheaper.
const ONE_BY_ONE_MAX: usize = 8;

/// Files and folders that are to be durable together, before what depends on them is written.
#[derive(Debug, Default)]
#[must_use = "nothing is durable until `sync`"]
pub struct Barrier {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

/// One call to the system.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    /// Sync this file or folder.
    Path(&'a Path),
    /// Sync the whole filesystem that this is on.
    Filesystem(&'a Path),
}

impl Barrier {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters a file: its bytes and its metadata become durable, not its name.
    pub fn file(&mut self, path: &Path) {
        self.files.insert(path.to_owned());
    }

    /// Enters a folder: the names in it become durable.
    pub fn folder(&mut self, path: &Path) {
        self.folders.insert(path.to_owned());
    }

    /// Enters all that is in `other`.
    pub fn append(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
        self.folders.append(&mut other.folders);
    }

    /// Leaves out the files, for they are to go away; the names in the folders still count.
    pub fn forget_files(&mut self) {
        self.files.clear();
    }

    /// Makes all of it durable: files, then folders from the deepest up. A folder that is gone is passed over: there are no
    /// names in it.
    ///
    /// # Errors
    /// The first sync that failed, and no further one is tried: nothing entered can be taken for durable.
    pub fn sync(mut self) -> Result<(), FileError> {
        self.folders.retain(|folder| fs::symlink_metadata(folder).is_ok());
        let device = |path: &Path| {
            fs::symlink_metadata(path).map(|data| data.dev()).map_err(cannot("make durable", path))
        };
        for step in self.steps(syncfs_reports_errors(), device)? {
            match step {
                Step::Path(path) => match sync(path) {
                    Err(error) if error.kind() == ErrorKind::NotFound && self.folders.contains(path) => {}
                    synced => synced?,
                },
                Step::Filesystem(path) => sync_filesystem(path)?,
            }
        }
        Ok(())
    }

    fn steps(
        &self,
        whole_filesystems: bool,
        device: impl Fn(&Path) -> Result<u64, FileError>,
    ) -> Result<Vec<Step<'_>>, FileError> {
        let mut folders: Vec<&Path> = self.folders.iter().map(PathBuf::as_path).collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
        let paths = self.files.iter().map(PathBuf::as_path).chain(folders);
        if !whole_filesystems || self.files.len() + self.folders.len() <= ONE_BY_ONE_MAX {
            return Ok(paths.map(Step::Path).collect());
        }
        // The order within a filesystem stays: files first.
        let mut by_device: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
        for path in paths {
            by_device.entry(device(path)?).or_default().push(path);
        }
        let steps = by_device.into_values().flat_map(|paths| {
            if paths.len() > ONE_BY_ONE_MAX {
                vec![Step::Filesystem(paths[0])]
            } else {
                paths.into_iter().map(Step::Path).collect()
            }
        });
        Ok(steps.collect())
    }
}

#[cfg(target_os = "linux")]
fn sync_filesystem(path: &Path) -> Result<(), FileError> {
    fs::File::open(path)
        .and_then(|file| Ok(rustix::fs::syncfs(&file)?))
        .map_err(cannot("make durable the filesystem of", path))
}

#[cfg(not(target_os = "linux"))]
fn sync_filesystem(path: &Path) -> Result<(), FileError> {
    unreachable!("`{}`: there is no syncfs here, and no step that needs it", path.display())
}

/// Returns whether a write that failed makes syncfs(2) fail: since Linux 5.8. Before, it would be a false success.
#[cfg(target_os = "linux")]
fn syncfs_reports_errors() -> bool {
    static REPORTS: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        let system = rustix::system::uname();
        let mut numbers =
            system.release().to_str().unwrap_or_default().split(['.', '-']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 8),
            _ => false,
        }
    });
    *REPORTS
}

#[cfg(not(target_os = "linux"))]
fn syncfs_reports_errors() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn barrier(files: &[&str], folders: &[&str]) -> Barrier {
        let mut barrier = Barrier::new();
        for path in files {
            barrier.file(Path::new(path));
        }
        for path in folders {
            barrier.folder(Path::new(path));
        }
        barrier
    }

    fn steps(barrier: &Barrier, whole_filesystems: bool) -> Vec<String> {
        // In these tests the first letter names the filesystem.
        let device = |path: &Path| Ok(u64::from(path.as_os_str().as_encoded_bytes()[0]));
        let show = |step| match step {
            Step::Path(path) => path.display().to_string(),
            Step::Filesystem(path) => format!("filesystem of {}", path.display()),
        };
        barrier.steps(whole_filesystems, device).unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn few_are_synced_one_by_one_files_before_folders_from_the_deepest_up() {
        let barrier = barrier(&["b/x/file", "a/file"], &["b", "b/x", "b/x/y", "a"]);
        assert_eq!(steps(&barrier, true), ["a/file", "b/x/file", "b/x/y", "b/x", "a", "b"]);
    }

    #[test]
    fn many_on_one_filesystem_are_synced_by_one_call() {
        let many: Vec<String> = (0..9).map(|n| format!("a/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mixed = [&many[..], &["b/file"]].concat();
        assert_eq!(steps(&barrier(&mixed, &["a", "b"]), true), ["filesystem of a/0", "b/file", "b"]);
        assert_eq!(steps(&barrier(&mixed, &["a", "b"]), false).len(), 12);
        assert_eq!(steps(&barrier(&many[..8], &["a"]), true), ["filesystem of a/0"]);
        assert_eq!(steps(&barrier(&many[..8], &[]), true).len(), 8);
    }

    #[test]
    fn what_is_not_there_cannot_be_durable() {
        let folder = tempfile::tempdir().unwrap();
        for count in [1, 20] {
            let mut barrier = Barrier::new();
            for n in 0..count {
                let path = folder.path().join(n.to_string());
                fs::write(&path, "x").unwrap();
                barrier.file(&path);
            }
            barrier.folder(folder.path());
            barrier.sync().unwrap();

            let mut barrier = Barrier::new();
            (0..count).for_each(|n| barrier.file(&folder.path().join(n.to_string())));
            let missing = folder.path().join("missing");
            barrier.folder(&missing.join("folder"));
            barrier.file(&missing);
            let error = barrier.sync().unwrap_err();
            assert!(error.path.ends_with("missing"), "{error}");

            let mut barrier = Barrier::new();
            (0..count).for_each(|n| barrier.file(&folder.path().join(n.to_string())));
            barrier.folder(&missing);
            let mut failed = Barrier::new();
            failed.file(&missing);
            failed.folder(folder.path());
            failed.forget_files();
            barrier.append(failed);
            assert!(barrier.folders.contains(folder.path()));
            barrier.sync().unwrap();
        }
    }
}
