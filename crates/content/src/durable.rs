//! Renames, syncs and removals.
use std::io;
use std::path::Path;

mod barrier;
pub use barrier::Barrier;

/// Renames `from` to `to`, which is replaced. Nothing is synced.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let _ = (from, to);
    unimplemented!()
}
/// Writes `path` whole: temporary file beside it, sync, rename, sync of the folder.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = (path, bytes);
    unimplemented!()
}
/// Makes `folder` and what is missing above it, and enters all that is new in `barrier`.
pub fn create_folders(folder: &Path, barrier: &mut Barrier) -> io::Result<()> {
    let _ = (folder, barrier);
    unimplemented!()
}
/// Removes `path`, which lies below the folder `below`, with all in it. A path that is not there is removed already.
pub fn remove_tree(below: &Path, path: &Path) -> io::Result<()> {
    let _ = (below, path);
    unimplemented!()
}
