//! `cairn once`, `seen`, `mark`, `reject`: idempotency for any script.

use std::fs;
use std::time::{Duration, Instant};

use cairn_testkit::{Project, processes_with};
use rustix::process::{Pid, Signal, kill_process};

use super::{BINARY, run};

/// One stage, whose command can write to files of the project by `$P`, as to an outside system.
fn stage(command: &str) -> Project {
    let project = Project::new(BINARY);
    write(&project, command);
    project
}

fn write(project: &Project, command: &str) {
    let text = format!(
        "[pipeline]\nname = \"p\"\n[env]\nP = \"{}\"\n[stages.s]\nrun = '''\n{command}\n'''\ninputs = [{{ path = \"in\", optional = true }}]\n",
        project.path().display()
    );
    project.write("pipeline.toml", text);
}

fn lines(project: &Project, path: &str) -> Vec<String> {
    let text = fs::read_to_string(project.file(path)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < Duration::from_mins(1), "never there: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs until `file` is there, and kills cairn and all it started.
#[track_caller]
fn run_and_kill(project: &Project, file: &str) {
    let mut running = project.start(&["run"]);
    wait_for(file, || project.exists(file));
    kill_process(Pid::from_child(&running), Signal::KILL).unwrap();
    running.wait().unwrap();
    let marked = format!("P={}", project.path().display());
    wait_for("the end of all processes", || processes_with(&marked).is_empty());
}

#[test]
fn once_succeeds_once_whatever_becomes_of_the_stage() {
    let project = stage("cairn once pay:1 -- sh -c 'echo paid >> $P/ledger'\nexit 3");
    assert_eq!(run(&project, &[]), "s=FAILED");
    assert_eq!(run(&project, &[]), "s=FAILED");
    // Other code, other inputs.
    write(
        &project,
        "cairn once pay:1 -- sh -c 'echo paid again >> $P/ledger'; cairn once pay:2 -- sh -c 'echo other >> $P/ledger'",
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    project.write("in", "1");
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(run(&project, &["--force"]), "s=RAN");
    assert_eq!(lines(&project, "ledger"), ["paid", "other"]);
    assert!(!project.exists(".cairn/run"), "nobody listens any more");
}

#[test]
fn once_passes_on_how_a_command_failed_and_lets_it_be_run_again() {
    let project = stage(
        "code=0; cairn once k -- sh -c 'echo tried >> $P/ledger; exit 7' || code=$?; echo $code >> $P/codes\n\
         code=0; cairn once l -- sh -c 'kill -9 $$' || code=$?; echo $code >> $P/codes\n\
         code=0; cairn once m -- no-such-command || code=$?; echo $code >> $P/codes\n\
         cairn once --hold k -- sh -c 'echo done >> $P/ledger'",
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(lines(&project, "ledger"), ["tried", "done"]);
    assert_eq!(lines(&project, "codes"), ["7", "137", "1"]);
}

#[test]
fn once_passes_the_same_key_on_in_every_attempt() {
    let call = "sh -c 'echo \"$1 $CAIRN_ONCE_KEY\" >> $P/keys; exit 1' sh \"$CAIRN_ONCE_KEY\"";
    let project = stage(&format!(
        "cairn once a -- {call} || true; cairn once a -- {call} || true; cairn once b -- {call} || true"
    ));
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(run(&project, &["--force"]), "s=RAN");
    let keys = lines(&project, "keys");
    let (a, b) = (&keys[0], &keys[2]);
    let (given, inherited) = a.split_once(' ').unwrap();
    assert_eq!(given, inherited);
    assert_eq!(given.len(), 32);
    assert_ne!(a, b);
    assert_eq!(keys, [a, a, b, a, a, b].map(Clone::clone));
}

#[test]
fn once_that_was_cut_off_is_run_again_under_the_same_key_or_held() {
    let project = stage(
        "cairn once pay -- sh -c 'echo $CAIRN_ONCE_KEY >> $P/ledger; touch $P/begun; test -e $P/go || sleep 60'",
    );
    run_and_kill(&project, "begun");
    assert_eq!(lines(&project, "ledger").len(), 1);

    write(&project, "cairn once --hold pay -- sh -c 'echo held >> $P/ledger'");
    let held = project.cairn(&["run"]).expect(1);
    assert!(held.stderr.contains("exit status 4"), "{}", held.shown());
    let log = project.cairn(&["logs"]).stdout;
    assert!(log.contains("what became of it is not known") && log.contains("started at"), "{log}");
    assert_eq!(lines(&project, "ledger").len(), 1);

    project.write("go", "");
    write(&project, "cairn once pay -- sh -c 'echo $CAIRN_ONCE_KEY >> $P/ledger'");
    project.cairn(&["run"]).expect(0);
    let log = project.cairn(&["logs"]).stdout;
    assert!(log.contains("it is run again under the same key"), "{log}");
    let keys = lines(&project, "ledger");
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    // From here on it is known.
    project.cairn(&["run", "--force"]).expect(0);
    assert_eq!(lines(&project, "ledger").len(), 2);
}

#[test]
fn once_is_run_by_one_of_many_that_call_at_a_time() {
    let project = stage(
        "for n in 1 2 3 4 5 6 7 8; do\n\
         (cairn once k -- sh -c 'echo ran >> $P/ledger; sleep 0.3; echo ended >> $P/ledger'; cat $P/ledger | wc -l >> $P/after) &\n\
         done; wait",
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(lines(&project, "ledger"), ["ran", "ended"]);
    // None went on before it was done.
    assert_eq!(lines(&project, "after"), ["2"; 8]);
}

#[test]
fn once_is_not_run_by_another_as_long_as_the_command_of_a_killed_caller_lives() {
    let project = stage(
        "cairn once k -- sh -c 'touch $P/begun; sleep 0.5; echo first >> $P/ledger' &\n\
         while ! test -e $P/begun; do sleep 0.01; done\n\
         kill -9 $!\n\
         cairn once k -- sh -c 'echo second >> $P/ledger'",
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(lines(&project, "ledger"), ["first", "second"]);
}

#[test]
fn a_call_of_an_attempt_that_has_ended_or_was_given_up_is_refused() {
    let project = stage("env | grep ^CAIRN_ > $P/env.old");
    assert_eq!(run(&project, &[]), "s=RAN");
    write(
        &project,
        "touch $P/listening; while ! test -e $P/go; do sleep 0.01; done; env | grep ^CAIRN_ > $P/env.new",
    );
    let mut running = project.start(&["run"]);
    wait_for("listening", || project.exists("listening"));
    let call = |env: &[(String, String)]| {
        let mut command = project.command(&["once", "k", "--", "touch", "ran"]);
        let output = command.envs(env.iter().cloned()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let read = |path| {
        let pairs = lines(&project, path).into_iter();
        pairs.filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
    };
    let (status, text) = call(&read("env.old").collect::<Vec<_>>());
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("has ended, or was given up"), "{text}");

    // The token of the attempt that runs, with the epoch of a process before.
    let token = fs::read_dir(project.file(".cairn/staging")).unwrap().flatten().next().unwrap();
    let mut stale: Vec<_> = read("env.old").collect();
    for (name, value) in &mut stale {
        if name == "CAIRN_ATTEMPT_TOKEN" {
            *value = token.file_name().into_string().unwrap();
        }
    }
    let (status, text) = call(&stale);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("has ended, or was given up"), "{text}");
    assert!(!project.exists("ran"));
    project.write("go", "");
    assert_eq!(running.wait().unwrap().code(), Some(0));
    // Nobody listens any more.
    let (status, text) = call(&read("env.new").collect::<Vec<_>>());
    assert_eq!(status, Some(5), "{text}");
    assert!(text.contains("listens to nobody"), "{text}");
}

#[test]
fn seen_lets_a_record_pass_until_an_attempt_that_had_it_succeeds() {
    let project = stage(
        "cairn seen --key id < in > $TMPDIR/new; cat $TMPDIR/new >> $P/had; echo -- >> $P/had; test -e $P/ok",
    );
    project.write("in", "{\"id\":1}\n{\"id\":2,\"x\":1}\n{\"id\":1.0}\n");
    assert_eq!(run(&project, &[]), "s=FAILED");
    assert_eq!(run(&project, &[]), "s=FAILED");
    project.write("ok", "");
    assert_eq!(run(&project, &[]), "s=RAN");
    project.write("in", "{\"id\":2,\"x\":2}\n{\"id\":3}\n\n{\"id\":1}\n");
    assert_eq!(run(&project, &[]), "s=RAN");
    let had = lines(&project, "had").join(" ");
    let first = r#"{"id":1} {"id":2,"x":1} --"#;
    assert_eq!(had, format!(r#"{first} {first} {first} {{"id":3}} --"#));
}

#[test]
fn seen_counts_what_an_attempt_had_that_was_killed_as_not_had() {
    let project = stage(
        "cairn seen < in > $TMPDIR/new; cat $TMPDIR/new >> $P/had; touch $P/begun; test -e $P/go || sleep 60",
    );
    project.write("in", "a\nb\n");
    run_and_kill(&project, "begun");
    project.write("go", "");
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(lines(&project, "had"), ["a", "b", "a", "b"]);
}

#[test]
fn seen_lets_a_record_pass_to_one_of_several_processes() {
    let project = stage(
        "for n in 1 2 3 4; do seq 1 3000 | cairn seen > $TMPDIR/out.$n & done; wait; cat $TMPDIR/out.* | sort -n > $P/had",
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    let expect: Vec<String> = (1..=3000).map(|number| number.to_string()).collect();
    assert_eq!(lines(&project, "had"), expect);
}

#[test]
fn seen_answers_who_writes_slowly_and_says_what_is_wrong_with_a_record() {
    let project = stage(
        "coproc S { cairn seen --key id; }\n\
         echo '{\"id\":1}' >&${S[1]}; read -r line <&${S[0]}; echo \"$line\" >> $P/had\n\
         eval \"exec ${S[1]}>&-\"; wait\n\
         code=0; printf '{\"id\":2}\\n{\"ide\":3}\\n' | cairn seen --key id 2> $P/error || code=$?; echo $code >> $P/had",
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(lines(&project, "had"), [r#"{"id":1}"#, "1"]);
    let error = project.read("error");
    assert!(
        error.contains("line 2: field `id` of the key is missing") && error.contains("did you mean `ide`?"),
        "{error}"
    );
}

#[test]
fn marks_are_there_in_the_next_attempt_and_after_a_kill() {
    let project = stage(
        "at=$(cairn mark --get offset || echo 0); echo $at >> $P/had; cairn mark offset=$((at + 1))\n\
         touch $P/begun.$at; case $at in 0) exit 1;; 1) sleep 60;; esac",
    );
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", format!("{text}retries = {{ attempts = 2, delay = \"10ms\" }}\n"));
    run_and_kill(&project, "begun.1");
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(lines(&project, "had"), ["0", "1", "2"]);
}

#[test]
fn marks_are_gone_once_the_stage_has_succeeded() {
    let project =
        stage("cairn mark --get m >> $P/had || echo none >> $P/had; cairn mark m=1; cairn mark n=2");
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(run(&project, &["--force"]), "s=RAN");
    assert_eq!(lines(&project, "had"), ["none", "none"], "who is executed again begins anew");
}

#[test]
fn a_mark_belongs_to_the_inputs() {
    let project =
        stage("cairn mark --get m >> $P/had || echo none >> $P/had; cairn mark \"m=$(cat in)\"; exit 1");
    project.write("in", "1");
    for _ in 0..2 {
        assert_eq!(run(&project, &[]), "s=FAILED");
    }
    project.write("in", "2");
    assert_eq!(run(&project, &[]), "s=FAILED");
    project.write("in", "1");
    assert_eq!(run(&project, &[]), "s=FAILED");
    assert_eq!(lines(&project, "had"), ["none", "1", "none", "1"]);
}

#[test]
fn rejected_records_are_dead_letters_once_the_stage_has_succeeded() {
    let project = stage("printf 'a\\nb\\n\\n' | cairn reject --reason 'no id'; test -e $P/ok");
    assert_eq!(run(&project, &[]), "s=FAILED");
    let dead = project.cairn(&["dead", "list", "--json"]).expect(0).stdout;
    assert!(!dead.contains("no id"), "{dead}");
    project.write("ok", "");
    let outcome = project.cairn(&["run"]).expect(0);
    assert!(outcome.stderr.contains("2 dead letters"), "{}", outcome.shown());
    let dead = project.cairn(&["dead", "list", "--json"]).expect(0).stdout;
    assert_eq!(dead.matches("no id").count(), 4, "each with its reason and its one attempt: {dead}");
    // The same poison is the same dead letter.
    project.cairn(&["run", "--force", "--fail-on-dead"]).expect(1);
    assert_eq!(project.cairn(&["dead", "list", "--json"]).expect(0).stdout.lines().count(), 2);
}

#[test]
fn several_processes_of_a_stage_mark_and_reject_at_a_time() {
    let project = stage(
        "for n in $(seq 8); do (cairn mark m$n=$n; printf 'bad %s\\n' $n | cairn reject --reason no) & done; wait\n\
         for n in $(seq 8); do cairn mark --get m$n; done > $P/marks",
    );
    project.cairn(&["run"]).expect(0);
    assert_eq!(lines(&project, "marks"), (1..=8).map(|n| n.to_string()).collect::<Vec<_>>());
    let dead = project.cairn(&["dead", "list", "--json"]).expect(0).stdout;
    assert_eq!(dead.lines().count(), 8, "{dead}");
    assert!((1..=8).all(|n| dead.contains(&format!("bad {n}"))), "{dead}");
}

#[test]
fn outside_of_stages_a_scope_is_needed_and_does() {
    let project = stage("true");
    let refused = project.cairn(&["once", "k", "--", "true"]).expect(2);
    assert!(refused.stderr.contains("--scope NAME"), "{}", refused.shown());
    let script = "echo $CAIRN_ONCE_KEY >> ledger";
    for _ in 0..2 {
        project.cairn(&["once", "--scope", "mine", "k", "--", "sh", "-c", script]).expect(0);
    }
    project.cairn(&["once", "--scope", "other", "k", "--", "sh", "-c", script]).expect(0);
    let keys = lines(&project, "ledger");
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
    project.cairn(&["once", "--scope", "mine", "no", "--", "sh", "-c", "exit 9"]).expect(9);

    project.cairn(&["mark", "--scope", "mine", "a=1=2"]).expect(0);
    assert_eq!(project.cairn(&["mark", "--scope", "mine", "--get", "a"]).expect(0).stdout, "1=2\n");
    project.cairn(&["mark", "--scope", "other", "--get", "a"]).expect(1);
    assert!(!project.exists(".cairn/run"));
    // They and a run do not disturb each other.
    assert_eq!(run(&project, &[]), "s=RAN");
}

#[test]
fn outside_of_stages_callers_meet_at_the_process_that_holds_the_store() {
    let project = stage("touch $P/listening; while ! test -e $P/go; do sleep 0.01; done");
    // Four without a run: one of them opens the store.
    let script = "echo ran >> ledger; sleep 0.2";
    let start = || project.start(&["once", "--scope", "mine", "k", "--", "sh", "-c", script]);
    let callers: Vec<_> = (0..4).map(|_| start()).collect();
    for mut caller in callers {
        assert_eq!(caller.wait().unwrap().code(), Some(0));
    }
    assert_eq!(lines(&project, "ledger"), ["ran"]);
    // While a run holds it; one goes on after the run has ended.
    let mut running = project.start(&["run"]);
    wait_for("listening", || project.exists("listening"));
    project.cairn(&["once", "--scope", "mine", "k", "--", "touch", "twice"]).expect(0);
    let script = "touch begun; while test -e .cairn/run; do sleep 0.01; done; echo late >> ledger";
    let mut late = project.start(&["once", "--scope", "mine", "late", "--", "sh", "-c", script]);
    wait_for("begun", || project.exists("begun"));
    project.write("go", "");
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert_eq!(late.wait().unwrap().code(), Some(0));
    project.cairn(&["once", "--scope", "mine", "late", "--", "touch", "twice"]).expect(0);
    assert!(!project.exists("twice"));
    assert_eq!(lines(&project, "ledger"), ["ran", "late"]);
}

#[test]
fn a_state_folder_with_a_long_path_or_a_colon_is_no_hindrance() {
    for folder in [format!("{0}/{0}", "long".repeat(15)), "a:b".to_owned()] {
        let project = stage("cairn once k -- sh -c 'echo ran >> $P/ledger'");
        let state = project.file(&folder).display().to_string();
        project.cairn(&["run", "--state", &state]).expect(0);
        project.cairn(&["run", "--state", &state, "--force"]).expect(0);
        assert_eq!(lines(&project, "ledger"), ["ran"]);
        assert!(project.exists(&format!("{folder}/store")));
    }
}

#[test]
fn a_command_that_a_signal_ended_is_not_run_again_by_who_holds() {
    let project = stage(
        "cairn once --hold a -- sh -c 'echo a >> $P/ledger; kill -9 $$' || true\n\
         cairn once --hold b -- sh -c 'echo b >> $P/ledger; exit 143' || true\n\
         cairn once --hold c -- sh -c 'echo c >> $P/ledger; exit 3' || true\n\
         exit 1",
    );
    assert_eq!(run(&project, &[]), "s=FAILED");
    assert_eq!(run(&project, &[]), "s=FAILED");
    assert_eq!(lines(&project, "ledger"), ["a", "b", "c", "c"]);
}

#[test]
fn what_a_command_leaves_behind_holds_nothing() {
    let project = stage("true");
    let began = Instant::now();
    project
        .cairn(&[
            "once",
            "--scope",
            "n",
            "k",
            "--",
            "sh",
            "-c",
            "sleep 100 > /dev/null 2>&1 & echo $! > left",
        ])
        .expect(0);
    assert!(began.elapsed() < Duration::from_mins(1));
    project.cairn(&["once", "--scope", "n", "l", "--", "true"]).expect(0);
    let left = lines(&project, "left")[0].parse().unwrap();
    kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_once_within_another_has_a_key_of_its_own_and_its_own_key_is_an_error() {
    let project = stage(
        "cairn once a -- cairn once b -- sh -c 'echo $0 >> $P/keys; echo $CAIRN_ONCE_KEY >> $P/keys' \"$CAIRN_ONCE_KEY\"\n\
         cairn once c -- sh -c 'cairn once d -- cairn once c -- true' 2> $P/error || true",
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    let keys = lines(&project, "keys");
    assert_eq!((keys.len(), keys[0].len()), (2, 32));
    assert_eq!(keys[0], keys[1]);
    assert!(lines(&project, "error").iter().any(|line| line.contains("`c` is called within the command")));
}

#[test]
fn what_seen_passed_on_and_nobody_read_fails_the_attempt() {
    let project = stage("set +o pipefail; seq 30000 | cairn seen | head -1 > $P/first; true");
    assert_eq!(run(&project, &[]), "s=FAILED");
    write(&project, "seq 30000 | cairn seen > $P/all");
    assert_eq!(run(&project, &[]), "s=RAN");
    assert_eq!(lines(&project, "all").len(), 30_000);
}

#[test]
fn a_once_outside_of_stages_is_run_once_although_who_answered_it_was_killed() {
    let project = stage("touch $P/listening; while ! test -e $P/go; do sleep 0.01; done");
    let mut running = project.start(&["run"]);
    wait_for("listening", || project.exists("listening"));
    let script = "echo begun >> ledger; while ! test -e go; do sleep 0.01; done";
    let once = || project.start(&["once", "--scope", "n", "k", "--", "sh", "-c", script]);
    let mut first = once();
    wait_for("begun", || project.exists("ledger"));
    kill_process(Pid::from_child(&running), Signal::KILL).unwrap();
    running.wait().unwrap();
    let mut second = once();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(lines(&project, "ledger"), ["begun"]);
    project.write("go", "");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(second.wait().unwrap().code(), Some(0));
    assert_eq!(lines(&project, "ledger"), ["begun"]);
    let left = fs::read_dir(project.file(".cairn")).unwrap();
    assert!(left.flatten().all(|entry| !entry.file_name().to_string_lossy().starts_with("once-")));
}

#[test]
fn who_calls_outside_of_stages_is_answered_although_who_answers_is_killed() {
    let project = stage("true");
    for round in 0..8 {
        let mut first =
            project.start(&["once", "--scope", "z", &format!("first{round}"), "--", "sleep", "0.4"]);
        std::thread::sleep(Duration::from_millis(120));
        let callers: Vec<_> = (0..6)
            .map(|number| {
                let script = format!("echo {round}.{number} >> ledger");
                if number == 4 {
                    std::thread::sleep(Duration::from_millis(3 * round));
                    kill_process(Pid::from_child(&first), Signal::KILL).unwrap();
                }
                let key = format!("k{round}.{number}");
                project.start(&["once", "--scope", "z", "--hold", &key, "--", "sh", "-c", &script])
            })
            .collect();
        for mut caller in callers {
            assert_eq!(caller.wait().unwrap().code(), Some(0), "round {round}");
        }
        let _ = first.wait();
    }
    let mut ran = lines(&project, "ledger");
    ran.sort_unstable();
    let expected: Vec<String> =
        (0..8).flat_map(|round| (0..6).map(move |number| format!("{round}.{number}"))).collect();
    assert_eq!(ran, expected, "each command ran once");
}

#[test]
fn what_a_scope_rejected_is_not_to_be_run_again_as_a_stage() {
    let project = Project::with_pipeline(BINARY, "[stages.s]\nrun = \"true\"\n");
    project.cairn(&["run"]).expect(0);
    let reject = "echo '{\"id\":1}' | \"$0\" reject --scope mine --reason no";
    let rejected =
        std::process::Command::new("sh").args(["-c", reject, BINARY]).current_dir(project.path()).status();
    assert!(rejected.unwrap().success());
    let told = project.cairn(&["dead", "retry", "--reason", "no"]);
    let told = if told.status == Some(0) {
        told
    } else {
        project.cairn(&["dead", "retry", "--error", "no"]).expect(0)
    };
    assert!(
        told.stdout.contains("in the scope `mine`") && !told.stdout.contains("cairn run"),
        "{}",
        told.shown()
    );
}
