//! Exit statuses: public, each seen here.

use cairn_testkit::Project;
use rustix::process::{Pid, Signal, kill_process};

use super::super::BINARY;
use super::{TROUBLE, sales, sales_done, wait_for_slow, waiting};

#[test]
fn done_is_0() {
    let project = sales();
    for command in
        [&["run"][..], &["run"], &["run", "--frozen"], &["plan"], &["check"], &["status"], &["resume"]]
    {
        project.cairn(command).expect(0);
    }
}

#[test]
fn a_failed_stage_is_1() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    project.cairn(&["run"]).expect(1);
    project.cairn(&["resume"]).expect(1);
    project.cairn(&["run", "good"]).expect(0);
}

#[test]
fn a_wrong_definition_or_command_line_is_2() {
    let project = sales();
    project.cairn(&["run", "--no-such-option"]).expect(2);
    project.cairn(&["run", "no-such-stage"]).expect(2);
    project.write("pipeline.toml", "[");
    for command in ["check", "plan", "run", "graph", "status"] {
        project.cairn(&[command]).expect(2);
    }
}

#[test]
fn what_would_run_is_3() {
    let project = sales();
    project.cairn(&["run", "--frozen"]).expect(3);
    project.cairn(&["status"]).expect(3);
    let project = sales_done();
    project.remove("report.txt");
    project.cairn(&["status"]).expect(3);
}

#[test]
fn an_unavailable_store_is_5() {
    let project = sales();
    project.write(".cairn", "a file");
    project.cairn(&["run"]).expect(5);
}

#[test]
fn an_interrupt_is_130() {
    for signal in [Signal::INT, Signal::TERM] {
        let project = waiting();
        let mut run = project.start(&["run", "-j1"]);
        wait_for_slow(&project);
        kill_process(Pid::from_child(&run), signal).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(130), "after {signal:?}");
        assert_eq!(cairn_testkit::processes_with(&project.path().to_string_lossy()), Vec::<u32>::new());
        project.write("go", "");
        project.cairn(&["resume"]).expect(0);
    }
}
