//! One instance of a run: what it read, what it made, how long it took.

use std::path::Path;

use cairn_model::Content;
use cairn_store::{Checkpoint, Demoted};

use super::contents::Contents;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::{Past, PastRun, damaged};
use crate::project::Project;
use crate::terminal::style::{self, Paint};
use crate::terminal::text::append;
use crate::terminal::{text, time};
use cairn_scheduler::history::InstanceHistory;
use cairn_scheduler::recorded::Recipe;

/// The result under an instance's input-hash, with what the hash was taken of.
pub(super) struct Found {
    pub(super) checkpoint: Checkpoint,
    demoted: Option<Demoted>,
    pub(super) recipe: Recipe,
}

impl Found {
    /// Looks for the result, `None` where the instance has none.
    pub(super) fn of(past: &Past, instance: &InstanceHistory) -> Result<Option<Self>, Failure> {
        let Some(hash) = instance.input_hash else { return Ok(None) };
        let Some((checkpoint, demoted)) = past.store.recorded(&hash).map_err(damaged)? else {
            return Ok(None);
        };
        let recipe = Recipe::read(&checkpoint.preimage).map_err(|error| {
            Failure::new(ExitStatus::Store, format!("the preimage of {} cannot be read", hash.short()))
                .because_of(Some(&error))
        })?;
        Ok(Some(Self { checkpoint, demoted, recipe }))
    }

    /// Returns the shape that `--json` prints.
    pub(super) fn wire(self) -> json::Checkpoint {
        let Self { checkpoint, demoted, recipe } = self;
        let outputs = checkpoint.manifest.outputs.iter().map(|output| json::OutputFile {
            path: output.path.to_string(),
            kind: kind(&output.content),
            digest: output.content.digest().to_string(),
            bytes: output.content.size(),
        });
        let inputs = recipe.inputs.into_iter().map(|((name, subject), input)| json::Input {
            name,
            subject,
            kind: input.kind,
            digest: input.digest,
            value: input.value,
        });
        json::Checkpoint {
            made_by_run: checkpoint.made_by.run.to_string(),
            made_by_attempt: checkpoint.made_by.number,
            finished: time::rfc3339(checkpoint.finished),
            took_ms: checkpoint.took_ms,
            user_ms: checkpoint.exit.user_ms,
            sys_ms: checkpoint.exit.sys_ms,
            max_rss_bytes: checkpoint.exit.max_rss_bytes,
            sandbox: checkpoint.level.as_str(),
            demoted: demoted.map(|demoted| demoted.why),
            command: recipe.shell.into_iter().chain(recipe.command).collect(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        }
    }
}

pub(super) const fn kind(content: &Content) -> &'static str {
    match content {
        Content::File(_) => "file",
        Content::Folder(_) => "folder",
    }
}

/// Draws an instance for people.
pub(super) fn draw(
    past: &Past,
    run: &PastRun,
    instance: &InstanceHistory,
    project: &Project,
    paint: Paint,
) -> Result<String, Failure> {
    let style = instance.state.outcome().map_or(style::RUNNING, style::outcome);
    let mut out = format!(
        "{} in run {} of {}: {}\n",
        paint.with(style::BOLD, &instance.name.to_string()),
        run.id.short(),
        run.record.pipeline,
        paint.with(style, run.state_word(instance)),
    );
    let mut rows: Vec<(&str, String)> = vec![("reason", instance.reason.clone())];
    rows.extend(instance.help.clone().map(|help| ("help", help)));
    if instance.attempts > 0 {
        rows.push(("attempts", instance.attempts.to_string()));
    }
    rows.extend(instance.started.map(|at| ("started", time::date_time_offset(at, &time::zone()))));
    rows.extend(instance.took_ms.map(|took| ("took", time::took(took))));
    rows.extend(instance.trashed.iter().map(|path| ("kept", path.clone())));
    rows.extend(instance.input_hash.map(|hash| ("hash", hash.to_string())));
    // In JSON the path is absolute; a person gets one to copy.
    let log = super::log_path(past, run, instance).map(|log| project.shown(Path::new(&log)));
    let found = Found::of(past, instance)?;
    if let Some(Found { checkpoint, demoted, .. }) = &found {
        if checkpoint.made_by.run != run.id {
            let finished = time::date_time(checkpoint.finished, &time::zone());
            rows.push(("made by", format!("run {}, {finished}", checkpoint.made_by.run.short())));
        }
        let exit = checkpoint.exit;
        rows.push((
            "used",
            format!(
                "{} ({} user, {} system), {} of memory",
                time::took(checkpoint.took_ms),
                time::took(exit.user_ms),
                time::took(exit.sys_ms),
                text::bytes(exit.max_rss_bytes)
            ),
        ));
        rows.push(("sandbox", checkpoint.level.to_string()));
        rows.extend(demoted.iter().map(|demoted| ("lost", demoted.why.clone())));
        if checkpoint.log.bytes == 0 {
            rows.push(("log", "nothing was printed".to_owned()));
        } else {
            let made = project.shown(&past.state.join(&checkpoint.log.path));
            rows.push(("log", format!("{} ({})", log.unwrap_or(made), text::bytes(checkpoint.log.bytes))));
        }
    } else {
        rows.extend(log.map(|log| ("log", log)));
    }
    for (name, value) in rows {
        let lead = format!("  {}", paint.with(style::DIM, &text::pad(name, 10)));
        append!(out, "{lead}{}\n", value.replace('\n', "\n            "));
    }
    let contents = match &found {
        Some(found) => Some(Contents::recorded(found)),
        None => Contents::declared(past, run, &instance.name, project),
    };
    out.extend(contents.map(|contents| contents.draw(paint)));
    Ok(out)
}
