//! Tables for each rule: an input, and the actions that answer it.

mod effects;
mod held;
mod order;
mod retries;
mod script;
mod stopping;
