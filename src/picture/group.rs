//! Steps that nothing tells apart: they wait for the same steps, and the same steps wait for them. A fan of three hundred
//! of them is one box with a grid in it, and two lines.

use std::collections::HashMap;

/// Fewer than these are drawn each by itself.
pub const LEAST: usize = 9;

/// A graph of boxes, each with one node in it or with some that stand for each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The nodes in each box, in their order.
    pub nodes: Vec<Vec<usize>>,
    /// The boxes that each box waits for, in their order.
    pub deps: Vec<Vec<usize>>,
}

/// Puts nodes into boxes. `deps[n]` are the nodes that node `n` waits for; those out of bounds are nowhere.
pub fn group(deps: &[Vec<usize>]) -> Groups {
    let deps: Vec<Vec<usize>> = (deps.iter().enumerate())
        .map(|(node, of_node)| {
            let mut known: Vec<_> = (of_node.iter().copied())
                .filter(|&dep| dep < deps.len() && dep != node)
                .collect();
            known.sort_unstable();
            known.dedup();
            known
        })
        .collect();
    let mut dependents = vec![Vec::new(); deps.len()];
    for (node, of_node) in deps.iter().enumerate() {
        for &dep in of_node {
            dependents[dep].push(node);
        }
    }

    let mut alike: HashMap<(&[usize], &[usize]), Vec<usize>> = HashMap::new();
    for node in 0..deps.len() {
        let key = (deps[node].as_slice(), dependents[node].as_slice());
        alike.entry(key).or_default().push(node);
    }
    let mut groups = Groups::default();
    let mut box_of = vec![0; deps.len()];
    for node in 0..deps.len() {
        let key = (deps[node].as_slice(), dependents[node].as_slice());
        let of_kind = alike.get(&key).map_or(&[][..], Vec::as_slice);
        let nodes = if of_kind.len() < LEAST {
            vec![node]
        } else if of_kind.first() == Some(&node) {
            of_kind.to_vec()
        } else {
            continue;
        };
        for &node in &nodes {
            box_of[node] = groups.nodes.len();
        }
        groups.nodes.push(nodes);
    }
    for nodes in &groups.nodes {
        let of_first = nodes.first().map_or(&[][..], |&node| deps[node].as_slice());
        let mut boxes: Vec<_> = of_first.iter().map(|&dep| box_of[dep]).collect();
        boxes.sort_unstable();
        boxes.dedup();
        groups.deps.push(boxes);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_fan_is_one_box() {
        let mut deps = vec![vec![]];
        deps.extend(vec![vec![0]; LEAST]);
        deps.push((1..=LEAST).collect());
        let groups = group(&deps);
        assert_eq!(
            groups.nodes,
            [vec![0], (1..=LEAST).collect(), vec![LEAST + 1]]
        );
        assert_eq!(groups.deps, [vec![], vec![0], vec![1]]);
    }

    #[test]
    fn a_narrow_one_is_not() {
        let mut deps = vec![vec![]];
        deps.extend(vec![vec![0]; LEAST - 1]);
        assert_eq!(group(&deps).nodes.len(), LEAST);
    }

    #[test]
    fn deps_that_are_nowhere_are_left_out() {
        assert_eq!(group(&[vec![0, 7], vec![0, 0]]).deps, [vec![], vec![0]]);
    }
}
