//! Texts that are paths.

use cairn_model::ProjectPath;

use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Span, show};
use crate::{Glob, GlobError};

/// A filled text of an input.
pub(super) enum PathOrGlob {
    Path(ProjectPath),
    Glob(Glob),
}

pub(super) fn input(text: &str, span: &Span) -> Result<PathOrGlob, Box<Diagnostic>> {
    if Glob::is_glob(text) {
        return match Glob::parse(text) {
            Ok(glob) => Ok(PathOrGlob::Glob(glob)),
            Err(GlobError::Path(error)) => Err(bad_path("the input", text, error, span)),
            Err(error) => {
                let diagnostic = Diagnostic::error(code::BAD_GLOB, format!("`{}` is no pattern", show(text)));
                Err(Box::new(diagnostic.at(span.clone(), error.to_string()).help(error.help())))
            }
        };
    }
    let path = ProjectPath::parse(&Glob::unescape(text))
        .map_err(|error| bad_path("the input", text, error, span))?;
    Ok(PathOrGlob::Path(path))
}

/// Parses an output's path, and says whether it is a folder.
pub(super) fn output(text: &str, span: &Span) -> Result<(ProjectPath, bool), Box<Diagnostic>> {
    if Glob::is_glob(text) {
        let diagnostic = Diagnostic::error(
            code::BAD_GLOB,
            format!("the output `{}` is a pattern", show(text)),
        )
        .at(span.clone(), "which files?")
        .help(
            "name each file, or the folder that holds them with a closing `/`; in single quotes `\\*` stands for `*` itself",
        );
        return Err(Box::new(diagnostic));
    }
    let path = ProjectPath::parse(&Glob::unescape(text))
        .map_err(|error| bad_path("the output", text, error, span))?;
    Ok((path, text.ends_with('/')))
}

fn bad_path(what: &str, text: &str, error: cairn_model::PathError, span: &Span) -> Box<Diagnostic> {
    let message = format!("{what} `{}` is not in the project", show(text));
    Box::new(
        Diagnostic::error(code::BAD_PATH, message).at(span.clone(), error.to_string()).help(error.help()),
    )
}
