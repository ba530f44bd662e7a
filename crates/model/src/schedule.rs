//! When a pipeline is run by itself: `[schedule]` as plain data. What follows from it is computed elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cron, Name, Timestamp};

/// When a pipeline is run by itself, and how its runs go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The times, `None` where only other pipelines and sensors start it.
    pub trigger: Option<Trigger>,
    /// The IANA name of the zone in which times and dates are read, known to the machine that checked it.
    pub timezone: String,
    /// What becomes of times that passed while nothing watched them.
    pub catchup: Catchup,
    /// How long ago such a time may be, `None` for any time.
    pub catchup_window_ms: Option<u64>,
    /// What becomes of a time at which the run before has not ended.
    pub overlap: Overlap,
    /// A run begins up to this much after its time; how much is fixed for each time.
    pub jitter_ms: u64,
    /// No time before it counts.
    pub start: Option<Timestamp>,
    /// No time from it on counts.
    pub end: Option<Timestamp>,
    /// After so many failed runs in a row the schedule pauses, `None` for never; at least 1.
    pub stop_after_failures: Option<u32>,
    /// How a run that it started and that failed is tried again, `None` for not at all.
    pub retries: Option<RunRetries>,
    /// Pipelines after whose successful runs it is run.
    pub after: Vec<Name>,
    /// What else starts it.
    pub sensors: Vec<Sensor>,
    /// Runs with a greater one leave the queue first.
    pub priority: i64,
    /// Dead letters are tried again by themselves when they have been dead for so long, `None` for never.
    pub retry_dead_ms: Option<u64>,
    /// How often each of them at most; at least 1.
    pub retry_dead_max: u32,
    /// The probes of effects are asked when they were not for so long, `None` for in runs only.
    pub check_drift_ms: Option<u64>,
}

impl Schedule {
    /// How often a dead letter is tried again by itself where the file does not say.
    pub const RETRY_DEAD_MAX: u32 = 3;

    /// The zone where a schedule names none.
    pub const UTC: &'static str = "UTC";

    /// Returns the schedule of a trigger, all else as where the file does not say.
    pub fn of(trigger: Trigger, timezone: impl Into<String>) -> Self {
        Self { trigger: Some(trigger), timezone: timezone.into(), ..Self::default() }
    }

    /// Returns what, with a pipeline's name and a time, makes an occurrence the one it is: what the trigger says and
    /// where. It stays the same when anything else of the schedule is changed.
    pub fn trigger_text(&self) -> String {
        match &self.trigger {
            None => String::new(),
            Some(Trigger::Cron(cron)) => format!("cron {} {}", cron.fields().join(" "), self.timezone),
            Some(Trigger::Every { ms }) => {
                format!("every {ms} from {}", self.start.map_or(0, |start| start.0))
            }
            Some(Trigger::At(_)) => "at".to_owned(),
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            trigger: None,
            timezone: Self::UTC.to_owned(),
            catchup: Catchup::Latest,
            catchup_window_ms: None,
            overlap: Overlap::Skip,
            jitter_ms: 0,
            start: None,
            end: None,
            stop_after_failures: None,
            retries: None,
            after: Vec::new(),
            sensors: Vec::new(),
            priority: 0,
            retry_dead_ms: None,
            retry_dead_max: Self::RETRY_DEAD_MAX,
            check_drift_ms: None,
        }
    }
}

/// How a failed run is tried again: it goes on where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRetries {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// The pause before the second try.
    pub delay_ms: u64,
    /// Whether each pause is twice the one before.
    pub doubles: bool,
    /// The longest pause.
    pub max_delay_ms: u64,
    /// Whether a pause is drawn from 0 to what the above gives.
    pub jitter: bool,
}

/// A stretch of logical time: from `start` on, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// The first time in it.
    pub start: Timestamp,
    /// The first time after it.
    pub end: Timestamp,
}

/// The times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// Whenever the expression matches the clock of the schedule's zone.
    Cron(Cron),
    /// At fixed distances, counted from the schedule's start, else from 1970-01-01T00:00:00Z.
    Every {
        /// The distance, at least one second.
        ms: u64,
    },
    /// At these times, sorted, without repeats, at least one.
    At(Vec<Timestamp>),
}

macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
        }

        impl $name {
            /// All of them, in the order in which they are named to people.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word that stands in a pipeline file.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What becomes of times that passed while nothing watched them.
    Catchup {
        /// They are dropped.
        None = "none",
        /// The last of them is run, the others are dropped.
        Latest = "latest",
        /// All are run, the oldest first.
        All = "all",
    }
}

words! {
    /// What becomes of a time at which the run before has not ended.
    Overlap {
        /// It is dropped.
        Skip = "skip",
        /// Its run waits for the end of the one before.
        Queue = "queue",
        /// The run before is cancelled.
        Cancel = "cancel",
    }
}

/// Something outside that starts a run when it has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sensor {
    /// What is looked at.
    pub kind: SensorKind,
    /// How long it waits between two looks; without meaning for a webhook.
    pub poll_ms: u64,
}

/// What a sensor looks at. Each new content is one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SensorKind {
    /// Files that appear or change.
    Files {
        /// A pattern of paths relative to the pipeline's folder, readable by the globs of a pipeline file.
        pattern: String,
        /// A file counts when it has not changed for so long.
        settle_ms: u64,
    },
    /// What a command prints, run by the pipeline's shell in its folder; nothing, or another exit status than 0, is no event.
    Command {
        /// The text for the shell.
        text: String,
    },
    /// The validator of an address, `ETag` or `Last-Modified`, else the digest of what is there.
    Http {
        /// The address, `http://` or `https://`.
        url: String,
    },
    /// A request to the daemon under this name.
    Webhook {
        /// The name, the last part of the request's path.
        name: Name,
    },
}
