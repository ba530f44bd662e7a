//! Tables for each rule: an input, and the actions that answer it.

mod effects;
mod order;
mod retries;
mod script;
mod stopping;
