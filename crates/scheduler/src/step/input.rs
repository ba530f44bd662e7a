//! What happens to a run.

use cairn_model::{InputHash, Reason, RecordCounts};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The run begins: the first input, given once.
    Begin,
    /// A look-up has its answer.
    LookedUp {
        /// Of which instance.
        instance: u32,
        /// The answer.
        found: Found,
    },
    /// An attempt's command ended: its cpus, memory and place in a pool are free; its result is being made durable. May
    /// be left out before [`Input::Finished`].
    Exited {
        /// Of which instance.
        instance: u32,
    },
    /// An attempt is over: its result is durable and in place, or it failed.
    Finished {
        /// Of which instance.
        instance: u32,
        /// How it went.
        result: Result<Done, Failure>,
    },
    /// Time has passed, to the point asked for or not.
    Tick,
    /// A person asks to stop: gently the first time, at once the second.
    Interrupt,
    /// The system asks to stop: gently, however often.
    Stop,
}

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A checkpoint, and its outputs are in place.
    Hit {
        /// The input-hash.
        input_hash: InputHash,
        /// Paths that were put back from the content store.
        restored: Vec<String>,
        /// Where files that were not cairn's went from the outputs' places.
        trashed: Vec<String>,
        /// What the execution that made the checkpoint took.
        saved_ms: u64,
    },
    /// Its effect took place under its key, and its outputs are in place.
    Stands {
        /// The input-hash.
        input_hash: InputHash,
        /// The effect's key.
        key: String,
        /// Paths that were put back from the content store.
        restored: Vec<String>,
        /// Where files that were not cairn's went from the outputs' places.
        trashed: Vec<String>,
        /// What the execution took that did it.
        saved_ms: u64,
    },
    /// Nothing that can be used: if an attempt was held, it has ended by now and does not count.
    Miss {
        /// The input-hash.
        input_hash: InputHash,
        /// Why it has to run.
        reason: Reason,
    },
    /// An attempt of it goes on, or has ended, that a process before had started under this very input-hash.
    Held {
        /// The input-hash.
        input_hash: InputHash,
        /// The attempt's number.
        attempt: u32,
    },
    /// It has an effect of which nobody can say whether it took place.
    InDoubt {
        /// Why.
        error: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// It cannot even be looked up: an input is missing, say.
    Broken {
        /// What went wrong.
        error: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// It was asked for an end before there was an answer.
    Stopped,
}

/// How an attempt succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The checkpoint's input-hash.
    pub input_hash: InputHash,
    /// What the command took.
    pub took_ms: u64,
    /// Where files that were not cairn's went from the outputs' places.
    pub trashed: Vec<String>,
    /// What became of the records of a stage that passes them on.
    pub records: Option<RecordCounts>,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Failure {
    /// What went wrong.
    pub error: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Whether another try may go better: a command that exits with 1 may, one that is not found will not.
    pub retryable: bool,
    /// Whether it was ended from outside ([`super::Action::Terminate`]): then it counts as no failure.
    pub interrupted: bool,
    /// Whether its result is committed, and only its outputs are not in their places.
    pub committed: bool,
    /// Whether nobody can say if its effect took place: a person is to settle it.
    pub in_doubt: bool,
}
