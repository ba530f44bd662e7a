//! Where the nodes of a graph stand: in layers from left to right, each after all that it needs.
//!
//! Longest paths give the layers; lines over several layers get a place in each of them, so that none runs through a node;
//! the order in a layer is that of the means of the neighbours (Sugiyama's method), and the heights are the nearest to
//! those means that keep the order and the distances (pool adjacent violators).

/// Height of a node.
pub(super) const HEIGHT: f64 = 46.0;
/// Between layers, and between nodes of one.
const GAP: (f64, f64) = (52.0, 16.0);
/// Height of the place that a line has in a layer it passes.
const LANE: f64 = 10.0;
/// Free space around everything.
const EDGE: f64 = 10.0;
/// Sweeps over the layers; the best order is kept.
const SWEEPS: usize = 16;

/// A graph with places.
pub(super) struct Layout {
    /// The left upper corner of each node.
    pub(super) nodes: Vec<(f64, f64)>,
    /// How wide each is.
    pub(super) widths: Vec<f64>,
    pub(super) lines: Vec<Line>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A line between two nodes.
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Where it passes layers: the left and the right end of a level piece, and its height.
    pub(super) passes: Vec<(f64, f64, f64)>,
}

/// What has a place in a layer: a node, or a line that passes.
#[derive(Debug, Clone, Default)]
struct Item {
    layer: usize,
    height: f64,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// Lays a graph out; `needs` says for each node what it stands after, `widths` how wide it has to be: a layer is as wide as
/// the widest of its nodes, and all of them are. Of a circle one line is not minded.
pub(super) fn lay_out(needs: &[Vec<usize>], widths: &[f64]) -> Layout {
    let layer = layers(needs);
    let mut items: Vec<Item> =
        layer.iter().map(|layer| Item { layer: *layer, height: HEIGHT, ..Item::default() }).collect();
    let mut chains = Vec::new();
    for (to, needs) in needs.iter().enumerate() {
        for &from in needs.iter().filter(|from| layer[**from] < layer[to]) {
            let mut chain = Vec::new();
            let mut last = from;
            for layer in layer[from] + 1..layer[to] {
                items.push(Item { layer, height: LANE, ..Item::default() });
                let lane = items.len() - 1;
                join(&mut items, last, lane);
                chain.push(lane);
                last = lane;
            }
            join(&mut items, last, to);
            chains.push((from, to, chain));
        }
    }
    let count = layer.iter().max().map_or(0, |last| last + 1);
    let order = ordered(&items, count);
    let heights = heights(&items, &order);
    let mut wide = vec![0.0_f64; count];
    for (layer, width) in layer.iter().zip(widths) {
        wide[*layer] = wide[*layer].max(*width);
    }
    let x = |layer: usize| EDGE + wide[..layer].iter().map(|wide| wide + GAP.0).sum::<f64>();
    let top = (0..items.len()).map(|at| heights[at] - items[at].height / 2.0).fold(f64::INFINITY, f64::min);
    let y = |at: usize| heights[at] - top + EDGE;
    let bottom = (0..items.len()).map(|at| y(at) + items[at].height / 2.0).fold(0.0, f64::max);
    let lines = chains.into_iter().map(|(from, to, chain)| {
        let passes = chain.into_iter().map(|lane| {
            let left = x(items[lane].layer);
            (left, left + wide[items[lane].layer], y(lane))
        });
        Line { from, to, passes: passes.collect() }
    });
    Layout {
        lines: lines.collect(),
        nodes: (0..needs.len()).map(|at| (x(layer[at]), y(at) - HEIGHT / 2.0)).collect(),
        widths: layer.iter().map(|layer| wide[*layer]).collect(),
        width: x(count) - GAP.0 + EDGE,
        height: bottom + EDGE,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture has no 2^52 layers")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

fn join(items: &mut [Item], from: usize, to: usize) {
    items[from].after.push(to);
    items[to].before.push(from);
}

/// Returns each node's layer: one more than the greatest of what it needs. What needs nothing stands just before the first
/// that needs it.
fn layers(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut layer = vec![0_usize; needs.len()];
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut after = vec![Vec::new(); needs.len()];
    for (to, needs) in needs.iter().enumerate() {
        for &from in needs {
            after[from].push(to);
        }
    }
    let mut done = vec![false; needs.len()];
    let mut ready: Vec<usize> = (0..needs.len()).rev().filter(|at| open[*at] == 0).collect();
    for _ in 0..needs.len() {
        // In a circle nothing is ready: the first of it goes as it is.
        let Some(at) = ready.pop().or_else(|| done.iter().position(|done| !done)) else { break };
        if std::mem::replace(&mut done[at], true) {
            continue;
        }
        for &to in after[at].iter().filter(|to| !done[**to]) {
            layer[to] = layer[to].max(layer[at] + 1);
            open[to] = open[to].saturating_sub(1);
            if open[to] == 0 {
                ready.push(to);
            }
        }
    }
    for at in 0..needs.len() {
        if needs[at].is_empty()
            && let Some(first) = after[at].iter().map(|to| layer[*to]).min()
        {
            layer[at] = first.saturating_sub(1);
        }
    }
    layer
}

/// Returns the items of each layer in an order with few crossings.
fn ordered(items: &[Item], count: usize) -> Vec<Vec<usize>> {
    let mut order = vec![Vec::new(); count];
    for (at, item) in items.iter().enumerate() {
        order[item.layer].push(at);
    }
    let mut place = vec![0; items.len()];
    let settle = |layer: &[usize], place: &mut Vec<usize>| {
        for (at, item) in layer.iter().enumerate() {
            place[*item] = at;
        }
    };
    for layer in &order {
        settle(layer, &mut place);
    }
    let mut best = (crossings(items, &order, &place), order.clone());
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        let layers: Vec<usize> = if forward { (0..count).collect() } else { (0..count).rev().collect() };
        for layer in layers {
            let mean = |item: &usize| {
                let near = if forward { &items[*item].before } else { &items[*item].after };
                if near.is_empty() {
                    return as_f64(place[*item]);
                }
                near.iter().map(|at| as_f64(place[*at])).sum::<f64>() / as_f64(near.len())
            };
            let mut keyed: Vec<(f64, usize)> = order[layer].iter().map(|item| (mean(item), *item)).collect();
            keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
            order[layer] = keyed.into_iter().map(|(_, item)| item).collect();
            settle(&order[layer], &mut place);
        }
        let now = crossings(items, &order, &place);
        if now < best.0 {
            best = (now, order.clone());
        }
    }
    best.1
}

/// Counts how often lines cross between neighbouring layers.
fn crossings(items: &[Item], order: &[Vec<usize>], place: &[usize]) -> usize {
    let mut total = 0;
    for layer in order {
        let mut ends = Vec::new();
        for item in layer {
            let mut targets: Vec<usize> = items[*item].after.iter().map(|to| place[*to]).collect();
            targets.sort_unstable();
            ends.extend(targets);
        }
        for (at, end) in ends.iter().enumerate() {
            total += ends[..at].iter().filter(|earlier| *earlier > end).count();
        }
    }
    total
}

/// Returns the heights of the middles of all items.
fn heights(items: &[Item], order: &[Vec<usize>]) -> Vec<f64> {
    let mut heights = vec![0.0; items.len()];
    for layer in order {
        let mut at = 0.0;
        for item in layer {
            heights[*item] = at + items[*item].height / 2.0;
            at += items[*item].height + GAP.1;
        }
    }
    for sweep in 0..=SWEEPS {
        let forward = sweep % 2 == 0;
        // At last each goes by what stands before it alone: so a chain is a straight line.
        let last = sweep == SWEEPS;
        let layers: Box<dyn Iterator<Item = &Vec<usize>>> =
            if forward { Box::new(order.iter()) } else { Box::new(order.iter().rev()) };
        for layer in layers {
            let wanted = |item: &usize| {
                let Item { before, after, .. } = &items[*item];
                let after: &[usize] = if last { &[] } else { after };
                let near: Vec<f64> = before.iter().chain(after).map(|at| heights[*at]).collect();
                if near.is_empty() { heights[*item] } else { near.iter().sum::<f64>() / as_f64(near.len()) }
            };
            let wanted: Vec<f64> = layer.iter().map(wanted).collect();
            for (item, height) in layer.iter().zip(spread(items, layer, &wanted)) {
                heights[*item] = height;
            }
        }
    }
    heights
}

/// Returns the heights nearest to those wanted that keep the order and the distances of a layer.
fn spread(items: &[Item], layer: &[usize], wanted: &[f64]) -> Vec<f64> {
    // How far each stands below the first at least: without that, heights only must not fall.
    let mut below = Vec::with_capacity(layer.len());
    let mut at = 0.0;
    for (index, item) in layer.iter().enumerate() {
        if index > 0 {
            at += f64::midpoint(items[layer[index - 1]].height, items[*item].height) + GAP.1;
        }
        below.push(at);
    }
    // Blocks of neighbours that stand as close as they may: their mean, and how many.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (wanted, below) in wanted.iter().zip(&below) {
        let mut block = (wanted - below, 1);
        while let Some(last) = blocks.pop_if(|last| last.0 > block.0) {
            let count = last.1 + block.1;
            block = ((last.0 * as_f64(last.1) + block.0 * as_f64(block.1)) / as_f64(count), count);
        }
        blocks.push(block);
    }
    let flat = blocks.into_iter().flat_map(|(mean, count)| std::iter::repeat_n(mean, count));
    flat.zip(below).map(|(mean, below)| mean + below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_stand_after_what_they_need_and_none_on_another() {
        let needs = [vec![], vec![0], vec![0], vec![1, 2], vec![0, 3], vec![]];
        let layout = lay_out(&needs, &[100.0, 130.0, 184.0, 140.0, 100.0, 184.0]);
        assert!((layout.widths[1] - 184.0).abs() < 0.01, "those of one layer are as wide as the widest");
        for (to, needs) in needs.iter().enumerate() {
            for from in needs {
                assert!(layout.nodes[*from].0 + layout.widths[*from] < layout.nodes[to].0, "{from} {to}");
            }
        }
        for one in 0..needs.len() {
            for other in 0..one {
                let ((x, y), (u, v)) = (layout.nodes[one], layout.nodes[other]);
                let apart = if x < u { x + layout.widths[one] <= u } else { u + layout.widths[other] <= x };
                assert!(apart || (y - v).abs() >= HEIGHT, "{one} {other}");
            }
        }
        assert_eq!(layout.lines.len(), 6);
        assert!(layout.nodes.iter().zip(&layout.widths).all(|((x, y), width)| *x >= 0.0
            && x + width <= layout.width
            && *y >= 0.0
            && y + HEIGHT <= layout.height));
        let long = layout.lines.iter().find(|line| (line.from, line.to) == (0, 4)).unwrap();
        assert_eq!(long.passes.len(), 2, "it has a place in each layer it passes");
    }

    #[test]
    fn nothing_and_a_circle_are_laid_out_too() {
        assert!(lay_out(&[], &[]).nodes.is_empty());
        assert_eq!(lay_out(&[vec![1], vec![0]], &[90.0; 2]).nodes.len(), 2);
    }

    #[test]
    fn two_chains_do_not_cross() {
        let needs = [vec![], vec![], vec![1], vec![0]];
        let layout = lay_out(&needs, &[90.0; 4]);
        assert_eq!(layout.nodes[0].1 < layout.nodes[1].1, layout.nodes[3].1 < layout.nodes[2].1);
    }
}
