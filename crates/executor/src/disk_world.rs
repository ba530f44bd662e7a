//! The disk as the language asks about it.

use std::collections::HashMap;
use std::fs::{self, FileType};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cairn_dag::{Entry, Glob, Unlisted, World};
use cairn_model::ProjectPath;

/// The files below a folder of a project.
///
/// A pattern is looked for from its fixed folder downwards. Links to files count as files; links to folders are not
/// entered, and neither is a state folder: the walk ends, and each file is met once.
#[derive(Debug)]
pub struct DiskWorld {
    /// The project, without links in its path.
    root: PathBuf,
    /// The folder that paths are relative to, without links in its path.
    folder: PathBuf,
    /// Where folders really are, so that thousands of files in one folder resolve its links once. Only those that
    /// exist: others may be made meanwhile.
    real: Mutex<HashMap<PathBuf, PathBuf>>,
}

impl DiskWorld {
    /// Looks below `folder`, which lies in the project `root`; both absolute and without links.
    pub fn new(folder: PathBuf, root: PathBuf) -> Self {
        Self { root, folder, real: Mutex::default() }
    }

    /// Returns where `folder` really is.
    fn real(&self, folder: &Path) -> io::Result<PathBuf> {
        let mut known = self.real.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(real) = known.get(folder) {
            return Ok(real.clone());
        }
        let real = fs::canonicalize(folder)?;
        known.insert(folder.to_owned(), real.clone());
        Ok(real)
    }

    /// Returns what stands at a path of which nothing is known.
    fn look(&self, path: &Path) -> Entry {
        let Some(parent) = path.parent() else { return Entry::LeavesProject };
        match self.real(parent) {
            Ok(real) if !real.starts_with(&self.root) => return Entry::LeavesProject,
            Ok(_) => {}
            Err(error) if is_link_loop(&error) => return Entry::LinkLoop,
            Err(error) => {
                return match error.kind() {
                    // What would be made here would be made below the nearest folder that exists.
                    ErrorKind::NotFound | ErrorKind::NotADirectory => match self.look(parent) {
                        elsewhere @ (Entry::LeavesProject | Entry::LinkLoop) => elsewhere,
                        _ => Entry::Missing,
                    },
                    _ => Entry::Unreadable(error.to_string()),
                };
            }
        }
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => self.follow(path),
            Ok(meta) => entry(meta.file_type()),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Entry::Missing,
                _ => Entry::Unreadable(error.to_string()),
            },
        }
    }

    /// Returns what a link leads to.
    fn follow(&self, link: &Path) -> Entry {
        match fs::canonicalize(link) {
            Ok(real) if !real.starts_with(&self.root) => Entry::LeavesProject,
            Ok(real) => match fs::metadata(&real) {
                Ok(meta) => entry(meta.file_type()),
                Err(error) => Entry::Unreadable(error.to_string()),
            },
            Err(error) if is_link_loop(&error) => Entry::LinkLoop,
            Err(error) => match error.kind() {
                // It leads to nothing yet; where that nothing is still matters to what would be written there.
                ErrorKind::NotFound | ErrorKind::NotADirectory => match fs::read_link(link) {
                    Ok(target) => {
                        let from = link.parent().unwrap_or(&self.folder);
                        self.dangling(&from.join(target))
                    }
                    Err(error) => Entry::Unreadable(error.to_string()),
                },
                _ => Entry::Unreadable(error.to_string()),
            },
        }
    }

    fn dangling(&self, target: &Path) -> Entry {
        let existing = target.ancestors().skip(1).find_map(|folder| fs::canonicalize(folder).ok());
        match existing {
            Some(real) if real.starts_with(&self.root) => Entry::Missing,
            _ => Entry::LeavesProject,
        }
    }

    /// Returns the regular files that match now, sorted by bytes, and beside them what matches, or may, and cannot be an input:
    /// links that leave the project or lead to each other, and names that no path has.
    ///
    /// # Errors
    ///
    /// What cannot be looked at.
    pub fn matches_and_odd(&self, glob: &Glob) -> Result<(Vec<ProjectPath>, Vec<Unlisted>), Unlisted> {
        let mut odd = Vec::new();
        let found = self.matching(glob, &mut |one| match one {
            Unlisted::Unreadable { .. } => Err(one),
            Unlisted::LinkLoop { .. } | Unlisted::LeavesProject { .. } | Unlisted::Name { .. } => {
                odd.push(one);
                Ok(())
            }
        })?;
        Ok((found, odd))
    }

    /// Returns the regular files that match; what cannot be one is given to `odd`, which says whether to go on.
    fn matching(
        &self,
        glob: &Glob,
        odd: &mut dyn FnMut(Unlisted) -> Result<(), Unlisted>,
    ) -> Result<Vec<ProjectPath>, Unlisted> {
        let base = glob.base();
        let path = || base.as_ref().map_or(".", ProjectPath::as_str).to_owned();
        let mut found = Vec::new();
        match base.as_ref().map_or(Entry::Folder, |base| self.entry(base)) {
            Entry::Folder => self.walk(glob, base.as_ref(), &mut found, odd)?,
            Entry::Missing | Entry::File | Entry::Special => {}
            Entry::LeavesProject => return Err(Unlisted::LeavesProject { path: path() }),
            Entry::LinkLoop => return Err(Unlisted::LinkLoop { path: path() }),
            Entry::Unreadable(why) => return Err(Unlisted::Unreadable { path: path(), why }),
        }
        found.sort();
        Ok(found)
    }

    fn walk(
        &self,
        glob: &Glob,
        at: Option<&ProjectPath>,
        found: &mut Vec<ProjectPath>,
        odd: &mut dyn FnMut(Unlisted) -> Result<(), Unlisted>,
    ) -> Result<(), Unlisted> {
        let folder = at.map_or_else(|| self.folder.clone(), |at| at.below(&self.folder));
        let failed = |error: io::Error| Unlisted::Unreadable {
            path: at.map_or(".", ProjectPath::as_str).to_owned(),
            why: error.to_string(),
        };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            let joined = at.map_or_else(|| ProjectPath::parse(&shown), |at| at.join(&shown));
            // Only the state folder, and names with control characters, are no paths.
            let path = match joined {
                Ok(path) => path,
                Err(_) if shown.eq_ignore_ascii_case(".cairn") => continue,
                Err(error) => {
                    let path = at.map_or_else(|| shown.to_string(), |at| format!("{at}/{shown}"));
                    odd(Unlisted::Name { path, why: format!("cannot be matched: {error}") })?;
                    continue;
                }
            };
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                if glob.may_match_below(&path) {
                    self.walk(glob, Some(&path), found, odd)?;
                }
                continue;
            }
            if !glob.is_match(&path) {
                continue;
            }
            if kind.is_symlink() {
                match self.is_file_behind(&entry.path(), &path) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(unlisted) => {
                        odd(unlisted)?;
                        continue;
                    }
                }
            }
            if kind.is_file() || kind.is_symlink() {
                if name.to_str().is_none() {
                    odd(Unlisted::Name { path: path.into(), why: "is not UTF-8".to_owned() })?;
                    continue;
                }
                found.push(path);
            }
        }
        Ok(())
    }

    /// Returns whether a link leads to a file of the project.
    fn is_file_behind(&self, link: &Path, path: &ProjectPath) -> Result<bool, Unlisted> {
        match self.follow(link) {
            Entry::File => Ok(true),
            Entry::Folder | Entry::Missing | Entry::Special => Ok(false),
            Entry::LeavesProject => Err(Unlisted::LeavesProject { path: path.to_string() }),
            Entry::LinkLoop => Err(Unlisted::LinkLoop { path: path.to_string() }),
            Entry::Unreadable(why) => Err(Unlisted::Unreadable { path: path.to_string(), why }),
        }
    }
}

