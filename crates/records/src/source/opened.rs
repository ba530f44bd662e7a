//! From a file's name to its bytes: format and compression.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};

use cairn_model::Format;
use flate2::bufread::GzDecoder;

use super::{Position, SourceError, SourceFile};

/// Unpacked bytes.
pub(super) type Bytes = Box<dyn Read + Send>;

/// The members of a gzip file, one after the other. Zeros behind the last are padding, as of tapes; anything else there is
/// told of, since it may be data that was cut off or never packed.
struct Gzip {
    /// `None` after the end.
    member: Option<GzDecoder<BufReader<File>>>,
}

impl Gzip {
    fn new(file: File) -> Self {
        Self { member: Some(GzDecoder::new(BufReader::with_capacity(1 << 16, file))) }
    }
}

impl Read for Gzip {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(to)?;
            if read > 0 || to.is_empty() {
                return Ok(read);
            }
            let Some(ended) = self.member.take() else { break };
            let mut rest = ended.into_inner();
            let mut padded = false;
            loop {
                let bytes = rest.fill_buf()?;
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                padded |= zeros > 0;
                match bytes.get(zeros) {
                    None if bytes.is_empty() => return Ok(0),
                    None => rest.consume(zeros),
                    Some(0x1f) if !padded => break,
                    Some(_) => {
                        let text = "bytes that are no gzip follow its end";
                        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                    }
                }
            }
            self.member = Some(GzDecoder::new(rest));
        }
        Ok(0)
    }
}

pub(super) enum Opened {
    Jsonl(Bytes),
    Csv(Bytes),
    Parquet(File),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

pub(super) fn open(file: &SourceFile, format: Option<Format>) -> Result<Opened, SourceError> {
    let path = || file.path.clone();
    let (packing, by_ending) = endings(file.path.as_str());
    let format = format.or(by_ending).ok_or_else(|| SourceError::UnknownFormat { path: path() })?;
    if format == Format::Parquet && packing != Packing::None {
        return Err(SourceError::PackedParquet { path: path() });
    }
    let failed = |source| SourceError::Io { path: path(), position: Position::Start, source };
    let opened = File::open(&file.disk).map_err(failed)?;
    if opened.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let unpacked = |opened: File| -> Result<Bytes, SourceError> {
        Ok(match packing {
            Packing::None => Box::new(opened),
            Packing::Gzip => Box::new(Gzip::new(opened)),
            Packing::Zstd => Box::new(zstd::Decoder::new(opened).map_err(failed)?),
        })
    };
    Ok(match format {
        Format::Jsonl => Opened::Jsonl(unpacked(opened)?),
        Format::Csv => Opened::Csv(unpacked(opened)?),
        Format::Parquet => Opened::Parquet(opened),
    })
}

/// Returns whether a file of that path has no types: CSV, which `format` says above the path's ending.
pub(crate) fn is_untyped(path: &str, format: Option<Format>) -> bool {
    format.or_else(|| endings(path).1) == Some(Format::Csv)
}

fn endings(path: &str) -> (Packing, Option<Format>) {
    let (stem, last) = path.rsplit_once('.').unwrap_or((path, ""));
    let (packing, ending) = match last.to_ascii_lowercase().as_str() {
        "gz" => (Packing::Gzip, stem.rsplit_once('.').map_or("", |(_, ending)| ending)),
        "zst" => (Packing::Zstd, stem.rsplit_once('.').map_or("", |(_, ending)| ending)),
        _ => (Packing::None, last),
    };
    let format = match ending.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
        "csv" => Some(Format::Csv),
        "parquet" => Some(Format::Parquet),
        _ => None,
    };
    (packing, format)
}
