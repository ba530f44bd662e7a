//! `cairn verify`: each verdict, and that nothing of the user's is touched on the way to it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use cairn_testkit::{Outcome, Project, processes_with};
use insta::assert_snapshot;

use super::daemon::{Daemon, until};
use super::examples::example;
use super::{BINARY, run};

/// What was said of each instance, by name.
fn told(outcome: &Outcome) -> BTreeMap<String, serde_json::Value> {
    let lines = outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.map(|told: serde_json::Value| (told["instance"].as_str().unwrap().to_owned(), told)).collect()
}

/// Verifies the only stage of a pipeline that was run once.
#[track_caller]
fn verified(project: &Project, arguments: &[&str]) -> serde_json::Value {
    let ran = run(project, &[]);
    assert!(ran.ends_with("=RAN"), "{ran}");
    let arguments: Vec<&str> = ["verify", "--json", "--cuts", "3"].iter().chain(arguments).copied().collect();
    let before = everything(project);
    let outcome = project.cairn(&arguments);
    assert_eq!(everything(project), before, "files of the user's were touched");
    assert!(leftovers(project).is_empty(), "{:?}", leftovers(project));
    let mut told = told(&outcome);
    assert_eq!(told.len(), 1, "{}", outcome.shown());
    let (_, told) = told.pop_first().unwrap();
    let expected = i32::from(told["verdict"] == "not_idempotent");
    outcome.expect(expected);
    told
}

/// Every file of the project and of the content store: its bytes, and what changes when it is written to.
fn everything(project: &Project) -> BTreeMap<String, (Vec<u8>, u64, i64, i64)> {
    let mut files = project.snapshot();
    files.extend(project.snapshot_of(".cairn/objects"));
    let stamped = files.into_iter().map(|(path, bytes)| {
        let data = std::fs::symlink_metadata(project.file(&path)).unwrap();
        (path, (bytes, data.ino(), data.ctime(), data.ctime_nsec()))
    });
    stamped.collect()
}

/// What `verify` left in the state folder.
fn leftovers(project: &Project) -> Vec<String> {
    let entries = ["staging", "tmp"].map(|folder| std::fs::read_dir(project.file(".cairn").join(folder)));
    let names = entries.into_iter().flatten().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("verify-")).collect()
}

/// A project of one stage `s` with the output `out.txt`.
fn stage(rest: &str) -> Project {
    Project::with_pipeline(BINARY, &format!("[stages.s]\noutputs = [\"out.txt\"]\n{rest}\n"))
}

#[test]
fn the_examples_are_told_apart_and_left_as_they_were() {
    let project = example("idempotent-or-not");
    run(&project, &[]);
    let before = everything(&project);
    let outcome = project.cairn(&["verify", "--json"]).expect(1);
    assert_eq!(everything(&project), before);
    assert!(leftovers(&project).is_empty());
    let told = told(&outcome);
    let said = |name: &str| {
        let told = &told[name];
        let part = |key: &str| told[key].as_str().unwrap_or("-").to_owned();
        [part("verdict"), part("step"), part("path"), part("cause")].join(" ")
    };
    assert_eq!(said("insert"), "not_idempotent on_top build/insert.db repeated");
    assert_eq!(said("upsert"), "verified - - -");
    assert_eq!(said("stamp"), "not_idempotent elsewhere build/stamp.txt time");
    assert!(told["upsert"]["cuts"].as_u64().unwrap() >= 1, "{}", outcome.shown());
    // No checkpoint was lost or made.
    assert_eq!(run(&project, &[]), "insert=FRESH stamp=FRESH upsert=FRESH");
}

