//! Random pipelines, random edits: what ran is what a naive oracle says, and the outputs equal a build from scratch.
//!
//! The oracle knows nothing of hashes: it remembers, for every stage, each set of input bytes it ever saw, and what they
//! gave. A stage runs when its command and input bytes are new to it; otherwise it is fresh or restored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use cairn_testkit::Project;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::BINARY;

/// One stage: which stages and sources it reads, and a word in its command.
#[derive(Debug, Clone)]
struct Stage {
    stages: Vec<usize>,
    sources: Vec<usize>,
    word: u8,
}

#[derive(Debug, Clone)]
enum Edit {
    /// A source gets other bytes, or the same ones again.
    Source(usize, u8),
    /// A command changes.
    Word(usize, u8),
    /// An output is removed.
    Remove(usize),
    /// An output is scribbled over.
    Scribble(usize),
    /// Nothing but the times of a source.
    Touch(usize),
    /// The stages change their places in the file, and comments come in.
    Rearrange,
}

const SOURCES: usize = 3;

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    prop::collection::vec((any::<u16>(), any::<u8>(), 0u8..3), 2..8).prop_map(|drawn| {
        let stage = |(at, (before, sources, word)): (usize, (u16, u8, u8))| Stage {
            stages: (0..at).filter(|other| before >> other & 1 == 1).collect(),
            sources: (0..SOURCES).filter(|source| sources >> source & 1 == 1).collect(),
            word,
        };
        drawn.into_iter().enumerate().map(stage).collect()
    })
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        3 => (0..SOURCES, 0u8..3).prop_map(|(source, bytes)| Edit::Source(source, bytes)),
        2 => (0usize..8, 0u8..3).prop_map(|(stage, word)| Edit::Word(stage, word)),
        1 => (0usize..8).prop_map(Edit::Remove),
        1 => (0usize..8).prop_map(Edit::Scribble),
        1 => (0..SOURCES).prop_map(Edit::Touch),
        1 => Just(Edit::Rearrange),
    ];
    prop::collection::vec(edit, 1..6)
}

fn definition(stages: &[Stage], rearranged: bool) -> String {
    let mut sections: Vec<String> = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        let mut inputs: Vec<String> = stage.stages.iter().map(|stage| format!("out/{stage}")).collect();
        inputs.extend(stage.sources.iter().map(|source| format!("src/{source}")));
        let quoted: Vec<String> = inputs.iter().map(|input| format!("\"{input}\"")).collect();
        let mut section = format!("[stages.s{at}]\n");
        // The sum keeps outputs short, and the modulus makes early cutoff happen.
        writeln!(
            section,
            "run = \"(echo {}; cat {} /dev/null) | cksum | awk '{{ print \\\"stage {at}\\\", $1 % 3 }}' > out/{at}\"",
            stage.word,
            inputs.join(" ")
        )
        .unwrap();
        writeln!(section, "inputs = [{}]\noutputs = [\"out/{at}\"]\n", quoted.join(", ")).unwrap();
        sections.push(section);
    }
    if rearranged {
        sections.reverse();
        sections.insert(0, "# another layout\n\n".to_owned());
    }
    sections.concat()
}

#[derive(Default)]
struct Oracle {
    /// For each stage's output path, command and input bytes: what came of it.
    known: HashSet<(usize, u8, Vec<String>)>,
}

impl Oracle {
    /// Says which stages run, from the bytes that a build from scratch gives.
    fn runs(
        &mut self,
        stages: &[Stage],
        sources: &[u8],
        outputs: &HashMap<usize, String>,
    ) -> BTreeMap<usize, bool> {
        stages
            .iter()
            .enumerate()
            .map(|(at, stage)| {
                let mut read: Vec<String> = stage.stages.iter().map(|stage| outputs[stage].clone()).collect();
                read.extend(stage.sources.iter().map(|source| format!("{source}:{}", sources[*source])));
                // Which files are read counts, not only what is in them.
                read.push(format!("{:?} {:?}", stage.stages, stage.sources));
                (at, self.known.insert((at, stage.word, read)))
            })
            .collect()
    }
}

fn write_sources(project: &Project, sources: &[u8]) {
    for (at, bytes) in sources.iter().enumerate() {
        project.write(&format!("src/{at}"), format!("source {bytes}\n"));
    }
}

fn outputs(project: &Project, stages: &[Stage]) -> HashMap<usize, String> {
    (0..stages.len()).map(|at| (at, project.read(&format!("out/{at}")))).collect()
}

fn from_scratch(stages: &[Stage], sources: &[u8]) -> HashMap<usize, String> {
    let project = Project::with_pipeline(BINARY, &definition(stages, false));
    write_sources(&project, sources);
    project.cairn(&["run"]).expect(0);
    outputs(&project, stages)
}

fn check(mut stages: Vec<Stage>, edits: &[Edit]) {
    let project = Project::with_pipeline(BINARY, &definition(&stages, false));
    let mut sources = vec![0u8; SOURCES];
    let (mut oracle, mut rearranged) = (Oracle::default(), false);
    write_sources(&project, &sources);
    for edit in std::iter::once(None).chain(edits.iter().map(Some)) {
        match edit {
            None => {}
            Some(Edit::Source(source, bytes)) => {
                sources[*source] = *bytes;
                write_sources(&project, &sources);
            }
            Some(Edit::Word(stage, word)) => {
                let at = stage % stages.len();
                stages[at].word = *word;
            }
            Some(Edit::Remove(stage)) => {
                project.remove(&format!("out/{}", stage % stages.len()));
            }
            Some(Edit::Scribble(stage)) => {
                project.write(&format!("out/{}", stage % stages.len()), "scribble");
            }
            Some(Edit::Touch(source)) => {
                project.write(&format!("src/{source}"), format!("source {}\n", sources[*source]));
            }
            Some(Edit::Rearrange) => rearranged = !rearranged,
        }
        project.write("pipeline.toml", definition(&stages, rearranged));
        let outcome = project.cairn(&["run", "--json"]).expect(0);
        let outcomes = cairn_testkit::outcomes(&outcome.stdout);
        let expected = from_scratch(&stages, &sources);
        assert_eq!(
            outputs(&project, &stages),
            expected,
            "after {edit:?} the outputs differ from a build from scratch"
        );
        for (at, runs) in oracle.runs(&stages, &sources, &expected) {
            let outcome = &outcomes[&format!("s{at}")];
            assert_eq!(outcome == "RAN", runs, "after {edit:?}, stage {at} of {stages:#?} is {outcome}");
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: if std::env::var_os("CAIRN_PROOF").is_some() { 200 } else { 12 }, ..Config::default() })]

    #[test]
    fn what_runs_is_what_the_oracle_says(stages in stages(), edits in edits()) {
        check(stages, &edits);
    }
}
