//! What a stage's own commands say to the process that holds the store, by `cairn once`, `seen`, `mark` and `reject`: the
//! commands' side.
//!
//! - [`protocol`]: what both sides say to each other
//! - [`Client`]: the caller, a plain socket and no more
//! - [`once`]: a command that is run under a key
//!
//! It stands by itself, with few crates below it, since these are called thousands of times: a program that has only this in it
//! starts in a fraction of the time of one with a database.
//!
//! What it does not do: decide. That is the side of the process that holds the store (`cairn_executor::notes`).

mod client;
pub mod once;
pub mod protocol;

pub use client::{Client, ClientError};

/// The variable that says where the socket is.
pub const SOCKET_VARIABLE: &str = "CAIRN_SOCKET";

/// The variable that tells an attempt from one of another process under the same token.
pub const EPOCH_VARIABLE: &str = "CAIRN_ATTEMPT_EPOCH";

/// The variable that holds the key of a command that `cairn once` runs.
pub const ONCE_KEY_VARIABLE: &str = "CAIRN_ONCE_KEY";

/// The variable that holds the keys of all such commands that one runs within, with spaces between.
pub const ONCE_WITHIN_VARIABLE: &str = "CAIRN_ONCE_WITHIN";

/// What [`ONCE_KEY_VARIABLE`] holds in a stage, where there is no such key yet. A shell puts it in the place of
/// `$CAIRN_ONCE_KEY` among the arguments of `cairn once`, which then puts the key in its place.
pub const ONCE_KEY_HOLDER: &str = "%CAIRN_ONCE_KEY%";

/// The program that is `cairn` within stages, where it lies beside the other: it does what is called thousands of times, and
/// starts the other one for all else.
pub const BRIEF_PROGRAM: &str = "cairn-once";
