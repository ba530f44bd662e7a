//! Tallies: how the store knows that none of its batches is missing.
//!
//! What RocksDB finds cut off at the end of a log it takes for a write that a crash interrupted, and goes on with the
//! next log; the same at the end of its manifest, which then leaves out whole tables. A single flipped byte can so take
//! away batches from the middle, and the head, which each batch writes anew, would not show it.
//!
//! So each batch adds one to a row in every family it changes, and writes the sums that must result into the head. The
//! row is a *merge*: what is stored is "one more", and RocksDB adds up what it finds. On opening, the sums are compared.

use rocksdb::MergeOperands;

/// One more.
pub(crate) const ONE: [u8; 8] = 1_u64.to_be_bytes();

pub(crate) fn decode(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// Adds up; RocksDB takes `None` for damage.
pub(crate) fn merge(_key: &[u8], existing: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let mut sum = existing.map_or(Some(0), decode)?;
    for operand in operands {
        sum = sum.checked_add(decode(operand)?)?;
    }
    Some(sum.to_be_bytes().to_vec())
}
