//! Why results are not published.

use std::fmt;

use cairn_model::Output;

/// Why results were not published.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// An output did not reach the content store, or its place; the attempt failed and nothing else is affected.
    #[error("{text}")]
    Output {
        /// What happened, with the path.
        text: String,
        /// What to do.
        help: Option<String>,
    },
    /// It is committed, and an output is not in its place; the next run puts it there.
    #[error("{text}")]
    NotPlaced {
        /// What happened, with the path.
        text: String,
        /// What to do.
        help: Option<String>,
    },
    /// The disk refused a sync, or the store a commit: nothing more can be made durable by this process.
    #[error("{text}")]
    Fatal {
        /// What happened.
        text: String,
        /// What to do.
        help: Option<String>,
    },
}

impl PublishError {
    pub(super) fn output(
        output: &Output,
        what: &str,
        error: &dyn fmt::Display,
        help: Option<String>,
    ) -> Self {
        Self::Output { text: format!("cannot {what} `{}`: {error}", output.path), help }
    }

    pub(super) fn fatal(error: &dyn fmt::Display, help: Option<String>) -> Self {
        Self::Fatal { text: error.to_string(), help }
    }
}
