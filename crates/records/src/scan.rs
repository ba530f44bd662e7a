//! Finds where a JSON value ends, many times faster than a parser does, for values that are plainly well-formed.
//!
//! Of anything else it says nothing, and the parser decides: what is taken here the parser takes as well, and what is
//! wrong is told in its words.

/// Arrays and objects in each other, deeper than which the parser decides.
const DEPTH: u32 = 32;

/// Returns the first place from `at` on that is no white space.
pub(crate) fn blank(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

/// Returns where the value ends that begins at `at`; `None` when the parser must tell.
pub(crate) fn value(bytes: &[u8], at: usize) -> Option<usize> {
    within(bytes, at, 0)
}

fn within(bytes: &[u8], at: usize, depth: u32) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string(bytes, at),
        b'-' | b'0'..=b'9' => number(bytes, at),
        b'{' if depth < DEPTH => object(bytes, at, &mut |_, at| within(bytes, at, depth + 1)),
        b'[' if depth < DEPTH => array(bytes, at, depth + 1),
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        _ => None,
    }
}

/// Returns where the object ends that begins at `at`. `each` is given the bytes of a name and where its value begins, and
/// returns where it ends. A name with an escape is left to the parser.
pub(crate) fn object<'b>(
    bytes: &'b [u8],
    at: usize,
    each: &mut impl FnMut(&'b [u8], usize) -> Option<usize>,
) -> Option<usize> {
    let mut at = blank(bytes, expect(bytes, at, b'{')?);
    if bytes.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        let after = string(bytes, at)?;
        let name = &bytes[at + 1..after - 1];
        if name.contains(&b'\\') {
            return None;
        }
        at = blank(bytes, expect(bytes, blank(bytes, after), b':')?);
        at = blank(bytes, each(name, at)?);
        match bytes.get(at)? {
            b',' => at = blank(bytes, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn array(bytes: &[u8], at: usize, depth: u32) -> Option<usize> {
    let mut at = blank(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Some(at + 1);
    }
    loop {
        at = blank(bytes, within(bytes, at, depth)?);
        match bytes.get(at)? {
            b',' => at = blank(bytes, at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn expect(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (bytes.get(at) == Some(&byte)).then_some(at + 1)
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    ends(bytes, bytes[at..].starts_with(word).then_some(at + word.len())?)
}

/// Returns `at` if a number or a word may end there.
fn ends(bytes: &[u8], at: usize) -> Option<usize> {
    matches!(bytes.get(at), None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r')).then_some(at)
}

fn number(bytes: &[u8], mut at: usize) -> Option<usize> {
    if bytes[at] == b'-' {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = digits(bytes, at + 1 + usize::from(signed))?;
    }
    ends(bytes, at)
}

/// Passes over one digit or more.
fn digits(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    (count > 0).then_some(at + count)
}

fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = expect(bytes, at, b'"')?;
    loop {
        while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let first = first_special(u64::from_le_bytes(*eight));
            at += first;
            if first < 8 {
                break;
            }
        }
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                _ => return None,
            },
            ..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// Returns the place of the first of eight bytes, the lowest first, that is a quote, a backslash or below a blank; 8 when
/// none is.
fn first_special(eight: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // A byte that is zero sets its high bit; what it does to the bytes above it does not matter.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let quote = zero(eight ^ (ONES * u64::from(b'"')));
    let escape = zero(eight ^ (ONES * u64::from(b'\\')));
    let control = eight.wrapping_sub(ONES * 0x20) & !eight & HIGH;
    ((quote | escape | control).trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn whole(text: &str) -> bool {
        let bytes = text.as_bytes();
        value(bytes, blank(bytes, 0)).is_some_and(|end| blank(bytes, end) == bytes.len())
    }

    #[test]
    fn plain_records_are_not_left_to_the_parser() {
        for text in [
            r#"{"id":1,"at":"2026-01-31T10:00:00Z","amount":-12.50e+3,"ok":true,"no":false,"none":null}"#,
            " { \"a\" : [ ] , \"b\" : { } , \"c\" : [ 1 , [ \"é\" , { \"d\" : 0 } ] ] } ",
            r#"{"text":"a \"quoted\" text with \\ and \u00e9 in it, longer than eight bytes"}"#,
            "0",
            "-0.5E1",
        ] {
            assert!(whole(text), "{text}");
        }
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(whole(&deep(DEPTH as usize)));
        assert!(!whole(&deep(DEPTH as usize + 1)));
    }

    /// Pieces of JSON, and of what looks like it.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            "\"",
            "\"a\"",
            "\"a\":",
            "\"\\u00e9\"",
            "\"\\ud800\"",
            "\\",
            "\\u",
            "\\x",
            "0",
            "-",
            "-0",
            "1",
            "12",
            ".",
            ".5",
            "e",
            "E+1",
            "true",
            "false",
            "null",
            "nul",
            "x",
            "\u{1}",
            "\u{7f}",
            "é",
            "\"long enough for eight\"",
            "\"é\u{1f}\"",
            "\"\t\"",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    /// JSON that is right, in which a byte or two are then changed.
    fn nearly() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(|value| value.to_string()),
            any::<i64>().prop_map(|value| value.to_string()),
            any::<f64>()
                .prop_filter("finite", |value| value.is_finite())
                .prop_map(|value| format!("{value:e}")),
            ".*".prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        let tree = leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|values| format!("[{}]", values.join(", "))),
                prop::collection::vec(("[a-z]{0,9}", inner), 0..4).prop_map(|fields| {
                    let fields: Vec<String> =
                        fields.into_iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
                    format!("{{{}}}", fields.join(" ,"))
                }),
            ]
        });
        (tree, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2)).prop_map(
            |(text, changes)| {
                let mut bytes = text.into_bytes();
                for (index, byte) in changes {
                    let index = index.index(bytes.len());
                    bytes[index] = byte;
                }
                String::from_utf8_lossy(&bytes).into_owned()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_taken_the_parser_takes_too(text in prop_oneof![pieces(), nearly()]) {
            let mut values = serde_json::Deserializer::from_str(&text).into_iter::<IgnoredAny>();
            let parsed = values.next().and_then(Result::ok).map(|_| values.byte_offset());
            let start = blank(text.as_bytes(), 0);
            if let Some(end) = value(text.as_bytes(), start) {
                prop_assert_eq!(Some(end), parsed);
            }
        }
    }
}
