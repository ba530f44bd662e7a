//! Output bytes by digest: durable writes, placing, the digest cache and the trash.
//!
//! - [`durable`]: the only code that renames, syncs and removes trees; [`durable::Barrier`] makes many files durable at once
//! - [`hash`]: digests of files, in parallel and without a memory map; [`copy`]: of what is copied, while it is
//! - [`Digests`]: the digests of a project's files, remembered by [`FileKey`] and [`Stamp`]
//! - [`Objects`]: the content store; [`Placer`]: from there into the project; [`trash`]: what was in the way
//! - [`relocate()`]: what is moved, to another filesystem if need be
//! - [`gc`], [`left`], [`ballast`]: leftovers of a crash, what could not be removed, and room for recovery on a full disk
//!
//! What it does not do: know pipelines, decide what is stale, open the database.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on panics"))]

pub mod ballast;
pub mod copy;
mod digests;
pub mod durable;
mod file_error;
mod filesystem;
pub mod gc;
pub mod hash;
pub mod left;
#[cfg(test)]
mod mounted;
mod objects;
mod open;
mod placer;
mod relocate;
mod stamp;
mod temporary;
pub mod trash;

pub use digests::{DigestError, Digests, Found, FoundTree, Row, Rows};
pub use file_error::FileError;
pub use objects::{ObjectError, Objects, SMALL_MAX, SmallObjects, object_path};
pub use placer::{PlaceError, Placed, PlacedFile, Placement, Placer, Standing};
pub use relocate::relocate;
pub use stamp::{FileKey, Stamp};
