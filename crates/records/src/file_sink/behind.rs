//! A file that a thread of its own writes, and another one brings to the disk, while what comes next is made.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle, ScopedJoinHandle};

/// Bytes that are handed over at once.
const CHUNK: usize = 1 << 18;
/// Chunks that wait to be written, at most.
const AHEAD: usize = 4;
/// Bytes that are written before the disk is given them: whoever syncs the file in the end has little left to wait for.
const SYNCED: usize = 64 << 20;

/// A buffered file whose writes go on meanwhile. An error is told by a later call, by [`finish`](Self::finish) at the latest.
#[derive(Debug)]
pub(super) struct Behind {
    chunk: Vec<u8>,
    /// `None` once it failed.
    chunks: Option<SyncSender<Vec<u8>>>,
    /// Chunks that were written, to be filled again.
    written: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<File>>>,
}

impl Behind {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let (chunks, taken) = sync_channel(AHEAD);
        let (give_back, written) = sync_channel(AHEAD + 2);
        let thread = Builder::new()
            .name("cairn-file-sink".to_owned())
            .spawn(move || write_all(file, &taken, &give_back))?;
        Ok(Self { chunk: Vec::with_capacity(CHUNK), chunks: Some(chunks), written, thread: Some(thread) })
    }

    /// Waits for the last write and gives back the file, which was not synced.
    pub(super) fn finish(mut self) -> io::Result<File> {
        self.hand_over()?;
        self.end()
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let next = self.written.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        let chunk = std::mem::replace(&mut self.chunk, next);
        let chunks = self.chunks.as_ref().ok_or_else(|| io::Error::other("an earlier write failed"))?;
        if chunks.send(chunk).is_ok() {
            return Ok(());
        }
        // The thread takes no more only when it failed.
        self.end().map(drop)
    }

    fn end(&mut self) -> io::Result<File> {
        self.chunks = None;
        let thread = self.thread.take().ok_or_else(|| io::Error::other("an earlier write failed"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() + bytes.len() > CHUNK && !self.chunk.is_empty() {
            self.hand_over()?;
        }
        self.chunk.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nobody is to write a file that was given up.
impl Drop for Behind {
    fn drop(&mut self) {
        self.chunks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(
    mut file: File,
    chunks: &Receiver<Vec<u8>>,
    give_back: &SyncSender<Vec<u8>>,
) -> io::Result<File> {
    let same = file.try_clone()?;
    std::thread::scope(|scope| {
        let mut syncing: Option<ScopedJoinHandle<'_, io::Result<()>>> = None;
        let mut unsynced = 0;
        for mut chunk in chunks {
            file.write_all(&chunk)?;
            unsynced += chunk.len();
            chunk.clear();
            // There is always room; and whoever writes may have let go of the file.
            let _ = give_back.try_send(chunk);
            if unsynced >= SYNCED && syncing.as_ref().is_none_or(ScopedJoinHandle::is_finished) {
                unsynced = 0;
                // What it failed with is told once: a later sync would know nothing of it.
                let next = Builder::new().spawn_scoped(scope, || same.sync_data())?;
                syncing.replace(next).map_or(Ok(()), join)?;
            }
        }
        syncing.map_or(Ok(()), join)
    })?;
    Ok(file)
}

fn join(syncing: ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_written_is_in_the_file_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut behind = Behind::new(File::create(&path).unwrap()).unwrap();
        let mut expected = Vec::new();
        for number in 0..3000_usize {
            let bytes = vec![b'a' + u8::try_from(number % 26).unwrap(); number];
            behind.write_all(&bytes).unwrap();
            expected.extend(bytes);
        }
        behind.write_all(&vec![b'!'; 3 * CHUNK]).unwrap();
        expected.extend(vec![b'!'; 3 * CHUNK]);
        behind.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }

    #[test]
    fn a_write_that_fails_is_told_at_the_end_at_the_latest() {
        // A file that is open for reading takes nothing.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        let chunk = vec![b'x'; CHUNK];
        let mut behind = Behind::new(File::open(&path).unwrap()).unwrap();
        let error = (0..100).find_map(|_| behind.write_all(&chunk).err()).expect("it cannot write");
        assert!(error.raw_os_error().is_some(), "{error}: not what the system says");
        assert!(behind.finish().is_err());

        let mut small = Behind::new(File::open(&path).unwrap()).unwrap();
        small.write_all(b"x").unwrap();
        assert!(small.finish().is_err());
    }
}
