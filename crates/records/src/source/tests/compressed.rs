use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Lines that do not shrink to nothing.
fn lines(count: u64) -> Vec<u8> {
    let line = |n: u64| format!("{{\"n\":{}}}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..count).map(line).collect::<String>().into_bytes()
}

#[test]
fn several_members_and_frames_are_one_text() {
    for pack in [gzip, zstandard] {
        let ending = if pack(b"").starts_with(&[0x1f, 0x8b]) { "gz" } else { "zst" };
        // A line may go over the seam.
        let bytes = [pack(b"{\"a\":1}\n{\"a\""), pack(b":2}\n"), pack(b""), pack(b"{\"a\":3}")].concat();
        let found = records(&format!("a.jsonl.{ending}"), &bytes);
        let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
        assert_eq!(records(&format!("a.csv.{ending}"), &pack(b"a\n1\n")), [(2, r#"{"a":"1"}"#.to_owned())]);
    }
}

#[test]
fn a_file_that_breaks_off_gives_its_whole_lines_and_an_error() {
    for (name, whole) in [("a.jsonl.gz", gzip(&lines(20_000))), ("a.jsonl.zst", zstandard(&lines(20_000)))] {
        let expect = lines(20_000);
        for cut in [1, 9, whole.len() / 2] {
            let (all, error) = read(name, &whole[..whole.len() - cut], None);
            let error = error.unwrap_or_else(|| panic!("{name} cut by {cut} is no error"));
            let text = error.to_string();
            assert!(text.starts_with(&format!("`{name}` breaks off after line ")), "{text}");
            assert!(error.help().unwrap().contains("the end of it is missing"));
            // Nothing is a record that was cut within.
            for (ordinal, _, body) in &all {
                let line = expect.split(|byte| *byte == b'\n').nth(usize::try_from(*ordinal).unwrap() % 100);
                if *ordinal < 100 {
                    assert_eq!(body.as_ref().unwrap().as_bytes(), line.unwrap());
                }
                assert!(body.as_ref().unwrap().ends_with('}'));
            }
        }
    }
}

#[test]
fn what_is_not_compressed_is_an_error() {
    let (text, help) = error("a.jsonl.gz", b"{\"a\":1}\n{\"a\":2}\n");
    assert!(text.starts_with("`a.jsonl.gz` is damaged after line 0 (byte 0): "), "{text}");
    assert!(help.is_some());
    let (text, _) = error("a.csv.zst", b"a\n1\n2\n3\n4\n5\n");
    assert!(text.starts_with("`a.csv.zst` is damaged after line 0 (byte 0): "), "{text}");
}

#[test]
fn a_damaged_middle_is_an_error() {
    let mut bytes = gzip(&lines(20_000));
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 64] {
        *byte ^= 0x55;
    }
    let (_, error) = read("a.jsonl.gz", &bytes, None);
    assert!(error.is_some());
}

#[test]
fn a_parquet_file_cannot_be_packed() {
    let (text, help) = error("a.parquet.gz", b"");
    assert!(text.contains("can only be read from its end"), "{text}");
    assert!(help.unwrap().contains("unpack it"));
}

#[test]
fn what_follows_a_gzip_file_is_padding_or_told_of() {
    let members = [gzip(b"{\"a\":1}\n"), gzip(b"{\"a\":2}\n")].concat();
    for padding in [0, 1, 512, 200_000] {
        let (all, error) = read("a.jsonl.gz", &[members.clone(), vec![0; padding]].concat(), None);
        assert!(error.is_none(), "{padding} {error:?}");
        assert_eq!(all.len(), 2, "{padding}");
    }
    for rest in [&b"{\"a\":3}\n"[..], b"\0\0x", &[&[0; 9], gzip(b"{}\n").as_slice()].concat()] {
        let (_, error) = read("a.jsonl.gz", &[&members, rest].concat(), None);
        let error = error.unwrap().to_string();
        assert!(error.contains("bytes that are no gzip follow its end"), "{error}");
    }
}
