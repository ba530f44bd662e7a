//! From a checked pipeline to what the machine needs to know of it.

use std::collections::{BTreeMap, HashMap};

use cairn_dag::{Backoff, Pipeline, graph::Graph};
use cairn_model::InstanceName;

use crate::retry::{self, History};
use crate::step::{Facts, Setup};

/// What a run asks for, beside the pipeline.
#[derive(Debug, Clone)]
pub struct Order {
    /// Which instances take part.
    pub selected: Vec<bool>,
    /// Which of them are executed whatever checkpoints there are.
    pub force: Vec<bool>,
    /// Cpus in all.
    pub jobs: u32,
    /// Memory in all; `None`: not counted.
    pub memory_bytes: Option<u64>,
    /// Whether a failure stops only what is behind it.
    pub keep_going: bool,
    /// Whether nothing may be executed.
    pub frozen: bool,
    /// What the pauses' jitter is drawn from.
    pub seed: u64,
    /// What earlier processes of the run did.
    pub histories: HashMap<InstanceName, History>,
}

/// What an instance takes that never ran: what most take in practice does not matter, only that it is not nothing.
const UNKNOWN_MS: u64 = 1_000;

/// Look-ups under way at once: enough to keep the cores busy, few enough that what is found is still true when it is used.
const LOOKUPS_MAX: usize = 64;

/// Makes the machine's setup. `durations` are those of the last executions.
pub fn setup(
    pipeline: &Pipeline,
    graph: &Graph,
    durations: &BTreeMap<InstanceName, u64>,
    order: Order,
) -> Setup {
    let expected = expected_ms(pipeline, durations);
    let critical = graph.critical_path_ms(&expected);
    let pool_names: Vec<&String> = pipeline.pools.keys().collect();
    let mut histories = order.histories;
    let instances = pipeline
        .instances
        .iter()
        .enumerate()
        .map(|(index, instance)| {
            let policy = &instance.policy;
            Facts {
                name: instance.name.clone(),
                needs: instance.needs.clone(),
                selected: order.selected[index],
                cpus: policy.cpus,
                memory_bytes: policy.memory_bytes.unwrap_or(0),
                pool: policy.pool.as_ref().and_then(|pool| pool_names.iter().position(|name| *name == pool)),
                priority: policy.priority,
                critical_path_ms: critical[index],
                retries: retry::Policy {
                    attempts: policy.retries.attempts,
                    delay_ms: policy.retries.delay_ms,
                    backoff: match policy.retries.backoff {
                        Backoff::Constant => retry::Backoff::Constant,
                        Backoff::Exponential => retry::Backoff::Exponential,
                    },
                    max_delay_ms: policy.retries.max_delay_ms,
                    jitter: policy.retries.jitter,
                },
                history: histories.remove(&instance.name).unwrap_or_default(),
                force: order.force[index],
                held: false,
            }
        })
        .collect();
    Setup {
        instances,
        jobs: order.jobs,
        memory_bytes: order.memory_bytes,
        pools: pipeline.pools.values().copied().collect(),
        keep_going: order.keep_going,
        frozen: order.frozen,
        seed: order.seed,
        lookups_max: LOOKUPS_MAX,
    }
}

/// Returns what each instance is expected to take: its last execution, else the mean of its stage's, else a second.
pub fn expected_ms(pipeline: &Pipeline, durations: &BTreeMap<InstanceName, u64>) -> Vec<u64> {
    let mut expected = Vec::with_capacity(pipeline.instances.len());
    for stage in &pipeline.stages {
        let instances = &pipeline.instances[stage.instances.start as usize..stage.instances.end as usize];
        let known: Vec<u64> =
            instances.iter().filter_map(|instance| durations.get(&instance.name).copied()).collect();
        let mean = known.iter().sum::<u64>().checked_div(known.len() as u64).unwrap_or(UNKNOWN_MS);
        expected
            .extend(instances.iter().map(|instance| durations.get(&instance.name).copied().unwrap_or(mean)));
    }
    expected
}
