//! What the system offers without a safe interface: signal handlers, reaping with usage, inherited descriptors.
#![expect(unsafe_code, reason = "signal handlers, wait4 and raw descriptors have no safe interface")]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::OFlags;
use rustix::process::Pid;

use super::super::job::ExitKind;

/// Signals that are the caller's business: a terminal or an init system sends them to all its processes.
const NOT_OURS: [c_int; 11] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// One above the last signal number, of all systems.
const SIGNALS_END: c_int = 65;

/// The write end of the pipe that [`take_signals`] returns the other end of.
static CHILD_ENDED: AtomicI32 = AtomicI32::new(-1);

/// Takes over all signals, and returns a pipe that is readable after a child has ended.
///
/// Nothing is ignored and nothing blocked after this: what a process ignores or blocks, the programs it starts inherit, but
/// handlers fall back to the default when they start. What must not end the keeper gets a handler that does nothing.
pub(super) fn take_signals() -> io::Result<OwnedFd> {
    let (read, write) = pipe()?;
    for end in [&read, &write] {
        rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?;
    }
    CHILD_ENDED.store(write.into_raw_fd(), Ordering::Relaxed);
    for signal in 1..SIGNALS_END {
        if is_ignored(signal) {
            handle(signal, libc::SIG_DFL)?;
        }
    }
    let nothing: extern "C" fn(c_int) = do_nothing;
    for signal in NOT_OURS {
        handle(signal, nothing as libc::sighandler_t)?;
    }
    let note_child: extern "C" fn(c_int) = note_child_ended;
    handle(libc::SIGCHLD, note_child as libc::sighandler_t)?;
    // SAFETY: an all-zero set is initialised memory; `sigemptyset` makes it the empty one, which the other call reads.
    unsafe {
        let mut empty = MaybeUninit::<libc::sigset_t>::zeroed();
        libc::sigemptyset(empty.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, empty.as_ptr(), ptr::null_mut());
    }
    Ok(read)
}

extern "C" fn do_nothing(_: c_int) {}

extern "C" fn note_child_ended(_: c_int) {
    // SAFETY: this end of the pipe stays open until the process ends.
    let pipe = unsafe { BorrowedFd::borrow_raw(CHILD_ENDED.load(Ordering::Relaxed)) };
    // A full pipe means that the loop has been told and did not listen yet.
    let _ = rustix::io::write(pipe, &[0]);
}

fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: it reads nothing and writes to `action`, whose all-zero value is valid already.
    let (failed, action) =
        unsafe { (libc::sigaction(signal, ptr::null(), action.as_mut_ptr()), action.assume_init()) };
    failed == 0 && action.sa_sigaction == libc::SIG_IGN
}

fn handle(signal: c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: the all-zero value is valid: no flags, an empty mask, no handler yet.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is initialised, and its handlers only do what is safe at any point of the program.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a process used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) user_ms: u64,
    pub(super) sys_ms: u64,
    pub(super) max_rss_bytes: u64,
}

/// Reaps a child, waiting for its end if need be.
pub(super) fn reap(child: Pid) -> io::Result<(ExitKind, Usage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to writable memory of the right type.
        let reaped = unsafe { libc::wait4(child.as_raw_pid(), &raw mut status, 0, usage.as_mut_ptr()) };
        if reaped == child.as_raw_pid() {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let kind = if libc::WIFSIGNALED(status) {
        ExitKind::Signal(libc::WTERMSIG(status))
    } else {
        ExitKind::Code(libc::WEXITSTATUS(status))
    };
    // SAFETY: it was all zero, which is valid, before the kernel wrote to it.
    let usage = unsafe { usage.assume_init() };
    // Linux counts in KiB, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let max_rss_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit;
    let usage = Usage { user_ms: millis(usage.ru_utime), sys_ms: millis(usage.ru_stime), max_rss_bytes };
    Ok((kind, usage))
}

fn millis(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_usec).unwrap_or(0) / 1000
}

/// Closes every descriptor but standard input, output and error: what a shell, or make's job server, left open would reach
/// every stage.
pub(super) fn close_inherited() -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/dev/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in open {
        // SAFETY: nothing in this process was made yet that owns one. The one that listed them is closed already, and to close
        // it again is an error without consequence.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}

/// Makes a pipe, read end first, that programs do not inherit.
pub(super) fn pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(target_os = "linux")]
    return rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    #[cfg(not(target_os = "linux"))]
    {
        let (read, write) = rustix::pipe::pipe()?;
        for end in [&read, &write] {
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        }
        Ok((read, write))
    }
}
