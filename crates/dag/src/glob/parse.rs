//! Reads one part of a pattern.

use super::{GlobError, Part, Token};

/// Sequences that the braces of one part may come to.
const ALTERNATIVES_MAX: usize = 1024;

/// Reads what stands between two slashes.
pub(super) fn part(part: &str) -> Result<Part, GlobError> {
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
