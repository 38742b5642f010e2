//! A run drawn as a graph, from what `flow_graph()` and `get_run()` return: any small flow will do.
//!
//! Steps stand in layers, each below all its deps. A dep that spans several layers passes the ones
//! between as a wire, so that lines only ever lead from one layer to the next. Sources with the same
//! targets share one horizontal track; every line enters a box at a place of its own, and a line
//! that merely crosses another one interrupts it. So no two lines can be mistaken for one.

mod canvas;
mod layout;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

use canvas::Canvas;
use layout::{Bundle, Layout, bundles};

/// Rows of a box: its border, the step's name and what it is.
const HEIGHT: usize = 4;
/// Columns between two boxes.
const GAP: usize = 3;
/// Longer names are cut.
const LONGEST: usize = 24;

struct Step {
    slug: String,
    detail: String,
    status: String,
}

pub struct Picture {
    steps: Vec<Step>,
    deps: Vec<(usize, usize)>,
}

/// Symbol and terminal colour, and the Mermaid style, of a step's status.
fn look(status: &str) -> (char, &'static str, &'static str) {
    match status {
        "completed" => ('✓', "32", "fill:#d3f9d8,stroke:#2b8a3e"),
        "started" => ('▶', "33", "fill:#fff3bf,stroke:#e67700"),
        "failed" => ('✗', "31", "fill:#ffe3e3,stroke:#c92a2a"),
        "skipped" => ('↷', "36", "fill:#e3fafc,stroke:#0b7285"),
        "cancelled" => ('⊘', "35", "fill:#f3d9fa,stroke:#862e9c"),
        _ => ('·', "2", "fill:#f1f3f5,stroke:#868e96"),
    }
}

impl Picture {
    pub fn new(graph: &Value, run: &Value) -> Result<Picture> {
        let list = |value: &Value, name: &str| {
            value[name].as_array().cloned().with_context(|| format!("no array \"{name}\" in {value}"))
        };
        let word = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();

        let states: HashMap<String, Value> =
            list(run, "steps")?.into_iter().map(|state| (word(&state, "step_slug"), state)).collect();
        let mut steps = Vec::new();
        let mut index = HashMap::new();
        for step in list(graph, "steps")? {
            let slug = word(&step, "step_slug");
            let state = states.get(&slug).unwrap_or(&Value::Null);
            let detail = match (step["step_type"].as_str(), state["initial_tasks"].as_i64()) {
                (Some("map"), Some(tasks)) => format!("map of {tasks}"),
                (kind, _) => kind.unwrap_or_default().to_owned(),
            };
            index.insert(slug.clone(), steps.len());
            steps.push(Step { slug, detail, status: word(state, "status") });
        }
        let mut deps = Vec::new();
        for dep in list(graph, "deps")? {
            let end = |name| {
                let slug = word(&dep, name);
                index.get(&slug).copied().with_context(|| format!("a dep names unknown step \"{slug}\""))
            };
            deps.push((end("from_step_slug")?, end("to_step_slug")?));
        }
        Ok(Picture { steps, deps })
    }

    /// Names of nodes are numbers, since a slug may be a word of Mermaid's own.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart TD\n".to_owned();
        let mut classes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (i, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "    n{i}[\"{}<br/>{}\"]", step.slug, step.detail);
            classes.entry(&step.status).or_default().push(format!("n{i}"));
        }
        for (from, to) in &self.deps {
            let _ = writeln!(text, "    n{from} --> n{to}");
        }
        for (status, nodes) in classes.iter().filter(|(status, _)| !status.is_empty()) {
            let _ = writeln!(text, "    classDef {status} {}", look(status).2);
            let _ = writeln!(text, "    class {} {status}", nodes.join(","));
        }
        text
    }

    pub fn draw(&self, colour: bool) -> String {
        let layout = Layout::new(self.steps.len(), &self.deps);
        let inner = self.steps.iter().map(|step| step.lines().map(|line| line.chars().count()));
        // Odd, so that a box has a middle; even together with the gap, so that a layer may shift by half of both.
        let width = (inner.flatten().max().unwrap_or(0) + 4) | 1;
        let pitch = width + GAP;
        let widest = layout.layers.iter().map(Vec::len).max().unwrap_or(0);

        let mut centre = HashMap::new();
        for layer in &layout.layers {
            let left = (widest - layer.len()) * pitch / 2 + width / 2;
            centre.extend(layer.iter().enumerate().map(|(i, &node)| (node, left + i * pitch)));
        }

        let mut canvas = Canvas::default();
        let mut top = 0;
        let mut entries: HashMap<usize, Vec<usize>> = HashMap::new();
        for layer in &layout.layers {
            for &node in layer {
                let entries = entries.remove(&node).unwrap_or_default();
                match self.steps.get(node) {
                    Some(step) => step.draw(&mut canvas, top, centre[&node] - width / 2, width, &entries),
                    // A wire comes in where it may and leaves in the middle.
                    None => {
                        let middle = centre[&node];
                        for column in entries {
                            canvas.vertical(column, top, top + 1);
                            canvas.horizontal(top + 1, column.min(middle), column.max(middle), &[]);
                        }
                        canvas.vertical(middle, top + 1, top + HEIGHT - 1);
                    }
                }
            }
            let bundles = bundles(layer, &layout.edges, &centre, width);
            let rows = route(&mut canvas, top + HEIGHT - 1, &bundles);
            for bundle in bundles {
                for (node, column) in bundle.targets {
                    entries.entry(node).or_default().push(column);
                }
                for (_, column) in bundle.sources.into_iter().filter(|(node, _)| *node < self.steps.len()) {
                    canvas.put(top + HEIGHT - 1, column, '┬', "");
                }
            }
            top += HEIGHT + rows;
        }
        canvas.text(colour)
    }
}

