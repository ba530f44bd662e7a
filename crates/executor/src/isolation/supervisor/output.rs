//! From a job's pipes to its log.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cairn_model::SystemClock;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::job::Job;
use super::super::log::{Stream, Writer};
use super::super::start_error::StartError;
use super::system;

/// Bytes read at once: what a pipe holds.
pub(super) const BUFFER: usize = 64 * 1024;

/// The most that is read of a pipe after the job's last process has ended. A pipe holds no more (`pipe-max-size`); only a
/// process that could not be ended, or was handed the pipe from outside, writes beyond that.
const DRAIN_MAX: usize = 1024 * 1024;

/// The read ends of a job's pipes, and its log.
pub(super) struct Output {
    pipes: Vec<(Stream, OwnedFd)>,
    log: Writer<SystemClock>,
}

/// What the job's process writes to; closed here once it has started.
pub(super) struct Ends {
    /// What is read as standard input, `None` for nothing.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Output {
    /// Makes the job's pipes, and empties the file that takes standard output if there is one.
    pub(super) fn open(job: &Job) -> Result<(Self, Ends), StartError> {
        let mut pipes = Vec::new();
        let mut pipe = |stream| -> Result<OwnedFd, StartError> {
            let command = || job.argv.first().cloned().unwrap_or_default();
            let refused =
                |errno: Errno| StartError::System { command: command(), errno: errno.raw_os_error() };
            let (read, write) = system::pipe().map_err(refused)?;
            rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).map_err(refused)?;
            pipes.push((stream, read));
            Ok(write)
        };
        let stdout = match &job.stdout {
            Some(path) if job.stdin.is_some() => open_fifo(path, OFlags::WRONLY)?,
            Some(path) => open_stdout(path)?,
            None => pipe(Stream::Stdout)?,
        };
        let stdin = job.stdin.as_deref().map(|path| open_fifo(path, OFlags::RDONLY)).transpose()?;
        let ends = Ends { stdin, stdout, stderr: pipe(Stream::Stderr)? };
        let log = Writer::new(job.log.clone(), job.log_max, SystemClock);
        Ok((Self { pipes, log }, ends))
    }

    /// Returns the pipes that may still have something to read.
    pub(super) fn pipes(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        self.pipes.iter().map(|(stream, pipe)| (*stream, pipe.as_fd()))
    }

    /// Moves what `stream` has to the log, at most a buffer full; returns how many bytes that were.
    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> usize {
        let Some(at) = self.pipes.iter().position(|(of, _)| *of == stream) else { return 0 };
        match rustix::io::read(&self.pipes[at].1, &mut *buffer) {
            Err(Errno::AGAIN | Errno::INTR) => 0,
            // The end: nobody has the other end open.
            Ok(0) | Err(_) => {
                self.pipes.remove(at);
                0
            }
            Ok(read) => {
                self.log.append(stream, &buffer[..read]);
                read
            }
        }
    }

    /// Reads what is left in the pipes; returns the log's bytes, those dropped, and why the log could not be written.
    pub(super) fn finish(mut self, buffer: &mut [u8]) -> (u64, u64, Option<i32>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut drained = 0;
            while drained < DRAIN_MAX {
                match self.read(stream, buffer) {
                    0 => break,
                    read => drained += read,
                }
            }
        }
        let (bytes, dropped, error) = self.log.finish();
        let errno = |error| Errno::from_io_error(&error).unwrap_or(Errno::IO).raw_os_error();
        (bytes, dropped, error.map(errno))
    }
}

/// Opens a named pipe that somebody has open, without waiting.
fn open_fifo(path: &Path, access: OFlags) -> Result<OwnedFd, StartError> {
    let refused =
        |errno: Errno| StartError::Stdout { path: path.display().to_string(), errno: errno.raw_os_error() };
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(refused)?;
    // The program is to wait, as at any other pipe.
    rustix::fs::fcntl_setfl(&fifo, access).map_err(refused)?;
    Ok(fifo)
}

fn open_stdout(path: &Path) -> Result<OwnedFd, StartError> {
    let refused = |error: std::io::Error| {
        let path = path.display().to_string();
        match Errno::from_io_error(&error) {
            // A FIFO that nobody reads, a socket.
            Some(Errno::NXIO) => StartError::StdoutKind { path },
            errno => StartError::Stdout { path, errno: errno.map_or(0, Errno::raw_os_error) },
        }
    };
    // Not to wait for a reader, should it be a FIFO; of no consequence for a file.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of `open`");
    let file = File::options().write(true).create(true).truncate(true).custom_flags(nonblocking).open(path);
    let file = file.map_err(refused)?;
    if !file.metadata().map_err(refused)?.is_file() {
        return Err(StartError::StdoutKind { path: path.display().to_string() });
    }
    Ok(file.into())
}
