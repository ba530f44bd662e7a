//! Large definitions: that they work, always; how fast, when asked: `cargo test --release -p cairn-dag speed -- --ignored --nocapture`.

use std::fmt::Write as _;
use std::time::Instant;

use super::*;
use crate::graph::Graph;

/// Stages of one input and one output each: a source, or what the stage before made.
fn stages(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let input = if n % 2 == 0 {
            format!("sources/input-{n:05}.csv")
        } else {
            format!("build/part-{:05}.csv", n - 1)
        };
        writeln!(
            text,
            "[stages.stage-{n:05}]\nrun = [\"cp\", \"{{{{ inputs[0] }}}}\", \"{{{{ outputs[0] }}}}\"]\ninputs = [\"{input}\"]\noutputs = [\"build/part-{n:05}.csv\"]\n"
        )
        .unwrap();
    }
    text
}

fn matrix(count: usize) -> String {
    let list = (0..count).map(|n| format!("\"c{n:06}\"")).collect::<Vec<_>>().join(",");
    format!(
        "[stages.split]\nmatrix = {{ part = [{list}] }}\nrun = \"echo {{{{ matrix.part }}}} > {{{{ outputs.part }}}}\"\ninputs = [\"sources/input-00000.csv\"]\noutputs = {{ part = \"build/{{{{ matrix.part }}}}.csv\" }}\n\
         [stages.gather]\nrun = \"ls\"\ninputs = [\"build/*.csv\"]\n"
    )
}

/// A disk that holds whatever is asked for, so that only this crate's work counts.
struct Everything;

impl World for Everything {
    fn entry(&self, _: &ProjectPath) -> Entry {
        Entry::File
    }

    fn matches(&self, _: &Glob) -> Result<Vec<ProjectPath>, Unlisted> {
        Ok(Vec::new())
    }
}

fn loaded(text: &str) -> Pipeline {
    load(Source { path: "pipeline.toml", bytes: text.as_bytes() }, &options(), &Everything).unwrap().pipeline
}

#[test]
fn ten_thousand_stages() {
    let pipeline = loaded(&stages(10_000));
    assert_eq!(pipeline.instances.len(), 10_000);
    assert_eq!(needs(&pipeline, "stage-09999"), ["stage-09998"]);
    assert_eq!(Graph::new(&pipeline).order().len(), 10_000);
}

#[test]
fn a_matrix_of_twenty_thousand_and_what_gathers_it() {
    let pipeline = loaded(&matrix(20_000));
    assert_eq!(pipeline.instances.len(), 20_001);
    assert_eq!(pipeline.instances[20_000].needs.len(), 20_000);
}

/// Each fault costs what is around it, never all that is in the file: else this takes minutes.
#[test]
fn faults_by_the_ten_thousand() {
    let check = |text: &str, count: usize| assert_eq!(faults(text, &[]).errors(), count);
    let needs = |n: usize| format!("[stages.s{n}]\nrun = 'x'\nneeds = ['nothing-{n}']\n");
    check(&(0..10_000).map(needs).collect::<String>(), 10_000);
    check(&format!("[stages.a]\nrun = '''\n{}'''\n", "echo {{ nothing }}\n".repeat(20_000)), 20_000);
}

#[test]
fn a_chain_of_a_hundred_thousand_does_not_overflow_the_stack() {
    let needs: Vec<Vec<u32>> =
        (0..100_000).map(|n| if n == 0 { vec![99_999] } else { vec![n - 1] }).collect();
    let lists: Vec<&[u32]> = needs.iter().map(Vec::as_slice).collect();
    let circles = Graph::from_needs(&lists).cycles();
    assert_eq!(circles.iter().map(Vec::len).collect::<Vec<_>>(), [100_000]);
}

#[test]
#[ignore = "prints times, which are for people"]
#[allow(clippy::print_stderr, reason = "its purpose")]
fn speed() {
    for (what, text) in [
        ("10 000 stages", stages(10_000)),
        ("a matrix of 100 000", matrix(100_000)),
        ("a matrix of 1 000 x 999", {
            let list = (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
            format!(
                "[stages.a]\nrun = \"true\"\n[stages.a.matrix]\nx = [{list}]\ny = [{}]\n",
                list.trim_end_matches(",999")
            )
        }),
    ] {
        let mut times: Vec<f64> = (0..5)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(loaded(&text));
                start.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        eprintln!("{what}: {} bytes, median {:.0} ms, least {:.0} ms", text.len(), times[2], times[0]);
    }
}
