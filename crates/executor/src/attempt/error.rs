//! Why an attempt failed, and what follows from it.

use crate::collect::CollectError;
use crate::committer::PublishError;
use crate::gather::GatherError;
use crate::isolation::KeeperError;
use crate::staging::StageError;

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptError {
    /// What happened.
    pub error: String,
    /// What to do about it.
    pub help: Option<String>,
    /// What follows from it.
    pub kind: AttemptErrorKind,
    /// Whether the keeper was killed that ran it.
    pub(crate) keeper_gone: bool,
}

/// What follows from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptErrorKind {
    /// Another attempt may fare better.
    Retryable,
    /// Another attempt would fail in the same way.
    Permanent,
    /// A person stopped it.
    Stopped,
    /// Its result is committed, and only its outputs are not in their places.
    NotPlaced,
    /// Nothing more can be made durable, so that the run must end.
    Fatal,
    /// Nobody can say whether its effect took place: a person is to settle it.
    InDoubt,
    /// Within an attempt: `confirm` is to say whether the effect took place.
    Ask,
    /// Within an attempt: `confirm` says that the effect did not take place.
    NotDone,
    /// Within an attempt: the effect may be done.
    MayAct,
}

impl AttemptError {
    pub(crate) fn new(error: impl Into<String>, help: Option<String>) -> Self {
        Self { error: error.into(), help, kind: AttemptErrorKind::Retryable, keeper_gone: false }
    }

    pub(crate) fn permanent(error: impl Into<String>, help: Option<String>) -> Self {
        Self::new(error, help).of_kind(AttemptErrorKind::Permanent)
    }

    pub(crate) fn stopped() -> Self {
        Self::new("stopped", None).of_kind(AttemptErrorKind::Stopped)
    }

    pub(crate) fn of_kind(self, kind: AttemptErrorKind) -> Self {
        Self { kind, ..self }
    }
}

impl From<GatherError> for AttemptError {
    fn from(error: GatherError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}

impl From<StageError> for AttemptError {
    fn from(error: StageError) -> Self {
        let help = error.help();
        Self::new(error.to_string(), help)
    }
}

impl From<CollectError> for AttemptError {
    fn from(error: CollectError) -> Self {
        let help = error.help();
        Self::new(error.to_string(), help)
    }
}

impl From<PublishError> for AttemptError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Output { text, help } => Self::new(text, help),
            PublishError::NotPlaced { text, help } => {
                Self::new(text, help).of_kind(AttemptErrorKind::NotPlaced)
            }
            PublishError::Fatal { text, help } => Self::new(text, help).of_kind(AttemptErrorKind::Fatal),
        }
    }
}

impl From<KeeperError> for AttemptError {
    fn from(error: KeeperError) -> Self {
        let help = error.help();
        let permanent = error.is_permanent();
        let keeper_gone = matches!(error, KeeperError::Gone);
        let made = Self { keeper_gone, ..Self::new(error.to_string(), help) };
        if permanent { made.of_kind(AttemptErrorKind::Permanent) } else { made }
    }
}
