//! In which order the nodes of a layer stand side by side, so that few lines cross.
//!
//! Sweeps down and up put each node where those it has lines with are on average, then neighbours that are better off the
//! other way round change places. The best order that was met is kept.

use super::layers::Layers;

/// Lines looked at by all sweeps together, about: large pictures get fewer sweeps.
const EFFORT: usize = 400_000;

pub fn order(layers: &mut Layers) {
    let lines: usize = layers.below.iter().map(Vec::len).sum();
    let sweeps = (EFFORT / lines.max(1)).clamp(2, 24);
    let mut position = vec![0; layers.layer.len()];
    for layer in &layers.layers {
        number(layer, &mut position);
    }
    let mut fewest = crossings(layers, &position);
    let mut best = layers.layers.clone();
    for sweep in 0..sweeps {
        if fewest == 0 {
            break;
        }
        let is_down = sweep % 2 == 0;
        for step in 1..layers.layers.len() {
            let n = if is_down {
                step
            } else {
                layers.layers.len() - 1 - step
            };
            let nodes = std::mem::take(&mut layers.layers[n]);
            let lines = if is_down {
                &layers.above
            } else {
                &layers.below
            };
            layers.layers[n] = by_average(nodes, lines, &position);
            number(&layers.layers[n], &mut position);
        }
        for n in 0..layers.layers.len() {
            let mut nodes = std::mem::take(&mut layers.layers[n]);
            swap(&mut nodes, layers, &position);
            number(&nodes, &mut position);
            layers.layers[n] = nodes;
        }
        let now = crossings(layers, &position);
        if now < fewest {
            fewest = now;
            best.clone_from(&layers.layers);
        }
    }
    layers.layers = best;
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
