//! The calls that change state: files, folders, and what is sent to others.

use nix::libc;

/// Returns the name of the call that a thread begins, where it changes state.
pub(super) fn name(registers: &libc::user_regs_struct) -> Option<&'static str> {
    let makes = |flags: u64| flags & u64::from((libc::O_CREAT | libc::O_TRUNC).cast_unsigned()) != 0;
    Some(match i64::try_from(registers.orig_rax).ok()? {
        libc::SYS_write => "write",
        libc::SYS_writev => "writev",
        libc::SYS_pwrite64 => "pwrite64",
        libc::SYS_pwritev => "pwritev",
        libc::SYS_pwritev2 => "pwritev2",
        libc::SYS_sendfile => "sendfile",
        libc::SYS_splice => "splice",
        libc::SYS_copy_file_range => "copy_file_range",
        libc::SYS_fsync => "fsync",
        libc::SYS_fdatasync => "fdatasync",
        libc::SYS_syncfs => "syncfs",
        libc::SYS_sync_file_range => "sync_file_range",
        libc::SYS_msync => "msync",
        libc::SYS_rename => "rename",
        libc::SYS_renameat => "renameat",
        libc::SYS_renameat2 => "renameat2",
        libc::SYS_link => "link",
        libc::SYS_linkat => "linkat",
        libc::SYS_symlink => "symlink",
        libc::SYS_symlinkat => "symlinkat",
        libc::SYS_unlink => "unlink",
        libc::SYS_unlinkat => "unlinkat",
        libc::SYS_rmdir => "rmdir",
        libc::SYS_mkdir => "mkdir",
        libc::SYS_mkdirat => "mkdirat",
        libc::SYS_mknodat => "mknodat",
        libc::SYS_truncate => "truncate",
        libc::SYS_ftruncate => "ftruncate",
        libc::SYS_fallocate => "fallocate",
        libc::SYS_chmod => "chmod",
        libc::SYS_fchmod => "fchmod",
        libc::SYS_fchmodat => "fchmodat",
        libc::SYS_utimensat => "utimensat",
        libc::SYS_creat => "creat",
        libc::SYS_open if makes(registers.rsi) => "open",
        libc::SYS_openat if makes(registers.rdx) => "openat",
        libc::SYS_connect => "connect",
        libc::SYS_bind => "bind",
        libc::SYS_sendto => "sendto",
        libc::SYS_sendmsg => "sendmsg",
        libc::SYS_sendmmsg => "sendmmsg",
        _ => return None,
    })
}

/// Returns whether the first argument of a call is a descriptor: of what is written, or of the folder that a path is relative to.
pub(super) fn is_of_descriptor(name: &str) -> bool {
    !matches!(
        name,
        "rename"
            | "link"
            | "symlink"
            | "symlinkat"
            | "unlink"
            | "rmdir"
            | "mkdir"
            | "truncate"
            | "chmod"
            | "creat"
            | "open"
            | "msync"
    )
}
