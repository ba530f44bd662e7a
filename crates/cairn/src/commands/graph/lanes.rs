//! A graph as rows of a terminal: an order in which its lines stay short, and the lanes they run in.
//!
//! Nodes are numbers; `needs[n]` are those that `n` waits for, sorted.

/// Returns the nodes so that each stands after all it needs, and near what it needs: lines stay short. Of those that
/// are ready the next is one that continues the line drawn last, else the first.
pub(super) fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (node, needs) in needs.iter().enumerate() {
        for need in needs {
            dependents[*need].push(node);
        }
    }
    // When each was drawn; the newest need of a ready node tells how long its line would be.
    let mut drawn: Vec<usize> = vec![0; needs.len()];
    let mut ready: Vec<usize> = (0..needs.len()).filter(|node| open[*node] == 0).collect();
    let mut order = Vec::with_capacity(needs.len());
    while !ready.is_empty() {
        let newest = |node: usize| needs[node].iter().map(|need| drawn[*need]).max().unwrap_or(0);
        let (at, _) = ready
            .iter()
            .enumerate()
            .max_by_key(|(_, node)| (newest(**node), std::cmp::Reverse(**node)))
            .expect("something is ready");
        let node = ready.remove(at);
        order.push(node);
        drawn[node] = order.len();
        for next in &dependents[node] {
            open[*next] -= 1;
            if open[*next] == 0 {
                ready.push(*next);
            }
        }
    }
    order
}

/// Returns `needs` without those that are implied: where `c` needs `b` and `a`, and `b` needs `a`, the line from `a` to
/// `c` says nothing new. Nodes must be numbered so that each comes after what it needs.
pub(super) fn reduce(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let words = needs.len().div_ceil(64);
    let mut above: Vec<Vec<u64>> = Vec::with_capacity(needs.len());
    let has = |set: &[u64], node: usize| set[node / 64] >> (node % 64) & 1 == 1;
    let mut reduced = Vec::with_capacity(needs.len());
    for direct in needs {
        let mut all = vec![0; words];
        let mut kept = Vec::new();
        // Whoever implies a need comes after it.
        for need in direct.iter().rev() {
            if has(&all, *need) {
                continue;
            }
            kept.push(*need);
            all[need / 64] |= 1 << (need % 64);
            for (word, more) in all.iter_mut().zip(&above[*need]) {
                *word |= more;
            }
        }
        kept.reverse();
        reduced.push(kept);
        above.push(all);
    }
    reduced
}

/// What stands in one cell of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Nothing.
    Empty,
    /// The row's node.
    Node,
    /// Lines that leave the cell's middle: up, down, left, right.
    Lines {
        /// To the row above.
        up: bool,
        /// To the row below.
        down: bool,
        /// To the left.
        left: bool,
        /// To the right.
        right: bool,
    },
    /// A line from top to bottom that passes over one from left to right.
    Crossing,
}

/// One row: the cells of a node's lanes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Cells from the left.
    pub(super) cells: Vec<Cell>,
    /// Between which cells a line runs: `joined[n]` from cell `n` to the next.
    pub(super) joined: Vec<bool>,
}

/// Draws a row for each node. A lane belongs to a node and runs from it down to the last node that needs it. Nodes must
/// be numbered so that each comes after what it needs.
pub(super) fn rows(needs: &[Vec<usize>]) -> Vec<Row> {
    let mut last_use: Vec<Option<usize>> = vec![None; needs.len()];
    for (node, needs) in needs.iter().enumerate() {
        for need in needs {
            last_use[*need] = Some(node);
        }
    }
    let mut lanes: Vec<Option<usize>> = Vec::new();
    // A lane whose last line ended in the row above: a node right below would look connected.
    let mut just_ended: Vec<bool> = Vec::new();
    let mut rows = Vec::with_capacity(needs.len());
    for (node, needs) in needs.iter().enumerate() {
        let ends = |need: usize| last_use[need] == Some(node);
        let sources: Vec<usize> = (0..lanes.len())
            .filter(|lane| lanes[*lane].is_some_and(|owner| needs.contains(&owner)))
            .collect();
        // Straight down from a lane that ends here, else in the first that is free.
        let straight = sources.iter().copied().find(|lane| lanes[*lane].is_some_and(ends));
        let free = |lane: &usize| lanes[*lane].is_none() && !just_ended[*lane];
        let own = straight.or_else(|| (0..lanes.len()).find(free)).unwrap_or(lanes.len());
        if own == lanes.len() {
            lanes.push(None);
            just_ended.push(false);
        }
        let leftmost = sources.iter().copied().chain([own]).min().unwrap_or(own);
        let rightmost = sources.iter().copied().chain([own]).max().unwrap_or(own);
        let crossed = |lane: usize| leftmost <= lane && lane < rightmost;
        let cells = (0..lanes.len())
            .map(|lane| {
                let (left, right) = (lane > 0 && crossed(lane - 1), crossed(lane));
                match lanes[lane] {
                    _ if lane == own => Cell::Node,
                    Some(owner) if sources.contains(&lane) => {
                        // Away from the node the line comes from further out, or from nowhere.
                        Cell::Lines { up: true, down: !ends(owner), left, right }
                    }
                    Some(_) if left && right => Cell::Crossing,
                    Some(_) => Cell::Lines { up: true, down: true, left: false, right: false },
                    None if left && right => Cell::Lines { up: false, down: false, left, right },
                    None => Cell::Empty,
                }
            })
            .collect();
        let joined = (0..lanes.len()).map(crossed).collect();
        rows.push(Row { cells, joined });
        just_ended.fill(false);
        for lane in sources {
            if lanes[lane].is_some_and(ends) {
                lanes[lane] = None;
            }
        }
        if last_use[node].is_some() {
            lanes[own] = Some(node);
        } else {
            lanes[own] = None;
            just_ended[own] = true;
        }
    }
    rows
}
