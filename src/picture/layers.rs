//! How deep each box stands, and the wires that lead past boxes.
//!
//! A box stands right below the lowest of its deps; one that more boxes wait for than it waits for itself stands right
//! above the highest of those. A line only ever leads from one layer to the next: where a dependent stands deeper, a
//! wire leads through the layers between. The lines of a box to all its dependents share one wire.

/// Nodes in layers, from the top. The first [`Layers::boxes`] nodes are boxes, the others points of wires.
#[derive(Debug, Default)]
pub struct Layers {
    pub boxes: usize,
    /// The nodes of each layer, in the order in which they were found.
    pub layers: Vec<Vec<usize>>,
    /// The layer of each node.
    pub layer: Vec<usize>,
    /// The nodes in the next layer that a line leads to from each node.
    pub below: Vec<Vec<usize>>,
    /// The same, looked at from below.
    pub above: Vec<Vec<usize>>,
}

impl Layers {
    /// Of boxes that wait for each other as `deps` says; where they wait in a circle, some of that is left out. Nothing
    /// if that takes more than so many points of wires.
    pub fn of(deps: &[Vec<usize>], most_points: usize) -> Option<Self> {
        let layer = depths(deps);
        let mut dependents = vec![Vec::new(); deps.len()];
        for (node, of_node) in deps.iter().enumerate() {
            for &dep in of_node {
                if layer[dep] < layer[node] {
                    dependents[dep].push(node);
                }
            }
        }
        let deepest = |node: usize| dependents[node].iter().map(|&below| layer[below]).max();
        let points = (0..deps.len())
            .map(|node| deepest(node).map_or(0, |deepest| deepest - layer[node] - 1))
            .fold(0, usize::saturating_add);
        if points > most_points {
            return None;
        }

        let mut layers = Self {
            boxes: deps.len(),
            below: vec![Vec::new(); deps.len()],
            above: vec![Vec::new(); deps.len()],
            layer,
            layers: Vec::new(),
        };
        for (node, of_node) in dependents.iter_mut().enumerate() {
            of_node.sort_by_key(|&below| (layers.layer[below], below));
            let mut end = node;
            for &below in of_node.iter() {
                while layers.layer[end] + 1 < layers.layer[below] {
                    end = layers.lengthen(end);
                }
                layers.join(end, below);
            }
        }
        let depth = layers.layer.iter().max().map_or(0, |deepest| deepest + 1);
        layers.layers = vec![Vec::new(); depth];
        layers.walk();
        Some(layers)
    }

    pub fn is_box(&self, node: usize) -> bool {
        node < self.boxes
    }

    fn join(&mut self, upper: usize, lower: usize) {
        self.below[upper].push(lower);
        self.above[lower].push(upper);
    }

    fn lengthen(&mut self, end: usize) -> usize {
        let point = self.layer.len();
        self.layer.push(self.layer[end] + 1);
        self.below.push(Vec::new());
        self.above.push(Vec::new());
        self.join(end, point);
        point
    }

    /// Fills the layers in the order in which a walk from the top meets the nodes, so that what hangs together stands
    /// together.
    fn walk(&mut self) {
        let mut met = vec![false; self.layer.len()];
        let mut ahead = Vec::new();
        for start in 0..self.boxes {
            if !self.above[start].is_empty() {
                continue;
            }
            ahead.push(start);
            while let Some(node) = ahead.pop() {
                if std::mem::replace(&mut met[node], true) {
                    continue;
                }
                self.layers[self.layer[node]].push(node);
                ahead.extend(self.below[node].iter().rev().filter(|&&below| !met[below]));
            }
        }
    }
}

fn depths(deps: &[Vec<usize>]) -> Vec<usize> {
    let mut dependents = vec![Vec::new(); deps.len()];
    for (node, of_node) in deps.iter().enumerate() {
        for &dep in of_node {
            dependents[dep].push(node);
        }
    }
    let mut waits_for: Vec<usize> = deps.iter().map(Vec::len).collect();
    let mut sorted: Vec<usize> = (0..deps.len()).filter(|&n| waits_for[n] == 0).collect();
    let mut layer = vec![0_usize; deps.len()];
    let mut next = 0;
    while let Some(&node) = sorted.get(next) {
        next += 1;
        for &dependent in &dependents[node] {
            layer[dependent] = layer[dependent].max(layer[node] + 1);
            waits_for[dependent] -= 1;
            if waits_for[dependent] == 0 {
                sorted.push(dependent);
            }
        }
    }
    for &node in sorted.iter().rev() {
        if dependents[node].len() > deps[node].len()
            && let Some(highest) = dependents[node].iter().map(|&below| layer[below]).min()
        {
            layer[node] = layer[node].max(highest.saturating_sub(1));
        }
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_a_wire_that_all_targets_share() {
        // 0 <- 1 <- 2 <- 3, and 0 <- 2, 0 <- 3
        let layers = Layers::of(&[vec![], vec![0], vec![1, 0], vec![2, 0]], 100).unwrap();
        assert_eq!(layers.layer[..4], [0, 1, 2, 3]);
        assert_eq!(layers.layer[4..], [1, 2]);
        assert_eq!(layers.below[0], [1, 4]);
        assert_eq!(layers.below[4], [2, 5]);
        assert_eq!(layers.below[5], [3]);
    }

    #[test]
    fn a_root_that_is_needed_late_stands_late() {
        let layers = Layers::of(&[vec![], vec![0], vec![1, 3], vec![]], 100).unwrap();
        assert_eq!(layers.layer, [0, 1, 2, 1]);
    }

    #[test]
    fn a_circle_is_no_trouble() {
        let layers = Layers::of(&[vec![2], vec![0], vec![1], vec![2]], 100).unwrap();
        assert_eq!(layers.layers.concat().len(), 4);
    }

    #[test]
    fn too_many_wires_are_refused() {
        let chain: Vec<_> = (0..100_usize).map(|n| (0..n).collect::<Vec<_>>()).collect();
        assert!(Layers::of(&chain, 1_000).is_none());
    }
}
