//! The lock on a state folder: one process writes (I9).
//!
//! The kernel's lock on the file `lock` decides, and ends with the process. What the file says is for people: who
//! holds it.
//!
//! The lock is on the file, and others find the file by its path. Where the folder is renamed, removed or replaced under who
//! holds it, the next process takes another lock at the same path: [`Lock::is_in_place`] tells that.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cairn_model::{Clock, Timestamp};
use rustix::fs::{FlockOperation, flock};

use crate::{OpenError, ProcessId};

/// The lock's name in the state folder.
pub(crate) const FILE: &str = "lock";

/// Tries before a lock counts as held: [`is_held`] takes it for a moment, and who has just taken it has yet to sign.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// The process that has a store open for writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which process.
    pub process: ProcessId,
    /// When it opened the store.
    pub opened: Timestamp,
    /// Its command line.
    pub command: String,
}

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The state folder.
    state: PathBuf,
    /// The file that is locked, which is open as long as this lives.
    locked: Identity,
    file: File,
}

/// What a path leads to: the same for as long as it exists, and no other has it meanwhile.
type Identity = (u64, u64);

fn identity(meta: &Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

impl Lock {
    /// Takes the lock on `state` and signs it.
    pub(crate) fn take(state: &Path, clock: &dyn Clock) -> Result<Self, OpenError> {
        let path = state.join(FILE);
        let io = |source| OpenError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        let locked = identity(&file.metadata().map_err(io)?);
        let mut holder = None;
        for _ in 0..TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let mut taken = Self { state: state.to_owned(), locked, file };
                    write(&mut taken.file, &Holder::current(clock)).map_err(io)?;
                    return Ok(taken);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    // A signature of one that has ended is left from before: the new holder has not signed yet.
                    holder = read(&mut file).map_err(io)?.filter(|holder| holder.process.is_alive());
                    if holder.is_some() && is_locked_alone(&file) {
                        break;
                    }
                    thread::sleep(PAUSE);
                }
                Err(errno) => return Err(io(errno.into())),
            }
        }
        Err(OpenError::Locked { path: state.to_owned(), holder })
    }

    /// Returns whether who looks for the state folder still finds this lock. What cannot be looked at counts as in place: who
    /// uses it is told why.
    pub(crate) fn is_in_place(&self) -> bool {
        match fs::metadata(self.state.join(FILE)) {
            Ok(meta) => identity(&meta) == self.locked,
            Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        }
    }

    /// Returns the state folder.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would not do: a process that another thread has forked holds it open until it executes its program.
        // If this fails, that is all.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Returns whether the lock is not just looked at, by [`is_held`], but taken.
fn is_locked_alone(file: &File) -> bool {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            // Giving it back cannot fail on an open file; if it did, the next try would say so.
            let _ = flock(file, FlockOperation::Unlock);
            false
        }
        Err(_) => true,
    }
}

/// Returns whether a process has the store in `state` open for writing.
pub(crate) fn is_held(state: &Path) -> bool {
    File::open(state.join(FILE)).is_ok_and(|file| is_locked_alone(&file))
}

/// Returns the process that has the store in `state` open for writing, once it has signed.
pub(crate) fn holder(state: &Path) -> Option<Holder> {
    let mut file = File::open(state.join(FILE)).ok()?;
    // A signature of one that has ended is left from before.
    is_locked_alone(&file).then(|| read(&mut file).ok())??.filter(|holder| holder.process.is_alive())
}

impl Holder {
    fn current(clock: &dyn Clock) -> Self {
        let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        let command = arguments.collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
        let command = command.chars().take(200).collect();
        Self { process: ProcessId::current(), opened: clock.now(), command }
    }
}

fn write(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    let Holder { process: ProcessId { boot_id, pid, start_ticks }, opened, command } = holder;
    let text = format!(
        "pid {pid}\nstart-ticks {start_ticks}\nboot {boot_id}\nopened-ms {}\ncommand {command}\n",
        opened.0
    );
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

fn read(file: &mut File) -> std::io::Result<Option<Holder>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(4096).read_to_end(&mut bytes)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

fn parse(text: &str) -> Option<Holder> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(str::to_owned)
    };
    let process = ProcessId {
        pid: field("pid")?.parse().ok()?,
        start_ticks: field("start-ticks")?.parse().ok()?,
        boot_id: field("boot")?,
    };
    Some(Holder { process, opened: Timestamp(field("opened-ms")?.parse().ok()?), command: field("command")? })
}

#[cfg(test)]
mod tests {
    use cairn_model::FixedClock;

    use super::*;

    #[test]
    fn it_is_given_back_although_another_descriptor_of_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let clock = FixedClock::new(Timestamp(0));
        let lock = Lock::take(folder.path(), &clock).unwrap();
        // As a process that was forked has one.
        let forked = lock.file.try_clone().unwrap();
        assert!(is_held(folder.path()));
        drop(lock);
        assert!(!is_held(folder.path()));
        Lock::take(folder.path(), &clock).unwrap();
        drop(forked);
    }
}
