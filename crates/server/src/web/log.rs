//! What an attempt printed, as lines of a page; and those that come while it is looked at.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use std::{fmt, io};

use axum::response::sse::Event;
use cairn_executor::isolation::log::{Chunk, Reader, Stream};
use cairn_executor::{Project, worker_log};
use cairn_model::AttemptId;
use futures_util::Stream as Streaming;

use super::ansi::{self, Paint};
use super::markup::Markup;
use super::words;

/// Lines that a page has at most; the first of a longer log are in the file.
const LINES_MAX: usize = 2000;
/// Bytes that are read for that; of a longer log only the end is read, and its lines have no numbers.
const BYTES_MAX: u64 = 16 << 20;
/// Bytes of one line that are shown.
const WIDTH_MAX: usize = 4096;
/// Bytes of one line at most: where a longer one is cut, another begins.
const LINE_MAX: usize = 64 << 10;

/// The end of a log.
pub(super) struct Shown {
    pub(super) lines: Markup,
    /// Where whoever follows it goes on.
    pub(super) place: Place,
    /// Whether the first lines are left out.
    pub(super) cut: bool,
    pub(super) bytes: u64,
}

/// A place in a log at which a line begins: the bytes before it, and the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    bytes: u64,
    lines: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.bytes, self.lines)
    }
}

impl FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (bytes, lines) = text.split_once('.').unwrap_or((text, "0"));
        Ok(Self { bytes: bytes.parse()?, lines: lines.parse()? })
    }
}

/// Returns where an attempt's log is.
pub(super) fn path(state: &Path, attempt: &AttemptId) -> PathBuf {
    state.join(Project::log_path(attempt))
}

/// Cuts pieces into lines.
#[derive(Default)]
struct Lines {
    paint: Paint,
    number: usize,
    held: Vec<u8>,
    /// Of the line that is held.
    first: Option<(cairn_model::Timestamp, Stream)>,
}

impl Lines {
    /// Takes a piece in; `each` is given every line that ends in it.
    ///
    /// What a carriage return went back over is not kept, as a terminal does not keep it.
    fn take(&mut self, chunk: &Chunk, each: &mut dyn FnMut(Markup)) {
        let mut rest = chunk.bytes.as_slice();
        while let Some(first) = rest.first() {
            if self.held.ends_with(b"\r") && !matches!(first, b'\r' | b'\n') {
                self.held.clear();
            }
            self.first.get_or_insert((chunk.time, chunk.stream));
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let length = end.map_or(rest.len(), |at| at + 1).min(LINE_MAX - self.held.len());
            self.held.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
            if self.held.ends_with(b"\n") || self.held.len() == LINE_MAX {
                self.end(each);
            }
        }
    }

    /// Returns where the line begins that is held, in the log that a reader is in.
    fn place(&self, reader: &Reader) -> Place {
        Place { bytes: reader.position() - self.held.len() as u64, lines: self.number }
    }

    /// Ends the line that is held, whether its end was printed or not.
    fn end(&mut self, each: &mut dyn FnMut(Markup)) {
        let Some((time, stream)) = self.first.take() else { return };
        self.number += 1;
        let held = std::mem::take(&mut self.held);
        let cut = held.len() > WIDTH_MAX;
        let text = ansi::line(&held[..held.len().min(WIDTH_MAX)], &mut self.paint);
        let mut markup = Markup::default();
        markup
            .html("<div class=\"line")
            .html(if stream == Stream::Stderr { " err" } else { "" })
            .html("\" id=\"L");
        markup
            .text(self.number)
            .html("\"><a class=\"number\" href=\"#L")
            .text(self.number)
            .html("\">")
            .text(self.number);
        markup
            .html("</a><span class=\"stamp\">")
            .text(words::time_of_day(time))
            .html("</span><span class=\"said\">");
        markup.append(&text).html(if cut { " …" } else { "" }).html("</span></div>");
        each(markup);
    }
}

