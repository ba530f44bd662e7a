//! What a person wants to know first: which runs ended badly and why, and what runs now.

use cairn_model::{AttemptId, RunId, State, Timestamp};
use cairn_scheduler::history::{History, InstanceHistory};
use cairn_store::ReadError;

use super::log;
use super::run::instance_href;
use super::runs::Row;
use super::state::Look;
use crate::daemon::Daemon;

/// A run that ended badly, the last of its pipeline.
pub(super) struct Trouble {
    pub(super) row: Row,
    /// The instance to look at, and its page; both empty where it could not even begin.
    pub(super) instance: String,
    pub(super) href: String,
    /// Why, in one line.
    pub(super) reason: String,
    /// What the command said as its error, where that says more than the reason does.
    pub(super) words: Option<String>,
    /// Else what it printed last.
    pub(super) printed: Option<String>,
}

/// Characters of a reason that are told.
const REASON_MAX: usize = 200;

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(REASON_MAX).collect()
}

/// Runs of which a page reads why they ended badly: that takes all events of each.
pub(super) const READ_MAX: usize = 12;

/// Returns what is wrong with a run, `None` where nothing is. Why is left empty unless it `is_read`.
pub(super) fn trouble(daemon: &Daemon, row: &Row, is_read: bool) -> Result<Option<Trouble>, ReadError> {
    if !matches!(row.look.class, "bad" | "doubt") {
        return Ok(None);
    }
    let mut trouble = Trouble {
        row: row.clone(),
        instance: String::new(),
        href: String::new(),
        reason: row.error.as_deref().map_or_else(String::new, first_line),
        words: None,
        printed: None,
    };
    if row.error.is_some() || !is_read {
        return Ok(Some(trouble));
    }
    let events = daemon.store().events(row.run)?;
    let history = History::of(events.iter().map(|(_, event)| event));
    let is_bad =
        |heard: &&InstanceHistory| matches!(heard.state, State::Failed { .. } | State::InDoubt { .. });
    let Some(bad) = history.instances.iter().find(is_bad) else { return Ok(Some(trouble)) };
    trouble.instance = bad.name.to_string();
    trouble.href = instance_href(row.run, &bad.name);
    trouble.reason = first_line(&bad.reason);
    if let Some(number) = bad.last_attempt {
        let attempt = AttemptId { run: row.run, instance: bad.name.clone(), number };
        match log::last_words(&log::path(&daemon.state, &attempt)) {
            // A number says nothing; other reasons say more than whatever was printed before.
            Some((words, true)) if trouble.reason.starts_with("exit status") => trouble.words = Some(words),
            Some((words, _)) => trouble.printed = Some(words),
            None => {}
        }
    }
    Ok(Some(trouble))
}

/// A run that goes on.
pub(super) struct Going {
    pub(super) row: Row,
    /// What of it runs at this moment.
    pub(super) instances: String,
    pub(super) done: usize,
    pub(super) total: usize,
}

/// Runs that go on and are told of, and the instances of each that are named: the rest are numbers.
pub(super) const GOING_MAX: usize = 6;
const NAMED_MAX: usize = 2;

/// Returns the runs that go on, the oldest first, at most [`GOING_MAX`].
pub(super) fn going(daemon: &Daemon, now: Timestamp) -> Result<Vec<Going>, ReadError> {
    let mut runs: Vec<RunId> = daemon.queue().running().map(|(run, _)| *run).collect();
    runs.sort();
    let store = daemon.store();
    let mut going = Vec::new();
    for run in runs.into_iter().take(GOING_MAX) {
        let (record, ticket) = (store.run(run)?, store.ticket(run)?);
        let Some(row) = Row::of(daemon, run, record.as_ref(), ticket.as_ref(), now) else { continue };
        let events = store.events(run)?;
        let history = History::of(events.iter().map(|(_, event)| event));
        let of = |heard: &&InstanceHistory| Look::of_state(&heard.state, true).class == "run";
        let names: Vec<String> =
            history.instances.iter().filter(of).map(|heard| heard.name.to_string()).collect();
        let mut instances = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        if names.len() > NAMED_MAX {
            instances = format!("{instances} and {} more", names.len() - NAMED_MAX);
        }
        let done = history.instances.iter().filter(|heard| heard.state.outcome().is_some()).count();
        going.push(Going { row, instances, done, total: history.instances_total as usize });
    }
    Ok(going)
}
