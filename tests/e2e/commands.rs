//! What people see of each command, and what programs read.

mod check;
mod color;
mod exit_status;
mod graph;
mod help;
mod init;
mod json;
mod logs;
mod plan;
mod resume;
mod run;
mod runs;
mod schedule;
mod show;
mod status;
mod uncertain;
mod why;

use cairn_testkit::{Outcome, Project};

use super::BINARY;

/// Three stages in a row. Each takes long enough for its time to be told.
const SALES: &str = r#"
[pipeline]
name = "sales"

[params]
word = "hello"

[env]
MODE = "plain"

[stages.fetch]
description = "Takes the rows"
run = """
echo fetching {{ params.word }}
sleep 0.05
sort source.txt > out/rows.txt
"""
inputs = ["source.txt"]
outputs = ["out/rows.txt"]

[stages.count]
description = "Counts them"
run = "echo counting >&2; sleep 0.05; wc -l < out/rows.txt > out/count.txt"
inputs = ["out/rows.txt"]
outputs = ["out/count.txt"]

[stages.report]
run = "sleep 0.05; cp out/count.txt report.txt"
inputs = ["out/count.txt"]
outputs = ["report.txt"]
"#;

fn sales() -> Project {
    let project = Project::with_pipeline(BINARY, SALES);
    project.write("source.txt", "b\na\n");
    project
}

/// One that was run once.
fn sales_done() -> Project {
    let project = sales();
    project.cairn(&["run", "-j1"]).expect(0);
    project
}

/// One stage that works, one that fails for good, one behind it.
const TROUBLE: &str = r#"
[pipeline]
name = "trouble"

[stages.good]
run = "sleep 0.05; echo 1 > good.txt"
outputs = ["good.txt"]

[stages.bad]
run = "cat good.txt; echo oh no >&2; exit 4"
inputs = ["good.txt"]
outputs = ["bad.txt"]

[stages.behind]
run = "cp bad.txt behind.txt"
inputs = ["bad.txt"]
outputs = ["behind.txt"]
"#;

/// Two that are told apart from the outside: `quick`, then `slow`, which goes on until `go` exists.
fn waiting() -> Project {
    let project = Project::new(BINARY);
    let go = project.file("go");
    let text = format!(
        "[pipeline]\nname = \"waiting\"\n[stages.quick]\nrun = \"sleep 0.05; echo 1 > quick.txt\"\noutputs = [\"quick.txt\"]\n\
         [stages.slow]\nrun = \"echo one; while ! test -e {0}; do sleep 0.01; done; echo two; cp quick.txt slow.txt\"\n\
         inputs = [\"quick.txt\"]\noutputs = [\"slow.txt\"]\n",
        go.display()
    );
    project.write("pipeline.toml", text);
    project
}

/// Waits until `slow` of [`waiting`] has printed its first line.
#[track_caller]
fn wait_for_slow(project: &Project) {
    let printed = || project.cairn(&["logs"]).stdout.contains("one");
    for _ in 0..600 {
        if printed() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("`slow` never began");
}

/// Returns what people see of a command, without ids, times, sizes of memory and paths.
fn see(project: &Project, arguments: &[&str]) -> String {
    shown(&project.cairn(arguments))
}

fn shown(outcome: &Outcome) -> String {
    let masks = [
        ("####-##-## ##:##:##", "[TIME]"),
        ("##:##:##.###", "[TIME]"),
        ("##:##:##", "[TIME]"),
        ("###.# MiB", "[SIZE]"),
        ("##.# MiB", "[SIZE]"),
        ("#.# MiB", "[SIZE]"),
    ];
    masks.into_iter().fold(outcome.shown(), |text, (pattern, by)| mask(&text, pattern, by))
}

/// Replaces what matches `pattern`, in which `#` stands for a digit.
fn mask(text: &str, pattern: &str, by: &str) -> String {
    let matches = |part: &str| {
        part.len() >= pattern.len()
            && pattern.bytes().zip(part.bytes()).all(|(pattern, byte)| match pattern {
                b'#' => byte.is_ascii_digit(),
                _ => pattern == byte,
            })
    };
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if matches(rest) {
            masked.push_str(by);
            rest = &rest[pattern.len()..];
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    masked
}
