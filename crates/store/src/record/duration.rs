//! What an instance takes, for the order in which instances are started and for the time that is left.

use super::{Damage, Record, from_postcard, to_postcard};

/// A mean in which each execution weighs as much as all before it together, so that it soon follows a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration {
    pub(crate) mean_ms: u64,
}

impl Duration {
    /// Returns the mean after an execution took `took_ms`, where `before` was the mean.
    pub(crate) fn after(before: Option<Self>, took_ms: u64) -> Self {
        Self { mean_ms: before.map_or(took_ms, |before| before.mean_ms.midpoint(took_ms)) }
    }
}

mod v1 {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Duration {
        pub(super) mean_ms: u64,
    }
}

impl Record for Duration {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { mean_ms } = *self;
        to_postcard(&v1::Duration { mean_ms })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Duration { mean_ms } = from_postcard(body)?;
                Ok(Self { mean_ms })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_starts_at_the_first_and_follows() {
        let check = |took: &[u64], expect: u64| {
            let mean = took.iter().fold(None, |mean, took| Some(Duration::after(mean, *took)));
            assert_eq!(mean, Some(Duration { mean_ms: expect }), "{took:?}");
        };
        check(&[100], 100);
        check(&[100, 200], 150);
        check(&[100, 200, 0], 75);
        check(&[u64::MAX, u64::MAX], u64::MAX);
    }
}
