//! What holds for any definition.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::graph::Graph;

/// How one stage reads what another writes.
#[derive(Debug, Clone, Copy)]
enum Edge {
    Path,
    InFolder,
    Glob,
    Folder,
    Stage,
    Needs,
}

fn edge() -> impl Strategy<Value = Edge> {
    use Edge::{Folder, Glob, InFolder, Needs, Path, Stage};
    prop_oneof![Just(Path), Just(InFolder), Just(Glob), Just(Folder), Just(Stage), Just(Needs)]
}

/// Stages in the order in which they can run, each with edges to earlier ones; and the order in which they are written.
fn graphs() -> impl Strategy<Value = (Vec<Vec<(usize, Edge)>>, Vec<usize>)> {
    let edges = vec(vec((any::<prop::sample::Index>(), edge()), 0..4), 1..14);
    edges.prop_flat_map(|edges| {
        let stages: Vec<Vec<(usize, Edge)>> = edges
            .into_iter()
            .enumerate()
            .map(|(at, list)| {
                let list = if at == 0 { Vec::new() } else { list };
                list.into_iter().map(|(index, edge)| (index.index(at), edge)).collect()
            })
            .collect();
        let order = Just((0..stages.len()).collect::<Vec<_>>()).prop_shuffle();
        (Just(stages), order)
    })
}

/// Writes a graph as a definition. Stage `n` writes `out/n/data.csv` and the folder `out/n/pages/`.
fn written(stages: &[Vec<(usize, Edge)>], order: &[usize]) -> String {
    let mut text = String::new();
    for stage in order {
        let (mut inputs, mut needs) = (Vec::new(), Vec::new());
        for (other, edge) in &stages[*stage] {
            match edge {
                Edge::Path => inputs.push(format!("\"./out/{other}//data.csv\"")),
                Edge::InFolder => inputs.push(format!("\"out/{other}/pages/deep/x.html\"")),
                Edge::Glob => inputs.push(format!("\"out/{other}/*.csv\"")),
                Edge::Folder => inputs.push(format!("\"out/{other}/\"")),
                Edge::Stage => inputs.push(format!("{{ stage = \"s{other}\" }}")),
                Edge::Needs => needs.push(format!("\"s{other}\"")),
            }
        }
        writeln!(
            text,
            "[stages.s{stage}]\nrun = \"true\"\ninputs = [{}]\nneeds = [{}]\noutputs = [\"out/{stage}/data.csv\", \"out/{stage}/pages/\"]",
            inputs.join(", "),
            needs.join(", ")
        )
        .unwrap();
    }
    text
}

fn number(name: &str) -> usize {
    name[1..].parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_edges_of_a_graph_are_those_that_were_written((stages, order) in graphs()) {
        let pipeline = pipeline(&written(&stages, &order), &[]);
        let mut position = vec![0; stages.len()];
        let graph = Graph::new(&pipeline);
        for (at, node) in graph.order().iter().enumerate() {
            position[number(&pipeline.instances[*node as usize].name.to_string())] = at;
        }
        prop_assert_eq!(graph.order().len(), stages.len());
        for (stage, edges) in stages.iter().enumerate() {
            let expected: BTreeSet<usize> = edges.iter().map(|(other, _)| *other).collect();
            let found: BTreeSet<usize> = needs(&pipeline, &format!("s{stage}")).iter().map(|name| number(name)).collect();
            prop_assert_eq!(&found, &expected, "stage {}", stage);
            prop_assert!(expected.iter().all(|other| position[*other] < position[stage]));
        }
    }

    #[test]
    fn one_edge_back_makes_a_circle_that_is_named((stages, order) in graphs(), at in any::<prop::sample::Index>()) {
        // The last stage that another leads to, directly or not, is read by that other.
        let mut stages = stages;
        let to = at.index(stages.len());
        let mut above: BTreeSet<usize> = BTreeSet::from([to]);
        for (stage, edges) in stages.iter().enumerate().skip(to + 1) {
            if edges.iter().any(|(other, _)| above.contains(other)) {
                above.insert(stage);
            }
        }
        let from = *above.last().unwrap();
        stages[to].push((from, Edge::Path));
        let report = faults(&written(&stages, &order), &[]);
        let expected = if from == to { crate::code::SELF_DEPENDENCY } else { crate::code::CYCLE };
        let codes: BTreeSet<&str> = report.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        prop_assert_eq!(codes, BTreeSet::from([expected]));
        let message = &report.diagnostics[0].message;
        prop_assert!(message.contains(&format!("s{to}")) || from != to, "{}", message);
    }
}

