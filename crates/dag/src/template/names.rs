//! The names that a template may use, and what is wrong with one that it may not.

use std::ops::Range;

use super::holes::{Below, Reference};
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Span, Text, nearest, show};

/// What is known in one place of a definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'n> {
    /// The place, for messages: "an input's path".
    pub place: &'static str,
    /// Names of params, `None` where they could not be read, so that any name may be right.
    pub params: Option<&'n [&'n str]>,
    /// Names of the matrix, `None` outside of stages.
    pub matrix: Option<&'n [&'n str]>,
    pub inputs: Part<'n>,
    pub outputs: Part<'n>,
    /// Whether `stage` means something.
    pub stage: bool,
    /// Whether `env` means something: only in the address of a sink.
    pub environment: bool,
}

/// Inputs or outputs of a stage.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'n> {
    /// They mean nothing in this place.
    NotHere,
    /// They could not be read, so that any name may be right.
    Unknown,
    /// A list, each element with what it is.
    List(&'n [What<'n>]),
    /// A table, each name with what it is.
    Table(&'n [(&'n str, What<'n>)]),
}

/// What an input or output is for a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What<'n> {
    /// One path.
    Path,
    /// A pattern.
    Glob(&'n str),
    /// A variable of the caller.
    Environment(&'n str),
    /// What a command prints.
    Command,
    /// All outputs of a stage.
    Stage(&'n str),
}

const ROOTS: [&str; 7] = ["params", "matrix", "inputs", "outputs", "stage", "run", "interval"];
const STAGE: [&str; 2] = ["name", "instance"];
const RUN: [&str; 2] = ["logical_time", "id"];
const INTERVAL: [&str; 2] = ["start", "end"];
const FUNCTIONS: [&str; 2] = ["range", "dict"];

impl Names<'_> {
    /// Checks one name; `inside` is the expression's place in `text`.
    pub(super) fn check(
        &self,
        reference: &Reference<'_>,
        inside: &Range<usize>,
        text: &Text<'_>,
        file: &str,
    ) -> Option<Diagnostic> {
        let span = |at: &Range<usize>| text.span_of(inside.start + at.start..inside.start + at.end, file);
        if reference.called {
            return check_function(reference, span(&reference.root_at));
        }
        let candidates: Vec<&str> = match reference.root {
            "params" => self.params?.to_vec(),
            "matrix" => match self.matrix {
                Some([]) => {
                    let diagnostic =
                        Diagnostic::error(code::UNKNOWN_TEMPLATE_NAME, "the stage has no matrix")
                            .at(span(&reference.root_at), "no `matrix` here")
                            .help("write `matrix = { name = [\"a\", \"b\"] }` in the stage");
                    return Some(diagnostic);
                }
                Some(names) => names.to_vec(),
                None => return Some(self.not_here(reference, span(&reference.root_at))),
            },
            "inputs" | "outputs" => {
                let part = if reference.root == "inputs" { self.inputs } else { self.outputs };
                match part {
                    Part::NotHere => return Some(self.not_here(reference, span(&reference.root_at))),
                    Part::Unknown => return None,
                    Part::List(items) => return check_list(reference, items.len(), &span),
                    Part::Table(items) => items.iter().map(|(name, _)| *name).collect(),
                }
            }
            "stage" if self.stage => STAGE.to_vec(),
            "stage" => return Some(self.not_here(reference, span(&reference.root_at))),
            "run" => RUN.to_vec(),
            "interval" => INTERVAL.to_vec(),
            "env" if self.environment => {
                return reference.name().is_none().then(|| {
                    Diagnostic::error(code::UNKNOWN_TEMPLATE_NAME, "`env` names no variable")
                        .at(span(&reference.root_at), "which one?")
                        .help("write `env.NAME`")
                });
            }
            _ => return Some(self.unknown_root(reference, span(&reference.root_at))),
        };
        match &reference.below {
            Some((Below::Name(name), at)) if !candidates.contains(name) => {
                Some(unknown_name(reference.root, name, &candidates, span(at)))
            }
            Some((Below::Index(_), at)) => {
                let root = reference.root;
                let diagnostic = Diagnostic::error(
                    code::UNKNOWN_TEMPLATE_NAME,
                    format!("`{root}` is a table, not a list"),
                )
                .at(span(at), "a number")
                .help(self.examples(root));
                Some(diagnostic)
            }
            // A whole table may be passed to a filter; alone it is refused when its value is known.
            Some(_) | None => None,
        }
    }

    /// Says what to write below a name.
    pub(super) fn examples(&self, root: &str) -> String {
        let (names, list): (Vec<&str>, bool) = match (root, self.inputs, self.outputs) {
            ("params", ..) => (self.params.unwrap_or_default().to_vec(), false),
            ("matrix", ..) => (self.matrix.unwrap_or_default().to_vec(), false),
            ("stage", ..) => (STAGE.to_vec(), false),
            ("run", ..) => (RUN.to_vec(), false),
            ("interval", ..) => (INTERVAL.to_vec(), false),
            ("inputs", Part::Table(items), _) | ("outputs", _, Part::Table(items)) => {
                (items.iter().map(|(name, _)| *name).collect(), false)
            }
            ("inputs", Part::List(items), _) | ("outputs", _, Part::List(items)) => {
                (Vec::new(), !items.is_empty())
            }
            _ => (Vec::new(), false),
        };
        match (names.as_slice(), list) {
            (_, true) => format!("write `{root}[0]` for the first"),
            ([], false) => format!("define what `{root}` is to hold first"),
            (names, false) => {
                let shown: Vec<String> =
                    names.iter().take(8).map(|name| format!("`{root}.{name}`")).collect();
                format!("write {}", shown.join(" or "))
            }
        }
    }

    /// Says what is wrong when a name means an input that is not one path.
    pub(super) fn no_single_path(
        &self,
        reference: &Reference<'_>,
        inside: &Range<usize>,
        text: &Text<'_>,
        file: &str,
    ) -> Option<Diagnostic> {
        if reference.root != "inputs" {
            return None;
        }
        let what = match (&self.inputs, &reference.below) {
            (Part::List(items), Some((Below::Index(index), _))) => *items.get(*index)?,
            (Part::Table(items), Some((Below::Name(name), _))) => {
                items.iter().find(|(known, _)| known == name)?.1
            }
            _ => return None,
        };
        let (is, help) = match what {
            What::Path => return None,
            What::Glob(pattern) => (
                format!("the pattern `{}`, not one path", show(pattern)),
                format!("write the pattern itself in a shell text, which expands it: `{}`", show(pattern)),
            ),
            What::Environment(variable) => (
                format!("the variable `{variable}`, not a path"),
                format!("write `pass_env = [\"{variable}\"]` and use `\"${variable}\"` in the text"),
            ),
            What::Command => (
                "what a command prints, not a path".to_owned(),
                "run the command in the text as well".to_owned(),
            ),
            What::Stage(stage) => (
                format!("all outputs of `{}`, not one path", show(stage)),
                "write the path of the output as an input of its own".to_owned(),
            ),
        };
        let end = reference.below.as_ref().map_or(reference.root_at.end, |(_, at)| at.end);
        let at = inside.start + reference.root_at.start..inside.start + end;
        let diagnostic = Diagnostic::error(code::NAME_NOT_HERE, format!("this input is {is}"))
            .at(text.span_of(at, file), "cannot be put into a text")
            .help(help);
        Some(diagnostic)
    }

    fn not_here(&self, reference: &Reference<'_>, span: Span) -> Diagnostic {
        let root = reference.root;
        let mut usable = vec!["`params`"];
        if self.matrix.is_some() {
            usable.push("`matrix`");
        }
        if self.stage {
            usable.push("`stage`");
        }
        usable.extend(["`run`", "`interval`"]);
        Diagnostic::error(code::NAME_NOT_HERE, format!("`{root}` means nothing in {}", self.place))
            .at(span, "not here")
            .help(format!("use {}", usable.join(", ")))
    }

    fn unknown_root(&self, reference: &Reference<'_>, span: Span) -> Diagnostic {
        let root = reference.root;
        let error = |message: String| Diagnostic::error(code::UNKNOWN_TEMPLATE_NAME, message);
        match root {
            "item" => {
                return Diagnostic::error(code::NOT_YET, "`item` is not supported yet")
                    .at(span, "comes in a later version")
                    .help("list the values in a `matrix`");
            }
            "env" | "secrets" | "environ" => {
                let name = reference.name().unwrap_or("NAME");
                return error(format!("`{root}` is not a name in templates"))
                    .at(span, "unknown name")
                    .help(format!("write `pass_env = [\"{name}\"]` and use `\"${name}\"` in the text"));
            }
            _ => {}
        }
        // A param or input written without the table it is in is the commonest slip of all.
        let tables: [(&str, Vec<&str>); 4] = [
            ("params", self.params.unwrap_or_default().to_vec()),
            ("matrix", self.matrix.unwrap_or_default().to_vec()),
            ("inputs", part_names(self.inputs)),
            ("outputs", part_names(self.outputs)),
        ];
        let diagnostic = error(format!("there is no name `{}`", show(root))).at(span.clone(), "unknown name");
        if reference.below.is_none()
            && let Some((table, _)) = tables.iter().find(|(_, names)| names.contains(&root))
        {
            let full = format!("{table}.{root}");
            return diagnostic.help(format!("write `{full}`")).patch(span, full);
        }
        if let Some(near) = nearest(root, ROOTS) {
            return diagnostic.help(format!("did you mean `{near}`?")).patch(span, near);
        }
        match root {
            "param" | "var" | "vars" | "parameters" => diagnostic.help("write `params`").patch(span, "params"),
            "input" | "deps" => diagnostic.help("write `inputs`").patch(span, "inputs"),
            "output" | "outs" => diagnostic.help("write `outputs`").patch(span, "outputs"),
            _ => diagnostic.help(
                "the names are `params`, `matrix`, `inputs`, `outputs`, `stage`, `run` and `interval`; for `{{` itself write `{{ \"{{\" }}`",
            ),
        }
    }
}

fn check_function(reference: &Reference<'_>, span: Span) -> Option<Diagnostic> {
    if FUNCTIONS.contains(&reference.root) {
        return None;
    }
    let message = format!("there is no function `{}`", show(reference.root));
    let diagnostic = Diagnostic::error(code::UNKNOWN_TEMPLATE_NAME, message).at(span, "unknown function");
    Some(match reference.root {
        "now" | "today" | "utcnow" => {
            diagnostic.help("the clock is in no template: write `run.logical_time` or `interval.end`, which are fixed for a run")
        }
        "env" | "getenv" => diagnostic.help("write `pass_env = [\"NAME\"]` and use `\"$NAME\"` in the text"),
        _ => diagnostic.help("compute it in the command"),
    })
}

fn part_names(part: Part<'_>) -> Vec<&str> {
    match part {
        Part::Table(items) => items.iter().map(|(name, _)| *name).collect(),
        Part::List(_) | Part::NotHere | Part::Unknown => Vec::new(),
    }
}

fn check_list(
    reference: &Reference<'_>,
    length: usize,
    span: &dyn Fn(&Range<usize>) -> Span,
) -> Option<Diagnostic> {
    let root = reference.root;
    let error = |message: String| Diagnostic::error(code::UNKNOWN_TEMPLATE_NAME, message);
    match &reference.below {
        Some((Below::Name(name), at)) => Some(
            error(format!("`{root}` is a list: nothing in it has the name `{}`", show(name)))
                .at(span(at), "no name")
                .help(format!(
                    "write `{root}[0]`, or make it a table: `{root} = {{ {} = \"…\" }}`",
                    show(name)
                )),
        ),
        Some((Below::Index(index), at)) if *index >= length => Some(
            error(format!("`{root}[{index}]` does not exist: there are {length}"))
                .at(span(at), "too large")
                .help("count from 0"),
        ),
        Some(_) | None => None,
    }
}

fn unknown_name(root: &str, name: &str, candidates: &[&str], span: Span) -> Diagnostic {
    let message = format!("there is no `{root}.{}`", show(name));
    let diagnostic = Diagnostic::error(code::UNKNOWN_TEMPLATE_NAME, message).at(span.clone(), "unknown name");
    if let Some(near) = nearest(name, candidates.iter().copied()) {
        return diagnostic.help(format!("did you mean `{root}.{near}`?")).patch(span, near);
    }
    match (root, candidates) {
        ("params", []) => diagnostic.help(format!("write `{} = …` in the table `[params]`", show(name))),
        (_, []) => diagnostic.help(format!("`{root}` holds nothing")),
        _ => {
            let shown: Vec<String> =
                candidates.iter().take(8).map(|name| format!("`{root}.{name}`")).collect();
            let more = if candidates.len() > 8 { ", …" } else { "" };
            diagnostic.help(format!("there is {}{more}", shown.join(", ")))
        }
    }
}
