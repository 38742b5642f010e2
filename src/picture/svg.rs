//! A picture as SVG: one file by itself, without scripts and without anything from elsewhere, for light and dark pages.
//!
//! What a step is and how it stands is said by words and shapes, not by colours alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::label::{Font, shorten, xml};
use super::layout::{Layout, Line, Point, Rect, Size};
use super::overview;
use super::{Executor, Picture, Run, State, Status, Step};

const STYLE: &str = include_str!("style.css");

/// Around everything.
pub const MARGIN: f64 = 22.0;
/// Sizes of fonts, as the style has them.
const SLUG: f64 = 13.0;
const TITLE: f64 = 17.0;
const WORDS: f64 = 11.5;
const NOTE: f64 = 13.0;
const ID: f64 = 11.0;

const NARROWEST: f64 = 156.0;
const WIDEST: f64 = 300.0;
/// How wide a card becomes at most for an error, which has a title of its own.
const WIDEST_ERROR: f64 = 250.0;
/// No slug or error above the steps is wider.
const WIDEST_HEAD: f64 = 620.0;
/// Left of the text of a card, and right of it, beside the icon there and below it.
const BEFORE: f64 = 36.0;
const AFTER: f64 = 34.0;
const BESIDE: f64 = 12.0;
/// The cards behind that of a map.
const STACK: f64 = 3.0;
const HEIGHT: f64 = 50.0;
const ERROR_HEIGHT: f64 = 17.0;
const BAR_HEIGHT: f64 = 9.0;
/// Errors longer than that are cut also where there is room.
const LONGEST_ERROR: usize = 500;
/// Steps named in the description for those who cannot see.
const MOST_DESCRIBED: usize = 60;

/// The picture as a whole document.
pub fn svg(picture: &Picture) -> String {
    let mut out = String::new();
    let head = Head::of(picture);
    let body = Body::of(picture);
    let size = Size {
        width: (body.size.width).max(head.size.width).ceil() + 2.0 * MARGIN,
        height: (head.size.height + body.size.height).ceil() + 2.0 * MARGIN,
    };
    open(&mut out, picture, size);
    head.draw(&mut out, picture);
    let left = MARGIN + ((size.width - 2.0 * MARGIN - body.size.width) / 2.0).floor();
    let _ = write!(
        out,
        "<g transform=\"translate({},{})\">",
        number(left),
        number(MARGIN + head.size.height)
    );
    out.push_str(&body.drawing);
    out.push_str("</g>\n</svg>\n");
    out
}

fn open(out: &mut String, picture: &Picture, size: Size) {
    let (width, height) = (number(size.width), number(size.height));
    // Ids differ between pictures, since a page may have several in it.
    let id: String = (picture
        .run
        .as_ref()
        .map_or(&picture.flow_slug, |run| &run.run_id))
    .chars()
    .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    .collect();
    let (title, of) = match &picture.run {
        None => (
            format!("Flow {}, version {}", picture.flow_slug, picture.version),
            "flow",
        ),
        Some(run) => (
            format!("Run of {}: {}", picture.flow_slug, run.status.word()),
            "run",
        ),
    };
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"pgflow\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{of}-{id}-title {of}-{id}-desc\">\n\
         <title id=\"{of}-{id}-title\">{}</title>\n<desc id=\"{of}-{id}-desc\">{}</desc>\n<style>\n{STYLE}</style>\n<defs>",
        xml(&title),
        xml(&description(picture))
    );
    for symbol in Symbol::of(picture) {
        let _ = writeln!(
            out,
            "<symbol id=\"pgflow-{}\" viewBox=\"0 0 16 16\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.6\" \
             stroke-linecap=\"round\" stroke-linejoin=\"round\">{}</symbol>",
            symbol.name(),
            symbol.shape()
        );
    }
    let _ = writeln!(
        out,
        "</defs>\n<rect class=\"page\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
        number(size.width - 1.0),
        number(size.height - 1.0)
    );
}