/// Texts that are nearly definitions: a good one with parts cut out, doubled, and replaced.
fn mutated() -> impl Strategy<Value = String> {
    const SCRAPS: &[&str] = &[
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "{",
        "}",
        "{{",
        "}}",
        "{%",
        "=",
        ",",
        ".",
        "\n",
        "\\",
        "\\u0000",
        "\u{0}",
        "é",
        "😀",
        "{{ params. }}",
        "{{ inputs[0] }}",
        "{{ 'x",
        "[stages.a]",
        "run",
        "matrix = { x = [1, 2] }",
        "inputs = [\"**\"]",
        "..",
        "/",
        "*",
        "1e999",
        "2024-02-29",
        "-1",
        "99999999999999999999",
        "\"30\"",
        "true",
        "{ stage = \"report\" }",
    ];
    let edit = (any::<prop::sample::Index>(), 0_usize..12, prop::sample::select(SCRAPS));
    vec(edit, 1..6).prop_map(|edits| {
        let mut text: Vec<char> = super::language::FLIGHTS.chars().collect();
        for (at, cut, scrap) in edits {
            let at = at.index(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, scrap.chars());
        }
        text.into_iter().collect()
    })
}

/// Loads and draws, and checks that every place lies in the file.
fn survives(bytes: &[u8]) {
    let source = Source { path: "pipeline.toml", bytes };
    let report = match load(source, &options(), &Disk::of(&["extract.py", "data/flights.csv.gz"])) {
        Ok(loaded) => loaded.warnings,
        Err(report) => {
            assert!(report.errors() > 0);
            report
        }
    };
    for diagnostic in &report.diagnostics {
        assert!(diagnostic.help.is_some() || diagnostic.severity != crate::Severity::Error, "{diagnostic:?}");
        for label in &diagnostic.labels {
            assert!(label.span.start <= label.span.end && label.span.end <= bytes.len(), "{diagnostic:?}");
        }
        // A patch can be made, and is not what stands there already.
        if let (Some(patch), Ok(text)) = (&diagnostic.patch, std::str::from_utf8(bytes)) {
            assert_ne!(text.get(patch.span.clone()).unwrap(), patch.replacement, "{diagnostic:?}");
        }
    }
    for ansi in [false, true] {
        let picture = report.render(&source, Style { ansi, width: 80 });
        assert!(
            report.diagnostics.len() > 200 || report.diagnostics.iter().all(|d| picture.contains(d.code))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn no_edit_of_a_good_file_makes_it_panic(text in mutated()) {
        survives(text.as_bytes());
    }

    #[test]
    fn no_value_of_a_param_becomes_a_command(value in "\\PC*") {
        let text = "[params]\nx = \"\"\n[stages.a]\nrun = \"echo {{ params.x }}\"\n";
        match load_with(text, &with_params(&[("x", &value)]), &Disk::default()) {
            Ok(loaded) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
                prop_assert!(value.chars().all(plain));
                prop_assert_eq!(loaded.pipeline.instances[0].command.argv()[4], format!("echo {value}"));
            }
            Err(report) => prop_assert_eq!(report.diagnostics[0].code, crate::code::UNSAFE_VALUE),
        }
    }
}