impl World for DiskWorld {
    fn entry(&self, path: &ProjectPath) -> Entry {
        self.look(&path.below(&self.folder))
    }

    fn matches(&self, glob: &Glob) -> Result<Vec<ProjectPath>, Unlisted> {
        self.matching(glob, &mut Err)
    }
}

fn is_link_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn entry(kind: FileType) -> Entry {
    if kind.is_file() {
        Entry::File
    } else if kind.is_dir() {
        Entry::Folder
    } else {
        Entry::Special
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A project in `root` whose pipeline is in `root/p`, and something beside the project.
    fn world() -> (tempfile::TempDir, DiskWorld) {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let (root, outside) = (base.join("root"), base.join("outside"));
        let folder = root.join("p");
        for file in [
            "p/a.csv",
            "p/b.csv",
            "p/.hidden.csv",
            "p/sub/c.csv",
            "p/sub/deep/d.csv",
            "p/.git/x.csv",
            "p/.cairn/y.csv",
            "p/.cairn/objects/z.csv",
            "shared.csv",
        ] {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret.csv"), "x").unwrap();
        let disk = DiskWorld::new(folder, root);
        (temp, disk)
    }

    fn path(text: &str) -> ProjectPath {
        ProjectPath::parse(text).unwrap()
    }

    fn matches(disk: &DiskWorld, pattern: &str) -> Result<Vec<String>, Unlisted> {
        let found = disk.matches(&Glob::parse(pattern).unwrap())?;
        Ok(found.into_iter().map(String::from).collect())
    }

    #[test]
    fn entries_of_all_kinds() {
        let (_temp, disk) = world();
        let link = |target: &str, name: &str| symlink(target, disk.folder.join(name)).unwrap();
        link("a.csv", "to-file");
        link("sub", "to-folder");
        link("../shared.csv", "to-shared");
        link("../../outside/secret.csv", "to-secret");
        link("../../outside", "to-outside");
        link("../../outside/not-there", "to-nothing-outside");
        link("not-there", "to-nothing");
        link("loop-b", "loop-a");
        link("loop-a", "loop-b");
        rustix::fs::mkfifoat(rustix::fs::CWD, disk.folder.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let check = |text: &str, expect: Entry| assert_eq!(disk.entry(&path(text)), expect, "{text}");
        check("a.csv", Entry::File);
        check("sub", Entry::Folder);
        check("sub/c.csv", Entry::File);
        check("not-there", Entry::Missing);
        check("not/there/either", Entry::Missing);
        check("a.csv/below-a-file", Entry::Missing);
        check("pipe", Entry::Special);
        check("to-file", Entry::File);
        check("to-folder", Entry::Folder);
        check("to-folder/c.csv", Entry::File);
        check("to-shared", Entry::File);
        check("to-nothing", Entry::Missing);
        check("to-secret", Entry::LeavesProject);
        check("to-outside", Entry::LeavesProject);
        check("to-outside/secret.csv", Entry::LeavesProject);
        check("to-outside/new/file.csv", Entry::LeavesProject);
        check("to-nothing-outside", Entry::LeavesProject);
        check("loop-a", Entry::LinkLoop);
        check("loop-a/x", Entry::LinkLoop);
        check("loop-a/x/y", Entry::LinkLoop);
    }

    #[test]
    fn a_folder_that_is_made_later_is_seen() {
        let (_temp, disk) = world();
        assert_eq!(disk.entry(&path("new/x.csv")), Entry::Missing);
        fs::create_dir(disk.folder.join("new")).unwrap();
        fs::write(disk.folder.join("new/x.csv"), "x").unwrap();
        assert_eq!(disk.entry(&path("new/x.csv")), Entry::File);
    }

    #[test]
    fn patterns_find_files_sorted_and_pass_over_what_is_hidden() {
        let (_temp, disk) = world();
        let check = |pattern: &str, expect: &[&str]| {
            assert_eq!(matches(&disk, pattern).unwrap(), expect, "{pattern}");
        };
        check("*.csv", &["a.csv", "b.csv"]);
        check("**/*.csv", &["a.csv", "b.csv", "sub/c.csv", "sub/deep/d.csv"]);
        check("sub/*.csv", &["sub/c.csv"]);
        check("sub/**", &["sub/c.csv", "sub/deep/d.csv"]);
        check(".*.csv", &[".hidden.csv"]);
        check(".git/*.csv", &[".git/x.csv"]);
        check("nowhere/*.csv", &[]);
        check("a.csv/*", &[]);
    }

    #[test]
    fn links_to_files_count_and_links_to_folders_are_not_entered() {
        let (_temp, disk) = world();
        let link = |target: &str, name: &str| symlink(target, disk.folder.join(name)).unwrap();
        link("../shared.csv", "link.csv");
        link("..", "up");
        link(".", "here");
        link("gone", "gone.csv");
        assert_eq!(
            matches(&disk, "**/*.csv").unwrap(),
            ["a.csv", "b.csv", "link.csv", "sub/c.csv", "sub/deep/d.csv"]
        );
        assert_eq!(
            matches(&disk, "here/*.csv").unwrap().len(),
            3,
            "a link that the pattern names is followed"
        );
        link("../../outside/secret.csv", "secret.csv");
        assert_eq!(
            matches(&disk, "*.csv").unwrap_err(),
            Unlisted::LeavesProject { path: "secret.csv".to_owned() }
        );
        assert_eq!(matches(&disk, "a*.csv").unwrap(), ["a.csv"], "what does not match does not matter");
    }

    #[test]
    fn what_is_odd_is_listed_beside_the_others() {
        use std::os::unix::ffi::OsStrExt as _;
        let (_temp, disk) = world();
        let link = |target: &str, name: &str| symlink(target, disk.folder.join(name)).unwrap();
        link("../../outside/secret.csv", "secret.csv");
        link("loop.csv", "loop.csv");
        fs::write(disk.folder.join("a\nb.csv"), "x").unwrap();
        fs::write(disk.folder.join(std::ffi::OsStr::from_bytes(b"\xff.csv")), "x").unwrap();
        let (found, odd) = disk.matches_and_odd(&Glob::parse("*.csv").unwrap()).unwrap();
        assert_eq!(found, [path("a.csv"), path("b.csv")]);
        assert_eq!(odd.len(), 4, "{odd:?}");
        assert!(odd.contains(&Unlisted::LeavesProject { path: "secret.csv".to_owned() }), "{odd:?}");
        assert!(odd.contains(&Unlisted::LinkLoop { path: "loop.csv".to_owned() }), "{odd:?}");
        link("../../outside", "out");
        assert!(
            disk.matches_and_odd(&Glob::parse("out/*.csv").unwrap()).is_err(),
            "all of it is out of reach"
        );
    }

    #[test]
    fn a_match_that_has_no_name_in_utf8_is_told() {
        use std::os::unix::ffi::OsStrExt as _;
        let (_temp, disk) = world();
        fs::write(disk.folder.join(std::ffi::OsStr::from_bytes(b"sub/\xff.csv")), "x").unwrap();
        assert!(matches(&disk, "sub/*.csv").unwrap_err().to_string().contains("is not UTF-8"));
        assert_eq!(matches(&disk, "*.csv").unwrap(), ["a.csv", "b.csv"]);
    }
}
