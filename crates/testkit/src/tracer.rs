//! Runs of the binary under ptrace: every system call that changes state is counted, and one of them is struck.
//!
//! One counter runs over all processes and threads of a run, the keeper's and the commands' too. At the call that a
//! [`Blow`] names, before or after it, somebody is killed, or the call fails without having been made. A sweep over all
//! numbers meets every state that a run passes through, as far as the system can tell; the same number meets another call
//! when threads take turns otherwise, so [`Traced::struck`] says which it was.
//!
//! It needs no privilege, and knows the registers of x86-64 alone.

mod calls;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use self::calls::{is_of_descriptor, name};

/// How long a traced run may take: far longer than any does on a machine with much else to do.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Whose calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of all processes.
    Everyone,
    /// Those of processes that run the binary: its own and its keeper's.
    Binary,
}

/// What is done at one of the calls.
#[derive(Debug, Clone)]
pub struct Blow {
    /// Which call, from 0.
    pub call: u64,
    /// What happens at it.
    pub deed: Deed,
}

/// What happens at a call.
#[derive(Debug, Clone)]
pub enum Deed {
    /// A victim is killed.
    Kill(Victim, Moment),
    /// The call is not made, and returns this error: an `errno`.
    Fail(i32),
    /// The same, for this call and every later one that is of the same kind ([`Call::name`]).
    FailFromThere(i32),
}

/// When at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The call is not made.
    Before,
    /// The call was made, and its caller does not go on.
    After,
}

/// Who is killed.
#[derive(Debug, Clone)]
pub enum Victim {
    /// Every process, at once.
    All,
    /// The binary's own process.
    Main,
    /// The first process whose command line holds this text, with a NUL between arguments; nobody, where there is none.
    With(String),
}

/// A system call that changes state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number among those of the run, from 0.
    pub number: u64,
    /// The call's name.
    pub name: &'static str,
    /// The file, socket or pipe that its first argument is a descriptor of; empty where that is none.
    pub file: String,
    /// The name of the thread that made it.
    pub thread: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}: {}({}) of `{}`", self.number, self.name, self.file, self.thread)
    }
}

/// How a traced run went.
#[derive(Debug)]
pub struct Traced {
    /// How many calls were counted.
    pub calls: u64,
    /// The call that was struck; none where the run ended before, or there was no victim.
    pub struck: Option<Call>,
    /// The binary's exit status, `None` when a signal ended it.
    pub status: Option<i32>,
    /// Both of its outputs.
    pub output: String,
}

/// Runs `command` to its end, and the end of every process that it started, with `blow` at one of its calls.
///
/// Its outputs and its standard input must not have been set.
///
/// # Panics
///
/// When the system refuses to trace, or something of the run does not end.
pub fn traced(command: &Command, whose: Whose, blow: Option<Blow>) -> Traced {
    let mut output = tempfile::tempfile().expect("a temporary file");
    let binary = match whose {
        Whose::Everyone => None,
        Whose::Binary => Some(fs::canonicalize(command.get_program()).expect("the binary, by its path")),
    };
    let mut shell = Command::new("/bin/sh");
    // It waits until it is traced; what counts begins with the binary.
    shell.args(["-c", "read -r _ && exec \"$@\" </dev/null", "sh"]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell.stdin(Stdio::piped());
    shell.stdout(output.try_clone().expect("a descriptor")).stderr(output.try_clone().expect("a descriptor"));
    // Tracees belong to a thread, and waiting for any of them must find no other child. Where it does not end, what it
    // traces ends with the tests' process.
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let mut child = shell.spawn().expect("a shell");
        let main = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        ptrace::seize(main, options()).expect("the system lets processes be traced");
        let mut go = child.stdin.take().expect("a pipe");
        go.write_all(b"\n").expect("the shell waits");
        drop(go);
        // The caller may have given up.
        let _ = ended.send(Tracer::new(main, binary, blow).run());
        // It was waited for with all the others.
        let _ = child.wait();
    });
    let end = end.recv_timeout(TIMEOUT).expect("a traced run, and all that it started, ends in time");
    let mut text = Vec::new();
    output.rewind().expect("a file");
    output.read_to_end(&mut text).expect("a file");
    Traced { output: String::from_utf8_lossy(&text).into_owned(), ..end }
}

fn options() -> Options {
    Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL
}

/// What is known of a thread.
#[derive(Debug, Default)]
struct Thread {
    /// Whether it is between the beginning and the end of a system call.
    inside: bool,
    /// What happens at the end of the call that it is in.
    pending: Option<Pending>,
}

#[derive(Debug)]
enum Pending {
    Kill(Victim, Call),
    Fail(i32),
}

