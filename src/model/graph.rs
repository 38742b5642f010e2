//! Cycles of a graph.

/// Cycles that share no node, as many as it takes to make the rest of the graph acyclic; none when it is.
///
/// `deps[n]` are the nodes that node `n` waits for, all within bounds. In a cycle each node is a dep of the next and
/// the last one of the first, which is the least. Nodes that only hang from a cycle are in none.
///
/// Nodes are resolved in the order of their deps. Where that gets stuck every node left waits for another one left, so
/// following those must come round: the cycle is reported, taken as resolved, and the work goes on.
pub fn cycles(deps: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut dependents = vec![Vec::new(); deps.len()];
    for (node, of_node) in deps.iter().enumerate() {
        for &dep in of_node {
            dependents[dep].push(node);
        }
    }
    let mut waits_for: Vec<usize> = deps.iter().map(Vec::len).collect();
    let mut resolved = vec![false; deps.len()];
    let mut ready: Vec<usize> = (0..deps.len())
        .filter(|&node| waits_for[node] == 0)
        .collect();
    for &node in &ready {
        resolved[node] = true;
    }

    let mut found = Vec::new();
    let mut least = 0;
    loop {
        while let Some(node) = ready.pop() {
            for &dependent in &dependents[node] {
                waits_for[dependent] -= 1;
                if waits_for[dependent] == 0 && !resolved[dependent] {
                    resolved[dependent] = true;
                    ready.push(dependent);
                }
            }
        }
        while least < deps.len() && resolved[least] {
            least += 1;
        }
        if least == deps.len() {
            return found;
        }
        let cycle = walk(deps, &resolved, least);
        for &node in &cycle {
            resolved[node] = true;
            ready.push(node);
        }
        found.push(cycle);
    }
}

/// Follows unresolved deps from `start` until they come round. Every unresolved node has one.
fn walk(deps: &[Vec<usize>], resolved: &[bool], start: usize) -> Vec<usize> {
    let mut place = vec![None; deps.len()];
    let mut path = Vec::new();
    let mut node = start;
    let from = loop {
        if let Some(place) = place[node] {
            break place;
        }
        place[node] = Some(path.len());
        path.push(node);
        match deps[node].iter().copied().find(|&dep| !resolved[dep]) {
            Some(dep) => node = dep,
            None => unreachable!("an unresolved node waits for another one"),
        }
    };
    // The path went from each node to its dep; a cycle is told the other way round.
    let mut cycle = path.split_off(from);
    cycle.reverse();
    if let Some(least) = (0..cycle.len()).min_by_key(|&n| cycle[n]) {
        cycle.rotate_left(least);
    }
    cycle
}

/// A cycle in the words of its nodes: `a -> b -> a`.
pub fn spell<'a>(cycle: &[usize], name: impl Fn(usize) -> &'a str) -> String {
    /// Nodes named of a long cycle, at its beginning.
    const NAMED: usize = 50;
    let mut names: Vec<_> = cycle
        .iter()
        .take(NAMED)
        .map(|&node| name(node).to_owned())
        .collect();
    if cycle.len() > NAMED {
        names.push(format!("({} more)", cycle.len() - NAMED));
    }
    if let Some(&first) = cycle.first() {
        names.push(name(first).to_owned());
    }
    names.join(" -> ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cycle_is_found_and_what_hangs_from_it_is_not_blamed() {
        // root, a <- c, b <- a, c <- b, leaf <- c
        let deps = [vec![], vec![3, 0], vec![1], vec![2], vec![3]];
        assert_eq!(cycles(&deps), [[1, 2, 3]]);
        let names = ["root", "a", "b", "c", "leaf"];
        assert_eq!(spell(&[1, 2, 3], |n| names[n]), "a -> b -> c -> a");
    }

    #[test]
    fn every_separate_cycle_is_found() {
        let deps = [vec![1], vec![0], vec![3], vec![2, 0], vec![4], vec![]];
        assert_eq!(cycles(&deps), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn a_dep_named_twice_is_no_trouble() {
        assert!(cycles(&[vec![], vec![0, 0]]).is_empty());
        assert_eq!(cycles(&[vec![1, 1], vec![0, 0]]), [[0, 1]]);
    }

    #[test]
    fn large_graphs_need_no_deep_stack_and_no_patience() {
        let n = 100_000;
        let chain: Vec<_> = (0..n)
            .map(|i| if i == 0 { vec![] } else { vec![i - 1] })
            .collect();
        assert!(cycles(&chain).is_empty());
        let ring: Vec<_> = (0..n).map(|i| vec![(i + n - 1) % n]).collect();
        let found = cycles(&ring);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0], (0..n).collect::<Vec<_>>());
        assert!(spell(&found[0], |_| "x").contains("(99950 more) -> x"));
        // Many cycles, one after the other.
        let pairs: Vec<_> = (0..10_000)
            .map(|i| {
                if i < 2 {
                    vec![i ^ 1]
                } else {
                    vec![i ^ 1, i - 2]
                }
            })
            .collect();
        assert_eq!(cycles(&pairs).len(), 5_000);
    }

    /// Deps that point to lower nodes only, then renamed at random.
    fn acyclic() -> impl Strategy<Value = Vec<Vec<usize>>> {
        (1..40_usize)
            .prop_flat_map(|n| {
                let edges = prop::collection::vec((0..n, 0..n), 0..n * 3);
                (Just((0..n).collect::<Vec<_>>()).prop_shuffle(), edges)
            })
            .prop_map(|(names, edges)| {
                let mut deps = vec![Vec::new(); names.len()];
                for (a, b) in edges {
                    if a != b {
                        deps[names[a.max(b)]].push(names[a.min(b)]);
                    }
                }
                deps
            })
    }

    fn is_cycle(deps: &[Vec<usize>], cycle: &[usize]) -> bool {
        !cycle.is_empty()
            && (0..cycle.len()).all(|n| deps[cycle[(n + 1) % cycle.len()]].contains(&cycle[n]))
    }

    proptest! {
        #[test]
        fn an_acyclic_graph_has_no_cycle(deps in acyclic()) {
            prop_assert!(cycles(&deps).is_empty());
        }

        #[test]
        fn a_back_edge_is_reported_as_a_cycle_that_is_one(deps in acyclic(), pick in any::<prop::sample::Index>()) {
            let edges: Vec<(usize, usize)> = deps.iter().enumerate()
                .flat_map(|(to, from)| from.iter().map(move |&from| (from, to))).collect();
            prop_assume!(!edges.is_empty());
            let (from, to) = edges[pick.index(edges.len())];
            let mut deps = deps;
            deps[from].push(to);
            let found = cycles(&deps);
            prop_assert_eq!(found.len(), 1);
            prop_assert!(is_cycle(&deps, &found[0]));
            prop_assert!(found[0].contains(&from) && found[0].contains(&to));
        }

        #[test]
        fn any_graph_gives_disjoint_cycles_without_which_it_has_none(
            deps in (1..20_usize).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(0..n, 0..4), n))
        ) {
            let found = cycles(&deps);
            let mut seen = vec![false; deps.len()];
            for cycle in &found {
                prop_assert!(is_cycle(&deps, cycle));
                prop_assert_eq!(Some(&cycle[0]), cycle.iter().min());
                for &node in cycle {
                    prop_assert!(!std::mem::replace(&mut seen[node], true));
                }
            }
            let rest: Vec<Vec<usize>> = deps.iter().enumerate()
                .map(|(n, d)| if seen[n] { vec![] } else { d.iter().copied().filter(|&d| !seen[d]).collect() })
                .collect();
            prop_assert!(cycles(&rest).is_empty());
        }
    }
}
