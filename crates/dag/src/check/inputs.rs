//! Where each input comes from: the disk, or another instance.

use std::collections::HashMap;
use std::rc::Rc;

use cairn_model::{OutputKind, ProjectPath};

use super::Context;
use super::outputs::{Outputs, input_case_clash, unusable};
use crate::code;
use crate::diagnostic::{Diagnostic, Repeated};
use crate::expand::is_gap;
use crate::syntax::{InputSyntax, Span, StageSyntax, Subject, nearest, show};
use crate::{Entry, Glob, Input, InputKind, Made, Unlisted};

/// Dependencies of the largest pipeline, counted for every input.
pub(super) const DEPENDENCIES_MAX: usize = 10_000_000;
/// How many missing inputs and stages are compared with all there are: each costs a walk over them.
const SUGGESTIONS_MAX: usize = 20;

/// Fills in who makes each input and returns for each instance what it waits for, sorted and without repeats.
pub(super) fn resolve(
    context: &Context<'_, '_>,
    outputs: &Outputs<'_>,
    inputs: &mut [Vec<Input>],
    found: &mut Vec<Diagnostic>,
) -> Vec<Vec<u32>> {
    let mut resolver = Resolver {
        context,
        outputs,
        stages: (0..)
            .zip(&context.file.stages)
            .map(|(number, stage)| (stage.name.as_str(), number))
            .collect(),
        entries: HashMap::new(),
        globs: HashMap::new(),
        dependencies: 0,
        suggestions: 0,
        found: Repeated::default(),
    };
    let mut needs = vec![Vec::new(); inputs.len()];
    if let Some(stage) = resolver.stage_with_too_many() {
        found.push(too_many(stage));
        return needs;
    }
    for (number, (inputs, needs)) in (0..).zip(inputs.iter_mut().zip(&mut needs)) {
        resolver.instance(number, inputs, needs);
        needs.sort_unstable();
        needs.dedup();
        resolver.dependencies += needs.len();
        if resolver.dependencies > DEPENDENCIES_MAX {
            found.push(too_many(resolver.stage(number)));
            break;
        }
    }
    found.extend(resolver.found.finish());
    needs
}

fn too_many(stage: &StageSyntax<'_>) -> Diagnostic {
    let message =
        format!("up to the stage `{}` there are more than {DEPENDENCIES_MAX} dependencies", stage.name);
    Diagnostic::error(code::TOO_MANY_DEPENDENCIES, message)
        .at(stage.span.clone(), "each instance counts, with each that it waits for")
        .help("gather many outputs in one stage, and let the others read what that makes")
}

pub(super) struct Resolver<'r, 'a> {
    pub context: &'r Context<'r, 'a>,
    outputs: &'r Outputs<'r>,
    pub stages: HashMap<&'r str, u32>,
    /// What stands at paths that were asked for before.
    entries: HashMap<ProjectPath, Entry>,
    globs: HashMap<String, Matched>,
    dependencies: usize,
    suggestions: usize,
    pub found: Repeated,
}

/// What a pattern matches.
#[derive(Clone)]
struct Matched {
    made: Rc<[Made]>,
    /// Whether a file on disk matches, where no stage makes any; or why that cannot be told.
    on_disk: Result<bool, Unlisted>,
}

impl<'r, 'a> Resolver<'r, 'a> {
    pub(super) fn stage(&self, instance: u32) -> &'r StageSyntax<'a> {
        let stage = self.context.expanded.instances[instance as usize].stage;
        &self.context.file.stages[stage as usize]
    }

    fn instance(&mut self, number: u32, inputs: &mut [Input], needs: &mut Vec<u32>) {
        let stage = self.stage(number);
        for (input, syntax) in inputs.iter_mut().zip(&stage.inputs.good) {
            if is_gap(input) {
                continue;
            }
            let optional = input.optional;
            match &mut input.kind {
                InputKind::Path { path, made_by, holds } => {
                    self.path(number, path, optional, syntax, made_by, holds);
                    needs.extend(made_by.iter().chain(&*holds).map(|made| made.instance));
                    self.dependencies += holds.len();
                }
                InputKind::Glob { pattern, made_by } => {
                    *made_by = self.glob(number, pattern, optional, &syntax.subject);
                    needs.extend(made_by.iter().map(|made| made.instance));
                    self.dependencies += made_by.len();
                }
                InputKind::Stage { outputs } => {
                    if let Subject::Stage(name) = &syntax.subject {
                        *outputs = self.stage_outputs(number, &name.text, &name.span);
                        needs.extend(outputs.iter().map(|made| made.instance));
                        self.dependencies += outputs.len();
                    }
                }
                InputKind::Environment { .. } | InputKind::Command { .. } => {}
            }
        }
        for name in &stage.needs {
            if let Some(other) = self.named_stage(number, &name.text, &name.span) {
                needs.extend(self.context.expanded.stages[other as usize].instances.clone());
            }
        }
    }

