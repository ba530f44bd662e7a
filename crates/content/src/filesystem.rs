//! What a filesystem's stamps are worth.

use std::path::Path;

/// Returns the time that a local filesystem gives to a file changed now: nanoseconds since 1970.
///
/// On Linux local filesystems take their stamps from the kernel's coarse clock, which moves once a tick; reading that
/// very clock says what touching a file would say, without touching one. A network filesystem has its server's clock:
/// its stamps are not trusted at all, see [`stamps_hold`].
pub(crate) fn now_ns() -> i64 {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::RealtimeCoarse;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Realtime;
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// Returns whether a file on the filesystem of `path` cannot change without its stamp (size, times, mode) changing.
///
/// That is known of local filesystems whose times come from this kernel and have a fine grain. Others may answer from
/// a cache (NFS, SMB, most of FUSE), have a grain of 2 s (FAT), or number their files anew. Overlayfs passes on the
/// stamps of the layer in which the file is, and one that is copied up becomes another file, which costs a read.
/// `None` when the system does not tell which it is.
pub(crate) fn stamps_hold(path: &Path) -> Option<bool> {
    let filesystem = rustix::fs::statfs(path).ok()?;
    Some(is_trusted(&filesystem))
}

#[cfg(target_os = "linux")]
fn is_trusted(filesystem: &rustix::fs::StatFs) -> bool {
    /// The numbers of statfs(2): ext2 to ext4, xfs, btrfs, tmpfs, overlayfs.
    const TRUSTED: [u32; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630];
    // The field's width depends on the processor; each number has 32 bits.
    let kind = u32::try_from(filesystem.f_type & 0xffff_ffff);
    kind.is_ok_and(|kind| TRUSTED.contains(&kind))
}

#[cfg(target_os = "macos")]
fn is_trusted(filesystem: &rustix::fs::StatFs) -> bool {
    filesystem.f_fstypename.iter().take(5).map(|char| char.to_ne_bytes()[0]).eq(*b"apfs\0")
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn is_trusted(_: &rustix::fs::StatFs) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_one_that_stamps_files() {
        let folder = tempfile::tempdir().unwrap();
        let before = now_ns();
        let path = folder.path().join("a");
        std::fs::write(&path, "a").unwrap();
        let stamp = crate::Stamp::of(&std::fs::metadata(&path).unwrap());
        // One tick to either side: kernels since 6.13 may stamp finer than the coarse clock.
        let tick = 10_000_000;
        assert!((before - tick..=now_ns() + tick).contains(&stamp.ctime_ns), "{before} {stamp:?}");
    }

    #[test]
    fn a_filesystem_without_a_disk_under_it_is_not_trusted() {
        if Path::new("/proc/self").exists() {
            assert_eq!(stamps_hold(Path::new("/proc/self")), Some(false));
        }
        assert_eq!(stamps_hold(Path::new("/there-is-no-such-path")), None);
    }
}
