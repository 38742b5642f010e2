//! Where everything in a picture stands.
//!
//! Layers go down the page; where that would be much wider than a page, they go from left to right.

use super::group::{self, Groups};
use super::layers::Layers;
use super::order::order;
use super::place::place;

/// The most points of wires that are drawn.
const MOST_POINTS: usize = 30_000;
/// Between two layers, if no line there goes far to the side.
const LAYER_GAP: f64 = 42.0;
/// What lines that go far to the side add to that, at most.
const MORE_GAP: f64 = 70.0;
/// Around the steps of a group, and between them.
pub const GROUP_MARGIN: f64 = 12.0;
pub const GROUP_GAP: f64 = 10.0;
/// Wider pictures are drawn from left to right if that makes them smaller.
const PAGE_WIDTH: f64 = 1_100.0;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Size {
    pub width: f64,
    pub height: f64,
}

/// A rectangle by its upper left corner.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// A line from one layer to the next: straight to the edge of its layer, in a curve over the gap, and straight to its
/// end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub from: Point,
    pub leaves: Point,
    pub arrives: Point,
    pub to: Point,
    /// The box that it comes from, and the one that it ends at, unless it goes on as a wire.
    pub source: usize,
    pub target: Option<usize>,
}

#[derive(Debug, Default)]
pub struct Layout {
    pub size: Size,
    pub goes_right: bool,
    /// The place of each node.
    pub nodes: Vec<Rect>,
    /// The frames of boxes with more than one node.
    pub frames: Vec<Rect>,
    /// The nodes of each box.
    pub boxes: Vec<Vec<usize>>,
    pub lines: Vec<Line>,
    /// The layer of each node, from the first.
    pub layer: Vec<usize>,
}

impl Layout {
    /// Of nodes with these sizes and deps; nothing if that would have too many lines.
    pub fn of(sizes: &[Size], deps: &[Vec<usize>]) -> Option<Self> {
        let groups = group::group(deps);
        let mut layers = Layers::of(&groups.deps, MOST_POINTS)?;
        order(&mut layers);
        let down = Self::drawn(sizes, &groups, &layers, false);
        if down.size.width <= PAGE_WIDTH {
            return Some(down);
        }
        let right = Self::drawn(sizes, &groups, &layers, true);
        // Screens scroll down more easily than to the side.
        let cost = |size: Size| (size.width / PAGE_WIDTH).max(size.height / (4.0 * PAGE_WIDTH));
        Some(if cost(right.size) < 0.8 * cost(down.size) {
            right
        } else {
            down
        })
    }

