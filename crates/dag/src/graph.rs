//! Who waits for whom, held by petgraph.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};

use petgraph::Directed;
use petgraph::algo::kosaraju_scc;
use petgraph::csr::Csr;
use petgraph::graph::DiGraph;

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
        let forward: Vec<(u32, u32)> = (0..nodes)
            .zip(needs)
            .flat_map(|(node, list)| list.iter().map(move |need| (node, *need)))
            .collect();
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

impl Graph {
    /// Returns for each knot of nodes that wait for each other its shortest circle: each node waits for the next, the last
    /// for the first. A circle begins with its first node in the file.
    pub(crate) fn cycles(&self) -> Vec<Vec<u32>> {
        let mut knotted = vec![true; self.needs.node_count()];
        for node in &self.order {
            knotted[*node as usize] = false;
        }
        let nodes = self.needs.node_count() - self.order.len();
        if nodes == 0 {
            return Vec::new();
        }
        // Only what is left over: a knot and what comes after it.
        let mut graph: DiGraph<u32, (), u32> = DiGraph::with_capacity(nodes, nodes);
        let mut indices = HashMap::with_capacity(nodes);
        for (node, _) in (0..).zip(&knotted).filter(|(_, knotted)| **knotted) {
            indices.insert(node, graph.add_node(node));
        }
        for (node, index) in &indices {
            for need in self.needs(*node) {
                if let Some(need) = indices.get(need) {
                    graph.add_edge(*index, *need, ());
                }
            }
        }
        // Kosaraju's rather than Tarjan's: petgraph's of the latter recurses, and a chain may be a million long.
        let mut cycles: Vec<Vec<u32>> = kosaraju_scc(&graph)
            .into_iter()
            .filter(|knot| knot.len() > 1 || graph.contains_edge(knot[0], knot[0]))
            .map(|knot| self.shortest_cycle(knot.iter().map(|index| graph[*index]).collect()))
            .collect();
        cycles.sort_unstable();
        cycles
    }

    /// Searches breadth first from each node of a knot, as long as that is cheap; from the first in any case.
    fn shortest_cycle(&self, mut knot: Vec<u32>) -> Vec<u32> {
        const STEPS_MAX: usize = 100_000;
        knot.sort_unstable();
        let members: HashSet<u32> = knot.iter().copied().collect();
        let (mut best, mut steps): (Option<Vec<u32>>, usize) = (None, 0);
        for start in &knot {
            if best.is_some() && steps > STEPS_MAX {
                break;
            }
            let mut came_from: HashMap<u32, u32> = HashMap::new();
            let mut open = VecDeque::from([*start]);
            'search: while let Some(node) = open.pop_front() {
                for need in self.needs(node) {
                    steps += 1;
                    if need == start {
                        let mut path = vec![node];
                        while let Some(before) =
                            path.last().filter(|last| *last != start).map(|last| came_from[last])
                        {
                            path.push(before);
                        }
                        path.reverse();
                        if best.as_ref().is_none_or(|best| path.len() < best.len()) {
                            best = Some(path);
                        }
                        break 'search;
                    }
                    if members.contains(need) && !came_from.contains_key(need) {
                        came_from.insert(*need, node);
                        open.push_back(*need);
                    }
                }
            }
        }
        best.expect("each node of a knot lies on a circle")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `(node, what it needs)` of a diamond with a tail, written backwards, and a node apart.
    fn diamond() -> Graph {
        let needs: [&[u32]; 6] = [&[1, 2], &[3], &[3], &[], &[0], &[]];
        Graph::from_needs(&needs)
    }

    #[test]
    fn a_diamond() {
        let graph = diamond();
        assert_eq!(graph.order(), [3, 1, 2, 0, 4, 5]);
        assert_eq!(graph.dependents(3), [1, 2]);
        assert_eq!(graph.needs(0), [1, 2]);
        assert_eq!(graph.dependents(5), [0; 0]);
        assert_eq!(graph.upstream_closure(&[1]), [false, true, false, true, false, false]);
        assert_eq!(graph.downstream_closure(&[1]), [true, true, false, false, true, false]);
        assert!(graph.cycles().is_empty());
    }

    #[test]
    fn the_critical_path_is_the_longest_way_to_an_end() {
        let durations = [1, 10, 100, 1_000, 10_000, 7];
        assert_eq!(diamond().critical_path_ms(&durations), [10_001, 10_011, 10_101, 11_101, 10_000, 7]);
        assert_eq!(diamond().critical_path_ms(&[u64::MAX; 6])[3], u64::MAX);
    }

    #[test]
    fn each_knot_shows_its_shortest_circle() {
        // 0 → 1 → 2 → 3 → 0 with the short cut 2 → 1; 4 waits for the knot; 5 → 6 → 5.
        let needs: [&[u32]; 7] = [&[1], &[2], &[1, 3], &[0], &[0], &[6], &[5]];
        assert_eq!(Graph::from_needs(&needs).cycles(), [vec![1, 2], vec![5, 6]]);
    }

    #[test]
    fn no_nodes() {
        let graph = Graph::from_needs(&[]);
        assert!(graph.order().is_empty() && graph.critical_path_ms(&[]).is_empty());
    }
}
