//! `cairn graph`: the picture of a pipeline, with states.

mod dot;
mod lanes;
mod mermaid;
mod text;

use std::collections::BTreeMap;

use cairn_dag::Pipeline;
use cairn_model::{Clock as _, Counts, Outcome};

use super::Context;
use crate::args::{Params, examples};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::{self, Past};
use crate::work::Given;

/// Draw a pipeline's stages, how they depend on each other, and how they ended in the last run.
///
/// A matrix is one node: `carrier ×16`. A line that others already imply is left out of the picture.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn graph", "for the terminal"),
    ("cairn graph flights --format dot | dot -Tsvg > flights.svg", "with Graphviz"),
    ("cairn graph --format mermaid", "for a Markdown page"),
]))]
pub(crate) struct Args {
    /// The pipeline: a file, a folder with a `pipeline.toml`, or a name; not needed where there is only one
    #[arg(value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    params: Params,
    /// What to draw it in
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// Print it as a JSON object on a line
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// Lines and dots for a terminal.
    #[default]
    Text,
    /// The language of Graphviz.
    Dot,
    /// The language of Mermaid, which GitHub and others draw.
    Mermaid,
}

/// A pipeline's stages, those before that they wait for.
#[derive(Debug)]
struct Picture {
    pipeline: String,
    /// In an order in which they can run.
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    description: String,
    instances: usize,
    /// Indices of the stages it waits for directly, sorted.
    needs: Vec<usize>,
    /// `needs` without those that others of them wait for anyway.
    drawn_needs: Vec<usize>,
    /// Its instances by outcome in the last run, `None` where there was none.
    outcomes: Option<Counts>,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let definition = context.pipeline(args.file.as_ref())?.read()?;
    let state = definition.state.clone();
    let given = Given {
        params: args.params.params.clone(),
        logical_time: context.clock.now(),
        interval: None,
        run: None,
    };
    let checked = definition.check(&given, context.terminal.stderr.report_style())?;
    let mut picture = Picture::of(&checked.pipeline);
    if let Some(past) = Past::open_state(&state)? {
        picture.add_outcomes(&past)?;
    }
    let text = match (args.json, args.format) {
        (true, _) => json::line(&picture.wire()),
        (false, Format::Text) => text::draw(&picture, context.terminal.stdout),
        (false, Format::Dot) => dot::draw(&picture),
        (false, Format::Mermaid) => mermaid::draw(&picture),
    };
    context.print(&text)?;
    Ok(ExitStatus::Done)
}

impl Picture {
    /// Folds instances into their stages.
    fn of(pipeline: &Pipeline) -> Self {
        let needs: Vec<Vec<usize>> = pipeline
            .stages
            .iter()
            .enumerate()
            .map(|(at, stage)| {
                let instances =
                    &pipeline.instances[stage.instances.start as usize..stage.instances.end as usize];
                let needed = instances.iter().flat_map(|instance| &instance.needs);
                let mut needs: Vec<usize> =
                    needed.map(|need| pipeline.instances[*need as usize].stage as usize).collect();
                needs.sort_unstable();
                needs.dedup();
                // Instances of one stage may wait for each other; that is no line between two nodes.
                needs.retain(|need| *need != at);
                needs
            })
            .collect();
        let order = lanes::order(&needs);
        let mut place = vec![0; order.len()];
        for (at, stage) in order.iter().enumerate() {
            place[*stage] = at;
        }
        let needs: Vec<Vec<usize>> = order
            .iter()
            .map(|stage| {
                let mut needs: Vec<usize> = needs[*stage].iter().map(|need| place[*need]).collect();
                needs.sort_unstable();
                needs
            })
            .collect();
        let drawn = lanes::reduce(&needs);
        let stages = order.iter().zip(needs).zip(drawn).map(|((stage, needs), drawn_needs)| {
            let stage = &pipeline.stages[*stage];
            Stage {
                name: stage.name.to_string(),
                description: stage.description.clone(),
                instances: stage.instances.len(),
                needs,
                drawn_needs,
                outcomes: None,
            }
        });
        Self { pipeline: pipeline.name.to_string(), stages: stages.collect() }
    }

    /// Adds how the stages ended in the pipeline's last run.
    fn add_outcomes(&mut self, past: &Past) -> Result<(), Failure> {
        let runs = past.store.runs(usize::MAX).map_err(past::damaged)?;
        let Some((id, _)) = runs.iter().find(|(_, record)| record.pipeline.as_str() == self.pipeline) else {
            return Ok(());
        };
        let run = past.run(*id)?;
        let mut by_stage: BTreeMap<&str, Counts> = BTreeMap::new();
        for instance in &run.history.instances {
            if let Some(outcome) = instance.state.outcome() {
                by_stage.entry(instance.name.stage().as_str()).or_default().add(outcome);
            }
        }
        for stage in &mut self.stages {
            stage.outcomes = by_stage.get(stage.name.as_str()).copied();
        }
        Ok(())
    }

    fn wire(&self) -> json::Graph {
        let node = |stage: &Stage| json::Node {
            stage: stage.name.clone(),
            description: stage.description.clone(),
            instances: stage.instances,
            needs: stage.needs.iter().map(|need| self.stages[*need].name.clone()).collect(),
            outcomes: stage.outcomes.map(Into::into),
        };
        json::Graph {
            schema: json::Graph::SCHEMA,
            pipeline: self.pipeline.clone(),
            nodes: self.stages.iter().map(node).collect(),
        }
    }
}

impl Stage {
    /// Returns name and number of instances: `carrier ×16`.
    fn label(&self) -> String {
        if self.instances == 1 { self.name.clone() } else { format!("{} ×{}", self.name, self.instances) }
    }

    /// Returns the outcome that counts for the stage as a whole: the worst of its instances.
    fn outcome(&self) -> Option<Outcome> {
        let counts = self.outcomes?;
        [Outcome::InDoubt, Outcome::Failed, Outcome::Blocked, Outcome::Ran, Outcome::Restored, Outcome::Fresh]
            .into_iter()
            .find(|outcome| counts.of(*outcome) > 0)
    }
}

#[cfg(test)]
mod tests;
