//! `cairn.event/1`: what `run` and `resume` print.

use std::path::Path;

use cairn_executor::Pause;
use cairn_model::{
    Blocker, Counts, Event, InstanceEvent, InstanceName, Outcome, Reason, RecordCounts, RunEvent, RunId,
    Timestamp,
};
use serde::Serialize;

use crate::terminal::time;
use cairn_scheduler::history::{History, blocked_reason};

/// Turns a run's events into lines. A fold: the last line has the counts of all.
#[derive(Debug)]
pub(crate) struct Events {
    run: RunId,
    pipeline: String,
    history: History,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    run: String,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    RunStarted {
        pipeline: &'a str,
        instances: u32,
        resumed: bool,
    },
    RunEnded {
        status: &'static str,
        took_ms: u64,
        saved_ms: u64,
        outcomes: Outcomes,
    },
    CheckpointFound {
        outcome: &'static str,
        /// The key of its effect, where nothing else keeps it from being executed.
        #[serde(skip_serializing_if = "Option::is_none")]
        effect: Option<&'a str>,
        input_hash: String,
        restored: &'a [String],
        trashed: &'a [String],
        saved_ms: u64,
    },
    AttemptStarted {
        attempt: u32,
        input_hash: String,
        reason: WhyExecuted<'a>,
    },
    AttemptFailed {
        attempt: u32,
        error: &'a str,
        retry_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        log: Option<String>,
    },
    Committed {
        outcome: &'static str,
        attempt: u32,
        input_hash: String,
        took_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        log: Option<String>,
    },
    Records {
        attempt: u32,
        #[serde(flatten)]
        records: RecordCounts,
    },
    RecordsSoFar {
        #[serde(flatten)]
        records: RecordCounts,
    },
    Paused {
        sink: &'a str,
        until: String,
        asked: bool,
        error: &'a str,
    },
    Trashed {
        attempt: u32,
        trashed: &'a [String],
    },
    NotPlaced {
        outcome: &'static str,
        attempt: u32,
        error: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        help: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        log: Option<String>,
    },
    Failed {
        outcome: &'static str,
        attempts: u32,
        error: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        help: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        log: Option<String>,
    },
    Blocked {
        outcome: &'static str,
        by: BlockedBy<'a>,
    },
    Undone {
        effect: &'a str,
        undone: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    },
}

/// Instances by outcome.
#[derive(Debug, Serialize)]
pub(crate) struct Outcomes {
    ran: u32,
    restored: u32,
    fresh: u32,
    failed: u32,
    blocked: u32,
    /// Only where there are effects.
    #[serde(skip_serializing_if = "is_zero")]
    in_doubt: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it is what serde calls")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl From<Counts> for Outcomes {
    fn from(counts: Counts) -> Self {
        let Counts { ran, restored, fresh, failed, blocked, in_doubt } = counts;
        Self { ran, restored, fresh, failed, blocked, in_doubt }
    }
}

#[derive(Serialize)]
struct WhyExecuted<'a> {
    kind: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct BlockedBy<'a> {
    kind: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<WhyExecuted<'a>>,
}

impl Events {
    /// Starts with a run's first event.
    pub(crate) fn new(run: RunId, pipeline: impl Into<String>) -> Self {
        Self { run, pipeline: pipeline.into(), history: History::default() }
    }

    /// Returns an event's line, with its line feed. `log` is the log of the attempt that the event is about.
    pub(crate) fn line(&mut self, event: &Event, log: Option<&Path>) -> String {
        self.history.add(event);
        let log = log.map(|path| path.display().to_string());
        let (kind, instance, what) = match &event.what {
            RunEvent::Started { instances, resumed } => {
                let what =
                    What::RunStarted { pipeline: &self.pipeline, instances: *instances, resumed: *resumed };
                ("run_started", None, what)
            }
            RunEvent::Ended { status } => {
                let what = What::RunEnded {
                    status: status.as_str(),
                    took_ms: self.history.took_ms().unwrap_or(0),
                    saved_ms: self.history.saved_ms(),
                    outcomes: self.history.counts().into(),
                };
                ("run_ended", None, what)
            }
            RunEvent::Instance { instance, event } => {
                let (kind, what) = instance_event(event, log);
                (kind, Some(instance.to_string()), what)
            }
        };
        let run = self.run.to_string();
        super::line(&Line { schema: "cairn.event/1", kind, run, at: time::rfc3339(event.at), instance, what })
    }

