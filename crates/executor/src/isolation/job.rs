//! What the keeper is asked to run, and how that ended.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::wire;

/// A command to run. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Names the attempt, among all that ever ran. Processes are known by it: `env` must hold it as
    /// [`TOKEN_VARIABLE`](super::TOKEN_VARIABLE).
    pub token: String,
    /// The command and its arguments. A command without `/` is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// The working folder.
    #[serde(with = "wire::path")]
    pub cwd: PathBuf,
    /// The named pipe that standard input is read from; without one there is nothing to read. With one, `stdout` may be a
    /// named pipe too. Somebody must have both open.
    #[serde(with = "wire::optional_path")]
    pub stdin: Option<PathBuf>,
    /// The file that standard output is written to, emptied first; without one it goes to the log.
    #[serde(with = "wire::optional_path")]
    pub stdout: Option<PathBuf>,
    /// The file that the output is appended to, made with its folder at the first byte.
    #[serde(with = "wire::path")]
    pub log: PathBuf,
    /// Bytes of output that are kept; what comes after is counted and dropped.
    pub log_max: u64,
    /// Milliseconds after which the command is asked to end.
    pub timeout_ms: Option<u64>,
    /// Milliseconds from asking (SIGTERM) to forcing (SIGKILL).
    pub kill_after_ms: u64,
    /// Whether it ends with the caller, also under a keeper that outlives that: only the caller can make use of it.
    pub tied: bool,
}

/// How a job ended. When it is there, no process of the job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How the main process ended.
    pub status: ExitKind,
    /// Whether it was ended because its time was up.
    pub timed_out: bool,
    /// Whether it was ended because the caller said so.
    pub stopped: bool,
    /// Processes that outlived the main process, did not end in the grace they had, and were killed. What they were still
    /// writing is cut off.
    pub strays: u32,
    /// Processes that outlived the main process and may not be ended: they run as another user.
    pub survivors: u32,
    /// Milliseconds from the start to the end of the main process, sleep of the machine included.
    pub took_ms: u64,
    /// Milliseconds of processor time in user mode, of the main process and the children it waited for.
    pub user_ms: u64,
    /// The same in the kernel.
    pub sys_ms: u64,
    /// The most memory any one of them held at once; never less than the keeper's own, some 3 MB.
    pub max_rss_bytes: u64,
    /// Bytes of output in the log.
    pub log_bytes: u64,
    /// Bytes of output that were dropped, because the log was full or could not be written.
    pub log_dropped: u64,
    /// Why the log could not be written, when it could not: the system's number of the error.
    pub log_error: Option<i32>,
}

impl Ended {
    /// Tells whether the log lacks part of the output.
    pub fn log_truncated(&self) -> bool {
        self.log_dropped > 0
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitKind {
    /// By itself, with this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}