impl Step {
    fn lines(&self) -> impl Iterator<Item = String> {
        let mut slug: String = self.slug.chars().take(LONGEST).collect();
        if slug.len() < self.slug.len() {
            slug.push('…');
        }
        [format!("{} {slug}", look(&self.status).0), format!("  {}", self.detail)].into_iter()
    }

    fn draw(&self, canvas: &mut Canvas, top: usize, left: usize, width: usize, entries: &[usize]) {
        let rule = "─".repeat(width - 2);
        canvas.write(top, left, &format!("┌{rule}┐"), "");
        for (i, line) in self.lines().enumerate() {
            canvas.write(top + 1 + i, left, "│", "");
            canvas.write(top + 1 + i, left + 2, &line, look(&self.status).1);
            canvas.write(top + 1 + i, left + width - 1, "│", "");
        }
        canvas.write(top + HEIGHT - 1, left, &format!("└{rule}┘"), "");
        for &column in entries {
            canvas.put(top, column, '▼', "");
        }
    }
}

/// Draws the lines below row `top` and says how many rows they take.
fn route(canvas: &mut Canvas, top: usize, bundles: &[Bundle]) -> usize {
    let mut tracks: Vec<Vec<&Bundle>> = Vec::new();
    for bundle in bundles.iter().filter(|bundle| bundle.first() < bundle.last()) {
        let free = |track: &&mut Vec<&Bundle>| track.iter().all(|other| other.last() + 1 < bundle.first());
        match tracks.iter_mut().find(free) {
            Some(track) => track.push(bundle),
            None => tracks.push(vec![bundle]),
        }
    }
    let bottom = top + tracks.len() + 2;
    if bundles.is_empty() {
        return 0;
    }

    // Who stands where: lines that only cross give way to those that stand.
    let mut standing: Vec<(usize, usize, usize)> = Vec::new();
    for bundle in bundles.iter().filter(|bundle| bundle.first() == bundle.last()) {
        standing.push((bundle.first(), top, bottom));
    }
    for (row, track) in tracks.iter().enumerate() {
        let row = top + 1 + row;
        for bundle in track {
            standing.extend(bundle.sources.iter().map(|&(_, column)| (column, top, row)));
            standing.extend(bundle.targets.iter().map(|&(_, column)| (column, row, bottom)));
        }
    }
    for &(column, from, to) in &standing {
        canvas.vertical(column, from, to);
    }
    for (row, track) in tracks.iter().enumerate() {
        let row = top + 1 + row;
        for bundle in track {
            let own: BTreeSet<usize> = bundle.columns().collect();
            let crossed: Vec<usize> = standing
                .iter()
                .filter(|(column, from, to)| !own.contains(column) && (*from..=*to).contains(&row))
                .map(|(column, _, _)| *column)
                .collect();
            canvas.horizontal(row, bundle.first(), bundle.last(), &crossed);
        }
    }
    bottom - top - 1
}

#[cfg(test)]
mod tests {
    use super::canvas::{DOWN, LEFT, LINES, RIGHT};
    use super::*;
    use serde_json::json;

    fn picture(steps: &[&str], deps: &[(&str, &str)]) -> Picture {
        let steps_of_graph: Vec<Value> =
            steps.iter().map(|slug| json!({"step_slug": slug, "step_type": "single"})).collect();
        let deps: Vec<Value> =
            deps.iter().map(|(from, to)| json!({"from_step_slug": from, "to_step_slug": to})).collect();
        let states: Vec<Value> = steps
            .iter()
            .map(|slug| json!({"step_slug": slug, "status": "completed", "initial_tasks": 1}))
            .collect();
        Picture::new(&json!({"steps": steps_of_graph, "deps": deps}), &json!({ "steps": states })).unwrap()
    }

