//! Patterns of paths.
//!
//! | in a pattern | matches |
//! | --- | --- |
//! | `*` | any characters of one part, also none |
//! | `?` | one character |
//! | `[a-z]`, `[!a-z]` | one character of those, or not of those |
//! | `{csv,json}` | one of the alternatives |
//! | `**` | any number of folders, also none; at the end all files below |
//! | `\*` | the character itself |
//!
//! As in shells, a wildcard does not match a dot at the beginning of a part, and `**` does not enter folders that
//! begin with one; `.*` does. Letters match in their own case only. A pattern stays below the project like a path.
//!
//! Written here, with globset as the oracle of its tests, since two questions are asked that globset does not answer:
//! what a pattern can match below a folder (which stages' folders may feed it, which folders need no look), and what
//! its fixed beginning is; and since thousands of patterns are parsed in one file, each of which would be a regex.

use cairn_model::{PathError, ProjectPath};

mod parse;
#[cfg(test)]
mod tests;

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is no path either.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A bracket or brace that is not closed within its part of the path.
    #[error("`{open}` is not closed in `{part}`")]
    Unclosed {
        /// The bracket or brace.
        open: char,
        /// The part between slashes.
        part: String,
    },
    /// `**` with something beside it.
    #[error("`**` stands alone between slashes, not in `{part}`")]
    Stars {
        /// The part between slashes.
        part: String,
    },
    /// Nothing after a backslash, or nothing in brackets.
    #[error("`{part}` ends too early")]
    Cut {
        /// The part between slashes.
        part: String,
    },
    /// More than 1024 alternatives or more than 60 parts.
    #[error("the pattern is too large")]
    TooLarge,
}

impl GlobError {
    /// Says what to write instead.
    pub fn help(&self) -> String {
        match self {
            Self::Path(error) => error.help().to_owned(),
            Self::Unclosed { open, .. } => {
                let close = if *open == '[' { ']' } else { '}' };
                format!(
                    "close it with `{close}` before the next slash, or write `\\{open}`, in single quotes, for the character itself"
                )
            }
            Self::Stars { .. } => "write `**/*.csv` for the files at any depth, `*` within a name".to_owned(),
            Self::Cut { .. } => "write `\\\\` for a backslash".to_owned(),
            Self::TooLarge => "write several patterns".to_owned(),
        }
    }
}

/// What one part of a path must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// One of these sequences.
    Wild(Vec<Vec<Token>>),
    /// `**`: any number of parts.
    Folders,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    AnyChar,
    AnyText,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// States of a match fit the bits of a `u64`.
const PARTS_MAX: usize = 60;

impl Glob {
    /// Returns whether a text is a pattern rather than a path: whether it holds a wildcard without a backslash.
    pub fn is_glob(text: &str) -> bool {
        let mut escaped = false;
        text.chars().any(|c| {
            let wild = !escaped && matches!(c, '*' | '?' | '[' | '{');
            escaped = !escaped && c == '\\';
            wild
        })
    }

