//! Which dead letters a command is about.

use cairn_model::Clock as _;
use cairn_scheduler::letters;
use cairn_store::{DeadLetter, Store};

use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::past::damaged;

/// Which dead letters: all that fit every option given.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which")]
pub(super) struct Filter {
    /// Those of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Those of this stage, or instance
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Those of the record with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Those whose error, or its class, holds this text, in whichever case
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Those that died longer ago, such as `12h` or `7d`
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<u64>,
}

/// Reads an age in milliseconds.
fn age(text: &str) -> Result<u64, String> {
    let wrong = || "write a number and a unit: `30s`, `15m`, `12h`, `7d`, `2w`".to_owned();
    let at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..at].parse().map_err(|_| wrong())?;
    let unit = match &text[at..] {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

impl Filter {
    /// Returns whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.said().is_empty()
    }

    /// Returns what is said.
    fn said(&self) -> letters::Filter {
        let Self { pipeline, stage, key, error, older_than } = self.clone();
        letters::Filter { pipeline, stage, key, error, older_than_ms: older_than }
    }

    /// Reads those that fit, one after the other, in the order of the store.
    pub(super) fn each<'a>(
        &self,
        store: &'a Store,
        context: &Context,
    ) -> impl Iterator<Item = Result<DeadLetter, Failure>> + use<'a> {
        self.said().each(store, context.clock.now()).map(|letter| letter.map_err(damaged))
    }
}

/// The dead letters that a command is about: named by their ids, or chosen.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Chosen {
    /// Beginnings of ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

impl Chosen {
    /// Reads those that the ids name, or else those that fit; one of both must be given.
    pub(super) fn read(&self, store: &Store, context: &Context) -> Result<Vec<DeadLetter>, Failure> {
        match (self.ids.is_empty(), self.filter.is_empty()) {
            (false, true) => self.ids.iter().map(|id| find(store, id)).collect(),
            (true, false) => self.filter.each(store, context).collect(),
            (true, true) => Err(Failure::wrong("which dead letters?")
                .help("name their ids, or choose them by `--stage`, `--key`, `--error` or `--older-than`")),
            (false, false) => Err(Failure::wrong("ids and options both say which dead letters")
                .help("give the one or the other")),
        }
    }
}

/// Reads the dead letter whose id begins with `id`.
pub(super) fn find(store: &Store, id: &str) -> Result<DeadLetter, Failure> {
    store.find_dead(id).map_err(|error| {
        let status = match error {
            cairn_store::FindDeadError::Read(_) => ExitStatus::Store,
            _ => ExitStatus::Wrong,
        };
        Failure::of(status, &error).maybe_help(error.help())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!(age("30s"), Ok(30_000));
        assert_eq!(age("7d"), Ok(604_800_000));
        for wrong in ["", "7", "d", "-1d", "1y", "1.5h", "99999999999999999w"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
