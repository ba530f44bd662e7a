//! Notes: what a stage's own commands have cairn remember, by `cairn once`, `seen`, `mark` and `reject`.
//!
//! - [`Server`]: the side of the process that holds the store, a thread a caller
//! - `service`: what is decided there; `attempts`: whom it is decided for
//! - [`place`]: where both meet
//!
//! `once` and `mark` are durable when they are answered. What `seen` and `reject` were told is part of the attempt: it
//! counts once the attempt's checkpoint is committed, and is in the same batch.
//!
//! What it does not do: run a command, read or write a record: that is the commands' side (`cairn_notes`).

mod attempts;
pub mod place;
mod server;
mod service;

pub use server::Server;
pub(crate) use service::Closed;
pub use service::{Service, Writer, once_key_in};