/// Reads the end of a log: what the workers printed, one after the other. What one printed that goes on, and is followed, is the
/// attempt's own log, which comes last then.
pub(super) fn read(path: &Path, goes_on: bool) -> io::Result<Shown> {
    let workers = (1..).map(|number| worker_log(path, number)).take_while(|path| path.exists());
    let mut paths: Vec<PathBuf> = std::iter::once(path.to_owned()).chain(workers).collect();
    if goes_on {
        paths.rotate_left(1);
    }
    let mut kept = VecDeque::new();
    let mut lines = Lines::default();
    let mut keep = |line: Markup| {
        if kept.len() == LINES_MAX {
            kept.pop_front();
        }
        kept.push_back(line);
    };
    let (mut bytes, mut long, mut place) = (0, false, Place::default());
    for path in paths {
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        bytes += meta.len();
        let mut reader = if meta.len() > BYTES_MAX {
            long = true;
            Reader::from_last_lines(&path, LINES_MAX)?
        } else {
            Reader::new(&path)
        };
        while let Some(chunk) = reader.next_chunk()? {
            lines.take(&chunk, &mut keep);
        }
        // The last line may get longer while it is looked at: whoever goes on reads it anew.
        place = lines.place(&reader);
        lines.end(&mut keep);
    }
    let cut = long || lines.number > LINES_MAX;
    let mut markup = Markup::default();
    for line in kept {
        markup.append(&line);
    }
    Ok(Shown { lines: markup, place, cut, bytes })
}

/// Reads the last lines of a log for a summary, colours and all.
pub(super) fn tail(path: &Path, count: usize) -> Markup {
    let mut markup = Markup::default();
    let bytes = Reader::last_lines(path, count).unwrap_or_default();
    let mut paint = Paint::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let line = &line[..line.len().min(WIDTH_MAX)];
        markup.append(&ansi::line(line, &mut paint)).html("\n");
    }
    markup
}

/// Lines of a log among which its last words are looked for, and characters of these that are told.
const LAST_LINES: usize = 40;
const LAST_MAX: usize = 240;

/// Returns the line that most likely says why a command ended, without colours, and whether it was said as an error: the last
/// of these that has a word in it, else the last of all.
pub(super) fn last_words(path: &Path) -> Option<(String, bool)> {
    let mut reader = Reader::from_last_lines(path, LAST_LINES).ok()?;
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    // A log that grows faster than it is read is not read for ever.
    for _ in 0..SENT_MAX {
        let Ok(Some(chunk)) = reader.next_chunk() else { break };
        match chunk.stream {
            // What is missing says nothing about why.
            Stream::Mark => continue,
            Stream::Stderr => errors.extend_from_slice(&chunk.bytes),
            Stream::Stdout | Stream::Unknown => {}
        }
        all.extend_from_slice(&chunk.bytes);
    }
    let last = |bytes: &[u8]| -> Option<String> {
        let mut lines = bytes.rsplit(|byte| *byte == b'\n').map(ansi::plain);
        let line = lines.find(|line| line.chars().any(char::is_alphanumeric))?;
        Some(line.trim().chars().take(LAST_MAX).collect())
    };
    last(&errors).map(|words| (words, true)).or_else(|| Some((last(&all)?, false)))
}

/// How often a log is looked at that somebody follows.
const LOOK: Duration = Duration::from_millis(250);
/// Pieces of a log that are sent at once.
const SENT_MAX: usize = 500;

struct Following {
    path: PathBuf,
    reader: Option<Reader>,
    lines: Lines,
    /// Where it goes on, once there is a log.
    place: Place,
    over: bool,
}

/// Streams the lines of one log from a place on until `goes_on` says that no more come.
pub(super) fn follow<G: Fn() -> bool + Send + 'static>(
    path: &Path,
    place: Place,
    goes_on: G,
) -> impl Streaming<Item = Result<Event, Infallible>> + use<G> {
    let lines = Lines { number: place.lines, ..Lines::default() };
    let following = Following { path: path.to_owned(), reader: None, lines, place, over: false };
    futures_util::stream::unfold((following, goes_on), |(mut following, goes_on)| async move {
        if following.over {
            return None;
        }
        loop {
            // What was printed before the end is asked for after the end is known.
            let last = !goes_on();
            let (moved, (html, more)) = crate::carry_out::blocking(move || {
                let sent = following.next(last);
                (following, sent)
            })
            .await;
            following = moved;
            if !html.is_empty() {
                let event = Event::default().event("lines").id(following.place.to_string()).data(html);
                return Some((Ok(event), (following, goes_on)));
            }
            if more {
                continue;
            }
            if last {
                following.over = true;
                return Some((Ok(Event::default().event("done").data("")), (following, goes_on)));
            }
            tokio::time::sleep(LOOK).await;
        }
    })
}

impl Following {
    /// Returns the lines that are over, and whether there may be more at once.
    fn next(&mut self, last: bool) -> (String, bool) {
        let mut html = Markup::default();
        let mut each = |line: Markup| {
            html.append(&line);
        };
        let mut pieces = 0;
        if let Some(mut reader) = self.reader() {
            while pieces < SENT_MAX
                && let Ok(Some(chunk)) = reader.next_chunk()
            {
                self.lines.take(&chunk, &mut each);
                pieces += 1;
            }
            if last && pieces == 0 {
                self.lines.end(&mut each);
            }
            self.place = self.lines.place(&reader);
            self.reader = Some(reader);
        }
        (html.to_string(), pieces > 0)
    }

