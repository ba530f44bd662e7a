//! For tests: filesystems mounted for as long as a test runs. That needs root; without, a test says so and passes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Something mounted, unmounted on drop.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Mounts the folder `from` at `at` too.
    pub(crate) fn bind(from: &Path, at: &Path) -> Option<Self> {
        Self::mount(Command::new("mount").arg("--bind").arg(from).arg(at), at)
    }

    /// Mounts an empty filesystem in memory of `bytes` at `at`.
    pub(crate) fn memory(bytes: u64, at: &Path) -> Option<Self> {
        let options = format!("size={bytes}");
        Self::mount(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(at), at)
    }

    #[expect(clippy::print_stderr, reason = "a test that proves nothing here should say so")]
    fn mount(command: &mut Command, at: &Path) -> Option<Self> {
        let output = command.output();
        if output.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped, for nothing can be mounted here: {output:?}");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let output = Command::new("umount").arg(&self.0).output().expect("what mounted can unmount");
        assert!(output.status.success(), "{output:?}");
    }
}
