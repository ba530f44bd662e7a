//! How jobs ended, in files, until the caller has acknowledged that: a keeper that is killed takes none of it along.
//!
//! A file counts only in the boot it was written in: after a power cut what a command wrote may not be there, and how it
//! ended says nothing of that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cairn_content::durable;
use serde::{Deserialize, Serialize};

use super::wire::{HeldJob, PROTOCOL};

/// What is in a file.
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
    let kept = Kept { protocol: PROTOCOL, boot_id: boot_id(), held: held.clone() };
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

/// Forgets it.
pub(super) fn remove(folder: &Path, token: &str) {
    if let Ok(path) = path(folder, token) {
        // It may never have been written.
        let _ = fs::remove_file(path);
    }
}

/// Returns how the job of `token` ended, if that was written down.
pub(super) fn read(folder: &Path, token: &str) -> Option<HeldJob> {
    read_file(&path(folder, token).ok()?)
}

/// Returns all that is written down, and removes what does not count.
pub(super) fn read_all(folder: &Path) -> Vec<HeldJob> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // One that is being written is not looked at: what is left of it goes with the folder.
        if entry.file_name().as_encoded_bytes().starts_with(PART.as_bytes()) {
            continue;
        }
        match read_file(&entry.path()) {
            Some(held) => all.push(held),
            None => drop(fs::remove_file(entry.path())),
        }
    }
    all
}

fn read_file(path: &Path) -> Option<HeldJob> {
    let kept: Kept = postcard::from_bytes(&fs::read(path).ok()?).ok()?;
    // Where the system does not tell one boot from another none counts.
    let is_this_boot = !kept.boot_id.is_empty() && kept.boot_id == boot_id();
    (kept.protocol == PROTOCOL && is_this_boot).then_some(kept.held)
}

fn path(folder: &Path, token: &str) -> io::Result<PathBuf> {
    if token.is_empty() || token.contains('/') || token.starts_with('.') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the token is no file's name"));
    }
    Ok(folder.join(token))
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}
