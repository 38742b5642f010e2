//! In which order the nodes of a layer stand side by side, so that few lines cross.
//!
//! Sweeps down and up put each node where those it has lines with are on average, then neighbours that are better off the
//! other way round change places. That ends where no neighbours are, which need not be the best: small pictures, for which
//! it costs nothing, are begun anew from other orders. The best order that was met is kept.

use super::layers::Layers;

/// Lines looked at by all sweeps together, about: large pictures get fewer sweeps.
const EFFORT: usize = 100_000;
/// Sweeps from one order.
const SWEEPS: usize = 24;
/// Orders to begin from.
const MOST_STARTS: usize = 24;

pub fn order(layers: &mut Layers) {
    let lines: usize = layers.below.iter().map(Vec::len).sum();
    let mut sweeps_left = (EFFORT / lines.max(1)).clamp(2, MOST_STARTS * SWEEPS);
    let mut position = vec![0; layers.layer.len()];
    let mut fewest = usize::MAX;
    let found = layers.layers.clone();
    let mut best = found.clone();
    for start in 0..MOST_STARTS {
        layers.layers = begin(&found, start);
        for layer in &layers.layers {
            number(layer, &mut position);
        }
        for sweep in 0..=SWEEPS.min(sweeps_left) {
            let now = crossings(layers, &position);
            if now < fewest {
                fewest = now;
                best.clone_from(&layers.layers);
            }
            if fewest == 0 {
                break;
            }
            self::sweep(layers, &mut position, sweep % 2 == 0);
        }
        sweeps_left = sweeps_left.saturating_sub(SWEEPS);
        if fewest == 0 || sweeps_left == 0 {
            break;
        }
    }
    layers.layers = best;
}

/// The order to begin from: the one in which the nodes were found, then its opposite, then any.
fn begin(found: &[Vec<usize>], start: usize) -> Vec<Vec<usize>> {
    let mut layers = found.to_vec();
    for layer in &mut layers {
        match start {
            0 => {}
            1 => layer.reverse(),
            _ => layer.sort_by_key(|&node| {
                let mixed = (node as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9 ^ (start as u64 * 2))
            }),
        }
    }
    layers
}

fn sweep(layers: &mut Layers, position: &mut [usize], is_down: bool) {
    let depth = layers.layers.len();
    for step in 1..depth {
        let n = if is_down { step } else { depth - 1 - step };
        let nodes = std::mem::take(&mut layers.layers[n]);
        let lines = if is_down {
            &layers.above
        } else {
            &layers.below
        };
        layers.layers[n] = by_average(nodes, lines, position);
        number(&layers.layers[n], position);
    }
    for n in 0..depth {
        let mut nodes = std::mem::take(&mut layers.layers[n]);
        swap(&mut nodes, layers, position);
        number(&nodes, position);
        layers.layers[n] = nodes;
    }
}

fn number(layer: &[usize], position: &mut [usize]) {
    for (n, &node) in layer.iter().enumerate() {
        position[node] = n;
    }
}

/// Sorts nodes by the average position of those they have lines with; others keep their places.
fn by_average(nodes: Vec<usize>, lines: &[Vec<usize>], position: &[usize]) -> Vec<usize> {
    let average = |node: usize| {
        let sum: usize = lines[node].iter().map(|&other| position[other]).sum();
        sum as f64 / lines[node].len() as f64
    };
    let mut moving: Vec<(f64, usize)> = (nodes.iter())
        .filter(|&&node| !lines[node].is_empty())
        .map(|&node| (average(node), node))
        .collect();
    moving.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut moving = moving.into_iter();
    (nodes.into_iter())
        .map(|node| match lines[node].is_empty() {
            true => node,
            false => moving.next().map_or(node, |(_, node)| node),
        })
        .collect()
}

