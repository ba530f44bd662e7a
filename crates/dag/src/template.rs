//! `{{ … }}` in texts of a definition.
//!
//! Only expressions of minijinja, and only between double braces: what stands outside is never touched, so that `${#x}`
//! and `{%` of other languages keep their meaning where they can (a block `{% … %}` is refused rather than passed on by
//! mistake). Values are looked up strictly, with a limit on work. No template is ever made of a value.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Text, show};

mod holes;
mod names;

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
                        Err(diagnostic) => diagnostics.push(diagnostic),
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
    ) -> Result<Rc<Expression<'e, 't>>, Diagnostic> {
        let source: &'t str = &text.text[inside.clone()];
        if let Some(known) = self.expressions.get(source) {
            return Ok(Rc::clone(known));
        }
        let compiled = self.environment.compile_expression(source).map_err(|error| {
            let detail = error.detail().unwrap_or("it cannot be read");
            let place = error
                .range()
                .filter(|range| range.end <= source.len() && source.is_char_boundary(range.start));
            let at = match place {
                Some(place) if source.is_char_boundary(place.end) => {
                    inside.start + place.start..inside.start + place.end
                }
                _ => inside.clone(),
            };
            Diagnostic::error(code::TEMPLATE_SYNTAX, format!("`{{{{{}}}}}` cannot be read", show(source)))
                .at(text.span_of(at, self.file), detail)
                .help("write a name such as `{{ params.year }}`; for `{{` itself write `{{ \"{{\" }}`")
        })?;
        let (references, constant) = holes::references(source);
        let expression = Rc::new(Expression { source, compiled, constant, references });
        self.expressions.insert(source, Rc::clone(&expression));
        Ok(expression)
    }
}

impl Template<'_, '_> {
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

    /// Fills the text in.
    ///
    /// # Errors
    ///
    /// All that is wrong with values and expressions, each at its place in the file.
    pub(crate) fn render(
        &self,
        values: &Value,
        names: &Names<'_>,
        to: Use,
    ) -> Result<String, Vec<Diagnostic>> {
        if let [Piece::Literal(text)] = self.pieces.as_slice() {
            return Ok((*text).to_owned());
        }
        let (mut filled, mut found) = (String::new(), Vec::new());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => filled.push_str(text),
                Piece::Hole { at, expression } => match self.value(at, expression, values, names, to) {
                    Ok(text) => filled.push_str(&text),
                    Err(diagnostic) => found.push(*diagnostic),
                },
            }
        }
        if found.is_empty() { Ok(filled) } else { Err(found) }
    }

    fn value(
        &self,
        at: &Range<usize>,
        expression: &Expression<'_, '_>,
        values: &Value,
        names: &Names<'_>,
        to: Use,
    ) -> Result<String, Box<Diagnostic>> {
        let span = || self.text.span_of(trimmed(expression.source, at), self.file);
        let shown = show(expression.source.trim());
        let value = expression
            .compiled
            .eval(values.clone())
            .map_err(|error| self.failed(at, expression, names, &error, &shown))?;
        match value.kind() {
            ValueKind::Undefined => {
                if let Some(diagnostic) = self.no_text(expression, at, names) {
                    return Err(Box::new(diagnostic));
                }
                let diagnostic =
                    Diagnostic::error(code::UNKNOWN_TEMPLATE_NAME, format!("`{shown}` has no value"))
                        .at(span(), "nothing has this name")
                        .help("give it a value, or a default: `… | default(\"x\")`");
                return Err(Box::new(diagnostic));
            }
            ValueKind::String | ValueKind::Number | ValueKind::Bool => {}
            _ => {
                if let Some(diagnostic) = self.no_text(expression, at, names) {
                    return Err(Box::new(diagnostic));
                }
                let help = match expression.references.first() {
                    Some(reference) => names.examples(reference.root),
                    None => "write an expression whose value is a text or a number".to_owned(),
                };
                let message = format!("`{shown}` is {}, not a text", kind_name(value.kind()));
                let diagnostic =
                    Diagnostic::error(code::TEMPLATE_FAILED, message).at(span(), "no text").help(help);
                return Err(Box::new(diagnostic));
            }
        }
        // minijinja writes Python's `True`; params are written as in TOML.
        let text =
            if value.kind() == ValueKind::Bool { value.is_true().to_string() } else { value.to_string() };
        if text.contains('\0') {
            let message = format!("the value of `{shown}` holds a NUL character");
            let diagnostic =
                Diagnostic::error(code::NUL, message).at(span(), "holds a NUL").help("remove it");
            return Err(Box::new(diagnostic));
        }
        if to == Use::Shell && !expression.constant && !text.chars().all(is_plain) {
            return Err(Box::new(unsafe_value(expression, &shown, &text, span())));
        }
        Ok(text)
    }

    /// Says what is wrong where a name means an input or output that is not one path.
    fn no_text(
        &self,
        expression: &Expression<'_, '_>,
        at: &Range<usize>,
        names: &Names<'_>,
    ) -> Option<Diagnostic> {
        expression
            .references
            .iter()
            .find_map(|reference| names.no_single_path(reference, at, self.text, self.file))
    }

    fn failed(
        &self,
        at: &Range<usize>,
        expression: &Expression<'_, '_>,
        names: &Names<'_>,
        error: &minijinja::Error,
        shown: &str,
    ) -> Box<Diagnostic> {
        if let Some(diagnostic) = self.no_text(expression, at, names) {
            return Box::new(diagnostic);
        }
        let span = self.text.span_of(trimmed(expression.source, at), self.file);
        let (code, help) = match error.kind() {
            ErrorKind::UndefinedError => (code::UNKNOWN_TEMPLATE_NAME, "check the name"),
            ErrorKind::OutOfFuel => (code::TEMPLATE_FAILED, "compute it in the command"),
            ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => (
                code::TEMPLATE_FAILED,
                "see the filters of minijinja: https://docs.rs/minijinja/latest/minijinja/filters",
            ),
            _ => (code::TEMPLATE_FAILED, "check the types of the values"),
        };
        let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        Box::new(
            Diagnostic::error(code, format!("`{shown}` cannot be filled in")).at(span, show(&why)).help(help),
        )
    }
}

/// The characters that no shell takes for anything but themselves, wherever they stand in a word.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | ':' | '=' | '@' | '%' | '+' | ',' | '-')
}

fn unsafe_value(
    expression: &Expression<'_, '_>,
    shown: &str,
    text: &str,
    span: crate::syntax::Span,
) -> Diagnostic {
    let culprit = text.chars().find(|c| !is_plain(*c)).unwrap_or(' ');
    let what = match culprit {
        ' ' => "a blank".to_owned(),
        '\n' => "a line break".to_owned(),
        c if c.is_control() => format!("`{}`", c.escape_default()),
        c => format!("`{c}`"),
    };
    let name = expression.references.first().and_then(Reference::name).unwrap_or("value").to_uppercase();
    Diagnostic::error(code::UNSAFE_VALUE, format!("`{shown}` puts {what} into a shell text"))
        .at(span, format!("its value is `{}`", show(text)))
        .note("a shell text takes only values of letters, digits and `_./:=@%+,-`, so that no value can be a command")
        .help(format!("write `env = {{ {name} = \"{{{{ {shown} }}}}\" }}` and use `\"${name}\"` in the text"))
}

/// Returns the place of an expression without the blanks around it.
fn trimmed(source: &str, at: &Range<usize>) -> Range<usize> {
    let start = at.start + (source.len() - source.trim_start().len());
    start..start + source.trim().len()
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Map => "a table",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::None => "nothing",
        _ => "something else",
    }
}
