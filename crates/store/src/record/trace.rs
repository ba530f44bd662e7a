//! The span that a run was asked for in.

use cairn_model::TraceParent;

/// The word of a selection that named the caller's span, before it had a place of its own.
const WORD: &str = "--traceparent=";

pub(super) mod v1 {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct TraceParent {
        pub(super) trace: [u8; 16],
        pub(super) span: [u8; 8],
        pub(super) sampled: bool,
    }
}

impl From<TraceParent> for v1::TraceParent {
    fn from(caller: TraceParent) -> Self {
        let TraceParent { trace, span, sampled } = caller;
        Self { trace, span: *span.as_bytes(), sampled }
    }
}

impl TryFrom<v1::TraceParent> for TraceParent {
    type Error = super::Damage;

    fn try_from(stored: v1::TraceParent) -> Result<Self, super::Damage> {
        let v1::TraceParent { trace, span, sampled } = stored;
        let what = "a span's id is all zeros";
        Self::new(trace, span, sampled).ok_or(super::Damage::Body { what })
    }
}

/// Takes the caller's span from the words of a selection, where it stood in older values.
pub(super) fn taken_from(words: &mut Vec<String>) -> Option<TraceParent> {
    let mut caller = None;
    words.retain(|word| match word.strip_prefix(WORD) {
        // One that cannot be read counts as none, as it did.
        Some(text) => {
            caller = text.parse().ok();
            false
        }
        None => true,
    });
    caller
}
