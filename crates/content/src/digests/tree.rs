use std::path::{Path, PathBuf};

use cairn_model::{Tree, TreeEntry};

use super::seen::{Links, resolve};
use super::{DigestError, Digests, Entry, EntryKind, Found, TRIES, walk};

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
        let now = match self.tree(folder) {
            Ok(now) => now,
            Err(error) if error.is_another_kind() => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut files = now.files.iter().zip(&found.files);
        Ok(now.tree == found.tree
            && now.link == found.link
            && files.all(|((_, now), (_, found))| now.is_unwritten_since(found)))
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
    let (metadata, link) = resolve(folder, Links::Follow)?;
    if metadata.is_dir() { Ok(link) } else { Err(DigestError::NotFolder { path: folder.to_owned() }) }
}
