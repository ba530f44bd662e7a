//! Texts measured in terminal columns: a Chinese character takes two, a combining accent none.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Appends formatted text to a `String`.
macro_rules! append {
    ($text:expr, $($arguments:tt)+) => {{
        use std::fmt::Write as _;
        $text.write_fmt(format_args!($($arguments)+)).expect("a String takes all")
    }};
}
pub(crate) use append;

/// Returns the columns that `text` takes, which must hold no escape sequences.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Appends spaces up to `columns`; longer texts stay as they are.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Puts spaces in front up to `columns`.
pub(crate) fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Cuts `text` to at most `columns`, with `…` in the last one when something is left out.
pub(crate) fn truncate(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if taken + next + 1 > columns {
            break;
        }
        kept.push(c);
        taken += next;
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Breaks `text` into lines of at most `columns`, at spaces where there are some; never returns an empty list.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let room = columns.saturating_sub(width(&line) + usize::from(!line.is_empty()));
            if width(word) <= room {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            // A word that is wider than a line is broken anywhere: paths and digests have no spaces.
            for c in word.chars() {
                if width(&line) + c.width().unwrap_or(0) > columns && !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// Returns what a line of a command's output looks like on paper: without escape sequences and control characters,
/// tabs widened, and of a progress bar that is drawn over and over only the last state. Output is shown to people
/// inside other text: it must not move the cursor or set colours there.
pub(crate) fn clean(line: &str) -> String {
    let stripped = anstream::adapter::strip_str(line).to_string();
    let last = stripped.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    let mut cleaned = String::with_capacity(last.len());
    for c in last.chars() {
        match c {
            '\t' => cleaned.push_str("    "),
            c if c.is_control() => cleaned.push('\u{fffd}'),
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// Returns a size as people read it: `512 B`, `1.2 KiB`, `3.4 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut unit = 1024;
    for name in ["KiB", "MiB", "GiB", "TiB"] {
        // Tenths are cut off, not rounded: 1023.99 KiB is not yet `1024.0 KiB`.
        if bytes >= unit && (bytes / unit < 1024 || name == "TiB") {
            return format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit);
        }
        unit *= 1024;
    }
    format!("{bytes} B")
}

/// Counts things: `1 stage`, `2 stages`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Returns those of `known` that are near `word`, the nearest first, at most three.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    near.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    near.dedup_by_key(|(_, name)| *name);
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Writes names as people list them: `a`, `b` and `c`, each in backticks.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_count_columns_not_bytes() {
        assert_eq!(pad("数据", 6), "数据  ");
        assert_eq!(pad_left("é", 3), "  é");
        assert_eq!(truncate("数据数据", 5), "数据…");
        assert_eq!(truncate("abc", 3), "abc");
        assert_eq!(truncate("abcd", 3), "ab…");
        assert_eq!(truncate("abcd", 0), "");
    }

    #[test]
    fn wrapping_loses_nothing_and_fits() {
        let check =
            |text: &str, columns: usize, expect: &[&str]| assert_eq!(wrap(text, columns), expect, "{text}");
        check("", 10, &[""]);
        check("one two three", 8, &["one two", "three"]);
        check("a/very/long/path", 6, &["a/very", "/long/", "path"]);
        check("see a/very/long", 6, &["see", "a/very", "/long"]);
        check("two\nlines", 10, &["two", "lines"]);
        check("数据 数据", 3, &["数", "据", "数", "据"]);
    }

    #[test]
    fn output_of_commands_cannot_draw() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m"), "red");
        assert_eq!(clean("10 %\r50 %\r100 %\r"), "100 %");
        assert_eq!(clean("a\tb\u{7}"), "a    b");
        assert_eq!(clean("\u{1b}]0;title\u{7}x"), "x");
    }

    #[test]
    fn names_are_listed_and_proposed() {
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(nearest("fligths", ["words", "flights"]), ["flights"]);
        assert!(nearest("x", ["words", "flights"]).is_empty());
        assert_eq!(
            [0, 1023, 1024, 1_048_575, 5 << 30].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1023.9 KiB", "5.0 GiB"]
        );
        assert_eq!(count(1, "stage"), "1 stage");
        assert_eq!(count(0, "stage"), "0 stages");
    }
}