    /// Returns a path's text without the backslashes before wildcards.
    pub fn unescape(text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match chars.peek() {
                Some(&next @ ('*' | '?' | '[' | ']' | '{' | '}' | '\\')) if c == '\\' => {
                    plain.push(next);
                    chars.next();
                }
                _ => plain.push(c),
            }
        }
        plain
    }

    /// Returns a pattern that matches a path's text and nothing else.
    pub fn escape(text: &str) -> String {
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    }

    /// Reads a pattern; `./a//*.csv` is `a/*.csv`.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        // The checks of a path, on a text of the same shape without the characters that only a pattern may hold.
        ProjectPath::parse(text)?;
        let mut parts = Vec::new();
        let mut normal: Vec<&str> = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            let parsed = parse::part(part)?;
            if parsed == Part::Folders && parts.last() == Some(&Part::Folders) {
                continue;
            }
            parts.push(parsed);
            normal.push(part);
        }
        if parts.last() == Some(&Part::Folders) {
            parts.push(Part::Wild(vec![vec![Token::AnyText]]));
        }
        if parts.len() > PARTS_MAX {
            return Err(GlobError::TooLarge);
        }
        Ok(Self { text: normal.join("/"), parts })
    }

    /// Returns the normalized text, readable by [`Glob::parse`].
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the fixed folder before the first part with a wildcard, `None` where the first part has one.
    pub fn base(&self) -> Option<ProjectPath> {
        let mut base: Option<ProjectPath> = None;
        for part in &self.parts[..self.parts.len() - 1] {
            let Part::Literal(name) = part else { break };
            base = match base {
                None => ProjectPath::parse(name).ok(),
                Some(folder) => folder.join(name).ok(),
            };
        }
        base
    }

    /// Returns whether the pattern matches a path.
    pub fn is_match(&self, path: &ProjectPath) -> bool {
        self.states_after(path) & (1 << self.parts.len()) != 0
    }

    /// Returns whether the pattern may match a path below a folder.
    pub fn may_match_below(&self, folder: &ProjectPath) -> bool {
        self.states_after(folder) & ((1 << self.parts.len()) - 1) != 0
    }

    /// Returns the same pattern seen from a folder further up, of which `folder` is a part.
    pub(crate) fn below(&self, folder: &ProjectPath) -> Self {
        let mut parts: Vec<Part> =
            folder.as_str().split('/').map(|part| Part::Literal(part.to_owned())).collect();
        parts.extend(self.parts.iter().cloned());
        Self { text: format!("{}/{}", Self::escape(folder.as_str()), self.text), parts }
    }

    /// Feeds a path's parts to the automaton whose state `n` says that the first `n` parts of the pattern matched.
    fn states_after(&self, path: &ProjectPath) -> u64 {
        let mut states = self.closed(1);
        for name in path.as_str().split('/') {
            let mut next = 0;
            for (at, part) in self.parts.iter().enumerate() {
                if states & (1 << at) == 0 {
                    continue;
                }
                match part {
                    Part::Folders => next |= u64::from(!name.starts_with('.')) << at,
                    Part::Literal(literal) => next |= u64::from(literal == name) << (at + 1),
                    Part::Wild(alternatives) => {
                        let matches = alternatives.iter().any(|tokens| matches_name(tokens, name));
                        next |= u64::from(matches) << (at + 1);
                    }
                }
            }
            if next == 0 {
                return 0;
            }
            states = self.closed(next);
        }
        states
    }

    /// Adds the states that `**` reaches with no part at all.
    fn closed(&self, mut states: u64) -> u64 {
        for (at, part) in self.parts.iter().enumerate() {
            if states & (1 << at) != 0 && *part == Part::Folders {
                states |= 1 << (at + 1);
            }
        }
        states
    }
}

/// Matches one part; of several `*` only the last needs to be tried again.
fn matches_name(tokens: &[Token], name: &str) -> bool {
    if name.starts_with('.') && tokens.first() != Some(&Token::Char('.')) {
        return false;
    }
    let (mut token, mut rest) = (0, name.chars());
    let mut again: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        if tokens.get(token) == Some(&Token::AnyText) {
            token += 1;
            again = Some((token, rest.clone()));
            continue;
        }
        match (tokens.get(token), rest.next()) {
            (None, None) => return true,
            (Some(expected), Some(c)) if matches_char(expected, c) => {
                token += 1;
                continue;
            }
            _ => {}
        }
        let Some((star, from)) = &mut again else { return false };
        if from.next().is_none() {
            return false;
        }
        token = *star;
        rest = from.clone();
    }
}

fn matches_char(token: &Token, c: char) -> bool {
    match token {
        Token::Char(expected) => *expected == c,
        Token::AnyChar | Token::AnyText => true,
        Token::Class { negated, ranges } => {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
        }
    }
}
