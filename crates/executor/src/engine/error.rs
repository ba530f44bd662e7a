//! Why an instance cannot be looked up.

use cairn_content::{DigestError, FileError, PlaceError};
use cairn_store::ReadError;

use crate::gather::GatherError;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// An input is not there or cannot be read.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// What stands in an output's place cannot be read.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// An output cannot be put back.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(cairn_store::CommitError),
    /// An effect took place, and the outputs of its stage are not there.
    #[error("its effect `{key}` took place, and its output `{path}` is lost")]
    EffectLost {
        /// The effect's key.
        key: String,
        /// The output.
        path: String,
    },
    /// A probe has no answer.
    #[error("the `probe` of its effect `{key}` has no answer: {what}")]
    Probe {
        /// The effect's key.
        key: String,
        /// What went wrong.
        what: String,
    },
    /// The run is to end, and a probe was not waited for.
    #[error("the run is to end")]
    Stopped,
    /// The disk refused.
    #[error("cannot put back outputs: {0}")]
    Sync(#[source] FileError),
}

impl LookUpError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Gather(error) => error.help(),
            Self::Store(error) => error.help(),
            Self::Digest(error) => error.help(),
            Self::Place(error) => error.help(),
            Self::Sync(_) | Self::Stopped => None,
            Self::Commit(error) => error.help(),
            Self::EffectLost { .. } => Some(
                "make outputs in a stage of their own, or do the effect again with `cairn run --force-effects`"
                    .to_owned(),
            ),
            Self::Probe { .. } => {
                Some("mend what it asks, or the probe itself; nothing was done again".to_owned())
            }
        }
    }

    /// Returns whether the store itself is damaged: then the run cannot go on.
    pub fn is_store(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Commit(_))
    }
}
