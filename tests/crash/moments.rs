//! I3: a run that is killed at any moment goes on where it stopped.
//!
//! A pipeline of 34 stages is run once undisturbed. Then, for each of many moments, the same run is started afresh in a
//! folder of its own, its process group is killed with SIGKILL at that moment, and the run is resumed. The moments are
//! spread over the stages, not over a time, so that a slow machine meets the same ones: some milliseconds after so many
//! commands were started. After every kill:
//!
//! - the resumed run ends with 0 and with the same bytes as the undisturbed one,
//! - a stage that had its checkpoint was executed once, any other at most twice,
//! - a further run executes nothing,
//! - no process, working folder or temporary file is left.
//!
//! `CAIRN_PROOF=1` (`make proof`) takes ten times as many moments.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use cairn_testkit::{Project, processes_with};

const BINARY: &str = env!("CARGO_BIN_EXE_cairn");

/// Four layers of eight stages, each made of two of the layer before, and a gather at either end.
fn pipeline(sandbox: &str, executions: &str) -> String {
    let mut text = format!("[pipeline]\nname = \"crash\"\nsandbox = \"{sandbox}\"\n");
    let mut stage = |name: &str, inputs: &[String], output: &str, work: &str| {
        let inputs: Vec<String> = inputs.iter().map(|input| format!("\"{input}\"")).collect();
        // A child in a session of its own must not outlive the attempt either; that of a finished one costs a grace.
        let stray = if name.ends_with("3-7x") { "setsid sleep 60 &" } else { "" };
        writeln!(
            text,
            "[stages.{name}]\nrun = '''\necho {name} >> {executions}\n{stray}\nsleep 0.0{}\n{work} > {output}\n'''\n\
             inputs = [{}]\noutputs = [\"{output}\"]\n",
            name.len() % 4 + 1,
            inputs.join(", "),
        )
        .expect("a string takes all");
    };
    stage("start", &["source.txt".to_owned()], "out/start", "sort source.txt");
    let mut before: Vec<String> = vec!["out/start".to_owned(); 8];
    for layer in 0..4 {
        let mut now = Vec::new();
        for place in 0..8 {
            let name = format!("l{layer}-{place}{}", "x".repeat(place % 3));
            let inputs = [before[place].clone(), before[(place + 1) % 8].clone()];
            let mut inputs = inputs.to_vec();
            inputs.dedup();
            let output = format!("out/{name}");
            stage(&name, &inputs, &output, &format!("(echo {name}; cat {}) | cksum", inputs.join(" ")));
            now.push(output);
        }
        before = now;
    }
    stage("end", &before.clone(), "out/end.txt", &format!("cat {}", before.join(" ")));
    text
}

struct Scene {
    project: Project,
    outside: tempfile::TempDir,
}

impl Scene {
    fn new(sandbox: &str) -> Self {
        let outside = tempfile::tempdir().expect("a temporary folder");
        let executions = outside.path().join("executions");
        let project = Project::with_pipeline(BINARY, &pipeline(sandbox, &executions.to_string_lossy()));
        project.write("source.txt", "b\na\nc\n");
        Self { project, outside }
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
    fn wait_for_commands(&self, count: u32, run: &mut std::process::Child) {
        let is_running = |run: &mut std::process::Child| run.try_wait().expect("it is ours").is_none();
        while self.executions().values().sum::<u32>() < count && is_running(run) {
            sleep(Duration::from_millis(1));
        }
    }

    /// The outputs; the definition itself names a folder of its own.
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
}

fn kill_group(child: &mut std::process::Child) {
    let group = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait().expect("it was killed");
}

fn sweep(sandbox: &str, moments: u32) {
    let undisturbed = Scene::new(sandbox);
    undisturbed.project.cairn(&["run", "-j", "4"]).expect(0);
    let expected = undisturbed.outputs();
    assert_eq!(expected.len(), 35, "34 outputs and the source: {:?}", expected.keys());
    let (mut cut, mut finished_before) = (0, 0);
    for moment in 0..moments {
        let scene = Scene::new(sandbox);
        let mut run = scene.project.start(&["run", "-j", "4"]);
        let (started, later) = (moment * 34 / moments, Duration::from_millis(u64::from(moment * 7 % 30)));
        scene.wait_for_commands(started, &mut run);
        sleep(later);
        kill_group(&mut run);
        let at = format!("sandbox {sandbox}, killed {later:?} after {started} commands were started");
        // A run that was cut off before it was written down cannot be resumed, only started again.
        let resumed = scene.project.cairn(&["resume", "--json"]);
        let resumed = if resumed.status == Some(0) && !resumed.stdout.is_empty() {
            cut += 1;
            resumed
        } else {
            scene.project.cairn(&["run", "--json", "-j", "4"])
        };
        assert_eq!(resumed.status, Some(0), "{at}: {}", resumed.shown());
        assert_eq!(scene.outputs(), expected, "{at}: other bytes");
        let executions = scene.executions();
        let outcomes = cairn_testkit::outcomes(&resumed.stdout);
        assert_eq!(outcomes.len(), 34, "{at}: {outcomes:?}");
        for (instance, outcome) in &outcomes {
            let count = executions.get(instance).copied().unwrap_or(0);
            match outcome.as_str() {
                "FRESH" | "RESTORED" => {
                    finished_before += 1;
                    assert_eq!(count, 1, "{at}: `{instance}` had its checkpoint");
                }
                "RAN" => assert!((1..=2).contains(&count), "{at}: `{instance}` was executed {count} times"),
                other => panic!("{at}: `{instance}` is {other}"),
            }
        }
        let again = scene.project.outcomes(&["run", "--json"]);
        assert!(again.values().all(|outcome| outcome == "FRESH"), "{at}: a further run: {again:?}");
        assert_eq!(scene.executions(), executions, "{at}: a further run executed something");
        assert_eq!(scene.leftovers(), Vec::<String>::new(), "{at}");
    }
    assert!(cut > moments * 3 / 4, "most kills must hit a run that was under way: {cut} of {moments}");
    assert!(finished_before > 34, "kills must find finished stages: {finished_before}");
}

fn moments(normally: u32) -> u32 {
    if std::env::var_os("CAIRN_PROOF").is_some() { normally * 10 } else { normally }
}

#[test]
fn i3_resume_after_kill_at_any_moment() {
    sweep("private", moments(50));
}

#[test]
fn i3_resume_after_kill_at_any_moment_without_sandbox() {
    sweep("off", moments(12));
}
