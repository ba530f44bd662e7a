//! Names and texts in messages.

/// Returns the candidate that `name` was most likely meant to be.
pub(crate) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // A third of the letters may differ, one of them in any case.
    let allowed = (name.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.len().abs_diff(name.len()) > 3 * allowed || candidate == name {
            continue;
        }
        let distance =
            if candidate.eq_ignore_ascii_case(name) { 0 } else { strsim::osa_distance(name, candidate) };
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Makes a text of the file fit for a message: one line, no control characters, at most 60 characters.
pub(crate) fn show(text: &str) -> String {
    const MAX: usize = 60;
    let mut shown: String = text
        .chars()
        .take(MAX)
        .flat_map(|c| {
            let escaped: Box<dyn Iterator<Item = char>> =
                if c.is_control() { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) };
            escaped
        })
        .collect();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Joins names as a sentence lists them: `` `a`, `b` and `c` ``.
pub(crate) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let keys = ["retries", "resources", "run", "needs"];
        assert_eq!(nearest("retrys", keys), Some("retries"));
        assert_eq!(nearest("Run", keys), Some("run"));
        assert_eq!(nearest("nedes", keys), Some("needs"));
        assert_eq!(nearest("image", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn shown_texts_are_short_and_plain() {
        assert_eq!(show("a\n\u{1b}[31mb"), "a\\n\\u{1b}[31mb");
        assert_eq!(show(&"x".repeat(100)).chars().count(), 61);
    }
}
