use proptest::prelude::*;

use super::*;

#[test]
fn lines_are_records() {
    let check = |bytes: &[u8], expect: &[(u64, &str)]| {
        let found = records("a.jsonl", bytes);
        let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, expect, "{}", bytes.escape_ascii());
    };
    check(b"", &[]);
    check(b"\n \r\n\n", &[]);
    check(b"{}\n{\"a\":1}\n", &[(1, "{}"), (2, "{\"a\":1}")]);
    check(b"{}\r\n\r\n{}", &[(1, "{}"), (3, "{}")]);
    check(b"\xef\xbb\xbf{}\n", &[(1, "{}")]);
    check(b" {} \n", &[(1, " {} ")]);
    check("{\"ä\":\"漢\\u0000\"}\n".as_bytes(), &[(1, "{\"ä\":\"漢\\u0000\"}")]);
}

#[test]
fn a_broken_line_is_passed_and_the_next_is_read() {
    let (all, error) = read("a.jsonl", b"{}\n{\"a\":\"\xff\"}\n{\"b\":\"\0\"}\n{}\n", None);
    assert!(error.is_none());
    let bad = |class, text: &str| Err((class, text.to_owned()));
    assert_eq!(
        all,
        [
            (0, 1, Ok("{}".to_owned())),
            (1, 2, bad(BadClass::Encoding, "byte 7 of the record is not UTF-8")),
            (2, 3, bad(BadClass::Encoding, "byte 7 of the record is a NUL")),
            (3, 4, Ok("{}".to_owned())),
        ]
    );
}

#[test]
fn the_excerpt_is_the_start() {
    let mut line = vec![b'x'; 10_000];
    line.push(0xff);
    let fixture = fixture("a.jsonl", &line);
    let mut reader = Reader::open(&fixture.file, None).unwrap();
    let bad = reader.next().unwrap().unwrap().body.unwrap_err();
    assert_eq!(bad.excerpt, vec![b'x'; 4096]);
    assert!(bad.help.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever texts, lengths around the buffer's, and ends of lines: the same come out.
    #[test]
    fn what_was_written_is_read(
        texts in proptest::collection::vec(("[^\n\r\0]{0,40}", 0_usize..300_000), 0..12),
        returns: bool, last_end: bool,
    ) {
        let end = if returns { "\r\n" } else { "\n" };
        let lines: Vec<String> = texts
            .iter()
            .map(|(text, filling)| serde_json::to_string(&[text, &"y".repeat(*filling)]).unwrap())
            .collect();
        let mut bytes = lines.join(end);
        if last_end {
            bytes.push_str(end);
        }
        let found: Vec<String> = records("a.jsonl", bytes.as_bytes()).into_iter().map(|(_, text)| text).collect();
        prop_assert!(found == lines);
    }
}
