//! I3 and I5 under fire: whatever is killed, and whenever, the next run goes on where it stopped.
//!
//! - `daemon`: the daemon under load, killed every few seconds
//! - `moments`: runs of commands, killed at moments
//! - `sweep`: runs of commands, killed at their system calls one by one, and refused them
//! - `records`: loads of records, killed at random moments and at their system calls
//!
//! After every cut, what [`scene::Scene::goes_on`] checks of commands:
//!
//! - the resumed run ends with 0 and with the same bytes as the undisturbed one,
//! - a stage that had its checkpoint was executed once, any other at most twice,
//! - a further run executes nothing,
//! - no process, working folder or temporary file is left.
//!
//! `CAIRN_PROOF=1` (`make proof`) takes many more moments and calls.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails where it should")]
#![allow(clippy::print_stderr, reason = "a proof says what it met")]

mod daemon;
mod moments;
mod records;
mod scene;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sweep;

const BINARY: &str = env!("CARGO_BIN_EXE_cairn");

/// Returns whether there is time for many more cuts.
fn proof() -> bool {
    std::env::var_os("CAIRN_PROOF").is_some()
}

fn kill_group(child: &mut std::process::Child) {
    let group = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait().expect("it was killed");
}
