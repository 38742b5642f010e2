//! Where the steps of a picture stand and where the lines between them begin and end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The nodes of each layer from left to right; numbers from the count of steps on are wires.
pub struct Layout {
    pub layers: Vec<Vec<usize>>,
    pub edges: Vec<(usize, usize)>,
}

impl Layout {
    pub fn new(steps: usize, deps: &[(usize, usize)]) -> Layout {
        // The longest way from a root; as many rounds as steps are enough for any order of deps.
        let mut depth = vec![0; steps];
        for _ in 0..steps {
            for &(from, to) in deps {
                depth[to] = depth[to].max((depth[from] + 1).min(steps));
            }
        }
        let mut layers = vec![Vec::new(); depth.iter().max().map_or(0, |deepest| deepest + 1)];
        for (step, &layer) in depth.iter().enumerate() {
            layers[layer].push(step);
        }
        let mut edges = Vec::new();
        let mut wires = steps..;
        for &(from, to) in deps {
            let mut last = from;
            for (layer, wire) in (depth[from] + 1..depth[to]).zip(&mut wires) {
                layers[layer].push(wire);
                edges.push((last, wire));
                last = wire;
            }
            edges.push((last, to));
        }
        let mut layout = Layout { layers, edges };
        layout.untangle();
        layout
    }

    /// Moves every node below the middle of what it hangs on, and above what hangs on it, a few times.
    fn untangle(&mut self) {
        for round in 0..8 {
            let down = round % 2 == 0;
            let count = self.layers.len();
            for i in 1..count {
                let (fixed, moved) = if down { (i - 1, i) } else { (count - i, count - i - 1) };
                let place: HashMap<usize, usize> =
                    self.layers[fixed].iter().enumerate().map(|(place, &node)| (node, place)).collect();
                let middle = |own: usize, node: usize| {
                    let ends =
                        self.edges.iter().map(|&(from, to)| if down { (to, from) } else { (from, to) });
                    let places: Vec<usize> = ends
                        .filter(|end| end.0 == node)
                        .filter_map(|end| place.get(&end.1).copied())
                        .collect();
                    match places.len() {
                        0 => own as f64,
                        n => places.iter().sum::<usize>() as f64 / n as f64,
                    }
                };
                let mut layer: Vec<(f64, usize)> = self.layers[moved]
                    .iter()
                    .enumerate()
                    .map(|(own, &node)| (middle(own, node), node))
                    .collect();
                layer.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.layers[moved] = layer.into_iter().map(|(_, node)| node).collect();
            }
        }
    }
}

/// Sources that lead to the same targets, with the columns at which they leave and enter.
pub struct Bundle {
    pub sources: Vec<(usize, usize)>,
    pub targets: Vec<(usize, usize)>,
}

impl Bundle {
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.sources.iter().chain(&self.targets).map(|(_, column)| *column)
    }

    pub fn first(&self) -> usize {
        self.columns().min().unwrap_or(0)
    }

    pub fn last(&self) -> usize {
        self.columns().max().unwrap_or(0)
    }
}

/// The bundles that leave a layer. Where they enter is theirs alone, so that their lines never touch.
pub fn bundles(
    layer: &[usize],
    edges: &[(usize, usize)],
    centre: &HashMap<usize, usize>,
    width: usize,
) -> Vec<Bundle> {
    let mut sources_of: BTreeMap<BTreeSet<usize>, Vec<usize>> = BTreeMap::new();
    for &node in layer {
        let targets: BTreeSet<usize> =
            edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| *to).collect();
        if !targets.is_empty() {
            sources_of.entry(targets).or_default().push(node);
        }
    }
    let mut groups: Vec<(BTreeSet<usize>, Vec<usize>)> = sources_of.into_iter().collect();
    groups.sort_by_key(|(_, sources)| sources.iter().map(|node| centre[node]).min());

    let leaving: HashMap<usize, usize> = groups
        .iter()
        .enumerate()
        .flat_map(|(i, (_, sources))| sources.iter().map(move |node| (centre[node], i)))
        .collect();
    let mut taken = BTreeSet::new();
    let mut bundles = Vec::new();
    for (i, (targets, sources)) in groups.iter().enumerate() {
        let enter = |&node: &usize| {
            // The bundles into one box stand side by side, in the middle where there is but one.
            let into: Vec<usize> =
                (0..groups.len()).filter(|&other| groups[other].0.contains(&node)).collect();
            let place = into.iter().position(|&other| other == i).unwrap_or(0);
            let step = (width - 4).checked_div(into.len() - 1).unwrap_or(0).clamp(1, 4);
            let mut column = (centre[&node] + place * step).saturating_sub((into.len() - 1) * step / 2);
            // Right below a box from which another bundle comes, a line would seem to be its.
            while taken.contains(&column) || leaving.get(&column).is_some_and(|&other| other != i) {
                column += 1;
            }
            taken.insert(column);
            (node, column)
        };
        let targets = targets.iter().map(enter).collect();
        bundles
            .push(Bundle { sources: sources.iter().map(|&node| (node, centre[&node])).collect(), targets });
    }
    bundles
}
