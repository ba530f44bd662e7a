//! Our own log: `-v` and `CAIRN_LOG`. Without either nothing is set up, and an event costs one load of an atomic.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::failure::Failure;
use crate::terminal::{Stream, write_above};

/// The variable that chooses what is logged: `debug`, or by parts `cairn_store=debug,cairn_executor=trace`.
const VARIABLE: &str = "CAIRN_LOG";

/// Sets up the log on standard error; `verbose` counts `-v`. `CAIRN_LOG` goes before it.
pub(crate) fn start(verbose: u8, stderr: Stream) -> Result<(), Failure> {
    let chosen = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let level = match (&chosen, verbose) {
        (Some(text), _) => text.as_str(),
        (None, 0) => return Ok(()),
        (None, 1) => "cairn=info",
        (None, 2) => "cairn=debug",
        (None, _) => "cairn=trace",
    };
    let filter = EnvFilter::try_new(level).map_err(|error| {
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
