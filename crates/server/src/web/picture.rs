//! A pipeline as a graph: which nodes it has, and the drawing of them with their states.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use cairn_dag::Pipeline;
use cairn_model::{RunId, Timestamp};
use cairn_scheduler::definition::{Definition, Given};
use cairn_scheduler::launch::interval_of;
use cairn_store::{RunRecord, Ticket};

use super::layout::{self, HEIGHT};
use super::markup::Markup;
use super::state::Look;
use crate::catalog::Entry;
use crate::daemon::{Daemon, lock};

/// Instances of one stage that have nodes of their own; more are one node.
const APART_MAX: usize = 4;
/// Instances of one stage that are unfolded at most; the table lists more.
pub(super) const UNFOLDED_MAX: usize = 60;
/// Nodes of a picture: of a pipeline with more, every stage is one.
const NODES_MAX: usize = 120;

/// Pipelines of runs that were looked at lately: a page that is looked at again draws the same one.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<VecDeque<(RunId, Arc<Pipeline>)>>);

/// Pipelines that are kept.
const KNOWN_MAX: usize = 16;

impl Known {
    /// Returns the pipeline of a run as its definition makes it, `None` where it no longer does.
    pub(super) fn of_run(
        &self,
        daemon: &Daemon,
        run: RunId,
        record: Option<&RunRecord>,
        ticket: Option<&Ticket>,
    ) -> Option<Arc<Pipeline>> {
        if let Some((_, pipeline)) = lock(&self.0).iter().find(|(known, _)| *known == run) {
            return Some(Arc::clone(pipeline));
        }
        let (digest, file, name, params, logical_time) = match (record, ticket) {
            (Some(record), _) => {
                (record.definition, &record.file, &record.pipeline, &record.params, record.logical_time)
            }
            (None, Some(ticket)) => {
                (ticket.definition, &ticket.file, &ticket.pipeline, &ticket.params, ticket.logical_time)
            }
            (None, None) => return None,
        };
        let bytes = daemon.store().definition(&digest).ok()??;
        let definition = Definition::of_run(&daemon.root, &daemon.state, (file, name), bytes);
        let words = record.and_then(|record| interval_of(&record.selection));
        let interval = ticket.and_then(|ticket| ticket.interval).or(words);
        let given = Given { params: params.clone(), logical_time, interval, run: Some(run) };
        let pipeline = Arc::new(definition.load(&given).ok()?.pipeline);
        let mut known = lock(&self.0);
        known.truncate(KNOWN_MAX - 1);
        known.push_front((run, Arc::clone(&pipeline)));
        Some(pipeline)
    }
}

/// Returns the pipeline that is in force, with its params' defaults; `None` where its files are not as it needs them.
pub(super) fn in_force(entry: &Entry, now: Timestamp) -> Option<Pipeline> {
    let given = Given { params: Vec::new(), logical_time: now, interval: None, run: None };
    let definition = entry.located.with_text(entry.text.to_vec());
    Some(definition.load(&given).ok()?.pipeline)
}

/// A node of a picture: one instance, or all of a stage.
pub(super) struct Node {
    /// The instance's name, or the stage's with how many there are.
    pub(super) label: String,
    pub(super) stage: String,
    /// Indices of its instances.
    pub(super) instances: Vec<usize>,
}

/// The nodes of a pipeline, and what each stands after: without what others of these stand after anyway.
pub(super) struct Shape {
    pub(super) nodes: Vec<Node>,
    pub(super) needs: Vec<Vec<usize>>,
}

impl Shape {
    /// Makes the nodes; the instances of the stage `unfolded` have nodes of their own, as far as there is room.
    pub(super) fn of(pipeline: &Pipeline, unfolded: &str) -> Self {
        let few = pipeline.instances.len() <= NODES_MAX;
        let mut nodes = Vec::new();
        let mut node_of = vec![0; pipeline.instances.len()];
        for stage in &pipeline.stages {
            let instances = stage.instances.start as usize..stage.instances.end as usize;
            let is_unfolded = stage.name.as_str() == unfolded && instances.len() <= UNFOLDED_MAX;
            if (instances.len() <= APART_MAX && few) || is_unfolded {
                for instance in instances {
                    node_of[instance] = nodes.len();
                    let name = &pipeline.instances[instance].name;
                    nodes.push(Node {
                        label: name.to_string(),
                        stage: stage.name.to_string(),
                        instances: vec![instance],
                    });
                }
            } else {
                node_of[instances.clone()].fill(nodes.len());
                let label = if instances.len() == 1 {
                    stage.name.to_string()
                } else {
                    format!("{} ×{}", stage.name, instances.len())
                };
                nodes.push(Node { label, stage: stage.name.to_string(), instances: instances.collect() });
            }
        }
        let needs: Vec<Vec<usize>> = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| {
                let needed = node.instances.iter().flat_map(|instance| &pipeline.instances[*instance].needs);
                let mut needs: Vec<usize> = needed.map(|need| node_of[*need as usize]).collect();
                needs.sort_unstable();
                needs.dedup();
                needs.retain(|need| *need != at);
                needs
            })
            .collect();
        Self { needs: reduced(&needs), nodes }
    }
}

/// Leaves out what others that are needed stand after anyway.
fn reduced(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let reached = |from: usize, skip: usize| {
        let mut seen = vec![false; needs.len()];
        let mut open: Vec<usize> = needs[from].iter().copied().filter(|need| *need != skip).collect();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                open.extend(&needs[at]);
            }
        }
        seen[skip]
    };
    (0..needs.len())
        .map(|at| needs[at].iter().copied().filter(|need| !reached(at, *need)).collect())
        .collect()
}

