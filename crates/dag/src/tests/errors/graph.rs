//! Dependencies.

use super::*;

#[test]
fn two_writers() {
    let text = "[stages.a]\nrun = \"true\"\noutputs = [\"build/x.csv\"]\n[stages.b]\nrun = \"true\"\noutputs = [\"./build//x.csv\"]\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0601]: `build/x.csv` is written by `a` and by `b`
     --> pipeline.toml:6:12
      |
    3 | outputs = ["build/x.csv"]
      |            ------------- written by `a`
    ...
    6 | outputs = ["./build//x.csv"]
      |            ^^^^^^^^^^^^^^^^ written by `b`
      |
      = help: give each its own path; a stage that needs both reads both

    error: 1 error in `pipeline.toml`
    "#);
    let twice = "[stages.a]\nrun = \"true\"\noutputs = [\"x\"]\nstdout = \"x\"\n";
    assert_eq!(codes(twice, &[]), [crate::code::TWO_WRITERS]);
}

#[test]
fn letter_case() {
    let text = "[stages.a]\nrun = \"true\"\noutputs = [\"build/Über.csv\"]\n[stages.b]\nrun = \"true\"\noutputs = [\"build/über.csv\"]\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0602]: the outputs `build/Über.csv` and `build/über.csv` differ in letter case only
     --> pipeline.toml:6:12
      |
    3 | outputs = ["build/Über.csv"]
      |            ---------------- written by `a`
    ...
    6 | outputs = ["build/über.csv"]
      |            ^^^^^^^^^^^^^^^^ written by `b`
      |
      = note: on the filesystems of macOS and Windows they are one file
      = help: rename one, or write it the same where the same is meant

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn outputs_in_outputs() {
    let text = "[stages.site]\nrun = \"true\"\noutputs = [\"build/site/\"]\n[stages.index]\nrun = \"true\"\noutputs = [\"build/site/index.html\"]\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0603]: the output `build/site/index.html` lies in the output `build/site`
     --> pipeline.toml:6:12
      |
    3 | outputs = ["build/site/"]
      |            ------------- written by `site`
    ...
    6 | outputs = ["build/site/index.html"]
      |            ^^^^^^^^^^^^^^^^^^^^^^^ written by `index`
      |
      = help: write beside the folder, or let one stage make all of it

    error: 1 error in `pipeline.toml`
    "#);
    let file = "[stages.a]\nrun = \"true\"\noutputs = [\"x\"]\n[stages.b]\nrun = \"true\"\noutputs = [\"X/y\", \"x-y\"]\n";
    assert_eq!(codes(file, &[]), [crate::code::NESTED_OUTPUTS]);
}

#[test]
fn what_reads_itself() {
    let text = r#"[stages.a]
run = "true"
inputs = ["data.csv", "build/*.json", "logs"]
outputs = ["./data.csv", "build/all.json", "logs/a.log"]
needs = ["a"]
"#;
    insta::assert_snapshot!(drawn(text, &["data.csv"]), @r#"
    error[CRN0604]: `a` reads `data.csv`, which it writes itself
     --> pipeline.toml:3:11
      |
    3 | inputs = ["data.csv", "build/*.json", "logs"]
      |           ^^^^^^^^^^ reads what it writes
    4 | outputs = ["./data.csv", "build/all.json", "logs/a.log"]
      |            ------------ written here
      |
      = help: write to another path, or read less: what a stage reads is there before it starts

    error[CRN0604]: `a` reads `build/all.json`, which it writes itself
     --> pipeline.toml:3:23
      |
    3 | inputs = ["data.csv", "build/*.json", "logs"]
      |                       ^^^^^^^^^^^^^^ matches what the instance writes
    4 | outputs = ["./data.csv", "build/all.json", "logs/a.log"]
      |                          ---------------- written here
      |
      = help: write to another path, or read less: what a stage reads is there before it starts

    error[CRN0604]: `a` reads `logs/a.log`, which it writes itself
     --> pipeline.toml:3:39
      |
    3 | inputs = ["data.csv", "build/*.json", "logs"]
      |                                       ^^^^^^ reads the folder it writes to
    4 | outputs = ["./data.csv", "build/all.json", "logs/a.log"]
      |                                            ------------ written here
      |
      = help: write to another path, or read less: what a stage reads is there before it starts

    error[CRN0604]: the stage `a` waits for itself
     --> pipeline.toml:5:10
      |
    5 | needs = ["a"]
      |          ^^^ the stage itself
      |
      = help: remove it

    error: 4 errors in `pipeline.toml`
    "#);
}

#[test]
fn circles() {
    let text = r#"[stages.a]
run = "true"
inputs = ["c.csv"]
outputs = ["a.csv"]
[stages.b]
run = "true"
inputs = ["a.*"]
outputs = ["b.csv"]
[stages.c]
run = "true"
needs = ["b"]
outputs = ["c.csv"]
[stages.after]
run = "true"
inputs = ["c.csv"]
[stages.x]
run = "true"
inputs = [{ stage = "y" }]
outputs = ["x"]
[stages.y]
run = "true"
inputs = ["x"]
outputs = ["y"]
"#;
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0605]: stages wait for each other: a → c → b → a
      --> pipeline.toml:3:11
       |
     3 | inputs = ["c.csv"]
       |           ^^^^^^^ `a` reads `c.csv`, which `c` writes
    ...
     7 | inputs = ["a.*"]
       |           ----- `b` reads `a.csv`, which `a` writes
    ...
    11 | needs = ["b"]
       |          --- `c` waits for `b`
       |
       = note: an arrow leads from a stage to the one it waits for
       = help: remove one of these dependencies, or split a stage in two

    error[CRN0605]: stages wait for each other: x → y → x
      --> pipeline.toml:18:11
       |
    18 | inputs = [{ stage = "y" }]
       |           ^^^^^^^^^^^^^^^ `x` reads `y`, which `y` writes
    ...
    22 | inputs = ["x"]
       |           --- `y` reads `x`, which `x` writes
       |
       = note: an arrow leads from a stage to the one it waits for
       = help: remove one of these dependencies, or split a stage in two

    error: 2 errors in `pipeline.toml`
    "#);
}

#[test]
fn of_a_long_circle_the_beginning_is_shown() {
    let text: String = (0..3000)
        .map(|n| {
            format!("[stages.s{n}]\nrun = \"true\"\ninputs = [\"{}\"]\noutputs = [\"{n}\"]\n", (n + 1) % 3000)
        })
        .collect();
    let report = faults(&text, &[]);
    insta::assert_snapshot!(report, @"CRN0605: stages wait for each other: s0 → s1 → s2 → s3 → s4 → s5 → s6 → s7 → … 2992 more … → s0");
}

#[test]
fn dependencies_that_cannot_be_counted_out() {
    let list = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let text = format!(
        "[stages.a]\nrun = \"true\"\nmatrix = {{ x = [{0}] }}\n[stages.b]\nrun = \"true\"\nmatrix = {{ x = [{0}] }}\nneeds = [\"a\"]\n",
        list(4000)
    );
    insta::assert_snapshot!(drawn(&text, &[]), @"
    error[CRN0606]: up to the stage `b` there are more than 10000000 dependencies
     --> pipeline.toml:4:9
      |
    4 | [stages.b]
      |         ^ each instance counts, with each that it waits for
      |
      = help: gather many outputs in one stage, and let the others read what that makes

    error: 1 error in `pipeline.toml`
    ");
}
