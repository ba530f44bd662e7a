//! What people see: where it goes, how wide that is, and whether it takes colour and moving lines.
//!
//! - [`Show`]: a run's progress, a fold over its events
//! - [`table`]: columns that fit the width
//! - [`style`], [`text`], [`time`]: colours, widths, durations
//!
//! Results go to standard output, progress and diagnostics to standard error.

mod board;
mod fit;
mod live;
mod region;
mod show;
mod summary;
mod tail;

pub(crate) mod line;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod time;

pub(crate) use live::write_above;
pub(crate) use show::{Show, ShowOptions};

use std::io::IsTerminal as _;

use anstream::ColorChoice;
use style::Paint;

/// Standard output and standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// Where results go.
    pub(crate) stdout: Stream,
    /// Where progress and diagnostics go.
    pub(crate) stderr: Stream,
}

/// What one of the two can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    /// Whether to colour.
    pub(crate) paint: Paint,
    /// Whether lines may be drawn again in place.
    pub(crate) live: bool,
    width: Width,
}

#[derive(Debug, Clone, Copy)]
enum Width {
    Endless,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests pin the width"))]
    Fixed(usize),
    OfStdout,
    OfStderr,
}

impl Terminal {
    /// Looks at both and at the environment. `choice` is `--color`.
    pub(crate) fn detect(choice: ColorChoice) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let still =
            set("NO_COLOR") || set("CI") || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let color = |auto: ColorChoice| match choice {
            ColorChoice::Auto => auto != ColorChoice::Never,
            ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
            ColorChoice::Never => false,
        };
        let width = |terminal: bool, width| if terminal { width } else { Width::Endless };
        Self {
            stdout: Stream {
                paint: Paint::new(color(anstream::AutoStream::choice(&stdout))),
                live: stdout.is_terminal() && !still,
                width: width(stdout.is_terminal(), Width::OfStdout),
            },
            stderr: Stream {
                paint: Paint::new(color(anstream::AutoStream::choice(&stderr))),
                live: stderr.is_terminal() && !still,
                width: width(stderr.is_terminal(), Width::OfStderr),
            },
        }
    }
}

impl Stream {
    /// A stream of a fixed width that takes no moving lines.
    #[cfg(test)]
    pub(crate) fn fixed(width: Option<usize>, color: bool) -> Self {
        Self { paint: Paint::new(color), live: false, width: width.map_or(Width::Endless, Width::Fixed) }
    }

    /// Returns the columns there are now, `None` for a pipe or a file. Asked anew each time: windows are resized.
    pub(crate) fn columns(self) -> Option<usize> {
        let size = match self.width {
            Width::Endless => return None,
            Width::Fixed(columns) => return Some(columns),
            Width::OfStdout => rustix::termios::tcgetwinsize(std::io::stdout()),
            Width::OfStderr => rustix::termios::tcgetwinsize(std::io::stderr()),
        };
        // Some terminals say 0, and nothing can be laid out in less than 20.
        let columns = size.map_or(80, |size| usize::from(size.ws_col));
        Some(if columns == 0 { 80 } else { columns.max(20) })
    }

    /// Returns how findings in a definition are drawn here.
    pub(crate) fn report_style(self) -> cairn_dag::Style {
        cairn_dag::Style {
            ansi: self.paint.is_on(),
            width: self.columns().unwrap_or(cairn_dag::Style::PLAIN.width),
        }
    }

    /// Returns the rows there are now, 24 where that is not known.
    pub(crate) fn rows(self) -> usize {
        let size = match self.width {
            Width::Endless | Width::Fixed(_) => return 24,
            Width::OfStdout => rustix::termios::tcgetwinsize(std::io::stdout()),
            Width::OfStderr => rustix::termios::tcgetwinsize(std::io::stderr()),
        };
        size.ok().map(|size| usize::from(size.ws_row)).filter(|rows| *rows > 0).unwrap_or(24)
    }
}
