//! Finds expressions in a text, and the names in an expression.

use std::ops::Range;

/// Something of a template in a text; ranges are bytes of that text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// `{{ inside }}`.
    Hole { whole: Range<usize>, inside: Range<usize> },
    /// `{%`.
    Block(Range<usize>),
    /// `{{` without its end.
    Unclosed(Range<usize>),
}

/// A name in an expression, with the first name or index below it: `params.year`, `inputs[0]`, `matrix["x"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference<'t> {
    pub root: &'t str,
    /// Bytes of the expression.
    pub root_at: Range<usize>,
    pub below: Option<(Below<'t>, Range<usize>)>,
    /// Whether it is called as a function.
    pub called: bool,
}

/// What is looked up in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below<'t> {
    Name(&'t str),
    Index(usize),
    /// Something that is computed.
    Other,
}

impl Reference<'_> {
    /// Returns the name below the root.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.below {
            Some((Below::Name(name), _)) => Some(name),
            _ => None,
        }
    }
}

/// Finds all holes and blocks, in order.
pub(super) fn find(text: &str) -> Vec<Found> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (b'{', b'{') => {
                let Some(end) = end_of_hole(text, at + 2) else {
                    found.push(Found::Unclosed(at..at + 2));
                    return found;
                };
                found.push(Found::Hole { whole: at..end + 2, inside: at + 2..end });
                at = end + 2;
            }
            (b'{', b'%') => {
                found.push(Found::Block(at..at + 2));
                at += 2;
            }
            _ => at += 1,
        }
    }
    found
}

/// Finds the `}}` that closes the hole whose inside begins at `at`: not in quotes, not of a table in the expression.
fn end_of_hole(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut quote) = (at, 0_usize, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    Text(&'t str),
    Number(&'t str),
    Mark(char),
}

/// Words and marks of the longest expression.
///
/// minijinja's parser and compiler go a call deeper for most of them, and its own limit on brackets is more than a
/// thread's stack holds.
const LENGTH_MAX: usize = 500;
/// Brackets in brackets.
const DEPTH_MAX: usize = 40;

/// Says why an expression cannot be given to minijinja.
pub(super) fn excess(expression: &str) -> Option<String> {
    let tokens = tokens(expression);
    if tokens.len() > LENGTH_MAX {
        return Some(format!("has {} words and marks, more than {LENGTH_MAX}", tokens.len()));
    }
    let mut depth = 0_usize;
    for (token, _) in &tokens {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Some(format!("has brackets nested more than {DEPTH_MAX} deep"));
        }
    }
    None
}

/// Returns the names in an expression, and whether it is nothing but a string.
///
/// Names of filters, tests, attributes and arguments are none.
pub(super) fn references(expression: &str) -> (Vec<Reference<'_>>, bool) {
    let tokens = tokens(expression);
    let token = |at: usize| tokens.get(at).map(|(token, _)| *token);
    let mut references = Vec::new();
    for (at, (current, range)) in tokens.iter().enumerate() {
        let Token::Word(word) = *current else { continue };
        let before = at.checked_sub(1).and_then(token);
        let before_that = at.checked_sub(2).and_then(token);
        let is_attribute = matches!(before, Some(Token::Mark('.' | '|')));
        let is_test = before == Some(Token::Word("is"))
            || (before == Some(Token::Word("not")) && before_that == Some(Token::Word("is")));
        let is_argument = token(at + 1) == Some(Token::Mark('=')) && token(at + 2) != Some(Token::Mark('='));
        if is_keyword(word) || is_attribute || is_test || is_argument {
            continue;
        }
        let place = |at: usize| tokens[at].1.clone();
        let below = match (token(at + 1), token(at + 2), token(at + 3)) {
            (Some(Token::Mark('.')), Some(Token::Word(name)), _) => Some((Below::Name(name), place(at + 2))),
            (Some(Token::Mark('.')), Some(Token::Number(number)), _) => Some((index(number), place(at + 2))),
            (Some(Token::Mark('[')), Some(Token::Text(name)), Some(Token::Mark(']'))) => {
                Some((Below::Name(name), place(at + 2)))
            }
            (Some(Token::Mark('[')), Some(Token::Number(number)), Some(Token::Mark(']'))) => {
                Some((index(number), place(at + 2)))
            }
            (Some(Token::Mark('[')), Some(_), _) => Some((Below::Other, place(at + 1))),
            _ => None,
        };
        let called = token(at + 1) == Some(Token::Mark('('));
        references.push(Reference { root: word, root_at: range.clone(), below, called });
    }
    let constant = matches!(tokens.as_slice(), [(Token::Text(_), _)]);
    (references, constant)
}

fn index(number: &str) -> Below<'static> {
    number.parse().map_or(Below::Other, Below::Index)
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "and"
            | "or"
            | "not"
            | "in"
            | "is"
            | "if"
            | "else"
            | "true"
            | "false"
            | "none"
            | "True"
            | "False"
            | "None"
    )
}

