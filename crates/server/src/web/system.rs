//! `/system`: the daemon itself: what runs, what waits, how much room there is.

use std::path::Path;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::markup::Markup;
use super::runs;
use super::shell::{Fault, Place, Shell, page};
use super::words;
use crate::api::App;

pub(super) fn router() -> Router<App> {
    Router::new().route("/system", get(system))
}

struct InQueue {
    short: String,
    href: String,
    pipeline: String,
    priority: i64,
    not_before: Option<Markup>,
}

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPage {
    shell: Shell,
    pid: u32,
    started: Markup,
    root: String,
    state: String,
    pipelines: usize,
    broken: usize,
    running: Vec<InQueue>,
    waiting: Vec<InQueue>,
    waiting_more: usize,
    store_bytes: String,
    batches: u64,
    disk_free: String,
    disk_total: String,
    disk_used: u64,
    effects: usize,
    dead: usize,
}

/// Runs that wait and are listed.
const ROWS: usize = 100;

async fn system(State(app): State<App>) -> Result<Response, Fault> {
    page(move || {
        let daemon = &app.daemon;
        let now = daemon.clock.now();
        let (running, waiting): (Vec<InQueue>, Vec<InQueue>) = {
            let queue = daemon.queue();
            let running = queue.running().map(|(run, pipeline)| InQueue {
                short: run.short(),
                href: runs::href(*run),
                pipeline: pipeline.to_string(),
                priority: 0,
                not_before: None,
            });
            let waiting = queue.waiting().map(|waiting| InQueue {
                short: waiting.run.short(),
                href: runs::href(waiting.run),
                pipeline: waiting.pipeline.to_string(),
                priority: waiting.priority,
                not_before: waiting.not_before.filter(|time| *time > now).map(|time| words::when(time, now)),
            });
            (running.collect(), waiting.collect())
        };
        let (free, total) = disk(&daemon.state).unwrap_or((0, 0));
        Ok(SystemPage {
            shell: Shell::new(daemon, Place::System, "System", "/live"),
            pid: std::process::id(),
            started: words::when(daemon.started, now),
            root: daemon.root.display().to_string(),
            state: daemon.state.display().to_string(),
            pipelines: daemon.catalog().entries().count(),
            broken: daemon.catalog().broken().count(),
            running,
            waiting_more: waiting.len().saturating_sub(ROWS),
            waiting: waiting.into_iter().take(ROWS).collect(),
            store_bytes: words::bytes(folder_bytes(&daemon.state.join("store"))),
            batches: daemon.store().head().sequence,
            disk_free: words::bytes(free),
            disk_total: words::bytes(total),
            disk_used: (total.saturating_sub(free) * 100).checked_div(total).unwrap_or(0),
            effects: daemon.store().each_effect().count(),
            dead: daemon.store().dead(cairn_store::DeadOf::default()).take(10_000).count(),
        })
    })
    .await
}

/// Returns the bytes of the files in a folder, without those below its folders.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|meta| meta.len())
        .sum()
}

/// Returns the free bytes and all bytes of the disk that a folder is on.
fn disk(folder: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some((found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))
}