fn description(picture: &Picture) -> String {
    let mut words = vec![picture.sentence()];
    if let Some(message) = picture
        .run
        .as_ref()
        .and_then(|run| run.error_message.as_deref())
    {
        words.push(shorten(message, LONGEST_ERROR));
    }
    if picture.steps.len() <= MOST_DESCRIBED {
        words.extend(picture.steps.iter().map(|step| {
            let line = shorten(&step.line(), LONGEST_ERROR);
            match step.deps.as_slice() {
                [] => format!("{}: {line}", step.slug),
                deps => {
                    let deps: Vec<_> = (deps.iter())
                        .filter_map(|&dep| picture.steps.get(dep))
                        .map(|dep| dep.slug.as_str())
                        .collect();
                    format!("{} after {}: {line}", step.slug, deps.join(", "))
                }
            }
        }));
    }
    words.join(". ")
}

/// What stands above the steps.
struct Head {
    size: Size,
    error: Option<String>,
}

impl Head {
    fn of(picture: &Picture) -> Self {
        let run = picture.run.as_ref();
        let error = (run.and_then(|run| run.error_message.as_deref()))
            .map(|message| Font::Words.shorten(message, NOTE, WIDEST_HEAD))
            .filter(|message| !message.is_empty());
        let widths = [
            Self::beside_title(picture) + 80.0,
            Font::Words.extent(&picture.sentence(), NOTE),
            run.map_or(0.0, |run| {
                Self::beside_id(run) + legend(picture, None, 0.0, 0.0)
            }),
            error
                .as_deref()
                .map_or(0.0, |error| Font::Words.extent(error, NOTE)),
        ];
        let lines = 2 + usize::from(run.is_some()) + usize::from(error.is_some());
        Self {
            size: Size {
                width: widths.into_iter().fold(0.0, f64::max),
                height: lines as f64 * 20.0 + 24.0,
            },
            error,
        }
    }

    fn title(picture: &Picture) -> String {
        Font::Slug.shorten(&picture.flow_slug, TITLE, WIDEST_HEAD)
    }

    /// Where the title ends.
    fn beside_title(picture: &Picture) -> f64 {
        let icon = if picture.run.is_some() { 28.0 } else { 0.0 };
        icon + Font::Slug.extent(&Self::title(picture), TITLE) + 10.0
    }

    fn beside_id(run: &Run) -> f64 {
        Font::Slug.extent(&run.run_id, ID) + 22.0
    }

    fn draw(&self, out: &mut String, picture: &Picture) {
        let status = picture.run.as_ref().map_or("", |run| run.status.word());
        let _ = write!(
            out,
            "<g class=\"head {status}\" transform=\"translate({MARGIN},{MARGIN})\">"
        );
        let mut left = 0.0;
        if let Some(run) = &picture.run {
            icon(out, Symbol::Status(run.status), 0.0, 0.0, 20.0);
            left = 28.0;
        }
        let _ = write!(
            out,
            "<text class=\"slug\" x=\"{left}\" y=\"16\">{}</text><text class=\"note\" x=\"{}\" y=\"16\">version {}</text>\
             <text class=\"note\" x=\"0\" y=\"39\">{}</text>",
            xml(&Self::title(picture)),
            number(Self::beside_title(picture)),
            picture.version,
            xml(&picture.sentence())
        );
        let mut line = 39;
        if let Some(error) = &self.error {
            line += 20;
            let _ = write!(
                out,
                "<text class=\"error\" x=\"0\" y=\"{line}\">{}</text>",
                xml(error)
            );
        }
        if let Some(run) = &picture.run {
            line += 20;
            let _ = write!(
                out,
                "<text class=\"id\" x=\"0\" y=\"{line}\">{}</text>",
                xml(&run.run_id)
            );
            legend(picture, Some(out), Self::beside_id(run), f64::from(line));
        }
        out.push_str("</g>\n");
    }
}

