//! Who waits for whom, held by petgraph.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::Directed;
use petgraph::csr::Csr;

use crate::Pipeline;

/// The instances of a pipeline and their dependencies. Nodes are indices into [`Pipeline::instances`].
///
/// Both directions are kept as compressed rows, so that the neighbours of a node are a slice.
#[derive(Debug, Clone)]
pub struct Graph {
    needs: Csr<(), (), Directed, u32>,
    dependents: Csr<(), (), Directed, u32>,
    order: Vec<u32>,
}

impl Graph {
    /// Builds the graph of a checked pipeline.
    pub fn new(pipeline: &Pipeline) -> Self {
        let needs: Vec<&[u32]> =
            pipeline.instances.iter().map(|instance| instance.needs.as_slice()).collect();
        Self::from_needs(&needs)
    }

    /// Builds the graph of nodes that each need the listed ones; lists are sorted, without repeats.
    pub(crate) fn from_needs(needs: &[&[u32]]) -> Self {
        let nodes = u32::try_from(needs.len()).expect("a pipeline has at most a million instances");
        let forward: Vec<(u32, u32)> =
            (0..nodes).zip(needs).flat_map(|(node, list)| list.iter().map(move |need| (node, *need))).collect();
        let mut backward: Vec<(u32, u32)> = forward.iter().map(|(node, need)| (*need, *node)).collect();
        backward.sort_unstable();
        let (needs, dependents) = (rows(&forward, needs.len()), rows(&backward, needs.len()));
        let order = order(&needs, &dependents);
        Self { needs, dependents, order }
    }

    /// Returns the instances so that each stands after all it needs, and else in the order of the file.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Returns what waits for an instance directly, sorted.
    pub fn dependents(&self, instance: u32) -> &[u32] {
        self.dependents.neighbors_slice(instance)
    }

    /// Returns what an instance waits for directly, sorted.
    pub fn needs(&self, instance: u32) -> &[u32] {
        self.needs.neighbors_slice(instance)
    }

    /// Marks the given instances and all they wait for, directly or not.
    pub fn upstream_closure(&self, of: &[u32]) -> Vec<bool> {
        closure(&self.needs, of)
    }

    /// Marks the given instances and all that waits for them, directly or not.
    pub fn downstream_closure(&self, of: &[u32]) -> Vec<bool> {
        closure(&self.dependents, of)
    }

    /// Returns for each instance the longest way from its start to the end of the run, its own duration included.
    ///
    /// `durations` holds the milliseconds that each instance takes, in the order of the instances.
    pub fn critical_path_ms(&self, durations: &[u64]) -> Vec<u64> {
        let mut longest = durations.to_vec();
        for node in self.order.iter().rev() {
            let after = self.dependents(*node).iter().map(|next| longest[*next as usize]).max();
            let own = &mut longest[*node as usize];
            *own = own.saturating_add(after.unwrap_or(0));
        }
        longest
    }
}

fn rows(sorted: &[(u32, u32)], nodes: usize) -> Csr<(), (), Directed, u32> {
    let mut rows = Csr::from_sorted_edges(sorted).expect("edges are sorted and differ");
    // Nodes after the last that has an edge are unknown to it.
    while rows.node_count() < nodes {
        rows.add_node(());
    }
    rows
}

/// Kahn's algorithm; of the nodes that are ready the first in the file goes first. Nodes of a cycle are left out.
fn order(needs: &Csr<(), (), Directed, u32>, dependents: &Csr<(), (), Directed, u32>) -> Vec<u32> {
    let nodes = u32::try_from(needs.node_count()).expect("nodes are numbered by u32");
    let mut open: Vec<usize> = (0..nodes).map(|node| needs.out_degree(node)).collect();
    let mut ready: BinaryHeap<Reverse<u32>> =
        (0..nodes).filter(|node| open[*node as usize] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(open.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for next in dependents.neighbors_slice(node) {
            let open = &mut open[*next as usize];
            *open -= 1;
            if *open == 0 {
                ready.push(Reverse(*next));
            }
        }
    }
    order
}

fn closure(rows: &Csr<(), (), Directed, u32>, of: &[u32]) -> Vec<bool> {
    let mut marked = vec![false; rows.node_count()];
    let mut open = of.to_vec();
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut marked[node as usize], true) {
            open.extend(rows.neighbors_slice(node));
        }
    }
    marked
}