    fn path(
        &mut self,
        number: u32,
        path: &ProjectPath,
        optional: bool,
        syntax: &InputSyntax<'_>,
        made_by: &mut Option<Made>,
        holds: &mut Vec<Made>,
    ) {
        let Subject::Path(text) = &syntax.subject else { return };
        *made_by = self.outputs.maker(path.as_str()).or_else(|| self.outputs.maker_of_folder(path.as_str()));
        if let Some(made) = *made_by {
            if made.instance == number {
                *made_by = None;
                self.own_output(number, path.as_str(), "reads what it writes", made, text.span.clone());
            }
            return;
        }
        let inside_it = self.outputs.inside(Some(path.as_str()));
        for (inside, made) in inside_it {
            if made.instance == number {
                self.own_output(number, inside, "reads the folder it writes to", *made, text.span.clone());
            } else {
                holds.push(*made);
            }
        }
        holds.sort_unstable();
        if !inside_it.is_empty() {
            return;
        }
        let entry = self.entry(path);
        if let Some(diagnostic) = unusable("input", path.as_str(), &entry, text.span.clone()) {
            self.found.add(diagnostic);
        } else if entry != Entry::Missing
            && let Some(made) = self.outputs.maker_by_letter_case(path.as_str())
        {
            self.found.add(input_case_clash(self.context, path.as_str(), text.span.clone(), made));
        } else if entry == Entry::Missing && !optional && self.context.all_known() {
            let literal = text.text == path.as_str();
            let diagnostic = match syntax.name.as_ref() {
                kind @ ("env" | "command" | "stage") if literal => {
                    let meant = match kind {
                        "env" => "a variable",
                        "command" => "what a command prints",
                        _ => "all outputs of a stage",
                    };
                    let help = format!("for {meant} write `inputs = [{{ {kind} = \"{path}\" }}]`");
                    Diagnostic::error(
                        code::MISSING_INPUT,
                        format!("the input `{}` does not exist", show(path.as_str())),
                    )
                    .at(text.span.clone(), format!("taken as the path of an input called `{kind}`"))
                    .help(help)
                }
                _ => self.missing(path, literal, &text.span),
            };
            self.found.add(diagnostic);
        }
    }

    fn entry(&mut self, path: &ProjectPath) -> Entry {
        if let Some(entry) = self.entries.get(path) {
            return entry.clone();
        }
        let entry = self.context.entry(path);
        self.entries.insert(path.clone(), entry.clone());
        entry
    }

    fn missing(&mut self, path: &ProjectPath, literal: bool, span: &Span) -> Diagnostic {
        let shown = show(path.as_str());
        let diagnostic =
            Diagnostic::error(code::MISSING_INPUT, format!("the input `{shown}` does not exist"))
                .at(span.clone(), "neither on disk nor made by a stage");
        if self.may_suggest() {
            let beside = self.files_beside(path);
            let candidates = self.outputs.paths().chain(beside.iter().map(ProjectPath::as_str));
            if let Some(near) = nearest(path.as_str(), candidates) {
                let maker = self.outputs.maker(near).map(|made| self.context.name(made.instance));
                let by = maker.map(|name| format!(", which `{name}` makes")).unwrap_or_default();
                let diagnostic = diagnostic.help(format!("did you mean `{}`{by}?", show(near)));
                return if literal {
                    diagnostic.patch(span.clone(), format!("\"{near}\""))
                } else {
                    diagnostic
                };
            }
        }
        if path.as_str().starts_with("~/") || path.as_str().contains(['$', ':']) {
            return diagnostic.help(
                "a path is taken as it is, without `~`, variables and hosts: name a file of the project, or let a stage fetch it",
            );
        }
        diagnostic.help(format!(
            "create it, or name it in the `outputs` of the stage that makes it, or write `{{ path = \"{shown}\", optional = true }}`"
        ))
    }

    /// Returns whether one more name may be compared with all there are.
    pub(super) fn may_suggest(&mut self) -> bool {
        self.suggestions += 1;
        self.suggestions <= SUGGESTIONS_MAX
    }

