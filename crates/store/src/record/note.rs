//! What scripts had written down by `cairn once`, `seen` and `mark`.

use cairn_model::{InputHash, Name, RunId, Timestamp};

use super::{Damage, Record, from_postcard, to_postcard};

/// Whom a note belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteScope {
    /// A pipeline's stage, whatever its inputs and code.
    Stage {
        /// The pipeline.
        pipeline: Name,
        /// The stage.
        stage: Name,
    },
    /// A name that its users agreed upon.
    Named(Name),
    /// One input-hash: with other inputs or code there are other notes.
    Inputs(InputHash),
}

/// How far a command that is to succeed once has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Its key.
    pub key: String,
    /// Whether it is known to have succeeded; else it was started, and what came of it is not known.
    pub done: bool,
    /// When it succeeded, or was last started.
    pub at: Timestamp,
    /// The run in which it was; `None` outside of runs.
    pub run: Option<RunId>,
    /// How often it was started without a known end.
    pub starts: u32,
}

/// Names those that had records first: an attempt, or a command outside of attempts. Its records count once it is
/// committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub [u8; 16]);

/// A value that a script keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The value.
    pub value: String,
    /// When it was set.
    pub at: Timestamp,
}

/// Whose record a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(pub(crate) Generation);

/// That a generation is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) at: Timestamp,
}

mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::{RunId, Timestamp};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Once<'a> {
        #[serde(borrow)]
        pub(super) key: Cow<'a, str>,
        pub(super) done: bool,
        pub(super) at: Timestamp,
        pub(super) run: Option<RunId>,
        pub(super) starts: u32,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Mark<'a> {
        #[serde(borrow)]
        pub(super) value: Cow<'a, str>,
        pub(super) at: Timestamp,
    }
}

impl Record for Once {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { key, done, at, run, starts } = self;
        let run = run.map(|run| *run.as_bytes());
        to_postcard(&v1::Once { key: key.into(), done: *done, at: at.0, run, starts: *starts })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Once { key, done, at, run, starts } = from_postcard(body)?;
                let run = run.map(RunId::from_bytes);
                Ok(Self { key: key.into_owned(), done, at: Timestamp(at), run, starts })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl Record for Mark {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { value, at } = self;
        to_postcard(&v1::Mark { value: value.into(), at: at.0 })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Mark { value, at } = from_postcard(body)?;
                Ok(Self { value: value.into_owned(), at: Timestamp(at) })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl Record for Seen {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        self.0.0.to_vec()
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let bytes = body.try_into().map_err(|_| Damage::Body { what: "it has not 16 bytes" })?;
                Ok(Self(Generation(bytes)))
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl Record for Settled {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        to_postcard(&self.at.0)
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => Ok(Self { at: Timestamp(from_postcard(body)?) }),
            version => Err(Damage::Version { version }),
        }
    }
}
