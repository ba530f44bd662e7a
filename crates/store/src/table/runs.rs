//! Runs and their definitions.

use cairn_model::{Digest, RunId};

use crate::keys::{self, Family};
use crate::record::{Blob, Damage};
use crate::{ReadError, RunRecord, Store};

/// Why a text names no run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindRunError {
    /// No run's id begins or ends with it.
    #[error("there is no run `{text}`")]
    Unknown {
        /// What was asked for.
        text: String,
    },
    /// Several do.
    #[error("`{text}` may be any of {} runs", candidates.len())]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Which runs, newest first.
        candidates: Vec<RunId>,
    },
    /// The runs could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Runs that the help of an ambiguous text names.
const CANDIDATES_SHOWN: usize = 5;

impl FindRunError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("`cairn runs` lists them".to_owned()),
            Self::Ambiguous { candidates, .. } => {
                let mut shown: Vec<String> =
                    candidates.iter().take(CANDIDATES_SHOWN).map(|run| format!("`{run}`")).collect();
                if candidates.len() > CANDIDATES_SHOWN {
                    shown.push("…".to_owned());
                }
                Some(format!("name one of {}", shown.join(", ")))
            }
            Self::Read(error) => error.help(),
        }
    }
}

impl Store {
    /// Returns a run's record.
    pub fn run(&self, run: RunId) -> Result<Option<RunRecord>, ReadError> {
        self.inner.database.get(Family::Runs, &keys::run(run))
    }

    /// Returns the records of at most `limit` runs, newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<(RunId, RunRecord)>, ReadError> {
        let rows = self.inner.database.scan_back(Family::Runs, &[]).take(limit).map(|row| {
            let (key, record) = row?;
            Ok((self.read_run_key(&key)?, record))
        });
        rows.collect()
    }

    /// Returns the records of the runs that were made before one, or of all, one after the other, newest first.
    pub fn runs_before(
        &self,
        before: Option<RunId>,
    ) -> impl Iterator<Item = Result<(RunId, RunRecord), ReadError>> + use<'_> {
        let database = &self.inner.database;
        // No id is above this one, and none is it.
        let end = before.unwrap_or(RunId::from_bytes([0xff; 16]));
        database.scan_back_below(Family::Runs, &[], &keys::run(end)).map(|row| {
            let (key, record) = row?;
            Ok((self.read_run_key(&key)?, record))
        })
    }

    /// Returns the run whose id is `text`, or is the only one to begin or end with it. Hyphens and case do not count.
    pub fn find_run(&self, text: &str) -> Result<RunId, FindRunError> {
        let digits = text.replace('-', "").to_ascii_lowercase();
        let mut candidates = Vec::new();
        if !digits.is_empty() {
            for key in self.inner.database.keys_back(Family::Runs) {
                let run = self.read_run_key(&key?)?;
                let id = run.to_string().replace('-', "");
                if id.starts_with(&digits) || id.ends_with(&digits) {
                    candidates.push(run);
                }
            }
        }
        match candidates.as_slice() {
            [] => Err(FindRunError::Unknown { text: text.to_owned() }),
            [run] => Ok(*run),
            _ => Err(FindRunError::Ambiguous { text: text.to_owned(), candidates }),
        }
    }

    /// Returns the text of a definition that a run was started with.
    pub fn definition(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError> {
        let definition = self.inner.database.get(Family::Definitions, &keys::definition(digest))?;
        Ok(definition.map(|Blob(text)| text))
    }

    fn read_run_key(&self, key: &[u8]) -> Result<RunId, ReadError> {
        keys::read_run(key).ok_or_else(|| self.inner.database.damaged(Family::Runs, key, &Damage::Key))
    }
}
