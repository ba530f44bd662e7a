//! `/runs/{id}/stages/{instance}`: one instance of a run, what it read, printed and made.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use cairn_dag::{InputKind, Instance};
use cairn_executor::stored_bytes;
use cairn_model::{AttemptId, Content, FileContent, InstanceName, Name, Value, differences};
use cairn_scheduler::recorded::Recipe;
use cairn_store::Checkpoint;
use serde::Deserialize;

use super::ancestry::{self, Ancestry};
use super::live::looks_again;
use super::log;
use super::markup::{Markup, url_part};
use super::preview;
use super::run::{Seen, instance_href};
use super::runs;
use super::shell::{Fault, Place, Shell, page};
use super::timeline::{Timeline, Try};
use super::words;
use crate::api::{App, Problem};

mod sent;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/runs/{run}/stages/{instance}", get(one))
        .route("/runs/{run}/stages/{instance}/log", get(sent::log_as_it_is))
        .route("/runs/{run}/stages/{instance}/log/live", get(sent::lines_to_come))
        .route("/runs/{run}/stages/{instance}/output", get(sent::output))
}

/// Reads an instance's name: a stage, and coordinates in brackets.
fn instance_name(text: &str) -> Result<InstanceName, Problem> {
    let unknown = || Problem::unknown(format!("`{text}` is not the name of an instance"));
    let (stage, coordinates) = match text.split_once('[') {
        None => (text, None),
        Some((stage, rest)) => (stage, Some(rest.strip_suffix(']').ok_or_else(unknown)?)),
    };
    let stage: Name = stage.parse().map_err(|_| unknown())?;
    // Its log is found by a name that is safe whatever the coordinates are.
    Ok(InstanceName::new(stage, coordinates.map(str::to_owned)))
}

struct TryRow {
    attempt: u32,
    href: String,
    here: bool,
    pill: Markup,
    began: Markup,
    took: String,
    said: String,
}

struct InputRow {
    name: String,
    subject: String,
    kind: String,
    what: String,
    /// Who made it, with its page.
    maker: Option<(String, String)>,
}

struct OutputRow {
    path: String,
    kind: &'static str,
    size: String,
    digest: String,
    address: Option<String>,
    preview: Markup,
}

struct Change {
    summary: String,
    before: Option<String>,
    after: Option<String>,
}

struct LinkTo {
    name: String,
    href: String,
    pill: Markup,
}

