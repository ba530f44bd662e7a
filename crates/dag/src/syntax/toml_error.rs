//! What toml says of a broken file, with a mend for each of its sentences.

use super::show;
use super::text::Span;
use crate::code;
use crate::diagnostic::Diagnostic;

/// toml's words for a key that is there already.
pub(super) const DUPLICATE: &str = "duplicate key";

/// Makes a finding of toml's sentence about `span`.
pub(super) fn describe(text: &str, message: &str, span: Span) -> Diagnostic {
    let syntax = |message: &str| Diagnostic::error(code::TOML_SYNTAX, message);
    if message.contains("recurs") {
        return Diagnostic::error(code::TOO_DEEP, "values are nested more than 80 levels deep")
            .at(span, "too deep")
            .help("no pipeline needs more than four levels");
    }
    if message == DUPLICATE {
        return syntax(&format!("`{}` is defined twice", show(&text[span.clone()])))
            .at(span, "defined again")
            .help("remove one of the two, or rename it");
    }
    let here = &text[span.start..];
    if let Some(control) = here.chars().next().filter(|c| c.is_control() && !"\t\r\n".contains(*c)) {
        let escape = format!("\\u{:04x}", u32::from(control));
        return syntax("a control character stands in the file")
            .at(span.start..span.start + control.len_utf8(), format!("this is `{escape}`"))
            .help(format!("remove it, or write `{escape}` in a text in double quotes"));
    }
    let (fault, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let quotes = match fault {
        "invalid multi-line basic string" => Some("\"\"\""),
        "invalid multi-line literal string" => Some("'''"),
        _ => None,
    };
    if let Some(quotes) = quotes {
        return syntax("a text of several lines is not closed")
            .at(opening(text, quotes).unwrap_or(span), "opened here")
            .help(format!("close it with `{quotes}`"));
    }
    // toml reads a missing value as an empty text without its quotes.
    let before = text[..span.start].rsplit('\n').next().unwrap_or_default();
    let is_missing = span.is_empty()
        && (fault == "string values must be quoted"
            || (fault == "invalid literal string" && before.matches('\'').count().is_multiple_of(2)));
    let (fault, label) = match expected {
        _ if is_missing => ("key with no value", "expected a value".to_owned()),
        "" | "nothing" => (fault, String::new()),
        expected => (fault, format!("expected {expected}")),
    };
    syntax(fault).at(span, label).help(mend(fault, here))
}

/// Returns what mends a fault; `here` is the text from its place on.
fn mend(fault: &str, here: &str) -> &'static str {
    match fault {
        "string values must be quoted" if here.starts_with(['“', '”', '„', '‘', '’']) => {
            "take straight quotes, `\"` or `'`"
        }
        "string values must be quoted" => "put the text in double quotes",
        "missing opening quote" => "put the text in quotes on both sides",
        "invalid basic string" | "invalid literal string" => "close the string with the quote it began with",
        "missing escaped value" => {
            "write `\\\\` for a backslash, or use single quotes, in which it is itself"
        }
        "too few unicode value digits" | "invalid value" => {
            "write `\\u` with the four hexadecimal digits of a character, or `\\\\` for a backslash"
        }
        "invalid unquoted key" | "unexpected key or value" | "unexpected content"
            if here.starts_with('/') =>
        {
            "begin a comment with `#`"
        }
        "unexpected key or value" | "unexpected content" if here.starts_with([',', ';', ']', '}']) => {
            "remove it"
        }
        "unexpected key or value" | "unexpected content" => {
            "begin a new line; several values make an array `[…, …]`, and a text that holds `'` takes double quotes"
        }
        "invalid unquoted key" if here.starts_with("<<<<<<<") || here.starts_with(">>>>>>>") => {
            "finish the merge: keep one of the two sides"
        }
        "invalid unquoted key" if here.starts_with(':') => "write `key = value`",
        "invalid unquoted key" => "put the name in quotes",
        "unquoted keys cannot be empty" => "write a name here",
        "keys cannot be multi-line basic strings" | "keys cannot be multi-line literal strings" => {
            "put the name in one pair of quotes"
        }
        "key with no value"
        | "missing value"
        | "missing value for key"
        | "invalid key-value pair"
        | "invalid inline table element"
        | "missing key for inline table element"
        | "missing assignment between key-value pairs"
        | "extra assignment between key-value pairs" => "write `key = value`",
        "extra `=`" => "remove one `=`",
        "unexpected `=` in array" => "write a table, `{ key = value }`",
        "extra comma in array" | "extra comma in inline table" => "remove the comma",
        "missing comma between array elements" => {
            "put a comma between them, or close the array before this line"
        }
        "missing comma between key-value pairs" => "put a comma between them",
        "unclosed array" => "close it with `]`",
        "unclosed inline table" => "close it with `}`",
        "unclosed table" => "close the header with `]`",
        "unclosed array table" => "close the header with `]]`",
        "missing table open" | "missing array opening" => "remove it, or open with `[`",
        "missing inline table opening" => "remove it, or open with `{`",
        "invalid boolean" => "write `true`, `false`, or a text in quotes",
        "invalid date" | "invalid time" | "invalid date-time" | "invalid offset" | "invalid datetime" => {
            "write for example `2024-01-31` or `2024-01-31T12:00:00Z`, or put a text in quotes"
        }
        "unexpected leading zero" => "remove the zero in front, or put the text in quotes",
        "redundant numeric sign" | "unexpected sign" | "integers with a radix cannot be signed" => {
            "remove the sign"
        }
        "`_` may only go between digits" => "remove the `_`",
        "carriage return must be followed by newline" => "save the file with one kind of line ends",
        "invalid integer number"
        | "invalid hexadecimal number"
        | "invalid octal number"
        | "invalid binary number"
        | "invalid float"
        | "invalid mantissa"
        | "invalid fraction"
        | "invalid exponent"
        | "radix must be lowercase"
        | "redundant integer number prefix" => {
            "write for example `10`, `0.5`, `1e3` or `0x1f`, or put a text in quotes"
        }
        _ if fault.starts_with("cannot extend value") => "it has a value already: remove one of the two",
        _ => "write one `key = value` a line, and texts in quotes",
    }
}

/// Finds the quotes that opened the text in which the file ends: the last that are not content.
fn opening(text: &str, quotes: &str) -> Option<Span> {
    let mut before = text;
    loop {
        // The first three of a row of quotes open, unless a backslash makes them content.
        let row = &before[..before.rfind(quotes)?];
        before = row.trim_end_matches(&quotes[..1]);
        if !before.ends_with('\\') {
            return Some(before.len()..before.len() + quotes.len());
        }
    }
}
