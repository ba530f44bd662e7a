//! What a record says about itself: its key, its version, whether it is a deletion.
//!
//! The key is the canonical JSON array of the values of its fields: texts with the escapes that JSON needs and no others,
//! numbers by their exact value (`1`, `1.0` and `1e0` are one key), texts apart from numbers. Its digest, and that of the
//! record's bytes, are the first 16 bytes of BLAKE3 in derive-key mode; both are kept in the store, so neither the
//! canonical form nor the contexts ever change.

mod fault;
mod key;
mod walk;

use std::sync::LazyLock;

use blake3::hazmat::{self, ContextKey, HasherExt};
use cairn_model::FieldPath;

use crate::order::OrderBytes;
use crate::source::BadRecord;
use walk::Wanted;

pub use key::key_text;
pub(crate) use key::{SortKey, canonical, key_json};

/// The first 16 bytes of a digest: two of 2⁶⁴ different records hardly ever share one.
pub type ShortDigest = [u8; 16];

static KEY: LazyLock<ContextKey> = LazyLock::new(|| hazmat::hash_derive_key_context("cairn v1 record-key"));
static RECORD: LazyLock<ContextKey> = LazyLock::new(|| hazmat::hash_derive_key_context("cairn v1 record"));

/// What one record says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// Digest of the key: equal for all records of one key.
    pub key: ShortDigest,
    /// The version, if a field for it was asked for.
    pub version: Option<OrderBytes>,
    /// Whether the record says that it has been deleted.
    pub tombstone: bool,
    /// Digest of the record's bytes as they stand.
    pub digest: ShortDigest,
}

/// Reads keys and versions from records, in one pass over each and without an allocation for most.
#[derive(Debug)]
pub struct Extractor {
    wanted: Wanted,
    key: Vec<FieldPath>,
    version: Option<FieldPath>,
    tombstone: Option<FieldPath>,
    untyped: bool,
    /// The key of the current record.
    canonical: Vec<u8>,
}

impl Extractor {
    /// Prepares for records with these fields. Without key fields, the record's bytes are its key.
    pub fn new(key: &[FieldPath], version: Option<&FieldPath>, tombstone: Option<&FieldPath>) -> Self {
        let paths: Vec<&FieldPath> = key.iter().chain(version).chain(tombstone).collect();
        Self {
            wanted: Wanted::new(&paths),
            key: key.to_vec(),
            version: version.cloned(),
            tombstone: tombstone.cloned(),
            untyped: false,
            canonical: Vec::new(),
        }
    }

    /// Says whether records come from a file without types ([`crate::source::Reader::is_untyped`]): a version of digits
    /// is then a number, and a tombstone of `0`, `false` or `null` is none.
    #[must_use]
    pub fn untyped(mut self, untyped: bool) -> Self {
        self.untyped = untyped;
        self
    }

    /// Reads `json`, which must be one JSON object and nothing else. Of fields that it has twice, the last counts.
    pub fn extract(&mut self, json: &[u8]) -> Result<Extracted, BadRecord> {
        let text = self.wanted.find(json)?;
        let mut slot = 0;
        let key = if self.key.is_empty() {
            short_digest(&KEY, json)
        } else {
            self.canonical.clear();
            for field in &self.key {
                self.canonical.push(if slot == 0 { b'[' } else { b',' });
                key::write_canonical(self.wanted.value(slot, text), &mut self.canonical)
                    .map_err(|fault| fault::key(field, fault, json))?;
                slot += 1;
            }
            self.canonical.push(b']');
            short_digest(&KEY, &self.canonical)
        };
        let mut version = None;
        if let Some(field) = &self.version {
            let value = self.wanted.value(slot, text).ok_or_else(|| fault::no_version(field, json))?;
            let order = OrderBytes::of_json(value, self.untyped);
            version = Some(order.map_err(|error| fault::version(field, error, json))?);
            slot += 1;
        }
        let tombstone = self.tombstone.is_some()
            && self.wanted.value(slot, text).is_some_and(|value| is_set(value, self.untyped));
        Ok(Extracted { key, version, tombstone, digest: short_digest(&RECORD, json) })
    }
}

/// Returns the digest of a record's bytes, as in [`Extracted::digest`].
pub fn record_digest(json: &[u8]) -> ShortDigest {
    short_digest(&RECORD, json)
}

fn short_digest(context: &ContextKey, bytes: &[u8]) -> ShortDigest {
    let digest = blake3::Hasher::new_from_context_key(context).update(bytes).finalize();
    *digest.as_bytes().first_chunk().expect("a digest has 32 bytes")
}

/// Returns whether a value is neither false, null, 0 nor empty.
fn is_set(value: &str, untyped: bool) -> bool {
    let bytes = value.as_bytes();
    match bytes.first() {
        Some(b'n' | b'f') => false,
        Some(b't') => true,
        Some(b'"') if untyped => {
            let text = value[1..value.len() - 1].trim();
            !["", "0", "false", "null"].iter().any(|none| text.eq_ignore_ascii_case(none))
        }
        Some(b'"') => value.len() > 2,
        Some(b'[' | b'{') => bytes[1..bytes.len() - 1].iter().any(|byte| !byte.is_ascii_whitespace()),
        // A number is 0 when all digits before its exponent are.
        _ => bytes
            .iter()
            .take_while(|byte| !matches!(byte, b'e' | b'E'))
            .any(|byte| matches!(byte, b'1'..=b'9')),
    }
}

#[cfg(test)]
mod tests;
