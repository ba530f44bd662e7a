//! What was in the way.
use std::io;
use std::path::{Path, PathBuf};

use cairn_model::ProjectPath;

/// Moves what is at `path` below `folder` to `trash/<stamp>/<path>` in the state folder and returns where it is.
pub fn move_to_trash(state: &Path, stamp: &str, folder: &Path, path: &ProjectPath) -> io::Result<PathBuf> {
    let _ = (state, stamp, folder, path);
    unimplemented!()
}