    /// Returns the line that says how far the records of an instance are: nothing that is kept.
    pub(crate) fn progress(&self, name: &InstanceName, records: RecordCounts, at: Timestamp) -> String {
        super::line(&Line {
            schema: "cairn.event/1",
            kind: "instance_records_progress",
            run: self.run.to_string(),
            at: time::rfc3339(at),
            instance: Some(name.to_string()),
            what: What::RecordsSoFar { records },
        })
    }

    /// Returns the line that says that the records of an instance wait for a sink: nothing that is kept.
    pub(crate) fn pause(&self, name: &InstanceName, pause: &Pause, at: Timestamp) -> String {
        let until = time::rfc3339(Timestamp(pause.until_ms));
        super::line(&Line {
            schema: "cairn.event/1",
            kind: "instance_records_paused",
            run: self.run.to_string(),
            at: time::rfc3339(at),
            instance: Some(name.to_string()),
            what: What::Paused { sink: &pause.sink, until, asked: pause.asked, error: &pause.error },
        })
    }
}

fn instance_event(event: &InstanceEvent, log: Option<String>) -> (&'static str, What<'_>) {
    match event {
        InstanceEvent::CheckpointFound { input_hash, restored, trashed, saved_ms } => {
            let outcome = if restored.is_empty() { Outcome::Fresh } else { Outcome::Restored };
            let what = What::CheckpointFound {
                outcome: outcome.as_str(),
                effect: None,
                input_hash: input_hash.to_string(),
                restored,
                trashed,
                saved_ms: *saved_ms,
            };
            ("instance_checkpoint_found", what)
        }
        InstanceEvent::EffectStands { input_hash, key, restored, trashed, saved_ms } => {
            let outcome = if restored.is_empty() { Outcome::Fresh } else { Outcome::Restored };
            let what = What::CheckpointFound {
                outcome: outcome.as_str(),
                effect: Some(key),
                input_hash: input_hash.to_string(),
                restored,
                trashed,
                saved_ms: *saved_ms,
            };
            ("instance_effect_stands", what)
        }
        InstanceEvent::AttemptStarted { attempt, input_hash, reason } => {
            let (attempt, input_hash) = (*attempt, input_hash.to_string());
            (
                "instance_attempt_started",
                What::AttemptStarted { attempt, input_hash, reason: why_executed(reason) },
            )
        }
        InstanceEvent::AttemptFailed { attempt, error, retry_at } => {
            let what =
                What::AttemptFailed { attempt: *attempt, error, retry_at: time::rfc3339(*retry_at), log };
            ("instance_attempt_failed", what)
        }
        InstanceEvent::Committed { attempt, input_hash, took_ms } => {
            let what = What::Committed {
                outcome: Outcome::Ran.as_str(),
                attempt: *attempt,
                input_hash: input_hash.to_string(),
                took_ms: *took_ms,
                log,
            };
            ("instance_committed", what)
        }
        InstanceEvent::Records { attempt, counts } => {
            ("instance_records", What::Records { attempt: *attempt, records: *counts })
        }
        InstanceEvent::Trashed { attempt, paths } => {
            ("instance_trashed", What::Trashed { attempt: *attempt, trashed: paths })
        }
        InstanceEvent::NotPlaced { attempt, error, help } => {
            let (outcome, help) = (Outcome::Failed.as_str(), help.as_deref());
            ("instance_not_placed", What::NotPlaced { outcome, attempt: *attempt, error, help, log })
        }
        InstanceEvent::Failed { attempts, error, help } => {
            let (outcome, help) = (Outcome::Failed.as_str(), help.as_deref());
            ("instance_failed", What::Failed { outcome, attempts: *attempts, error, help, log })
        }
        InstanceEvent::InDoubt { attempts, error, help } => {
            let (outcome, help) = (Outcome::InDoubt.as_str(), help.as_deref());
            ("instance_in_doubt", What::Failed { outcome, attempts: *attempts, error, help, log })
        }
        InstanceEvent::Undone { key, error } => {
            let what = What::Undone { effect: key, undone: error.is_none(), error: error.as_deref() };
            ("effect_undone", what)
        }
        InstanceEvent::Blocked { by } => {
            ("instance_blocked", What::Blocked { outcome: Outcome::Blocked.as_str(), by: blocked_by(by) })
        }
    }
}

