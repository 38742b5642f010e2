//! Where the nodes of each layer stand, their order given.
//!
//! Each node wants to be where those it has lines with are on average; wires want it most, so that they are straight.
//! In each layer the places are found that are nearest to what is wanted (least squares) and leave every two neighbours
//! their distance: that is the pool-adjacent-violators algorithm. Sweeps down and up repeat that.

use super::layers::Layers;

/// Lines looked at by all sweeps together, about.
const EFFORT: usize = 1_000_000;

/// Between two boxes, and between a wire and whatever is beside it.
pub const GAP: f64 = 22.0;
pub const WIRE_GAP: f64 = 12.0;

/// The middle of each node, as far to the right as it must be for none to reach below zero. `breadth` is that of each
/// box; wires have none.
pub fn place(layers: &Layers, breadth: &[f64]) -> Vec<f64> {
    let breadth = |node: usize| breadth.get(node).copied().unwrap_or(0.0);
    let mut middle = vec![0.0; layers.layer.len()];
    // The least distance of each node's middle from that of the first in its layer.
    let mut offset = vec![0.0; layers.layer.len()];
    for layer in &layers.layers {
        for pair in layer.windows(2) {
            let [left, right] = *pair else { continue };
            let gap = if layers.is_box(left) && layers.is_box(right) {
                GAP
            } else {
                WIRE_GAP
            };
            offset[right] = offset[left] + (breadth(left) + breadth(right)) / 2.0 + gap;
        }
        let half = layer.last().map_or(0.0, |&last| offset[last] / 2.0);
        for &node in layer {
            middle[node] = offset[node] - half;
        }
    }

    let lines: usize = layers.below.iter().map(Vec::len).sum();
    let sweeps = (EFFORT / lines.max(1)).clamp(8, 60);
    let depth = layers.layers.len();
    for sweep in 0..sweeps {
        let is_down = sweep % 2 == 0;
        // At first one side only, which settles what hangs from what; then both, which balances.
        let both = sweep * 2 >= sweeps;
        for n in 0..depth {
            let n = if is_down { n } else { depth - 1 - n };
            settle(
                &layers.layers[n],
                layers,
                &offset,
                &mut middle,
                is_down || both,
                !is_down || both,
            );
        }
    }
    straighten(layers, &offset, &mut middle);

    let left = (layers.layers.iter())
        .filter_map(|layer| layer.first())
        .map(|&first| middle[first] - breadth(first) / 2.0)
        .fold(f64::INFINITY, f64::min);
    if left.is_finite() {
        for place in &mut middle {
            *place -= left;
        }
    }
    middle
}

/// What a line weighs: between points of wires most, so that they are straight, and then where a wire is the only line of
/// a box.
fn weight(layers: &Layers, upper: usize, lower: usize) -> f64 {
    match (layers.is_box(upper), layers.is_box(lower)) {
        (false, false) => 8.0,
        (true, false) if layers.below[upper].len() == 1 => 4.0,
        (false, true) if layers.above[lower].len() == 1 => 4.0,
        _ => 1.0,
    }
}

/// Nodes that stand side by side as closely as they may.
struct Pool {
    /// Where the first of them wants to be, and how much.
    wanted: f64,
    weight: f64,
    size: usize,
}

fn settle(
    layer: &[usize],
    layers: &Layers,
    offset: &[f64],
    middle: &mut [f64],
    up: bool,
    down: bool,
) {
    let mut pools: Vec<Pool> = Vec::with_capacity(layer.len());
    for &node in layer {
        let mut sum = 0.0;
        let mut total = 0.0;
        let none: &[usize] = &[];
        let above = if up { &layers.above[node] } else { none };
        let below = if down { &layers.below[node] } else { none };
        let weighed = (above.iter().map(|&end| (end, weight(layers, end, node))))
            .chain(below.iter().map(|&end| (end, weight(layers, node, end))));
        for (end, weight) in weighed {
            sum += middle[end] * weight;
            total += weight;
        }
        if total == 0.0 {
            // Who has no line stays, unless somebody wants the place.
            total = 0.01;
            sum = middle[node] * total;
        }
        let mut pool = Pool {
            wanted: sum / total - offset[node],
            weight: total,
            size: 1,
        };
        while let Some(last) = pools.pop_if(|last| last.wanted > pool.wanted) {
            let weight = last.weight + pool.weight;
            pool = Pool {
                wanted: (last.wanted * last.weight + pool.wanted * pool.weight) / weight,
                weight,
                size: last.size + pool.size,
            };
        }
        pools.push(pool);
    }
    let mut nodes = layer.iter();
    for pool in pools {
        for &node in nodes.by_ref().take(pool.size) {
            middle[node] = pool.wanted + offset[node];
        }
    }
}