#[derive(Template)]
#[template(path = "instance.html")]
struct InstancePage {
    shell: Shell,
    name: String,
    description: String,
    pipeline: String,
    run_short: String,
    run_href: String,
    pill: Markup,
    reason: String,
    /// The line that most likely says why it failed, where the reason is a number.
    last_words: Option<String>,
    help: Option<String>,
    facts: Vec<(&'static str, Markup)>,
    tries: Vec<TryRow>,
    /// Where it was executed, where that was in another run.
    elsewhere: Option<(String, String)>,
    log: Markup,
    log_cut: bool,
    /// Whether what matters is said last.
    opens_at_end: bool,
    log_size: String,
    log_address: String,
    /// Where the lines to come are; empty where none come.
    follow: String,
    command: String,
    shell_words: String,
    environment: Vec<(String, String)>,
    tools: Vec<(String, String)>,
    inputs: Vec<InputRow>,
    outputs: Vec<OutputRow>,
    why: Option<String>,
    changes: Vec<Change>,
    compared_with: Option<(String, String)>,
    needs: Vec<LinkTo>,
    needed_by: Vec<LinkTo>,
    /// Where its lineage is, where it may have any.
    lineage_address: Option<String>,
    lineage: Option<Ancestry>,
    can_rerun: bool,
    trashed: Vec<String>,
}

#[derive(Deserialize)]
struct Which {
    attempt: Option<u32>,
    /// Anything: who made what it read, and who read what it made, is looked for.
    lineage: Option<String>,
}

/// Files of an output folder that are listed.
const FILES_MAX: usize = 50;
/// Outputs that are shown without a click.
const PREVIEWS_MAX: usize = 8;

#[expect(clippy::too_many_lines, reason = "it fills one page, field by field")]
async fn one(
    State(app): State<App>,
    Path((run, instance)): Path<(String, String)>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let again = looks_again(&headers);
    page(move || {
        let seen = Seen::read(&app, &run)?;
        let daemon = &app.daemon;
        let store = daemon.store();
        let name = instance_name(&instance)?;
        let heard = seen.history.instance(&name);
        let declared = seen.pipeline.as_ref().and_then(|pipeline| {
            let at = pipeline.instances.iter().position(|known| known.name == name)?;
            Some((at, &pipeline.instances[at]))
        });
        if heard.is_none() && declared.is_none() {
            return Err(Problem::unknown(format!("run {} has no instance `{name}`", seen.run.short())).into());
        }
        let look = seen.look_of(&name);
        let found =
            heard.and_then(|heard| heard.input_hash).map(|hash| store.recorded(&hash)).transpose()?.flatten();
        let recipe = found.as_ref().and_then(|(checkpoint, _)| Recipe::read(&checkpoint.preimage).ok());

        let timeline = Timeline::of(&seen.events, seen.goes_on);
        let all = timeline.tries.get(&name).cloned().unwrap_or_default();
        let attempt = which.attempt.or(heard.and_then(|heard| heard.last_attempt));
        let attempted = all.iter().find(|one| Some(one.attempt) == attempt);
        let own = instance_href(seen.run, &name);
        let tries = all
            .iter()
            .map(|one| TryRow {
                attempt: one.attempt,
                href: format!("{own}?attempt={}#log", one.attempt),
                here: Some(one.attempt) == attempt,
                pill: one.look.pill(),
                began: words::at_clock(one.began),
                took: one.took_ms().map_or_else(String::new, words::took),
                said: one.said.clone(),
            })
            .collect();
        let made_by = found.as_ref().map(|(checkpoint, _)| &checkpoint.made_by);
        let of = match attempt {
            Some(number) => Some(AttemptId { run: seen.run, instance: name.clone(), number }),
            None => made_by.cloned(),
        };
        let running =
            seen.goes_on && all.iter().any(|one| Some(one.attempt) == attempt && one.ended.is_none());
        // A page that looks again has its log already, or follows another one from its beginning.
        let shown = of.as_ref().filter(|_| !again).and_then(|of| {
            let shown = log::read(&log::path(&daemon.state, of), running);
            shown.inspect_err(|error| tracing::warn!(%error, "a log cannot be read")).ok()
        });
        let follow = attempt.filter(|_| running).map_or_else(String::new, |number| {
            let place = shown.as_ref().map(|shown| shown.place).unwrap_or_default();
            format!("{own}/log/live?attempt={number}&after={place}")
        });
        let elsewhere = made_by
            .filter(|made| made.run != seen.run)
            .map(|made| (made.run.short(), instance_href(made.run, &made.instance)));
        let failed = heard.is_some_and(|heard| {
            use cairn_model::State::{Failed, InDoubt, Retrying};
            matches!(heard.state, Failed { .. } | Retrying { .. } | InDoubt { .. })
        });
        let last_words = heard
            .filter(|heard| failed && heard.reason.starts_with("exit status"))
            .and_then(|heard| {
                let last = AttemptId { run: seen.run, instance: name.clone(), number: heard.last_attempt? };
                log::last_words(&log::path(&daemon.state, &last))
            })
            .filter(|(_, as_an_error)| *as_an_error)
            .map(|(words, _)| words);
        let opens_at_end =
            shown.as_ref().is_some_and(|shown| shown.cut) || attempted.is_some_and(Try::went_wrong);
        let log_address = match &of {
            Some(of) => format!("{}/log?attempt={}", instance_href(of.run, &of.instance), of.number),
            None => String::new(),
        };

        let mut facts = Vec::new();
        let fact = |text: String| {
            let mut markup = Markup::default();
            markup.text(text);
            markup
        };
        if let Some(attempted) = attempted {
            facts.push(("Started", words::at_clock(attempted.began)));
            if let Some(took) = attempted.took_ms() {
                facts.push(("Took", fact(words::took(took))));
            }
        }
        if let Some(saved) = heard.map(|heard| heard.saved_ms).filter(|saved| *saved >= 10) {
            facts.push(("Saved", fact(words::took(saved))));
        }
        if let Some((checkpoint, demoted)) = &found {
            let exit = checkpoint.exit;
            facts.push((
                "Used",
                fact(format!(
                    "{} user, {} system, {} of memory",
                    words::took(exit.user_ms),
                    words::took(exit.sys_ms),
                    words::bytes(exit.max_rss_bytes)
                )),
            ));
            facts.push(("Sandbox", fact(checkpoint.level.to_string())));
            if let Some(demoted) = demoted {
                facts.push(("Lost", fact(demoted.why.clone())));
            }
        } else if let (Some((_, declared)), Some(pipeline)) = (declared, &seen.pipeline) {
            let asked = declared.policy.sandbox.unwrap_or(pipeline.sandbox);
            facts.push(("Sandbox", fact(format!("{asked}, asked for"))));
        }
        if let Some(hash) = heard.and_then(|heard| heard.input_hash) {
            facts.push(("Input-hash", fact(hash.to_string())));
        }
        if let Some((_, declared)) = declared {
            if let Some(pool) = &declared.policy.pool {
                facts.push(("Pool", fact(pool.clone())));
            }
            if let Some(timeout) = declared.policy.timeout_ms {
                facts.push(("Timeout", fact(words::took(timeout))));
            }
        }

        let command =
            recipe.as_ref().map(Recipe::command).or(declared.map(|(_, declared)| declared.command.clone()));
        let shell_words = match &command {
            Some(cairn_model::Command::Shell { shell, .. }) => shell.join(" "),
            _ => String::new(),
        };
        let environment = match (&recipe, declared) {
            (Some(recipe), _) => recipe
                .environment
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().unwrap_or_else(|| "(unset)".to_owned())))
                .collect(),
            (None, Some((_, declared))) => declared.env.clone().into_iter().collect(),
            (None, None) => Vec::new(),
        };
        let (changes, compared_with) =
            changes(daemon, &seen, &name, found.as_ref().map(|(checkpoint, _)| checkpoint))?;
        let (needs, needed_by) = neighbours(&seen, declared.map(|(at, _)| at));
        let lineage = match &found {
            Some((checkpoint, _)) if which.lineage.is_some() && !again => {
                Some(ancestry::read(daemon, &seen, recipe.as_ref(), Some(checkpoint))?)
            }
            _ => None,
        };
        let lineage_address = found.as_ref().map(|_| match which.attempt {
            Some(attempt) => format!("{own}?attempt={attempt}&lineage=1#content"),
            None => format!("{own}?lineage=1#content"),
        });
        let pipeline = seen.name();
        let title = format!("{name} · {}", look.word);
        let live = if seen.goes_on { format!("/live/{}", seen.run) } else { String::new() };
        Ok(InstancePage {
            shell: Shell::new(daemon, Place::Runs, title, live),
            description: seen
                .pipeline
                .as_ref()
                .and_then(|pipeline| pipeline.stages.iter().find(|stage| stage.name == *name.stage()))
                .map_or_else(String::new, |stage| stage.description.clone()),
            run_short: seen.run.short(),
            run_href: runs::href(seen.run),
            pill: look.pill(),
            reason: heard.map_or_else(String::new, |heard| heard.reason.clone()),
            help: heard.and_then(|heard| heard.help.clone()),
            facts,
            tries,
            elsewhere,
            last_words,
            opens_at_end,
            log_cut: shown.as_ref().is_some_and(|shown| shown.cut),
            log_size: shown.as_ref().map_or_else(String::new, |shown| words::bytes(shown.bytes)),
            log: shown.map_or_else(Markup::default, |shown| shown.lines),
            log_address,
            follow,
            command: command.map_or_else(String::new, |command| command.to_string()),
            shell_words,
            environment,
            tools: recipe.as_ref().map_or_else(Vec::new, |recipe| recipe.tools.clone()),
            inputs: inputs(&seen, recipe.as_ref(), declared.map(|(_, declared)| declared)),
            outputs: if again {
                Vec::new()
            } else {
                outputs(
                    daemon,
                    &own,
                    found.as_ref().map(|(checkpoint, _)| checkpoint),
                    declared.map(|(_, declared)| declared),
                )
            },
            why: heard.and_then(|heard| heard.why_executed.clone()),
            changes,
            compared_with,
            needs,
            needed_by,
            lineage_address,
            lineage,
            can_rerun: daemon.entry(&pipeline).is_ok(),
            trashed: heard.map_or_else(Vec::new, |heard| heard.trashed.clone()),
            pipeline,
            name: name.to_string(),
        })
    })
    .await
}

