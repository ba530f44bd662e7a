//! Who writes what, and that no two write the same.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use cairn_model::OutputKind;

use super::Context;
use crate::code;
use crate::diagnostic::{Diagnostic, Repeated};
use crate::syntax::{Span, show};
use crate::{Entry, Instance, Made};

/// All declared outputs, found by path and by folder.
pub(super) struct Outputs<'i> {
    instances: &'i [Instance],
    exact: HashMap<&'i str, Made>,
    /// By their paths without letter case, only those that these change.
    folded: HashMap<Cow<'i, str>, Made>,
    /// In the order of [`by_parts`], so that what lies in a folder stands together, after the folder.
    sorted: Vec<(&'i str, Made)>,
}

impl<'i> Outputs<'i> {
    pub(super) fn new(instances: &'i [Instance]) -> Self {
        let mut sorted = Vec::new();
        for (number, instance) in (0..).zip(instances) {
            for (output, declared) in (0..).zip(&instance.outputs) {
                sorted.push((declared.path.as_str(), Made { instance: number, output }));
            }
        }
        sorted.sort_unstable_by(|(left, left_made), (right, right_made)| {
            by_parts(left, right).then(left_made.cmp(right_made))
        });
        // Of two writers the first is found; that there are two is an error anyway.
        let exact = sorted.iter().rev().copied().collect();
        let with_case = |(path, made): &(&'i str, Made)| {
            let folded = fold(path);
            (folded != *path).then_some((folded, *made))
        };
        let folded = sorted.iter().rev().filter_map(with_case).collect();
        Self { instances, exact, folded, sorted }
    }

    /// Returns who makes exactly this path.
    pub(super) fn maker(&self, path: &str) -> Option<Made> {
        self.exact.get(path).copied()
    }

    /// Returns who makes the path, or a folder in which it lies, written with other letter case.
    pub(super) fn maker_by_letter_case(&self, path: &str) -> Option<Made> {
        let folded = fold(path);
        let mut rest = folded.as_ref();
        loop {
            let made = self.folded.get(rest).copied().or_else(|| self.maker(rest));
            if let Some(made) = made.filter(|made| rest == folded || self.kind(*made) == OutputKind::Folder) {
                return Some(made);
            }
            rest = rest.rsplit_once('/')?.0;
        }
    }

    /// Returns who makes a folder in which the path lies.
    pub(super) fn maker_of_folder(&self, path: &str) -> Option<Made> {
        let mut rest = path;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            if let Some(made) = self.maker(parent).filter(|made| self.kind(*made) == OutputKind::Folder) {
                return Some(made);
            }
            rest = parent;
        }
        None
    }

    /// Returns the outputs that lie in a folder, `None` for all there are.
    pub(super) fn inside(&self, folder: Option<&str>) -> &[(&'i str, Made)] {
        let Some(folder) = folder else { return &self.sorted };
        let start = self.sorted.partition_point(|(path, _)| by_parts(path, folder) != Ordering::Greater);
        let inside = &self.sorted[start..];
        &inside[..inside.partition_point(|(path, _)| is_in(path, folder))]
    }

    pub(super) fn kind(&self, made: Made) -> OutputKind {
        self.instances[made.instance as usize].outputs[made.output as usize].kind
    }

    /// Returns the paths of all outputs.
    pub(super) fn paths(&self) -> impl Iterator<Item = &'i str> {
        self.sorted.iter().map(|(path, _)| *path)
    }

    /// Reports outputs that clash with each other or that cannot be written.
    pub(super) fn check(&self, context: &Context<'_, '_>, found: &mut Vec<Diagnostic>) {
        let mut repeated = Repeated::default();
        self.check_clashes(context, &mut repeated);
        for (path, made) in &self.sorted {
            let declared = &self.instances[made.instance as usize].outputs[made.output as usize];
            let entry = context.entry(&declared.path);
            if let Some(diagnostic) = unusable("output", path, &entry, context.output_span(*made)) {
                repeated.add(diagnostic);
            }
        }
        found.extend(repeated.finish());
    }

    /// Goes through all paths in order, letter case put aside, and remembers the folders it is in.
    fn check_clashes(&self, context: &Context<'_, '_>, repeated: &mut Repeated) {
        let mut folded: Vec<(Cow<'_, str>, &str, Made)> =
            self.sorted.iter().map(|(path, made)| (fold(path), *path, *made)).collect();
        folded.sort_by(|(left, ..), (right, ..)| by_parts(left, right));
        let mut open: Vec<usize> = Vec::new();
        for at in 0..folded.len() {
            let (path, written, made) = &folded[at];
            while open.last().is_some_and(|last| *path != folded[*last].0 && !is_in(path, &folded[*last].0)) {
                open.pop();
            }
            if let Some(last) = open.last() {
                let (other_path, other_written, other) = &folded[*last];
                repeated.add(if path != other_path {
                    nested(context, (other_written, *other), (written, *made))
                } else if written == other_written {
                    two_writers(context, written, *other, *made)
                } else {
                    case_clash(context, (other_written, *other), (written, *made))
                });
                if written == other_written {
                    continue;
                }
            }
            open.push(at);
        }
    }
}