    /// Follows the lines out of every box, never upwards, and names the deps they stand for.
    fn deps_in(drawing: &str) -> BTreeSet<(char, char)> {
        let rows: Vec<Vec<char>> = drawing.lines().map(|line| line.chars().collect()).collect();
        let at = |r: usize, c: usize| rows[r].get(c).copied().unwrap_or(' ');
        let leads = |way: u8, r: usize, c: usize| {
            LINES.iter().rposition(|&line| line == at(r, c)).unwrap_or(0) as u8 & way != 0
        };
        let all = (0..rows.len()).flat_map(|r| (0..rows[r].len()).map(move |c| (r, c)));
        // Boxes as row and column of their symbol; the name is two columns on, the middle four.
        let boxes: Vec<(usize, usize)> = all.filter(|&(r, c)| at(r, c) == '✓').collect();
        let mut deps = BTreeSet::new();
        for &(row, column) in &boxes {
            let (mut seen, mut ahead) = (BTreeSet::new(), vec![(row + 2, column + 4)]);
            while let Some((r, c)) = ahead.pop() {
                if !seen.insert((r, c)) {
                    continue;
                }
                if at(r, c) == '▼' {
                    let to = boxes.iter().find(|b| b.0 == r + 1 && (b.1 + 4).abs_diff(c) < 6).unwrap();
                    deps.insert((at(row, column + 2), at(to.0, to.1 + 2)));
                    continue;
                }
                if leads(DOWN, r, c) {
                    ahead.push((r + 1, c));
                }
                // A line goes on beyond those that interrupt it; a border is no line.
                if leads(RIGHT, r, c) && r != row + 2 {
                    ahead.extend((c + 1..rows[r].len()).find(|&c| leads(LEFT, r, c)).map(|c| (r, c)));
                }
                if leads(LEFT, r, c) && r != row + 2 {
                    ahead.extend((0..c).rev().find(|&c| leads(RIGHT, r, c)).map(|c| (r, c)));
                }
            }
        }
        deps
    }

    #[test]
    fn the_lines_of_any_picture_are_its_deps() {
        let slugs = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let letters: Vec<char> = "abcdefgh".chars().collect();
        let mut random = 1_u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for _ in 0..2000 {
            let count = 2 + below(7) as usize;
            let chance = 2 + below(4);
            let deps: BTreeSet<(usize, usize)> = (0..count)
                .flat_map(|to| (0..to).map(move |from| (from, to)))
                .filter(|_| below(chance) == 0)
                .collect();
            let named: Vec<(&str, &str)> = deps.iter().map(|&(from, to)| (slugs[from], slugs[to])).collect();
            let drawing = picture(&slugs[..count], &named).draw(false);
            let deps = deps.iter().map(|&(from, to)| (letters[from], letters[to])).collect();
            assert_eq!(deps_in(&drawing), deps, "{drawing}");
        }
    }

    #[test]
    fn a_wire_passes_a_layer() {
        let drawing = picture(&["a", "b", "c"], &[("a", "b"), ("b", "c"), ("a", "c")]).draw(false);
        assert_eq!(
            drawing.lines().collect::<Vec<_>>(),
            [
                "          ┌───────────┐",
                "          │ ✓ a       │",
                "          │   single  │",
                "          └─────┬─────┘",
                "        ┌───────┴───────┐",
                "        │               │",
                "  ┌─────▼─────┐         │",
                "  │ ✓ b       │         │",
                "  │   single  │         │",
                "  └─────┬─────┘         │",
                "        └───────┬───────┘",
                "                │",
                "          ┌─────▼─────┐",
                "          │ ✓ c       │",
                "          │   single  │",
                "          └───────────┘",
            ]
        );
    }

    #[test]
    fn mermaid_names_nodes_by_number() {
        assert_eq!(
            picture(&["end", "b"], &[("end", "b")]).mermaid(),
            "flowchart TD
    n0[\"end<br/>single\"]
    n1[\"b<br/>single\"]
    n0 --> n1
    classDef completed fill:#d3f9d8,stroke:#2b8a3e
    class n0,n1 completed
"
        );
    }

    #[test]
    fn a_dep_of_an_unknown_step_is_refused() {
        let graph = json!({"steps": [], "deps": [{"from_step_slug": "a", "to_step_slug": "b"}]});
        assert!(Picture::new(&graph, &json!({"steps": []})).is_err());
        assert_eq!(picture(&[], &[]).draw(true), "");
    }
}
