//! What an instance produced: the manifest of its outputs.

use serde::{Deserialize, Serialize};

use crate::canonical::Encoder;
use crate::{Digest, Domain, ProjectPath};

/// The outputs of one execution, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// The outputs.
    pub outputs: Vec<Output>,
}

/// One declared output as it was produced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where it belongs, relative to the pipeline's folder.
    pub path: ProjectPath,
    /// Its bytes.
    pub content: Content,
}

/// The bytes of an output or of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A file.
    File(FileContent),
    /// A folder and all below it.
    Folder(Tree),
}

impl Content {
    /// Returns the file's or the tree's digest.
    pub fn digest(&self) -> Digest {
        match self {
            Self::File(file) => file.digest,
            Self::Folder(tree) => tree.digest(),
        }
    }

    /// Returns the bytes in it, a folder's files added up.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size,
            Self::Folder(tree) => tree.files().map(|(_, file)| file.size).sum(),
        }
    }

    /// Returns each file: its path below the folder, empty for a file itself, and what is in it.
    pub fn files(&self) -> Box<dyn Iterator<Item = (&[u8], &FileContent)> + '_> {
        match self {
            Self::File(file) => Box::new(std::iter::once((&[][..], file))),
            Self::Folder(tree) => Box::new(tree.files()),
        }
    }
}

/// A file's bytes and mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContent {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Number of bytes.
    pub size: u64,
    /// Whether the owner may execute it.
    pub executable: bool,
}

/// All below a folder, sorted by the bytes of the path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tree {
    /// The entries; a folder stands before what is in it.
    pub entries: Vec<TreeEntry>,
}

/// One entry of a [`Tree`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Path below the folder: raw bytes, `/` between the parts.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A file.
    File(FileContent),
    /// A folder, listed so that empty ones are kept.
    Folder,
    /// A symbolic link, not followed: what it says.
    Link(Vec<u8>),
}

impl Tree {
    /// Makes a tree of `entries` in any order.
    pub fn new(mut entries: Vec<TreeEntry>) -> Self {
        entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        Self { entries }
    }

    /// Returns the files with their paths below the folder.
    pub fn files(&self) -> impl Iterator<Item = (&[u8], &FileContent)> {
        self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::File(file) => Some((entry.path.as_slice(), file)),
            EntryKind::Folder | EntryKind::Link(_) => None,
        })
    }

    /// Returns the digest of type, raw name, executable bit, and digest or link target of each entry.
    pub fn digest(&self) -> Digest {
        let mut to = Encoder::new();
        for TreeEntry { path, kind } in &self.entries {
            to.group("", |to| {
                to.bytes("path", path);
                match kind {
                    EntryKind::File(FileContent { digest, size: _, executable }) => {
                        to.digest("file", digest).boolean("executable", *executable);
                    }
                    EntryKind::Folder => {
                        to.absent("folder");
                    }
                    EntryKind::Link(target) => {
                        to.bytes("link", target);
                    }
                }
            });
        }
        Domain::Tree.digest(&to.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8], executable: bool) -> EntryKind {
        EntryKind::File(FileContent {
            digest: Domain::File.digest(bytes),
            size: bytes.len() as u64,
            executable,
        })
    }

    fn tree(entries: &[(&str, EntryKind)]) -> Digest {
        let entry = |(path, kind): &(&str, EntryKind)| TreeEntry {
            path: path.as_bytes().to_vec(),
            kind: kind.clone(),
        };
        Tree::new(entries.iter().map(entry).collect()).digest()
    }

    #[test]
    fn a_tree_is_told_by_names_kinds_bits_and_bytes_but_not_by_order() {
        let a = || ("a", file(b"1", false));
        let b = || ("b", file(b"2", false));
        assert_eq!(tree(&[a(), b()]), tree(&[b(), a()]));
        let different = [
            tree(&[]),
            tree(&[a()]),
            tree(&[a(), b()]),
            tree(&[("a", file(b"2", false)), ("b", file(b"1", false))]),
            tree(&[("a", file(b"1", true)), b()]),
            tree(&[a(), b(), ("c", EntryKind::Folder)]),
            tree(&[a(), b(), ("c", EntryKind::Link(b"a".to_vec()))]),
            tree(&[a(), b(), ("c", EntryKind::Link(b"b".to_vec()))]),
        ];
        for (at, left) in different.iter().enumerate() {
            assert!(!different[at + 1..].contains(left), "{at}");
        }
    }
}
