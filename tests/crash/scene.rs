//! A project of stages that make files, and what must hold after a run of it was cut off.

use std::collections::{BTreeMap, HashMap};
use std::thread::sleep;
use std::time::Duration;

use cairn_testkit::{Project, processes_with};

use crate::BINARY;

/// What a run that nobody disturbed comes to.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) outputs: BTreeMap<String, Vec<u8>>,
    /// How many instances there are.
    pub(crate) instances: usize,
}

/// A project whose stages write down, outside of it, that they were executed.
pub(crate) struct Scene {
    pub(crate) project: Project,
    outside: tempfile::TempDir,
}

impl Scene {
    /// Makes one; `pipeline` is told the file that each command adds its stage's name to.
    pub(crate) fn new(pipeline: impl Fn(&str) -> String) -> Self {
        let outside = tempfile::tempdir().expect("a temporary folder");
        let executions = outside.path().join("executions");
        let project = Project::with_pipeline(BINARY, &pipeline(&executions.to_string_lossy()));
        project.write("source.txt", "b\na\nc\n");
        Self { project, outside }
    }

    /// Returns what was made, after a run that nobody disturbed.
    pub(crate) fn expected(&self) -> Expected {
        Expected { outputs: self.outputs(), instances: self.executions().len() }
    }

    /// Returns the names of what a run noted that it could not remove.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub(crate) fn notes(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.project.file(".cairn/staging")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Some(name.strip_prefix("left")?.to_owned())).collect()
    }

    /// Forgets what was executed until now.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub(crate) fn forget_executions(&self) {
        std::fs::write(self.outside.path().join("executions"), "").expect("a file");
    }

    /// Counts how often each stage's command was started.
    fn executions(&self) -> HashMap<String, u32> {
        let text = std::fs::read_to_string(self.outside.path().join("executions")).unwrap_or_default();
        let mut counts = HashMap::new();
        for name in text.lines() {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Waits until so many commands were started, or the run has ended.
    pub(crate) fn wait_for_commands(&self, count: u32, run: &mut std::process::Child) {
        let is_running = |run: &mut std::process::Child| run.try_wait().expect("it is ours").is_none();
        while self.executions().values().sum::<u32>() < count && is_running(run) {
            sleep(Duration::from_millis(1));
        }
    }

    /// Returns the outputs, and the source; the definition itself names a folder of its own.
    fn outputs(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.project.snapshot();
        files.remove("pipeline.toml");
        files
    }

    fn leftovers(&self) -> Vec<String> {
        let staging = self.project.file(".cairn/staging");
        let staged = std::fs::read_dir(staging).into_iter().flatten().flatten();
        let mut left: Vec<String> = staged.map(|entry| entry.path().display().to_string()).collect();
        left.extend(self.project.snapshot().into_keys().filter(|path| path.contains(".cairn-")));
        left.extend(
            processes_with(&self.project.path().to_string_lossy()).iter().map(|id| format!("process {id}")),
        );
        left
    }

    /// Lets a run that was cut off go on, and checks what [the crate](crate) says of it.
    pub(crate) fn goes_on(&self, expected: &Expected, at: &str) -> Found {
        let mut found = Found::default();
        // A run that was cut off before it was written down cannot be resumed, only started again.
        let resumed = self.project.cairn(&["resume", "--json"]);
        let resumed = if resumed.status == Some(0) && !resumed.stdout.is_empty() {
            found.resumed = true;
            resumed
        } else {
            self.project.cairn(&["run", "--json", "-j", "4"])
        };
        assert_eq!(resumed.status, Some(0), "{at}: {}", resumed.shown());
        assert_eq!(self.outputs(), expected.outputs, "{at}: other bytes");
        let executions = self.executions();
        let outcomes = cairn_testkit::outcomes(&resumed.stdout);
        assert_eq!(outcomes.len(), expected.instances, "{at}: {outcomes:?}");
        for (instance, outcome) in &outcomes {
            let count = executions.get(instance).copied().unwrap_or(0);
            match outcome.as_str() {
                "FRESH" | "RESTORED" => {
                    found.finished += 1;
                    assert_eq!(count, 1, "{at}: `{instance}` had its checkpoint");
                }
                "RAN" => assert!((1..=2).contains(&count), "{at}: `{instance}` was executed {count} times"),
                other => panic!("{at}: `{instance}` is {other}"),
            }
        }
        let again = self.project.outcomes(&["run", "--json"]);
        assert!(again.values().all(|outcome| outcome == "FRESH"), "{at}: a further run: {again:?}");
        assert_eq!(self.executions(), executions, "{at}: a further run executed something");
        assert_eq!(self.leftovers(), Vec::<String>::new(), "{at}");
        found
    }
}

/// What was found when a run went on.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whether the run was resumed, and not begun again.
    pub(crate) resumed: bool,
    /// How many instances had been finished before.
    pub(crate) finished: u32,
}
