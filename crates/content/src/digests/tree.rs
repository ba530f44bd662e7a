use std::path::{Path, PathBuf};

use cairn_model::{Tree, TreeEntry};

use rustix::fs::FileType;

use super::seen::{Links, Neighbours, resolve};
use super::{DigestError, Digests, Entry, EntryKind, Found, TRIES, see_all, walk};

/// A folder and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTree {
    /// All below the folder.
    pub tree: Tree,
    /// Each file with its path below the folder, in the order of `tree`.
    pub files: Vec<(Vec<u8>, Found)>,
    /// What the link says, if the folder's path is a link.
    pub link: Option<Vec<u8>>,
}

impl Digests {
    /// Returns all below `folder`: names as raw bytes, empty folders too. If `folder` is a link it is followed, links
    /// below are not.
    ///
    /// # Errors
    /// For anything below that is not a file, a folder or a link, or cannot be read: nothing is passed over.
    pub fn tree(&self, folder: &Path) -> Result<FoundTree, DigestError> {
        let link = folder_link(folder)?;
        for pause in TRIES {
            std::thread::sleep(pause);
            match self.tree_once(folder) {
                // A name that was listed is gone: as editors' and compilers' temporary files come and go.
                Err(DigestError::Missing { .. } | DigestError::Unstable { .. }) => {}
                Ok(found) => return Ok(FoundTree { link, ..found }),
                Err(error) => return Err(error),
            }
        }
        Err(DigestError::Unstable { path: folder.to_owned() })
    }

    /// Returns whether the folder is still as it was `found`, and none of its files was written meanwhile.
    pub fn tree_unchanged(&self, folder: &Path, found: &FoundTree) -> Result<bool, DigestError> {
        for pause in TRIES {
            std::thread::sleep(pause);
            match self.tree_unchanged_once(folder, found) {
                // As in `tree`.
                Err(DigestError::Missing { .. } | DigestError::Unstable { .. }) => {}
                Err(error) if error.is_another_kind() => return Ok(false),
                unchanged => return unchanged,
            }
        }
        Ok(false)
    }

    fn tree_unchanged_once(&self, folder: &Path, found: &FoundTree) -> Result<bool, DigestError> {
        if folder_link(folder)? != found.link {
            return Ok(false);
        }
        let entries = walk(folder)?;
        let same = |(now, before): (&Entry, &TreeEntry)| {
            now.path == before.path
                && match (&now.kind, &before.kind) {
                    (EntryKind::File, cairn_model::EntryKind::File(_))
                    | (EntryKind::Folder, cairn_model::EntryKind::Folder) => true,
                    (EntryKind::Link(now), cairn_model::EntryKind::Link(before)) => now == before,
                    _ => false,
                }
        };
        if entries.len() != found.tree.entries.len() || !entries.iter().zip(&found.tree.entries).all(same) {
            return Ok(false);
        }
        let is_file = |entry: &&Entry| entry.kind == EntryKind::File;
        let paths: Vec<PathBuf> = entries.iter().filter(is_file).map(|entry| entry.below(folder)).collect();
        let mut doubtful = Vec::new();
        for (seen, (_, found)) in see_all(&paths, Links::None).into_iter().zip(&found.files) {
            let seen = seen?;
            if !found.settled || (seen.key, seen.stamp) != (found.key, found.stamp) {
                doubtful.push((seen.path, found));
            }
        }
        let paths: Vec<&Path> = doubtful.iter().map(|(path, _)| *path).collect();
        for (now, (_, found)) in self.look(&paths, Links::None).into_iter().zip(doubtful) {
            if !now?.is_unwritten_since(found) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn tree_once(&self, folder: &Path) -> Result<FoundTree, DigestError> {
        let entries = walk(folder)?;
        let is_file = |entry: &&Entry| entry.kind == EntryKind::File;
        let paths: Vec<PathBuf> = entries.iter().filter(is_file).map(|entry| entry.below(folder)).collect();
        let mut found = self.look(&paths, Links::None).into_iter();
        let mut files = Vec::with_capacity(paths.len());
        let mut tree = Vec::with_capacity(entries.len());
        for Entry { path, kind } in entries {
            let kind = match kind {
                EntryKind::File => {
                    let found = found.next().expect("as many are found as were looked for")?;
                    let content = found.content;
                    files.push((path.clone(), found));
                    cairn_model::EntryKind::File(content)
                }
                EntryKind::Folder => cairn_model::EntryKind::Folder,
                EntryKind::Link(target) => cairn_model::EntryKind::Link(target),
            };
            tree.push(TreeEntry { path, kind });
        }
        Ok(FoundTree { tree: Tree::new(tree), files, link: None })
    }
}

/// Sees to it that there is a folder, and returns what the link says if it is reached by one.
fn folder_link(folder: &Path) -> Result<Option<Vec<u8>>, DigestError> {
    let (stat, link) = resolve(&Neighbours::of(folder, 1), folder, Links::Follow)?;
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        Ok(link)
    } else {
        Err(DigestError::NotFolder { path: folder.to_owned() })
    }
}