    fn drawn(sizes: &[Size], groups: &Groups, layers: &Layers, goes_right: bool) -> Self {
        let turn = |size: Size| match goes_right {
            true => Size {
                width: size.height,
                height: size.width,
            },
            false => size,
        };
        let grids: Vec<Grid> = (groups.nodes.iter())
            .map(|nodes| Grid::of(nodes, sizes))
            .collect();
        // Along the layers everything is measured as if they went down.
        let extents: Vec<Size> = grids.iter().map(|grid| turn(grid.size)).collect();
        let breadths: Vec<f64> = extents.iter().map(|size| size.width).collect();
        let middle = place(layers, &breadths);

        let mut tops = Vec::with_capacity(layers.layers.len());
        let mut bottoms = Vec::with_capacity(layers.layers.len());
        let mut top = 0.0;
        for layer in &layers.layers {
            let thickest = (layer.iter())
                .filter_map(|&node| extents.get(node))
                .fold(0.0, |thickest: f64, size| thickest.max(size.height));
            let farthest = (layer.iter())
                .flat_map(|&node| layers.below[node].iter().map(move |&below| (node, below)))
                .fold(0.0, |farthest: f64, (a, b)| {
                    farthest.max((middle[a] - middle[b]).abs())
                });
            tops.push(top);
            bottoms.push(top + thickest);
            top += thickest + LAYER_GAP + (farthest * 0.06).min(MORE_GAP);
        }

        let mut layout = Self {
            goes_right,
            nodes: vec![Rect::default(); sizes.len()],
            layer: vec![0; sizes.len()],
            boxes: groups.nodes.clone(),
            ..Self::default()
        };
        let at = |x: f64, y: f64| match goes_right {
            true => Point { x: y, y: x },
            false => Point { x, y },
        };
        // Boxes stand in the middle of their layer.
        let edges = |node: usize| {
            let (top, bottom) = (tops[layers.layer[node]], bottoms[layers.layer[node]]);
            match extents.get(node) {
                None => (top, bottom),
                Some(size) => {
                    let spare = (bottom - top - size.height) / 2.0;
                    (top + spare, bottom - spare)
                }
            }
        };
        for (node, grid) in grids.iter().enumerate() {
            let corner = at(middle[node] - extents[node].width / 2.0, edges(node).0);
            for (&inner, cell) in groups.nodes[node].iter().zip(&grid.cells) {
                layout.layer[inner] = layers.layer[node];
                layout.nodes[inner] = Rect {
                    x: corner.x + cell.x,
                    y: corner.y + cell.y,
                    ..*cell
                };
            }
            if grid.cells.len() > 1 {
                layout.frames.push(Rect {
                    x: corner.x,
                    y: corner.y,
                    width: grid.size.width,
                    height: grid.size.height,
                });
            }
            layout.size.width = layout.size.width.max(corner.x + grid.size.width);
            layout.size.height = layout.size.height.max(corner.y + grid.size.height);
        }
        let mut source: Vec<usize> = (0..middle.len()).collect();
        for node in layers.layers.iter().flatten().copied() {
            for &below in &layers.below[node] {
                if !layers.is_box(below) {
                    source[below] = source[node];
                }
                let to = edges(below).0;
                layout.lines.push(Line {
                    from: at(middle[node], edges(node).1),
                    leaves: at(middle[node], bottoms[layers.layer[node]]),
                    arrives: at(middle[below], tops[layers.layer[below]]),
                    // A wire goes on through its layer.
                    to: at(
                        middle[below],
                        if layers.is_box(below) {
                            to
                        } else {
                            edges(below).1
                        },
                    ),
                    source: source[node],
                    target: layers.is_box(below).then_some(below),
                });
            }
        }
        for line in &layout.lines {
            layout.size.width = layout.size.width.max(line.to.x).max(line.from.x);
            layout.size.height = layout.size.height.max(line.to.y).max(line.from.y);
        }
        layout
    }
}

/// The nodes of a box, from its upper left corner.
struct Grid {
    size: Size,
    cells: Vec<Rect>,
}

impl Grid {
    fn of(nodes: &[usize], sizes: &[Size]) -> Self {
        let of_nodes = nodes
            .iter()
            .map(|&node| sizes.get(node).copied().unwrap_or_default());
        if let [node] = nodes {
            let size = sizes.get(*node).copied().unwrap_or_default();
            let cell = Rect {
                x: 0.0,
                y: 0.0,
                width: size.width,
                height: size.height,
            };
            return Self {
                size,
                cells: vec![cell],
            };
        }
        const MOST_COLUMNS: usize = 6;
        let columns = ((nodes.len() as f64).sqrt().ceil() as usize).clamp(1, MOST_COLUMNS);
        let largest = of_nodes.clone().fold(Size::default(), |a, b| Size {
            width: a.width.max(b.width),
            height: a.height.max(b.height),
        });
        let cells: Vec<Rect> = (of_nodes.enumerate())
            .map(|(n, size)| Rect {
                x: GROUP_MARGIN + (n % columns) as f64 * (largest.width + GROUP_GAP),
                y: GROUP_MARGIN + (n / columns) as f64 * (largest.height + GROUP_GAP),
                width: size.width,
                height: size.height,
            })
            .collect();
        let extent = |count: usize, one: f64| {
            count as f64 * (one + GROUP_GAP) - GROUP_GAP + 2.0 * GROUP_MARGIN
        };
        let size = Size {
            width: extent(columns, largest.width),
            height: extent(nodes.len().div_ceil(columns), largest.height),
        };
        Self { size, cells }
    }
}
