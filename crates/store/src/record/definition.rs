//! The text of a pipeline file as it was when a run was started.

use super::{Damage, Record};

/// The stored bytes are the text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition(pub(crate) Vec<u8>);

impl Record for Definition {
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
