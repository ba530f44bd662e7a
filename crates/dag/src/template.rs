//! `{{ … }}` in texts of a definition.
//!
//! Only expressions of minijinja, and only between double braces: what stands outside is never touched, so that `${#x}`
//! and `{%` of other languages keep their meaning where they can (a block `{% … %}` is refused rather than passed on by
//! mistake). Values are looked up strictly, with a limit on work. No template is ever made of a value.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use minijinja::{Environment, UndefinedBehavior, Value};

use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Text, show};

mod date;
mod holes;
mod names;
mod render;

pub(crate) use names::{Names, Part, What};

use holes::{Found, Reference};

/// Steps that one expression may take.
const FUEL: u64 = 100_000;

/// Compiles templates of one file; equal expressions are compiled once.
pub(crate) struct Templates<'e, 't> {
    environment: &'e Environment<'t>,
    expressions: HashMap<&'t str, Rc<Expression<'e, 't>>>,
    file: &'t str,
}

/// A compiled text.
pub(crate) struct Template<'e, 't> {
    text: &'t Text<'t>,
    pieces: Vec<Piece<'e, 't>>,
    file: &'t str,
}

enum Piece<'e, 't> {
    Literal(&'t str),
    Hole { at: Range<usize>, expression: Rc<Expression<'e, 't>> },
}

struct Expression<'e, 't> {
    source: &'t str,
    compiled: minijinja::Expression<'e, 't>,
    /// Whether it is a string in quotes: the author's own text, which needs no check.
    constant: bool,
    references: Vec<Reference<'t>>,
}

/// What a filled text is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A shell reads it.
    Shell,
    /// It is taken as it is.
    Plain,
}

/// Makes the environment that all templates share.
pub(crate) fn environment<'t>() -> Environment<'t> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment.add_filter("date", date::date);
    // Both show or keep more than a value.
    environment.remove_global("debug");
    environment.remove_global("namespace");
    environment
}

/// Makes a value in which names are looked up.
pub(crate) fn table<'n>(entries: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    Value::from(entries.into_iter().collect::<BTreeMap<&str, Value>>())
}

impl<'e, 't> Templates<'e, 't> {
    pub(crate) fn new(environment: &'e Environment<'t>, file: &'t str) -> Self {
        Self { environment, expressions: HashMap::new(), file }
    }

    /// Compiles a text and checks the names in it, or says all that is wrong with it.
    pub(crate) fn compile(
        &mut self,
        text: &'t Text<'t>,
        names: &Names<'_>,
    ) -> Result<Template<'e, 't>, Vec<Diagnostic>> {
        let content: &'t str = &text.text;
        let mut template = Template { text, pieces: Vec::new(), file: self.file };
        if !content.contains("{{") && !content.contains("{%") {
            template.pieces.push(Piece::Literal(content));
            return Ok(template);
        }
        let mut diagnostics = Vec::new();
        let holes = holes::find(content);
        let mut done = 0;
        for found in holes {
            match found {
                Found::Hole { whole, inside } => {
                    template.pieces.push(Piece::Literal(&content[done..whole.start]));
                    done = whole.end;
                    match self.expression(text, inside.clone()) {
                        Ok(expression) => {
                            for reference in &expression.references {
                                diagnostics.extend(names.check(reference, &inside, text, self.file));
                            }
                            template.pieces.push(Piece::Hole { at: inside, expression });
                        }
                        Err(diagnostic) => diagnostics.push(*diagnostic),
                    }
                }
                Found::Block(at) => diagnostics.push(
                    Diagnostic::error(code::TEMPLATE_BLOCK, "a template holds expressions only, no blocks")
                        .at(text.span_of(at, self.file), "a block begins here")
                        .help("write an expression such as `{{ \"a\" if params.x else \"b\" }}`; for `{%` itself write `{{ \"{%\" }}`"),
                ),
                Found::Unclosed(at) => diagnostics.push(
                    Diagnostic::error(code::TEMPLATE_SYNTAX, "a template is not closed")
                        .at(text.span_of(at, self.file), "opened here")
                        .help("close it with `}}`; for `{{` itself write `{{ \"{{\" }}`"),
                ),
            }
        }
        template.pieces.push(Piece::Literal(&content[done..]));
        if diagnostics.is_empty() { Ok(template) } else { Err(diagnostics) }
    }

    fn expression(
        &mut self,
        text: &'t Text<'t>,
        inside: Range<usize>,
    ) -> Result<Rc<Expression<'e, 't>>, Box<Diagnostic>> {
        let source: &'t str = &text.text[inside.clone()];
        if let Some(known) = self.expressions.get(source) {
            return Ok(Rc::clone(known));
        }
        if let Some(excess) = holes::excess(source) {
            let message = format!("`{{{{{}}}}}` {excess}", show(source));
            let diagnostic = Diagnostic::error(code::TEMPLATE_SYNTAX, message)
                .at(text.span_of(inside, self.file), "too much for an expression")
                .help("compute it in the command");
            return Err(Box::new(diagnostic));
        }
        let compiled = self.environment.compile_expression(source).map_err(|error| {
            let part = error.range().filter(|range| source.get(range.clone()).is_some());
            let at = part.map_or(inside.clone(), |part| inside.start + part.start..inside.start + part.end);
            let message = format!("`{{{{{}}}}}` cannot be read", show(source));
            let diagnostic = Diagnostic::error(code::TEMPLATE_SYNTAX, message)
                .at(text.span_of(at, self.file), error.detail().unwrap_or("it cannot be read"))
                .help("write a name such as `{{ params.year }}`; for `{{` itself write `{{ \"{{\" }}`");
            Box::new(diagnostic)
        })?;
        let (references, constant) = holes::references(source);
        let expression = Rc::new(Expression { source, compiled, constant, references });
        self.expressions.insert(source, Rc::clone(&expression));
        Ok(expression)
    }
}

impl Template<'_, '_> {
    /// Returns whether there is an expression.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Hole { .. }))
    }

    /// Returns whether any expression refers to the name.
    pub(crate) fn refers_to(&self, root: &str) -> bool {
        self.references().any(|reference| reference.root == root)
    }

    /// Returns whether any expression refers to the name as a whole, or to something in it that is computed.
    pub(crate) fn refers_to_all(&self, root: &str) -> bool {
        self.references().any(|reference| reference.root == root && reference.name().is_none())
    }

    /// Returns the names below `root` that are referred to.
    pub(crate) fn names_of<'s>(&'s self, root: &'s str) -> impl Iterator<Item = &'s str> {
        self.references().filter(move |reference| reference.root == root).filter_map(Reference::name)
    }

    fn references(&self) -> impl Iterator<Item = &Reference<'_>> {
        self.pieces.iter().flat_map(|piece| match piece {
            Piece::Literal(_) => [].as_slice(),
            Piece::Hole { expression, .. } => expression.references.as_slice(),
        })
    }
}
