//! Selection, failure, retries, timeouts, interrupts, limits.

use cairn_testkit::Project;

use super::{BINARY, chain, run};

#[test]
fn a_named_stage_and_what_it_needs() {
    let project = chain();
    assert_eq!(run(&project, &["b"]), "a=RAN b=RAN");
    assert!(!project.exists("out/c.txt"));
    assert_eq!(run(&project, &["--only", "c"]), "c=RAN");
}

#[test]
fn a_failure_blocks_what_is_behind_and_keep_going_the_rest_goes_on() {
    let text = "[stages.bad]\nrun = \"exit 3\"\noutputs = [\"x\"]\n\
                [stages.behind]\nrun = \"cp x y\"\ninputs = [\"x\"]\noutputs = [\"y\"]\n\
                [stages.beside]\nrun = \"sleep 0.1; echo 1 > z\"\noutputs = [\"z\"]\n\
                [stages.later]\nrun = \"cp z w\"\ninputs = [\"z\"]\noutputs = [\"w\"]\n";
    let project = Project::with_pipeline(BINARY, text);
    assert_eq!(run(&project, &["-j", "2"]), "bad=FAILED behind=BLOCKED beside=RAN later=BLOCKED");
    assert_eq!(run(&project, &["-j", "2", "-k"]), "bad=FAILED behind=BLOCKED beside=FRESH later=RAN");
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("exit status 3"), "{}", outcome.shown());
}

#[test]
fn retries_are_made_and_counted() {
    let outside = tempfile::tempdir().unwrap();
    let log = outside.path().join("log");
    let project = Project::with_pipeline(
        BINARY,
        &format!(
            "[stages.s]\nrun = \"echo $CAIRN_ATTEMPT $CAIRN_IDEMPOTENCY_KEY >> {0}; test $CAIRN_ATTEMPT = 3; echo ok > out\"\n\
             outputs = [\"out\"]\nretries = {{ attempts = 3, delay = \"10ms\" }}\n",
            log.display()
        ),
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    let text = std::fs::read_to_string(&log).unwrap();
    let attempts: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(attempts.iter().map(|(number, _)| *number).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert!(attempts.iter().all(|(_, key)| *key == attempts[0].1), "the same key in every retry");
}

#[test]
fn a_timeout_ends_everything_the_stage_started() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"setsid sleep 50 & trap '' TERM; sleep 50 & wait; sleep 50\"\ntimeout = \"200ms\"\nkill_after = \"100ms\"\n",
    );
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("timed out after 200 ms"), "{}", outcome.shown());
    assert_eq!(cairn_testkit::processes_with(&project.path().to_string_lossy()), Vec::<u32>::new());
}

#[test]
fn pools_and_cpus_limit_what_runs_at_once() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().display();
    let count = |stage: &str| {
        format!(
            "run = \"touch {folder}/{stage}-{{{{ matrix.i }}}}; ls {folder} | grep -c {stage} > n-{stage}-{{{{ matrix.i }}}}; \
             sleep 0.05; rm {folder}/{stage}-{{{{ matrix.i }}}}\"\noutputs = [\"n-{stage}-{{{{ matrix.i }}}}\"]\n\
             matrix = {{ i = [1, 2, 3, 4, 5, 6] }}\n"
        )
    };
    let text = format!(
        "[pools]\ndb = 2\n[stages.pool]\n{}resources = {{ pool = \"db\" }}\n[stages.cpus]\n{}resources = {{ cpus = 3 }}\n",
        count("pool"),
        count("cpus"),
    );
    let project = Project::with_pipeline(BINARY, &text);
    project.cairn(&["run", "-j", "7"]).expect(0);
    for i in 1..=6 {
        assert!(project.read(&format!("n-pool-{i}")).trim().parse::<u32>().unwrap() <= 2);
        assert!(project.read(&format!("n-cpus-{i}")).trim().parse::<u32>().unwrap() <= 2);
    }
}

#[test]
fn an_interrupt_stops_gently_and_resume_goes_on() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.quick]\nrun = \"echo 1 > q\"\noutputs = [\"q\"]\n\
         [stages.slow]\nrun = \"cp q s; test -e /tmp/cairn-never || sleep 0.5\"\ninputs = [\"q\"]\noutputs = [\"s\"]\n",
    );
    let mut child = project.start(&["run"]);
    while !project.exists("q") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let resumed = project.cairn(&["resume", "--json"]).expect(0);
    let outcomes = cairn_testkit::outcomes(&resumed.stdout);
    assert_eq!((outcomes["quick"].as_str(), outcomes["slow"].as_str()), ("FRESH", "RAN"));
}

#[test]
fn resume_uses_the_runs_own_definition_and_params() {
    let text = |exit: u32| {
        format!(
            "[params]\nword = \"default\"\n[stages.s]\nrun = \"test -e {{{{ params.word }}}}.ok; echo {{{{ params.word }}}} > out\"\n\
             inputs = [{{ path = \"given.ok\", optional = true }}]\noutputs = [\"out\"]\nsalt = \"{exit}\"\n"
        )
    };
    let project = Project::with_pipeline(BINARY, &text(1));
    project.cairn(&["run", "-p", "word=given"]).expect(1);
    project.write("pipeline.toml", "[stages.other]\nrun = \"true\"\n").write("given.ok", "");
    project.cairn(&["resume"]).expect(0);
    assert_eq!(project.read("out"), "given\n");
}

#[test]
fn a_stage_that_kills_the_keeper_leaves_nothing_behind() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"setsid sleep 61 & sleep 0.2; kill -9 $PPID; sleep 61\"\n",
    );
    let outcome = project.cairn(&["run"]);
    assert_ne!(outcome.status, Some(0), "{}", outcome.shown());
    let left = cairn_testkit::processes_with(&project.path().to_string_lossy());
    assert_eq!(left, Vec::<u32>::new());
    let staging = std::fs::read_dir(project.file(".cairn/staging")).unwrap();
    assert_eq!(staging.count(), 0);
}
