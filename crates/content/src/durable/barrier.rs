use std::io;
use std::path::Path;

/// Files and folders that are to be durable together.
#[derive(Debug, Default)]
pub struct Barrier {}

impl Barrier {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self {}
    }
    /// Enters a file.
    pub fn file(&mut self, path: &Path) {
        let _ = path;
    }
    /// Enters a folder: its entries become durable.
    pub fn folder(&mut self, path: &Path) {
        let _ = path;
    }
    /// Makes all of it durable: files first, then folders from the deepest up. A failed sync is never tried again.
    pub fn sync(self) -> io::Result<()> {
        unimplemented!()
    }
}
