//! Which process: never a bare pid, which the kernel gives out again.

use std::fs;
use std::sync::{LazyLock, Mutex, PoisonError};

/// A process, told from all others that ever had its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The kernel's id of the boot it belongs to; empty where the system has none.
    pub boot_id: String,
    /// Its number.
    pub pid: u32,
    /// When it was started: clock ticks since the boot; 0 where the system does not say.
    pub start_ticks: u64,
}

impl ProcessId {
    /// Returns the calling process.
    pub fn current() -> Self {
        /// This process's number and start; a child that was forked has a number of its own.
        static STARTED: Mutex<Option<(u32, u64)>> = Mutex::new(None);
        let pid = std::process::id();
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = started.filter(|(of, _)| *of == pid);
        // Where it cannot be read now it may be the next time.
        *started = known.or_else(|| Stat::of(pid).map(|stat| (pid, stat.start_ticks)));
        let start_ticks = started.map_or(0, |(_, start_ticks)| start_ticks);
        Self { boot_id: boot_id().to_owned(), pid, start_ticks }
    }

    /// Returns whether the process still runs: one that has ended and is not yet collected by its parent does not.
    pub fn is_alive(&self) -> bool {
        if self.start_ticks == 0 {
            let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
            return pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
        }
        self.boot_id == boot_id()
            && Stat::of(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks && stat.runs)
    }
}

/// It is the same for as long as a process can live.
fn boot_id() -> &'static str {
    static BOOT_ID: LazyLock<String> = LazyLock::new(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    });
    &BOOT_ID
}

/// What proc(5) says in `/proc/<pid>/stat`.
struct Stat {
    runs: bool,
    start_ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the command's name in parentheses, which may itself hold blanks and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let state = fields.next()?;
        // The state is field 3, the start time field 22.
        let start_ticks = fields.nth(18)?.parse().ok()?;
        Some(Self { runs: !matches!(state, "Z" | "X" | "x"), start_ticks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_its_pid_alone_does_not_make_it_so() {
        let current = ProcessId::current();
        assert!(current.is_alive());
        assert!(!ProcessId { start_ticks: current.start_ticks + 1, ..current.clone() }.is_alive());
        assert!(!ProcessId { boot_id: "another".to_owned(), ..current }.is_alive());
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let start_ticks = Stat::of(child.id()).unwrap().start_ticks;
        let id = ProcessId { pid: child.id(), start_ticks, ..ProcessId::current() };
        assert!(id.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!id.is_alive());
    }

    #[test]
    fn a_command_may_be_called_anything() {
        let stat = "7 (a) R (b) c) Z 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.runs, stat.start_ticks), (false, 4711));
        assert!(Stat::parse("").is_none());
        assert!(Stat::parse("7 (a) R 1").is_none());
    }
}