impl Context<'_, '_> {
    /// Returns where an output stands in the file.
    pub(super) fn output_span(&self, made: Made) -> Span {
        let instance = &self.expanded.instances[made.instance as usize];
        let stage = &self.file.stages[instance.stage as usize];
        match (stage.outputs.good.get(made.output as usize), &stage.stdout) {
            (Some(output), _) => output.path.span.clone(),
            (None, Some(stdout)) => stdout.span.clone(),
            (None, None) => stage.span.clone(),
        }
    }
}

fn two_writers(context: &Context<'_, '_>, path: &str, first: Made, second: Made) -> Diagnostic {
    let (first_at, second_at) = (context.output_span(first), context.output_span(second));
    let (first_name, second_name) = (context.name(first.instance), context.name(second.instance));
    if first_at == second_at {
        let stage = &context.file.stages[context.expanded.instances[first.instance as usize].stage as usize];
        let inserted: Vec<String> = stage
            .matrix
            .iter()
            .flatten()
            .map(|axis| format!("{{{{ matrix.{} }}}}", axis.name.value))
            .collect();
        let example = example_path(path, &inserted.join("-"));
        let message = format!("`{path}` is written by `{first_name}` and by `{second_name}`");
        return Diagnostic::error(code::TWO_WRITERS, message)
            .at(second_at, "the same for several instances")
            .help(format!("put the matrix into the path, for example `{example}`"));
    }
    let same = first.instance == second.instance;
    let message = if same {
        format!("`{path}` is an output of `{first_name}` twice")
    } else {
        format!("`{path}` is written by `{first_name}` and by `{second_name}`")
    };
    let help = if same {
        "remove one of the two"
    } else {
        "give each its own path; a stage that needs both reads both"
    };
    Diagnostic::error(code::TWO_WRITERS, message)
        .at(second_at, format!("written by `{second_name}`"))
        .with(first_at, format!("written by `{first_name}`"))
        .help(help)
}

/// Puts a text before a path's ending.
fn example_path(path: &str, inserted: &str) -> String {
    let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[name_at..].find('.').filter(|dot| *dot > 0) {
        Some(dot) => format!("{}-{inserted}{}", &path[..name_at + dot], &path[name_at + dot..]),
        None => format!("{path}-{inserted}"),
    }
}

/// Why letter case alone tells no paths apart.
const ONE_FILE: &str = "on the filesystems of macOS and Windows they are one file";

/// Says that an input from disk is an output on a filesystem without letter case.
pub(super) fn input_case_clash(context: &Context<'_, '_>, input: &str, at: Span, made: Made) -> Diagnostic {
    let instance = &context.expanded.instances[made.instance as usize];
    let output = instance.outputs[made.output as usize].path.as_str();
    let shown = show(input);
    let message = if fold(input) == fold(output) {
        format!("the input `{shown}` and the output `{}` differ in letter case only", show(output))
    } else {
        format!("letter case alone keeps the input `{shown}` out of the output `{}`", show(output))
    };
    Diagnostic::error(code::CASE_CLASH, message)
        .at(at, "read from disk")
        .with(context.output_span(made), format!("written by `{}`", instance.name))
        .note(ONE_FILE)
        .help("rename one, or write it the same where the same is meant")
}

