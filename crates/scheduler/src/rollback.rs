//! Rolling a run back: its effects are undone, the last one first.

use std::collections::HashMap;

use cairn_model::{EffectState, InstanceEvent, InstanceName, Name, RunEvent, RunId};
use cairn_store::{Effect, ReadError, Store};

/// An effect of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its key.
    pub key: String,
    /// What is known of it.
    pub effect: Effect,
}

/// Returns the effects of a run that stand, in the order in which they are to be undone: the reverse of that in which
/// they were confirmed.
///
/// # Errors
///
/// The store cannot be read.
pub fn standing(store: &Store, pipeline: &Name, run: RunId) -> Result<Vec<Done>, ReadError> {
    let mut committed: HashMap<InstanceName, u64> = HashMap::new();
    for (number, event) in store.events(run)? {
        if let RunEvent::Instance { instance, event: InstanceEvent::Committed { .. } } = event.what {
            committed.insert(instance, number);
        }
    }
    let mut done = of_run(store, pipeline, run, |state| state == EffectState::Confirmed)?;
    // One that a person settled has no commit in the run: it became known after all that have.
    let order = |done: &Done| {
        let number = committed.get(&done.effect.instance).copied().unwrap_or(u64::MAX);
        (number, done.effect.settled)
    };
    done.sort_by_key(|done| std::cmp::Reverse(order(done)));
    Ok(done)
}

/// Returns the effects of a run of which nobody knows whether they stand.
///
/// # Errors
///
/// The store cannot be read.
pub fn open(store: &Store, pipeline: &Name, run: RunId) -> Result<Vec<Done>, ReadError> {
    of_run(store, pipeline, run, EffectState::is_open)
}

fn of_run(
    store: &Store,
    pipeline: &Name,
    run: RunId,
    is_meant: impl Fn(EffectState) -> bool,
) -> Result<Vec<Done>, ReadError> {
    let of_run = store
        .effects()?
        .into_iter()
        .filter(|(of, _, effect)| of == pipeline && effect.run == run && is_meant(effect.state));
    Ok(of_run.map(|(_, key, effect)| Done { key, effect }).collect())
}
