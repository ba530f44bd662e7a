//! Traces of runs: the caller's, and where they are sent.

#[cfg(feature = "otel")]
mod otlp;

use std::sync::Arc;

use cairn_model::TraceParent;
use cairn_scheduler::spans::Export;

/// What takes the spans of this process's runs.
pub(crate) trait Telemetry: Export {
    /// Waits until all is sent, but not for long.
    fn flush(&self);
}

/// Returns what takes the spans of this process's runs; `None` where nobody wants them.
#[cfg(feature = "otel")]
pub(crate) fn of_process() -> Option<Arc<dyn Telemetry>> {
    otlp::of_process().map(|to| to as Arc<dyn Telemetry>)
}

/// Returns what takes the spans of this process's runs: nothing, since this cairn was built without.
#[cfg(not(feature = "otel"))]
pub(crate) fn of_process() -> Option<Arc<dyn Telemetry>> {
    None
}

/// Returns the span that this process was started in, where its caller says so in a way that can be read.
pub(crate) fn caller() -> Option<TraceParent> {
    std::env::var(TraceParent::VARIABLE).ok()?.parse().ok()
}
