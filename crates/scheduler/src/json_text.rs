//! How the text of a JSON value is laid out: its numbers and strings are moved, and never read and written anew. A number
//! with more digits than a machine type holds, or a name that is there twice, stays what it is.

/// Lays a value out for a person; `None` for what is no JSON.
pub fn laid_out(text: &[u8]) -> Option<String> {
    let text = checked(text)?;
    let (mut out, mut depth) = (String::with_capacity(text.len() * 2), 0_usize);
    let mut signs = Tokens(text).peekable();
    while let Some(token) = signs.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                if let Some(close) = signs.next_if(|next| matches!(*next, "}" | "]")) {
                    out.push_str(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push_str(token);
            }
            "," => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            token => out.push_str(token),
        }
    }
    Some(out)
}

/// Writes a value on one line; `None` for what is no JSON.
pub fn on_one_line(text: &[u8]) -> Option<String> {
    checked(text).map(|text| Tokens(text).collect())
}

fn checked(text: &[u8]) -> Option<&str> {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).ok()?;
    std::str::from_utf8(text).ok()
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// The parts of a text that is JSON, without the space between them.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_ascii_start();
        let bytes = text.as_bytes();
        let length = match bytes.first()? {
            b'"' => {
                let mut at = 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at + 1
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => text.find(|c: char| c.is_ascii_whitespace() || "{}[],:\"".contains(c)).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_strings_and_names_that_are_there_twice_survive() {
        let text =
            r#" {"id":12345678901234567890123,"n":1.10e+400,"s":"a \" { , :\\","id":-0.0,"e":[],"o":{}} "#;
        let line = text.trim();
        assert_eq!(on_one_line(text.as_bytes()).as_deref(), Some(line));
        let pretty = laid_out(text.as_bytes()).unwrap();
        assert_eq!(on_one_line(pretty.as_bytes()).as_deref(), Some(line));
        assert!(pretty.starts_with("{\n  \"id\": 12345678901234567890123,\n"), "{pretty}");
    }

    #[test]
    fn it_looks_as_a_person_expects() {
        let text = r#"{"a":[1,{"b":null}],"c":"x"}"#;
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(laid_out(text.as_bytes()).unwrap(), serde_json::to_string_pretty(&value).unwrap());
        for wrong in ["", "a,b", "{", "{} {}", "[1,]"] {
            assert_eq!((laid_out(wrong.as_bytes()), on_one_line(wrong.as_bytes())), (None, None), "{wrong}");
        }
    }
}
