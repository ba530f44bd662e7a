//! The step into a new process.
#![expect(
    unsafe_code,
    reason = "between the new process and its program only system calls are safe, and these are raw"
)]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit};

use super::program::Program;
use super::system;

/// Starts programs, each as the leader of its own session and process group.
pub(super) struct Spawner {
    keeper: Pid,
    null: OwnedFd,
    files: Rlimit,
    /// Where new processes stand on until they execute their program.
    stack: Box<[u128]>,
}

/// A program was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) step: Step,
    pub(super) errno: Errno,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// To make a process, or to set it up.
    Process,
    /// To enter the working folder.
    Folder,
    /// To execute the program.
    Execute,
}

/// How long a program that is open for writing is tried again, and how often. The keeper does nothing else meanwhile.
const BUSY_PATIENCE: Duration = Duration::from_millis(200);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Elements of the stack: 64 KiB, of which a few hundred bytes are used.
const STACK: usize = 4096;

impl Spawner {
    /// `files` is the limit of open files that programs get.
    pub(super) fn new(files: Rlimit) -> io::Result<Self> {
        let null = std::fs::File::options().read(true).open("/dev/null")?.into();
        let stack = vec![0; STACK].into_boxed_slice();
        Ok(Self { keeper: rustix::process::getpid(), null, files, stack })
    }

    /// Starts `program`; returns when it has begun to execute, or could not.
    pub(super) fn start(
        &mut self,
        program: &Program,
        stdin: Option<BorrowedFd<'_>>,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
    ) -> Result<Pid, Failed> {
        let until = Instant::now() + BUSY_PATIENCE;
        loop {
            match self.start_once(program, stdin, stdout, stderr) {
                // A file that was just written is still open in a process that was forked meanwhile and is about to
                // execute something else: it is a matter of milliseconds.
                Err(Failed { step: Step::Execute, errno: Errno::TXTBSY }) if Instant::now() < until => {
                    std::thread::sleep(BUSY_PAUSE);
                }
                started => return started,
            }
        }
    }

    fn start_once(
        &mut self,
        program: &Program,
        stdin: Option<BorrowedFd<'_>>,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
    ) -> Result<Pid, Failed> {
        let (argv, env) = (pointers(&program.argv), pointers(&program.env));
        let plan = Plan {
            keeper: self.keeper,
            files: self.files,
            descriptors: [stdin.unwrap_or(self.null.as_fd()), stdout, stderr],
            folder: &program.folder,
            path: &program.path,
            argv: argv.as_ptr(),
            env: env.as_ptr(),
            failed: Cell::new(None),
        };
        let child = enter(&plan, &mut self.stack)?;
        let Some(failed) = plan.failed.get() else { return Ok(child) };
        drop(system::reap(child));
        Err(failed)
    }
}

/// Makes a process that carries out `plan`, on `stack`; returns when it executes its program or has failed.
///
/// It shares this one's memory, and this one waits until it executes its program, as in `vfork` and `posix_spawn`: to copy
/// the page tables, and then every page that is touched, would make each start longer by a fifth. So what failed is found in
/// the plan. An emulator that copies the memory nevertheless has a program that cannot be started end with status 127.
#[cfg(target_os = "linux")]
fn enter(plan: &Plan<'_>, stack: &mut [u128]) -> Result<Pid, Failed> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // Stacks grow down.
    let stack_top = stack.as_mut_ptr_range().end;
    let plan = ptr::from_ref(plan).cast_mut();
    // SAFETY: this process stands still until the other one has left its memory, so `plan`, what it points to and `stack`
    // outlive their use and nobody else uses them. There is no other thread that could hold a lock. Handlers that may run
    // there do nothing but write to a pipe.
    let pid = unsafe { libc::clone(carry_out, stack_top.cast(), flags, plan.cast()) };
    if pid < 0 {
        return Err(Failed { step: Step::Process, errno: last_errno() });
    }
    Pid::from_raw(pid).ok_or(Failed { step: Step::Process, errno: Errno::SRCH })
}

