//! Workers of a records stage: started by the keeper, fed and read through named pipes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::mpsc;

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

fn fifo(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    Ok(rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)?)
}

/// A pipe's end that is used, and the other end, which keeps the pipe open until the process has ended. Nothing else may
/// hold it: the worker learns that there are no more records when the last end that writes is closed.
fn open(path: &std::path::Path, write: bool) -> io::Result<(File, File)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of `open`");
    // Reading and writing, so that neither waits for the other; then the ends that are used, as at any pipe.
    let both = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let end = OpenOptions::new().read(!write).write(write).open(path)?;
    let keep = OpenOptions::new().read(write).write(!write).open(path)?;
    drop(both);
    Ok((end, keep))
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
            // A log has one writer.
            let mut name = job.log.file_stem().unwrap_or_default().to_owned();
            name.push(format!(".worker-{number}.log"));
            job.log.set_file_name(name);
        }
        (job.stdin, job.stdout) = (Some(input), Some(output));
        let (keeper, token) = (self.keeper.clone(), job.token.clone());
        let (ended, end) = mpsc::channel();
        let running = keeper.clone();
        self.runtime.spawn(async move {
            let result = running.run(job).await;
            // Only now do both ends see that nobody is there any more.
            drop((keep_in, keep_out));
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
