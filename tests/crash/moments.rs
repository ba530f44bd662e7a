//! I3: a run that is killed at any moment goes on where it stopped.
//!
//! A pipeline of 34 stages is run once undisturbed. Then, for each of many moments, the same run is started afresh in a
//! folder of its own, its process group is killed with SIGKILL at that moment, and the run is resumed. The moments are
//! spread over the stages, not over a time, so that a slow machine meets the same ones: some milliseconds after so many
//! commands were started.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use crate::scene::Scene;
use crate::{kill_group, proof};

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

fn sweep(sandbox: &str, moments: u32) {
    let undisturbed = Scene::new(|executions| pipeline(sandbox, executions));
    undisturbed.project.cairn(&["run", "-j", "4"]).expect(0);
    let expected = undisturbed.expected();
    assert_eq!(expected.outputs.len(), 35, "34 outputs and the source: {:?}", expected.outputs.keys());
    let (mut cut, mut finished_before) = (0, 0);
    for moment in 0..moments {
        let scene = Scene::new(|executions| pipeline(sandbox, executions));
        let mut run = scene.project.start(&["run", "-j", "4"]);
        let (started, later) = (moment * 34 / moments, Duration::from_millis(u64::from(moment * 7 % 30)));
        scene.wait_for_commands(started, &mut run);
        sleep(later);
        kill_group(&mut run);
        let at = format!("sandbox {sandbox}, killed {later:?} after {started} commands were started");
        let found = scene.goes_on(&expected, &at);
        cut += u32::from(found.resumed);
        finished_before += found.finished;
    }
    assert!(cut > moments * 3 / 4, "most kills must hit a run that was under way: {cut} of {moments}");
    assert!(finished_before > 34, "kills must find finished stages: {finished_before}");
}

fn moments(normally: u32) -> u32 {
    if proof() { normally * 10 } else { normally }
}

#[test]
fn i3_resume_after_kill_at_any_moment() {
    sweep("private", moments(50));
}

#[test]
fn i3_resume_after_kill_at_any_moment_without_sandbox() {
    sweep("off", moments(12));
}