struct Body {
    size: Size,
    drawing: String,
}

impl Body {
    fn of(picture: &Picture) -> Self {
        let drawn = match picture.is_large() {
            true => None,
            false => Self::graph(picture),
        };
        drawn.unwrap_or_else(|| {
            let (size, drawing) = overview::overview(picture);
            Self { size, drawing }
        })
    }

    fn graph(picture: &Picture) -> Option<Self> {
        let width = card_width(&picture.steps);
        let sizes: Vec<Size> = picture.steps.iter().map(|step| step.size(width)).collect();
        let deps: Vec<Vec<usize>> = picture.steps.iter().map(|step| step.deps.clone()).collect();
        let layout = Layout::of(&sizes, &deps)?;
        let mut drawing = String::new();
        for frame in &layout.frames {
            rect(&mut drawing, "frame", *frame, 10.0);
        }
        drawing.push('\n');
        draw_lines(&mut drawing, picture, &layout);
        for (step, place) in picture.steps.iter().zip(&layout.nodes) {
            step.draw(&mut drawing, *place);
        }
        Some(Self {
            size: layout.size,
            drawing,
        })
    }
}

/// As wide as the longest slug wants, within bounds: all the same, which is calm to look at.
fn card_width(steps: &[Step]) -> f64 {
    let widest = (steps.iter())
        .map(|step| {
            let slug = Font::Slug.extent(&step.slug, SLUG) + BEFORE + AFTER;
            let line = Font::Words.extent(&step.line(), WORDS) + BEFORE + BESIDE;
            let error = step.error().map_or(0.0, |error| {
                (Font::Words.extent(error, WORDS) + 24.0).min(WIDEST_ERROR)
            });
            slug.max(line).max(error) + if step.is_map { 2.0 * STACK } else { 0.0 }
        })
        .fold(0.0, f64::max);
    widest.clamp(NARROWEST, WIDEST).ceil()
}

/// Lines are darker where a step has ended, so that one sees how far a run is.
fn draw_lines(out: &mut String, picture: &Picture, layout: &Layout) {
    let is_past = |source: usize| {
        let mut nodes = layout.boxes.get(source).into_iter().flatten();
        nodes.all(|&node| {
            let state = picture.steps.get(node).and_then(|step| step.state.as_ref());
            state.is_none_or(|state| matches!(state.status, Status::Completed | Status::Skipped))
        })
    };
    let past: Vec<bool> = (0..layout.boxes.len()).map(is_past).collect();
    let is_past = |line: &&Line| past.get(line.source).copied().unwrap_or(false);
    out.push_str("<g class=\"lines\">");
    for line in layout.lines.iter().filter(|line| !is_past(line)) {
        let _ = write!(out, "<path d=\"{}\"/>", path(line, layout.goes_right));
    }
    for line in layout.lines.iter().filter(is_past) {
        let _ = write!(
            out,
            "<path class=\"past\" d=\"{}\"/>",
            path(line, layout.goes_right)
        );
    }
    out.push_str("</g>\n<g class=\"arrows\">");
    let mut arrows: Vec<(usize, bool, Point)> = (layout.lines.iter())
        .filter_map(|line| Some((line.target?, !is_past(&line), line.to)))
        .collect();
    // One for each box, dark only if all that leads there is.
    arrows.sort_by_key(|&(target, is_ahead, _)| (target, !is_ahead));
    arrows.dedup_by_key(|arrow| arrow.0);
    for (_, is_ahead, to) in arrows {
        let (x, y) = (number(to.x), number(to.y));
        let shape = match layout.goes_right {
            true => "l-7 -4v8z",
            false => "l-4 -7h8z",
        };
        let class = if is_ahead { "" } else { " class=\"past\"" };
        let _ = write!(out, "<path{class} d=\"M{x} {y}{shape}\"/>");
    }
    out.push_str("</g>\n");
}

