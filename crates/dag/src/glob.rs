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
                    "close it with `{close}` before the next slash, or write `\\{open}` for the character itself"
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
const ALTERNATIVES_MAX: usize = 1024;

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

    /// Reads a pattern; `./a//*.csv` is `a/*.csv`.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        // The checks of a path, on a text of the same shape without the characters that only a pattern may hold.
        ProjectPath::parse(text)?;
        let mut parts = Vec::new();
        let mut normal: Vec<&str> = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            let parsed = parse_part(part)?;
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
        Self { text: format!("{}/{}", escape(folder.as_str()), self.text), parts }
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
                    Part::Folders if !name.starts_with('.') => next |= 1 << at,
                    Part::Folders => {}
                    Part::Literal(literal) if literal == name => next |= 1 << (at + 1),
                    Part::Literal(_) => {}
                    Part::Wild(alternatives) => {
                        if alternatives.iter().any(|tokens| matches_name(tokens, name)) {
                            next |= 1 << (at + 1);
                        }
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

/// Puts a backslash before all that a pattern would not take as itself.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn parse_part(part: &str) -> Result<Part, GlobError> {
    if part == "**" {
        return Ok(Part::Folders);
    }
    if part.contains("**") {
        return Err(GlobError::Stars { part: part.to_owned() });
    }
    if !part.contains(['*', '?', '[', '{', '\\']) {
        return Ok(Part::Literal(part.to_owned()));
    }
    let chars: Vec<char> = part.chars().collect();
    let mut parser = Parser { part, chars: &chars, at: 0 };
    let alternatives = parser.sequence(false)?;
    let literal: Option<String> = match alternatives.as_slice() {
        [tokens] => tokens.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect(),
        _ => None,
    };
    Ok(literal.map_or(Part::Wild(alternatives), Part::Literal))
}

struct Parser<'a> {
    part: &'a str,
    chars: &'a [char],
    at: usize,
}

