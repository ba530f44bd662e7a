//! I3 at system calls: a run is cut off at each of its calls that change state, or is refused it.
//!
//! The calls of an undisturbed run are counted, of all its processes together; then, for numbers spread over them, the same
//! run is started afresh under the tracer, and at the call of that number everybody is killed, or cairn alone, or its
//! keeper, before the call or after it. `CAIRN_PROOF=1` takes every call, up to 500 for each start.

use cairn_testkit::tracer::{Blow, Deed, Moment, Traced, Victim, Whose, traced};

use crate::proof;
use crate::scene::{Expected, Scene};

/// As the kernel numbers them: no space left on the device, and an input or output error.
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EIO: i32 = 5;

/// Outputs that lie in the store, in the content store, and in folders; with links and rights.
fn pipeline(sandbox: &str, executions: &str) -> String {
    let stage = |name: &str, work: &str, inputs: &str, output: &str| {
        format!(
            "[stages.{name}]\nrun = '''\necho {name} >> {executions}\n{work}\n'''\ninputs = [{inputs}]\n\
             outputs = [\"{output}\"]\n"
        )
    };
    [
        format!("[pipeline]\nname = \"sweep\"\nsandbox = \"{sandbox}\"\n"),
        stage("small", "sort source.txt > out/small", "\"source.txt\"", "out/small"),
        stage("big", "(cat source.txt; head -c 9000 /dev/zero) > out/big", "\"source.txt\"", "out/big"),
        stage(
            "tree",
            "cp source.txt out/tree/x; ln -s x out/tree/y; mkdir out/tree/z; head -c 5000 out/big > out/tree/z/big; \
             chmod +x out/tree/z/big",
            "\"source.txt\", \"out/big\"",
            "out/tree/",
        ),
        stage("end", "cat out/small out/tree/y > out/end", "\"out/small\", \"out/tree/\"", "out/end"),
    ]
    .concat()
}

/// What there is when the run starts.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// Nothing of an earlier run.
    Empty,
    /// Outputs of an earlier run, all of which are to be replaced.
    Outdated,
}

struct Sweep {
    sandbox: &'static str,
    start: Start,
    whose: Whose,
    deeds: Vec<Deed>,
}

impl Sweep {
    fn scene(&self) -> Scene {
        let scene = Scene::new(|executions| pipeline(self.sandbox, executions));
        if let Start::Outdated = self.start {
            scene.project.cairn(&["run"]).expect(0);
            scene.forget_executions();
            scene.project.write("source.txt", "now\nsomething\nelse\n");
        }
        scene
    }

    /// Strikes at `points` calls; `check` is told what is expected and what happened.
    fn run(&self, points: u64, check: impl Fn(&Scene, &Expected, &Traced, &str)) {
        let scene = self.scene();
        let whole = traced(&scene.project.command(&["run", "-j", "2"]), self.whose, None);
        assert_eq!(whole.status, Some(0), "{}", whole.output);
        let expected = scene.expected();
        assert_eq!(expected.instances, 4, "all are executed");
        let points = if proof() { whole.calls.min(500) } else { points };
        let mut met = 0;
        for point in 0..points {
            let deeds = self.deeds.len() as u64;
            let deed = &self.deeds[usize::try_from(point % deeds).unwrap()];
            let blow = Blow { call: (2 * point + 1) * whole.calls / (2 * points), deed: deed.clone() };
            let scene = self.scene();
            let cut = traced(&scene.project.command(&["run", "-j", "2"]), self.whose, Some(blow));
            met += u64::from(cut.struck.is_some());
            let call = cut.struck.as_ref().map_or("no call".to_owned(), ToString::to_string);
            let at = format!("sandbox {}, {:?}, {deed:?} at {call}", self.sandbox, self.start);
            check(&scene, &expected, &cut, &at);
        }
        eprintln!("sandbox {}, {:?}: {met} of {} calls were struck", self.sandbox, self.start, whole.calls);
        // Somewhat fewer calls, when threads take turns otherwise; and who is to be killed may not live yet, or any more.
        assert!(met > points / 2, "blows must meet a run that is under way: {met} of {points}");
    }
}

fn kills(sandbox: &'static str, start: Start) -> Sweep {
    let deeds = vec![
        Deed::Kill(Victim::All, Moment::Before),
        Deed::Kill(Victim::All, Moment::After),
        Deed::Kill(Victim::Main, Moment::Before),
        Deed::Kill(Victim::Main, Moment::After),
    ];
    Sweep { sandbox, start, whose: Whose::Everyone, deeds }
}

fn kill_and_go_on(sandbox: &'static str, start: Start) {
    kills(sandbox, start).run(25, |scene, expected, _, at| {
        scene.goes_on(expected, at);
    });
}

#[test]
fn i3_resume_after_kill_at_any_call() {
    kill_and_go_on("private", Start::Empty);
}

#[test]
fn i3_resume_after_kill_at_any_call_of_a_run_that_replaces_outputs() {
    kill_and_go_on("private", Start::Outdated);
}

#[test]
fn i3_resume_after_kill_at_any_call_without_sandbox() {
    kill_and_go_on("off", Start::Empty);
}

#[test]
fn i3_resume_after_kill_at_any_call_of_a_run_that_replaces_outputs_without_sandbox() {
    kill_and_go_on("off", Start::Outdated);
}

#[test]
fn i3_resume_after_the_keeper_is_killed_at_any_call() {
    let deeds = vec![Deed::Kill(Victim::With("__keeper".to_owned()), Moment::Before)];
    let sweep = Sweep { sandbox: "private", start: Start::Empty, whose: Whose::Everyone, deeds };
    sweep.run(25, |scene, expected, cut, at| {
        assert!(cut.status.is_some(), "{at}: cairn was ended by a signal");
        scene.goes_on(expected, at);
    });
}

#[test]
fn a_call_that_is_refused_is_an_error_that_a_further_run_mends() {
    let deeds =
        vec![Deed::Fail(ENOSPC), Deed::FailFromThere(ENOSPC), Deed::Fail(EIO), Deed::FailFromThere(EIO)];
    for (sandbox, start) in [("private", Start::Outdated), ("off", Start::Outdated)] {
        let sweep = Sweep { sandbox, start, whose: Whose::Binary, deeds: deeds.clone() };
        sweep.run(25, |scene, expected, cut, at| {
            assert!(cut.status.is_some() && !cut.output.contains("panicked"), "{at}: {}", cut.output);
            if cut.status == Some(0) {
                let mut made = scene.expected().outputs;
                // What could not be removed beside an output, and is noted, is the next run's to remove.
                let notes = scene.notes();
                made.retain(|path, _| !notes.iter().any(|note| path.contains(note.as_str())));
                assert_eq!(made, expected.outputs, "{at}: a success without the outputs");
            }
            scene.goes_on(expected, at);
        });
    }
}
