//! Whose a state folder is. cairn clears folders in it away, so one that is not its own, or another project's, is refused.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use cairn_content::durable;

use super::STATE;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// The file in a state folder elsewhere than in its project that names the project.
const OWNER: &str = "project";

/// Makes `state` the state folder of the project `root`, unless it is something else. The one in the project itself is its
/// own by its place.
pub(crate) fn claim(state: &Path, root: &Path) -> Result<(), Failure> {
    if state == root.join(STATE) {
        return Ok(());
    }
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::new(
            ExitStatus::Store,
            format!("cannot {what} the state folder `{}`: {error}", state.display()),
        )
    };
    match fs::read(state.join(OWNER)) {
        Ok(owner) => {
            let owner = Path::new(OsStr::from_bytes(&owner));
            if owner == root {
                return Ok(());
            }
            // A project that was moved takes its state along.
            if owner.is_dir() {
                let text = format!(
                    "the state folder `{}` belongs to the project `{}`",
                    state.display(),
                    owner.display()
                );
                return Err(
                    Failure::new(ExitStatus::Store, text).help("give each project a state folder of its own")
                );
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut entries = match fs::read_dir(state) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    make(state).map_err(|error| failed("make", &error))?;
                    fs::read_dir(state).map_err(|error| failed("read", &error))?
                }
                // What is no folder is told by the store.
                Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(()),
                Err(error) => return Err(failed("read", &error)),
            };
            // Disks have it from the start.
            let is_foreign = |entry: std::io::Result<fs::DirEntry>| {
                entry.is_ok_and(|entry| entry.file_name() != "lost+found")
            };
            if entries.any(is_foreign) {
                let text = format!("`{}` holds other files and is no state folder of cairn", state.display());
                return Err(Failure::new(ExitStatus::Store, text)
                    .help("name an empty folder, or one that is not there"));
            }
        }
        // The store tells what is wrong with it.
        Err(_) => return Ok(()),
    }
    durable::write_file(&state.join(OWNER), root.as_os_str().as_bytes())
        .map_err(|error| failed("write to", &error))
}

/// Makes a state folder for its owner alone; what it lies in as any folder.
fn make(state: &Path) -> std::io::Result<()> {
    if let Some(above) = state.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(state) {
        // Another process was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && state.is_dir() => Ok(()),
        made => made,
    }
}
