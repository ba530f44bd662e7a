//! Workers of a records stage: started by the keeper, fed and read through named pipes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use cairn_records::engine::{Process, Spawn, SpawnError};
use rustix::fs::OFlags;

use crate::isolation::{Ended, ExitKind, Job, Keeper, KeeperError};

/// Starts workers of one attempt.
pub(crate) struct Workers {
    pub(crate) keeper: Keeper,
    /// The job of a worker, but for its token and its pipes.
    pub(crate) job: Job,
    /// Where pipes are made.
    pub(crate) folder: PathBuf,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// Returns the token of a worker's job.
pub(crate) fn token(attempt: &str, number: usize) -> String {
    format!("{attempt}.w{number}")
}

/// Returns where the log of worker `number` of an attempt is, from 1; the first one's is the attempt's own. A log has one
/// writer.
pub fn worker_log(log: &Path, number: usize) -> PathBuf {
    let mut name = log.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".worker-{number}.log"));
    log.with_file_name(name)
}

fn fifo(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    Ok(rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)?)
}

/// A pipe's two ends: one that is used, and one that keeps it open until the process has ended.
fn open(path: &Path, write: bool) -> io::Result<(File, File)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of `open`");
    // Reading and writing, so that neither waits for the other; then the end that is used, as at any pipe.
    let keep = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let end = OpenOptions::new().read(!write).write(write).open(path)?;
    Ok((end, keep))
}

/// The end of a worker's standard input. The pipe is closed with it.
struct Input {
    end: File,
    keep: Arc<Mutex<Option<File>>>,
}

impl io::Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        close(&self.keep);
    }
}

fn close(kept: &Mutex<Option<File>>) {
    drop(kept.lock().expect("no panic while it is held").take());
}

impl Spawn for Workers {
    fn spawn(&self, number: usize) -> Result<Process, SpawnError> {
        let refused = |error: io::Error| SpawnError {
            error: format!("cannot make a pipe in `{}`: {error}", self.folder.display()),
            help: None,
        };
        let (input, output) = (
            self.folder.join(format!("worker-{number}.in")),
            self.folder.join(format!("worker-{number}.out")),
        );
        fifo(&input).and_then(|()| fifo(&output)).map_err(refused)?;
        let (stdin, keep_in) = open(&input, true).map_err(refused)?;
        let (stdout, keep_out) = open(&output, false).map_err(refused)?;
        let mut job = self.job.clone();
        let attempt = job.token.clone();
        job.token = token(&attempt, number);
        for (name, value) in &mut job.env {
            if name == "CAIRN_ATTEMPT_TOKEN" {
                value.clone_from(&job.token);
            }
        }
        if number > 0 {
            job.log = worker_log(&job.log, number);
        }
        (job.stdin, job.stdout) = (Some(input), Some(output));
        let (keeper, token) = (self.keeper.clone(), job.token.clone());
        let (ended, end) = mpsc::channel();
        let keep_in = Arc::new(Mutex::new(Some(keep_in)));
        let stdin = Input { end: stdin, keep: Arc::clone(&keep_in) };
        let running = keeper.clone();
        self.runtime.spawn(async move {
            let result = running.run(job).await;
            // Only now do both ends see that nobody is there any more.
            close(&keep_in);
            drop(keep_out);
            let _ = ended.send(how(result));
        });
        Ok(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            wait: Box::new(move || end.recv().unwrap_or(None)),
            kill: Box::new(move || keeper.kill(&token)),
        })
    }
}

fn how(result: Result<Ended, KeeperError>) -> Option<String> {
    match result {
        Ok(Ended { status: ExitKind::Code(0), .. }) => None,
        Ok(Ended { status: ExitKind::Code(code), .. }) => Some(format!("ended with exit status {code}")),
        Ok(Ended { status: ExitKind::Signal(signal), .. }) => Some(format!("was ended by signal {signal}")),
        Err(error) => Some(format!("could not be run: {error}")),
    }
}
