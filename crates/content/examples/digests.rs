//! Prints how long it takes to get the digests of files, and of all files in folders first and again with nothing
//! changed, beside a plain stat of each: `cargo run --release --example digests -- FILE|FOLDER…`.
#![expect(clippy::print_stdout, reason = "an example speaks to a person")]

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_content::{Digests, FileKey, Row, Rows, hash};

struct Kept(HashMap<FileKey, Row>);

impl Rows for Kept {
    fn get(&self, keys: &[FileKey]) -> Vec<Option<Row>> {
        keys.iter().map(|key| self.0.get(key).copied()).collect()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        if path.is_dir() { folder(&path)? } else { file(&path)? }
    }
    Ok(())
}

fn file(path: &Path) -> Result<(), Box<dyn Error>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let (digest, took) = timed(|| hash::file(&file, size));
    println!("{} {size} bytes in {took}", digest?.0);
    Ok(())
}

fn folder(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut paths = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut folders } else { &mut paths };
            list.push(entry.path());
        }
    }
    paths.sort();
    let first = Digests::new(Box::new(Kept(HashMap::new())), 1);
    let (found, took) = timed(|| first.files(&paths));
    found.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("{} files, first: {took}", paths.len());

    let rows: HashMap<_, _> = first.take_new_rows().into_iter().collect();
    println!("{} of them settled", rows.len());
    let again = Digests::new(Box::new(Kept(rows)), 2);
    let (found, took) = timed(|| again.files(&paths));
    let reread =
        found.into_iter().collect::<Result<Vec<_>, _>>()?.iter().filter(|found| found.reread).count();
    println!("again: {took}, {reread} read all the same");

    let (sizes, took) = timed(|| {
        paths.iter().map(|path| Ok(fs::symlink_metadata(path)?.len())).sum::<std::io::Result<u64>>()
    });
    println!("plain stat: {took}, {} bytes", sizes?);
    Ok(())
}

/// Runs it and says how long it took, and how much of the processors: on a busy machine only that tells something.
fn timed<T>(run: impl FnOnce() -> T) -> (T, String) {
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::try_from(time).unwrap_or_default()
    };
    let (started, cpu_before) = (Instant::now(), cpu());
    let result = run();
    (
        result,
        format!(
            "{} ms, of the processors {} ms",
            started.elapsed().as_millis(),
            cpu().saturating_sub(cpu_before).as_millis()
        ),
    )
}
