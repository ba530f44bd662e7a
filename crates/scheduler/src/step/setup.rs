//! What a run is made of, as plain data.

use cairn_model::InstanceName;

use crate::retry::{History, Policy};

/// One run, before it begins.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The instances, in the order of the definition. Their needs have no cycle.
    pub instances: Vec<Facts>,
    /// Cpus in all; 0 counts as 1.
    pub jobs: u32,
    /// Memory in all in bytes; `None`: not counted.
    pub memory_bytes: Option<u64>,
    /// The pools' sizes; 0 counts as 1.
    pub pools: Vec<u32>,
    /// Whether a failure stops only what is behind it.
    pub keep_going: bool,
    /// Whether nothing may be executed.
    pub frozen: bool,
    /// What the pauses' jitter is drawn from.
    pub seed: u64,
    /// Look-ups under way at once, at most; 0 counts as 1.
    pub lookups_max: usize,
}

/// What the machine knows of one instance.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its name, for those that it blocks.
    pub name: InstanceName,
    /// The instances that must be done before it.
    pub needs: Vec<u32>,
    /// Whether it takes part in the run.
    pub selected: bool,
    /// Cpus that it takes.
    pub cpus: u32,
    /// Memory that it takes, in bytes.
    pub memory_bytes: u64,
    /// Its pool, as an index into [`Setup::pools`].
    pub pool: Option<usize>,
    /// The higher, the earlier.
    pub priority: i64,
    /// The longest way from its start to an end of the pipeline, in milliseconds: the longer, the earlier.
    pub critical_path_ms: u64,
    /// How often it is tried.
    pub retries: Policy,
    /// Its attempts before this process took the run over.
    pub history: History,
    /// Whether it is executed though there may be a checkpoint; one that the run has executed already is not again.
    pub force: bool,
    /// Whether an attempt of it goes on, or has ended, that a process before had started.
    pub held: bool,
}

impl Setup {
    /// Has the machine know of the instances whose attempts a process before had started and a keeper holds.
    pub fn hold(&mut self, instances: &[u32]) {
        for instance in instances {
            self.instances[*instance as usize].held = true;
        }
    }
}
