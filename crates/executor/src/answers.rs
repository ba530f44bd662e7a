//! What commands print that are inputs themselves, or the versions of tools: each is asked once a run.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::isolation::question::{self, Limits};

/// How long a command whose output is an input may take, and how much it may print: it says which version there is, or lists
/// what there is, and does not work.
const LIMITS: Limits = Limits { within: Duration::from_mins(5), bytes: 16 << 20 };

/// A command and its environment.
type Asked = (Vec<String>, BTreeMap<String, String>);

/// What a command printed, or what happened instead; who asks first fills it, the others wait for that.
type Answer = Arc<OnceLock<Result<Vec<u8>, String>>>;

/// The answers of one run.
pub(crate) struct Answers {
    folder: PathBuf,
    state_id: String,
    known: Mutex<HashMap<Asked, Answer>>,
}

impl Answers {
    /// Commands start in `folder`; `state_id` marks them as started for that state folder.
    pub(crate) fn new(folder: PathBuf, state_id: String) -> Self {
        Self { folder, state_id, known: Mutex::default() }
    }

    /// Returns what the command `argv` prints in this environment, or what happened instead.
    pub(crate) fn of(&self, argv: Vec<String>, env: BTreeMap<String, String>) -> Result<Vec<u8>, String> {
        let asked = (argv, env);
        let answer = {
            let mut known = self.known.lock().expect("no panic while it is held");
            Arc::clone(known.entry(asked.clone()).or_default())
        };
        answer.get_or_init(|| self.ask(&asked)).clone()
    }

    fn ask(&self, (argv, env): &Asked) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).current_dir(&self.folder).env_clear().envs(env);
        let output =
            question::ask(&mut command, &self.state_id, LIMITS).map_err(|no_answer| no_answer.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().last().unwrap_or_default();
            return Err(format!("failed ({}): {said}", output.status));
        }
        // Some tools print their version as an error message.
        Ok(if output.stdout.is_empty() { output.stderr } else { output.stdout })
    }
}
