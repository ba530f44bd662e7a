//! Processes: started apart from the rest, watched, and ended with everything they started.
//!
//! Only a *keeper* starts stage processes: a second, small process of the same binary, begun before the first grows
//! threads and a database. It costs little to fork from, it outlives every thread (a parent-death signal follows the
//! *thread* that forked), and as a subreaper it inherits every process whose parent ends, so that none gets away.
//!
//! - [`Keeper`]: the handle on it; [`Job`] goes in, [`Ended`] or a [`StartError`] comes out
//! - [`keeper_main`]: what that process runs
//! - [`log`]: what a job wrote, with times
//! - `question`: asks a command for what it prints, without the keeper
//! - `post`: where a keeper is found that outlives its callers; `kept`: how jobs ended, until a caller knows
//! - [`strays`]: ends what is left when keeper and caller were both killed
//!
//! What dies when:
//!
//! | who ends                 | what ends the stage's processes                                                       |
//! |--------------------------|---------------------------------------------------------------------------------------|
//! | the stage's main process | the keeper, after a short grace for those that are about to end by themselves         |
//! | the caller               | the keeper, at the end of file on the pipe of requests                                |
//! | the keeper               | the kernel: its children by their parent-death signal; [`strays::end_strays`] the rest |
//! | both                     | the same                                                                              |
//!
//! A keeper that [outlives](Keeper::outliving) its callers goes on when one ends, but for jobs that are tied to it, and the next
//! caller takes them over.
//!
//! On systems other than Linux there is no subreaper and no parent-death signal: process groups are ended, and a process
//! that leaves its group is not found.
//!
//! What it does not do: decide what runs, make up an environment, confine what a process may open.

mod client;
mod job;
mod kept;
pub mod log;
mod post;
mod process;
pub(crate) mod question;
mod start_error;
pub mod strays;
mod supervisor;
mod wire;

pub use client::{Held, KEEPER_ARGUMENT, Keeper, KeeperError};
pub use job::{Ended, ExitKind, Job};
pub use question::{Limits, NoAnswer, ask, end_questions};
pub use start_error::StartError;
pub use supervisor::keeper_main;

/// The variable whose value, an attempt's token, marks the processes of one attempt.
pub const TOKEN_VARIABLE: &str = "CAIRN_ATTEMPT_TOKEN";

/// The variable whose value marks all processes started for one state folder.
pub const STATE_VARIABLE: &str = "CAIRN_STATE_ID";
