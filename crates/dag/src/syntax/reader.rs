//! Reads typed values out of toml's tables and collects what is wrong with them.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{list, nearest, show};
use super::text::{At, Span, Text};
use super::words::{Ours, Words};
use crate::code;
use crate::diagnostic::Diagnostic;

pub(super) type Key<'a> = Spanned<Cow<'a, str>>;
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// Collects findings while a file's values are read.
pub(super) struct Reader<'a> {
    pub source: &'a str,
    pub found: Vec<Diagnostic>,
}

/// Elements that could be read, so that a bad one hides nothing of the others.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    pub good: Vec<T>,
    /// Whether these are all.
    pub whole: bool,
}

impl<T> Listed<T> {
    /// No elements, and none that were bad.
    pub(crate) const EMPTY: Self = Self { good: Vec::new(), whole: true };

    /// Returns the elements if none is missing.
    pub(crate) fn whole(self) -> Option<Vec<T>> {
        self.whole.then_some(self.good)
    }
}

/// What a wrong type can be mended to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Text,
    Integer,
    Boolean,
    Texts,
    Other,
}

impl<'a> Reader<'a> {
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// Returns a table's entries in the order of the file.
    pub(super) fn entries<'t>(table: &'t DeTable<'a>) -> Vec<(&'t Key<'a>, &'t Value<'a>)> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
    }

    /// Says that a key is none of `words`, and which one was meant. Returns the key of ours that a peer's word stands for.
    pub(super) fn unknown_key(&mut self, words: &Words, key: &Key<'a>) -> Option<&'static str> {
        let (name, span) = (key.get_ref().as_ref(), key.span());
        if let Some(later) = words.later.iter().find(|later| **later == name) {
            let diagnostic = Diagnostic::error(code::NOT_YET, format!("`{later}` is not supported yet"))
                .at(span, "comes in a later version")
                .help("remove it");
            self.report(diagnostic);
            return None;
        }
        let of = words.of;
        let peers = words.foreign.iter().find(|(names, _)| names.contains(&name));
        if let Some((_, ours)) = peers {
            let diagnostic = Diagnostic::error(code::FOREIGN_KEY, format!("{of} has no key `{name}`"));
            let (diagnostic, key) = match ours {
                Ours::Key(ours) => {
                    let diagnostic = diagnostic
                        .at(span.clone(), format!("is called `{ours}` here"))
                        .help(format!("write `{ours}`"));
                    (diagnostic.patch(span, *ours), Some(*ours))
                }
                Ours::Mend(mend) => (diagnostic.at(span, "not a key here").help(*mend), None),
            };
            self.report(diagnostic);
            return key;
        }
        let diagnostic = Diagnostic::error(code::UNKNOWN_KEY, format!("{of} has no key `{}`", show(name)))
            .at(span.clone(), "unknown key");
        let near = nearest(name, words.known.iter().copied());
        self.report(match near {
            Some(known) => diagnostic.help(format!("did you mean `{known}`?")).patch(span, known),
            None => diagnostic.help(format!("the keys of {of} are {}", list(words.known))),
        });
        near
    }

    /// Says that a value has the wrong type; `wanted` ends the sentence "it must be …".
    pub(super) fn wrong_type(&mut self, what: &str, wanted: &str, mend: Wanted, value: &Value<'a>) {
        let span = value.span();
        let found = type_name(value.get_ref());
        let mut diagnostic =
            Diagnostic::error(code::WRONG_TYPE, format!("{what} must be {wanted}, not {found}"))
                .at(span.clone(), format!("this is {found}"));
        let raw = self.source.get(span.clone()).unwrap_or_default();
        let mended = match (mend, value.get_ref()) {
            (
                Wanted::Text,
                DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_),
            ) => Some(format!("\"{raw}\"")),
            (Wanted::Texts, DeValue::String(text)) if raw.len() < 200 && !text.trim().is_empty() => {
                Some(format!("[{raw}]"))
            }
            (Wanted::Integer, DeValue::String(text)) if text.parse::<i64>().is_ok() => {
                Some(text.clone().into_owned())
            }
            (Wanted::Boolean, DeValue::String(text)) if matches!(text.as_ref(), "true" | "false") => {
                Some(text.clone().into_owned())
            }
            _ => None,
        };
        diagnostic = match mended {
            Some(mended) => diagnostic.help(format!("write `{}`", show(&mended))).patch(span, mended),
            None => diagnostic.help(format!("write {wanted}")),
        };
        self.report(diagnostic);
    }

    /// Says that a value of the right type is not allowed.
    pub(super) fn bad_value(&mut self, message: impl Into<String>, label: &str, span: Span, help: &str) {
        self.report(Diagnostic::error(code::BAD_VALUE, message).at(span, label).help(help));
    }

    pub(super) fn text(&mut self, what: &str, value: &Value<'a>) -> Option<Text<'a>> {
        self.text_or(what, "a string", value)
    }

    pub(super) fn text_or(&mut self, what: &str, wanted: &str, value: &Value<'a>) -> Option<Text<'a>> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(what, wanted, Wanted::Text, value);
            return None;
        };
        self.without_nul(what, text, value.span())?;
        Some(Text { text: text.clone(), span: value.span() })
    }

    /// Reads a string that is not empty.
    pub(super) fn filled_text(&mut self, what: &str, value: &Value<'a>) -> Option<Text<'a>> {
        let text = self.text(what, value)?;
        if text.text.trim().is_empty() {
            self.bad_value(
                format!("{what} is empty"),
                "nothing here",
                text.span,
                "write a text, or remove the key",
            );
            return None;
        }
        Some(text)
    }

    fn without_nul(&mut self, what: &str, text: &str, span: Span) -> Option<()> {
        if !text.contains('\0') {
            return Some(());
        }
        let diagnostic = Diagnostic::error(code::NUL, format!("{what} holds a NUL character"))
            .at(span, "a NUL in this string")
            .help("no command, path or variable can hold one: remove `\\u0000`");
        self.report(diagnostic);
        None
    }

    /// Reads an array of strings; each that is none is reported, and left out.
    pub(super) fn texts(&mut self, what: &str, value: &Value<'a>) -> Listed<Text<'a>> {
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(what, "an array of strings", Wanted::Texts, value);
            return Listed { good: Vec::new(), whole: false };
        };
        let item = format!("an element of {what}");
        let good: Vec<_> = items.iter().filter_map(|value| self.text(&item, value)).collect();
        Listed { whole: good.len() == items.len(), good }
    }

    pub(super) fn boolean(&mut self, what: &str, value: &Value<'a>) -> Option<bool> {
        if let DeValue::Boolean(value) = value.get_ref() {
            return Some(*value);
        }
        self.wrong_type(what, "`true` or `false`", Wanted::Boolean, value);
        None
    }

    /// Reads an integer of at least `least` and at most `most`.
    pub(super) fn integer(&mut self, what: &str, least: i64, most: i64, value: &Value<'a>) -> Option<i64> {
        let DeValue::Integer(number) = value.get_ref() else {
            self.wrong_type(what, "an integer", Wanted::Integer, value);
            return None;
        };
        let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
        if let Some(number) = number.filter(|number| (least..=most).contains(number)) {
            return Some(number);
        }
        let range = if number.is_some_and(|number| number < least) {
            format!("write at least {least}")
        } else {
            format!("write at most {most}")
        };
        self.bad_value(format!("{what} is out of range"), "out of range", value.span(), &range);
        None
    }

    pub(super) fn count(&mut self, what: &str, least: u32, value: &Value<'a>) -> Option<u32> {
        let number = self.integer(what, i64::from(least), i64::from(u32::MAX), value)?;
        u32::try_from(number).ok()
    }

    /// Reads a table; `example` is one that could stand here.
    pub(super) fn table<'t>(
        &mut self,
        what: &str,
        example: &str,
        value: &'t Value<'a>,
    ) -> Option<&'t DeTable<'a>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        self.wrong_type(what, &format!("a table such as `{example}`"), Wanted::Other, value);
        None
    }

    /// Checks that a key can be written in a template without quotes.
    pub(super) fn identifier(&mut self, what: &str, key: &Key<'a>) -> Option<At<Cow<'a, str>>> {
        let (name, span) = (key.get_ref(), key.span());
        if is_identifier(name) {
            return Some(At { value: name.clone(), span });
        }
        let mut diagnostic = Diagnostic::error(code::BAD_NAME, format!("`{}` cannot be {what}", show(name)))
            .at(span.clone(), "not usable in a template")
            .note("such a name begins with a letter or `_` and holds letters, digits and `_`");
        let mended: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(64).collect();
        if is_identifier(&mended) {
            diagnostic = diagnostic.help(format!("write `{mended}`")).patch(span, mended);
        } else {
            diagnostic = diagnostic.help("choose another name");
        }
        self.report(diagnostic);
        None
    }

    /// Reads a table of environment variables; each that is wrong is reported, and left out.
    pub(super) fn variables(&mut self, value: &Value<'a>) -> Vec<(At<Cow<'a, str>>, Text<'a>)> {
        let Some(table) = self.table("`env`", "{ NAME = \"value\" }", value) else { return Vec::new() };
        let mut variables = Vec::new();
        for (key, value) in Self::entries(table) {
            let name = self.variable(key.get_ref(), key.span());
            let text = self.text(&format!("the variable `{}`", show(key.get_ref())), value);
            if let (Some(()), Some(text)) = (name, text) {
                variables.push((At { value: key.get_ref().clone(), span: key.span() }, text));
            }
        }
        variables
    }

    /// Checks the name of an environment variable.
    pub(super) fn variable(&mut self, name: &str, span: Span) -> Option<()> {
        if !is_identifier(name) {
            let diagnostic =
                Diagnostic::error(code::BAD_NAME, format!("`{}` is no variable's name", show(name)))
                    .at(span, "not usable in a shell")
                    .help("begin with a letter or `_`, then letters, digits and `_`");
            self.report(diagnostic);
            return None;
        }
        if name.starts_with("CAIRN_") {
            let diagnostic =
                Diagnostic::error(code::BAD_NAME, format!("the variable `{name}` belongs to cairn"))
                    .at(span, "set by cairn itself")
                    .help("choose a name that does not begin with `CAIRN_`");
            self.report(diagnostic);
            return None;
        }
        Some(())
    }
}

pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns a type's name with its article.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