impl Parser<'_> {
    /// Reads up to the end, or in braces up to `,` or `}`, and returns all alternatives multiplied out.
    fn sequence(&mut self, in_braces: bool) -> Result<Vec<Vec<Token>>, GlobError> {
        let mut alternatives = vec![Vec::new()];
        while let Some(&c) = self.chars.get(self.at) {
            if in_braces && matches!(c, ',' | '}') {
                break;
            }
            self.at += 1;
            let token = match c {
                '*' => Token::AnyText,
                '?' => Token::AnyChar,
                '[' => self.class()?,
                '\\' => {
                    let escaped = self.chars.get(self.at).copied();
                    self.at += 1;
                    Token::Char(escaped.ok_or_else(|| GlobError::Cut { part: self.part.to_owned() })?)
                }
                '{' => {
                    alternatives = self.braces(&alternatives)?;
                    continue;
                }
                _ => Token::Char(c),
            };
            for tokens in &mut alternatives {
                tokens.push(token.clone());
            }
        }
        Ok(alternatives)
    }

    fn braces(&mut self, before: &[Vec<Token>]) -> Result<Vec<Vec<Token>>, GlobError> {
        let mut multiplied = Vec::new();
        loop {
            for alternative in self.sequence(true)? {
                for tokens in before {
                    multiplied.push([tokens.as_slice(), &alternative].concat());
                }
                if multiplied.len() > ALTERNATIVES_MAX {
                    return Err(GlobError::TooLarge);
                }
            }
            self.at += 1;
            match self.chars.get(self.at - 1) {
                Some(',') => {}
                Some(_) => return Ok(multiplied),
                None => return Err(GlobError::Unclosed { open: '{', part: self.part.to_owned() }),
            }
        }
    }

    fn class(&mut self) -> Result<Token, GlobError> {
        let unclosed = || GlobError::Unclosed { open: '[', part: self.part.to_owned() };
        let negated = matches!(self.chars.get(self.at), Some('!' | '^'));
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        loop {
            let first = *self.chars.get(self.at).ok_or_else(unclosed)?;
            // A bracket that comes first stands for itself.
            if first == ']' && !ranges.is_empty() {
                self.at += 1;
                return Ok(Token::Class { negated, ranges });
            }
            self.at += 1;
            let last = match (self.chars.get(self.at), self.chars.get(self.at + 1)) {
                (Some('-'), Some(&last)) if last != ']' => {
                    self.at += 2;
                    last
                }
                _ => first,
            };
            ranges.push((first, last));
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> ProjectPath {
        ProjectPath::parse(text).unwrap()
    }

    #[test]
    fn matches() {
        let check = |glob: &str, good: &[&str], bad: &[&str]| {
            let parsed = Glob::parse(glob).unwrap();
            assert!(good.iter().all(|text| parsed.is_match(&path(text))), "{glob} matches {good:?}");
            assert!(!bad.iter().any(|text| parsed.is_match(&path(text))), "{glob} does not match {bad:?}");
        };
        check(
            "build/*.json",
            &["build/a.json", "build/a.b.json"],
            &["build/.json", "build/x/a.json", "a.json", "build/a.JSON"],
        );
        check("**/*.csv", &["a.csv", "x/y/a.csv"], &[".git/a.csv", "x/.a.csv", "a.csv/b"]);
        check("raw/**", &["raw/a", "raw/x/y"], &["raw", "raw/.x/y", "raw/.y"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/bb", "b"]);
        check("**/**/a", &["a", "x/a"], &["b"]);
        check("{a,b*}.{csv,tsv}", &["a.csv", "b12.tsv"], &["c.csv", "a.txt"]);
        check("{,x}a{,b{c,d}}", &["a", "xa", "abc", "xabd"], &["ab"]);
        check("[a-c]?[!0-9]", &["axz", "bé_"], &["dxz", "ax1", "ax"]);
        check("[]]x", &["]x"], &["[x"]);
        check(".*", &[".hidden"], &["open"]);
        check(r"\*\[x\]", &["*[x]"], &["a[x]"]);
        check("a*b*c", &["abc", "a1b2b3c"], &["acb", "ab"]);
        check("./x//*.c", &["x/a.c"], &[]);
    }

    #[test]
    fn patterns_that_cannot_be_read() {
        let check = |glob: &str, expect: &str| {
            assert_eq!(Glob::parse(glob).unwrap_err().to_string(), expect, "{glob}")
        };
        check("/etc/*", "the path is absolute");
        check("../*", "the path climbs out by `..`");
        check(".cairn/*", "the path lies in the state folder `.cairn`");
        check("", "the path is empty");
        check("a**", "`**` stands alone between slashes, not in `a**`");
        check("{a/b}", "`{` is not closed in `{a`");
        check("[a", "`[` is not closed in `[a`");
        check("[]", "`[` is not closed in `[]`");
        check("a\\", "`a\\` ends too early");
        check(&"{a,b}".repeat(20), "the pattern is too large");
        check(&"*/".repeat(70), "the pattern is too large");
    }

    #[test]
    fn what_can_lie_below_a_folder() {
        let check = |glob: &str, folder: &str, expect: bool| {
            assert_eq!(
                Glob::parse(glob).unwrap().may_match_below(&path(folder)),
                expect,
                "{glob} below {folder}"
            );
        };
        check("build/*.csv", "build", true);
        check("build/*.csv", "build/site", false);
        check("build/*/x", "build/site", true);
        check("**/x", "any/where", true);
        check("**/x", "any/.where", false);
        check("a/**", "a", true);
        check("a/b", "c", false);
    }

    #[test]
    fn bases_and_texts() {
        let check = |glob: &str, base: Option<&str>, text: &str| {
            let parsed = Glob::parse(glob).unwrap();
            assert_eq!(parsed.base(), base.map(path), "{glob}");
            assert_eq!(parsed.as_str(), text);
            assert_eq!(Glob::parse(text).unwrap(), parsed);
        };
        check("./build//x/*.csv", Some("build/x"), "build/x/*.csv");
        check("*.csv", None, "*.csv");
        check("a/**/b", Some("a"), "a/**/b");
        check(r"\{a\}/*", Some("{a}"), r"\{a\}/*");
        assert!(Glob::is_glob("a*") && Glob::is_glob("{a,b}") && Glob::is_glob(r"\\*"));
        assert!(!Glob::is_glob("a") && !Glob::is_glob(r"\*\[x]") && !Glob::is_glob("a}"));
        assert_eq!(Glob::unescape(r"\*\[x\]\a\"), r"*[x]\a\");
        let below = Glob::parse("*.csv").unwrap().below(&path("odd[1]/x"));
        assert!(below.is_match(&path("odd[1]/x/a.csv")) && !below.is_match(&path("a.csv")));
        assert_eq!(Glob::parse(below.as_str()).unwrap(), below);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// But for hidden files, which it does not know, globset must agree.
        #[test]
        fn globset_agrees(
            glob in "([ab]|\\*\\*/|\\*|\\?|/|\\[a-b\\]|\\[!a\\]|\\{a,b\\*\\}|\\{b,\\})(b|/|/\\*\\*/|\\*|\\?|\\{ab,a\\}){0,5}(b|\\*|/\\*\\*)",
            text in "[ab]{1,3}(/[ab]{1,3}){0,3}",
        ) {
            let Ok(ours) = Glob::parse(&glob) else { return Ok(()) };
            let theirs = globset::GlobBuilder::new(ours.as_str()).literal_separator(true).empty_alternates(true).build();
            let theirs = theirs.unwrap().compile_matcher();
            prop_assert_eq!(ours.is_match(&path(&text)), theirs.is_match(&text), "{} on {}", ours.as_str(), text);
            // A path that matches is below each of its folders.
            let mut folder = path(&text).parent();
            while let Some(parent) = folder {
                prop_assert!(!ours.is_match(&path(&text)) || ours.may_match_below(&parent));
                folder = parent.parent();
            }
        }
    }
}
