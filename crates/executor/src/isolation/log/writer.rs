//! Writes a log.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use cairn_model::Clock;

use super::{Record, Stream, index_path};

/// Appends to a log and its index, up to a limit.
pub(in super::super) struct Writer<C> {
    path: PathBuf,
    clock: C,
    files: Option<(File, File)>,
    bytes_max: u64,
    bytes: u64,
    dropped: u64,
    ends_line: bool,
    error: Option<io::Error>,
}

impl<C: Clock> Writer<C> {
    /// Writes to `path`, at most `bytes_max` bytes and a mark; nothing is made before the first byte.
    pub(in super::super) fn new(path: PathBuf, bytes_max: u64, clock: C) -> Self {
        Self { path, clock, files: None, bytes_max, bytes: 0, dropped: 0, ends_line: true, error: None }
    }

    /// Appends what was read from `stream`; drops what is beyond the limit, or cannot be written.
    pub(in super::super) fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let room = usize::try_from(self.bytes_max.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let (kept, beyond) = bytes.split_at(bytes.len().min(room));
        self.write(stream, kept);
        if !beyond.is_empty() {
            if self.dropped == 0 {
                let start = if self.ends_line { "" } else { "\n" };
                let mark = format!("{start}[cairn: output beyond {} was dropped]\n", size(self.bytes_max));
                self.write(Stream::Mark, mark.as_bytes());
            }
            self.dropped += beyond.len() as u64;
        }
    }

    /// Returns the bytes in the log, those that were dropped, and why the log could not be written, if so.
    pub(in super::super) fn finish(self) -> (u64, u64, Option<io::Error>) {
        (self.bytes, self.dropped, self.error)
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.error.is_none()
            && let Err(error) = self.try_write(stream, bytes)
        {
            self.error = Some(error);
        }
        if self.error.is_some() {
            self.dropped += bytes.len() as u64;
        } else {
            self.bytes += bytes.len() as u64;
            self.ends_line = bytes.ends_with(b"\n");
        }
    }

    fn try_write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let (log, index) = match &mut self.files {
            Some(files) => files,
            none => none.insert(open(&self.path)?),
        };
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        index.write_all(&Record { time: self.clock.now(), stream, length }.to_bytes())?;
        log.write_all(bytes)
    }
}

fn open(path: &std::path::Path) -> io::Result<(File, File)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let create = |path: &std::path::Path| File::options().create(true).append(true).open(path);
    Ok((create(path)?, create(&index_path(path))?))
}

/// Returns `bytes` in the largest binary unit that divides it.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}