#[test]
fn what_people_see() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.good]\nrun = \"echo 1 > good.txt\"\noutputs = [\"good.txt\"]\n\
         [stages.adds]\nrun = \"echo 1 >> adds.txt\"\noutputs = [\"adds.txt\"]\n\
         [stages.sends]\nrun = \"echo sent > sends.txt\"\noutputs = [\"sends.txt\"]\nenv = { TO = \"smtp://me:secret@mail/\" }\n",
    );
    project.cairn(&["run"]).expect(0);
    // How many cuts come before the end of so short a command is the machine's.
    let seen = project.cairn(&["verify", "--cuts", "0"]).expect(1);
    assert_snapshot!(seen.shown(), @r#"
    exit status: 1
    ----- stdout -----
      is              instance  elsewhere  on itself  cut off
      VERIFIED        good      same       same       ·
      NOT IDEMPOTENT  adds      same       differs    ·
      NOT VERIFIED    sends     ·          ·          ·

      adds, on top of its own outputs: `adds.txt` differs at line 2
        - nothing more
        + 1
        perhaps: it adds to what is there
        help: make it replace what is there: `>` for `>>`, `INSERT … ON CONFLICT … DO UPDATE` for `INSERT`
        note: cairn starts it where nothing stands: this matters run by hand, or with `sandbox = "off"`

      sends: it names the server `smtp://mail`, which is not part of the project: what it does there would be done again
        help: `--effects` executes it all the same; what it does there is not looked at

      1 VERIFIED, 1 NOT IDEMPOTENT, 1 NOT VERIFIED
      it ran in copies: your files, outputs and checkpoints are as they were
    ----- stderr -----
      1 of 3  good
      2 of 3  adds
    "#);
    let only = project.cairn(&["verify", "-q", "good", "--cuts", "0"]).expect(0);
    assert!(only.stdout.contains("VERIFIED  good") && !only.stdout.contains("adds"), "{}", only.shown());
    assert_eq!(only.stderr, "");
}

/// A database that is an output is compared by its rows on top of itself: each write changes its bytes.
#[test]
fn a_database_that_is_an_output_is_compared_by_its_rows() {
    for (values, expected) in
        [("INSERT INTO t VALUES (1)", "not_idempotent"), ("INSERT OR REPLACE INTO t VALUES (1)", "verified")]
    {
        let project = stage(
            "run = \"python3 load.py && echo done > out.txt\"\ninputs = [\"load.py\"]\noutputs = [\"out.txt\", \"t.db\"]",
        );
        let text = project.read("pipeline.toml").replacen("outputs = [\"out.txt\"]\n", "", 1);
        let unique = if expected == "verified" { " PRIMARY KEY" } else { "" };
        project.write("pipeline.toml", text).write(
            "load.py",
            format!(
                "import sqlite3\nd = sqlite3.connect('t.db')\nd.execute('CREATE TABLE IF NOT EXISTS t (v INTEGER{unique})')\n\
                 d.execute('{values}')\nd.commit()\n"
            ),
        );
        let told = verified(&project, &[]);
        assert_eq!(told["verdict"], expected, "{told}");
        if expected == "not_idempotent" {
            assert_eq!((&told["step"], &told["path"]), (&"on_top".into(), &"t.db".into()));
            assert_eq!(told["reason"], "in `t.db` the table `t` had 1 row and has 2");
        }
    }
}

/// What was written to a database lies beside it until somebody moves it in: beside the file itself, wherever links lead to it.
#[test]
fn a_linked_database_is_copied_with_what_lies_beside_it() {
    for inside in [true, false] {
        let elsewhere = tempfile::tempdir().unwrap();
        let project = stage("run = \"python3 load.py && echo done > out.txt\"\nsandbox = \"off\"");
        let real = if inside {
            std::fs::create_dir(project.file("real")).unwrap();
            std::os::unix::fs::symlink("real/t.db", project.file("t.db")).unwrap();
            project.file("real/t.db")
        } else {
            let real = elsewhere.path().join("t.db");
            std::os::unix::fs::symlink(&real, project.file("t.db")).unwrap();
            real
        };
        project.write(
            "load.py",
            "import sqlite3\nd = sqlite3.connect('t.db')\nd.execute('INSERT OR REPLACE INTO t VALUES (1)')\nd.commit()\n",
        );
        // As long as it is open nothing is moved in.
        let open = rusqlite::Connection::open(&real).unwrap();
        open.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE x (v); \
             PRAGMA wal_checkpoint(TRUNCATE); CREATE TABLE t (v INTEGER PRIMARY KEY);",
        )
        .unwrap();
        let told = verified(&project, &[]);
        assert_eq!(told["verdict"], "verified", "inside: {inside}: {told}");
        assert_eq!(open.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0)), Ok(1));
    }
}

#[test]
fn the_cause_is_guessed() {
    for (command, cause) in [
        ("date +%s > out.txt", "time"),
        ("date +%FT%T.%N > out.txt", "time"),
        ("pwd > out.txt", "path"),
        ("echo in $HOME > out.txt", "path"),
        ("head -c 8 /dev/urandom | od -An -tx8 > out.txt", "random"),
        ("seq 1000 | shuf > out.txt", "order"),
        ("env | grep CAIRN_RUN > out.txt", "identity"),
    ] {
        let told = verified(&stage(&format!("run = \"{command}\"")), &[]);
        assert_eq!(
            (&told["verdict"], &told["step"], &told["cause"]),
            (&"not_idempotent".into(), &"elsewhere".into(), &cause.into()),
            "{command}: {told}"
        );
        assert_ne!(told["recorded"], told["found"], "{told}");
    }
}

