//! From bytes to toml's table: what is refused before it is read, and errors of the syntax.

use toml::Spanned;
use toml::de::DeTable;

use super::text::Span;
use super::toml_error::{self, DUPLICATE};
use crate::code;
use crate::diagnostic::{Diagnostic, place};

/// Bytes of the largest file.
const FILE_BYTES_MAX: usize = 12 << 20;
/// Bytes of the longest line: more than a matrix of a hundred thousand values, less than a file pasted by mistake.
const LINE_BYTES_MAX: usize = 2 << 20;

/// How many repeated keys are shown with their first definition: finding it reads the file up to there.
const FIRST_DEFINITIONS_MAX: usize = 20;

/// Parses a file, or says all that is wrong with it as TOML.
pub(crate) fn parse(bytes: &[u8]) -> Result<(&str, Spanned<DeTable<'_>>), Vec<Diagnostic>> {
    let text = readable(bytes).map_err(|diagnostic| vec![*diagnostic])?;
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok((text, table));
    }
    let mut errors: Vec<(Span, &str)> = errors
        .iter()
        .map(|error| (error.span().unwrap_or_else(|| deepest_key(text)), error.message()))
        .collect();
    errors.sort_by_key(|(span, _)| span.start);
    // What follows an error on its line is mostly its echo.
    let mut last_line = None;
    errors.retain(|(span, _)| {
        let line = line_start(text, span.start);
        last_line.replace(line) != Some(line)
    });
    let diagnostic = |(at, (span, message)): (usize, (Span, &str))| {
        let diagnostic = toml_error::describe(text, message, span.clone());
        if message != DUPLICATE || at >= FIRST_DEFINITIONS_MAX {
            return diagnostic;
        }
        match first_definition(text, &span) {
            Some(first) => diagnostic.with(first, "first defined here"),
            None => diagnostic,
        }
    };
    Err(errors.into_iter().enumerate().map(diagnostic).collect())
}

fn readable(bytes: &[u8]) -> Result<&str, Box<Diagnostic>> {
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, more than {FILE_BYTES_MAX}", bytes.len());
        return Err(Box::new(Diagnostic::error(code::TOO_LARGE, message).help("is this the pipeline file?")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let (line, _) = place(bytes, at);
        let length = error.error_len().unwrap_or(bytes.len() - at);
        let message = format!("the file is not UTF-8: byte {at}, in line {line}, is 0x{:02x}", bytes[at]);
        let diagnostic = Diagnostic::error(code::NOT_UTF8, message).at(at..at + length, "not UTF-8");
        Box::new(diagnostic.help("save the file as UTF-8, for example by `iconv -f latin1 -t utf-8`"))
    })?;
    if let Some(at) = text.find('\0') {
        let message = format!("the file holds a NUL character at byte {at}");
        let diagnostic = Diagnostic::error(code::NUL, message).at(at..at + 1, "a NUL");
        return Err(Box::new(diagnostic.help("is this the pipeline file? a text holds no NUL")));
    }
    let mut start = 0;
    for line in text.split('\n') {
        if line.len() > LINE_BYTES_MAX {
            let message = format!("a line of {} bytes, more than {LINE_BYTES_MAX}", line.len());
            let diagnostic = Diagnostic::error(code::TOO_LARGE, message)
                .at(start..start + line.chars().next().map_or(0, char::len_utf8), "this line");
            let help = "break the array into lines, or put the text in a file of its own";
            return Err(Box::new(diagnostic.help(help)));
        }
        start += line.len() + 1;
    }
    Ok(text)
}

/// Finds where the key that stands at `again` was defined before: in the same table, or as the same header.
fn first_definition(text: &str, again: &Span) -> Option<Span> {
    let key = &text[again.clone()];
    let line = &text[line_start(text, again.start)..again.end];
    let is_header = line.trim_start().starts_with('[');
    let mut start = line_start(text, again.start);
    let mut found = None;
    while start > 0 {
        let end = start - 1;
        start = line_start(text, end);
        let earlier = &text[start..end];
        let indent = earlier.len() - earlier.trim_start().len();
        let trimmed = earlier.trim_start();
        if is_header {
            if trimmed.starts_with(line.trim_start()) {
                let at = start + indent + line.trim_start().len() - key.len();
                found = Some(at..at + key.len());
            }
        } else if trimmed.starts_with('[') {
            break;
        } else if trimmed.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', '.'])) {
            found = Some(start + indent..start + indent + key.len());
        }
    }
    found
}

/// Finds the key with too many parts, of which toml does not tell the place.
fn deepest_key(text: &str) -> Span {
    let mut start = 0;
    for line in text.split('\n') {
        if line.bytes().filter(|byte| *byte == b'.').count() >= 80 {
            let indent = line.len() - line.trim_start().len();
            return start + indent..start + line.trim_end().len();
        }
        start += line.len() + 1;
    }
    0..0
}

fn line_start(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    text.as_bytes()[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}