fn inputs(seen: &Seen, recipe: Option<&Recipe>, declared: Option<&Instance>) -> Vec<InputRow> {
    let maker = |path: &str| {
        let pipeline = seen.pipeline.as_ref()?;
        let maker = pipeline.instances.iter().find(|instance| {
            instance.outputs.iter().any(|output| {
                let made = output.path.as_str();
                made == path || path.strip_prefix(made).is_some_and(|rest| rest.starts_with('/'))
            })
        })?;
        Some((maker.name.to_string(), instance_href(seen.run, &maker.name)))
    };
    if let Some(recipe) = recipe {
        let row =
            |((name, subject), input): (&(String, String), &cairn_scheduler::recorded::Input)| InputRow {
                maker: maker(subject),
                name: name.clone(),
                subject: subject.clone(),
                kind: input.kind.clone(),
                what: match (&input.digest, &input.value) {
                    (Some(digest), _) => digest.chars().take(12).collect(),
                    (None, Some(value)) => value.chars().take(200).collect(),
                    (None, None) => String::new(),
                },
            };
        return recipe.inputs.iter().map(row).collect();
    }
    let row = |input: &cairn_dag::Input| {
        let (subject, kind) = match &input.kind {
            InputKind::Path { path, .. } => (path.to_string(), "path"),
            InputKind::Glob { pattern, .. } => (pattern.clone(), "glob"),
            InputKind::Environment { variable } => (variable.clone(), "environment"),
            InputKind::Command { command } => (command.to_string(), "command"),
            InputKind::Stage { .. } => (String::new(), "stage"),
        };
        InputRow {
            maker: maker(&subject),
            name: input.name.clone(),
            subject,
            kind: kind.to_owned(),
            what: String::new(),
        }
    };
    declared.map_or_else(Vec::new, |declared| declared.inputs.iter().map(row).collect())
}

