//! Rolling a run back: its effects are undone, the last one first.

use std::collections::HashMap;

use cairn_executor::Engine;
use cairn_model::{EffectState, InstanceEvent, InstanceName, Name, RunEvent, RunId};
use cairn_store::{Effect, ReadError, Store};

use crate::definition::Checked;

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

/// Looks up what the instances need whose effects are to be undone, so that `undo` finds its inputs.
///
/// # Errors
///
/// The store cannot be read.
pub fn find_inputs(
    checked: &Checked,
    store: &Store,
    engine: &Engine,
    keys: &[String],
) -> Result<(), ReadError> {
    let mut wanted = Vec::new();
    for key in keys {
        let Some(effect) = store.effect(&checked.pipeline.name, key)? else { continue };
        let named = (0..).zip(&checked.pipeline.instances).filter(|(_, known)| known.name == effect.instance);
        wanted.extend(named.map(|(at, _)| at));
    }
    let upstream = checked.graph.upstream_closure(&wanted);
    for &index in checked.graph.order().iter().filter(|index| upstream[**index as usize]) {
        // One that is not done shows when an instance asks for its outputs.
        let _ = engine.look_up(index, false, true);
    }
    Ok(())
}

fn of_run(
    store: &Store,
    pipeline: &Name,
    run: RunId,
    is_meant: impl Fn(EffectState) -> bool,
) -> Result<Vec<Done>, ReadError> {
    let is_of_run = |row: &Result<(String, Effect), ReadError>| {
        row.as_ref().map_or(true, |(_, effect)| effect.run == run && is_meant(effect.state))
    };
    let of_run = store.effects_of(pipeline).filter(is_of_run);
    of_run.map(|row| row.map(|(key, effect)| Done { key, effect })).collect()
}
