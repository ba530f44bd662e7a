//! One instance of a run: what it read, what it made, how long it took.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_model::{Command, Content, DecodeError, Part, Value, decode};
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

/// The result under an instance's input-hash, with what the hash was taken of.
pub(super) struct Found {
    pub(super) checkpoint: Checkpoint,
    demoted: Option<Demoted>,
    pub(super) recipe: Recipe,
}

/// What a preimage says, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recipe {
    shell: Vec<String>,
    command: Vec<String>,
    /// `env` and `pass_env`, `None` for one that was unset.
    pub(super) environment: Vec<(String, Option<String>)>,
    pub(super) tools: Vec<(String, String)>,
    /// By name and subject, which tell inputs apart.
    pub(super) inputs: BTreeMap<(String, String), Input>,
    pub(super) salt: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) kind: String,
    pub(super) digest: Option<String>,
    pub(super) value: Option<String>,
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

impl Recipe {
    /// Reads a stored preimage; parts that a later version may add are passed over.
    fn read(preimage: &[u8]) -> Result<Self, DecodeError> {
        let mut recipe = Self::default();
        for Part { tags, value } in decode(preimage)? {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            match tags.as_slice() {
                ["shell", ..] => recipe.shell.extend(shown(&value)),
                ["command", ..] => recipe.command.extend(shown(&value)),
                ["salt"] => recipe.salt = shown(&value),
                ["env" | "pass-env", name] => recipe.environment.push(((*name).to_owned(), shown(&value))),
                ["tools", name] => {
                    recipe.tools.push(((*name).to_owned(), shown(&value).unwrap_or_default()));
                }
                ["inputs", name, subject, part] => {
                    let input = recipe.inputs.entry(((*name).to_owned(), (*subject).to_owned())).or_default();
                    match *part {
                        "kind" => input.kind = shown(&value).unwrap_or_default(),
                        "content" => input.digest = shown(&value),
                        "value" | "printed" => input.value = shown(&value),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok(recipe)
    }

    pub(super) fn command(&self) -> Command {
        match self.command.as_slice() {
            [script] if !self.shell.is_empty() => {
                Command::Shell { shell: self.shell.clone(), script: script.clone() }
            }
            argv => Command::Argv(argv.to_vec()),
        }
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Absent | Value::Empty => None,
        Value::Text(text) => Some(text.clone()),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Digest(digest) => Some(digest.to_string()),
        Value::Boolean(_) | Value::Integer(_) => Some(value.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::{Domain, InputKey, RecipeInput};

    #[test]
    fn a_preimage_is_read_back() {
        let key = |name: &str, subject: &str| InputKey { name: name.into(), subject: subject.into() };
        let digest = Domain::File.digest(b"x");
        let recipe = cairn_model::Recipe {
            command: Command::Shell { shell: vec!["sh".into(), "-c".into()], script: "cat a > b".into() },
            env: [("A".to_owned(), "1".to_owned())].into(),
            pass_env: [("HOME".to_owned(), None)].into(),
            tools: [("awk".to_owned(), b"mawk 1.3".to_vec())].into(),
            inputs: [
                (key("raw", "a"), RecipeInput::File { digest, executable: false, link: None }),
                (key("", "USER"), RecipeInput::Environment(Some("me".into()))),
                (key("", "gone"), RecipeInput::Missing),
            ]
            .into(),
            outputs: BTreeMap::new(),
            salt: Some("2".into()),
            platform: "linux-x86_64".into(),
            effect: None,
            records: None,
        };
        let read = Recipe::read(&recipe.encode()).unwrap();
        assert_eq!(read.command(), recipe.command);
        assert_eq!(read.environment, [("A".into(), Some("1".into())), ("HOME".into(), None)]);
        assert_eq!(read.tools, [("awk".into(), "mawk 1.3".into())]);
        assert_eq!(read.salt.as_deref(), Some("2"));
        let input = |name: &str, subject: &str| &read.inputs[&(name.to_owned(), subject.to_owned())];
        assert_eq!(input("raw", "a").digest, Some(digest.to_string()));
        assert_eq!(input("", "USER").value.as_deref(), Some("me"));
        assert_eq!(input("", "gone").kind, "missing");

        let argv = cairn_model::Recipe { command: Command::Argv(vec!["awk".into(), "-f".into()]), ..recipe };
        assert_eq!(Recipe::read(&argv.encode()).unwrap().command(), argv.command);
    }
}