fn why_executed(reason: &Reason) -> WhyExecuted<'_> {
    let kind = match reason {
        Reason::First => "first",
        Reason::Changed(_) => "changed",
        Reason::Forced => "forced",
        Reason::CacheOff => "cache_off",
        Reason::Expired { .. } => "expired",
        Reason::ContentLost(_) => "content_lost",
        Reason::WeakerIsolation(_) => "weaker_isolation",
        Reason::Again(_) => "again",
        Reason::Failed(_) => "failed",
        Reason::Drifted(_) => "drifted",
        Reason::Effect(_) => "effect",
    };
    let plain = WhyExecuted {
        kind,
        text: reason.text(),
        changes: None,
        age_ms: None,
        ttl_ms: None,
        path: None,
        level: None,
        error: None,
    };
    match reason {
        Reason::First
        | Reason::Forced
        | Reason::CacheOff
        | Reason::Again(_)
        | Reason::Drifted(_)
        | Reason::Effect(_) => plain,
        Reason::Changed(changes) => WhyExecuted { changes: Some(changes), ..plain },
        Reason::Expired { age_ms, ttl_ms } => {
            WhyExecuted { age_ms: Some(*age_ms), ttl_ms: Some(*ttl_ms), ..plain }
        }
        Reason::ContentLost(path) => WhyExecuted { path: Some(path), ..plain },
        Reason::WeakerIsolation(level) => WhyExecuted { level: Some(level), ..plain },
        Reason::Failed(error) => WhyExecuted { error: Some(error), ..plain },
    }
}

