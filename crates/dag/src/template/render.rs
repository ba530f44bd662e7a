//! Fills compiled texts in.

use std::ops::Range;

use minijinja::value::ValueKind;
use minijinja::{ErrorKind, Value};

use super::holes::Reference;
use super::names::Names;
use super::{Expression, Piece, Template, Use};
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Span, show};

impl Template<'_, '_> {
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
        let value = expression
            .compiled
            .eval(values.clone())
            .map_err(|error| self.failed(at, expression, names, &error))?;
        let text = match value.kind() {
            ValueKind::String | ValueKind::Number => value.to_string(),
            // minijinja writes Python's `True`; params are written as in TOML.
            ValueKind::Bool => value.is_true().to_string(),
            kind => return Err(self.not_a_text(at, expression, names, kind)),
        };
        if text.contains('\0') {
            let message = format!("the value of `{}` holds a NUL character", shown(expression));
            let diagnostic =
                Diagnostic::error(code::NUL, message).at(self.span(at, expression), "holds a NUL");
            return Err(Box::new(diagnostic.help("remove it")));
        }
        if to == Use::Shell && !expression.constant && !text.chars().all(is_plain) {
            return Err(Box::new(unsafe_value(expression, &text, self.span(at, expression))));
        }
        Ok(text)
    }

    /// Returns where an expression stands in the file, without the blanks around it.
    fn span(&self, at: &Range<usize>, expression: &Expression<'_, '_>) -> Span {
        let source = expression.source;
        let start = at.start + (source.len() - source.trim_start().len());
        self.text.span_of(start..start + source.trim().len(), self.file)
    }

    /// Says that an expression's value cannot be put into a text.
    fn not_a_text(
        &self,
        at: &Range<usize>,
        expression: &Expression<'_, '_>,
        names: &Names<'_>,
        kind: ValueKind,
    ) -> Box<Diagnostic> {
        if let Some(diagnostic) = self.no_text(expression, at, names) {
            return Box::new(diagnostic);
        }
        let (shown, span) = (shown(expression), self.span(at, expression));
        if kind == ValueKind::Undefined {
            let diagnostic =
                Diagnostic::error(code::UNKNOWN_TEMPLATE_NAME, format!("`{shown}` has no value"))
                    .at(span, "nothing has this name")
                    .help("give it a value, or a default: `… | default(\"x\")`");
            return Box::new(diagnostic);
        }
        let help = match expression.references.iter().find(|reference| !reference.called) {
            Some(reference) => names.examples(reference.root),
            None => "write an expression whose value is a text or a number".to_owned(),
        };
        let message = format!("`{shown}` is {}, not a text", kind_name(kind));
        Box::new(Diagnostic::error(code::TEMPLATE_FAILED, message).at(span, "no text").help(help))
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
    ) -> Box<Diagnostic> {
        if let Some(diagnostic) = self.no_text(expression, at, names) {
            return Box::new(diagnostic);
        }
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
        let message = format!("`{}` cannot be filled in", shown(expression));
        Box::new(Diagnostic::error(code, message).at(self.span(at, expression), show(&why)).help(help))
    }
}

/// Returns an expression as a message shows it.
fn shown(expression: &Expression<'_, '_>) -> String {
    show(expression.source.trim())
}

/// The characters that no shell takes for anything but themselves, wherever they stand in a word.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | ':' | '=' | '@' | '%' | '+' | ',' | '-')
}

fn unsafe_value(expression: &Expression<'_, '_>, text: &str, span: Span) -> Diagnostic {
    let shown = shown(expression);
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

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Map => "a table",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::None => "nothing",
        _ => "something else",
    }
}
