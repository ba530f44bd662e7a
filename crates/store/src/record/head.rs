//! What the store knows of itself: its format, and where it stands.

use cairn_model::Digest;

use super::{Damage, Record, from_postcard, to_postcard};
use crate::keys::Family;

/// The version of the format that the store is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) version: u32,
}

/// The last batch, written with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The batch's number.
    pub(crate) sequence: u64,
    /// Digest over all batches up to it.
    pub(crate) chain: Digest,
    /// For each family, the number of batches that changed it.
    pub(crate) tallies: [u64; Family::ALL.len()],
}

impl Head {
    /// Before the first batch.
    pub(crate) const START: Self =
        Self { sequence: 0, chain: Digest::from_bytes([0; 32]), tallies: [0; Family::ALL.len()] };

    /// Returns what callers see of it.
    pub(crate) fn place(&self) -> crate::Head {
        crate::Head { sequence: self.sequence, chain: self.chain }
    }
}

mod v1 {
    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::Digest;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Format {
        pub(super) version: u32,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Head {
        pub(super) sequence: u64,
        pub(super) chain: Digest,
        pub(super) tallies: Vec<u64>,
    }
}

impl Record for Format {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { version } = *self;
        to_postcard(&v1::Format { version })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Format { version } = from_postcard(body)?;
                Ok(Self { version })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl Record for Head {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { sequence, chain, tallies } = self;
        to_postcard(&v1::Head { sequence: *sequence, chain: *chain.as_bytes(), tallies: tallies.to_vec() })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Head { sequence, chain, tallies: mut counted } = from_postcard(body)?;
                // An older format has fewer families; those it lacks were never written to.
                if counted.len() < Family::ALL.len() {
                    counted.resize(Family::ALL.len(), 0);
                }
                let tallies =
                    counted.try_into().map_err(|_| Damage::Body { what: "it counts other families" })?;
                Ok(Self { sequence, chain: Digest::from_bytes(chain), tallies })
            }
            version => Err(Damage::Version { version }),
        }
    }
}
