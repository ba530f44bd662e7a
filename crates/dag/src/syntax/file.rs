//! The top of a pipeline file: `[pipeline]`, `[params]`, `[env]`, `[pools]`, `[schedule]`, and the stages.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cairn_model::{Level, Name, ProjectPath, Schedule};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{nearest, show};
use super::params::Param;
use super::reader::{Key, Reader, Value, type_name};
use super::stage::StageSyntax;
use super::text::{At, Text};
use super::words;
use crate::SandboxChoice;
use crate::code;
use crate::diagnostic::Diagnostic;

/// A whole file.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub name: Option<Name>,
    pub description: String,
    pub shell: Option<Vec<String>>,
    pub sandbox: Option<SandboxChoice>,
    pub sandbox_require: Option<Level>,
    pub rollback: bool,
    /// `None` for the file's own folder.
    pub workdir: Option<At<ProjectPath>>,
    /// Whether `workdir` is what was meant: false after an error in it.
    pub workdir_known: bool,
    pub params: Vec<Param<'a>>,
    /// Whether `params` holds all that was meant: false after an error in them.
    pub params_known: bool,
    pub env: Vec<(At<Cow<'a, str>>, Text<'a>)>,
    pub pools: BTreeMap<String, u32>,
    pub schedule: Option<At<Schedule>>,
    pub stages: Vec<StageSyntax<'a>>,
}

impl<'a> File<'a> {
    /// Reads a file's tables; what is wrong is returned beside what could be read.
    pub(crate) fn read(source: &'a str, table: &Spanned<DeTable<'a>>) -> (Self, Vec<Diagnostic>) {
        let mut reader = Reader { source, found: Vec::new() };
        let mut file = Self {
            name: None,
            description: String::new(),
            shell: None,
            sandbox: None,
            sandbox_require: None,
            rollback: false,
            workdir: None,
            workdir_known: true,
            params: Vec::new(),
            params_known: true,
            env: Vec::new(),
            pools: BTreeMap::new(),
            schedule: None,
            stages: Vec::new(),
        };
        let mut stages_named = false;
        for (key, value) in Reader::entries(table.get_ref()) {
            match key.get_ref().as_ref() {
                "pipeline" => file.read_pipeline(&mut reader, value),
                "params" => {
                    let before = reader.found.len();
                    file.read_params(&mut reader, value);
                    file.params_known &= reader.found.len() == before;
                }
                "env" => file.env = reader.variables(value),
                "pools" => file.read_pools(&mut reader, value),
                "schedule" => file.schedule = reader.schedule(key.span(), value),
                "stages" => {
                    stages_named = true;
                    file.read_stages(&mut reader, key, value);
                }
                _ => {
                    let meant = reader.unknown_key(&words::FILE, key);
                    stages_named |= meant == Some("stages");
                    file.params_known &= meant != Some("params");
                }
            }
        }
        if !stages_named || (file.stages.is_empty() && reader.found.is_empty()) {
            let diagnostic = Diagnostic::error(code::NO_STAGES, "the file has no stage");
            let help = "write for example\n[stages.hello]\nrun = \"echo hello > hello.txt\"\noutputs = [\"hello.txt\"]";
            reader.report(diagnostic.at(0..0, "").help(help));
        }
        file.check_pools(&mut reader);
        (file, reader.found)
    }

    fn read_pipeline(&mut self, reader: &mut Reader<'a>, value: &Value<'a>) {
        let Some(table) = reader.table("`pipeline`", "{ name = \"demo\" }", value) else { return };
        for (key, value) in Reader::entries(table) {
            match key.get_ref().as_ref() {
                "name" => {
                    if let Some(text) = reader.text("`name`", value) {
                        self.name = reader.name(&text);
                    }
                }
                "description" => {
                    self.description =
                        reader.text("`description`", value).map_or_else(String::new, |t| t.text.into());
                }
                "shell" => self.shell = reader.shell(value),
                "sandbox" => self.sandbox = reader.sandbox("`sandbox`", value),
                "sandbox_require" => {
                    let choice = reader.sandbox("`sandbox_require`", value);
                    self.sandbox_require = choice.and_then(|choice| reader.required_level(choice, value));
                }
                "on_failure" => self.rollback = reader.on_failure(value),
                "workdir" => {
                    let before = reader.found.len();
                    self.workdir = reader.workdir(value);
                    self.workdir_known = reader.found.len() == before;
                }
                _ => {
                    reader.unknown_key(&words::PIPELINE, key);
                }
            }
        }
    }

    fn read_pools(&mut self, reader: &mut Reader<'a>, value: &Value<'a>) {
        let Some(table) = reader.table("`pools`", "{ db = 2 }", value) else { return };
        for (key, value) in Reader::entries(table) {
            let what = format!("the pool `{}`", show(key.get_ref()));
            // A pool whose size is wrong is there all the same: its stages need no error of their own.
            let places = reader.count(&what, 1, value).unwrap_or(1);
            self.pools.insert(key.get_ref().clone().into_owned(), places);
        }
    }

    fn read_stages(&mut self, reader: &mut Reader<'a>, key: &Key<'a>, value: &Value<'a>) {
        let table = match value.get_ref() {
            DeValue::Table(table) => table,
            other => {
                let found = type_name(other);
                let message = format!("`stages` must be a table, not {found}");
                let diagnostic = Diagnostic::error(code::WRONG_TYPE, message)
                    .at(key.span(), if other.is_array() { "an array has no names" } else { "which stages?" })
                    .help("write a header `[stages.NAME]` for each stage, and its keys below it");
                reader.report(diagnostic);
                return;
            }
        };
        for (key, value) in Reader::entries(table) {
            if let Some(stage) = StageSyntax::read(reader, key, value) {
                self.stages.push(stage);
            }
        }
    }

