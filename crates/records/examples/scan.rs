//! Prints how many records a second one core reads and tells apart: `scan [RECORDS]`.
//!
//! The records have some 200 bytes, with a key and a version. Each phase does what the ones before do and one thing more.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

use cairn_model::{FieldPath, ProjectPath};
use cairn_records::fields::Extractor;
use cairn_records::source::{Reader, SourceFile};

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(2_000_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let file =
        SourceFile { path: ProjectPath::parse("records.jsonl")?, disk: folder.path().join("records.jsonl") };
    let bytes = generate(&file, count)?;
    println!("{count} records of {} bytes", bytes / count);

    let field = |text: &str| FieldPath::parse(text).expect("it has one name");
    let (key, integer, moment) = ([field("order_id")], field("revision"), field("updated_at"));
    time("lines found", count, &file, |reader| while_some(|| Ok(reader.next_if(|_| false)?.is_some())))?;
    time("lines checked", count, &file, |reader| while_some(|| Ok(reader.next()?.is_some())))?;
    for (what, key, version) in [
        ("digest of the record as its key", &key[..0], None),
        ("key and digest", &key[..], None),
        ("key, digest, integer version", &key[..], Some(&integer)),
        ("key, digest, timestamp version", &key[..], Some(&moment)),
    ] {
        let mut extractor = Extractor::new(key, version, None);
        time(what, count, &file, |reader| {
            while_some(|| {
                let Some(raw) = reader.next()? else { return Ok(false) };
                extractor.extract(raw.body?)?;
                Ok(true)
            })
        })?;
    }
    Ok(())
}

fn while_some(mut next: impl FnMut() -> Result<bool, Box<dyn Error>>) -> Result<u64, Box<dyn Error>> {
    let mut count = 0;
    while next()? {
        count += 1;
    }
    Ok(count)
}

/// Prints the best of three passes over the file.
fn time(
    what: &str,
    count: u64,
    file: &SourceFile,
    mut pass: impl FnMut(&mut Reader) -> Result<u64, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let mut reader = Reader::open(file, None)?;
        let start = Instant::now();
        pass(&mut reader)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let (nanoseconds, rate) = per_record(best, count);
    println!("{what:35} {nanoseconds:7.0} ns a record, {rate:6.2} M records/s");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a count of records is far below 2⁵³")]
fn per_record(seconds: f64, count: u64) -> (f64, f64) {
    (seconds / count as f64 * 1e9, count as f64 / seconds / 1e6)
}

/// Writes the records and returns how many bytes they have.
fn generate(file: &SourceFile, count: u64) -> Result<u64, Box<dyn Error>> {
    let mut out = BufWriter::new(File::create(&file.disk)?);
    for n in 0..count {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        writeln!(
            out,
            r#"{{"order_id":"o-{:012x}","customer":{{"id":{},"name":"Customer {}"}},"total":{}.{:02},"currency":"EUR","revision":{},"updated_at":"2026-{:02}-{:02}T{:02}:{:02}:00Z","note":"{:x}"}}"#,
            mixed >> 16,
            mixed % 100_000,
            mixed % 977,
            mixed % 1_000,
            mixed % 100,
            mixed % 50,
            mixed % 12 + 1,
            mixed % 28 + 1,
            mixed % 24,
            mixed % 60,
            mixed,
        )?;
    }
    out.flush()?;
    Ok(out.get_ref().metadata()?.len())
}