fn case_clash(context: &Context<'_, '_>, first: (&str, Made), second: (&str, Made)) -> Diagnostic {
    let message =
        format!("the outputs `{}` and `{}` differ in letter case only", show(first.0), show(second.0));
    let (first_name, second_name) = (context.name(first.1.instance), context.name(second.1.instance));
    let (first_at, second_at) = (context.output_span(first.1), context.output_span(second.1));
    let diagnostic = Diagnostic::error(code::CASE_CLASH, message)
        .at(second_at.clone(), format!("written by `{second_name}`"));
    let diagnostic = if first_at == second_at {
        diagnostic
    } else {
        diagnostic.with(first_at, format!("written by `{first_name}`"))
    };
    diagnostic.note(ONE_FILE).help("rename one, or write it the same where the same is meant")
}

fn nested(context: &Context<'_, '_>, outer: (&str, Made), inner: (&str, Made)) -> Diagnostic {
    let (outer_name, inner_name) = (context.name(outer.1.instance), context.name(inner.1.instance));
    let message = format!("the output `{}` lies in the output `{}`", show(inner.0), show(outer.0));
    let (outer_at, inner_at) = (context.output_span(outer.1), context.output_span(inner.1));
    let diagnostic = Diagnostic::error(code::NESTED_OUTPUTS, message)
        .at(inner_at.clone(), format!("written by `{inner_name}`"));
    let diagnostic = if outer_at == inner_at {
        diagnostic
    } else {
        diagnostic.with(outer_at, format!("written by `{outer_name}`"))
    };
    diagnostic.help(if outer.1.instance == inner.1.instance {
        "remove the inner one: all that is in an output folder belongs to it"
    } else {
        "write beside the folder, or let one stage make all of it"
    })
}

/// Says why what stands at a path cannot be read or written.
pub(super) fn unusable(what: &str, path: &str, entry: &Entry, span: Span) -> Option<Diagnostic> {
    let (code, fault, label, help) = match entry {
        Entry::Missing | Entry::File | Entry::Folder => return None,
        Entry::LinkLoop => (
            code::LINK,
            "is reached by links that lead to each other",
            "links in a circle",
            "remove one of the links",
        ),
        Entry::LeavesProject => (
            code::LINK,
            "is reached by a link that leaves the project",
            "outside of the project",
            if what == "input" {
                "copy the file into the project, or make the link end inside it"
            } else {
                "make a folder of the link, and write to it"
            },
        ),
        Entry::Special => (
            code::SPECIAL_FILE,
            "is a FIFO, a socket or a device",
            "neither file nor folder",
            "only files and folders can be told to be unchanged: name one of these",
        ),
        Entry::Unreadable(why) => {
            (code::UNREADABLE, "cannot be looked at", why.as_str(), "give yourself the right to read it")
        }
    };
    let message = format!("the {what} `{}` {fault}", show(path));
    Some(Diagnostic::error(code, message).at(span, show(label)).help(help))
}

/// Compares part by part: a slash comes before every character.
fn by_parts(left: &str, right: &str) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    let (left, right) = (left.as_bytes(), right.as_bytes());
    match left.iter().zip(right).find(|(left, right)| left != right) {
        Some((left, right)) => rank(*left).cmp(&rank(*right)),
        None => left.len().cmp(&right.len()),
    }
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn fold(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(path.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_folder_stands_after_it() {
        let mut paths = ["a.b", "a", "a-b/c", "a/z", "a/b/c", "a b", "b", "a/b"];
        paths.sort_by(|left, right| by_parts(left, right));
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/z", "a b", "a-b/c", "a.b", "b"]);
    }

    #[test]
    fn example_paths_keep_their_ending() {
        assert_eq!(example_path("build/out.csv.gz", "{{ matrix.x }}"), "build/out-{{ matrix.x }}.csv.gz");
        assert_eq!(example_path("site", "X"), "site-X");
        assert_eq!(example_path("a.b/.hidden", "X"), "a.b/.hidden-X");
    }
}
