//! Is there a checkpoint for this input-hash that may be trusted? (K8: any doubt is a miss or an error, never a hit.)

use cairn_dag::{Cache, Instance, Pipeline, SandboxChoice};
use cairn_model::{Level, Reason, Timestamp, differences};
use cairn_store::{Checkpoint, ReadError, Store};

use crate::gather::Gathered;

/// What was found under an input-hash.
#[derive(Debug)]
pub enum Looked {
    /// A checkpoint that holds. Its outputs still have to be looked at.
    Hit(Box<Checkpoint>),
    /// Something has to run.
    Miss(Reason),
}

/// Looks up the checkpoint of an instance whose inputs were gathered. One that this very run has `done_before` it was
/// resumed is not executed again, even with `cache = false`.
pub fn lookup(
    store: Option<&Store>,
    pipeline: &Pipeline,
    instance: &Instance,
    gathered: &Gathered,
    now: Timestamp,
    done_before: bool,
) -> Result<Looked, ReadError> {
    let Some(store) = store else { return Ok(Looked::Miss(Reason::First)) };
    if instance.policy.cache == Cache::Never && !done_before {
        return Ok(Looked::Miss(Reason::CacheOff));
    }
    let Some(checkpoint) = store.checkpoint(&gathered.input_hash)? else {
        return Ok(Looked::Miss(why_not(store, pipeline, instance, gathered)?));
    };
    // The digest alone never makes a hit: what was hashed is compared byte for byte.
    if checkpoint.preimage != gathered.preimage {
        return Ok(Looked::Miss(Reason::Changed(vec![
            "the stored recipe differs under the same hash".to_owned(),
        ])));
    }
    if checkpoint.level < level_needed(pipeline, instance) {
        return Ok(Looked::Miss(Reason::WeakerIsolation(checkpoint.level.to_string())));
    }
    if let Cache::Ttl { ms } = instance.policy.cache {
        let age_ms = now.millis_since(checkpoint.finished);
        // One of the future, after the clock was put back, would hold for longer than was said.
        if age_ms > ms || now < checkpoint.finished {
            return Ok(Looked::Miss(Reason::Expired { age_ms, ttl_ms: ms }));
        }
    }
    Ok(Looked::Hit(Box::new(checkpoint)))
}

/// The isolation below which no checkpoint counts: what the file names; `auto` is content with what there was.
fn level_needed(pipeline: &Pipeline, instance: &Instance) -> Level {
    let named = match instance.policy.sandbox.unwrap_or(pipeline.sandbox) {
        SandboxChoice::Private => Level::Private,
        SandboxChoice::Confine => Level::Confine,
        SandboxChoice::Hermetic => Level::Hermetic,
        SandboxChoice::Off | SandboxChoice::Auto => Level::Off,
    };
    pipeline.sandbox_require.map_or(named, |required| required.max(named))
}

/// Returns the isolation that an attempt of `instance` gets.
pub fn level_given(pipeline: &Pipeline, instance: &Instance) -> Level {
    match instance.policy.sandbox.unwrap_or(pipeline.sandbox) {
        SandboxChoice::Off => Level::Off,
        SandboxChoice::Auto | SandboxChoice::Private | SandboxChoice::Confine | SandboxChoice::Hermetic => {
            Level::Private
        }
    }
}

/// Says what differs from the instance's nearest checkpoint: the one with the fewest differences, the newest of those.
fn why_not(
    store: &Store,
    pipeline: &Pipeline,
    instance: &Instance,
    gathered: &Gathered,
) -> Result<Reason, ReadError> {
    let mut nearest: Option<Vec<String>> = None;
    for hash in store.latest(&pipeline.name, &instance.name)? {
        let Some(checkpoint) = store.checkpoint(&hash)? else { continue };
        let Ok(found) = differences(&checkpoint.preimage, &gathered.preimage) else { continue };
        let mut said: Vec<String> = found.iter().map(cairn_model::Difference::summary).collect();
        said.dedup();
        if nearest.as_ref().is_none_or(|nearest| said.len() < nearest.len()) {
            nearest = Some(said);
        }
    }
    Ok(nearest.map_or(Reason::First, Reason::Changed))
}
