//! What jobs write.

use std::fs;

use cairn_executor::isolation::log::{Reader, Stream, index_path};
use cairn_executor::isolation::{ExitKind, KeeperError, StartError};

use crate::support::{Fixture, text_of};

#[tokio::test]
async fn both_streams_are_in_the_log_in_their_order() {
    let fixture = Fixture::new();
    let job = fixture.shell("echo a; sleep 0.2; echo b >&2; sleep 0.2; echo c; sleep 0.2; echo d >&2");
    let ended = fixture.run(&job).await.unwrap();
    assert_eq!(text_of(&job), "a\nb\nc\nd\n");
    assert_eq!((ended.log_bytes, ended.log_dropped, ended.log_error), (8, 0, None));
    let mut reader = Reader::new(&job.log);
    let chunks: Vec<_> = std::iter::from_fn(|| reader.next_chunk().unwrap()).collect();
    let streams: Vec<_> = chunks.iter().map(|chunk| (chunk.stream, chunk.bytes.as_slice())).collect();
    let (out, err) = (Stream::Stdout, Stream::Stderr);
    assert_eq!(streams, [(out, &b"a\n"[..]), (err, b"b\n"), (out, b"c\n"), (err, b"d\n")]);
    assert!(chunks.windows(2).all(|pair| pair[0].time < pair[1].time), "{chunks:?}");
}

#[tokio::test]
async fn no_output_makes_no_file() {
    let fixture = Fixture::new();
    let job = fixture.shell("true");
    let ended = fixture.run(&job).await.unwrap();
    assert_eq!(ended.log_bytes, 0);
    assert!(!job.log.exists() && !index_path(&job.log).exists());
}

#[tokio::test]
async fn any_bytes_are_kept() {
    let fixture = Fixture::new();
    let bytes: Vec<u8> =
        (0..1_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(fixture.path("bytes"), &bytes).unwrap();
    let job = fixture.shell("cat bytes");
    let ended = fixture.run(&job).await.unwrap();
    assert_eq!(ended.log_bytes, 1_000_000);
    assert!(Reader::text(&job.log).unwrap() == bytes);
}

#[tokio::test]
async fn nothing_is_lost_at_the_end() {
    let fixture = Fixture::new();
    // A pipe full, written right before the end.
    for _ in 0..20 {
        let job = fixture.shell("head -c 65536 /dev/zero >&2; head -c 65536 /dev/zero");
        let ended = fixture.run(&job).await.unwrap();
        assert_eq!((ended.log_bytes, ended.log_dropped), (131_072, 0));
    }
}

#[tokio::test]
async fn output_beyond_the_limit_is_dropped_and_the_job_goes_on() {
    let fixture = Fixture::new();
    let job = fixture.shell("head -c 104857600 /dev/zero; echo end >&2; exit 6");
    let ended = fixture.run(&job).await.unwrap();
    let mark = b"\n[cairn: output beyond 64 MiB was dropped]\n";
    assert_eq!(ended.status, ExitKind::Code(6));
    assert_eq!(ended.log_bytes, (64 << 20) + mark.len() as u64);
    assert_eq!(ended.log_dropped, (36 << 20) + 4);
    assert!(ended.log_truncated());
    assert_eq!(fs::metadata(&job.log).unwrap().len(), ended.log_bytes);
    assert_eq!(Reader::last_lines(&job.log, 1).unwrap(), mark[1..]);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_does_not_hold_the_job_up() {
    let fixture = Fixture::new();
    let mut job = fixture.shell("head -c 1000000 /dev/zero; exit 3");
    fs::write(fixture.path("file"), "").unwrap();
    job.log = fixture.path("file/x.log");
    let ended = fixture.run(&job).await.unwrap();
    assert_eq!((ended.status, ended.log_bytes, ended.log_dropped), (ExitKind::Code(3), 0, 1_000_000));
    assert!(ended.log_error.is_some());
}

#[tokio::test]
async fn a_growing_log_is_followed() {
    let fixture = Fixture::new();
    let job = fixture.shell("echo one; touch ready; until [ -e go ]; do sleep 0.01; done; echo two >&2");
    let mut reader = Reader::new(&job.log);
    assert_eq!(reader.next_chunk().unwrap(), None, "it is not there yet");
    let running = fixture.begin(&job).await;
    let mut first = None;
    crate::support::until("the first line is there", || {
        first = reader.next_chunk().unwrap();
        first.is_some()
    })
    .await;
    assert_eq!(first.unwrap().bytes, b"one\n");
    assert_eq!(reader.next_chunk().unwrap(), None);
    fs::write(fixture.path("go"), "").unwrap();
    running.await.unwrap().unwrap();
    let second = reader.next_chunk().unwrap().unwrap();
    assert_eq!((second.stream, second.bytes.as_slice()), (Stream::Stderr, b"two\n".as_slice()));
    assert_eq!(reader.next_chunk().unwrap(), None);
}

#[tokio::test]
async fn standard_output_goes_to_a_file() {
    let fixture = Fixture::new();
    let mut job = fixture.shell("printf out; printf err >&2");
    job.stdout = Some(fixture.path("out"));
    fs::write(fixture.path("out"), "what stood there before, which is longer").unwrap();
    let ended = fixture.run(&job).await.unwrap();
    assert_eq!(fs::read_to_string(fixture.path("out")).unwrap(), "out");
    assert_eq!(text_of(&job), "err");
    assert_eq!(ended.log_bytes, 3);
}

#[tokio::test]
async fn standard_output_goes_to_nothing_but_a_file() {
    let fixture = Fixture::new();
    let mut job = fixture.shell("echo out");
    let fifo = fixture.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for path in [fifo, "/dev/null".into()] {
        job.stdout = Some(path.clone());
        let refused = fixture.run(&job).await.unwrap_err();
        let expect = StartError::StdoutKind { path: path.display().to_string() };
        assert!(matches!(&refused, KeeperError::Start(error) if *error == expect), "{refused:?}");
    }
    job.stdout = Some(fixture.path("none/out"));
    let refused = fixture.run(&job).await.unwrap_err().to_string();
    let expect = format!(
        "cannot write standard output to `{}`: no such file or directory",
        job.stdout.unwrap().display()
    );
    assert_eq!(refused, expect);
}