#[test]
fn an_output_folder_is_compared_file_by_file() {
    let project = stage("run = \"mkdir -p d/a; echo 1 > d/a/x; date +%N > d/a/y\"");
    let text = project.read("pipeline.toml").replace("out.txt", "d/");
    project.write("pipeline.toml", text);
    let told = verified(&project, &[]);
    assert_eq!((&told["verdict"], &told["path"]), (&"not_idempotent".into(), &"d/a/y".into()), "{told}");
}

/// Killed while it holds a lock that nobody removes, it never runs again.
#[test]
fn what_a_cut_off_command_leaves_must_not_stop_the_next() {
    for sandbox in ["off", "private"] {
        let lock = "mkdir lock; sleep 0.3; echo 1 > out.txt; rmdir lock";
        let project = stage(&format!("run = \"{lock}\"\nsandbox = \"{sandbox}\""));
        let told = verified(&project, &[]);
        assert_eq!(
            (&told["verdict"], &told["step"]),
            (&"not_idempotent".into(), &"cut_off".into()),
            "{sandbox}: {told}"
        );
        let reason = told["reason"].as_str().unwrap();
        assert!(reason.contains("it fails (exit status 1)") && reason.contains("lock"), "{reason}");
    }
}

#[test]
fn a_half_done_change_that_is_not_made_good_is_found() {
    // Each row is committed by itself, and the next execution goes on behind what it finds.
    let project = stage(
        "run = \"if [ ! -e part.txt ]; then echo a > part.txt; sleep 0.3; echo b >> part.txt; fi; cp part.txt out.txt\"\n\
         sandbox = \"off\"",
    );
    run(&project, &[]);
    // On top of itself it finds its work done.
    let told = verified_again(&project);
    assert_eq!(told["verdict"], "verified", "{told}");
    project.remove("part.txt");
    let told = verified_again(&project);
    assert_eq!(
        (&told["verdict"], &told["step"], &told["recorded"]),
        (&"not_idempotent".into(), &"cut_off".into(), &"b".into()),
        "{told}"
    );
}

#[track_caller]
fn verified_again(project: &Project) -> serde_json::Value {
    told(&project.cairn(&["verify", "--json"])).pop_first().unwrap().1
}

#[test]
fn a_file_of_the_project_that_grows_is_found() {
    let project = stage("run = \"echo x >> calls.log; echo 1 > out.txt\"\nsandbox = \"off\"");
    let told = verified(&project, &[]);
    assert_eq!(
        (&told["verdict"], &told["step"], &told["path"]),
        (&"not_idempotent".into(), &"on_top".into(), &"calls.log".into())
    );
    assert_eq!(project.read("calls.log"), "x\n");
}

#[test]
fn what_reaches_out_is_not_executed() {
    let project = Project::new(BINARY);
    let path = project.file("counted").display().to_string();
    let command = format!("echo x >> {path}; echo 1 > out.txt");
    project.write("pipeline.toml", format!("[stages.s]\nrun = \"{command}\"\noutputs = [\"out.txt\"]\n"));
    // By its absolute path it would reach the project itself: not with `--effects` either.
    for arguments in [&[][..], &["--effects"]] {
        let told = if arguments.is_empty() {
            verified(&project, arguments)
        } else {
            self::told(&project.cairn(&["verify", "--json", "--effects"]).expect(0)).pop_first().unwrap().1
        };
        assert_eq!(told["verdict"], "not_verified", "{told}");
        assert!(told["reason"].as_str().unwrap().contains("absolute path"), "{told}");
    }
    assert_eq!(project.read("counted"), "x\n");

    let elsewhere = tempfile::tempdir().unwrap();
    let counted = elsewhere.path().join("counted");
    let project = stage(&format!("run = \"echo x >> {0}; echo 1 > out.txt\"", counted.display()));
    let told = verified(&project, &[]);
    assert_eq!(told["verdict"], "not_verified", "{told}");
    assert_eq!(std::fs::read_to_string(&counted).unwrap(), "x\n");
    let outcome = project.cairn(&["verify", "--json", "--effects", "--cuts", "0"]).expect(0);
    let (_, told) = self::told(&outcome).pop_first().unwrap();
    assert_eq!(told["verdict"], "verified");
    assert_eq!(told["not_looked_at"][0], format!("`{}`", counted.display()));
    assert_eq!(std::fs::read_to_string(&counted).unwrap(), "x\n".repeat(4));
}