fn path(line: &Line, goes_right: bool) -> String {
    let say = |point: Point| format!("{} {}", number(point.x), number(point.y));
    let mut path = format!("M{}", say(line.from));
    let Line {
        leaves, arrives, ..
    } = *line;
    let is_straight = match goes_right {
        true => (leaves.y - arrives.y).abs() < 0.5,
        false => (leaves.x - arrives.x).abs() < 0.5,
    };
    if is_straight {
        let _ = write!(path, "L{}", say(line.to));
        return path;
    }
    if leaves != line.from {
        let _ = write!(path, "L{}", say(leaves));
    }
    let (middle_x, middle_y) = ((leaves.x + arrives.x) / 2.0, (leaves.y + arrives.y) / 2.0);
    let (first, second) = match goes_right {
        true => (
            Point {
                x: middle_x,
                y: leaves.y,
            },
            Point {
                x: middle_x,
                y: arrives.y,
            },
        ),
        false => (
            Point {
                x: leaves.x,
                y: middle_y,
            },
            Point {
                x: arrives.x,
                y: middle_y,
            },
        ),
    };
    let _ = write!(path, "C{} {} {}", say(first), say(second), say(arrives));
    if arrives != line.to {
        let _ = write!(path, "L{}", say(line.to));
    }
    path
}

impl Step {
    fn has_bar(&self) -> Option<f64> {
        let state = self.state.as_ref()?;
        let tasks = state
            .initial_tasks
            .filter(|&tasks| self.is_map && tasks > 0)?;
        let is_shown = matches!(
            state.status,
            Status::Started | Status::Failed | Status::Cancelled
        );
        is_shown.then(|| (state.completed_tasks as f64 / tasks as f64).clamp(0.0, 1.0))
    }

    fn size(&self, width: f64) -> Size {
        let mut height = HEIGHT;
        if self.error().is_some() {
            height += ERROR_HEIGHT;
        }
        if self.has_bar().is_some() {
            height += BAR_HEIGHT;
        }
        if self.is_map {
            height += 2.0 * STACK;
        }
        Size { width, height }
    }

    fn draw(&self, out: &mut String, place: Rect) {
        let status = self.state.as_ref().map_or("", |state| state.status.word());
        let _ = write!(
            out,
            "<g class=\"step {status}\" transform=\"translate({},{})\"><title>{}</title>",
            number(place.x),
            number(place.y),
            self.title()
        );
        let mut card = Rect {
            x: 0.0,
            y: 0.0,
            ..place
        };
        if self.is_map {
            card.width -= 2.0 * STACK;
            card.height -= 2.0 * STACK;
            for n in [2.0, 1.0] {
                let behind = Rect {
                    x: n * STACK,
                    y: n * STACK,
                    ..card
                };
                rect(out, "card", behind, 7.0);
            }
        }
        rect(out, "card", card, 7.0);
        match &self.state {
            Some(state) => icon(out, Symbol::Status(state.status), 11.0, 9.0, 17.0),
            None => icon(out, Symbol::Executor(self.executor), 11.0, 9.0, 17.0),
        }
        if self.state.is_some() {
            let right = card.width - 26.0;
            out.push_str("<g class=\"kind\">");
            icon(out, Symbol::Executor(self.executor), right, 9.0, 15.0);
            out.push_str("</g>");
        }
        let _ = write!(
            out,
            "<text class=\"slug\" x=\"{BEFORE}\" y=\"22\">{}</text>",
            xml(&Font::Slug.shorten(&self.slug, SLUG, card.width - BEFORE - AFTER))
        );
        let line = Font::Words.shorten(&self.line(), WORDS, card.width - BEFORE - BESIDE);
        let _ = write!(
            out,
            "<text class=\"kind\" x=\"{BEFORE}\" y=\"39\">{}</text>",
            xml(&line)
        );
        let mut below = 39.0;
        if let Some(error) = self.error() {
            below += ERROR_HEIGHT;
            let error = Font::Words.shorten(error, WORDS, card.width - 24.0);
            let _ = write!(
                out,
                "<text class=\"error\" x=\"12\" y=\"{below}\">{}</text>",
                xml(&error)
            );
        }
        if let Some(part) = self.has_bar() {
            let track = Rect {
                x: 12.0,
                y: below + 9.0,
                width: card.width - 24.0,
                height: 4.0,
            };
            rect(out, "track", track, 2.0);
            if part > 0.0 {
                rect(
                    out,
                    "bar",
                    Rect {
                        width: track.width * part,
                        ..track
                    },
                    2.0,
                );
            }
        }
        out.push_str("</g>\n");
    }

