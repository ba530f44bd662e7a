//! Which process: never a bare pid.

/// A process, told from all others that ever had its pid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// Number of the process.
    pub pid: u32,
    /// When it was started: clock ticks since the boot.
    pub start_ticks: u64,
}

impl ProcessId {
    /// Returns the calling process.
    pub fn current() -> Self {
        unimplemented!()
    }

    /// Returns whether the process lives.
    pub fn is_alive(&self) -> bool {
        unimplemented!()
    }
}