/// Lets neighbours change places while that saves crossings.
fn swap(nodes: &mut [usize], layers: &Layers, position: &[usize]) {
    const ROUNDS: usize = 4;
    let sorted = |lines: &[Vec<usize>]| -> Vec<Vec<usize>> {
        (nodes.iter())
            .map(|&node| {
                let mut ends: Vec<_> = lines[node].iter().map(|&end| position[end]).collect();
                ends.sort_unstable();
                ends
            })
            .collect()
    };
    let (above, below) = (sorted(&layers.above), sorted(&layers.below));
    // Places in `nodes` as they were.
    let mut places: Vec<usize> = (0..nodes.len()).collect();
    for _ in 0..ROUNDS {
        let mut is_better = false;
        for n in 1..places.len() {
            let (left, right) = (places[n - 1], places[n]);
            let now = between(&above[left], &above[right]) + between(&below[left], &below[right]);
            let then = between(&above[right], &above[left]) + between(&below[right], &below[left]);
            if then < now {
                places.swap(n - 1, n);
                is_better = true;
            }
        }
        if !is_better {
            break;
        }
    }
    let before = nodes.to_vec();
    for (n, place) in places.into_iter().enumerate() {
        nodes[n] = before[place];
    }
}

/// How often lines of a left node to these ends cross those of a right one to those; both sorted.
fn between(left: &[usize], right: &[usize]) -> usize {
    let mut passed = 0;
    let mut crossings = 0;
    for end in left {
        while right.get(passed).is_some_and(|other| other < end) {
            passed += 1;
        }
        crossings += passed;
    }
    crossings
}

/// How often lines cross, all in all.
pub fn crossings(layers: &Layers, position: &[usize]) -> usize {
    let mut crossings = 0;
    for pair in layers.layers.windows(2) {
        let [upper, lower] = pair else { continue };
        // Lines from left to right; each crosses those before it that end further right.
        let mut tree = vec![0; lower.len() + 1];
        let mut before = 0;
        for &node in upper {
            let mut ends: Vec<_> = (layers.below[node].iter())
                .map(|&end| position[end])
                .collect();
            ends.sort_unstable();
            for &end in &ends {
                let mut n = end + 1;
                let mut left = 0;
                while n > 0 {
                    left += tree[n];
                    n &= n - 1;
                }
                crossings += before - left;
            }
            for &end in &ends {
                let mut n = end + 1;
                while n < tree.len() {
                    tree[n] += 1;
                    n += n & n.wrapping_neg();
                }
            }
            before += ends.len();
        }
    }
    crossings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossings_of(layers: &Layers) -> usize {
        let mut position = vec![0; layers.layer.len()];
        for layer in &layers.layers {
            number(layer, &mut position);
        }
        crossings(layers, &position)
    }

    #[test]
    fn crossings_are_counted() {
        // 0 and 1 above, 2 and 3 below.
        let mut layers = Layers::of(&[vec![], vec![], vec![0, 1], vec![0, 1]], 10).unwrap();
        layers.layers = vec![vec![0, 1], vec![2, 3]];
        assert_eq!(crossings_of(&layers), 1);
        let mut crossed = Layers::of(&[vec![], vec![], vec![1], vec![0]], 10).unwrap();
        crossed.layers = vec![vec![0, 1], vec![2, 3]];
        assert_eq!(crossings_of(&crossed), 1);
        order(&mut crossed);
        assert_eq!(crossings_of(&crossed), 0);
    }

    #[test]
    fn another_start_finds_what_the_first_does_not() {
        // split, index, score, links, cool_down, approve, publish
        let deps = [
            vec![],
            vec![0],
            vec![1],
            vec![1],
            vec![2],
            vec![4, 3],
            vec![2, 3, 5],
        ];
        let mut layers = Layers::of(&deps, 100).unwrap();
        order(&mut layers);
        assert_eq!(crossings_of(&layers), 0);
    }

    #[test]
    fn a_tree_has_none() {
        let deps: Vec<Vec<usize>> = (0..127_usize)
            .map(|n| {
                if n == 0 {
                    vec![]
                } else {
                    vec![(n * 7919 % 127).min(n - 1) / 2]
                }
            })
            .collect();
        let mut layers = Layers::of(&deps, 1_000).unwrap();
        order(&mut layers);
        assert_eq!(crossings_of(&layers), 0);
    }
}