    /// Returns the files in the folder where a missing one was looked for.
    fn files_beside(&self, path: &ProjectPath) -> Vec<ProjectPath> {
        let glob = match path.parent() {
            Some(folder) => Glob::parse("*").map(|glob| glob.below(&folder)),
            None => Glob::parse("*"),
        };
        glob.ok().and_then(|glob| self.files(&glob).ok()).unwrap_or_default()
    }

    /// Returns the files on disk that match, seen from the pipeline's folder.
    fn files(&self, glob: &Glob) -> Result<Vec<ProjectPath>, Unlisted> {
        if !self.context.folder_known {
            return Ok(Vec::new());
        }
        let Some(workdir) = &self.context.file.workdir else { return self.context.world.matches(glob) };
        let workdir = &workdir.value;
        let paths = self.context.world.matches(&glob.below(workdir))?;
        let inside = |path: &ProjectPath| {
            path.as_str().strip_prefix(workdir.as_str())?.strip_prefix('/').map(str::to_owned)
        };
        Ok(paths.iter().filter_map(|path| ProjectPath::parse(&inside(path)?).ok()).collect())
    }

    fn glob(&mut self, number: u32, pattern: &str, optional: bool, subject: &Subject<'_>) -> Vec<Made> {
        let Subject::Path(text) = subject else { return Vec::new() };
        let matched = if let Some(known) = self.globs.get(pattern) {
            known.clone()
        } else {
            let matched = self.match_glob(pattern);
            self.globs.insert(pattern.to_owned(), matched.clone());
            matched
        };
        if let Err(why) = &matched.on_disk {
            let message = format!("the files of `{}` cannot be listed", show(pattern));
            let code = match why {
                Unlisted::LinkLoop { .. } | Unlisted::LeavesProject { .. } => code::LINK,
                Unlisted::Unreadable { .. } | Unlisted::Name { .. } => code::UNREADABLE,
            };
            let diagnostic = Diagnostic::error(code, message)
                .at(text.span.clone(), show(&why.to_string()))
                .help(why.help());
            self.found.add(diagnostic);
        } else if matched.made.is_empty()
            && matched.on_disk == Ok(false)
            && !optional
            && self.context.all_known()
        {
            let shown = show(pattern);
            let diagnostic =
                Diagnostic::error(code::EMPTY_GLOB, format!("the pattern `{shown}` matches nothing"))
                    .at(text.span.clone(), "no file on disk, and none that a stage makes")
                    .help(format!("mend the pattern, or write `{{ path = \"{shown}\", optional = true }}`"));
            self.found.add(diagnostic);
        }
        let mut made_by = Vec::with_capacity(matched.made.len());
        for made in matched.made.iter() {
            if made.instance == number {
                let path =
                    &self.context.expanded.instances[number as usize].outputs[made.output as usize].path;
                let path = path.as_str().to_owned();
                self.own_output(number, &path, "matches what the instance writes", *made, text.span.clone());
            } else {
                made_by.push(*made);
            }
        }
        made_by
    }

    fn match_glob(&self, pattern: &str) -> Matched {
        let Ok(glob) = Glob::parse(pattern) else {
            return Matched { made: Rc::new([]), on_disk: Ok(true) };
        };
        let base = glob.base();
        let base = base.as_ref().map(ProjectPath::as_str);
        let mut made: Vec<Made> = Vec::new();
        // A folder that some instance makes may be the base, or hold it.
        made.extend(
            base.and_then(|base| self.outputs.maker(base).or_else(|| self.outputs.maker_of_folder(base))),
        );
        for (_, candidate) in self.outputs.inside(base) {
            let output = &self.context.expanded.instances[candidate.instance as usize].outputs
                [candidate.output as usize];
            let may_match = match output.kind {
                OutputKind::Folder => glob.may_match_below(&output.path),
                OutputKind::File | OutputKind::Stdout => glob.is_match(&output.path),
            };
            if may_match {
                made.push(*candidate);
            }
        }
        made.sort_unstable();
        let on_disk =
            if made.is_empty() { self.files(&glob).map(|files| !files.is_empty()) } else { Ok(true) };
        Matched { made: made.into(), on_disk }
    }

    fn own_output(&mut self, number: u32, path: &str, fault: &str, made: Made, span: Span) {
        let name = self.context.name(number);
        let message = format!("`{name}` reads `{}`, which it writes itself", show(path));
        let output = self.context.output_span(made);
        let diagnostic = Diagnostic::error(code::SELF_DEPENDENCY, message).at(span, fault);
        let diagnostic = diagnostic.with(output, "written here");
        self.found.add(
            diagnostic
                .help("write to another path, or read less: what a stage reads is there before it starts"),
        );
    }
}
