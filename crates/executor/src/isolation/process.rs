//! Processes as `/proc` shows them. Elsewhere than on Linux there is nothing to see, and none is found.
//!
//! A number alone may be another process by now, except where the comment says who holds it; [`Held`] is one for sure.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

/// How long to wait for a process that is about to begin its program: a slow disk may hold the program back.
const BEGIN_MAX: Duration = Duration::from_millis(100);

/// What is used of `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// Whether it has ended and waits to be reaped.
    pub(super) dead: bool,
    /// When it started, in clock ticks since boot: with the number, this names one process.
    pub(super) start_ticks: u64,
    /// Whether it is about to begin its program: it has memory, in which the program's environment is not yet.
    begins: bool,
}

impl Stat {
    /// Reads it; `None` when there is no such process.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        // A line of some 300 bytes, and the kernel gives it whole.
        let mut line = [0; 1024];
        let read = File::open(path(pid, "stat")).ok()?.read(&mut line).ok()?;
        Self::parse(&line[..read])
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name in parentheses may hold anything, parentheses and spaces too; the last one closes it.
        let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
        let mut fields = std::str::from_utf8(&text[after_name..]).ok()?.split_ascii_whitespace();
        let dead = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        // From field 6, the session, to field 22; then memory, and field 51, the end of the environment in it.
        let start_ticks = fields.nth(15)?.parse().ok()?;
        let (memory, environment_end) = (fields.next()?, fields.nth(27)?);
        let begins = memory != "0" && environment_end == "0";
        Some(Self { parent, group, session, dead, start_ticks, begins })
    }
}

/// Returns the environment that a process was started with; `None` when it may not be read, or the process is gone.
pub(super) fn environment(pid: Pid) -> Option<Vec<u8>> {
    let started = Instant::now();
    loop {
        let environment = fs::read(path(pid, "environ")).ok()?;
        // Between the old program and the new one there is none to read, which is not to say that it has none.
        let is_there = !environment.is_empty() || !Stat::of(pid)?.begins;
        if is_there || started.elapsed() > BEGIN_MAX {
            return Some(environment);
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// Returns the value of `name` in an environment as the system holds it.
pub(super) fn variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Returns the children of this process, whose only thread calls this; those that wait to be reaped too.
///
/// Nothing is missed: children leave the list only when this process reaps them, and new ones are put at its end.
pub(super) fn own_children() -> Vec<Pid> {
    let me = rustix::process::getpid();
    let number = me.as_raw_pid();
    match fs::read_to_string(format!("/proc/{number}/task/{number}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(parse_pid).collect(),
        // The kernel was built without that file.
        Err(_) => Snapshot::take().children.remove(&number).unwrap_or_default(),
    }
}

/// Returns all processes.
pub(super) fn all() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| parse_pid(entry.file_name().to_str()?))
}

/// Who is whose child.
#[derive(Debug)]
pub(super) struct Snapshot {
    children: HashMap<i32, Vec<Pid>>,
}

impl Snapshot {
    /// Looks at all processes.
    pub(super) fn take() -> Self {
        let mut children: HashMap<i32, Vec<Pid>> = HashMap::new();
        for pid in all() {
            if let Some(stat) = Stat::of(pid) {
                children.entry(stat.parent).or_default().push(pid);
            }
        }
        Self { children }
    }

    /// Returns those below `roots` that still live, without these: children, their children, and so on.
    pub(super) fn below(&self, roots: impl IntoIterator<Item = Pid>) -> Vec<Held> {
        let mut held = Vec::new();
        let mut parents: Vec<Pid> = roots.into_iter().collect();
        let mut seen: HashSet<Pid> = parents.iter().copied().collect();
        while let Some(parent) = parents.pop() {
            for pid in self.children.get(&parent.as_raw_pid()).into_iter().flatten() {
                // The processes were looked at one after the other: numbers used again could make a circle.
                if !seen.insert(*pid) {
                    continue;
                }
                // It was a child of `parent` before it was held and still is one: it is that process.
                held.extend(Held::open(*pid, |stat| stat.parent == parent.as_raw_pid() && !stat.dead));
                parents.push(*pid);
            }
        }
        held
    }
}

/// A process that stays itself while it is held: another one with its number is never signalled.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) pid: Pid,
    pub(super) stat: Stat,
    /// `None` before Linux 5.3: then number and start time are compared right before a signal is sent.
    descriptor: Option<OwnedFd>,
}

impl Held {
    /// Takes hold of `pid`, if what it then is passes `check`.
    pub(super) fn open(pid: Pid, check: impl Fn(&Stat) -> bool) -> Option<Self> {
        let descriptor = open_descriptor(pid);
        if descriptor.as_ref().err() == Some(&Errno::SRCH) {
            return None;
        }
        let stat = Stat::of(pid).filter(check)?;
        Some(Self { pid, stat, descriptor: descriptor.ok() })
    }

    /// Sends a signal; a process that has ended is no error.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let sent = match &self.descriptor {
            Some(descriptor) => send(descriptor, signal),
            None if self.is_alive() => rustix::process::kill_process(self.pid, signal),
            None => Ok(()),
        };
        if sent == Err(Errno::SRCH) { Ok(()) } else { sent }
    }

    /// Tells whether it has not ended.
    pub(super) fn is_alive(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.start_ticks == self.stat.start_ticks && !stat.dead)
    }
}

#[cfg(target_os = "linux")]
fn open_descriptor(pid: Pid) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
}

#[cfg(target_os = "linux")]
fn send(descriptor: &OwnedFd, signal: Signal) -> Result<(), Errno> {
    rustix::process::pidfd_send_signal(descriptor, signal)
}

#[cfg(not(target_os = "linux"))]
fn open_descriptor(_: Pid) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

#[cfg(not(target_os = "linux"))]
fn send(_: &OwnedFd, _: Signal) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

fn path(pid: Pid, file: &str) -> String {
    format!("/proc/{}/{file}", pid.as_raw_pid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_any_name() {
        let text = |memory: &str, environment_end: &str| {
            format!(
                "42 (a) R 1 (b c) S 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 {memory} 200 18446744073709551615 \
                 1 1 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 5 6 7 8 9 10 {environment_end} 0"
            )
        };
        let stat = Stat { parent: 7, group: 8, session: 9, dead: false, start_ticks: 12345, begins: false };
        assert_eq!(Stat::parse(text("1000", "11").as_bytes()), Some(stat));
        assert_eq!(Stat::parse(text("0", "0").as_bytes()), Some(stat), "a thread of the kernel");
        assert_eq!(Stat::parse(text("1000", "0").as_bytes()), Some(Stat { begins: true, ..stat }));
        assert_eq!(Stat::parse(b"42 (a"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn variables_are_found_by_their_whole_name() {
        let environment = b"XCAIRN=0\0CAIRN_=1\0CAIRN=a=b\0EMPTY=\0";
        assert_eq!(variable(environment, "CAIRN"), Some(b"a=b".as_slice()));
        assert_eq!(variable(environment, "EMPTY"), Some(b"".as_slice()));
        assert_eq!(variable(environment, "NONE"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_there() {
        let me = rustix::process::getpid();
        let stat = Stat::of(me).unwrap();
        assert_eq!(stat.parent, rustix::process::getppid().unwrap().as_raw_pid());
        assert!(all().any(|pid| pid == me));
        assert!(Held::open(me, |_| true).unwrap().is_alive());
        assert!(Held::open(me, |stat| stat.parent == -1).is_none());
    }
}
