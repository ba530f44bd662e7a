//! What Prometheus is told: counted as it happens, or read when it asks. `docs/operations.md` says what to watch.
//!
//! Names have units at their ends; no run's id is ever a label. Counters begin at zero with each daemon, as is usual.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use cairn_model::{DropReason, Name};
use cairn_scheduler::spans::Exported;
use cairn_store::{Recipient, RunRecord, Ticket};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::daemon::{Daemon, StoreError};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    pipeline: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PipelineLabels {
    pipeline: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    pipeline: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    pipeline: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToldLabels {
    to: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeadLabels {
    pipeline: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpanLabels {
    result: &'static str,
}

/// What is counted.
pub(crate) struct Metrics {
    registry: Registry,
    runs: Family<RunLabels, Counter>,
    durations: Family<PipelineLabels, Histogram>,
    waits: Histogram,
    instances: Family<InstanceLabels, Counter>,
    saved: Family<PipelineLabels, Counter<f64, std::sync::atomic::AtomicU64>>,
    lag: Histogram,
    dropped: Family<DropLabels, Counter>,
    told: Family<ToldLabels, Counter>,
    untold: Gauge,
    spans: Family<SpanLabels, Counter>,
    waiting: Gauge,
    running: Gauge,
    pipelines: Gauge,
    broken: Gauge,
    paused: Gauge,
    dead: Family<DeadLabels, Gauge>,
    store_bytes: Gauge,
}

/// Seconds: from 10 ms to some 12 hours, which is what runs take.
fn run_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 12))
}

/// Seconds: from 1 ms to some 4 minutes, which is what waiting takes.
fn wait_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 10))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of 100 000 years are told exactly")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            runs: Family::default(),
            durations: Family::new_with_constructor(run_buckets),
            waits: wait_buckets(),
            instances: Family::default(),
            saved: Family::default(),
            lag: wait_buckets(),
            dropped: Family::default(),
            told: Family::default(),
            untold: Gauge::default(),
            spans: Family::default(),
            waiting: Gauge::default(),
            running: Gauge::default(),
            pipelines: Gauge::default(),
            broken: Gauge::default(),
            paused: Gauge::default(),
            dead: Family::default(),
            store_bytes: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let cairn = self.registry.sub_registry_with_prefix("cairn");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        cairn.register("build", "The version that runs", version);
        cairn.register("runs", "Runs that ended", self.runs.clone());
        cairn.register("run_duration_seconds", "How long runs took", self.durations.clone());
        cairn.register("run_wait_seconds", "How long runs waited for their turn", self.waits.clone());
        cairn.register("instances", "Instances of stages by how they ended", self.instances.clone());
        cairn.register("saved_seconds", "Time that checkpoints saved", self.saved.clone());
        cairn.register("schedule_lag_seconds", "How late schedules came", self.lag.clone());
        cairn.register("schedule_dropped", "Times of schedules that have no run", self.dropped.clone());
        cairn.register("deliveries", "Tries to tell somebody outside", self.told.clone());
        cairn.register("outbox_waiting", "Messages that are not delivered", self.untold.clone());
        cairn.register("spans", "Spans of traces, by what became of them", self.spans.clone());
        cairn.register("queue_waiting", "Runs that wait", self.waiting.clone());
        cairn.register("runs_running", "Runs that go on", self.running.clone());
        cairn.register("pipelines", "Pipelines", self.pipelines.clone());
        cairn.register("pipelines_broken", "Pipeline files with errors", self.broken.clone());
        cairn.register("pipelines_paused", "Pipelines whose schedule is paused", self.paused.clone());
        cairn.register("dead_letters", "Dead letters", self.dead.clone());
        cairn.register("store_bytes", "Bytes of the store, without outputs", self.store_bytes.clone());
        self.registry.register_collector(Box::new(Process));
    }

    /// Counts a run that ended.
    pub(crate) fn ended(&self, record: &RunRecord, ticket: &Ticket) {
        let pipeline = record.pipeline.to_string();
        let status = crate::api::status_word(record.status);
        self.runs.get_or_create(&RunLabels { pipeline: pipeline.clone(), status }).inc();
        if let Some(ended) = record.ended {
            let took = seconds(ended.millis_since(record.started));
            self.durations.get_or_create(&PipelineLabels { pipeline: pipeline.clone() }).observe(took);
        }
        self.waits.observe(seconds(
            record.started.millis_since(ticket.submitted.max(ticket.not_before.unwrap_or(ticket.submitted))),
        ));
        let cairn_model::Counts { ran, restored, fresh, failed, blocked, in_doubt } = record.counts;
        for (outcome, count) in [
            ("ran", ran),
            ("restored", restored),
            ("fresh", fresh),
            ("failed", failed),
            ("blocked", blocked),
            ("in doubt", in_doubt),
        ] {
            if count > 0 {
                let labels = InstanceLabels { pipeline: pipeline.clone(), outcome };
                self.instances.get_or_create(&labels).inc_by(count.into());
            }
        }
        self.saved.get_or_create(&PipelineLabels { pipeline }).inc_by(seconds(record.saved_ms));
    }

    /// Counts a schedule's time that became a run, so many milliseconds late.
    pub(crate) fn fired(&self, late_ms: u64) {
        self.lag.observe(seconds(late_ms));
    }

    /// Counts a try to tell somebody outside: one that is over, or one that has to be made again.
    pub(crate) fn told(&self, to: Recipient, is_over: bool) {
        let result = if is_over { "over" } else { "retried" };
        self.told.get_or_create(&ToldLabels { to: to.as_str(), result }).inc();
    }

    /// Counts a schedule's time that has no run.
    pub(crate) fn dropped(&self, pipeline: &Name, reason: DropReason) {
        let labels = DropLabels { pipeline: pipeline.to_string(), reason: reason.to_string() };
        self.dropped.get_or_create(&labels).inc();
    }
}

