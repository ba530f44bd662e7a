//! Which filesystem the state folder lies on: over a network neither locks nor syncs can be relied on.

use std::io;
use std::path::Path;

/// The variable that has a network filesystem accepted, when it is set to anything.
pub(crate) const ALLOW_NETWORK: &str = "CAIRN_ALLOW_NETWORK_FS";

/// Returns the kind of the network filesystem that `path` lies on, `None` when it is a local one.
#[cfg(target_os = "linux")]
pub(crate) fn network_kind(path: &Path) -> io::Result<Option<&'static str>> {
    let filesystem = rustix::fs::statfs(path)?;
    // The field's width differs between architectures; the numbers have 32 bits.
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "a magic number, not a quantity"
    )]
    let magic = filesystem.f_type as u32;
    Ok(kind_of(magic))
}

/// Elsewhere the kinds are not known, and the user is trusted.
#[cfg(not(target_os = "linux"))]
pub(crate) fn network_kind(_: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// The magic numbers are those of statfs(2) and of the kernel's `magic.h`. FUSE is among them because nothing tells
/// `sshfs` from a local one.
#[cfg(target_os = "linux")]
const fn kind_of(magic: u32) -> Option<&'static str> {
    match magic {
        0x0000_6969 => Some("NFS"),
        0x0000_517b | 0xfe53_4d42 | 0xff53_4d42 => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x6573_5546 => Some("FUSE"),
        0x00c3_6400 => Some("Ceph"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        0x1983_0326 => Some("BeeGFS"),
        0x7375_7245 => Some("Coda"),
        0x786f_4256 => Some("a virtual machine's shared folder"),
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_filesystems_are_known_by_number_and_local_ones_pass() {
        let check = |magic: u32, expect: Option<&str>| assert_eq!(kind_of(magic), expect, "{magic:#x}");
        check(0x6969, Some("NFS"));
        check(0xff53_4d42, Some("SMB"));
        check(0x6573_5546, Some("FUSE"));
        check(0xef53, None); // ext4
        check(0x5846_5342, None); // xfs
        check(0x9123_683e, None); // btrfs
        check(0x0102_1994, None); // tmpfs
        assert_eq!(network_kind(Path::new("/proc")).unwrap(), None);
        assert!(network_kind(Path::new("/nowhere/at/all")).is_err());
    }
}
