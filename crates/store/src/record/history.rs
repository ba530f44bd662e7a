//! The input-hashes that an instance had, so that what changed can be said of a new one.

use cairn_model::InputHash;

use super::{Damage, Record, from_postcard, names, to_postcard};

/// Newest first, none twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct History {
    pub(crate) hashes: Vec<InputHash>,
}

impl History {
    /// Hashes that are kept: enough to find the one that lies nearest when an edit is undone or several are tried.
    pub(crate) const LENGTH_MAX: usize = 8;

    /// Puts `hash` at the front.
    pub(crate) fn push(&mut self, hash: InputHash) {
        self.hashes.retain(|known| *known != hash);
        self.hashes.insert(0, hash);
        self.hashes.truncate(Self::LENGTH_MAX);
    }
}

mod v1 {
    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::Digest;

    #[derive(Serialize, Deserialize)]
    pub(super) struct History {
        pub(super) hashes: Vec<Digest>,
    }
}

impl Record for History {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { hashes } = self;
        to_postcard(&v1::History { hashes: hashes.iter().map(names::stored_input_hash).collect() })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::History { hashes } = from_postcard(body)?;
                Ok(Self { hashes: hashes.into_iter().map(names::input_hash).collect() })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stands_first_and_eight_are_kept() {
        let hash = |n: u8| InputHash::of_preimage(&[n]);
        let mut history = History::default();
        for n in 0..10 {
            history.push(hash(n));
        }
        assert_eq!(history.hashes, (2..10).rev().map(hash).collect::<Vec<_>>());
        history.push(hash(4));
        assert_eq!(history.hashes, [4, 9, 8, 7, 6, 5, 3, 2].map(hash));
    }
}