impl Daemon {
    /// Returns all of it as text.
    pub(crate) fn metrics_text(&self) -> Result<String, StoreError> {
        let metrics = &self.metrics;
        {
            let queue = self.queue();
            metrics.waiting.set(number(queue.waiting().len()));
            metrics.running.set(number(queue.running().len()));
        }
        let names: Vec<Name> = {
            let catalog = self.catalog();
            let with_errors = catalog.entries().filter(|entry| entry.broken.is_some()).count();
            metrics.broken.set(number(catalog.broken().count() + with_errors));
            catalog.entries().map(|entry| entry.name.clone()).collect()
        };
        metrics.pipelines.set(number(names.len()));
        let mut paused = 0;
        metrics.dead.clear();
        for name in &names {
            paused += usize::from(self.store.schedule(name)?.paused.is_some());
            if !self.store.has_dead(name)? {
                continue;
            }
            let counts = self.store.dead_counts(name)?;
            for (kind, count) in
                [("record", counts.records), ("rejected", counts.rejected), ("instance", counts.instances)]
            {
                let labels = DeadLabels { pipeline: name.to_string(), kind };
                metrics.dead.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        metrics.paused.set(number(paused));
        metrics.untold.set(number(self.store.messages(UNTOLD_MAX)?.len()));
        metrics.store_bytes.set(i64::try_from(bytes_in(&self.state.join("store"))).unwrap_or(i64::MAX));
        // Counted by who sends them; where nobody does, there is nothing to be told.
        if let Some(spans) = &self.spans {
            let Exported { sent, failed, dropped } = spans.exported();
            for (result, count) in [("sent", sent), ("failed", failed), ("dropped", dropped)] {
                let counter = metrics.spans.get_or_create(&SpanLabels { result });
                counter.inner().fetch_max(count, Ordering::Relaxed);
            }
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &metrics.registry);
        Ok(text)
    }
}

/// Messages that are counted: more than that is as bad.
const UNTOLD_MAX: usize = 10_000;

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Returns the bytes of the files in a folder; files come and go meanwhile.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|meta| meta.len())
        .sum()
}

/// What is known of this process, under the names that all exporters use.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(Usage { cpu_seconds, resident_bytes, descriptors, started_seconds }) = Usage::read() {
            let cpu = ConstCounter::new(cpu_seconds);
            let metric = encoder.encode_descriptor(
                "process_cpu_seconds",
                "Processor time",
                None,
                MetricType::Counter,
            )?;
            cpu.encode(metric)?;
            for (name, help, value) in [
                ("process_resident_memory_bytes", "Memory in use", resident_bytes),
                ("process_open_fds", "Open descriptors", descriptors),
                ("process_start_time_seconds", "When it started, since 1970", started_seconds),
            ] {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}

struct Usage {
    cpu_seconds: f64,
    resident_bytes: f64,
    descriptors: f64,
    started_seconds: f64,
}

/// What a second has of the units in which `/proc` tells times: `USER_HZ`, the same on all machines that cairn is built for.
const TICKS: f64 = 100.0;

impl Usage {
    /// Reads it where the system tells it in `/proc`; elsewhere it is left out.
    #[expect(clippy::cast_precision_loss, reason = "numbers of the system, far below 2^53")]
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold anything; the fields after it are numbered from 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident_kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS,
            resident_bytes: resident_kib as f64 * 1024.0,
            descriptors: fs::read_dir("/proc/self/fd").ok()?.count() as f64,
            started_seconds: boot as f64 + field(22)? as f64 / TICKS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_known_of_the_process_makes_sense() {
        let usage = Usage::read().unwrap();
        assert!(usage.resident_bytes > 1e6 && usage.descriptors >= 3.0);
        assert!(usage.started_seconds > 1e9 && usage.cpu_seconds < 1e6);
    }
}