struct Tracer {
    main: Pid,
    /// The program whose calls alone are counted.
    binary: Option<PathBuf>,
    blow: Option<Blow>,
    counted: u64,
    struck: Option<Call>,
    status: Option<i32>,
    threads: HashMap<Pid, Thread>,
    /// Whether all are to die.
    killed: bool,
}

impl Tracer {
    fn new(main: Pid, binary: Option<PathBuf>, blow: Option<Blow>) -> Self {
        let threads = HashMap::from([(main, Thread::default())]);
        Self { main, binary, blow, counted: 0, struck: None, status: None, threads, killed: false }
    }

    fn run(mut self) -> Traced {
        loop {
            // Those of this thread alone: other tests have children too.
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            let status = match waitpid(None, Some(flags)) {
                Ok(status) => status,
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) => continue,
                Err(error) => panic!("cannot wait for traced processes: {error}"),
            };
            let (thread, signal) = match status {
                WaitStatus::Exited(thread, code) => {
                    self.gone(thread, Some(code));
                    continue;
                }
                WaitStatus::Signaled(thread, ..) => {
                    self.gone(thread, None);
                    continue;
                }
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_call(thread);
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    self.at_event(thread, event);
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                other => panic!("an unknown state of a traced process: {other:?}"),
            };
            self.threads.entry(thread).or_default();
            if self.killed {
                let _ = kill(thread, Signal::SIGKILL);
            }
            // It may be gone by now.
            let _ = ptrace::syscall(thread, signal);
        }
        Traced { calls: self.counted, struck: self.struck, status: self.status, output: String::new() }
    }

    fn gone(&mut self, thread: Pid, code: Option<i32>) {
        self.threads.remove(&thread);
        if thread == self.main {
            self.status = code;
        }
    }

    fn at_event(&mut self, thread: Pid, event: i32) {
        match event {
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
                if let Some(new) = ptrace::getevent(thread).ok().and_then(|id| i32::try_from(id).ok()) {
                    self.threads.entry(Pid::from_raw(new)).or_default();
                }
            }
            // It goes on as its process, whatever thread it was, and its call has yet to end.
            libc::PTRACE_EVENT_EXEC => {
                if let Some(was) = ptrace::getevent(thread).ok().and_then(|id| i32::try_from(id).ok()) {
                    self.threads.remove(&Pid::from_raw(was));
                }
                self.threads.insert(thread, Thread { inside: true, pending: None });
            }
            _ => {}
        }
    }

    /// A thread begins a system call, or ends one.
    fn at_call(&mut self, thread: Pid) {
        let known = self.threads.entry(thread).or_default();
        known.inside = !known.inside;
        if !known.inside {
            match known.pending.take() {
                Some(Pending::Kill(victim, call)) => self.kill(&victim, call),
                Some(Pending::Fail(errno)) => fail(thread, errno),
                None => {}
            }
            return;
        }
        if self.killed {
            return;
        }
        let Ok(registers) = ptrace::getregs(thread) else { return };
        let Some(name) = name(&registers) else { return };
        let file = if is_of_descriptor(name) { file(thread, registers.rdi) } else { String::new() };
        // How threads of one process wake each other, and how its signal handlers wake it: the system does not refuse that.
        let is_byte_in_pipe = name == "write" && file.starts_with("pipe:") && registers.rdx == 1;
        if file == "anon_inode:[eventfd]" || is_byte_in_pipe {
            return;
        }
        let is_of = |binary: &PathBuf| {
            fs::read_link(format!("/proc/{thread}/exe")).is_ok_and(|program| program == *binary)
        };
        if !self.binary.as_ref().is_none_or(is_of) {
            return;
        }
        let number = self.counted;
        self.counted += 1;
        let Some(blow) = self.blow.clone().filter(|blow| blow.call <= number) else { return };
        let call = || Call { number, name, file, thread: thread_name(thread) };
        match blow.deed {
            Deed::Kill(victim, Moment::Before) if blow.call == number => self.kill(&victim, call()),
            Deed::Kill(victim, Moment::After) if blow.call == number => {
                self.threads.entry(thread).or_default().pending = Some(Pending::Kill(victim, call()));
            }
            Deed::Fail(errno) if blow.call == number => self.refuse(thread, errno, call()),
            Deed::FailFromThere(errno) if self.struck.as_ref().is_none_or(|struck| struck.name == name) => {
                self.refuse(thread, errno, call());
            }
            _ => {}
        }
    }

    /// Makes the call that a thread begins none.
    fn refuse(&mut self, thread: Pid, errno: i32, call: Call) {
        let Ok(mut registers) = ptrace::getregs(thread) else { return };
        registers.orig_rax = u64::MAX;
        if ptrace::setregs(thread, registers).is_ok() {
            self.threads.entry(thread).or_default().pending = Some(Pending::Fail(errno));
            self.struck.get_or_insert(call);
        }
    }

    fn kill(&mut self, victim: &Victim, call: Call) {
        match victim {
            Victim::All => {
                self.killed = true;
                for thread in self.threads.keys().filter(|thread| is_traced(**thread)) {
                    let _ = kill(*thread, Signal::SIGKILL);
                }
            }
            Victim::Main if is_traced(self.main) => drop(kill(self.main, Signal::SIGKILL)),
            Victim::Main => {}
            Victim::With(text) => {
                let has_text = |thread: &&Pid| {
                    let line = fs::read(format!("/proc/{thread}/cmdline")).unwrap_or_default();
                    line.windows(text.len()).any(|window| window == text.as_bytes())
                };
                let is_there = |thread: &&Pid| has_text(thread) && is_traced(**thread);
                let Some(thread) = self.threads.keys().filter(is_there).min() else { return };
                let _ = kill(*thread, Signal::SIGKILL);
            }
        }
        self.struck = Some(call);
    }
}

