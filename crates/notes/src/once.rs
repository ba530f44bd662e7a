//! The command of `cairn once`: run under its key.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use crate::{ONCE_KEY_HOLDER, ONCE_KEY_VARIABLE, ONCE_WITHIN_VARIABLE};

/// Returns the keys of the commands that this process runs within.
pub fn within() -> Vec<String> {
    let within = std::env::var(ONCE_WITHIN_VARIABLE).unwrap_or_default();
    within.split_whitespace().map(str::to_owned).collect()
}

/// Runs a command, its program first, with this process's input and outputs, under the key `once_key`; `within` are the keys
/// that this process runs within.
pub fn run(command: &[OsString], once_key: &str, mut within: Vec<String>) -> io::Result<ExitStatus> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // Within the command of another key a shell, or that other one, put that key there.
    let inherited = std::env::var(ONCE_KEY_VARIABLE).ok().filter(|key| !key.is_empty());
    let arguments = arguments.iter().map(|argument| {
        let filled = with_key(argument, ONCE_KEY_HOLDER, once_key);
        inherited.as_ref().map_or_else(|| filled.clone(), |other| with_key(&filled, other, once_key))
    });
    within.push(once_key.to_owned());
    Command::new(program)
        .args(arguments)
        .env(ONCE_KEY_VARIABLE, once_key)
        .env(ONCE_WITHIN_VARIABLE, within.join(" "))
        .status()
}

/// Returns whether a command did not end by itself. A shell says of one that it ran by a status above 128; that may also be
/// a failure, and who holds is not to have it done twice.
pub fn is_cut_off(ended: ExitStatus, hold: bool) -> bool {
    ended.code().is_none_or(|code| hold && code > 128)
}

/// Returns the exit status that a shell would, 0 to 255.
pub fn status_of(ended: ExitStatus) -> u8 {
    let code = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Puts the key where a shell put what was in its place.
fn with_key(argument: &OsStr, holder: &str, once_key: &str) -> OsString {
    let (mut rest, holder) = (argument.as_bytes(), holder.as_bytes());
    let mut filled = Vec::with_capacity(rest.len());
    while let Some(at) = rest.windows(holder.len()).position(|window| window == holder) {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(once_key.as_bytes());
        rest = &rest[at + holder.len()..];
    }
    filled.extend_from_slice(rest);
    OsString::from_vec(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_takes_its_holders_place() {
        let fill = |text: &str| with_key(OsStr::new(text), ONCE_KEY_HOLDER, "k1").into_string().unwrap();
        assert_eq!(fill("Idempotency-Key: %CAIRN_ONCE_KEY%"), "Idempotency-Key: k1");
        assert_eq!(fill("%CAIRN_ONCE_KEY%%CAIRN_ONCE_KEY%x"), "k1k1x");
        assert_eq!(fill("plain %CAIRN"), "plain %CAIRN");
        assert_eq!(fill(""), "");
    }
}
