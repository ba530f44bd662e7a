//! Notes: what a stage's own commands have cairn remember, by `cairn once`, `seen`, `mark` and `reject`.
//!
//! - [`Client`]: the commands' side, a plain socket and no more: they are called thousands of times
//! - [`Server`]: the side of the process that holds the store, a thread a caller
//! - `service`: what is decided there; `attempts`: whom it is decided for
//! - [`protocol`]: what they say to each other; [`place`]: where they meet
//!
//! `once` and `mark` are durable when they are answered. What `seen` and `reject` were told is part of the attempt: it
//! counts once the attempt's checkpoint is committed, and is in the same batch.
//!
//! What it does not do: run a command, read or write a record: that is the client's side.

mod attempts;
mod client;
pub mod place;
pub mod protocol;
mod server;
mod service;

pub use client::{Client, ClientError};
pub use server::Server;
pub(crate) use service::Closed;
pub use service::{Service, Writer, once_key_in};

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
