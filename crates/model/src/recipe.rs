//! A recipe: all that may decide an instance's result; its digest is the input-hash.
//!
//! | in the recipe | as |
//! | --- | --- |
//! | key format version | `key-version`, integer |
//! | rendered command, shell | `command`, `shell`: texts in order |
//! | `env` | `env`: a text each |
//! | `pass_env` | `pass-env`: a text each, or unset |
//! | `tools` | `tools`: the bytes each prints |
//! | inputs | `inputs`: by name and path: kind, executable bit, link text, content digest, or a value |
//! | outputs | `outputs`: by name and path: kind |
//! | `salt` | `salt` |
//! | `records` | `records`: source, key, version, tombstone, sinks; absent for other stages |
//! | platform | `platform` |
//! | mode and key of an effect | `effect`: `mode`, and `key` or none; only where there is an effect |
//!
//! Not in it: names of pipeline, stage and instance; their order; anything about time, host, user, absolute paths;
//! retries, timeouts, resources, priority, sandbox. [`Recipe::encode`] destructures the type without `..`, so a field
//! that nobody placed does not compile.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::canonical::{self, DecodeError, Encoder, Part};
use crate::{Digest, Domain, EffectMode, FieldPath, Format, OnChange, ProjectPath, Records, Sink, SinkPlace};

/// Version of the encoding below. A change of it makes all checkpoints of before unreachable.
pub const KEY_VERSION: i64 = 1;

/// BLAKE3 digest of all that may decide an instance's result: 32 bytes, shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputHash(Digest);

impl InputHash {
    /// Hashes a recipe's encoding.
    pub fn of_preimage(preimage: &[u8]) -> Self {
        Self(Domain::InputHash.digest(preimage))
    }

    /// Wraps a stored digest.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }

    /// Returns the first 12 hex digits.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for InputHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for InputHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InputHash({})", self.short())
    }
}

/// A command, rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A text for a shell: the program and arguments before it, then the text as the last argument.
    Shell {
        /// For example `["bash", "-euo", "pipefail", "-c"]`.
        shell: Vec<String>,
        /// The text.
        script: String,
    },
    /// A program and its arguments, without a shell.
    Argv(Vec<String>),
}

impl Command {
    /// Returns the program and its arguments.
    pub fn argv(&self) -> Vec<&str> {
        match self {
            Self::Shell { shell, script } => {
                shell.iter().map(String::as_str).chain([script.as_str()]).collect()
            }
            Self::Argv(argv) => argv.iter().map(String::as_str).collect(),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell { script, .. } => f.write_str(script),
            Self::Argv(argv) => f.write_str(&argv.join(" ")),
        }
    }
}

/// What one input turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipeInput {
    /// A file's bytes.
    File {
        /// Digest of the bytes.
        digest: Digest,
        /// Whether its owner may execute it.
        executable: bool,
        /// What the link says, where the input is a link to the file.
        link: Option<Vec<u8>>,
    },
    /// A folder with all below it.
    Folder {
        /// Digest of its entries, see [`crate::Tree::digest`].
        digest: Digest,
        /// What the link says, where the input is a link to the folder.
        link: Option<Vec<u8>>,
    },
    /// An optional input that is not there.
    Missing,
    /// The caller's environment variable of the input's key, `None` when unset.
    Environment(Option<String>),
    /// What a command printed.
    Printed(Vec<u8>),
}

/// Where an input stands in a recipe: its name, empty in a plain list, and its path, variable or command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputKey {
    /// The name in the inputs' table, empty in a list.
    pub name: String,
    /// The path as the stage sees it, the variable's name, or the command's text.
    pub subject: String,
}

impl fmt::Display for InputKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            f.write_str(&self.subject)
        } else {
            write!(f, "{}={}", self.name, self.subject)
        }
    }
}

/// What an output is declared to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OutputKind {
    /// A file that the command writes.
    File,
    /// A folder that the command fills.
    Folder,
    /// A file that takes the command's standard output.
    Stdout,
}

impl OutputKind {
    const fn tag(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Stdout => "stdout",
        }
    }
}