fn tokens(expression: &str) -> Vec<(Token<'_>, Range<usize>)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = expression[at..].chars().next() {
        let rest = &expression[at..];
        let length = match c {
            '"' | '\'' => {
                let mut escaped = false;
                let close = rest[1..].find(|inner| {
                    let closes = !escaped && inner == c;
                    escaped = !escaped && inner == '\\';
                    closes
                });
                let close = close.map_or(rest.len(), |close| close + 1);
                tokens.push((Token::Text(&rest[1..close]), at + 1..at + close));
                (close + 1).min(rest.len())
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length = word_length(rest);
                tokens.push((Token::Word(&rest[..length]), at..at + length));
                length
            }
            c if c.is_ascii_digit() => {
                let length = word_length(rest);
                tokens.push((Token::Number(&rest[..length]), at..at + length));
                length
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push((Token::Mark(c), at..at + c.len_utf8()));
                }
                c.len_utf8()
            }
        };
        at += length;
    }
    tokens
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_end_where_their_expression_does() {
        let check = |text: &str, expect: &[&str]| {
            let inside: Vec<&str> = find(text)
                .into_iter()
                .map(|found| match found {
                    Found::Hole { inside, .. } => &text[inside],
                    Found::Block(_) => "block",
                    Found::Unclosed(_) => "unclosed",
                })
                .collect();
            assert_eq!(inside, expect, "{text}");
        };
        check("a {{ b }} c {{d}}", &[" b ", "d"]);
        check("{{ '}}' }}", &[" '}}' "]);
        check("{{ \"a\\\"}}\" }}", &[" \"a\\\"}}\" "]);
        check("{{ {'a': {'b': 1}}.a }}", &[" {'a': {'b': 1}}.a "]);
        check("${#x} ${x%%y} {a,b} }}", &[]);
        check("{% if x %}", &["block"]);
        check("{{ a", &["unclosed"]);
        check("{{ 'a }}", &["unclosed"]);
        check("{", &[]);
        check("ä{{ ä }}ä", &[" ä "]);
    }

    #[test]
    fn names_are_told_from_filters_tests_attributes_and_arguments() {
        let check = |expression: &str, expect: &[&str]| {
            let (references, _) = references(expression);
            let shown: Vec<String> = references
                .iter()
                .map(|reference| match &reference.below {
                    None => reference.root.to_owned(),
                    Some((Below::Name(name), _)) => format!("{}.{name}", reference.root),
                    Some((Below::Index(index), _)) => format!("{}[{index}]", reference.root),
                    Some((Below::Other, _)) => format!("{}[?]", reference.root),
                })
                .collect();
            assert_eq!(shown, expect, "{expression}");
            // minijinja's own answer, which knows no places, must name the same roots.
            let environment = minijinja::Environment::new();
            let compiled = environment.compile_expression(expression).unwrap();
            let mut theirs: Vec<String> = compiled.undeclared_variables(false).into_iter().collect();
            let mut ours: Vec<String> =
                references.iter().map(|reference| reference.root.to_owned()).collect();
            theirs.sort();
            ours.sort();
            ours.dedup();
            assert_eq!(ours, theirs, "{expression}");
        };
        check("params.year", &["params.year"]);
        check(" params['year'] ~ inputs[0] ", &["params.year", "inputs[0]"]);
        check("a if b.c is defined and d is not none else e", &["a", "b.c", "d", "e"]);
        check("x | default(y.z) | replace('params.q', \"r\")", &["x", "y.z"]);
        check("f(a, key=b) == c", &["f", "a", "b", "c"]);
        check("matrix[params.x].y", &["matrix[?]", "params.x"]);
        check("[a, {'k': b}, (c, 1.5)]", &["a", "b", "c"]);
        check("x in y and not z", &["x", "y", "z"]);
        check("inputs.0", &["inputs[0]"]);
        check("'text'", &[]);
        check("a == b", &["a", "b"]);
    }

    #[test]
    fn a_string_alone_is_constant() {
        assert!(references(" '{{' ").1);
        assert!(!references("'a' ~ x").1);
        assert!(!references("x").1);
    }
}
