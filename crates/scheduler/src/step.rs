//! The pure core of a run: what happened goes in, what is to be done comes out. No clock, disk, process or thread.
//!
//! ```text
//!             needs done                      miss             room            command ended     result durable
//! waits for needs ---> due for look-up -> looking up ---> ready ---> running ---> settling ---> ended
//!                            ^                 | hit                    |             |
//!                            |                 +------> ended           +- failed, tries left: delayed
//!                            +------------------------------------------------------------+
//! ```
//!
//! - **Look-up.** An instance is looked up once all its selected needs are done; one that is not selected counts as
//!   done. A hit ends it and takes no slot; a miss makes it ready. Before a retry it is looked up again, since its inputs
//!   may have changed: so a retry runs under the input-hash of then.
//! - **Order** of look-ups and starts: priority, then critical path, then definition. The first that fits is started; one
//!   that does not is passed over at most twice for each cpu, then the cpus or memory it lacks are kept for it
//!   (`ready.rs`). At most [`SETTLING_MAX`] results wait to become durable before starts are held back.
//! - **Room** is free again when the command ends ([`Input::Exited`]), while its result is still being made durable.
//! - **Failure.** While the policy allows, a retryable one is retried after its pause. Otherwise it is for good: all
//!   behind it is blocked by its name. Without `keep_going` nothing new starts either, what runs goes on to its end, and
//!   the rest is blocked as stopping. Counting of tries: [`crate::retry::History`].
//! - **Frozen.** What would have to run is blocked, and all behind it; everything else is still looked up, so that one
//!   run tells all that would run.
//! - **Interrupt.** The first: nothing new starts, what runs is ended gently, all else is blocked. The second: what runs
//!   is killed, and look-ups are not waited for. More change nothing. [`Input::Stop`] is the first once more: a supervisor
//!   may send SIGTERM twice without meaning haste, and each command's own grace bounds the wait.
//! - **Held attempts.** A process before may have left attempts that go on. Each has its room from the beginning, and its
//!   instance is looked up as any, without a pause: if it runs under the input-hash of now it is adopted, under its own number,
//!   and is from there on as any that runs; else it is given up. What is blocked meanwhile is given up, too. Its room is
//!   another's when nothing else could start: it may need just that.
//! - **Look-ups under way** when the run stops are waited for, except after a second interrupt: a hit may have put files
//!   back, and what was done is recorded.
//! - **End** comes once, last, when every selected instance has ended and nothing is under way. Its status: interrupted
//!   when the interrupt kept anything from being done; else failed, frozen, or succeeded.
//!
//! Every change of state is an [`Action::Record`] that went through `State::after`. Equal inputs give equal actions. An
//! input costs O(log n) for each instance that it moves; only a start looks at each distinct demand that does not fit.

mod action;
mod agenda;
mod dependents;
mod input;
mod machine;
mod setup;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use agenda::SETTLING_MAX;
pub(crate) use dependents::Dependents;
pub use input::{Done, Failure, Found, Input};
pub use machine::Machine;
pub use setup::{Facts, Setup};
