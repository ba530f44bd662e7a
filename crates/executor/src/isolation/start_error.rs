//! Why a job could not be started.

use std::io;

use serde::{Deserialize, Serialize};

/// Why a job could not be started. Nothing of it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StartError {
    /// There is no command.
    #[error("the command is empty")]
    Empty,
    /// An argument, a variable or a path holds a NUL byte, which the system cannot pass on.
    #[error("{part} contains a NUL byte")]
    Nul {
        /// Which one.
        part: String,
    },
    /// The command is not there.
    #[error("command `{command}` not found")]
    NotFound {
        /// The command as it was given.
        command: String,
        /// Where it was looked for, separated by `:`; `None` for a command that is a path.
        searched: Option<String>,
    },
    /// The command is there and may not be executed.
    #[error("`{path}` is not executable")]
    NotExecutable {
        /// The file, or the folder.
        path: String,
    },
    /// The kernel does not know how to execute the file.
    #[error("`{path}` is not a program: it is no executable this system knows, and has no `#!` line")]
    NoInterpreterLine {
        /// The file.
        path: String,
    },
    /// The program that is to execute the file is not there.
    #[error("the interpreter `{}` of `{path}` is missing", interpreter.escape_debug())]
    BadInterpreter {
        /// The file.
        path: String,
        /// What its `#!` line, or its ELF header, names.
        interpreter: String,
    },
    /// Arguments and environment together, or one of them, are longer than the system takes.
    #[error("the command is too long: {bytes} bytes of arguments and environment, {longest} in the longest")]
    TooLong {
        /// Bytes of all arguments and variables.
        bytes: u64,
        /// Bytes of the longest of them.
        longest: u64,
    },
    /// The working folder cannot be entered.
    #[error("cannot enter the folder `{path}`: {}", reason(*errno))]
    Folder {
        /// The folder.
        path: String,
        /// The system's number for the cause.
        errno: i32,
    },
    /// The file that takes standard output cannot be written.
    #[error("cannot write standard output to `{path}`: {}", reason(*errno))]
    Stdout {
        /// The file.
        path: String,
        /// The system's number for the cause.
        errno: i32,
    },
    /// What should take standard output is a folder, a FIFO, a device or a socket.
    #[error("cannot write standard output to `{path}`: it is not a regular file")]
    StdoutKind {
        /// What is there.
        path: String,
    },
    /// The system refused, for want of processes, memory or descriptors.
    #[error("cannot start `{command}`: {}", reason(*errno))]
    System {
        /// The command.
        command: String,
        /// The system's number for the cause.
        errno: i32,
    },
    /// It was to have been started before, and is held no more.
    #[error("the keeper process does not hold it")]
    NotHeld,
}

impl StartError {
    /// Returns what to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { searched: Some(searched), .. } => {
                Some(format!("install it, or set `PATH` in the stage's `env`; looked in `{searched}`"))
            }
            Self::NotFound { searched: None, .. } => {
                Some("a script of the project must be among the stage's `inputs`".to_owned())
            }
            Self::NotExecutable { path } => {
                Some(format!("run `chmod +x {path}`, or put its interpreter in front"))
            }
            Self::NoInterpreterLine { .. } => Some("begin it with a line such as `#!/bin/sh`".to_owned()),
            Self::BadInterpreter { interpreter, .. } if interpreter.ends_with('\r') => {
                Some("the file has Windows line ends; convert it with `sed -i 's/\\r$//'`".to_owned())
            }
            Self::BadInterpreter { .. } => Some("install it, or mend the file's first line".to_owned()),
            Self::TooLong { .. } => Some("pass long values through a file".to_owned()),
            Self::Empty
            | Self::Nul { .. }
            | Self::Folder { .. }
            | Self::Stdout { .. }
            | Self::StdoutKind { .. }
            | Self::System { .. }
            | Self::NotHeld => None,
        }
    }

    /// Tells whether another attempt would fail in the same way.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::System { .. } | Self::Folder { .. } | Self::Stdout { .. })
    }
}

fn reason(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    // "No such file or directory (os error 2)": lower case within a sentence, and nobody asked for the number.
    let text = text.split(" (os error").next().unwrap_or(&text).to_owned();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
