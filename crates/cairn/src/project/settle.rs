//! From words on the command line to a pipeline: `[FILE] [STAGE…]`, where FILE may be left out.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{PIPELINE, PipelineFile, Project, SETTINGS, unreadable};
use crate::args::Globals;
use crate::failure::Failure;
use crate::terminal::{Terminal, text};

/// What the words on a command line mean.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The pipeline.
    pub(crate) pipeline: PipelineFile,
    /// The words after FILE, or all where it was left out: stages and instances, not looked at yet.
    pub(crate) stages: Vec<String>,
    /// Whether the first of `stages` might have been meant as FILE.
    pub(crate) file_left_out: bool,
}

impl Project {
    /// Settles which pipeline `words` are about.
    ///
    /// The first word is FILE when it looks like a path (a `/`, `.toml` at the end, a folder with a `pipeline.toml`), or
    /// when it is the name of one of the project's pipelines. Else all words are stages of the only pipeline.
    pub(crate) fn settle(
        &self,
        words: &[String],
        globals: &Globals,
        terminal: &Terminal,
    ) -> Result<Settled, Failure> {
        if let Some((first, rest)) = words.split_first() {
            let file = self.cwd().join(first);
            let path_like = first.contains('/')
                || first == "."
                || first == ".."
                || Path::new(first).extension().is_some_and(|extension| extension == "toml");
            if path_like || file.join(PIPELINE).is_file() {
                let pipeline = self.pipeline_at(first, &file, globals, terminal)?;
                return Ok(Settled { pipeline, stages: rest.to_vec(), file_left_out: false });
            }
        }
        let pipelines = self.pipelines();
        let names: Vec<String> = pipelines.iter().map(name).collect();
        if let Some((first, rest)) = words.split_first() {
            let mut called = pipelines.iter().zip(&names).filter(|(_, name)| *name == first);
            match (called.next(), called.next()) {
                (Some((pipeline, _)), None) => {
                    let pipeline = pipeline.clone();
                    return Ok(Settled { pipeline, stages: rest.to_vec(), file_left_out: false });
                }
                (Some((one, _)), Some((other, _))) => {
                    return Err(Failure::wrong(format!("two pipelines are called `{first}`"))
                        .note(format!("they are `{}` and `{}`", one.shown, other.shown))
                        .help("name the file"));
                }
                (None, _) => {}
            }
        }
        if pipelines.len() != 1
            && let Some(first) = words.first().filter(|first| self.cwd().join(first).is_dir())
        {
            return Err(self.empty_folder(first));
        }
        match pipelines.as_slice() {
            [] => Err(self.nothing(words.first())),
            [only] => Ok(Settled { pipeline: only.clone(), stages: words.to_vec(), file_left_out: true }),
            several => {
                let known: Vec<String> = names.clone();
                let Some(first) = words.first() else {
                    return Err(Failure::wrong(format!(
                        "there are {} pipelines here: which one?",
                        several.len()
                    ))
                    .help(format!("name one: {}", text::list(&known))));
                };
                let near = text::nearest(first, known.iter().map(String::as_str));
                let help = if near.is_empty() {
                    format!("the pipelines are {}", text::list(&known))
                } else {
                    format!("did you mean {}?", text::list(&near))
                };
                Err(Failure::wrong(format!("there is no pipeline `{first}`"))
                    .note(format!(
                        "looked for a folder `{first}` with a `{PIPELINE}`, and for a pipeline of that name in `{}`",
                        self.shown(&self.root)
                    ))
                    .help(help))
            }
        }
    }

    /// Finds the pipeline at a path that was given.
    fn pipeline_at(
        &self,
        given: &str,
        path: &Path,
        globals: &Globals,
        terminal: &Terminal,
    ) -> Result<PipelineFile, Failure> {
        let file = if path.is_dir() { path.join(PIPELINE) } else { path.to_owned() };
        match std::fs::metadata(&file) {
            Ok(meta) if meta.is_file() => {}
            Ok(_) => return Err(Failure::wrong(format!("`{given}` is no regular file"))),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unreadable(&self.shown(&file), &error));
            }
            Err(_) if path.is_dir() => return Err(self.empty_folder(given)),
            Err(_) => {
                return Err(Failure::wrong(format!("there is no file `{given}`"))
                    .maybe_help(self.known_pipelines(Some(given))));
            }
        }
        if file.file_name().is_some_and(|name| name == SETTINGS) {
            return Err(Failure::wrong(format!("`{given}` holds the project's settings, not a pipeline"))
                .maybe_help(self.known_pipelines(None)));
        }
        // Through `..` and the like, but not through a link that is the file itself: paths in it are relative to where
        // it was found.
        let folder = super::real(file.parent().unwrap_or(Path::new("/")))?;
        let file = folder.join(file.file_name().unwrap_or_default());
        let project = if globals.project.is_some() {
            if !folder.starts_with(&self.root) {
                let root = self.shown(&self.root);
                return Err(Failure::wrong(format!("`{given}` lies outside of the project `{root}`"))
                    .help("leave `--project` away, or name a file of that project"));
            }
            return self.describe(&file);
        } else {
            Self::at(&folder, globals, self.cwd().to_owned(), terminal)?
        };
        project.describe(&file)
    }

    fn empty_folder(&self, given: &str) -> Failure {
        Failure::wrong(format!("the folder `{given}` holds no `{PIPELINE}`"))
            .maybe_help(self.known_pipelines(None))
    }

    fn nothing(&self, word: Option<&String>) -> Failure {
        let root = self.shown(&self.root);
        let message = match word {
            Some(word) => format!("there is no pipeline `{word}`"),
            None => "there is no pipeline here".to_owned(),
        };
        Failure::wrong(message)
            .note(format!(
                "looked for `{PIPELINE}`, `*.toml` with stages, and `pipelines/` in `{root}`, and for `{SETTINGS}` in it \
                 and the folders above"
            ))
            .help("`cairn init` makes a first one here; or name a file")
    }

    fn known_pipelines(&self, near: Option<&str>) -> Option<String> {
        let shown: Vec<String> = self.pipelines().into_iter().map(|pipeline| pipeline.shown).collect();
        if let Some(near) = near {
            let nearest = text::nearest(near, shown.iter().map(String::as_str));
            if !nearest.is_empty() {
                return Some(format!("did you mean {}?", text::list(&nearest)));
            }
        }
        (!shown.is_empty()).then(|| format!("the pipelines here are {}", text::list(&shown)))
    }
}

/// Returns the name by which a pipeline is called: the one it says, else that of its file or folder. A file with errors
/// still has one, so that it can be named and its errors be told.
pub(crate) fn name(pipeline: &PipelineFile) -> String {
    let bytes = super::read_bounded(&pipeline.path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let (table, _) = DeTable::parse_recoverable(&text);
    let said = match table.get_ref().get("pipeline").map(toml::Spanned::get_ref) {
        Some(DeValue::Table(head)) => match head.get("name").map(toml::Spanned::get_ref) {
            Some(DeValue::String(name)) => Some(name.to_string()),
            _ => None,
        },
        _ => None,
    };
    said.unwrap_or_else(|| pipeline.default_name.clone())
}

#[cfg(test)]
mod tests;