/// Its words do not show it, but a command can find its way up to the project.
#[test]
fn a_command_that_touches_the_project_itself_is_told_of() {
    let project = stage(
        "run = \"d=$PWD; while [ ! -e $d/marker ]; do d=${d%/*}; done; echo x >> $d/touched; echo 1 > out.txt\"",
    );
    project.write("marker", "");
    run(&project, &[]);
    let outcome = project.cairn(&["verify", "--json"]).expect(0);
    let (_, told) = told(&outcome).pop_first().unwrap();
    assert_eq!(told["verdict"], "not_verified", "{told}");
    assert!(told["reason"].as_str().unwrap().contains("`touched` of the project itself changed"), "{told}");
}

#[test]
fn there_must_be_a_result_to_compare_with() {
    let project = stage("run = \"cp in.txt out.txt\"\ninputs = [\"in.txt\"]");
    project.write("in.txt", "1");
    let outcome = project.cairn(&["verify"]).expect(2);
    assert!(outcome.stderr.contains("no run yet") && outcome.stderr.contains("help: `cairn run`"));
    assert!(!project.exists(".cairn"), "asking leaves nothing");
    run(&project, &[]);
    project.cairn(&["verify"]).expect(0);
    project.write("in.txt", "22");
    let outcome = project.cairn(&["verify"]).expect(2);
    assert_snapshot!(outcome.shown(), @r"
    exit status: 2
    ----- stderr -----
    error: 1 instance not done, so that there is nothing to compare with
    note: `s`: input `in.txt` changed
    help: `cairn run` first, with the same params
    ");
    project.cairn(&["verify", "nothing"]).expect(2);
    assert!(leftovers(&project).is_empty());
}

#[test]
fn what_is_executed_in_each_run_is_verified_too_and_params_are_the_runs() {
    let project = Project::with_pipeline(
        BINARY,
        "[params]\nword = \"a\"\n[stages.s]\n\
         run = \"echo {{ params.word }} $CAIRN_LOGICAL_TIME $CAIRN_RUN_ID > out.txt\"\noutputs = [\"out.txt\"]\ncache = false\n",
    );
    project.cairn(&["run", "-p", "word=b"]).expect(0);
    project.cairn(&["verify"]).expect(2);
    let outcome = project.cairn(&["verify", "-p", "word=b"]).expect(0);
    assert!(outcome.stdout.contains("VERIFIED  s"), "{}", outcome.shown());
}

/// Waits until something of a running `verify` stands in the state folder, and returns its processes' mark.
fn wait_for_scratch(project: &Project) {
    for _ in 0..1000 {
        let begun = || project.snapshot_of(".cairn/staging").keys().any(|path| path.ends_with("begun"));
        if leftovers(project).iter().any(|name| name.starts_with("verify-")) && begun() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("`verify` never began");
}

/// Each execution but the first takes long.
fn slow() -> Project {
    let project = stage(
        "run = \"touch begun; if [ -e first ]; then sleep $(cat first); fi; echo 1 > out.txt; rm begun\"\nsandbox = \"off\"",
    );
    assert_eq!(run(&project, &[]), "s=RAN");
    project.write("first", "1000.25");
    project
}

fn sleepers() -> usize {
    sleepers_of("1000.25")
}

fn sleepers_of(seconds: &str) -> usize {
    let sleeps = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.windows(seconds.len()).any(|window| window == seconds.as_bytes())
    };
    processes_with("CAIRN_ATTEMPT_TOKEN").iter().filter(|id| sleeps(id)).count()
}

fn wait_for_no_sleepers() {
    for _ in 0..1000 {
        if sleepers() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("a command outlived `verify`");
}

/// One test, so that none takes the sleepers of another for its own.
#[test]
fn a_verify_that_is_killed_or_interrupted_leaves_nothing() {
    for next in [&["verify", "--cuts", "0"][..], &["run"]] {
        let project = slow();
        let before = project.snapshot();
        let mut child = project.start(&["verify"]);
        wait_for_scratch(&project);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_for_no_sleepers();
        assert_eq!(project.snapshot(), before);
        project.remove("first");
        project.cairn(next).expect(0);
        assert!(leftovers(&project).is_empty(), "{next:?}: {:?}", leftovers(&project));
    }
    for signal in ["INT", "TERM"] {
        let project = slow();
        let mut child = project.start(&["verify"]);
        wait_for_scratch(&project);
        let sent = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!(sleepers(), 0);
        assert!(leftovers(&project).is_empty(), "{signal}: {:?}", leftovers(&project));
    }
}

/// While a daemon holds the store, it is read, and all is told as without one.
#[test]
fn beside_a_daemon_it_tells_the_same() {
    let project = example("idempotent-or-not");
    project.write("cairn.toml", "pipelines = ['pipeline.toml']\n");
    run(&project, &[]);
    let verdicts = |project: &Project| {
        let outcome = project.cairn(&["verify", "--json", "--cuts", "2"]).expect(1);
        let part = |told: &serde_json::Value| {
            ["verdict", "step", "path", "cause", "elsewhere", "on_top"].map(|key| told[key].clone())
        };
        told(&outcome).into_iter().map(|(name, told)| (name, part(&told))).collect::<BTreeMap<_, _>>()
    };
    let alone = verdicts(&project);
    let daemon = Daemon::start(&project);
    assert_eq!(verdicts(&project), alone);
    assert!(leftovers(&project).is_empty());
    // There has to be a result of what the inputs are now, which the daemon may have made a moment ago.
    project.write("cairn.toml", "pipelines = ['*.toml']\n");
    project.write("new.toml", "[stages.s]\nrun = 'echo 1 > out.txt'\noutputs = ['out.txt']\n");
    project.cairn(&["verify", "new.toml"]).expect(2);
    project.cairn(&["run", "new.toml"]).expect(0);
    project.cairn(&["verify", "new.toml", "--cuts", "1"]).expect(0);
    daemon.kill();
}

/// A daemon that begins leaves alone what a `verify` has started, and clears away what a killed one has left; so does the
/// next `verify`, which ends nothing of the daemon's.
#[test]
fn neither_a_daemon_nor_a_verify_takes_the_other_for_what_was_left() {
    let project = Project::with_pipeline(
        BINARY,
        "[stages.s]\nrun = \"touch begun; if [ -e first ]; then sleep $(cat first); fi; echo 1 > out.txt; rm begun\"\n\
         outputs = [\"out.txt\"]\nsandbox = \"off\"\n",
    );
    let [begins, go] = ["begins", "go"].map(|name| project.file(name).display().to_string());
    let waits = format!("touch {begins}; until [ -e {go} ]; do sleep 0.02; done; echo 1 > w.txt");
    project.write("other.toml", format!("[stages.w]\nrun = '{waits}'\noutputs = ['w.txt']\n"));
    project.write("cairn.toml", "pipelines = ['pipeline.toml', 'other.toml']\n");
    assert_eq!(run(&project, &["pipeline.toml"]), "s=RAN");
    project.write("first", "2000.25");
    let sleepers = || sleepers_of("2000.25");
    let daemon = Daemon::start(&project);
    let other = daemon.submit("other", &serde_json::json!({}));
    until("the other pipeline's run", || project.file("begins").exists());

    let mut child = project.start(&["verify", "pipeline.toml"]);
    wait_for_scratch(&project);
    until("a sleeper", || sleepers() > 0);
    daemon.kill();
    let daemon = Daemon::start(&project);
    assert!(sleepers() > 0, "the daemon ended what `verify` had started");
    assert_eq!(leftovers(&project).len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    until("the end of what `verify` had started", || sleepers() == 0);
    assert_eq!(leftovers(&project).len(), 1);

    project.remove("first");
    project.cairn(&["verify", "pipeline.toml", "--cuts", "0"]).expect(0);
    assert!(leftovers(&project).is_empty(), "{:?}", leftovers(&project));
    assert_eq!(daemon.run(&other)["status"], "running", "`verify` ended what the daemon runs");
    project.write("go", "");
    daemon.until_status(&other, "succeeded");
    daemon.kill();
}

/// Large inputs are linked to, as in a run: to a copy, so that a command that writes to one does not reach the user's.
#[test]
fn a_large_input_is_linked_to_and_not_the_users() {
    for (first, verdict) in [("true", "verified"), ("[ ! -e out.txt ] || echo >> big.bin", "not_idempotent")]
    {
        let project = stage(&format!("run = \"{first}; echo 1 > out.txt\"\ninputs = [\"big.bin\"]"));
        project.write("big.bin", vec![b'x'; 2 * 1024 * 1024]);
        let told = verified(&project, &[]);
        assert_eq!(told["verdict"], verdict, "{told}");
        assert_eq!(told["path"].as_str(), (verdict != "verified").then_some("big.bin"), "{told}");
    }
}

#[test]
fn what_cannot_be_copied_is_not_verified() {
    let project = stage("run = \"echo 1 > out.txt\"\nsandbox = \"off\"");
    project.write("data/x", "1");
    run(&project, &[]);
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), project.file("data/linked")).unwrap();
    let told = verified_again(&project);
    assert_eq!(told["verdict"], "not_verified");
    assert!(
        told["reason"].as_str().unwrap().contains("`data/linked` is a link to a folder outside"),
        "{told}"
    );
}

/// With an effect it is not executed again unasked; asked, its probe tells whether doing it again changed something.
#[test]
fn an_effect_is_only_done_again_when_asked_and_its_probe_is_compared() {
    for (sign, verdict) in [(">>", "not_idempotent"), (">", "verified")] {
        let bank = tempfile::tempdir().unwrap();
        let book = bank.path().join("book");
        let mut project = stage(&format!(
            "run = \"echo 1 > out.txt; echo $CAIRN_IDEMPOTENCY_KEY {sign} $BOOK\"\npass_env = [\"BOOK\"]\n\
             [stages.s.effect]\nmode = \"at-least-once\"\nkey = \"k1\"\nprobe = \"cat $BOOK\""
        ));
        project.set_env("BOOK", book.to_str().unwrap());
        let told = verified(&project, &[]);
        assert_eq!((&told["verdict"], &told["elsewhere"]), (&"not_verified".into(), &"not_tried".into()));
        assert!(told["reason"].as_str().unwrap().contains("it has an effect outside"), "{told}");
        assert_eq!(std::fs::read_to_string(&book).unwrap(), "k1\n");
        let outcome = project.cairn(&["verify", "--json", "--effects", "--cuts", "0"]);
        let (_, told) = self::told(&outcome).pop_first().unwrap();
        assert_eq!(told["verdict"], verdict, "{told}");
        if verdict == "not_idempotent" {
            assert_eq!(told["recorded"], "k1\n");
            assert_eq!(told["found"], "k1\n".repeat(4), "under the same key");
        }
        assert!(leftovers(&project).is_empty());
    }
}

#[test]
fn a_probe_that_fails_proves_nothing() {
    let bank = tempfile::tempdir().unwrap();
    let mut project = stage(
        "run = \"echo 1 > out.txt; test ! -e $BOOK || touch $BOOK.broken; touch $BOOK\"\npass_env = [\"BOOK\"]\n\
         [stages.s.effect]\nmode = \"at-least-once\"\nkey = \"k1\"\nprobe = \"test ! -e $BOOK.broken\"",
    );
    project.set_env("BOOK", bank.path().join("book").to_str().unwrap());
    assert_eq!(run(&project, &[]), "s=RAN");
    let outcome = project.cairn(&["verify", "--json", "--effects", "--cuts", "0"]);
    let (_, told) = told(&outcome).pop_first().unwrap();
    assert_eq!(told["verdict"], "not_verified", "{told}");
    assert!(told["reason"].as_str().unwrap().contains("has no answer"), "{told}");
}

#[test]
fn a_script_that_a_script_calls_is_searched_for_calls_of_the_run() {
    let project = stage("run = \"sh a.sh > out.txt\"\ninputs = [\"a.sh\", \"b.sh\"]");
    project.write("a.sh", ". ./b.sh").write("b.sh", "cairn mark a=1; echo 1");
    let told = verified(&project, &[]);
    assert_eq!(told["verdict"], "not_verified", "{told}");
    assert!(told["reason"].as_str().unwrap().contains("`b.sh` calls `cairn mark`"), "{told}");
}

#[test]
fn a_folder_without_files_is_there_in_a_copy() {
    let project = stage("run = \"test -d left/empty && echo 1 > out.txt\"\nsandbox = \"off\"");
    std::fs::create_dir_all(project.file("left/empty")).unwrap();
    assert_eq!(verified(&project, &[])["verdict"], "verified");
}
