//! Values with their place in the file.

use std::borrow::Cow;
use std::ops::Range;

/// Bytes of the file.
pub(crate) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At<T> {
    pub value: T,
    pub span: Span,
}

/// A string's content, and where it stands with its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    pub text: Cow<'a, str>,
    pub span: Span,
}

impl Text<'_> {
    /// Returns where a part of the content stands in the file; the whole string where that cannot be told.
    pub(crate) fn span_of(&self, part: Range<usize>, file: &str) -> Span {
        let raw = file.get(self.span.clone());
        match raw.and_then(|raw| locate(raw, &self.text, part)) {
            Some(found) => self.span.start + found.start..self.span.start + found.end,
            None => self.span.clone(),
        }
    }
}

/// Finds the part of a TOML string's source that became `part` of its content, by reading both side by side.
fn locate(raw: &str, content: &str, part: Range<usize>) -> Option<Range<usize>> {
    let quote = raw.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let long = raw.starts_with(&quote.to_string().repeat(3)) && raw.len() >= 6;
    let margin = if long { 3 } else { 1 };
    let body = raw.get(margin..raw.len().checked_sub(margin)?)?;
    let mut rest = body;
    if long {
        rest = rest.strip_prefix("\r\n").or(rest.strip_prefix('\n')).unwrap_or(rest);
    }
    // Whatever is not written as it reads is written longer: here all is, and the way to the part need not be read.
    if rest.len() == content.len() {
        let start = margin + body.len() - rest.len();
        let is_there = rest.get(part.clone())? == content.get(part.clone())?;
        return is_there.then_some(start + part.start..start + part.end);
    }
    let here = |rest: &str| margin + body.len() - rest.len();
    let (mut start, mut done) = (None, 0);
    loop {
        // A backslash at a line's end swallows the break and the blanks after it.
        if quote == '"' && long {
            while let Some(after) =
                rest.strip_prefix('\\').filter(|after| after.starts_with([' ', '\t', '\r', '\n']))
            {
                rest = after.trim_start_matches([' ', '\t', '\r', '\n']);
            }
        }
        if done == part.start {
            start = Some(here(rest));
        }
        if done == part.end {
            return Some(start?..here(rest));
        }
        let expected = content.get(done..)?.chars().next()?;
        let mut length = rest.chars().next()?.len_utf8();
        if quote == '"' && rest.starts_with('\\') {
            length = match rest.chars().nth(1)? {
                'x' => 4,
                'u' => 6,
                'U' => 10,
                _ => 2,
            };
        } else if expected == '\n' && rest.starts_with("\r\n") {
            length = 2;
        } else if !rest.starts_with(expected) {
            return None;
        }
        rest = rest.get(length..)?;
        done += expected.len_utf8();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_through_quotes_escapes_and_folded_lines() {
        // `<` and `>` mark the expected part of the source; `needle` is what its content is.
        let check = |marked: &str, needle: &str| {
            let (start, end) = (marked.find('<').unwrap(), marked.find('>').unwrap() - 1);
            let raw = marked.replace(['<', '>'], "");
            let document = format!("a = {raw}");
            let table = toml::de::DeTable::parse(&document).unwrap();
            let content = table.get_ref()["a"].get_ref().as_str().unwrap().to_owned();
            let at = content.find(needle).unwrap();
            assert_eq!(locate(&raw, &content, at..at + needle.len()), Some(start..end), "{marked}");
        };
        check(r#""a <{{ x }}> b""#, "{{ x }}");
        check("'a <{{ x }}>'", "{{ x }}");
        check(r#""\t\"\u00e9\U0001F600\x41<name>""#, "name");
        check("\"\"\"\nfirst\n<name>\n\"\"\"", "name");
        check("'''\r\nfirst\r\n<name>'''", "name");
        check("\"\"\"a \\\n   b \\\n\n  <name>\"\"\"", "name");
        check("\"\"\"<\">\"\"\"", "\"");
        check("\"é<name>é\"", "name");
    }

    #[test]
    fn a_part_that_is_not_there_is_not_found() {
        assert_eq!(locate("\"abc\"", "abd", 2..3), None);
        assert_eq!(locate("\"abc\"", "abc", 3..9), None);
        assert_eq!(locate("\"", "", 0..0), None);
        assert_eq!(locate("", "", 0..0), None);
    }
}
