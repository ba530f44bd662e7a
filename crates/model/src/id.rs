//! Generated identifiers.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Clock, Timestamp};

/// A run's id: a UUID of version 7 (RFC 9562), so that ids in byte order are runs in order of their start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(Uuid);

/// The id that was made last.
static LAST: Mutex<u128> = Mutex::new(0);
/// Bits of an id below its milliseconds.
const RANDOM_BITS: u32 = 80;

impl RunId {
    /// Makes an id for a run that starts now.
    pub fn generate(clock: &dyn Clock) -> Self {
        let millis = u64::try_from(clock.now().0).unwrap_or(0);
        let seconds = millis / 1000;
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        let fresh = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)).as_u128();
        // Of those that are made in one millisecond a later one is greater as well.
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one_millisecond = *last >> RANDOM_BITS == fresh >> RANDOM_BITS;
        *last = if of_one_millisecond && fresh <= *last { *last + 1 } else { fresh };
        Self(Uuid::from_u128(*last))
    }

    /// Wraps 16 stored bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the 16 bytes, in the order that sorts by time.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Returns what people are shown and type: the last 8 hex digits, which are random.
    pub fn short(&self) -> String {
        let text = self.0.simple().to_string();
        text[text.len() - 8..].to_owned()
    }

    /// Returns when the run was started.
    pub fn started(&self) -> Timestamp {
        let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |stamp| stamp.to_unix());
        Timestamp(i64::try_from(seconds * 1000 + u64::from(nanos / 1_000_000)).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({})", self.short())
    }
}

/// A text that is no run's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a run's id")]
pub struct RunIdError {
    /// What was read.
    pub text: String,
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        Uuid::parse_str(text).map(Self).map_err(|_| RunIdError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FixedClock;

    #[test]
    fn ids_sort_by_time_and_tell_it() {
        let clock = FixedClock::new(Timestamp(1_700_000_000_123));
        let first = RunId::generate(&clock);
        let mut before = first;
        for _ in 0..100 {
            let next = RunId::generate(&clock);
            assert!(next > before && next.started() == first.started());
            before = next;
        }
        clock.advance(1);
        let second = RunId::generate(&clock);
        assert!(first < second);
        assert_eq!(first.started(), Timestamp(1_700_000_000_123));
        assert_eq!(first.to_string().parse(), Ok(first));
        assert_eq!(RunId::from_bytes(*first.as_bytes()), first);
    }
}
