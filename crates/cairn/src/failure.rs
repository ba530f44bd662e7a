//! Why a command could not do what it was asked: a sentence, its causes, the mend, and an exit status.
//!
//! The crates below return typed errors; here, at the edge, each becomes a text for a person and a number for a script.

use std::error::Error;

use crate::exit::ExitStatus;
use crate::terminal::style::{self, Paint};
use crate::terminal::text::append;

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) status: ExitStatus,
    text: Text,
}

#[derive(Debug)]
enum Text {
    /// Laid out when shown.
    Sentence { message: String, causes: Vec<String>, notes: Vec<String>, help: Option<String> },
    /// Laid out already, as the findings in a definition are.
    Drawn(String),
}

impl Failure {
    /// Fails with a sentence: lower case, no full stop, names in backticks.
    pub(crate) fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Self {
            status,
            text: Text::Sentence {
                message: message.into(),
                causes: Vec::new(),
                notes: Vec::new(),
                help: None,
            },
        }
    }

    /// Fails because the definition or the command line is wrong.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Wrong, message)
    }

    /// Fails with an error's sentence and those of its sources.
    pub(crate) fn of(status: ExitStatus, error: &dyn Error) -> Self {
        Self::new(status, error.to_string()).because_of(error.source())
    }

    /// Fails with a text that is laid out already and ends with a line feed.
    pub(crate) fn drawn(status: ExitStatus, text: String) -> Self {
        Self { status, text: Text::Drawn(text) }
    }

    /// Adds the sentences of `cause` and of its sources.
    #[must_use]
    pub(crate) fn because_of(mut self, cause: Option<&(dyn Error + 'static)>) -> Self {
        if let Text::Sentence { causes, message, .. } = &mut self.text {
            let mut next = cause;
            while let Some(error) = next {
                let sentence = error.to_string();
                // Some errors repeat their source in their own sentence.
                if !message.contains(&sentence) && !causes.contains(&sentence) {
                    causes.push(sentence);
                }
                next = error.source();
            }
        }
        self
    }

    /// Adds a fact.
    #[must_use]
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        if let Text::Sentence { notes, .. } = &mut self.text {
            notes.push(text.into());
        }
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        self.maybe_help(Some(text.into()))
    }

    /// Says what to do about it, where something is known.
    #[must_use]
    pub(crate) fn maybe_help(mut self, text: Option<String>) -> Self {
        if let Text::Sentence { help, .. } = &mut self.text
            && text.is_some()
        {
            *help = text;
        }
        self
    }

    /// Lays the failure out for standard error, with a line feed at the end.
    pub(crate) fn render(&self, paint: Paint) -> String {
        match &self.text {
            Text::Drawn(text) => text.clone(),
            Text::Sentence { message, causes, notes, help } => {
                let mut text = format!("{}: {message}\n", paint.with(style::ERROR, "error"));
                for cause in causes {
                    append!(text, "  {} {cause}\n", paint.with(style::DIM, "because:"));
                }
                let notes = notes.iter().map(|note| ("note", style::BOLD, note));
                let help = help.iter().map(|help| ("help", style::HELP, help));
                for (word, style, sentence) in notes.chain(help) {
                    let lines = sentence.replace('\n', "\n      ");
                    append!(text, "{}: {lines}\n", paint.with(style, word));
                }
                text
            }
        }
    }
}

impl From<std::io::Error> for Failure {
    /// Only writing results to standard output fails with a bare `io::Error`; all else names its path.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // The reader has seen enough, as in `cairn runs | head -1`.
            return Self::drawn(ExitStatus::Done, String::new());
        }
        Self::new(ExitStatus::StageFailed, "standard output cannot be written").because_of(Some(&error))
    }
}
