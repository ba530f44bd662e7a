//! A run: what was asked for and how it stands.

use cairn_model::{Counts, Digest, Name, RunStatus, Timestamp, TraceParent};

use super::{Damage, Record, event, from_postcard, names, to_postcard, trace};
use crate::ProcessId;

/// A run's head; what happened in it are its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// The pipeline.
    pub pipeline: Name,
    /// Its file, relative to the project.
    pub file: String,
    /// Digest of the definition's text, which [`crate::Store::definition`] gives back.
    pub definition: Digest,
    /// `-p`: names and values as they were given.
    pub params: Vec<(String, String)>,
    /// The run's logical time.
    pub logical_time: Timestamp,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended, `None` while it has not.
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub status: RunStatus,
    /// Instances by outcome.
    pub counts: Counts,
    /// The stages asked for; none: all.
    pub selection: Vec<String>,
    /// How it was asked to run.
    pub options: RunOptions,
    /// The span that it was asked for in, of another program's trace.
    pub caller: Option<TraceParent>,
    /// The command line, program first.
    pub command_line: Vec<String>,
    /// The process that runs it, or ran it last.
    pub process: ProcessId,
    /// The version of cairn that ran it last.
    pub cairn_version: String,
    /// Time that checkpoints saved, in milliseconds.
    pub saved_ms: u64,
}

/// How a run was asked to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// `-j`: attempts at once.
    pub jobs: u32,
    /// `-k`: goes on after a failure.
    pub keep_going: bool,
    /// `--frozen`: fails when anything would be executed.
    pub frozen: bool,
    /// `--force`.
    pub force: Force,
}

/// What is executed although it has a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Force {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything that is selected.
    Everything,
    /// These stages.
    Stages(Vec<String>),
}

pub(super) mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::event::v1::RunStatus;
    use crate::record::names::v1::{Digest, Timestamp};
    use crate::record::process::v1::ProcessId;

    #[derive(Serialize, Deserialize)]
    pub(super) struct RunRecord<'a> {
        #[serde(borrow)]
        pub(super) pipeline: Cow<'a, str>,
        #[serde(borrow)]
        pub(super) file: Cow<'a, str>,
        pub(super) definition: Digest,
        pub(super) params: Vec<(String, String)>,
        pub(super) logical_time: Timestamp,
        pub(super) started: Timestamp,
        pub(super) ended: Option<Timestamp>,
        pub(super) status: RunStatus,
        pub(super) counts: Counts,
        pub(super) selection: Vec<String>,
        pub(super) options: RunOptions,
        pub(super) command_line: Vec<String>,
        #[serde(borrow)]
        pub(super) process: ProcessId<'a>,
        #[serde(borrow)]
        pub(super) cairn_version: Cow<'a, str>,
        pub(super) saved_ms: u64,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Counts {
        pub(super) ran: u32,
        pub(super) restored: u32,
        pub(super) fresh: u32,
        pub(super) failed: u32,
        pub(super) blocked: u32,
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct RunOptions {
        pub(super) jobs: u32,
        pub(super) keep_going: bool,
        pub(super) frozen: bool,
        pub(super) force: Force,
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) enum Force {
        Nothing,
        Everything,
        Stages(Vec<String>),
    }
}

mod v2 {
    use serde::{Deserialize, Serialize};

    use super::v1;

    /// In postcard a type within another is its fields, so this is the first version with more at its end.
    #[derive(Serialize, Deserialize)]
    pub(super) struct RunRecord<'a> {
        #[serde(borrow)]
        pub(super) before: v1::RunRecord<'a>,
        pub(super) in_doubt: u32,
    }
}

mod v3 {
    use serde::{Deserialize, Serialize};

    use super::v2;
    use crate::record::trace::v1::TraceParent;

    #[derive(Serialize, Deserialize)]
    pub(super) struct RunRecord<'a> {
        #[serde(borrow)]
        pub(super) before: v2::RunRecord<'a>,
        pub(super) caller: Option<TraceParent>,
    }
}

impl Record for RunRecord {
    const VERSION: u8 = 3;

