//! Temporary projects, the binary under test, and redactions, for the tests in `tests/`.
//!
//! - [`Project`]: a folder with files, in which the binary is run with a made-up environment
//! - [`Outcome`]: what it printed and how it ended, with [`Outcome::shown`] free of ids, times and paths
//! - [`PostgresServer`]: a server of the tests' own, gone when they are
//! - [`web`]: an HTTP server that remembers what it was asked
//! - [`tracer`]: runs of the binary that are killed, or refused something, at one of their system calls
//! - [`processes_with`]: the processes that carry a text in their environment: nothing may outlive a run

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

mod postgres;
mod redact;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod tracer;
pub mod web;

pub use postgres::PostgresServer;
pub use redact::redact;

/// A project in a temporary folder, removed when dropped.
pub struct Project {
    folder: TempDir,
    binary: PathBuf,
    env: BTreeMap<String, String>,
}

/// What a command printed and how it ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit status, `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    folder: PathBuf,
}

impl Project {
    /// Makes an empty one for `binary`: `env!("CARGO_BIN_EXE_cairn")`.
    pub fn new(binary: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("cairn-test-").tempdir().expect("a temporary folder");
        Self { folder, binary: PathBuf::from(binary), env: BTreeMap::new() }
    }

    /// Makes one with a `pipeline.toml`.
    pub fn with_pipeline(binary: &str, text: &str) -> Self {
        let project = Self::new(binary);
        project.write("pipeline.toml", text);
        project
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of a file in it.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Sets a variable of the caller's environment for later commands.
    pub fn set_env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Writes a file, its folders made.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.file(path);
        fs::create_dir_all(path.parent().expect("it lies in the project")).expect("folders");
        fs::write(&path, text).expect("a file");
        self
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap_or_else(|error| panic!("cannot read `{path}`: {error}"))
    }

    /// Returns whether there is something at a path.
    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.file(path)).is_ok()
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) -> &Self {
        fs::remove_file(self.file(path)).unwrap_or_else(|error| panic!("cannot remove `{path}`: {error}"));
        self
    }

    /// Returns every file below the project but for the state folder, with its bytes.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(self.path(), self.path(), &mut files);
        files
    }

    /// Returns every file below the folder `path`, with its bytes; none where there is no such folder.
    pub fn snapshot_of(&self, path: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        if self.file(path).is_dir() {
            collect(self.path(), &self.file(path), &mut files);
        }
        files
    }

    /// Returns the binary, ready to be run in the project with nothing of the caller's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path())
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .envs(&self.env)
            .stdin(Stdio::null());
        // Where coverage is measured, that of the binary counts too.
        if let Some(file) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", file);
        }
        command
    }

    /// Runs the binary to its end.
    pub fn cairn(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).output().expect("the binary starts");
        Outcome {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: self.path().to_owned(),
        }
    }

    /// Starts the binary in a process group of its own, its output thrown away.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }

    /// Returns the names of the instances by how they ended, from `cairn run --json` or `cairn resume --json`.
    pub fn outcomes(&self, arguments: &[&str]) -> BTreeMap<String, String> {
        let outcome = self.cairn(arguments);
        outcomes(&outcome.stdout)
    }
}

impl Outcome {
    /// Returns both outputs without ids, times and the project's path.
    pub fn shown(&self) -> String {
        let mut text =
            format!("exit status: {}\n", self.status.map_or("signal".to_owned(), |code| code.to_string()));
        for (name, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !output.is_empty() {
                write!(text, "----- {name} -----\n{}", redact(output, &self.folder))
                    .expect("a string takes all");
                if !output.ends_with('\n') {
                    text.push('\n');
                }
            }
        }
        text
    }

    /// Panics unless it ended with `status`; returns it for more to be looked at.
    #[expect(clippy::return_self_not_must_use, reason = "most tests only check the status")]
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.shown());
        self
    }
}

/// Reads the outcome of each instance from a run's `--json` lines.
pub fn outcomes(json_lines: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in json_lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("a JSON object a line");
        if let (Some(instance), Some(outcome)) = (value["instance"].as_str(), value["outcome"].as_str()) {
            found.insert(instance.to_owned(), outcome.to_uppercase());
        }
    }
    found
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind");
        if entry.file_name() == ".cairn" {
            continue;
        }
        if kind.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            let bytes = if kind.is_symlink() {
                fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).expect("a file")
            };
            files.insert(name, bytes);
        }
    }
}

/// Returns the ids of living processes whose environment holds `text`.
pub fn processes_with(text: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let environ = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        *id != std::process::id() && environ.windows(text.len()).any(|window| window == text.as_bytes())
    })
    .collect()
}
