//! Who outside is told of runs, and what they are told. It is written into the store in the batch that settles a run, and
//! delivered from there by `outbox`.
//!
//! | occasion | a run of the pipeline |
//! | --- | --- |
//! | `failed` | failed for good |
//! | `recovered` | succeeded, after the one before it, or its own part before, failed |
//! | `in-doubt` | left an effect of which nobody knows whether it took place |
//! | `dead` | left records that could not be delivered, or were rejected |
//! | `drifted` | is to mend an effect that is no longer as it was left |

use std::collections::BTreeSet;

use cairn_model::{Event, InstanceName, Name, Outcome, RunEvent, RunId, RunStatus, Timestamp};
use cairn_scheduler::history::History;
use cairn_store::{Batch, DeadKind, DeadOf, Message, ReadError, Recipient, RunRecord, Ticket};
use serde::Serialize;

use crate::api::{rfc3339, status_word};
use crate::daemon::Daemon;
use crate::mail::{Address, Letter, Mail};

/// When somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Occasion {
    /// A run failed for good.
    Failed,
    /// A run succeeded after one that had not.
    Recovered,
    /// An effect is in doubt.
    InDoubt,
    /// Records died.
    Dead,
    /// An effect is no longer as it was left.
    Drifted,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Failed, Self::Recovered, Self::InDoubt, Self::Dead, Self::Drifted];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Recovered => "recovered",
            Self::InDoubt => "in-doubt",
            Self::Dead => "dead",
            Self::Drifted => "drifted",
        }
    }
}

impl std::fmt::Display for Occasion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who is told, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// The occasions.
    pub on: BTreeSet<Occasion>,
    /// Where people reach the pages: what is told leads to the run's.
    pub pages: Option<String>,
    /// An address that a JSON object is posted to.
    pub webhook: Option<String>,
    /// A command with its arguments: the text on its standard input, all else in its environment.
    pub command: Vec<String>,
    /// Who is told by mail.
    pub mail: Option<Mail>,
}

/// Somebody who is told.
#[derive(Debug, Clone, Copy)]
enum Listener<'a> {
    /// All that is told, as it is.
    To(Recipient),
    /// A mail to an address.
    Mail(&'a Address),
}

impl Notify {
    /// Returns who is told on an occasion.
    fn listeners(&self, occasion: Occasion) -> Vec<Listener<'_>> {
        let mut listeners = Vec::new();
        if self.on.contains(&occasion) {
            let set_up = [
                (self.webhook.is_some(), Recipient::Webhook),
                (!self.command.is_empty(), Recipient::Command),
            ];
            listeners.extend(
                set_up
                    .into_iter()
                    .filter_map(|(wanted, recipient)| wanted.then_some(Listener::To(recipient))),
            );
        }
        if let Some(mail) = &self.mail
            && mail.on.as_ref().unwrap_or(&self.on).contains(&occasion)
        {
            listeners.extend(mail.to.iter().map(Listener::Mail));
        }
        listeners
    }

    fn page_of(&self, run: RunId) -> Option<String> {
        self.pages.as_ref().map(|pages| format!("{}/runs/{run}", pages.trim_end_matches('/')))
    }
}

/// What is told: `cairn.notification/1`.
#[derive(Debug, Serialize)]
struct Told<'a> {
    schema: &'static str,
    occasion: &'static str,
    /// One for people. Chat programs show a posted object's `text`.
    text: String,
    pipeline: &'a str,
    run: String,
    status: &'static str,
    logical_time: String,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    project: String,
    /// The run's page, where it is known by which address people reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Why it could not even begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// Instances that failed, or are in doubt, the first of them.
    instances: Vec<Trouble>,
    /// Records that died in it.
    dead_records: usize,
}

#[derive(Debug, Serialize)]
struct Trouble {
    instance: String,
    reason: String,
}

/// Instances that are named to somebody; there may be thousands.
const INSTANCES_MAX: usize = 10;
/// Dead records that are counted; there may be millions.
const DEAD_MAX: usize = 10_000;
/// Runs that are looked at to find the one before of the same pipeline.
const BEFORE_MAX: usize = 1000;

impl Daemon {
    /// Enters in a batch what is told of a run's end. `record` is as it ended.
    pub(crate) fn notify(
        &self,
        batch: &mut Batch,
        run: RunId,
        record: &RunRecord,
        ticket: &Ticket,
        now: Timestamp,
    ) -> Result<(), ReadError> {
        let listeners = |occasion| self.notify.listeners(occasion);
        let on: Vec<Occasion> =
            Occasion::ALL.into_iter().filter(|occasion| !listeners(*occasion).is_empty()).collect();
        if on.is_empty() {
            return Ok(());
        }
        let dead_records = if on.contains(&Occasion::Dead) { self.died_in(run, record)? } else { 0 };
        let events = self.store.events(run)?;
        let is_so = |occasion| match occasion {
            Occasion::Failed => Ok(record.status == RunStatus::Failed),
            Occasion::InDoubt => Ok(record.status == RunStatus::InDoubt),
            Occasion::Dead => Ok(dead_records > 0),
            // It is told when it is found.
            Occasion::Drifted => Ok(false),
            Occasion::Recovered => Ok(record.status == RunStatus::Succeeded
                && (part_before_failed(&events) || self.run_before_failed(run, record)?)),
        };
        for occasion in on {
            if !is_so(occasion)? {
                continue;
            }
            let history = History::of(events.iter().map(|(_, event)| event));
            let told = self.told(occasion, run, (record, ticket), &history, dead_records);
            let key = format!("{run}/{occasion}/{}", record.ended.unwrap_or(now).0);
            put(batch, &listeners(occasion), &told, &key, now);
        }
        Ok(())
    }

