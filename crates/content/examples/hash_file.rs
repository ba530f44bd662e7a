//! Hashes files as cairn does and prints the time: `cargo run --release --example hash_file -- FILE`.
#![expect(clippy::print_stdout, reason = "an example speaks to a person")]
use std::fs::File;
use std::time::Instant;

fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        let started = Instant::now();
        let file = File::open(&path)?;
        let (digest, size) = cairn_content::hash::file(&file, file.metadata()?.len())?;
        println!("{digest} {size} bytes {:?}", started.elapsed());
    }
    Ok(())
}
