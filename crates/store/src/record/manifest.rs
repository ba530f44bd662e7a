//! A manifest as it stands within a checkpoint.

pub(super) mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::Digest;

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct Output<'a> {
        #[serde(borrow)]
        pub(in crate::record) path: Cow<'a, str>,
        #[serde(borrow)]
        pub(in crate::record) content: Content<'a>,
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) enum Content<'a> {
        File(FileContent),
        #[serde(borrow)]
        Folder(Vec<TreeEntry<'a>>),
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct FileContent {
        pub(in crate::record) digest: Digest,
        pub(in crate::record) size: u64,
        pub(in crate::record) executable: bool,
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct TreeEntry<'a> {
        #[serde(borrow)]
        pub(in crate::record) path: Cow<'a, [u8]>,
        #[serde(borrow)]
        pub(in crate::record) kind: EntryKind<'a>,
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) enum EntryKind<'a> {
        File(FileContent),
        Folder,
        #[serde(borrow)]
        Link(Cow<'a, [u8]>),
    }
}

use cairn_model::{Content, Digest, EntryKind, FileContent, Manifest, Output, ProjectPath, Tree, TreeEntry};

use super::Damage;

pub(super) fn stored(manifest: &Manifest) -> Vec<v1::Output<'_>> {
    let Manifest { outputs } = manifest;
    outputs.iter().map(Into::into).collect()
}

pub(super) fn read(stored: Vec<v1::Output<'_>>) -> Result<Manifest, Damage> {
    let outputs = stored.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
    Ok(Manifest { outputs })
}

impl<'a> From<&'a Output> for v1::Output<'a> {
    fn from(output: &'a Output) -> Self {
        let Output { path, content } = output;
        let content = match content {
            Content::File(file) => v1::Content::File(file.into()),
            Content::Folder(Tree { entries }) => {
                v1::Content::Folder(entries.iter().map(Into::into).collect())
            }
        };
        Self { path: path.as_str().into(), content }
    }
}

impl TryFrom<v1::Output<'_>> for Output {
    type Error = Damage;

    fn try_from(stored: v1::Output<'_>) -> Result<Self, Damage> {
        let v1::Output { path, content } = stored;
        let path = ProjectPath::parse(&path).map_err(|_| Damage::Body { what: "a path is not one" })?;
        let content = match content {
            v1::Content::File(file) => Content::File(file.into()),
            v1::Content::Folder(entries) => {
                Content::Folder(Tree { entries: entries.into_iter().map(Into::into).collect() })
            }
        };
        Ok(Self { path, content })
    }
}

impl From<&FileContent> for v1::FileContent {
    fn from(file: &FileContent) -> Self {
        let FileContent { digest, size, executable } = *file;
        Self { digest: *digest.as_bytes(), size, executable }
    }
}

impl From<v1::FileContent> for FileContent {
    fn from(stored: v1::FileContent) -> Self {
        let v1::FileContent { digest, size, executable } = stored;
        Self { digest: Digest::from_bytes(digest), size, executable }
    }
}

impl<'a> From<&'a TreeEntry> for v1::TreeEntry<'a> {
    fn from(entry: &'a TreeEntry) -> Self {
        let TreeEntry { path, kind } = entry;
        let kind = match kind {
            EntryKind::File(file) => v1::EntryKind::File(file.into()),
            EntryKind::Folder => v1::EntryKind::Folder,
            EntryKind::Link(target) => v1::EntryKind::Link(target.into()),
        };
        Self { path: path.into(), kind }
    }
}

impl From<v1::TreeEntry<'_>> for TreeEntry {
    fn from(stored: v1::TreeEntry<'_>) -> Self {
        let v1::TreeEntry { path, kind } = stored;
        let kind = match kind {
            v1::EntryKind::File(file) => EntryKind::File(file.into()),
            v1::EntryKind::Folder => EntryKind::Folder,
            v1::EntryKind::Link(target) => EntryKind::Link(target.into_owned()),
        };
        Self { path: path.into_owned(), kind }
    }
}
