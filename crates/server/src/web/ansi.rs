//! What commands print, made safe for a page: colours stay, all else that steers a terminal goes.

use super::markup::Markup;

/// The colours and weights in force; they go on over the ends of lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a terminal switches each by itself")]
pub(super) struct Paint {
    /// 0 to 15.
    front: Option<u8>,
    back: Option<u8>,
    bold: bool,
    dim: bool,
    italic: bool,
    underlined: bool,
}

const FRONT: [&str; 16] =
    ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14", "f15"];
const BACK: [&str; 16] =
    ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9", "b10", "b11", "b12", "b13", "b14", "b15"];

impl Paint {
    fn classes(self) -> Vec<&'static str> {
        let flags = [(self.bold, "bo"), (self.dim, "di"), (self.italic, "it"), (self.underlined, "un")];
        let colours = [
            self.front.and_then(|colour| FRONT.get(usize::from(colour))),
            self.back.and_then(|colour| BACK.get(usize::from(colour))),
        ];
        let flags = flags.into_iter().filter(|(on, _)| *on).map(|(_, class)| class);
        flags.chain(colours.into_iter().flatten().copied()).collect()
    }

    /// Takes the numbers of one `ESC [ … m` in.
    fn take(&mut self, numbers: &str) {
        let mut numbers = numbers.split([';', ':']).map(|number| number.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underlined = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underlined = false,
                30..=37 => self.front = u8::try_from(number - 30).ok(),
                90..=97 => self.front = u8::try_from(number - 90 + 8).ok(),
                39 => self.front = None,
                40..=47 => self.back = u8::try_from(number - 40).ok(),
                100..=107 => self.back = u8::try_from(number - 100 + 8).ok(),
                49 => self.back = None,
                38 | 48 => {
                    let colour = match numbers.next() {
                        Some(5) => numbers.next().and_then(of_256),
                        Some(2) => {
                            let mut part = || numbers.next().unwrap_or(0);
                            let (red, green, blue) = (part(), part(), part());
                            Some(nearest(red, green, blue))
                        }
                        _ => None,
                    };
                    *(if number == 38 { &mut self.front } else { &mut self.back }) = colour;
                }
                _ => {}
            }
        }
    }
}

/// Returns the one of 16 colours that is nearest to one of 256.
fn of_256(colour: u16) -> Option<u8> {
    match colour {
        0..=15 => u8::try_from(colour).ok(),
        16..=231 => {
            let cube = colour - 16;
            Some(nearest(cube / 36 * 51, cube / 6 % 6 * 51, cube % 6 * 51))
        }
        232..=255 => {
            let grey = (colour - 232) * 10 + 8;
            Some(nearest(grey, grey, grey))
        }
        _ => None,
    }
}

fn nearest(red: u16, green: u16, blue: u16) -> u8 {
    let bright = red.max(green).max(blue);
    if bright < 48 {
        return 0;
    }
    let bit = |part: u16, bit: u8| if part * 2 > bright { bit } else { 0 };
    let colour = bit(red, 1) | bit(green, 2) | bit(blue, 4);
    if bright > 200 {
        colour + 8
    } else if colour == 7 && bright < 140 {
        8
    } else {
        colour
    }
}

/// Returns the text of one line without its colours and its end. Of what a carriage return was to overwrite, only what came
/// last is left.
pub(super) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.trim_end_matches(['\r', '\n']).rsplit('\r').next().unwrap_or_default();
    let mut plain = String::new();
    while let Some(at) = rest.find('\x1b') {
        plain.push_str(&rest[..at]);
        rest = escape(&rest[at + 1..]).1;
    }
    plain.push_str(rest);
    plain
}

/// Marks one line up, without its end. Of what a carriage return was to overwrite, only what came last is left.
pub(super) fn line(bytes: &[u8], paint: &mut Paint) -> Markup {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\r', '\n']);
    let mut markup = Markup::default();
    let mut piece = String::new();
    let mut rest = text.rsplit('\r').next().unwrap_or_default();
    if text.len() > rest.len() {
        // What is overwritten still sets colours.
        sweep(&text[..text.len() - rest.len()], paint);
    }
    while let Some(at) = rest.find('\x1b') {
        piece.push_str(&rest[..at]);
        let (numbers, after) = escape(&rest[at + 1..]);
        rest = after;
        if let Some(numbers) = numbers {
            put(&mut markup, &mut piece, *paint);
            paint.take(numbers);
        }
    }
    piece.push_str(rest);
    put(&mut markup, &mut piece, *paint);
    markup
}

fn sweep(text: &str, paint: &mut Paint) {
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (numbers, after) = escape(&rest[at + 1..]);
        rest = after;
        if let Some(numbers) = numbers {
            paint.take(numbers);
        }
    }
}

fn put(markup: &mut Markup, piece: &mut String, paint: Paint) {
    if piece.is_empty() {
        return;
    }
    let text = std::mem::take(piece);
    let classes = paint.classes();
    if classes.is_empty() {
        markup.text(text);
        return;
    }
    markup.html("<span class=\"");
    for (at, class) in classes.into_iter().enumerate() {
        markup.html(if at > 0 { " " } else { "" }).html(class);
    }
    markup.html("\">").text(text).html("</span>");
}

/// Reads what follows an escape: the numbers, where it sets colours, and what comes after it.
fn escape(text: &str) -> (Option<&str>, &str) {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'[') => {
            let end = text[1..].find(|c: char| ('\x40'..='\x7e').contains(&c));
            match end {
                Some(end) if bytes[1 + end] == b'm' => (Some(&text[1..=end]), &text[end + 2..]),
                Some(end) => (None, &text[end + 2..]),
                None => (None, ""),
            }
        }
        // A title or a link: up to its end.
        Some(b']' | b'P' | b'_' | b'^') => match text.find(['\x07', '\x1b']) {
            Some(end) if bytes[end] == 0x1b => {
                (None, text[end + 1..].strip_prefix('\\').unwrap_or(&text[end..]))
            }
            Some(end) => (None, &text[end + 1..]),
            None => (None, ""),
        },
        Some(_) => {
            let first = text.chars().next().map_or(0, char::len_utf8);
            (None, &text[first..])
        }
        None => (None, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(line(text.as_bytes(), &mut Paint::default()).to_string(), expected, "{text:?}");
    }

    #[test]
    fn colours_stay_and_all_else_goes() {
        check("plain", "plain");
        check(
            "\x1b[31mred\x1b[0m and \x1b[1;92mgreen\x1b[m",
            "<span class=\"f1\">red</span> and <span class=\"bo f10\">green</span>",
        );
        check("\x1b[38;5;196mx\x1b[39my", "<span class=\"f9\">x</span>y");
        check("\x1b[38;2;0;0;255mx", "<span class=\"f12\">x</span>");
        check("10%\r50%\r100%\r\n", "100%");
        check("\x1b[2K\x1b[1Aup", "up");
        check("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "textlink");
    }

    #[test]
    fn nothing_a_command_prints_becomes_markup() {
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("\x1b[3\"><img src=x>1mx", "mg src=x&gt;1mx");
        check("\x1b", "");
        check("\x1b[31", "");
        check("\x1b[<i>31mx", "&gt;31mx");
    }

    #[test]
    fn colours_go_on_over_lines() {
        let mut paint = Paint::default();
        line(b"\x1b[33mone", &mut paint);
        assert_eq!(line(b"two", &mut paint).to_string(), "<span class=\"f3\">two</span>");
    }
}
