//! The keeper that the daemons of `tests/` run commands under: in the binary it is `cairn` itself.

use std::process::ExitCode;

use cairn_executor::isolation::{KEEPER_ARGUMENT, keeper_main};

fn main() -> ExitCode {
    assert!(
        std::env::args().nth(1).is_some_and(|first| first == KEEPER_ARGUMENT),
        "it is started by a daemon"
    );
    keeper_main().into()
}