    /// What the pointer is told, line by line.
    fn title(&self) -> String {
        let mut lines = vec![xml(&self.slug), xml(&shorten(&self.line(), LONGEST_ERROR))];
        if self.state.is_some() {
            lines.push(xml(&self.definition()));
        }
        if let Some(error) = self.error() {
            lines.push(xml(&shorten(error, LONGEST_ERROR)));
        }
        lines.join("&#10;")
    }
}

/// Draws the icons of executors with their words, and says how much room they take. In the picture of a flow the steps
/// have those words themselves.
fn legend(picture: &Picture, mut out: Option<&mut String>, left: f64, bottom: f64) -> f64 {
    let mut x = left;
    for symbol in Symbol::of(picture) {
        let Symbol::Executor(executor) = symbol else {
            continue;
        };
        if let Some(out) = out.as_deref_mut() {
            let _ = write!(
                out,
                "<g class=\"kind\" transform=\"translate({},{bottom})\">",
                number(x)
            );
            icon(out, symbol, 0.0, -12.0, 15.0);
            let _ = write!(
                out,
                "<text class=\"kind\" x=\"20\" y=\"0\">{}</text></g>",
                executor.word()
            );
        }
        x += 20.0 + Font::Words.extent(executor.word(), WORDS) + 14.0;
    }
    x - left
}

pub fn rect(out: &mut String, class: &str, rect: Rect, radius: f64) {
    let _ = write!(
        out,
        "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{radius}\"/>",
        number(rect.x),
        number(rect.y),
        number(rect.width),
        number(rect.height)
    );
}

/// With one decimal place at most.
pub fn number(value: f64) -> String {
    let tenths = (value * 10.0).round() as i64;
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        rest => format!(
            "{}{}.{}",
            if tenths < 0 { "-" } else { "" },
            (tenths / 10).abs(),
            rest.abs()
        ),
    }
}

pub fn icon(out: &mut String, symbol: Symbol, x: f64, y: f64, size: f64) {
    let _ = write!(
        out,
        "<use href=\"#pgflow-{}\" x=\"{}\" y=\"{}\" width=\"{size}\" height=\"{size}\"/>",
        symbol.name(),
        number(x),
        number(y)
    );
}

/// A little drawing of 16 by 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    Status(Status),
    Executor(Executor),
}