/// Nodes that shall stand right below each other: a wire, and a box at its end that has no other line there.
fn columns(layers: &Layers) -> Vec<Vec<usize>> {
    let mut columns = Vec::new();
    let mut is_taken = vec![false; layers.layer.len()];
    for start in layers.layers.iter().flatten().copied() {
        if is_taken[start] {
            continue;
        }
        let mut column = vec![start];
        let mut end = start;
        is_taken[start] = true;
        loop {
            let next = match layers.below[end].as_slice() {
                [only] => Some(*only),
                // A wire goes on as a wire.
                several if !layers.is_box(end) => {
                    several.iter().copied().find(|&below| !layers.is_box(below))
                }
                _ => None,
            };
            match next {
                Some(next) if !is_taken[next] && layers.above[next].len() == 1 => {
                    is_taken[next] = true;
                    column.push(next);
                    end = next;
                }
                _ => break,
            }
        }
        columns.push(column);
    }
    columns
}

/// Moves what shall be straight, as a whole, to where it wants to be, as far as its neighbours let it. A column that they
/// do not let be straight is bent where it must be. At last whatever is nearly below another is put right below it.
fn straighten(layers: &Layers, offset: &[f64], middle: &mut [f64]) {
    const ROUNDS: usize = 12;
    const NEARLY: f64 = 9.0;
    let columns = columns(layers);
    let mut left = vec![None; middle.len()];
    let mut right = vec![None; middle.len()];
    for layer in &layers.layers {
        for pair in layer.windows(2) {
            let [a, b] = *pair else { continue };
            left[b] = Some(a);
            right[a] = Some(b);
        }
    }
    // How far a node may go to either side.
    let room = |node: usize, middle: &[f64]| {
        let least = left[node].map(|a: usize| middle[a] + offset[node] - offset[a]);
        let most = right[node].map(|b: usize| middle[b] + offset[node] - offset[b]);
        (
            least.unwrap_or(f64::NEG_INFINITY),
            most.unwrap_or(f64::INFINITY),
        )
    };
    for round in 0..ROUNDS {
        for n in 0..columns.len() {
            let column = &columns[if round % 2 == 0 {
                n
            } else {
                columns.len() - 1 - n
            }];
            let mut rest = column.as_slice();
            while let Some(&first) = rest.first() {
                let (mut least, mut most) = room(first, middle);
                let mut size = 1;
                while let Some(&next) = rest.get(size) {
                    let (low, high) = room(next, middle);
                    if least.max(low) > most.min(high) {
                        break;
                    }
                    (least, most) = (least.max(low), most.min(high));
                    size += 1;
                }
                let (piece, after) = rest.split_at(size);
                let mut sum = 0.0;
                let mut total = 0.0;
                let below = (piece.iter().enumerate()).flat_map(|(n, &node)| {
                    let next = piece.get(n + 1).copied();
                    layers.below[node]
                        .iter()
                        .copied()
                        .filter(move |&end| Some(end) != next)
                });
                for end in layers.above[first].iter().copied().chain(below) {
                    sum += middle[end];
                    total += 1.0;
                }
                let wanted = if total > 0.0 {
                    sum / total
                } else {
                    middle[first]
                };
                for &node in piece {
                    middle[node] = wanted.max(least).min(most);
                }
                rest = after;
            }
        }
    }
    for upper in layers.layers.iter().flatten().copied() {
        for &lower in &layers.below[upper] {
            let (least, most) = room(lower, middle);
            let to = middle[upper];
            let is_free = layers.below[lower].len() != 1 || layers.is_box(lower);
            if is_free && (to - middle[lower]).abs() < NEARLY && (least..=most).contains(&to) {
                middle[lower] = to;
                break;
            }
        }
    }
}
