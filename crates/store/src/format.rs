//! The version of the store's format: what is in the families, their keys and their values, and in `HEAD`.
//!
//! | version | since | what changed |
//! | ------- | ----- | ------------ |
//! | 1       | 0.1.0 | the first    |
//! | 2       | 0.1.0 | families for effects, notes, dead letters and records, which opening for writing makes |
//! | 3       | 0.1.0 | families of the daemon: tickets, their queue, occurrences, schedules, submissions, messages |
//! | 4       | 0.1.0 | values that an older cairn cannot read: dead letters with an edit that failed, effects that drifted, two triggers |
//! | 5       | 0.1.0 | values that an older cairn cannot read: runs and tickets with their caller's span; beside schedules the texts in force |
//! | 6       | 0.1.0 | values that an older cairn cannot read: messages that are told by mail |
//!
//! A store of a newer version is refused by name; one of an older version is brought up to date when it is opened for
//! writing, see [`crate::migrate`].

/// The version that this cairn writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 6;
