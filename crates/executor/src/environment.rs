//! A stage's environment, made up from nothing (K4): what is not in the input-hash the command cannot see.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_dag::Instance;
use cairn_model::{AttemptId, Timestamp, TraceParent};

use crate::project::Project;

/// Where commands are looked for, unless `env` or `pass_env` say otherwise.
pub const PATH: &str = if cfg!(target_os = "macos") {
    "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
} else {
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
};

/// 1980-01-01T00:00:00Z in seconds: the time of every staged input and what `SOURCE_DATE_EPOCH` says. It is the first
/// that a ZIP archive can hold; tools that write a time into their output (gzip, tar, zip, compilers) thus write the same
/// one in every attempt.
pub const EPOCH_SECONDS: i64 = 315_532_800;

/// Variables that are the same for every attempt.
pub fn fixed() -> BTreeMap<String, String> {
    [
        ("PATH", PATH),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        // A cache beside the script would be an undeclared output.
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .chain([("SOURCE_DATE_EPOCH".to_owned(), EPOCH_SECONDS.to_string())])
    .collect()
}

/// What the environment of one attempt depends on beside its instance.
#[derive(Debug)]
pub struct Context<'a> {
    /// The attempt.
    pub attempt: &'a AttemptId,
    /// What identifies its effect: the effect's key, else the input-hash.
    pub key: &'a str,
    /// The run's logical time.
    pub logical_time: Timestamp,
    /// Values of `pass_env`, `None` when unset.
    pub passed: &'a BTreeMap<String, Option<String>>,
    /// Private `HOME`.
    pub home: &'a Path,
    /// Private `TMPDIR`.
    pub temporary: &'a Path,
    /// Where its own commands call `cairn`.
    pub notes: Option<Notes<'a>>,
    /// Its span, where the run is traced; else that of who asked for the run, where they said so.
    pub trace: Option<TraceParent>,
}

/// Where a stage's commands find `cairn`, and `cairn` the process that holds the store.
#[derive(Debug, Clone, Copy)]
pub struct Notes<'a> {
    /// The socket.
    pub socket: &'a Path,
    /// The folder with the binary.
    pub folder: &'a Path,
    /// The epoch of the process.
    pub epoch: u64,
}

/// Returns the environment of an attempt. Declared variables win over the fixed ones, cairn's own over all.
pub fn of_attempt(project: &Project, instance: &Instance, context: &Context<'_>) -> Vec<(String, String)> {
    let mut env = fixed();
    env.insert("HOME".into(), context.home.to_string_lossy().into_owned());
    env.insert("TMPDIR".into(), context.temporary.to_string_lossy().into_owned());
    for (name, value) in context.passed {
        match value {
            Some(value) => env.insert(name.clone(), value.clone()),
            None => env.remove(name),
        };
    }
    env.extend(instance.env.clone());
    let attempt = context.attempt;
    env.extend([
        ("CAIRN_RUN_ID".to_owned(), attempt.run.to_string()),
        ("CAIRN_STAGE".to_owned(), instance.name.to_string()),
        ("CAIRN_ATTEMPT".to_owned(), attempt.number.to_string()),
        ("CAIRN_IDEMPOTENCY_KEY".to_owned(), context.key.to_owned()),
        (LOGICAL_TIME.to_owned(), rfc3339(context.logical_time)),
        ("CAIRN_STATE_ID".to_owned(), project.state_id()),
        ("CAIRN_ATTEMPT_TOKEN".to_owned(), attempt.slug()),
    ]);
    if let Some(Notes { socket, folder, epoch }) = context.notes {
        // Whatever `PATH` the stage has: it is in the input-hash as it was declared, this folder holds nothing but `cairn`.
        let path = env.get("PATH").filter(|path| !path.is_empty());
        let path =
            path.map_or_else(|| folder.display().to_string(), |path| format!("{}:{path}", folder.display()));
        env.insert("PATH".to_owned(), path);
        env.insert(cairn_notes::SOCKET_VARIABLE.to_owned(), socket.display().to_string());
        env.insert(cairn_notes::EPOCH_VARIABLE.to_owned(), epoch.to_string());
        env.entry(cairn_notes::ONCE_KEY_VARIABLE.to_owned())
            .or_insert_with(|| cairn_notes::ONCE_KEY_HOLDER.to_owned());
    }
    if let Some(trace) = context.trace {
        // What the stage declares itself is its own.
        env.entry(TraceParent::VARIABLE.to_owned()).or_insert_with(|| trace.to_string());
    }
    env.into_iter().collect()
}

/// The variable that holds the run's logical time.
pub const LOGICAL_TIME: &str = "CAIRN_LOGICAL_TIME";

/// Returns `time` as RFC 3339 in UTC, to the second.
pub fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0)
        .map_or_else(|_| time.0.to_string(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
