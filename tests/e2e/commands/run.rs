//! `cairn run`, as people watch it in a pipe: a line an instance, then a summary.

use cairn_testkit::Project;
use insta::assert_snapshot;

use super::super::BINARY;
use super::{TROUBLE, sales, sales_done, see, shown};

#[test]
fn first_and_second() {
    let project = sales();
    assert_snapshot!(see(&project, &["run", "-j1"]), @r"
    exit status: 0
    ----- stderr -----
      sales · run [RUN] · 3 instances · 1 at once
      RAN       fetch     [T]  never ran before
      RAN       count     [T]  never ran before
      RAN       report    [T]  never ran before

      3 RAN in [T] · run [RUN]
    ");
    assert_snapshot!(see(&project, &["run", "-j1"]), @r"
    exit status: 0
    ----- stderr -----
      sales · run [RUN] · 3 instances · 1 at once
      FRESH     fetch             inputs and outputs unchanged
      FRESH     count             inputs and outputs unchanged
      FRESH     report            inputs and outputs unchanged

      3 FRESH in [T] · saved [T] (work not repeated) · run [RUN]
    ");
}

#[test]
fn an_input_changed() {
    let project = sales_done();
    project.write("source.txt", "d\nc\n");
    // As many lines as before: the wave stops at `count`.
    assert_snapshot!(see(&project, &["run", "-j1"]), @r"
    exit status: 0
    ----- stderr -----
      sales · run [RUN] · 3 instances · 1 at once
      RAN       fetch     [T]  input `source.txt` changed
      RAN       count     [T]  input `out/rows.txt` changed
      FRESH     report            inputs and outputs unchanged

      2 RAN, 1 FRESH in [T] · saved [T] (work not repeated) · run [RUN]
    ");
}

#[test]
fn an_output_is_put_back() {
    let project = sales_done();
    project.remove("report.txt");
    assert_snapshot!(see(&project, &["run", "-j1"]), @r"
    exit status: 0
    ----- stderr -----
      sales · run [RUN] · 3 instances · 1 at once
      FRESH     fetch             inputs and outputs unchanged
      FRESH     count             inputs and outputs unchanged
      RESTORED  report            put back `report.txt`

      1 RESTORED, 2 FRESH in [T] · saved [T] (work not repeated) · run [RUN]
    ");
}

#[test]
fn what_stood_in_the_way_is_in_the_trash() {
    let project = sales_done();
    project.write("out/count.txt", "mine");
    let outcome = project.cairn(&["run", "-j1"]).expect(0);
    let text = shown(&outcome);
    assert!(text.contains("put back `out/count.txt`"), "the path alone is in backticks: {text}");
    let kept = outcome.stderr.split_whitespace().find(|word| word.contains(".cairn/trash/")).expect(&text);
    let kept = kept.trim_matches(|c: char| !c.is_alphanumeric() && c != '.');
    assert_eq!(project.read(kept), "mine", "{text}");
}

/// The run's log tells the same: without a grumble, and where the file is now.
#[test]
fn what_stood_in_the_way_of_an_execution_is_shown_later_too() {
    let project = sales();
    project.write("out/count.txt", "mine");
    let outcome = project.cairn(&["run", "-j1", "--json"]).expect(0);
    let lines = outcome.stdout.lines();
    let kinds: Vec<&str> = lines.filter(|line| line.contains("\"count\"")).map(kind_of).collect();
    assert_eq!(kinds, ["instance_attempt_started", "instance_committed", "instance_trashed"]);
    for arguments in [&["show"][..], &["show", "latest", "count"]] {
        let shown = project.cairn(arguments).expect(0);
        assert_eq!(shown.stderr, "", "`{}` grumbles", arguments.join(" "));
    }
    let shown = project.cairn(&["show", "latest", "count"]).stdout;
    let kept = shown.split_whitespace().find(|word| word.contains(".cairn/trash/")).expect(&shown);
    assert_eq!(project.read(kept), "mine", "{shown}");
    assert!(shown.contains("RAN"), "{shown}");
}

fn kind_of(line: &str) -> &str {
    line.split("\"type\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect(line)
}

#[test]
fn forced() {
    let project = sales_done();
    assert_snapshot!(see(&project, &["run", "-j1", "--force=report"]), @r"
    exit status: 0
    ----- stderr -----
      sales · run [RUN] · 3 instances · 1 at once
      FRESH     fetch             inputs and outputs unchanged
      FRESH     count             inputs and outputs unchanged
      RAN       report    [T]  forced

      1 RAN, 2 FRESH in [T] · saved [T] (work not repeated) · run [RUN]
    ");
    assert_snapshot!(see(&project, &["run", "-j1", "--from", "count"]), @r"
    exit status: 0
    ----- stderr -----
      sales · run [RUN] · 3 instances · 1 at once
      FRESH     fetch             inputs and outputs unchanged
      RAN       count     [T]  forced
      RAN       report    [T]  forced

      2 RAN, 1 FRESH in [T] · saved [T] (work not repeated) · run [RUN]
    ");
}

#[test]
fn frozen() {
    let project = sales_done();
    assert_snapshot!(see(&project, &["run", "-j1", "--frozen"]), @r"
    exit status: 0
    ----- stderr -----
      sales · run [RUN] · 3 instances · 1 at once
      FRESH     fetch             inputs and outputs unchanged
      FRESH     count             inputs and outputs unchanged
      FRESH     report            inputs and outputs unchanged

      3 FRESH in [T] · saved [T] (work not repeated) · run [RUN]
    ");
    project.write("source.txt", "c\n");
    assert_snapshot!(see(&project, &["run", "-j1", "--frozen"]), @r"
    exit status: 3
    ----- stderr -----
      sales · run [RUN] · 3 instances · 1 at once
      BLOCKED   fetch             would run: input `source.txt` changed
      BLOCKED   count             `fetch` would have to run first
      BLOCKED   report            `fetch` would have to run first

      3 BLOCKED, frozen after [T] · run [RUN]
      next: cairn plan  what would run, and why
    ");
    assert_eq!(project.read("out/rows.txt"), "a\nb\n");
}

#[test]
fn a_failure() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    assert_snapshot!(see(&project, &["run", "-j1"]), @r"
    exit status: 1
    ----- stderr -----
      trouble · run [RUN] · 3 instances · 1 at once
      RAN       good      [T]  never ran before
      FAILED    bad       [T]  exit status 4
                │ 1
                │ oh no
                log: .cairn/logs/[RUN]/bad.1.log
                see: cairn logs [RUN] bad
      BLOCKED   behind            `bad` failed

      1 RAN, 1 FAILED, 1 BLOCKED in [T] · run [RUN]
      failed: bad: exit status 4
      next: cairn logs [RUN] bad  what it said
            cairn resume             goes on from here
    ");
    assert_snapshot!(see(&project, &["run", "-j1", "--quiet"]), @r"
    exit status: 1
    ----- stderr -----
      FAILED    bad       [T]  exit status 4
                │ 1
                │ oh no
                log: .cairn/logs/[RUN]/bad.1.log
                see: cairn logs [RUN] bad
    ");
}

#[test]
fn a_failure_that_keeps_going() {
    let text = format!(
        "{TROUBLE}\n[stages.beside]\nrun = \"sleep 0.05; echo 1 > beside.txt\"\noutputs = [\"beside.txt\"]\n"
    );
    let project = Project::with_pipeline(BINARY, &text);
    let outcome = project.cairn(&["run", "-j1", "-k"]).expect(1);
    assert!(outcome.stderr.contains("2 RAN, 1 FAILED, 1 BLOCKED in "), "{}", outcome.shown());
}

const FLAKY: &str = "[pipeline]\nname = \"flaky\"\n[stages.s]\nrun = \"test $CAIRN_ATTEMPT = 3; echo 1 > out.txt\"\n\
    outputs = [\"out.txt\"]\nretries = { attempts = 3, delay = \"1ms\", jitter = false }\n";

#[test]
fn retried() {
    let project = Project::with_pipeline(BINARY, FLAKY);
    assert_snapshot!(see(&project, &["run", "-j1"]), @r"
    exit status: 0
    ----- stderr -----
      flaky · run [RUN] · 1 instance · 1 at once
      RETRY     s         [T]  attempt 1 failed: exit status 1; the next in [T] (at [TIME])
      RETRY     s         [T]  attempt 2 failed: exit status 1; the next in [T] (at [TIME])
      RAN       s         [T]  never ran before; attempt 3

      1 RAN in [T] · run [RUN]
    ");
}

#[test]
fn a_pause_is_told_as_long_as_it_is() {
    let project = Project::with_pipeline(BINARY, FLAKY);
    let outcome = project.cairn(&["run", "-j1"]).expect(0);
    assert!(!outcome.stderr.contains("next in 1 s"), "the pauses are of 1 and 2 ms: {}", outcome.stderr);
}

#[test]
fn the_header_counts_what_was_selected() {
    let project = sales();
    let outcome = project.cairn(&["run", "-j1", "count"]).expect(0);
    assert!(outcome.stderr.contains(" · 2 instances · "), "{}", outcome.shown());
    let json = project.cairn(&["run", "--json", "count"]).expect(0);
    assert!(json.stdout.lines().next().unwrap().contains("\"instances\":2,"), "{}", json.stdout);
}

#[test]
fn params_are_given() {
    let project = sales();
    project.cairn(&["run", "-j1", "-p", "word=bye"]).expect(0);
    assert!(project.cairn(&["logs", "fetch"]).stdout.contains("fetching bye"));
}

/// A stage's inputs are not what its command made, however near their names are.
#[test]
fn what_was_not_made_is_not_looked_for_among_the_inputs() {
    let text = "[stages.s]\nrun = \"true\"\ninputs = [\"data\"]\noutputs = [\"date\"]\n";
    let project = Project::with_pipeline(BINARY, text);
    project.write("data/rows.txt", "1");
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("`date` was not made"), "{}", outcome.shown());
    assert!(!outcome.stderr.contains("made `data`"), "{}", outcome.shown());
}

#[test]
fn what_is_logged_says_where_it_happened() {
    let text =
        "[stages.s]\nrun = \"sleep 60 > /dev/null 2>&1 & echo 1 > out.txt\"\noutputs = [\"out.txt\"]\n";
    let project = Project::with_pipeline(BINARY, text);
    let outcome = project.cairn(&["run", "-v"]).expect(0);
    let line = outcome.stderr.lines().find(|line| line.contains("outlived the command"));
    let line = line.unwrap_or_else(|| panic!("{}", outcome.shown()));
    let spans = ["run{id=", ":instance{name=s input_hash=", ":attempt{number=1}"].map(|span| line.find(span));
    assert!(spans.is_sorted() && spans[0].is_some(), "{line}");
}