/// Makes a process that carries out `plan`; returns when it executes its program or has failed, which it tells by a pipe.
#[cfg(not(target_os = "linux"))]
fn enter(plan: &Plan<'_>, _: &mut [u128]) -> Result<Pid, Failed> {
    let fail = |errno| Failed { step: Step::Process, errno };
    let (failure, report) = system::pipe().map_err(fail)?;
    // SAFETY: there is no other thread, so the new process finds its memory as it was.
    let pid = match unsafe { libc::fork() } {
        0 => {
            let status = carry_out(ptr::from_ref(plan).cast_mut().cast());
            if let Some(failed) = plan.failed.get() {
                // A report that cannot be written leaves the end of file and the exit status, as a shell would.
                let _ = rustix::io::write(&report, &failed.to_bytes());
            }
            // SAFETY: it ends the process and does nothing else.
            unsafe { libc::_exit(status) }
        }
        -1 => return Err(fail(last_errno())),
        pid => Pid::from_raw(pid).ok_or(fail(Errno::SRCH))?,
    };
    drop(report);
    let mut message = [0; Failed::BYTES];
    // The end of file, as the program's start closes the other end, or what failed.
    if rustix::io::retry_on_intr(|| rustix::io::read(&failure, &mut message)) != Ok(0) {
        plan.failed.set(Some(Failed::from_bytes(message)));
    }
    Ok(pid)
}

/// What the new process does; all of it is made before, since it must not allocate.
struct Plan<'a> {
    keeper: Pid,
    files: Rlimit,
    descriptors: [BorrowedFd<'a>; 3],
    folder: &'a CStr,
    path: &'a CStr,
    argv: *const *const c_char,
    env: *const *const c_char,
    /// What failed, once something did.
    failed: Cell<Option<Failed>>,
}

/// Runs in the new process: becomes the program, or says in the plan why not and returns the exit status.
extern "C" fn carry_out(plan: *mut c_void) -> c_int {
    // SAFETY: `enter` passes a plan, and it outlives this call.
    let plan = unsafe { &*plan.cast::<Plan<'_>>() };
    let failed = match plan.prepare() {
        Ok(()) => plan.execute(),
        Err(failed) => failed,
    };
    plan.failed.set(Some(failed));
    127
}

impl Plan<'_> {
    fn prepare(&self) -> Result<(), Failed> {
        let fail = |step| move |errno| Failed { step, errno };
        rustix::process::setsid().map_err(fail(Step::Process))?;
        #[cfg(target_os = "linux")]
        {
            let kill = Some(rustix::process::Signal::KILL);
            rustix::process::set_parent_process_death_signal(kill).map_err(fail(Step::Process))?;
            // It may have ended before that.
            if rustix::process::getppid() != Some(self.keeper) {
                return Err(Failed { step: Step::Process, errno: Errno::SRCH });
            }
        }
        let [stdin, stdout, stderr] = self.descriptors;
        rustix::stdio::dup2_stdin(stdin).map_err(fail(Step::Process))?;
        rustix::stdio::dup2_stdout(stdout).map_err(fail(Step::Process))?;
        rustix::stdio::dup2_stderr(stderr).map_err(fail(Step::Process))?;
        rustix::process::setrlimit(Resource::Nofile, self.files).map_err(fail(Step::Process))?;
        rustix::process::chdir(self.folder).map_err(fail(Step::Folder))
    }

    fn execute(&self) -> Failed {
        // SAFETY: a C string and two arrays of C strings, each closed by a null pointer, all alive. `execve` rather than
        // `execvp`, which would give a file the kernel does not know to `/bin/sh`.
        unsafe { libc::execve(self.path.as_ptr(), self.argv, self.env) };
        Failed { step: Step::Execute, errno: last_errno() }
    }
}

#[cfg(not(target_os = "linux"))]
impl Failed {
    const BYTES: usize = 5;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.errno.raw_os_error().to_le_bytes();
        [self.step as u8, a, b, c, d]
    }

    fn from_bytes([step, errno @ ..]: [u8; Self::BYTES]) -> Self {
        let step = match step {
            1 => Step::Folder,
            2 => Step::Execute,
            _ => Step::Process,
        };
        Self { step, errno: Errno::from_raw_os_error(i32::from_le_bytes(errno)) }
    }
}

/// Returns pointers to the strings, with a null pointer at the end.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
