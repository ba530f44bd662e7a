//! What stands around every page, and the page for what went wrong.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::assets;
use crate::api::Problem;
use crate::daemon::Daemon;
use crate::letters::Settles;

/// A place that a page is at, in the line of links at the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Pipelines,
    Runs,
    Schedule,
    Dead,
    Effects,
    System,
    Nowhere,
}

/// One of the links at the top.
pub(super) struct Link {
    pub(super) here: bool,
    pub(super) href: &'static str,
    pub(super) word: &'static str,
    /// How many things wait there for a person; 0: none.
    pub(super) badge: usize,
    pub(super) badge_word: &'static str,
}

/// What stands around a page.
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) project: String,
    pub(super) links: Vec<Link>,
    /// Where the page hears that it is to look again; empty where nothing on it changes.
    pub(super) live: String,
    pub(super) assets: &'static str,
    pub(super) version: &'static str,
}

/// Dead letters, and effects in doubt, that are counted for a badge: more are `99+`.
const BADGE_MAX: usize = 99;
/// Effects that are looked at for that, so that no page waits for all that were ever known.
const EFFECTS_MAX: usize = 20_000;

impl Shell {
    pub(super) fn new(
        daemon: &Daemon,
        place: Place,
        title: impl Into<String>,
        live: impl Into<String>,
    ) -> Self {
        let dead = daemon.store().dead(cairn_store::DeadOf::default()).take(BADGE_MAX + 1).count();
        let effects = daemon.store().each_effect().take(EFFECTS_MAX).flatten();
        let doubtful = effects.filter(|(.., effect)| Settles::Waiting.takes(effect.state));
        let doubts = doubtful.take(BADGE_MAX + 1).count();
        let name =
            daemon.root().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self {
            title: title.into(),
            project: name,
            links: links(place, dead, doubts),
            live: live.into(),
            assets: assets::VERSION.as_str(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn links(place: Place, dead: usize, doubts: usize) -> Vec<Link> {
    let link =
        |at: Place, href, word, badge, badge_word| Link { here: at == place, href, word, badge, badge_word };
    vec![
        link(Place::Pipelines, "/", "Pipelines", 0, ""),
        link(Place::Runs, "/runs", "Runs", 0, ""),
        link(Place::Schedule, "/schedule", "Schedule", 0, ""),
        link(Place::Dead, "/dead", "Dead letters", dead, "waiting"),
        link(Place::Effects, "/effects", "Effects", doubts, "in doubt"),
        link(Place::System, "/system", "System", 0, ""),
    ]
}

/// A page for people about what went wrong with a request.
#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    shell: Shell,
    status: u16,
    title: &'static str,
    detail: String,
    help: Option<String>,
    report: Option<String>,
}

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Fault(Problem);

impl<P: Into<Problem>> From<P> for Fault {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        fault_page(self.0)
    }
}

/// Shows a problem to a person.
pub(crate) fn fault_page(problem: Problem) -> Response {
    let (status, title, detail, help, report) = problem.into_parts();
    let shell = Shell {
        title: title.to_owned(),
        project: String::new(),
        // Who is not let in is led nowhere.
        links: if status == StatusCode::UNAUTHORIZED { Vec::new() } else { links(Place::Nowhere, 0, 0) },
        live: String::new(),
        assets: assets::VERSION.as_str(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let page = FaultPage { shell, status: status.as_u16(), title, detail, help, report };
    let mut response = show(&page);
    *response.status_mut() = status;
    response
}

/// Renders a page.
pub(super) fn show(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be rendered").into_response()
        }
    }
}

/// Renders a page after its data was read away from the threads that must not wait.
pub(super) async fn page<T: Template + Send + 'static>(
    make: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<Response, Fault> {
    let response = crate::carry_out::blocking(move || make().map(|page| show(&page))).await?;
    Ok(response)
}
