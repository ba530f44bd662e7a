//! Bytes whose form is not the store's affair: the text of a definition, the bytes of a small file, what the engine of
//! records keeps.

use super::{Damage, Record};

/// Bytes as they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl Record for Blob {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => Ok(Self(body.to_vec())),
            version => Err(Damage::Version { version }),
        }
    }
}