    /// Takes the reader, or makes it, once there is a log.
    fn reader(&mut self) -> Option<Reader> {
        self.reader.take().or_else(|| {
            self.path.exists().then(|| Reader::from_position(&self.path, self.place.bytes).ok()).flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::Timestamp;

    #[test]
    fn pieces_become_lines_with_numbers_and_their_stream() {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for (stream, bytes) in [
            (Stream::Stdout, "one\ntw"),
            (Stream::Stdout, "o\n"),
            (Stream::Stderr, "<b>\n"),
            (Stream::Stdout, "rest"),
        ] {
            let chunk = Chunk { time: Timestamp(0), stream, bytes: bytes.into() };
            lines.take(&chunk, &mut |line| out.push(line.to_string()));
        }
        assert_eq!(lines.number, 3, "the last is not over");
        lines.end(&mut |line| out.push(line.to_string()));
        assert_eq!(out.len(), 4);
        assert!(
            out[1].contains("id=\"L2\"") && out[1].contains("<span class=\"said\">two</span>"),
            "{}",
            out[1]
        );
        assert!(out[2].contains("line err") && out[2].contains("&lt;b&gt;"), "{}", out[2]);
    }

    fn write(path: &Path, bytes: &str) {
        std::fs::write(path, bytes).unwrap();
        std::fs::write(cairn_executor::isolation::log::index_path(path), "").unwrap();
    }

    fn said(html: &str) -> Vec<&str> {
        html.split("<span class=\"said\">")
            .skip(1)
            .map(|rest| rest.split("</span>").next().unwrap())
            .collect()
    }

    #[test]
    fn the_last_words_are_those_of_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        assert_eq!(last_words(&path), None);
        let (mut text, mut index) = (Vec::new(), Vec::new());
        let mut say = |stream: u32, bytes: &str| {
            text.extend_from_slice(bytes.as_bytes());
            index.extend_from_slice(&[0; 8]);
            index.extend_from_slice(&stream.to_be_bytes());
            index.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
            std::fs::write(cairn_executor::isolation::log::index_path(&path), &index).unwrap();
            std::fs::write(&path, &text).unwrap();
        };
        let (out, err) = (1, 2);
        say(out, "10%\r\x1b[32mall read\x1b[0m\n\n---\n");
        assert_eq!(last_words(&path), Some(("all read".to_owned(), false)));
        say(err, "error: \x1b[1mno");
        say(err, " room\x1b[0m\n^^^\n");
        say(out, "cleaned up\n");
        assert_eq!(last_words(&path), Some(("error: no room".to_owned(), true)));
    }

    #[test]
    fn lines_are_cut_where_they_go_back_and_where_they_do_not_end() {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for bytes in ["10%\r50", "%\r", "100%\r", "\nnext\r\n", &"x".repeat(LINE_MAX + 1)] {
            let chunk = Chunk { time: Timestamp(0), stream: Stream::Stdout, bytes: bytes.into() };
            lines.take(&chunk, &mut |line| out.push(line.to_string()));
        }
        let html = out.concat();
        assert_eq!(said(&html)[..2], ["100%", "next"]);
        assert_eq!((out.len(), lines.held.len()), (3, 1), "a line without an end is cut");
    }

    #[tokio::test]
    async fn a_log_is_followed_from_where_the_page_ends_whatever_other_workers_printed() {
        use futures_util::StreamExt as _;
        use http_body_util::BodyExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        write(&path, "one\nhal");
        write(&worker_log(&path, 1), "of another");
        let shown = read(&path, true).unwrap();
        assert_eq!(said(&shown.lines.to_string()), ["of another", "one", "hal"], "lines are not glued");
        assert_eq!(shown.place, Place { bytes: 4, lines: 2 });
        assert_eq!(shown.place.to_string().parse(), Ok(shown.place));
        write(&path, "one\nhalf\nrest");
        let events = follow(&path, shown.place, || false).take(9);
        let body = axum::response::IntoResponse::into_response(axum::response::Sse::new(events)).into_body();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert_eq!(said(&text), ["half", "rest"], "{text}");
        assert!(
            text.contains("id: 9.3") && text.contains("id=\"L3\"") && text.contains("event: done"),
            "{text}"
        );
        assert_eq!(
            said(&read(&path, false).unwrap().lines.to_string()),
            ["one", "half", "rest", "of another"]
        );
    }
}
