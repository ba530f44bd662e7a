//! What verifying an instance came to, in facts; sentences are made of them last.

use std::fmt;

use cairn_records::database::DatabaseDifference;
use cairn_records::rehearsal::RecordApart;

use super::cause::Cause;

/// What an instance is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Executed elsewhere, on top of itself and after being cut off it made the same.
    Verified,
    /// It made something else, or failed.
    NotIdempotent(Box<Finding>),
    /// It was not executed, or what it did cannot be told.
    NotVerified(Reason),
}

/// Why an instance is not verified, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Why.
    pub text: String,
    /// What to do.
    pub help: Option<String>,
}

/// How far the three checks came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// In another folder, from nothing.
    pub elsewhere: Check,
    /// Where its own outputs stand, twice.
    pub on_top: Check,
    /// After it was killed.
    pub cut_off: Check,
    /// How often it was killed, of so many times: it may have ended before.
    pub cuts: (u32, u32),
    /// Whether cairn starts it where nothing stands, so that what it does on top of itself matters to others only.
    pub starts_empty: bool,
    /// What was executed and not looked at: paths and servers outside of the project.
    pub unseen: Vec<String>,
}

impl Report {
    /// A report of nothing executed.
    pub(super) fn none(verdict: Verdict) -> Self {
        Self {
            verdict,
            elsewhere: Check::NotTried,
            on_top: Check::NotTried,
            cut_off: Check::NotTried,
            cuts: (0, 0),
            starts_empty: true,
            unseen: Vec::new(),
        }
    }
}

/// What one check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It was not come to.
    NotTried,
    /// All that was looked at is as recorded.
    Same,
    /// Something is not.
    Differs,
}

/// One execution among those that verify an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// In another folder.
    Elsewhere,
    /// On top of its own outputs, for the `time`-th time.
    OnTop {
        /// From 1.
        time: u32,
    },
    /// Killed after a time, and then executed to its end on what was left.
    CutOff {
        /// The time, in milliseconds.
        after_ms: u64,
        /// Which of the cuts, from 1.
        number: u32,
        /// How many there are.
        of: u32,
    },
}

impl Step {
    /// Returns the name that programs read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::OnTop { .. } => "on_top",
            Self::CutOff { .. } => "cut_off",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("executed elsewhere"),
            Self::OnTop { time: 1 } => f.write_str("on top of its own outputs"),
            Self::OnTop { .. } => f.write_str("on top of its own outputs, once more"),
            Self::CutOff { after_ms, .. } => {
                write!(f, "killed after {after_ms} ms and executed again on what that left")
            }
        }
    }
}

/// The first thing that is not as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which execution.
    pub step: Step,
    /// What.
    pub difference: Difference,
    /// What it may come from.
    pub cause: Option<Cause>,
}

/// How something is not as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The command failed, though it did not when it was recorded.
    Failed {
        /// How: `exit status 1`.
        error: String,
        /// The last line that it printed.
        said: Option<String>,
    },
    /// The outputs are not what is declared.
    Outputs(String),
    /// An output has other bytes.
    Bytes {
        /// The output, or the file in it.
        path: String,
        /// The first place at which it has.
        place: Position,
        /// What was recorded there.
        recorded: String,
        /// What is there.
        found: String,
    },
    /// A file or link is missing, is new or is of another kind.
    Entry {
        /// Which.
        path: String,
        /// How: `is missing`.
        how: &'static str,
    },
    /// A file of the project that is not a declared output has other bytes than before.
    Undeclared {
        /// The file.
        path: String,
    },
    /// The probe of its effect says something else.
    Effect {
        /// What it said before.
        recorded: String,
        /// What it says now.
        found: String,
    },
    /// A record is not the same in two loads.
    Record {
        /// Where: a file of the project, or `what it delivers`.
        sink: String,
        /// Which, and how.
        apart: RecordApart,
    },
    /// With all that is remembered, records are delivered again.
    Redelivered {
        /// How many.
        count: u64,
        /// The key of the first.
        key: String,
    },
    /// A database has other content than before.
    Database {
        /// Its file.
        path: String,
        /// How.
        how: DatabaseDifference,
        /// Whether it is a declared output.
        declared: bool,
    },
}

impl Difference {
    /// Returns the file that it is about.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Failed { .. } | Self::Outputs(_) | Self::Effect { .. } | Self::Redelivered { .. } => None,
            Self::Record { sink, .. } => sink.strip_prefix('`')?.strip_suffix('`'),
            Self::Bytes { path, .. }
            | Self::Entry { path, .. }
            | Self::Undeclared { path }
            | Self::Database { path, .. } => Some(path),
        }
    }

    /// Returns both values, where there are two.
    pub fn values(&self) -> Option<(&str, &str)> {
        match self {
            Self::Bytes { recorded, found, .. } | Self::Effect { recorded, found } => Some((recorded, found)),
            Self::Record { apart: RecordApart { before, after, .. }, .. } => Some((before, after)),
            Self::Database { how: DatabaseDifference::Row { before, after, .. }, .. } => {
                Some((before, after))
            }
            Self::Failed { .. }
            | Self::Outputs(_)
            | Self::Entry { .. }
            | Self::Undeclared { .. }
            | Self::Redelivered { .. }
            | Self::Database { .. } => None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { error, said: Some(said) } => write!(f, "it fails ({error}): {said}"),
            Self::Failed { error, said: None } => write!(f, "it fails ({error})"),
            Self::Outputs(error) => f.write_str(error),
            Self::Bytes { path, place, .. } => write!(f, "`{path}` differs at {place}"),
            Self::Entry { path, how } => write!(f, "`{path}` {how}"),
            Self::Effect { .. } => f.write_str("the probe of its effect says something else"),
            Self::Undeclared { path } => {
                write!(f, "it changes `{path}`, which is not one of its outputs")
            }
            Self::Record { sink, apart: RecordApart { key, field: Some(field), .. } } => {
                write!(f, "in {sink} the record `{key}` has another `{field}`")
            }
            Self::Record { sink, apart: RecordApart { key, field: None, .. } } => {
                write!(f, "in {sink} the record `{key}` is another")
            }
            Self::Redelivered { count: 1, key } => {
                write!(f, "one record that is there would be delivered again: `{key}`")
            }
            Self::Redelivered { count, key } => {
                write!(f, "{count} records that are there would be delivered again: `{key}` and others")
            }
            Self::Database { path, how, declared: true, .. } => write!(f, "in `{path}` {how}"),
            Self::Database { path, how, declared: false, .. } => {
                write!(f, "in `{path}`, which is not one of its outputs, {how}")
            }
        }
    }
}

/// Where two files first differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// In this line, from 1.
    Line(u64),
    /// At this byte, from 0.
    Offset(u64),
    /// Not in its bytes: in whether it may be executed.
    Mode,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Offset(offset) => write!(f, "byte {offset}"),
            Self::Mode => f.write_str("its executable bit"),
        }
    }
}