/// All that may decide an instance's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The rendered command.
    pub command: Command,
    /// Declared variables.
    pub env: BTreeMap<String, String>,
    /// Variables taken from the caller, `None` when unset.
    pub pass_env: BTreeMap<String, Option<String>>,
    /// What each tool prints as its version.
    pub tools: BTreeMap<String, Vec<u8>>,
    /// Inputs by name and path.
    pub inputs: BTreeMap<InputKey, RecipeInput>,
    /// Declared outputs by path, with the name in the outputs' table (empty in a list).
    pub outputs: BTreeMap<ProjectPath, (String, OutputKind)>,
    /// A text whose only use is to change the hash.
    pub salt: Option<String>,
    /// Operating system and processor: `linux-x86_64`.
    pub platform: String,
    /// How the effect is done and the key that identifies it, if it is not the input-hash.
    pub effect: Option<(EffectMode, Option<String>)>,
    /// What a records stage does.
    pub records: Option<Records>,
}

impl Recipe {
    /// Returns the canonical encoding: the preimage of the input-hash.
    pub fn encode(&self) -> Vec<u8> {
        let Self { command, env, pass_env, tools, inputs, outputs, salt, platform, records, effect } = self;
        let mut to = Encoder::new();
        to.integer("key-version", KEY_VERSION);
        let list = |to: &mut Encoder, tag: &str, items: &[String]| {
            to.group(tag, |to| {
                for item in items {
                    to.text("", item);
                }
            });
        };
        match command {
            Command::Shell { shell, script } => {
                list(&mut to, "shell", shell);
                to.text("command", script);
            }
            Command::Argv(argv) => {
                to.absent("shell");
                list(&mut to, "command", argv);
            }
        }
        to.group("env", |to| {
            for (name, value) in env {
                to.text(name, value);
            }
        });
        to.group("pass-env", |to| {
            for (name, value) in pass_env {
                to.text_or_absent(name, value.as_deref());
            }
        });
        to.group("tools", |to| {
            for (name, printed) in tools {
                to.bytes(name, printed);
            }
        });
        to.group("inputs", |to| {
            for (InputKey { name, subject }, input) in inputs {
                to.group(name, |to| {
                    to.group(subject, |to| encode_input(to, input));
                });
            }
        });
        to.group("outputs", |to| {
            for (path, (name, kind)) in outputs {
                to.group(name, |to| {
                    to.text(path.as_str(), kind.tag());
                });
            }
        });
        to.text_or_absent("salt", salt.as_deref());
        to.text("platform", platform);
        // Where there is none nothing is written, so that stages without effects keep their hashes.
        if let Some((mode, key)) = effect {
            to.group("effect", |to| {
                to.text("mode", mode.as_str());
                if let Some(key) = key {
                    to.text("key", key);
                }
            });
        }
        // Stages of other kinds have no such part, so that their hashes are those of before there were records.
        if let Some(records) = records {
            to.group("records", |to| encode_records(to, records));
        }
        to.finish()
    }

    /// Returns the digest of the encoding.
    pub fn input_hash(&self) -> InputHash {
        InputHash::of_preimage(&self.encode())
    }
}

fn encode_input(to: &mut Encoder, input: &RecipeInput) {
    let link = |to: &mut Encoder, link: &Option<Vec<u8>>| {
        if let Some(link) = link {
            to.bytes("link", link);
        }
    };
    match input {
        RecipeInput::File { digest, executable, link: target } => {
            to.text("kind", "file").digest("content", digest).boolean("executable", *executable);
            link(to, target);
        }
        RecipeInput::Folder { digest, link: target } => {
            to.text("kind", "folder").digest("content", digest);
            link(to, target);
        }
        RecipeInput::Missing => {
            to.text("kind", "missing");
        }
        RecipeInput::Environment(value) => {
            to.text("kind", "env").text_or_absent("value", value.as_deref());
        }
        RecipeInput::Printed(printed) => {
            to.text("kind", "command").bytes("printed", printed);
        }
    }
}