    fn body(&self) -> Vec<u8> {
        let before = v2::RunRecord { before: self.into(), in_doubt: self.counts.in_doubt };
        to_postcard(&v3::RunRecord { before, caller: self.caller.map(Into::into) })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => from_postcard::<v1::RunRecord<'_>>(body)?.try_into(),
            2 => from_postcard::<v2::RunRecord<'_>>(body)?.try_into(),
            3 => {
                let v3::RunRecord { before, caller } = from_postcard(body)?;
                let caller = caller.map(TryInto::try_into).transpose()?;
                Ok(Self { caller, ..before.try_into()? })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl<'a> From<&'a RunRecord> for v1::RunRecord<'a> {
    fn from(run: &'a RunRecord) -> Self {
        Self {
            pipeline: run.pipeline.as_str().into(),
            file: (&run.file).into(),
            definition: *run.definition.as_bytes(),
            params: run.params.clone(),
            logical_time: run.logical_time.0,
            started: run.started.0,
            ended: run.ended.map(|ended| ended.0),
            status: event::stored_status(run.status),
            counts: run.counts.into(),
            selection: run.selection.clone(),
            options: (&run.options).into(),
            command_line: run.command_line.clone(),
            process: (&run.process).into(),
            cairn_version: (&run.cairn_version).into(),
            saved_ms: run.saved_ms,
        }
    }
}

impl TryFrom<v1::RunRecord<'_>> for RunRecord {
    type Error = Damage;

    fn try_from(mut stored: v1::RunRecord<'_>) -> Result<Self, Damage> {
        let caller = trace::taken_from(&mut stored.selection);
        Ok(Self {
            pipeline: names::name(&stored.pipeline)?,
            file: stored.file.into_owned(),
            definition: Digest::from_bytes(stored.definition),
            params: stored.params,
            logical_time: Timestamp(stored.logical_time),
            started: Timestamp(stored.started),
            ended: stored.ended.map(Timestamp),
            status: event::status(&stored.status),
            counts: stored.counts.into(),
            selection: stored.selection,
            options: stored.options.into(),
            caller,
            command_line: stored.command_line,
            process: stored.process.into(),
            cairn_version: stored.cairn_version.into_owned(),
            saved_ms: stored.saved_ms,
        })
    }
}

impl TryFrom<v2::RunRecord<'_>> for RunRecord {
    type Error = Damage;

    fn try_from(stored: v2::RunRecord<'_>) -> Result<Self, Damage> {
        let v2::RunRecord { before, in_doubt } = stored;
        let mut run = Self::try_from(before)?;
        run.counts.in_doubt = in_doubt;
        Ok(run)
    }
}

impl From<Counts> for v1::Counts {
    fn from(counts: Counts) -> Self {
        let Counts { ran, restored, fresh, failed, blocked, in_doubt: _ } = counts;
        Self { ran, restored, fresh, failed, blocked }
    }
}

impl From<v1::Counts> for Counts {
    fn from(stored: v1::Counts) -> Self {
        let v1::Counts { ran, restored, fresh, failed, blocked } = stored;
        Self { ran, restored, fresh, failed, blocked, in_doubt: 0 }
    }
}

impl From<&RunOptions> for v1::RunOptions {
    fn from(options: &RunOptions) -> Self {
        let RunOptions { jobs, keep_going, frozen, force } = options;
        let force = match force {
            Force::Nothing => v1::Force::Nothing,
            Force::Everything => v1::Force::Everything,
            Force::Stages(stages) => v1::Force::Stages(stages.clone()),
        };
        Self { jobs: *jobs, keep_going: *keep_going, frozen: *frozen, force }
    }
}

impl From<v1::RunOptions> for RunOptions {
    fn from(stored: v1::RunOptions) -> Self {
        let v1::RunOptions { jobs, keep_going, frozen, force } = stored;
        let force = match force {
            v1::Force::Nothing => Force::Nothing,
            v1::Force::Everything => Force::Everything,
            v1::Force::Stages(stages) => Force::Stages(stages),
        };
        Self { jobs, keep_going, frozen, force }
    }
}
