//! The pages: HTML made here, readable without JavaScript, that looks again when something changed.
//!
//! - a page a file, each with its template in `templates/`; `shell`: what stands around all of them
//! - `markup`, `words`, `state`: how text, times and states look on every page; `newest`: the few of many that are listed
//! - `attention`: what a person wants to know first
//! - `calendar`: days by week, `heat`: what schedules did on them and will do
//! - `picture`: a pipeline as a graph, `layout`: where its nodes stand, `timeline`: a run by the clock
//! - `log`, `ansi`: what commands printed; `preview`: what they made
//! - `ancestry`: by whose bytes an instance was made, and who read its own
//! - `live`: tells a page that it is to look again; `assets`: style, script, icon
//!
//! What it does not do: decide anything. A form does what the API does, and sends the browser to a page.

mod ancestry;
mod ansi;
mod assets;
mod attention;
mod backfill;
mod calendar;
mod dead;
mod effects;
mod form;
mod heat;
mod instance;
mod layout;
mod live;
mod log;
mod markup;
mod newest;
mod picture;
mod pipeline;
mod pipelines;
mod preview;
mod run;
mod runs;
mod schedule;
mod shell;
mod state;
mod system;
mod timeline;
mod trend;
mod words;

#[cfg(test)]
mod tests;

use axum::Router;

use crate::api::App;

pub(crate) use picture::Known;
pub(crate) use shell::fault_page;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .merge(pipelines::router())
        .merge(pipeline::router())
        .merge(backfill::router())
        .merge(runs::router())
        .merge(run::router())
        .merge(instance::router())
        .merge(dead::router())
        .merge(effects::router())
        .merge(schedule::router())
        .merge(system::router())
        .merge(live::router())
        .merge(assets::router())
}