/// How many workers there are, how long they may take, how much goes into a batch and how often a record is tried decide
/// nothing about a result; the worker is the recipe's command.
fn encode_records(to: &mut Encoder, records: &Records) {
    let Records {
        source,
        format,
        key,
        version,
        tombstone,
        worker: _,
        workers: _,
        worker_timeout_ms: _,
        batch: _,
        on_change,
        retries: _,
        commit: _,
        sinks,
    } = records;
    let fields = |to: &mut Encoder, tag: &str, fields: &[FieldPath]| {
        to.group(tag, |to| {
            for field in fields {
                to.text("", &field.to_string());
            }
        });
    };
    to.text("source", source);
    to.text_or_absent("format", format.map(Format::as_str));
    fields(to, "key", key);
    to.text_or_absent("version", version.as_ref().map(ToString::to_string).as_deref());
    to.text_or_absent("tombstone", tombstone.as_ref().map(ToString::to_string).as_deref());
    to.boolean("reprocess", *on_change == OnChange::Reprocess);
    for (number, Sink { place, mode, key, columns }) in sinks.iter().enumerate() {
        to.group(&format!("sink {}", number + 1), |to| {
            to.text("type", place.kind()).text("mode", mode.as_str());
            match place {
                SinkPlace::File { path, format: _ } => {
                    to.text("path", path.as_str());
                }
                SinkPlace::Sqlite { path, table } => {
                    to.text("path", &path.0).text("table", table);
                }
                SinkPlace::Postgres { url, table } => {
                    to.text("url", &url.0).text("table", table);
                }
                SinkPlace::Http { url, method, batched, headers: _ } => {
                    to.text("url", &url.0).text("method", method).boolean("batched", *batched);
                }
            }
            fields(to, "key", key);
            to.group("columns", |to| {
                for (name, kind) in columns {
                    to.text(name, kind);
                }
            });
        });
    }
}

/// One difference between two recipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The tags that lead to the part, for example `["inputs", "raw", "data/a.csv", "content"]`.
    pub tags: Vec<String>,
    /// The value in the first, `None` where the first has no such part.
    pub before: Option<canonical::Value>,
    /// The value in the second.
    pub after: Option<canonical::Value>,
}

impl Difference {
    /// Says in a few words what changed, for a line in a plan: "input `clean.awk` changed".
    pub fn summary(&self) -> String {
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        let verb = match (&self.before, &self.after) {
            (None, _) => "is new",
            (_, None) => "is gone",
            _ => "changed",
        };
        match tags.as_slice() {
            ["command", ..] => "the command changed".to_owned(),
            ["shell", ..] => "the shell changed".to_owned(),
            ["env", name] => format!("env `{name}` {verb}"),
            ["pass-env", name] => format!("environment variable `{name}` {verb}"),
            ["tools", name] => format!("tool `{name}` {verb}"),
            // Of one that is new or gone everything differs: that is one thing to say.
            ["inputs", _, subject, "executable"] if verb == "changed" => {
                format!("the executable bit of `{subject}` changed")
            }
            ["inputs", _, subject, ..] => format!("input `{subject}` {verb}"),
            ["effect", part] => format!("the effect's {part} {verb}"),
            ["records", ..] => "what is done with records changed".to_owned(),
            ["outputs", _, path] => format!("output `{path}` {verb}"),
            [only] => format!("the {only} {verb}"),
            _ => format!("`{}` {verb}", tags.join(".")),
        }
    }
}

/// Compares two preimages part by part.
pub fn differences(before: &[u8], after: &[u8]) -> Result<Vec<Difference>, DecodeError> {
    let numbered =
        |preimage: &[u8]| -> Result<BTreeMap<(Vec<String>, usize), canonical::Value>, DecodeError> {
            let mut seen: BTreeMap<Vec<String>, usize> = BTreeMap::new();
            let parts = canonical::decode(preimage)?;
            // Parts of a list share their tags; their place in it tells them apart. An empty list has no part.
            let parts = parts.into_iter().filter(|part| part.value != canonical::Value::Empty);
            Ok(parts
                .map(|Part { tags, value }| {
                    let number = seen.entry(tags.clone()).or_default();
                    *number += 1;
                    ((tags, *number), value)
                })
                .collect())
        };
    let (mut before, after) = (numbered(before)?, numbered(after)?);
    let mut differences: Vec<((Vec<String>, usize), Difference)> = Vec::new();
    for (key, value) in after {
        let old = before.remove(&key);
        if old.as_ref() != Some(&value) {
            let difference = Difference { tags: key.0.clone(), before: old, after: Some(value) };
            differences.push((key, difference));
        }
    }
    for (key, value) in before {
        let difference = Difference { tags: key.0.clone(), before: Some(value), after: None };
        differences.push((key, difference));
    }
    differences.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(differences.into_iter().map(|(_, difference)| difference).collect())
}

#[cfg(test)]
mod tests;
