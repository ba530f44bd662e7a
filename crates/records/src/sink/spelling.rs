//! One value of a column may be written in many ways: `7` and `07`, the letter cases of a UUID, a moment in two time zones.
//! Which way is the source's business, as long as one key is written in one.
//!
//! A key that is *plain* is written as its column would show it. No two plain keys are one row, so nothing is remembered of
//! them. Of each that is not, the table `cairn_keys` says beside which value it stands, in the transaction that writes the
//! row:
//!
//! | `stored` | `key` |
//! |---|---|
//! | `key …`, a digest of the values that stand in the row | the key as it came, which the row belongs to, in JSON |
//! | `form …`, the name of a column | in which form its keys come (SQLite) |
//! | `empty` | nothing: the table had no row when the load began, so that each row that is there and was not written by a key that is remembered, was written by a plain one |
//!
//! A row that is gone belongs to nobody, whatever is remembered of it.

use super::apart::one_row;

/// The table beside ledger and fence.
pub(super) const TABLE: &str = "cairn_keys";

/// What stands in `stored` where the table was empty when the load began.
pub(super) const EMPTY: &str = "empty";

/// How `stored` begins where it is the form of a column's keys.
pub(super) const FORM: &str = "form ";

/// What is known of the keys of one load.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Whether the table was empty when the load began.
    pub(super) empty: bool,
    /// Whether any key is remembered.
    pub(super) any: bool,
}

/// What is to be done with a key, going by what is remembered of its row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes in, and nothing changes in what is remembered.
    Goes,
    /// It goes in, and the row is its own from now on.
    Claims,
    /// It goes in, and who the row belonged to is forgotten.
    Releases,
    /// It would be one row with another key.
    Other(String),
}

impl Known {
    /// Decides about a key in JSON whose row, where it is there, shows `stands` as its key and belongs to `owner`.
    pub(super) fn decide(
        self,
        key: &str,
        is_plain: bool,
        is_put: bool,
        owner: Option<&str>,
        stands: Option<&str>,
    ) -> Verdict {
        match (owner, stands) {
            (Some(owner), _) if owner == key => Verdict::Goes,
            (Some(owner), Some(_)) => Verdict::Other(one_row(&shown(owner), &shown(key))),
            (None, Some(stands)) if !is_plain && self.empty => Verdict::Other(one_row(stands, &shown(key))),
            (Some(_), None) if is_plain || !is_put => Verdict::Releases,
            _ if is_plain || !is_put => Verdict::Goes,
            _ => Verdict::Claims,
        }
    }
}

/// Returns what stands for a row in `stored`, given the values of its key.
pub(super) fn stored<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("cairn v1 stored-key");
    for value in values {
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value);
    }
    format!("key {}", &hasher.finalize().to_hex()[..32])
}

/// Returns whether a text is a whole number as columns show it.
pub(super) fn is_plain_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0"
        || !digits.starts_with('0') && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Returns whether a text is a number without needless zeros, sign and exponent.
pub(super) fn is_plain_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "1"));
    let is_small = matches!(whole, "0" | "-0") && text.len() > whole.len();
    (is_small || is_plain_integer(whole))
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && !fraction.ends_with('0')
        && !fraction.is_empty()
}

/// Returns a key as people write it: a text alone without its quotes.
fn shown(key: &str) -> String {
    serde_json::from_str::<String>(key).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_known_at_sight() {
        for text in ["0", "7", "-7", "10", "123456789012345678901"] {
            assert!(is_plain_integer(text) && is_plain_number(text), "{text}");
        }
        for text in ["0.5", "-0.5", "7.25", "10.01"] {
            assert!(is_plain_number(text) && !is_plain_integer(text), "{text}");
        }
        for text in
            ["", "-", "-0", "00", "07", "+7", "7.", ".5", "7.0", "07.5", "1e2", " 7", "7 ", "0x7", "NaN"]
        {
            assert!(!is_plain_integer(text) && !is_plain_number(text), "{text}");
        }
    }

    #[test]
    fn a_row_belongs_to_one_key() {
        let other = |one: &str, other: &str| Verdict::Other(one_row(one, other));
        for empty in [false, true] {
            let known = Known { empty, any: true };
            let (padded, plain) = ("\"07\"", "\"7\"");
            // Nobody is there.
            assert_eq!(known.decide(padded, false, true, None, None), Verdict::Claims);
            assert_eq!(known.decide(padded, false, false, None, None), Verdict::Goes);
            assert_eq!(known.decide(plain, true, true, None, None), Verdict::Goes);
            // A plain key is there, or a row from before.
            assert_eq!(known.decide(plain, true, true, None, Some("7")), Verdict::Goes);
            let expected = if empty { other("7", "07") } else { Verdict::Claims };
            assert_eq!(known.decide(padded, false, true, None, Some("7")), expected);
            // One that is not plain is there.
            assert_eq!(known.decide(padded, false, true, Some(padded), Some("7")), Verdict::Goes);
            assert_eq!(known.decide(plain, true, true, Some(padded), Some("7")), other("07", "7"));
            assert_eq!(known.decide("\"007\"", false, true, Some(padded), Some("7")), other("07", "007"));
            // It was there.
            assert_eq!(known.decide(plain, true, true, Some(padded), None), Verdict::Releases);
            assert_eq!(known.decide("\"007\"", false, true, Some(padded), None), Verdict::Claims);
            assert_eq!(known.decide("\"007\"", false, false, Some(padded), None), Verdict::Releases);
        }
    }
}
