//! Commands whose output is an input.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{BINARY, Project};

#[test]
fn each_is_asked_once_a_run_by_whoever_comes_first() {
    let stage = |name: &str| {
        format!(
            "[stages.{name}]\nrun = \"touch {name}\"\noutputs = [\"{name}\"]\n\
             inputs = [{{ command = \"echo asked >> asked; sleep 0.3; echo 1\" }}]\n"
        )
    };
    let text: String = ["a", "b", "c", "d"].map(stage).concat();
    let project = Project::with_pipeline(BINARY, &text);
    project.cairn(&["run", "-j4"]).expect(0);
    assert_eq!(project.read("asked"), "asked\n");
}

#[test]
fn what_a_killed_run_asked_is_ended_by_the_next_one() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.a]\nrun = \"touch a\"\noutputs = [\"a\"]\ninputs = [{ command = \"sh ask.sh\" }]\n",
    );
    project.write("ask.sh", "echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 1000");
    let mut run = project.start(&["run"]);
    let begun = Instant::now();
    while !project.exists("pid") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the command was not asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&run), Signal::KILL).unwrap();
    run.wait().unwrap();
    // Empty once it is dead, also when nobody has reaped it.
    let command_line = format!("/proc/{}/cmdline", project.read("pid").trim());
    let lives = || std::fs::read(&command_line).is_ok_and(|bytes| !bytes.is_empty());
    assert!(lives(), "nothing is to be ended");
    project.write("ask.sh", "echo 1");
    project.cairn(&["run"]).expect(0);
    assert!(!lives(), "it lives on");
}
