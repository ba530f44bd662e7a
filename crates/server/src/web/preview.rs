//! What an instance made, as far as a page can show it: the beginning of a text, a table, a picture.
//!
//! Bytes come from the content store by the digest in a manifest, and go out with a type that is ours to say: a picture by
//! its first bytes, all else as plain text or as a file to keep. Nothing that an instance made is ever a page.

use super::markup::Markup;

/// Bytes of a text that are looked at.
pub(super) const TEXT_MAX: usize = 64 << 10;
/// Bytes of a file that is sent to a browser.
pub(super) const FILE_MAX: u64 = 64 << 20;
/// Bytes of a picture that is shown on a page.
pub(super) const PICTURE_MAX: u64 = 8 << 20;
const LINES_MAX: usize = 40;
const ROWS_MAX: usize = 20;
const COLUMNS_MAX: usize = 24;
const CELL_MAX: usize = 80;

/// What a page shows of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Preview {
    /// The beginning of a text, and whether there is more.
    Text(String, bool),
    /// The first line, then rows; and whether there are more.
    Table(Vec<String>, Vec<Vec<String>>, bool),
    Picture,
    /// Nothing: it is no text.
    None,
}

/// Returns what a picture's first bytes say that it is.
pub(super) fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 4] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
    ];
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    kinds.into_iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, kind)| kind)
}

/// Returns whether a name ends as those of pictures do.
pub(super) fn is_named_as_picture(path: &str) -> bool {
    let end = path.rsplit_once('.').map_or("", |(_, end)| end);
    ["png", "jpg", "jpeg", "gif", "webp"].iter().any(|kind| end.eq_ignore_ascii_case(kind))
}

/// Looks at the beginning of a file; `whole` tells whether it is all of it.
pub(super) fn of(path: &str, bytes: &[u8], whole: bool) -> Preview {
    if picture_type(bytes).is_some() {
        return Preview::Picture;
    }
    let Some(text) = text(bytes) else { return Preview::None };
    let end = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let sign = match end.as_str() {
        "csv" => Some(','),
        "tsv" | "tab" => Some('\t'),
        _ => None,
    };
    if let Some(sign) = sign {
        let mut rows = rows(text, sign, ROWS_MAX + 2);
        if !rows.is_empty() {
            let more = rows.len() > ROWS_MAX + 1 || !whole;
            let head = rows.remove(0);
            rows.truncate(ROWS_MAX);
            return Preview::Table(head, rows, more);
        }
    }
    let lines: Vec<&str> = text.lines().take(LINES_MAX + 1).collect();
    let more = lines.len() > LINES_MAX || !whole;
    let kept: Vec<String> =
        lines.iter().take(LINES_MAX).map(|line| line.chars().take(400).collect()).collect();
    Preview::Text(kept.join("\n"), more)
}

/// Returns bytes as text, as far as they are one: a beginning may be cut in the middle of a character.
fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.contains(&0) {
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

/// Reads rows as RFC 4180 has them.
fn rows(text: &str, sign: char, max: usize) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted => {
                if characters.next_if_eq(&'"').is_some() {
                    cell.push('"');
                } else {
                    quoted = false;
                }
            }
            '"' if cell.is_empty() => quoted = true,
            '\n' | '\r' if !quoted => {
                if character == '\r' {
                    let _ = characters.next_if_eq(&'\n');
                }
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
                if rows.len() == max {
                    break;
                }
            }
            character if character == sign && !quoted => row.push(std::mem::take(&mut cell)),
            character => cell.push(character),
        }
    }
    if rows.len() < max && (!cell.is_empty() || !row.is_empty()) {
        row.push(cell);
        rows.push(row);
    }
    for row in &mut rows {
        row.truncate(COLUMNS_MAX);
        for cell in row {
            if cell.chars().count() > CELL_MAX {
                *cell = cell.chars().take(CELL_MAX).chain(['…']).collect();
            }
        }
    }
    rows
}

/// Marks a preview up; `address` is where the file itself is.
pub(super) fn markup(preview: &Preview, path: &str, address: &str) -> Markup {
    let mut markup = Markup::default();
    let more = |markup: &mut Markup, more: bool| {
        if more {
            markup
                .html("<p class=\"quiet\">There is more: <a")
                .attribute("href", address)
                .html(">the whole file</a></p>");
        }
    };
    match preview {
        Preview::None => {
            markup
                .html("<p class=\"quiet\">No text and no picture: <a")
                .attribute("href", address)
                .html(">keep the file</a></p>");
        }
        Preview::Picture => {
            markup.html("<img class=\"preview\" loading=\"lazy\"").attribute("src", address);
            markup.attribute("alt", format!("Picture {path}")).html(">");
        }
        Preview::Text(text, has_more) => {
            markup
                .html("<pre class=\"code\" tabindex=\"0\" role=\"region\"")
                .attribute("aria-label", format!("Beginning of {path}"));
            markup.html(">").text(text).html("</pre>");
            more(&mut markup, *has_more);
        }
        Preview::Table(head, rows, has_more) => {
            markup
                .html("<div class=\"scroll\" tabindex=\"0\" role=\"region\"")
                .attribute("aria-label", format!("First rows of {path}"));
            markup.html("><table class=\"data\"><thead><tr>");
            for cell in head {
                markup.html("<th scope=\"col\">").text(cell).html("</th>");
            }
            markup.html("</tr></thead><tbody>");
            for row in rows {
                markup.html("<tr>");
                for cell in row {
                    let number = cell.parse::<f64>().is_ok();
                    markup
                        .html(if number { "<td class=\"number\">" } else { "<td>" })
                        .text(cell)
                        .html("</td>");
                }
                markup.html("</tr>");
            }
            markup.html("</tbody></table></div>");
            more(&mut markup, *has_more);
        }
    }
    markup
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_the_rfc_has_it() {
        let text = "a,\"b\"\"x\",c\r\n1,\"two\nlines\",3\n,,\n";
        assert_eq!(
            rows(text, ',', 9),
            [vec!["a", "b\"x", "c"], vec!["1", "two\nlines", "3"], vec!["", "", ""]]
        );
        assert_eq!(
            of("x.csv", b"a,b\n1,2\n", true),
            Preview::Table(vec!["a".into(), "b".into()], vec![vec!["1".into(), "2".into()]], false)
        );
    }

    #[test]
    fn only_pictures_that_cannot_run_anything_are_pictures() {
        assert_eq!(of("x.png", b"\x89PNG\r\n\x1a\n...", true), Preview::Picture);
        assert!(matches!(of("x.svg", b"<svg onload=alert(1)>", true), Preview::Text(..)));
        assert!(matches!(of("x.png", b"<script>", true), Preview::Text(..)));
        assert!(
            is_named_as_picture("a.d/x.PNG") && !is_named_as_picture("png") && !is_named_as_picture("x.svg")
        );
        assert_eq!(of("x", b"a\0b", true), Preview::None);
        assert_eq!(of("x", "é".as_bytes(), true), Preview::Text("é".into(), false));
        assert_eq!(of("x", &"é".as_bytes()[..1], false), Preview::Text(String::new(), true));
    }

    #[test]
    fn nothing_in_a_file_becomes_markup() {
        for text in ["<script>alert(1)</script>", "a,<img src=x>\n\"<b>\",2\n"] {
            for path in ["x.csv", "x.txt\"><script>"] {
                let html = markup(&of(path, text.as_bytes(), true), path, "/x").to_string();
                assert!(
                    !html.contains("<script") && !html.contains("<img") && !html.contains("<b>"),
                    "{html}"
                );
            }
        }
    }
}
