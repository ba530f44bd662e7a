//! Digests of files.

use crate::keys::{self, Family};
use crate::{FileKey, FileRow, ReadError, Store};

impl Store {
    /// Returns what is remembered of each file.
    pub fn file_rows(&self, files: &[FileKey]) -> Result<Vec<Option<FileRow>>, ReadError> {
        let keys: Vec<[u8; 16]> = files.iter().copied().map(keys::file_row).collect();
        self.inner.database.get_many(Family::FileRows, &keys)
    }
}
