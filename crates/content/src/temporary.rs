//! Names for what is made beside its destination until it is whole.
//!
//! After a crash such a name says by itself that nothing but cairn made it and that nobody needs it: what a user made
//! or edited never stands under one.

use std::hash::{BuildHasher, Hasher, RandomState};

const PREFIX: &str = ".cairn-";
const SUFFIX: &str = ".tmp";
const DIGITS: usize = 16;

/// Returns a name that nothing has: `.cairn-0123456789abcdef.tmp`.
pub(crate) fn name() -> String {
    // The keys of std's own hasher are random, and enough: a name that is taken after all is an error, not a loss.
    let random = RandomState::new().build_hasher().finish();
    format!("{PREFIX}{random:0DIGITS$x}{SUFFIX}")
}

/// Returns whether [`name`] made this name.
pub(crate) fn is(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes()).and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes())).is_some_and(
        |digits| digits.len() == DIGITS && digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_recognised() {
        let names: std::collections::HashSet<_> = (0..100).map(|_| name()).collect();
        assert_eq!(names.len(), 100);
        assert!(names.iter().all(|name| is(name.as_bytes())));
        for other in [".cairn", ".cairn-.tmp", ".cairn-0123456789ABCDEF.tmp", ".cairn-mine.tmp", "a.tmp"] {
            assert!(!is(other.as_bytes()), "{other}");
        }
    }
}