    fn check_pools(&self, reader: &mut Reader<'a>) {
        for pool in self.stages.iter().filter_map(|stage| stage.pool.as_ref()) {
            if self.pools.contains_key(pool.text.as_ref()) {
                continue;
            }
            let name = show(&pool.text);
            let diagnostic = Diagnostic::error(code::UNKNOWN_POOL, format!("there is no pool `{name}`"))
                .at(pool.span.clone(), "unknown pool");
            let near = nearest(&pool.text, self.pools.keys().map(String::as_str));
            reader.report(match near {
                Some(near) => diagnostic
                    .help(format!("did you mean `{near}`?"))
                    .patch(pool.span.clone(), format!("\"{near}\"")),
                None if is_bare(&pool.text) => {
                    diagnostic.help(format!("write `{name} = 2` in the table `[pools]`"))
                }
                None => diagnostic.help(format!("write `\"{name}\" = 2` in the table `[pools]`")),
            });
        }
    }
}

/// Returns whether a key can be written without quotes.
fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl<'a> Reader<'a> {
    /// Checks the name of a pipeline or a stage.
    pub(super) fn name(&mut self, text: &Text<'a>) -> Option<Name> {
        match text.text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let error: cairn_model::NameError = error;
                let diagnostic =
                    Diagnostic::error(code::BAD_NAME, format!("`{}` is not a name", show(&text.text)))
                        .at(text.span.clone(), "not a name")
                        .help(error.help());
                self.report(diagnostic);
                None
            }
        }
    }

    pub(super) fn shell(&mut self, value: &Value<'a>) -> Option<Vec<String>> {
        if let DeValue::String(text) = value.get_ref() {
            let words: Vec<String> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
            let array = format!("[{}]", words.join(", "));
            let diagnostic =
                Diagnostic::error(code::WRONG_TYPE, "`shell` must be an array of strings, not a string")
                    .at(value.span(), "this is a string")
                    .help("write the program and each argument by itself; the text of `run` comes last")
                    .patch(value.span(), array);
            self.report(diagnostic);
            return None;
        }
        let words = self.texts("`shell`", value).whole()?;
        if words.first().is_none_or(|program| program.text.is_empty()) {
            let help = "write for example `[\"bash\", \"-euo\", \"pipefail\", \"-c\"]`";
            self.bad_value("`shell` names no program", "no program", value.span(), help);
            return None;
        }
        Some(words.into_iter().map(|word| word.text.into_owned()).collect())
    }

    pub(super) fn sandbox(&mut self, what: &str, value: &Value<'a>) -> Option<SandboxChoice> {
        const WORDS: [&str; 3] = ["auto", "private", "off"];
        let text = self.text_or(what, "`\"auto\"`, `\"private\"` or `\"off\"`", value)?;
        let choice = match text.text.as_ref() {
            "auto" => SandboxChoice::Auto,
            "off" => SandboxChoice::Off,
            "private" => SandboxChoice::Private,
            later @ ("confine" | "hermetic") => {
                let diagnostic =
                    Diagnostic::error(code::NOT_YET, format!("the sandbox `{later}` is not supported yet"))
                        .at(text.span.clone(), "comes in a later version")
                        .help("write `\"auto\"`, which takes the strongest there is")
                        .patch(text.span, "\"auto\"");
                self.report(diagnostic);
                return None;
            }
            other => {
                let message = format!("`{}` is no sandbox", show(other));
                let diagnostic =
                    Diagnostic::error(code::BAD_VALUE, message).at(text.span.clone(), "unknown word");
                self.report(match nearest(other, WORDS) {
                    Some(near) => diagnostic
                        .help(format!("did you mean `{near}`?"))
                        .patch(text.span, format!("\"{near}\"")),
                    None => diagnostic.help("write `\"auto\"`, `\"private\"` or `\"off\"`"),
                });
                return None;
            }
        };
        Some(choice)
    }

    fn required_level(&mut self, choice: SandboxChoice, value: &Value<'a>) -> Option<Level> {
        match choice {
            SandboxChoice::Off => Some(Level::Off),
            SandboxChoice::Private => Some(Level::Private),
            SandboxChoice::Confine => Some(Level::Confine),
            SandboxChoice::Hermetic => Some(Level::Hermetic),
            SandboxChoice::Auto => {
                let help = "write `\"private\"`, or remove the key";
                self.bad_value(
                    "`sandbox_require` needs a level",
                    "`auto` requires nothing",
                    value.span(),
                    help,
                );
                None
            }
        }
    }

    fn workdir(&mut self, value: &Value<'a>) -> Option<At<ProjectPath>> {
        let text = self.filled_text("`workdir`", value)?;
        if text.text.split('/').all(|part| part == ".") {
            return None;
        }
        match ProjectPath::parse(&text.text) {
            Ok(path) => Some(At { value: path, span: text.span }),
            Err(error) => {
                let diagnostic = Diagnostic::error(
                    code::BAD_PATH,
                    format!("`workdir` is `{}`: {error}", show(&text.text)),
                )
                .at(text.span, error.to_string())
                .help(
                    "`workdir` is a folder below the one that holds this file; put the file above its data",
                );
                self.report(diagnostic);
                None
            }
        }
    }
}