impl Symbol {
    fn of(picture: &Picture) -> Vec<Self> {
        let statuses: BTreeSet<Status> = (picture.steps.iter())
            .filter_map(|step| step.state.as_ref().map(|state: &State| state.status))
            .chain(picture.run.as_ref().map(|run| run.status))
            .collect();
        let executors = (Executor::ALL.into_iter())
            .filter(|&executor| picture.steps.iter().any(|step| step.executor == executor));
        (statuses.into_iter().map(Self::Status))
            .chain(executors.map(Self::Executor))
            .collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Status(status) => status.word(),
            Self::Executor(executor) => executor.word(),
        }
    }

    /// Each status has an outline of its own.
    fn shape(self) -> &'static str {
        match self {
            Self::Status(Status::Pending) => {
                "<circle cx=\"8\" cy=\"8\" r=\"6.7\" stroke-dasharray=\"2.2 3.06\"/>"
            }
            Self::Status(Status::Started) => {
                "<path class=\"pgflow-turning\" d=\"M8 1.2a6.8 6.8 0 1 1-6.8 6.8\"/>\
                 <path fill=\"currentColor\" d=\"M6.3 5l5 3-5 3z\"/>"
            }
            Self::Status(Status::Completed) => {
                "<circle fill=\"currentColor\" cx=\"8\" cy=\"8\" r=\"7\"/>\
                 <path class=\"pgflow-mark\" stroke-width=\"2\" d=\"M4.7 8.3l2.3 2.3 4.3-4.8\"/>"
            }
            Self::Status(Status::Failed) => {
                "<path fill=\"currentColor\" d=\"M5 1h6l4 4v6l-4 4h-6l-4-4v-6z\"/>\
                 <path class=\"pgflow-mark\" stroke-width=\"2\" d=\"M5.4 5.4l5.2 5.2m0-5.2l-5.2 5.2\"/>"
            }
            Self::Status(Status::Skipped) => {
                "<rect x=\"1.2\" y=\"1.2\" width=\"13.6\" height=\"13.6\" rx=\"3\"/>\
                 <path d=\"M4.6 5l3 3-3 3m4-6l3 3-3 3\"/>"
            }
            Self::Status(Status::Cancelled) => {
                "<circle cx=\"8\" cy=\"8\" r=\"6.7\"/><path d=\"M3.3 12.7l9.4-9.4\"/>"
            }
            // A prompt.
            Self::Executor(Executor::Worker) => {
                "<rect x=\"1.2\" y=\"2.2\" width=\"13.6\" height=\"11.6\" rx=\"2.5\"/>\
                 <path d=\"M4.3 5.8l2.4 2.2-2.4 2.2M8.6 10.6h3\"/>"
            }
            // A drum.
            Self::Executor(Executor::Sql) => {
                "<ellipse cx=\"8\" cy=\"3.6\" rx=\"6\" ry=\"2.4\"/>\
                 <path d=\"M2 3.6v8.8c0 1.3 2.7 2.4 6 2.4s6-1.1 6-2.4v-8.8M2 8c0 1.3 2.7 2.4 6 2.4s6-1.1 6-2.4\"/>"
            }
            // A globe.
            Self::Executor(Executor::Http) => {
                "<circle cx=\"8\" cy=\"8\" r=\"6.8\"/>\
                 <ellipse cx=\"8\" cy=\"8\" rx=\"3\" ry=\"6.8\"/><path d=\"M1.2 8h13.6\"/>"
            }
            // A box that leads to two.
            Self::Executor(Executor::Flow) => {
                "<rect x=\"5.2\" y=\"1.2\" width=\"5.6\" height=\"4.6\" rx=\"1\"/>\
                 <rect x=\"1.2\" y=\"10.2\" width=\"5.2\" height=\"4.6\" rx=\"1\"/>\
                 <rect x=\"9.6\" y=\"10.2\" width=\"5.2\" height=\"4.6\" rx=\"1\"/>\
                 <path d=\"M8 5.8v2.2M3.8 10.2v-2.2h8.4v2.2\"/>"
            }
            // Somebody.
            Self::Executor(Executor::External) => {
                "<circle cx=\"8\" cy=\"5\" r=\"3.4\"/>\
                 <path d=\"M1.8 14.8c.3-3.4 2.9-5.2 6.2-5.2s5.9 1.8 6.2 5.2\"/>"
            }
            // A clock.
            Self::Executor(Executor::Timer) => {
                "<circle cx=\"8\" cy=\"8\" r=\"6.8\"/><path d=\"M8 4v4.2l2.8 1.8\"/>"
            }
        }
    }
}