/// Returns the stages of which all instances are one node, with how many they are; those of more than [`UNFOLDED_MAX`]
/// stay one.
pub(super) fn foldable(pipeline: &Pipeline) -> Vec<(String, usize)> {
    let few = pipeline.instances.len() <= NODES_MAX;
    let counted = pipeline
        .stages
        .iter()
        .map(|stage| (stage.name.to_string(), (stage.instances.end - stage.instances.start) as usize));
    counted.filter(|(_, count)| *count > 1 && (*count > APART_MAX || !few)).collect()
}

/// How a node looks.
pub(super) struct Dress {
    pub(super) look: Look,
    /// A second line.
    pub(super) note: String,
    pub(super) href: String,
}

/// Characters of a label that have room in a node.
const LABEL: usize = 19;
const NOTE: usize = 25;
/// How wide a node is at least, so that what a stage becomes does not move the picture, and at most.
const NARROW: f64 = 136.0;
const WIDE: f64 = 184.0;
/// What a node is wide without its label, and a character of this.
const AROUND: f64 = 46.0;
const CHARACTER: f64 = 7.8;

/// Returns how wide a node is that its label has room in it.
fn width_of(label: &str) -> f64 {
    let characters = u32::try_from(label.chars().count().min(LABEL)).unwrap_or(0);
    (AROUND + f64::from(characters) * CHARACTER).clamp(NARROW, WIDE)
}

fn short(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

/// Draws a graph: links in the order of the nodes, each named in full for those who hear it.
pub(super) fn draw(shape: &Shape, name: &str, dress: &dyn Fn(&Node) -> Dress) -> Markup {
    let widths: Vec<f64> = shape.nodes.iter().map(|node| width_of(&node.label)).collect();
    let layout = layout::lay_out(&shape.needs, &widths);
    let mut svg = Markup::default();
    if shape.nodes.is_empty() {
        return svg;
    }
    let dressed: Vec<Dress> = shape.nodes.iter().map(dress).collect();
    let (width, height) = (layout.width.ceil(), layout.height.ceil());
    svg.html("<svg class=\"graph\" role=\"group\"").attribute("aria-label", format!("Graph of {name}"));
    svg.attribute("width", width).attribute("height", height);
    svg.attribute("viewBox", format!("0 0 {width} {height}")).html("><g aria-hidden=\"true\">");
    for line in &layout.lines {
        let (from, to) = (layout.nodes[line.from], layout.nodes[line.to]);
        let (mut x, mut y) = (from.0 + layout.widths[line.from], from.1 + HEIGHT / 2.0);
        let mut path = format!("M{x:.1} {y:.1}");
        let mut curve = |u: f64, v: f64, end: f64| {
            use std::fmt::Write as _;
            let middle = f64::midpoint(x, u);
            // Writing to a string cannot fail.
            let _ = write!(path, "C{middle:.1} {y:.1} {middle:.1} {v:.1} {u:.1} {v:.1}");
            if end > u {
                let _ = write!(path, "H{end:.1}");
            }
            (x, y) = (end, v);
        };
        for (left, right, height) in &line.passes {
            curve(*left, *height, *right);
        }
        curve(to.0, to.1 + HEIGHT / 2.0, to.0);
        svg.html("<path class=\"edge ")
            .html(dressed[line.from].look.class)
            .html("\"")
            .attribute("d", path)
            .html("/>");
    }
    svg.html("</g>");
    let places = layout.nodes.iter().zip(&layout.widths);
    for ((node, dress), ((x, y), wide)) in shape.nodes.iter().zip(&dressed).zip(places) {
        let said = if dress.note.starts_with(dress.look.word) {
            format!("{}, {}", node.label, dress.note)
        } else {
            format!("{}, {}: {}", node.label, dress.look.word, dress.note)
        };
        svg.html("<a class=\"node ").html(dress.look.class).html("\"").attribute("href", &dress.href);
        svg.html("><title>").text(&said).html("</title><g aria-hidden=\"true\"><rect");
        svg.attribute("x", x)
            .attribute("y", y)
            .attribute("width", wide)
            .attribute("height", HEIGHT)
            .html(" rx=\"9\"/>");
        svg.html("<text class=\"sign\" text-anchor=\"middle\"")
            .attribute("x", x + 18.0)
            .attribute("y", y + 28.0)
            .html(">");
        svg.html(dress.look.sign).html("</text><text class=\"name\"").attribute("x", x + 34.0);
        svg.attribute("y", y + if dress.note.is_empty() { 28.0 } else { 20.0 })
            .html(">")
            .text(short(&node.label, LABEL))
            .html("</text>");
        if !dress.note.is_empty() {
            svg.html("<text class=\"note\"").attribute("x", x + 34.0).attribute("y", y + 36.0).html(">");
            svg.text(short(&dress.note, if *wide < WIDE { NOTE * 2 / 3 } else { NOTE })).html("</text>");
        }
        svg.html("</g></a>");
    }
    svg.html("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_others_imply_is_left_out() {
        assert_eq!(reduced(&[vec![], vec![0], vec![0, 1]]), [vec![], vec![0], vec![1]]);
    }

    #[test]
    fn names_are_escaped_in_the_drawing() {
        let node = Node { label: "</svg><script>".to_owned(), stage: String::new(), instances: vec![0] };
        let shape = Shape { nodes: vec![node], needs: vec![vec![]] };
        let dress = |_: &Node| Dress {
            look: super::super::state::WAITING,
            note: "\"<".to_owned(),
            href: "/x\"y".to_owned(),
        };
        let svg = draw(&shape, "<p>", &dress).to_string();
        assert!(!svg.contains("<script") && !svg.contains("\"<\"") && !svg.contains("x\"y"), "{svg}");
    }
}
