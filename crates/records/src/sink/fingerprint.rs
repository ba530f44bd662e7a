//! A digest of a table's rows, whatever their order.

use cairn_model::Digest;

/// Takes rows one by one in bounded memory: the sum of their digests, lane by lane, which no order changes. Equal rows
/// count as often as they are there.
pub(crate) struct Rows {
    columns: Vec<u8>,
    lanes: [u64; 4],
    count: u64,
}

/// BLAKE3's context. Never changed: digests are compared with kept ones.
const CONTEXT: &str = "cairn v1 table";

impl Rows {
    /// Begins with no row of a table with columns `names`, sorted.
    pub(crate) fn new(names: &[String]) -> Self {
        let mut columns = Vec::new();
        for name in names {
            columns.extend_from_slice(&(name.len() as u64).to_le_bytes());
            columns.extend_from_slice(name.as_bytes());
        }
        Self { columns, lanes: [0; 4], count: 0 }
    }

    /// Adds a row, encoded so that no two rows have the same bytes.
    pub(crate) fn add(&mut self, row: &[u8]) {
        let digest = blake3::Hasher::new_derive_key(CONTEXT).update(row).finalize();
        for (lane, bytes) in self.lanes.iter_mut().zip(digest.as_bytes().chunks_exact(8)) {
            let bytes = bytes.try_into().expect("chunks of 8 bytes");
            *lane = lane.wrapping_add(u64::from_le_bytes(bytes));
        }
        self.count += 1;
    }

    /// Returns the digest of columns, number of rows and their sum.
    pub(crate) fn finish(self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.columns).update(&self.count.to_le_bytes());
        for lane in self.lanes {
            hasher.update(&lane.to_le_bytes());
        }
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(columns: &[&str], rows: &[&str]) -> Digest {
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let mut digest = Rows::new(&columns);
        for row in rows {
            digest.add(row.as_bytes());
        }
        digest.finish()
    }

    #[test]
    fn order_does_not_count_and_all_else_does() {
        assert_eq!(digest(&["a"], &["x", "y"]), digest(&["a"], &["y", "x"]));
        let base = digest(&["a"], &["x", "y"]);
        for other in [
            digest(&["b"], &["x", "y"]),
            digest(&["a"], &["x"]),
            digest(&["a"], &["x", "y", "y"]),
            digest(&["a"], &["xy", ""]),
        ] {
            assert_ne!(base, other);
        }
    }
}