/// Returns whether this thread traces that one. The end of a thread may be told before its beginning, and then it stays known while
/// its number becomes another's: one of the tests' own, maybe.
fn is_traced(thread: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() == nix::unistd::gettid().to_string())
}

/// Makes the call that a thread ends return an error.
fn fail(thread: Pid, errno: i32) {
    let Ok(mut registers) = ptrace::getregs(thread) else { return };
    registers.rax = i64::from(-errno).cast_unsigned();
    let _ = ptrace::setregs(thread, registers);
}

/// Returns what a descriptor of a thread is of.
fn file(thread: Pid, descriptor: u64) -> String {
    let link = fs::read_link(format!("/proc/{thread}/fd/{}", descriptor & u64::from(u32::MAX)));
    link.map(|file| file.to_string_lossy().into_owned()).unwrap_or_default()
}

fn thread_name(thread: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two calls, each by a process of its own: `a` is made, then `b`.
    fn run(whose: Whose, blow: Option<Blow>) -> (Traced, [bool; 2]) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "mkdir a; mkdir b"]).env("PATH", "/usr/bin:/bin").current_dir(folder.path());
        let traced = traced(&command, whose, blow);
        (traced, ["a", "b"].map(|name| folder.path().join(name).exists()))
    }

    fn kill(call: u64, victim: Victim, moment: Moment) -> (Traced, [bool; 2]) {
        run(Whose::Everyone, Some(Blow { call, deed: Deed::Kill(victim, moment) }))
    }

    #[test]
    fn calls_of_all_processes_are_counted() {
        let (traced, made) = run(Whose::Everyone, None);
        assert_eq!((traced.calls, traced.status, made), (2, Some(0), [true, true]), "{}", traced.output);
        assert_eq!(traced.struck, None);
        assert_eq!(run(Whose::Binary, None).0.calls, 0, "the shell makes none itself");
    }

    #[test]
    fn everybody_is_killed_before_a_call_or_after_it() {
        for (call, moment, expected) in [
            (0, Moment::Before, [false, false]),
            (0, Moment::After, [true, false]),
            (1, Moment::Before, [true, false]),
            (1, Moment::After, [true, true]),
        ] {
            let (traced, made) = kill(call, Victim::All, moment);
            assert_eq!((traced.status, made), (None, expected), "{call} {moment:?}");
            let struck = traced.struck.expect("it was struck");
            assert_eq!((struck.number, struck.name, struck.thread.as_str()), (call, "mkdir", "mkdir"));
        }
        let (traced, made) = kill(2, Victim::All, Moment::Before);
        assert_eq!((traced.struck, traced.status, made), (None, Some(0), [true, true]));
    }

    #[test]
    fn one_process_is_killed_and_the_others_go_on() {
        let (traced, made) = kill(0, Victim::Main, Moment::Before);
        assert_eq!((traced.status, made), (None, [true, false]), "the shell is gone, its child is not");
        let (traced, made) = kill(1, Victim::With("mkdir\0b".to_owned()), Moment::Before);
        assert_ne!(traced.status, Some(0), "the shell is told");
        assert_eq!(made, [true, false]);
        let (traced, made) = kill(0, Victim::With("nobody's".to_owned()), Moment::Before);
        assert_eq!((traced.struck, made), (None, [true, true]));
    }

    #[test]
    fn a_refused_call_is_not_made_and_returns_the_error() {
        let refused = |deed| run(Whose::Everyone, Some(Blow { call: 0, deed }));
        let (traced, made) = refused(Deed::Fail(libc::ENOSPC));
        assert_eq!(made, [false, true]);
        assert!(traced.output.contains("No space left on device"), "{}", traced.output);
        // Its complaint is a call of another kind.
        let (traced, made) = refused(Deed::FailFromThere(libc::EIO));
        assert_eq!((made, traced.output.matches("Input/output error").count()), ([false, false], 2));
    }
}
