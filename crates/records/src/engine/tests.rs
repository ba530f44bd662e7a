//! The engine from its source to its sinks, all in memory, cut off at every call.

mod breaker;
mod conservation;
mod endpoints;
mod fakes;
mod pauses;
mod promises;
mod property;
mod reclaim;