    /// Enters in a batch that effects were found to have drifted, and that `run` was asked for to mend them.
    pub(crate) fn notify_drift(
        &self,
        batch: &mut Batch,
        run: RunId,
        pipeline: &Name,
        drifted: &[(InstanceName, String)],
        now: Timestamp,
    ) {
        let occasion = Occasion::Drifted;
        let listeners = self.notify.listeners(occasion);
        if listeners.is_empty() {
            return;
        }
        let mut text = format!("effects of `{pipeline}` have drifted (run {} mends them)", run.short());
        let trouble = |(instance, how): &(InstanceName, String)| Trouble {
            instance: instance.to_string(),
            reason: how.clone(),
        };
        let instances: Vec<Trouble> = drifted.iter().take(INSTANCES_MAX).map(trouble).collect();
        for Trouble { instance, reason } in &instances {
            text.extend(["\n", instance, ": ", reason]);
        }
        let told = Told {
            schema: "cairn.notification/1",
            occasion: occasion.as_str(),
            text,
            pipeline: pipeline.as_str(),
            run: run.to_string(),
            status: "queued",
            logical_time: rfc3339(now),
            started: rfc3339(now),
            ended: None,
            project: self.root.display().to_string(),
            url: self.notify.page_of(run),
            error: None,
            instances,
            dead_records: 0,
        };
        put(batch, &listeners, &told, &format!("{run}/{occasion}/{}", now.0), now);
    }

    fn died_in(&self, run: RunId, record: &RunRecord) -> Result<usize, ReadError> {
        if !self.store.has_dead(&record.pipeline)? {
            return Ok(0);
        }
        let of = DeadOf { pipeline: Some(&record.pipeline), instance: None };
        let mut died = 0;
        for letter in self.store.dead(of).take(DEAD_MAX) {
            let letter = letter?;
            died += usize::from(letter.run == run && letter.kind != DeadKind::Instance);
        }
        Ok(died)
    }

    /// Returns whether the last run of the pipeline before, of those that came to an end of their own, did not succeed.
    fn run_before_failed(&self, run: RunId, record: &RunRecord) -> Result<bool, ReadError> {
        for before in self.store.runs_before(Some(run)).take(BEFORE_MAX) {
            let (_, before) = before?;
            if before.pipeline != record.pipeline {
                continue;
            }
            match before.status {
                RunStatus::Failed | RunStatus::InDoubt => return Ok(true),
                RunStatus::Succeeded => return Ok(false),
                RunStatus::Running | RunStatus::Interrupted | RunStatus::Frozen => {}
            }
        }
        Ok(false)
    }

    fn told<'a>(
        &self,
        occasion: Occasion,
        run: RunId,
        (record, ticket): (&'a RunRecord, &'a Ticket),
        history: &History,
        dead_records: usize,
    ) -> Told<'a> {
        let troubled = [Outcome::Failed, Outcome::InDoubt];
        let instances: Vec<Trouble> = troubled
            .into_iter()
            .flat_map(|outcome| history.ended_as(outcome))
            .take(INSTANCES_MAX)
            .map(|instance| Trouble { instance: instance.name.to_string(), reason: instance.reason.clone() })
            .collect();
        let what = match occasion {
            Occasion::Failed => "failed".to_owned(),
            Occasion::Recovered => "succeeds again".to_owned(),
            Occasion::InDoubt => "left an effect in doubt".to_owned(),
            Occasion::Drifted => "is to mend an effect".to_owned(),
            Occasion::Dead if dead_records == 1 => "left a dead record".to_owned(),
            Occasion::Dead => format!("left {dead_records} dead records"),
        };
        let pipeline = record.pipeline.as_str();
        let mut text = format!("`{pipeline}` {what} (run {})", run.short());
        if let Some(error) = &ticket.error {
            text.push('\n');
            text.push_str(error);
        }
        if occasion != Occasion::Recovered {
            for Trouble { instance, reason } in &instances {
                text.extend(["\n", instance, ": ", reason]);
            }
        }
        Told {
            schema: "cairn.notification/1",
            occasion: occasion.as_str(),
            text,
            pipeline,
            run: run.to_string(),
            status: status_word(record.status),
            logical_time: rfc3339(record.logical_time),
            started: rfc3339(record.started),
            ended: record.ended.map(rfc3339),
            project: self.root.display().to_string(),
            url: self.notify.page_of(run),
            error: ticket.error.as_deref(),
            instances,
            dead_records,
        }
    }
}

fn put(batch: &mut Batch, listeners: &[Listener<'_>], told: &Told<'_>, key: &str, now: Timestamp) {
    for listener in listeners {
        let (to, key, body) = match listener {
            Listener::To(recipient) => (*recipient, key.to_owned(), serde_json::to_vec(told)),
            Listener::Mail(address) => {
                let to = address.as_text();
                let key = format!("{key}/{to}");
                (Recipient::Mail, key, serde_json::to_vec(&Letter { to, told }))
            }
        };
        batch.put_message(&Message {
            to,
            key,
            body: body.unwrap_or_default(),
            made: now,
            tries: 0,
            not_before: now,
            error: None,
        });
    }
}

/// Returns whether a run that was taken up again had failed before.
fn part_before_failed(events: &[(u64, Event)]) -> bool {
    let ends = events.iter().filter_map(|(_, event)| match event.what {
        RunEvent::Ended { status } => Some(status),
        RunEvent::Started { .. } | RunEvent::Instance { .. } => None,
    });
    let before: Option<RunStatus> = ends.rev().nth(1);
    matches!(before, Some(RunStatus::Failed | RunStatus::InDoubt))
}
