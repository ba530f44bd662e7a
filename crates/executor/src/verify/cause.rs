//! What a difference may come from, guessed from the two values: a hint of where to look, never a part of the verdict.

use std::collections::HashMap;
use std::fmt;

/// What made two executions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The time of day.
    Time,
    /// The folder it runs in, its `HOME` or `TMPDIR`.
    Path,
    /// The run's or the attempt's id.
    Identity,
    /// The same lines in another order.
    Order,
    /// What was there, with the same once more.
    Repeated,
    /// A random value.
    Random,
}

impl Cause {
    /// Returns the name that programs read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Path => "path",
            Self::Identity => "identity",
            Self::Order => "order",
            Self::Repeated => "repeated",
            Self::Random => "random",
        }
    }

    /// Says what to do about it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Time => {
                "take the time from `$CAIRN_LOGICAL_TIME` or `$SOURCE_DATE_EPOCH` instead of the clock"
            }
            Self::Path => "write paths relative to the folder that the command starts in",
            Self::Identity => {
                "leave the ids of run and attempt out of what it writes, or name them in the command"
            }
            Self::Order => "sort what is written: folders, hash tables and threads keep no order",
            Self::Repeated => {
                "make it replace what is there: `>` for `>>`, `INSERT … ON CONFLICT … DO UPDATE` for `INSERT`"
            }
            Self::Random => "seed the generator from an input or a param, and take ids from the data",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "a time",
            Self::Path => "the path of the folder that it runs in",
            Self::Identity => "the id of the run or the attempt",
            Self::Order => "the same lines in another order",
            Self::Repeated => "it adds to what is there",
            Self::Random => "a random value, or a process's number",
        })
    }
}

/// What differs from execution to execution by cairn's own doing.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Folders.
    pub(super) folders: Vec<String>,
    /// Ids.
    pub(super) ids: Vec<String>,
}

/// Guesses from the two texts as far as they were read, and from the first lines that differ.
pub(super) fn guess(texts: Option<(&str, &str)>, lines: (&str, &str), known: &Known) -> Option<Cause> {
    let (recorded, found) = lines;
    let holds = |parts: &[String]| parts.iter().any(|part| !part.is_empty() && found.contains(part.as_str()));
    if holds(&known.folders) {
        return Some(Cause::Path);
    }
    if holds(&known.ids) {
        return Some(Cause::Identity);
    }
    if let Some((recorded, found)) = texts {
        if is_repeated(recorded, found) {
            return Some(Cause::Repeated);
        }
        if counted(recorded) == counted(found) {
            return Some(Cause::Order);
        }
    }
    let (recorded, found) = differing_words(recorded, found);
    if is_time(recorded) && is_time(found) {
        return Some(Cause::Time);
    }
    (is_random(recorded) && is_random(found)).then_some(Cause::Random)
}

/// Returns whether `found` is `recorded` two times or more.
fn is_repeated(recorded: &str, found: &str) -> bool {
    let times = found.len().checked_div(recorded.len()).unwrap_or(0);
    times > 1 && found.len().is_multiple_of(recorded.len()) && recorded.repeat(times) == found
}

fn counted(text: &str) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for line in text.lines() {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// Returns the words in which two lines first differ.
fn differing_words<'a>(left: &'a str, right: &'a str) -> (&'a str, &'a str) {
    let at = left.bytes().zip(right.bytes()).take_while(|(left, right)| left == right).count();
    let word = |line: &'a str| {
        let bytes = line.as_bytes();
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || b":.-+_".contains(byte);
        let start = bytes[..at].iter().rposition(|byte| !part(byte)).map_or(0, |before| before + 1);
        let end = bytes[at..].iter().position(|byte| !part(byte)).map_or(bytes.len(), |length| at + length);
        line.get(start..end).unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric())
    };
    (word(left), word(right))
}

/// Returns whether a word reads like a date, a time of day, or a number of seconds since 1970 or parts of one.
fn is_time(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let has = |pattern: &str| shape.contains(pattern);
    if has("0000-00-00") || has("00:00") || has("0:00:00") {
        return true;
    }
    let whole = word.split('.').next().unwrap_or_default();
    // 2001 to 2100 in seconds; the others are milli-, micro- and nanoseconds.
    let seconds = match whole.len() {
        10 | 13 | 16 | 19 => whole.get(..10).and_then(|digits| digits.parse::<u64>().ok()),
        _ => None,
    };
    let is_number = whole.bytes().all(|byte| byte.is_ascii_digit());
    is_number && seconds.is_some_and(|seconds| (1_000_000_000..4_102_444_800).contains(&seconds))
}

/// Returns whether a word reads like a digest, an id, or a number.
fn is_random(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_hexadecimal = word.len() >= 6 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_number = word.parse::<f64>().is_ok();
    is_hexadecimal || is_number || (word.len() >= 8 && digits >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses() {
        let known = Known { folders: vec!["/p/.cairn/x".to_owned()], ids: vec!["0198-a".to_owned()] };
        let check = |recorded: &str, found: &str, expect: Option<Cause>| {
            let lines = |text: &str| text.lines().next().unwrap_or_default().to_owned();
            let (left, right) = (lines(recorded), lines(found));
            assert_eq!(
                guess(Some((recorded, found)), (&left, &right), &known),
                expect,
                "{recorded} | {found}"
            );
        };
        check("made at 2026-11-25T10:00:00Z\n", "made at 2026-11-25T10:00:02Z\n", Some(Cause::Time));
        check("Wed Nov 25 22:57:07 UTC\n", "Wed Nov 25 22:57:09 UTC\n", Some(Cause::Time));
        check("t,1700000000.25\n", "t,1700000001.75\n", Some(Cause::Time));
        check("{\"t\":1700000000123}\n", "{\"t\":1700000001123}\n", Some(Cause::Time));
        check("in /old/place\n", "in /p/.cairn/x/work\n", Some(Cause::Path));
        check("run 0197-b\n", "run 0198-a\n", Some(Cause::Identity));
        check("a\nb\n", "b\na\n", Some(Cause::Order));
        check("a\nb\n", "a\nb\na\nb\n", Some(Cause::Repeated));
        check("id 3f2504e0\n", "id 9c1185a5\n", Some(Cause::Random));
        check("0.73481\n", "0.11932\n", Some(Cause::Random));
        check("pid 4711\n", "pid 4802\n", Some(Cause::Random));
        check("yes\n", "no\n", None);
        check("é 1\n", "è 1\n", None);
        check("", "a\n", None);
    }
}
