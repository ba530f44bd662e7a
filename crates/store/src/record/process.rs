//! A process's identity as it stands within stored values.

pub(super) mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct ProcessId<'a> {
        #[serde(borrow)]
        pub(in crate::record) boot_id: Cow<'a, str>,
        pub(in crate::record) pid: u32,
        pub(in crate::record) start_ticks: u64,
    }
}

use crate::ProcessId;

impl<'a> From<&'a ProcessId> for v1::ProcessId<'a> {
    fn from(process: &'a ProcessId) -> Self {
        let ProcessId { boot_id, pid, start_ticks } = process;
        Self { boot_id: boot_id.into(), pid: *pid, start_ticks: *start_ticks }
    }
}

impl From<v1::ProcessId<'_>> for ProcessId {
    fn from(stored: v1::ProcessId<'_>) -> Self {
        let v1::ProcessId { boot_id, pid, start_ticks } = stored;
        Self { boot_id: boot_id.into_owned(), pid, start_ticks }
    }
}
