//! HTML that is made in code: what goes into it is escaped when it is put there.

use std::fmt::{self, Write as _};

/// HTML, safe to be put into a page as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Markup(String);

impl Markup {
    /// Adds HTML of our own.
    pub(super) fn html(&mut self, html: &'static str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Adds any text, escaped: it is safe between tags and in quoted attributes.
    pub(super) fn text(&mut self, text: impl fmt::Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(Escaping(&mut self.0), "{text}");
        self
    }

    /// Adds ` name="value"`.
    pub(super) fn attribute(&mut self, name: &'static str, value: impl fmt::Display) -> &mut Self {
        self.html(" ").html(name).html("=\"").text(value).html("\"")
    }

    /// Adds HTML that was made the same way.
    pub(super) fn append(&mut self, other: &Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Markup {}

struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&#34;"),
                '\'' => self.0.push_str("&#39;"),
                // Not allowed in HTML; a page shows what stood there.
                '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f' => self.0.push('\u{fffd}'),
                character => self.0.push(character),
            }
        }
        Ok(())
    }
}

/// Writes a text so that it is one segment of a path, or one value of a query.
pub(super) fn url_part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else if byte == b'.' && !matches!(text, "." | "..") {
            out.push('.');
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_cannot_leave_its_place() {
        let mut markup = Markup::default();
        markup.html("<a").attribute("title", "\"><script>'\0\x1b").html(">").text("</a>&").html("</a>");
        assert_eq!(
            markup.to_string(),
            "<a title=\"&#34;&gt;&lt;script&gt;&#39;\u{fffd}\u{fffd}\">&lt;/a&gt;&amp;</a>"
        );
    }

    #[test]
    fn a_part_of_an_address_stays_one_part() {
        assert_eq!(url_part("by-carrier[UA,a/b]"), "by-carrier%5BUA%2Ca%2Fb%5D");
        assert_eq!(
            (url_part(".."), url_part("a.b"), url_part("ü&?#")),
            ("%2E%2E".into(), "a.b".into(), "%C3%BC%26%3F%23".into())
        );
    }
}