fn outputs(
    daemon: &crate::daemon::Daemon,
    own: &str,
    checkpoint: Option<&Checkpoint>,
    declared: Option<&Instance>,
) -> Vec<OutputRow> {
    let Some(checkpoint) = checkpoint else {
        let row = |output: &cairn_dag::Declared| OutputRow {
            path: output.path.to_string(),
            kind: "not made",
            size: String::new(),
            digest: String::new(),
            address: None,
            preview: Markup::default(),
        };
        return declared.map_or_else(Vec::new, |declared| declared.outputs.iter().map(row).collect());
    };
    let mut rows = Vec::new();
    for output in &checkpoint.manifest.outputs {
        if let Content::Folder(tree) = &output.content {
            rows.push(OutputRow {
                path: format!("{}/", output.path),
                kind: "folder",
                size: format!(
                    "{} in {}",
                    words::bytes(output.content.size()),
                    words::count(tree.files().count(), "file")
                ),
                digest: output.content.digest().short(),
                address: None,
                preview: Markup::default(),
            });
        }
        for (below, file) in output.content.files().take(FILES_MAX) {
            let below = String::from_utf8_lossy(below);
            let path =
                if below.is_empty() { output.path.to_string() } else { format!("{}/{below}", output.path) };
            let address = format!("{own}/output?path={}", url_part(&path));
            let preview = if rows.len() < PREVIEWS_MAX {
                file_preview(daemon, &path, file, &address)
            } else {
                Markup::default()
            };
            rows.push(OutputRow {
                kind: "file",
                size: words::bytes(file.size),
                digest: file.digest.short(),
                address: Some(address),
                preview,
                path,
            });
        }
    }
    rows
}

