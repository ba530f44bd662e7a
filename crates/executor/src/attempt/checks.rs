//! What is looked at after a command, before its result counts; and before one that runs in the project itself.

use std::io;

use cairn_content::{FileError, Standing};
use cairn_model::{Level, Output, ProjectPath};

use super::{AttemptError, Prepared};
use crate::engine::Engine;
use crate::gather::{Gathered, Origin};
use crate::hint;
use crate::isolation::{Ended, ExitKind};
use crate::staging::is_unchanged;

impl Engine {
    pub(super) fn check_end(
        &self,
        instance: u32,
        prepared: &Prepared,
        ended: &Ended,
    ) -> Result<(), AttemptError> {
        if ended.stopped {
            return Err(AttemptError::stopped());
        }
        let declared = self.instance(instance);
        if ended.timed_out {
            let limit = declared.policy.timeout_ms.unwrap_or_default();
            let help = "raise `timeout`, or find out what it waits for".to_owned();
            return Err(AttemptError::new(format!("timed out after {}", seconds(limit)), Some(help)));
        }
        let error = match ended.status {
            ExitKind::Code(0) => return Ok(()),
            ExitKind::Code(code) => format!("exit status {code}"),
            ExitKind::Signal(signal) => format!("ended by signal {signal}{}", signal_name(signal)),
        };
        // What the command said of it may be just what is not in the log: a full disk, for example.
        if let Some(cause) = log_error(prepared, ended) {
            return Err(AttemptError::new(format!("{error}; {cause}"), cause.help()));
        }
        let help = (prepared.level != Level::Off)
            .then(|| hint::undeclared_input(&self.project, declared, &prepared.gathered, &prepared.job.log))
            .flatten();
        Err(AttemptError::new(error, help))
    }

    /// K7: a result is not committed under a hash of inputs that are no longer what they were.
    /// A stage `of_records` has delivered by then.
    pub(super) fn check_inputs(&self, prepared: &Prepared, of_records: bool) -> Result<(), AttemptError> {
        let Some(path) = self.first_changed(&prepared.gathered)? else { return Ok(()) };
        let (what, help) = if of_records {
            (
                "while it was read",
                "run again when nobody writes to it: what was delivered is not delivered again",
            )
        } else {
            ("while the command ran", "nothing was committed; run again when nobody writes to it")
        };
        Err(AttemptError::new(format!("input `{path}` changed {what}"), Some(help.to_owned())))
    }

    /// Returns an input that is no longer what was hashed.
    pub(super) fn first_changed<'a>(
        &self,
        gathered: &'a Gathered,
    ) -> Result<Option<&'a ProjectPath>, AttemptError> {
        for input in &gathered.files {
            let unchanged = is_unchanged(input, &self.project, &self.digests, &self.kept().objects)
                .map_err(|error| AttemptError::new(error.to_string(), error.help()))?;
            if !unchanged {
                return Ok(Some(&input.path));
            }
        }
        Ok(None)
    }

    /// A command with `sandbox = "off"` reads what others made from the project: what was edited or is missing there is
    /// put back first, so that it reads what is in its input-hash.
    pub(super) fn restore_made(&self, gathered: &Gathered) -> Result<(), AttemptError> {
        let outputs = self.made_not_in_place(gathered)?;
        let outputs: Vec<&Output> = outputs.iter().collect();
        if !outputs.is_empty() {
            let failed = |error: crate::LookUpError| AttemptError::new(error.to_string(), error.help());
            self.put_back(&outputs).map_err(failed)?;
        }
        Ok(())
    }

    /// The same look after the command.
    pub(super) fn check_made(&self, gathered: &Gathered) -> Result<(), AttemptError> {
        match self.made_not_in_place(gathered)?.first() {
            None => Ok(()),
            Some(output) => {
                let text = format!("input `{}` changed while the command ran", output.path);
                Err(AttemptError::new(text, Some("nothing was committed; run again".to_owned())))
            }
        }
    }

    pub(super) fn made_not_in_place(&self, gathered: &Gathered) -> Result<Vec<Output>, AttemptError> {
        let mut found = Vec::new();
        for input in gathered.files.iter().filter(|input| matches!(input.origin, Origin::Made)) {
            let output = Output { path: input.path.clone(), content: input.content.clone() };
            let standing = self.kept().placer.check(self.project.folder(), &output, &self.digests);
            let standing = standing.map_err(|error| AttemptError::new(error.to_string(), error.help()))?;
            if standing != Standing::InPlace {
                found.push(output);
            }
        }
        Ok(found)
    }
}

/// Says why an attempt's log is not whole.
pub(super) fn log_error(prepared: &Prepared, ended: &Ended) -> Option<FileError> {
    let cause = io::Error::from_raw_os_error(ended.log_error?);
    Some(FileError { action: "write", path: prepared.job.log.clone(), cause })
}

fn seconds(millis: u64) -> String {
    if millis.is_multiple_of(1000) { format!("{} s", millis / 1000) } else { format!("{millis} ms") }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