fn blocked_by(by: &Blocker) -> BlockedBy<'_> {
    let (kind, instance, reason) = match by {
        Blocker::Failed(name) => ("failed", Some(name.as_str()), None),
        Blocker::Stopping(name) => ("stopping", Some(name.as_str()), None),
        Blocker::InDoubt(name) => ("in_doubt", Some(name.as_str()), None),
        Blocker::Interrupted => ("interrupted", None, None),
        Blocker::Frozen(reason) => ("frozen", None, Some(why_executed(reason))),
        Blocker::BehindFrozen(name) => ("behind_frozen", Some(name.as_str()), None),
    };
    BlockedBy { kind, text: blocked_reason(by), instance, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::{Digest, InputHash, InstanceName, RunStatus, Timestamp};

    fn lines(events: &[RunEvent]) -> String {
        let run = RunId::from_bytes(*b"\x01\x93\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x1a\x2b\x3c\x4d");
        let mut to = Events::new(run, "flights");
        let line = |(n, what): (i64, &RunEvent)| {
            let event = Event { at: Timestamp(1_795_608_000_000 + n * 250), what: what.clone() };
            to.line(&event, Some(Path::new(".cairn/logs/x.log")))
        };
        let text: String = (0..).zip(events).map(line).collect();
        text.replace("\"schema\":\"cairn.event/1\",", "")
            .replace("\"run\":\"01930000-0000-7000-8000-00001a2b3c4d\",", "")
            .replace(&"00".repeat(32), "[HASH]")
    }

    fn instance(event: InstanceEvent) -> RunEvent {
        let instance = InstanceName::new("carrier".parse().unwrap(), Some("UA".into()));
        RunEvent::Instance { instance, event }
    }

    /// The shape is public: what changes here changes for every reader.
    #[test]
    fn the_shape_of_every_event() {
        let input_hash = InputHash::from_digest(Digest::from_bytes([0; 32]));
        let started = |reason| instance(InstanceEvent::AttemptStarted { attempt: 1, input_hash, reason });
        let failed = |attempts| {
            let help = Some("mend it".to_owned());
            instance(InstanceEvent::Failed { attempts, error: "exit status 2".into(), help })
        };
        let blocked = |by| instance(InstanceEvent::Blocked { by });
        insta::assert_snapshot!(lines(&[
            RunEvent::Started { instances: 2, resumed: false },
            instance(InstanceEvent::CheckpointFound {
                input_hash,
                restored: vec!["a".into()],
                trashed: vec!["t".into()],
                saved_ms: 7,
            }),
            started(Reason::Changed(vec!["input `x` changed".into()])),
            started(Reason::Expired { age_ms: 5000, ttl_ms: 1000 }),
            started(Reason::ContentLost("build/x".into())),
            started(Reason::WeakerIsolation("off".into())),
            started(Reason::Failed("exit status 2".into())),
            instance(InstanceEvent::AttemptFailed {
                attempt: 1,
                error: "exit status 7".into(),
                retry_at: Timestamp(1_795_608_004_000),
            }),
            instance(InstanceEvent::Committed { attempt: 2, input_hash, took_ms: 9 }),
            instance(InstanceEvent::Trashed { attempt: 2, paths: vec!["t".into()] }),
            instance(InstanceEvent::NotPlaced { attempt: 2, error: "in the way".into(), help: None }),
            failed(2),
            blocked(Blocker::Failed("clean".into())),
            blocked(Blocker::Frozen(Reason::First)),
            blocked(Blocker::BehindFrozen("clean".into())),
            blocked(Blocker::Interrupted),
            RunEvent::Ended { status: RunStatus::Failed },
        ]), @r#"
        {"type":"run_started","at":"2026-11-25T12:00:00.000Z","pipeline":"flights","instances":2,"resumed":false}
        {"type":"instance_checkpoint_found","at":"2026-11-25T12:00:00.250Z","instance":"carrier[UA]","outcome":"RESTORED","input_hash":"[HASH]","restored":["a"],"trashed":["t"],"saved_ms":7}
        {"type":"instance_attempt_started","at":"2026-11-25T12:00:00.500Z","instance":"carrier[UA]","attempt":1,"input_hash":"[HASH]","reason":{"kind":"changed","text":"input `x` changed","changes":["input `x` changed"]}}
        {"type":"instance_attempt_started","at":"2026-11-25T12:00:00.750Z","instance":"carrier[UA]","attempt":1,"input_hash":"[HASH]","reason":{"kind":"expired","text":"older than its ttl (5 s > 1 s)","age_ms":5000,"ttl_ms":1000}}
        {"type":"instance_attempt_started","at":"2026-11-25T12:00:01.000Z","instance":"carrier[UA]","attempt":1,"input_hash":"[HASH]","reason":{"kind":"content_lost","text":"the stored bytes of `build/x` are gone or damaged","path":"build/x"}}
        {"type":"instance_attempt_started","at":"2026-11-25T12:00:01.250Z","instance":"carrier[UA]","attempt":1,"input_hash":"[HASH]","reason":{"kind":"weaker_isolation","text":"was made with sandbox `off`, which is weaker than asked for","level":"off"}}
        {"type":"instance_attempt_started","at":"2026-11-25T12:00:01.500Z","instance":"carrier[UA]","attempt":1,"input_hash":"[HASH]","reason":{"kind":"failed","text":"failed before: exit status 2","error":"exit status 2"}}
        {"type":"instance_attempt_failed","at":"2026-11-25T12:00:01.750Z","instance":"carrier[UA]","attempt":1,"error":"exit status 7","retry_at":"2026-11-25T12:00:04.000Z","log":".cairn/logs/x.log"}
        {"type":"instance_committed","at":"2026-11-25T12:00:02.000Z","instance":"carrier[UA]","outcome":"RAN","attempt":2,"input_hash":"[HASH]","took_ms":9,"log":".cairn/logs/x.log"}
        {"type":"instance_trashed","at":"2026-11-25T12:00:02.250Z","instance":"carrier[UA]","attempt":2,"trashed":["t"]}
        {"type":"instance_not_placed","at":"2026-11-25T12:00:02.500Z","instance":"carrier[UA]","outcome":"FAILED","attempt":2,"error":"in the way","log":".cairn/logs/x.log"}
        {"type":"instance_failed","at":"2026-11-25T12:00:02.750Z","instance":"carrier[UA]","outcome":"FAILED","attempts":2,"error":"exit status 2","help":"mend it","log":".cairn/logs/x.log"}
        {"type":"instance_blocked","at":"2026-11-25T12:00:03.000Z","instance":"carrier[UA]","outcome":"BLOCKED","by":{"kind":"failed","text":"`clean` failed","instance":"clean"}}
        {"type":"instance_blocked","at":"2026-11-25T12:00:03.250Z","instance":"carrier[UA]","outcome":"BLOCKED","by":{"kind":"frozen","text":"would run: never ran before","reason":{"kind":"first","text":"never ran before"}}}
        {"type":"instance_blocked","at":"2026-11-25T12:00:03.500Z","instance":"carrier[UA]","outcome":"BLOCKED","by":{"kind":"behind_frozen","text":"`clean` would have to run first","instance":"clean"}}
        {"type":"instance_blocked","at":"2026-11-25T12:00:03.750Z","instance":"carrier[UA]","outcome":"BLOCKED","by":{"kind":"interrupted","text":"the run was interrupted"}}
        {"type":"run_ended","at":"2026-11-25T12:00:04.000Z","status":"failed","took_ms":4000,"saved_ms":7,"outcomes":{"ran":0,"restored":1,"fresh":0,"failed":0,"blocked":0}}
        "#);
    }
}
