//! Who does not read what a run prints holds up what is printed, and neither the run nor the signals sent to it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{BINARY, Project};

const PIPELINE: &str = "[stages.first]\nrun = \"echo 1 > first\"\noutputs = [\"first\"]\n\
     [stages.second]\nrun = \"cp first second; echo begun > $MARK; until test -e $GO; do sleep 0.01; done\"\n\
     inputs = [\"first\"]\noutputs = [\"second\"]\npass_env = [\"MARK\", \"GO\"]\n";

/// A run whose output goes into a pipe that is full from the beginning.
struct Stalled {
    project: Project,
    run: Child,
    reader: File,
    filled: usize,
}

fn stalled() -> Stalled {
    let mut project = Project::with_pipeline(BINARY, PIPELINE);
    for (name, file) in [("MARK", "begun"), ("GO", "go")] {
        let path = project.file(file).to_string_lossy().into_owned();
        project.set_env(name, &path);
    }
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let filled = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    let mut writer = File::from(writer);
    writer.write_all(&vec![b'\n'; filled]).unwrap();
    let mut command = project.command(&["run", "--json"]);
    let run = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    Stalled { project, run, reader: File::from(reader), filled }
}

#[track_caller]
fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_run_goes_on_and_all_is_printed_once_it_is_read() {
    let Stalled { project, mut run, mut reader, filled } = stalled();
    project.write("go", "");
    wait_for("both are committed", || project.exists("second"));
    assert_eq!(run.try_wait().unwrap(), None, "it waits for who reads");
    let mut printed = String::new();
    reader.read_to_string(&mut printed).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let outcomes = cairn_testkit::outcomes(&printed[filled..]);
    assert_eq!((outcomes["first"].as_str(), outcomes["second"].as_str()), ("RAN", "RAN"));
    let last = printed.lines().last().unwrap();
    assert!(last.contains("\"succeeded\""), "{last}");
}

#[test]
fn an_interrupt_ends_the_commands_and_the_next_one_cairn() {
    let Stalled { project, mut run, reader, .. } = stalled();
    wait_for("the second runs", || project.exists("begun"));
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    wait_for("the run is entered as interrupted", || {
        let runs = project.cairn(&["runs", "--json"]);
        runs.stdout.contains("\"interrupted\"")
    });
    assert_eq!(run.try_wait().unwrap(), None, "it waits for who reads");
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    wait_for("it ends", || run.try_wait().unwrap().is_some());
    assert_eq!(run.wait().unwrap().code(), Some(130));
    drop(reader);
}

#[test]
fn a_termination_needs_no_second_one() {
    let Stalled { project, mut run, reader, .. } = stalled();
    wait_for("the second runs", || project.exists("begun"));
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    wait_for("it ends", || run.try_wait().unwrap().is_some());
    assert_eq!(run.wait().unwrap().code(), Some(130));
    drop(reader);
}
