//! Exit statuses: one enum, public, never renumbered.

use std::process::ExitCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// All that was asked for is done.
    Done = 0,
    /// A stage failed, or is not idempotent.
    StageFailed = 1,
    /// The definition or the command line is wrong.
    Wrong = 2,
    /// `--frozen` and something would run, or `status` found something stale.
    WouldRun = 3,
    /// An effect is in doubt.
    InDoubt = 4,
    /// The store is unavailable or damaged.
    Store = 5,
    /// A bug in cairn: it panicked (70 is `EX_SOFTWARE` of sysexits.h).
    Bug = 70,
    /// Interrupted by a signal (128 + SIGINT, as shells count).
    Interrupted = 130,
}

impl ExitStatus {
    /// All statuses, as the help lists them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Done,
        Self::StageFailed,
        Self::Wrong,
        Self::WouldRun,
        Self::InDoubt,
        Self::Store,
        Self::Bug,
        Self::Interrupted,
    ];

    /// Returns the number.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// Says what it means in a few words.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "all done",
            Self::StageFailed => "a stage failed, or `verify` found it not idempotent",
            Self::Wrong => "the definition or the command line is wrong",
            Self::WouldRun => "`--frozen` and something would run, or `status` found something stale",
            Self::InDoubt => "an effect is in doubt",
            Self::Store => "the store is unavailable or damaged",
            Self::Bug => "a bug in cairn",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::ExitStatus;

    #[test]
    fn the_numbers_are_public_and_stay() {
        let codes: Vec<u8> = ExitStatus::ALL.iter().map(|status| status.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 70, 130]);
    }
}
