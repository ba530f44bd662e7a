//! Replaces what differs from run to run by a word.

use std::path::Path;

/// Replaces the project's folder by `[DIR]`, run ids by `[RUN]`, hashes by `[HASH]`, durations by `[T]`.
pub fn redact(text: &str, folder: &Path) -> String {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let text = text.replace(&*real.to_string_lossy(), "[DIR]").replace(&*folder.to_string_lossy(), "[DIR]");
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        redacted.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':')))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let after = &rest[end..];
        if let Some(length) = duration(word, after) {
            redacted.push_str("[T]");
            rest = &rest[length..];
            continue;
        }
        redacted.push_str(&token(word));
        rest = after;
    }
    redacted.push_str(rest);
    redacted
}

fn token(word: &str) -> String {
    let trimmed = word.trim_end_matches(['.', ':', '-']);
    let tail = &word[trimmed.len()..];
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_uuid = trimmed.len() == 36 && trimmed.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let is_time = trimmed.len() >= 19 && trimmed.as_bytes().get(4) == Some(&b'-') && trimmed.contains('T');
    match trimmed.len() {
        _ if is_uuid => format!("[RUN]{tail}"),
        _ if is_time => format!("[TIME]{tail}"),
        8 if hex(trimmed) => format!("[RUN]{tail}"),
        12 | 64 if hex(trimmed) => format!("[HASH]{tail}"),
        _ => word.to_owned(),
    }
}

/// Returns how many bytes a duration takes: `0.42 s`, `3 min 5 s`, `12 ms`.
fn duration(word: &str, after: &str) -> Option<usize> {
    word.parse::<f64>().ok()?;
    let unit = ["ms", "s", "min", "h", "µs"].into_iter().find(|unit| {
        after
            .strip_prefix(' ')
            .and_then(|after| after.strip_prefix(unit))
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    })?;
    Some(word.len() + 1 + unit.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_replaced_and_nothing_else() {
        let check = |text: &str, expect: &str| assert_eq!(redact(text, Path::new("/tmp/x")), expect);
        check("RAN clean 0.42 s, saved 12 ms.", "RAN clean [T], saved [T].");
        check("run 1f2e3d4c: 3 stages", "run [RUN]: 3 stages");
        check("0193e8a0-1111-7222-8333-444455556666", "[RUN]");
        check("input 0a1b2c3d4e5f at 2026-11-25T16:30:14Z", "input [HASH] at [TIME]");
        check("/tmp/x/.cairn/logs", "[DIR]/.cairn/logs");
        check("facade is a word", "facade is a word");
    }
}