fn file_preview(daemon: &crate::daemon::Daemon, path: &str, file: &FileContent, address: &str) -> Markup {
    if file.size > preview::PICTURE_MAX {
        let mut markup = Markup::default();
        markup
            .html("<p class=\"quiet\">Too large to be shown here: <a")
            .attribute("href", address)
            .html(">the file</a></p>");
        return markup;
    }
    if preview::is_named_as_picture(path) {
        // The browser asks for it; what is none by its bytes is sent as what it is.
        return preview::markup(&preview::Preview::Picture, path, address);
    }
    let Some(bytes) = stored_bytes(daemon.store(), &daemon.state, &file.digest, preview::PICTURE_MAX) else {
        let mut markup = Markup::default();
        markup.html("<p class=\"quiet\">Its bytes are no longer kept.</p>");
        return markup;
    };
    let beginning = &bytes[..bytes.len().min(preview::TEXT_MAX)];
    let preview = preview::of(path, beginning, beginning.len() == bytes.len());
    preview::markup(&preview, path, address)
}

/// What differs, and the execution that it is compared with: its run, and its page.
type Compared = (Vec<Change>, Option<(String, String)>);

/// Tells what differs between an execution and the one before it that is known.
fn changes(
    daemon: &crate::daemon::Daemon,
    seen: &Seen,
    name: &InstanceName,
    checkpoint: Option<&Checkpoint>,
) -> Result<Compared, Fault> {
    let (Some(checkpoint), Ok(pipeline)) = (checkpoint, seen.name().parse::<Name>()) else {
        return Ok(Default::default());
    };
    let store = daemon.store();
    let mut nearest: Option<(Checkpoint, Vec<cairn_model::Difference>)> = None;
    for hash in store.latest(&pipeline, name)? {
        let Some((other, _)) = store.recorded(&hash)? else { continue };
        if other.finished >= checkpoint.finished || other.preimage == checkpoint.preimage {
            continue;
        }
        let Ok(found) = differences(&other.preimage, &checkpoint.preimage) else { continue };
        if nearest.as_ref().is_none_or(|(_, fewest)| found.len() < fewest.len()) {
            nearest = Some((other, found));
        }
    }
    let Some((other, found)) = nearest else { return Ok(Default::default()) };
    let shown = |value: &Value| match value {
        Value::Digest(digest) => digest.short(),
        value => value.to_string().chars().take(400).collect(),
    };
    let changes = found
        .iter()
        .map(|difference| Change {
            summary: difference.summary(),
            before: difference.before.as_ref().map(shown),
            after: difference.after.as_ref().map(shown),
        })
        .collect();
    let with = (other.made_by.run.short(), instance_href(other.made_by.run, &other.made_by.instance));
    Ok((changes, Some(with)))
}

fn neighbours(seen: &Seen, at: Option<usize>) -> (Vec<LinkTo>, Vec<LinkTo>) {
    let (Some(pipeline), Some(at)) = (&seen.pipeline, at) else { return Default::default() };
    let link = |instance: &Instance| LinkTo {
        name: instance.name.to_string(),
        href: instance_href(seen.run, &instance.name),
        pill: seen.look_of(&instance.name).pill(),
    };
    let needs =
        pipeline.instances[at].needs.iter().map(|need| link(&pipeline.instances[*need as usize])).collect();
    let behind = |instance: &&Instance| instance.needs.iter().any(|need| *need as usize == at);
    let needed_by = pipeline.instances.iter().filter(behind).map(link).collect();
    (needs, needed_by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_instances_are_read_and_nothing_else() {
        for name in ["a", "by-carrier[UA]", "grid[2013,UA]", "a[../../x]"] {
            assert_eq!(instance_name(name).unwrap().to_string(), name);
        }
        for wrong in ["", "..", "../x", "A", "a[b", "a/b", "[x]"] {
            assert!(instance_name(wrong).is_err(), "{wrong}");
        }
        let slug = instance_name("a[../../x]").unwrap().slug();
        assert!(!slug.contains('/'), "{slug}");
    }
}
