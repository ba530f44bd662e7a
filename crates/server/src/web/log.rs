//! What an attempt printed, as lines of a page; and those that come while it is looked at.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
/// Characters of one line that are shown.
const WIDTH_MAX: usize = 4096;

/// The end of a log.
pub(super) struct Shown {
    pub(super) lines: Markup,
    /// Lines read so far, over which a reader that goes on steps.
    pub(super) read: usize,
    /// Whether the first lines are left out.
    pub(super) cut: bool,
    pub(super) bytes: u64,
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
    fn take(&mut self, chunk: &Chunk, each: &mut dyn FnMut(Markup)) {
        for part in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            self.first.get_or_insert((chunk.time, chunk.stream));
            self.held.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end(each);
            }
        }
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

/// Reads the end of a log.
pub(super) fn read(path: &Path) -> io::Result<Shown> {
    let mut kept = std::collections::VecDeque::new();
    let mut lines = Lines::default();
    let mut keep = |line: Markup| {
        if kept.len() == LINES_MAX {
            kept.pop_front();
        }
        kept.push_back(line);
    };
    let (mut bytes, mut long) = (0, false);
    for number in 0.. {
        let path = if number == 0 { path.to_owned() } else { worker_log(path, number) };
        let Ok(meta) = std::fs::metadata(&path) else { break };
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
    }
    let read = lines.number;
    lines.end(&mut keep);
    let cut = long || lines.number > LINES_MAX;
    let mut markup = Markup::default();
    for line in kept {
        markup.append(&line);
    }
    Ok(Shown { lines: markup, read, cut, bytes })
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

/// How often a log is looked at that somebody follows.
const LOOK: Duration = Duration::from_millis(250);
/// Lines that are sent at once.
const SENT_MAX: usize = 500;

struct Following {
    reader: Reader,
    lines: Lines,
    /// Lines that the page has.
    seen: usize,
    over: bool,
}

/// Streams the lines after the first `seen` ones until `goes_on` says that no more come.
pub(super) fn follow<G: Fn() -> bool + Send + 'static>(
    path: &Path,
    seen: usize,
    goes_on: G,
) -> impl Streaming<Item = Result<Event, Infallible>> + use<G> {
    let following = Following { reader: Reader::new(path), lines: Lines::default(), seen, over: false };
    futures_util::stream::unfold((following, goes_on), |(mut following, goes_on)| async move {
        if following.over {
            return None;
        }
        loop {
            // What was printed before the end is asked for after the end is known.
            let last = !goes_on();
            let (moved, sent) = crate::carry_out::blocking(move || {
                let sent = following.next(last);
                (following, sent)
            })
            .await;
            following = moved;
            if let Some(html) = sent {
                let event = Event::default().event("lines").id(following.lines.number.to_string()).data(html);
                return Some((Ok(event), (following, goes_on)));
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
    fn next(&mut self, last: bool) -> Option<String> {
        let mut html = Markup::default();
        let (mut number, mut sent, seen) = (self.lines.number, 0, self.seen);
        let mut each = |line: Markup| {
            number += 1;
            if number > seen {
                html.append(&line);
                sent += 1;
            }
        };
        let mut pieces = 0;
        while let Ok(Some(chunk)) = self.reader.next_chunk() {
            self.lines.take(&chunk, &mut each);
            pieces += 1;
            if pieces > SENT_MAX {
                break;
            }
        }
        if last && pieces == 0 {
            self.lines.end(&mut each);
        }
        (!html.is_empty()).then(|| html.to_string())
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
}
