//! How jobs ended, in files, until the caller has acknowledged that: a keeper that is killed takes none of it along.
//!
//! A file counts only in the boot it was written in: after a power cut what a command wrote may not be there, and how it
//! ended says nothing of that.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cairn_content::durable;
use serde::{Deserialize, Serialize};

use super::wire::{HeldJob, PROTOCOL};

/// What is in a file. Its first two fields stay as they are for ever: by them a file of another version is told from one of
/// another boot.
#[derive(Serialize, Deserialize)]
struct Kept {
    protocol: u32,
    boot_id: String,
    held: HeldJob,
}

/// What a file is called while it is written.
const PART: &str = ".part-";

/// Writes down how a job ended.
pub(super) fn write(folder: &Path, held: &HeldJob) -> io::Result<()> {
    let path = path(folder, &held.job.token)?;
    let kept = Kept { protocol: PROTOCOL, boot_id: boot_id()?, held: held.clone() };
    let bytes = postcard::to_allocvec(&kept).expect("these types have no unsized parts");
    let part = folder.join(format!("{PART}{}", held.job.token));
    let written = fs::write(&part, &bytes);
    if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        // A keeper that ended found the folder empty, and removed it.
        fs::create_dir(folder)?;
        fs::write(&part, &bytes)?;
    } else {
        written?;
    }
    durable::rename(&part, &path).map_err(io::Error::other)
}

/// Removes what a keeper that was killed had not finished writing. No other may be writing there: one of another version,
/// whose file goes, takes that for a failure to write.
pub(super) fn clear_parts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_part(&entry.file_name()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_part(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PART.as_bytes())
}

/// Forgets it.
pub(super) fn remove(folder: &Path, token: &str) {
    if let Ok(path) = path(folder, token) {
        // It may never have been written.
        let _ = fs::remove_file(path);
    }
}

/// Returns how the job of `token` ended, if that was written down.
pub(super) fn read(folder: &Path, token: &str) -> Option<HeldJob> {
    match read_file(&path(folder, token).ok()?, &boot_id().ok()?) {
        Ok(Found::Ended(held)) => Some(*held),
        Ok(Found::DoesNotCount) | Err(_) => None,
    }
}

/// Returns all that is written down, and removes what is of another boot. What cannot be read stays.
pub(super) fn read_all(folder: &Path) -> Vec<HeldJob> {
    let mut all = Vec::new();
    let boot_id = match boot_id() {
        Ok(boot_id) => boot_id,
        Err(error) => {
            tracing::warn!(%error, "cannot tell which boot this is: how commands ended before is not known");
            return all;
        }
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // One that is being written is not looked at: what is left of it the next keeper removes.
        if is_part(&entry.file_name()) {
            continue;
        }
        match read_file(&entry.path(), &boot_id) {
            Ok(Found::Ended(held)) => all.push(*held),
            Ok(Found::DoesNotCount) => drop(fs::remove_file(entry.path())),
            Err(error) => {
                let path = entry.path();
                tracing::warn!(path = %path.display(), %error, "how a command ended is not known: the file stays");
            }
        }
    }
    all
}

/// What a file says.
enum Found {
    Ended(Box<HeldJob>),
    /// It is of another boot.
    DoesNotCount,
}

fn read_file(path: &Path, boot_id: &str) -> io::Result<Found> {
    let bytes = fs::read(path)?;
    // Files are whole when they get their names: only a power cut leaves something else of one.
    let Ok(((protocol, written_in), _)) = postcard::take_from_bytes::<(u32, String)>(&bytes) else {
        return Ok(Found::DoesNotCount);
    };
    // Where the system does not tell one boot from another none counts.
    if boot_id.is_empty() || written_in != boot_id {
        return Ok(Found::DoesNotCount);
    }
    if protocol != PROTOCOL {
        return Err(io::Error::other("it is of another version of cairn"));
    }
    let kept: Kept = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
    Ok(Found::Ended(Box::new(kept.held)))
}

fn path(folder: &Path, token: &str) -> io::Result<PathBuf> {
    if token.is_empty() || token.contains('/') || token.starts_with('.') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the token is no file's name"));
    }
    Ok(folder.join(token))
}

/// Names this boot of the system; empty where the system does not.
fn boot_id() -> io::Result<String> {
    // A process sees only one.
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id.clone());
    }
    let id = match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    Ok(ID.get_or_init(|| id).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::Job;

    fn held(token: &str) -> HeldJob {
        let job = Job {
            token: token.to_owned(),
            argv: vec!["true".to_owned()],
            env: Vec::new(),
            cwd: "/".into(),
            stdin: None,
            stdout: None,
            log: "/log".into(),
            log_max: 0,
            timeout_ms: None,
            kill_after_ms: 0,
            tied: false,
        };
        HeldJob { job, ended: None }
    }

    #[test]
    fn only_what_is_known_to_be_of_another_boot_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, protocol, boot_id: &str| {
            let kept = Kept { protocol, boot_id: boot_id.to_owned(), held: held(name) };
            fs::write(folder.path().join(name), postcard::to_allocvec(&kept).unwrap()).unwrap();
        };
        let this = boot_id().unwrap();
        assert!(!this.is_empty());
        write(folder.path(), &held("this")).unwrap();
        file("other-boot", PROTOCOL, "another");
        file("other-version", PROTOCOL + 1, &this);
        fs::write(folder.path().join("torn"), "").unwrap();
        // Its name is that of a file, and it cannot be read as one.
        fs::create_dir(folder.path().join("unreadable")).unwrap();
        assert_eq!(read_all(folder.path()), [held("this")]);
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["other-version", "this", "unreadable"]);
    }
}
