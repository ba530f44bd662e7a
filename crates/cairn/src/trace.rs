//! Our own log: what went otherwise than asked, always; what is decided and why, with `-v` or `CAIRN_LOG`.
//!
//! Without either, events below a warning cost one load of an atomic.

use std::fmt;
use std::io;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::failure::Failure;
use crate::terminal::style::{self, Paint};
use crate::terminal::{Stream, write_above};

/// The variable that chooses what is logged: `debug`, or by parts `cairn_store=debug,cairn_executor=trace`.
const VARIABLE: &str = "CAIRN_LOG";

/// Sets up the log on standard error; `verbose` counts `-v`. `CAIRN_LOG` goes before it.
pub(crate) fn start(verbose: u8, quiet: bool, stderr: Stream) -> Result<(), Failure> {
    let chosen = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let directives = match (&chosen, verbose) {
        (Some(text), _) => text.as_str(),
        (None, 0) => {
            tracing_subscriber::fmt()
                .with_max_level(if quiet { Level::ERROR } else { Level::WARN })
                .with_ansi(stderr.paint.is_on())
                .event_format(Sentence(stderr.paint))
                .with_writer(AboveLiveLines)
                .init();
            return Ok(());
        }
        // By the beginning of a target: `cairn` is `cairn_store` too.
        (None, 1) => "warn,cairn=info",
        (None, 2) => "warn,cairn=debug",
        (None, _) => "warn,cairn=trace",
    };
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        Failure::wrong(format!("`{VARIABLE}` cannot be read: {error}"))
            .help(format!("for example `{VARIABLE}=debug` or `{VARIABLE}=cairn_store=debug`"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr.paint.is_on())
        .with_writer(AboveLiveLines)
        .init();
    Ok(())
}

/// Shows an event as the rest of the program talks: `warning: the sentence key=value`.
struct Sentence(Paint);

impl<S, F> FormatEvent<S, F> for Sentence
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, F>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (style, word) = match *event.metadata().level() {
            Level::ERROR => (style::ERROR, "error"),
            _ => (style::WARNING, "warning"),
        };
        write!(to, "{}: ", self.0.with(style, word))?;
        context.format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}

/// Writes each event in one piece, above a run's live lines where there are some.
struct AboveLiveLines;

impl MakeWriter<'_> for AboveLiveLines {
    type Writer = Piece;

    fn make_writer(&self) -> Piece {
        Piece
    }
}

struct Piece;

impl io::Write for Piece {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_above(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_warning_reads_like_the_rest() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::WARN)
            .with_ansi(false)
            .event_format(Sentence(Paint::new(false)))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(path = %"a.csv", "output differs from its manifest");
            tracing::info!("not told");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "warning: output differs from its manifest path=a.csv\n");
    }
}
