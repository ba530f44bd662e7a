//! What the content crate asks of the store: file-digest rows, small objects.

use cairn_content::{FileKey, Row, Rows, SmallObjects, Stamp};
use cairn_model::Digest;
use cairn_store::{FileRow, Store};

/// Rows of earlier runs; none without a store.
pub(crate) struct StoredRows(pub(crate) Option<Store>);

impl Rows for StoredRows {
    fn get(&self, keys: &[FileKey]) -> Vec<Option<Row>> {
        let Some(store) = &self.0 else { return vec![None; keys.len()] };
        let stored: Vec<cairn_store::FileKey> = keys.iter().map(|key| stored_key(*key)).collect();
        match store.file_rows(&stored) {
            Ok(rows) => rows.into_iter().map(|row| row.map(|row| from_stored(&row))).collect(),
            Err(error) => {
                // A row that cannot be read is a row that is not there: the file is read instead.
                tracing::warn!(%error, "cannot read remembered digests");
                vec![None; keys.len()]
            }
        }
    }
}

/// Objects too small to be files.
pub(crate) struct StoredObjects(pub(crate) Store);

impl SmallObjects for StoredObjects {
    fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.definition(digest).unwrap_or_else(|error| {
            // One that cannot be read is one that is not there: what makes it runs again.
            tracing::warn!(%error, %digest, "cannot read a small object");
            None
        })
    }
}

/// Returns a key as the store knows it.
pub(crate) fn stored_key(key: FileKey) -> cairn_store::FileKey {
    cairn_store::FileKey { device: key.device, inode: key.inode }
}

fn from_stored(row: &FileRow) -> Row {
    let cairn_store::Stamp { size, mtime_ns, ctime_ns, mode } = row.stamp;
    Row { stamp: Stamp { size, mtime_ns, ctime_ns, mode }, digest: row.digest }
}

/// Returns a row as the store keeps it.
pub(crate) fn to_stored(row: &Row) -> FileRow {
    let Stamp { size, mtime_ns, ctime_ns, mode } = row.stamp;
    FileRow { stamp: cairn_store::Stamp { size, mtime_ns, ctime_ns, mode }, digest: row.digest }
}
