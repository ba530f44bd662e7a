//! A checkpoint: what an execution under an input-hash made.

use cairn_model::{AttemptId, Level, Manifest, Name, Timestamp};

use super::{Damage, Record, from_postcard, manifest, names, to_postcard};

/// The result of an execution, stored under its input-hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The bytes whose digest is the input-hash: a hit compares them whole.
    pub preimage: Vec<u8>,
    /// The outputs.
    pub manifest: Manifest,
    /// The isolation the attempt really had.
    pub level: Level,
    /// The attempt that made it.
    pub made_by: AttemptId,
    /// The pipeline it belongs to.
    pub pipeline: Name,
    /// When it was finished: what a time-to-live counts from.
    pub finished: Timestamp,
    /// What the command took, in milliseconds.
    pub took_ms: u64,
    /// Where what it printed is kept.
    pub log: LogRef,
    /// How the command ended and what it used.
    pub exit: Exit,
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogRef {
    /// Its path, relative to the state folder.
    pub path: String,
    /// Bytes in it.
    pub bytes: u64,
}

/// How a command ended and what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exit {
    /// Its exit status.
    pub code: i32,
    /// Processor time in user mode, in milliseconds.
    pub user_ms: u64,
    /// Processor time in the kernel, in milliseconds.
    pub sys_ms: u64,
    /// The largest resident set of one of its processes, in bytes.
    pub max_rss_bytes: u64,
}

/// A checkpoint that is no longer to be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demoted {
    /// Why, for example which content is gone.
    pub why: String,
}

/// What stands under an input-hash: a checkpoint, and whether it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) demoted: Option<Demoted>,
}

mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::manifest::v1::Output;
    use crate::record::names::v1::{AttemptId, Timestamp};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Recorded<'a> {
        #[serde(borrow)]
        pub(super) demoted: Option<Cow<'a, str>>,
        #[serde(borrow)]
        pub(super) outputs: Vec<Output<'a>>,
        pub(super) level: Level,
        #[serde(borrow)]
        pub(super) made_by: AttemptId<'a>,
        #[serde(borrow)]
        pub(super) pipeline: Cow<'a, str>,
        pub(super) finished: Timestamp,
        pub(super) took_ms: u64,
        #[serde(borrow)]
        pub(super) log_path: Cow<'a, str>,
        pub(super) log_bytes: u64,
        pub(super) exit_code: i32,
        pub(super) user_ms: u64,
        pub(super) sys_ms: u64,
        pub(super) max_rss_bytes: u64,
        #[serde(borrow)]
        pub(super) preimage: Cow<'a, [u8]>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Level {
        Off,
        Private,
        Confine,
        Hermetic,
    }
}

impl Record for Recorded {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { checkpoint, demoted } = self;
        let Checkpoint { preimage, manifest, level, made_by, pipeline, finished, took_ms, log, exit } =
            checkpoint;
        let LogRef { path: log_path, bytes: log_bytes } = log;
        let Exit { code: exit_code, user_ms, sys_ms, max_rss_bytes } = *exit;
        to_postcard(&v1::Recorded {
            demoted: demoted.as_ref().map(|Demoted { why }| why.into()),
            outputs: manifest::stored(manifest),
            level: match level {
                Level::Off => v1::Level::Off,
                Level::Private => v1::Level::Private,
                Level::Confine => v1::Level::Confine,
                Level::Hermetic => v1::Level::Hermetic,
            },
            made_by: made_by.into(),
            pipeline: pipeline.as_str().into(),
            finished: finished.0,
            took_ms: *took_ms,
            log_path: log_path.into(),
            log_bytes: *log_bytes,
            exit_code,
            user_ms,
            sys_ms,
            max_rss_bytes,
            preimage: preimage.into(),
        })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => from_postcard::<v1::Recorded<'_>>(body)?.try_into(),
            version => Err(Damage::Version { version }),
        }
    }
}

impl TryFrom<v1::Recorded<'_>> for Recorded {
    type Error = Damage;

    fn try_from(stored: v1::Recorded<'_>) -> Result<Self, Damage> {
        let checkpoint = Checkpoint {
            preimage: stored.preimage.into_owned(),
            manifest: manifest::read(stored.outputs)?,
            level: match stored.level {
                v1::Level::Off => Level::Off,
                v1::Level::Private => Level::Private,
                v1::Level::Confine => Level::Confine,
                v1::Level::Hermetic => Level::Hermetic,
            },
            made_by: stored.made_by.try_into()?,
            pipeline: names::name(&stored.pipeline)?,
            finished: Timestamp(stored.finished),
            took_ms: stored.took_ms,
            log: LogRef { path: stored.log_path.into_owned(), bytes: stored.log_bytes },
            exit: Exit {
                code: stored.exit_code,
                user_ms: stored.user_ms,
                sys_ms: stored.sys_ms,
                max_rss_bytes: stored.max_rss_bytes,
            },
        };
        Ok(Self { checkpoint, demoted: stored.demoted.map(|why| Demoted { why: why.into_owned() }) })
    }
}
