//! What happened in all the runs: a rule that no run came upon was not tested.

use std::collections::BTreeMap;

/// How often each thing happened.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<&'static str, u32>);

impl Seen {
    /// All that must happen.
    const ALL: [&'static str; 29] = [
        "an attempt was cut off from outside",
        "an attempt failed and was to be tried again",
        "a held attempt was given up",
        "an attempt failed while the run was stopping",
        "an attempt was adopted",
        "an interrupt came before the end of a stop by failure",
        "blocked by a failure",
        "blocked by a freeze",
        "blocked behind a freeze",
        "blocked by a stop",
        "blocked by an interrupt",
        "ended failed",
        "ended frozen",
        "ended interrupted",
        "ended succeeded",
        "found and restored",
        "found before a retry",
        "found fresh",
        "found while the run was stopping",
        "looked up for what is held, while the run was stopping",
        "killed",
        "looked up by force",
        "ran at the first attempt",
        "ran at a later attempt",
        "ran alone",
        "something was kept for one passed over too often",
        "the answer to a look-up came too late",
        "the room of a held attempt was another's",
        "what was predicted from the fates alone came true",
    ];

    pub(super) fn note(&mut self, what: &'static str) {
        assert!(Self::ALL.contains(&what), "`{what}` is not in the list");
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn assert_everything_happened(&self) {
        let missing: Vec<&str> = Self::ALL.into_iter().filter(|what| !self.0.contains_key(what)).collect();
        assert!(missing.is_empty(), "in no run: {missing:?}; counts: {:?}", self.0);
    }
}
