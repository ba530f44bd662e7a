//! From a command to what the kernel executes, and from its refusal to a cause that a person can mend.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;

use super::super::job::Job;
use super::super::start_error::StartError;
use super::spawn::{Failed, Step};

/// Where commands are looked for when the environment has no `PATH`, as in `execvp`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What the kernel is given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: CString,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) folder: CString,
}

impl Program {
    /// Finds the job's command and makes strings for the kernel of it.
    pub(super) fn find(job: &Job) -> Result<Self, StartError> {
        let path = find(job)?;
        let text = |bytes: &[u8], part: &dyn Fn() -> String| {
            CString::new(bytes).map_err(|_| StartError::Nul { part: part() })
        };
        let argv = job.argv.iter().enumerate();
        let argv = argv.map(|(at, arg)| text(arg.as_bytes(), &|| format!("argument {at} of the command")));
        let env = job.env.iter().map(|(name, value)| {
            text(format!("{name}={value}").as_bytes(), &|| format!("variable `{}`", name.escape_debug()))
        });
        Ok(Self {
            argv: argv.collect::<Result<_, _>>()?,
            env: env.collect::<Result<_, _>>()?,
            path: text(path.as_os_str().as_bytes(), &|| "the command".to_owned())?,
            folder: text(job.cwd.as_os_str().as_bytes(), &|| "the working folder".to_owned())?,
        })
    }

    /// Returns why the kernel refused.
    pub(super) fn explain(&self, job: &Job, failed: Failed) -> StartError {
        let errno = failed.errno;
        let command = job.argv.first().cloned().unwrap_or_default();
        match failed.step {
            Step::Folder => {
                StartError::Folder { path: job.cwd.display().to_string(), errno: errno.raw_os_error() }
            }
            Step::Execute => self.explain_execute(job, command, errno),
            Step::Process => StartError::System { command, errno: errno.raw_os_error() },
        }
    }

    fn explain_execute(&self, job: &Job, command: String, errno: Errno) -> StartError {
        let file = job.cwd.join(OsStr::from_bytes(self.path.as_bytes()));
        let path = file.display().to_string();
        match errno {
            Errno::NOENT | Errno::NOTDIR if !file.exists() => {
                StartError::NotFound { command, searched: None }
            }
            Errno::NOENT | Errno::NOTDIR => {
                let interpreter = interpreter(&file).unwrap_or_else(|| "?".to_owned());
                StartError::BadInterpreter { path, interpreter }
            }
            Errno::ACCESS => StartError::NotExecutable { path },
            Errno::NOEXEC => StartError::NoInterpreterLine { path },
            Errno::TOOBIG => {
                let lengths = || self.argv.iter().chain(&self.env).map(|text| text.count_bytes() as u64 + 1);
                StartError::TooLong { bytes: lengths().sum(), longest: lengths().max().unwrap_or(0) }
            }
            _ => StartError::System { command, errno: errno.raw_os_error() },
        }
    }
}

/// Returns what to execute: the command itself when it is a path, else the first file of that name in `PATH` that may be
/// executed.
fn find(job: &Job) -> Result<PathBuf, StartError> {
    let command = job.argv.first().filter(|command| !command.is_empty()).ok_or(StartError::Empty)?;
    if command.contains('/') {
        return Ok(command.into());
    }
    let path = job.env.iter().rfind(|(name, _)| name == "PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_str());
    let mut refused = None;
    for folder in path.split(':') {
        // An empty part is the working folder, as in every shell.
        let candidate = job.cwd.join(folder).join(command);
        if fs::metadata(&candidate).is_ok_and(|found| found.is_file()) {
            if rustix::fs::access(&candidate, Access::EXEC_OK).is_ok() {
                return Ok(candidate);
            }
            refused.get_or_insert(candidate);
        }
    }
    Err(match refused {
        Some(path) => StartError::NotExecutable { path: path.display().to_string() },
        None => StartError::NotFound { command: command.clone(), searched: Some(path.to_owned()) },
    })
}

/// Returns the program that the kernel would run `file` with: what its `#!` line names, or its ELF header (a program of
/// another C library names a loader that is not there).
fn interpreter(file: &Path) -> Option<String> {
    let mut head = Vec::new();
    File::open(file).ok()?.take(4096).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let line = String::from_utf8_lossy(line);
        // Blanks end the name, a carriage return does not: it is what is wrong with it.
        return line.split([' ', '\t']).find(|word| !word.is_empty()).map(str::to_owned);
    }
    elf_interpreter(&head)
}

/// Reads the interpreter from the head of a 64-bit little-endian ELF file (elf(5)).
fn elf_interpreter(head: &[u8]) -> Option<String> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = head.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let place = |at: usize, bytes: usize| usize::try_from(number(at, bytes)?).ok();
    head.strip_prefix(b"\x7fELF\x02\x01")?;
    let (table, size, count) = (place(32, 8)?, place(54, 2)?, place(56, 2)?);
    let entries = (0..count).map_while(|at| table.checked_add(at * size));
    let entry = entries.into_iter().find(|entry| number(*entry, 4) == Some(PT_INTERP))?;
    let (start, length) = (place(entry.checked_add(8)?, 8)?, place(entry.checked_add(32)?, 8)?);
    let name = head.get(start..start.checked_add(length)?)?;
    Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let check = |head: &[u8], expect: Option<&str>| {
            let file = folder.path().join("file");
            fs::write(&file, head).unwrap();
            assert_eq!(interpreter(&file).as_deref(), expect, "{}", String::from_utf8_lossy(head));
        };
        check(b"#!/bin/sh\necho", Some("/bin/sh"));
        check(b"#! /usr/bin/env -S python3 -u\n", Some("/usr/bin/env"));
        check(b"#!/bin/sh\r\n", Some("/bin/sh\r"));
        check(b"#!\n", None);
        check(b"", None);
        check(b"echo", None);
        check(b"\x7fELF\x02\x01", None);
        check(&[b"\x7fELF\x02\x01".as_slice(), &[0xff; 100]].concat(), None);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
    fn the_loader_of_a_program_is_named() {
        let loader = interpreter(Path::new("/bin/sh")).unwrap();
        assert!(loader.contains("ld") && Path::new(&loader).exists(), "{loader}");
    }
}
