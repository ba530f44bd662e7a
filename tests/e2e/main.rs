//! The promises and the commands, seen from outside: the real binary in temporary projects.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails where it should")]
#![allow(clippy::disallowed_methods, reason = "tests break what the program must not")]
#![allow(clippy::print_stderr, reason = "a test that cannot run on this machine says so")]

mod backfill;
mod bad_input;
mod bad_outcomes;
mod broken_files;
mod commands;
mod daemon;
mod dead;
mod disk;
mod displaced;
mod effects;
mod examples;
mod i10_no_clock;
mod i11_nothing_lost;
mod i1_skip;
mod i2_atomic;
mod i4_closed;
mod i7_first_check;
mod i9_one_writer;
mod mail;
mod museum;
mod notes;
mod oracle;
mod orders;
mod pauses;
mod publishing;
mod questions;
mod records;
mod records_places;
mod records_verify;
mod sandbox_off;
mod scheduling;
mod sensors;
mod serve;
mod stalled_reader;
mod sweeps;
mod traces;
mod verify;

const BINARY: &str = env!("CARGO_BIN_EXE_cairn");

use cairn_testkit::Project;

/// `a` sorts the source, `b` counts it, `c` puts both together.
const CHAIN: &str = r#"
[pipeline]
name = "chain"

[stages.a]
run = "sort source.txt > out/a.txt"
inputs = ["source.txt"]
outputs = ["out/a.txt"]

[stages.b]
run = "wc -l < out/a.txt > out/b.txt"
inputs = ["out/a.txt"]
outputs = ["out/b.txt"]

[stages.c]
run = "cat out/a.txt out/b.txt > out/c.txt"
inputs = ["out/a.txt", "out/b.txt"]
outputs = ["out/c.txt"]
"#;

fn chain() -> Project {
    let project = Project::with_pipeline(BINARY, CHAIN);
    project.write("source.txt", "b\na\n");
    project
}

/// Runs and returns `instance=OUTCOME` for each instance, sorted by name.
#[track_caller]
fn run(project: &Project, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["run", "--json"].iter().chain(arguments).copied().collect();
    let outcome = project.cairn(&arguments);
    let outcomes = cairn_testkit::outcomes(&outcome.stdout);
    assert!(!outcomes.is_empty(), "{}", outcome.shown());
    let shown: Vec<String> =
        outcomes.iter().map(|(instance, outcome)| format!("{instance}={outcome}")).collect();
    shown.join(" ")
}
