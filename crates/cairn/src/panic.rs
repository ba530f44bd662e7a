//! What a person sees when cairn itself is at fault.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write as _;
use std::panic::PanicHookInfo;

use crate::exit::ExitStatus;

/// Makes a panic, on any thread, print a short message and end the process with [`ExitStatus::Bug`].
///
/// Ending at once is safe: what is durable was made so before it was told, and a run that is cut off is resumed.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        let mut text = message(&what(info), &place(info));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            text.push_str(&backtrace.to_string());
        }
        // Nothing is left to do when standard error is gone.
        let _ = std::io::stderr().write_all(text.as_bytes());
        std::process::exit(ExitStatus::Bug.code().into());
    }));
}

fn what(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text =
        payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panic").to_owned()
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
}

fn message(what: &str, place: &str) -> String {
    // The first line feed leaves a half-drawn progress line.
    format!(
        "\ncairn: this is a bug: {what}\n  \
           at {place}, cairn {version} on {os}-{arch}\n  \
           Please report it with this text and the command you typed. What was committed is safe: \
           the same command again, or `cairn resume`, goes on from there.\n  \
           `RUST_BACKTRACE=1` in the environment shows the way to it.\n",
        version = env!("CARGO_PKG_VERSION"),
        os = std::env::consts::OS,
        arch = std::env::consts::ARCH,
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_message_says_what_where_and_which_version() {
        let text = super::message("index out of bounds", "crates/dag/src/graph.rs:7:9");
        assert!(text.contains("this is a bug: index out of bounds"), "{text}");
        assert!(text.contains("at crates/dag/src/graph.rs:7:9, cairn 0."), "{text}");
        assert!(text.contains("Please report it"), "{text}");
    }
}
