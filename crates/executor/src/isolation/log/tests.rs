use std::fs;

use cairn_model::FixedClock;
use proptest::prelude::*;

use super::*;

fn clock() -> FixedClock {
    FixedClock::new(Timestamp(1_700_000_000_123))
}

fn chunks(reader: &mut Reader) -> Vec<(Stream, Vec<u8>)> {
    let next = || reader.next_chunk().unwrap().map(|chunk| (chunk.stream, chunk.bytes));
    std::iter::from_fn(next).collect()
}

#[test]
fn a_record_has_these_bytes() {
    let record = Record { time: Timestamp(0x0102_0304_0506), stream: Stream::Stderr, length: 0x0708 };
    let bytes = [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 2, 0, 0, 7, 8];
    assert_eq!(record.to_bytes(), bytes);
    assert_eq!(Record::from_bytes(bytes), record);
}

#[test]
fn nothing_is_made_before_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/x.log");
    let mut writer = Writer::new(path.clone(), 100, clock());
    let mut reader = Reader::new(&path);
    writer.append(Stream::Stdout, b"");
    assert!(!folder.path().join("run").exists());
    assert_eq!(reader.next_chunk().unwrap(), None);
    assert_eq!(Reader::text(&path).unwrap(), b"");
    assert_eq!(Reader::last_lines(&path, 3).unwrap(), b"");

    writer.append(Stream::Stderr, b"a");
    assert!(path.exists() && index_path(&path).exists());
    let chunk = Chunk { time: Timestamp(1_700_000_000_123), stream: Stream::Stderr, bytes: b"a".to_vec() };
    assert_eq!(reader.next_chunk().unwrap(), Some(chunk));
    assert_eq!(reader.next_chunk().unwrap(), None);
}

#[test]
fn output_beyond_the_limit_is_counted_and_marked_once() {
    let check = |limit: u64, pieces: &[&str], text: &str, dropped: u64| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut writer = Writer::new(path.clone(), limit, clock());
        for piece in pieces {
            writer.append(Stream::Stdout, piece.as_bytes());
        }
        let (kept, gone, error) = writer.finish();
        assert!(error.is_none());
        assert_eq!(String::from_utf8(Reader::text(&path).unwrap()).unwrap(), text);
        assert_eq!((kept, gone), (text.len() as u64, dropped));
    };
    check(4, &["ab", "cd"], "abcd", 0);
    check(4, &["abc\n", "e"], "abc\n[cairn: output beyond 4 bytes was dropped]\n", 1);
    check(4, &["abcdef", "gh", "i"], "abcd\n[cairn: output beyond 4 bytes was dropped]\n", 5);
    check(0, &["a"], "[cairn: output beyond 0 bytes was dropped]\n", 1);
    check(
        2048,
        &["x".repeat(2049).as_str()],
        &("x".repeat(2048) + "\n[cairn: output beyond 2 KiB was dropped]\n"),
        1,
    );
    let (over, kept) = ("x".repeat(1025), "x".repeat(1024));
    check(1024, &[&over], &format!("{kept}\n[cairn: output beyond 1 KiB was dropped]\n"), 1);
}

#[test]
fn a_log_that_cannot_be_written_says_so_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.log");
    fs::create_dir(&path).unwrap();
    let mut writer = Writer::new(path, 100, clock());
    writer.append(Stream::Stdout, b"abc");
    writer.append(Stream::Stdout, b"de");
    let (kept, dropped, error) = writer.finish();
    assert_eq!((kept, dropped), (0, 5));
    assert!(error.is_some());
}

#[test]
fn a_full_disk_is_an_error_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let mut writer = Writer::new(path, 100, clock());
    writer.append(Stream::Stdout, b"abc");
    let (kept, dropped, error) = writer.finish();
    assert_eq!((kept, dropped), (0, 3));
    assert_eq!(error.unwrap().kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn last_lines() {
    let check = |text: &str, lines: usize, expect: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut writer = Writer::new(path.clone(), u64::MAX, clock());
        for piece in text.as_bytes().chunks(5) {
            writer.append(Stream::Stdout, piece);
        }
        assert_eq!(Reader::last_lines(&path, lines).unwrap(), expect.as_bytes(), "{lines} of {text:?}");
        let mut reader = Reader::from_last_lines(&path, lines).unwrap();
        let read: Vec<u8> = chunks(&mut reader).into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(read, expect.as_bytes(), "{lines} of {text:?}");
    };
    check("", 2, "");
    check("one\ntwo\nthree\n", 0, "");
    check("one\ntwo\nthree\n", 1, "three\n");
    check("one\ntwo\nthree", 1, "three");
    check("one\ntwo\nthree\n", 2, "two\nthree\n");
    check("one\ntwo\nthree\n", 3, "one\ntwo\nthree\n");
    check("one\ntwo\nthree\n", 9, "one\ntwo\nthree\n");
    check("\n\n\n", 2, "\n\n");
    let long = "x".repeat(200_000) + "\n" + &"y".repeat(100_000);
    check(&long, 1, &"y".repeat(100_000));
    check(&long, 2, &long);
}

#[test]
fn a_log_cut_off_by_a_power_cut_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.log");
    let mut writer = Writer::new(path.clone(), 100, clock());
    writer.append(Stream::Stdout, b"first");
    writer.append(Stream::Stderr, b"second");
    let index = fs::read(index_path(&path)).unwrap();
    let all = [(Stream::Stdout, b"first".to_vec()), (Stream::Stderr, b"second".to_vec())];
    assert_eq!(chunks(&mut Reader::new(&path)), all);

    // The index lost its last record, or half of it.
    for kept in [RECORD, RECORD + 7] {
        fs::write(index_path(&path), &index[..kept]).unwrap();
        let unknown = [all[0].clone(), (Stream::Unknown, b"second".to_vec())];
        assert_eq!(chunks(&mut Reader::new(&path)), unknown);
    }
    // The log lost its last bytes.
    fs::write(index_path(&path), &index).unwrap();
    fs::write(&path, b"firstsec").unwrap();
    let mut reader = Reader::new(&path);
    assert_eq!(chunks(&mut reader), [all[0].clone(), (Stream::Stderr, b"sec".to_vec())]);
    fs::write(&path, b"firstsecond").unwrap();
    assert_eq!(chunks(&mut reader), [(Stream::Stderr, b"ond".to_vec())]);
}

proptest! {
    #[test]
    fn what_was_appended_is_read_by_stream_and_in_order(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..30),
        read_after in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut writer = Writer::new(path.clone(), u64::MAX, clock());
        let mut reader = Reader::new(&path);
        let mut read = Vec::new();
        for (at, (out, bytes)) in pieces.iter().enumerate() {
            if at == read_after.index(pieces.len()) {
                read.extend(chunks(&mut reader));
            }
            writer.append(if *out { Stream::Stdout } else { Stream::Stderr }, bytes);
        }
        read.extend(chunks(&mut reader));
        let expect: Vec<_> = pieces
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(out, bytes)| (if out { Stream::Stdout } else { Stream::Stderr }, bytes))
            .collect();
        prop_assert_eq!(&read, &expect);
        let text: Vec<u8> = expect.into_iter().flat_map(|(_, bytes)| bytes).collect();
        prop_assert_eq!(Reader::text(&path).unwrap(), text);
    }
}
