//! A run, or a flow, that is too large to be drawn as a graph: a mark for each step, in the order of definition, and how
//! many there are of each kind.

use std::fmt::Write as _;

use super::label::{count, shorten, xml};
use super::layout::Size;
use super::svg::{Symbol, icon, number};
use super::{Executor, Picture, Status, Step};

/// A mark, and what it stands on.
const CELL: f64 = 10.0;
const IN_A_ROW: usize = 100;
/// Lines of text.
const LINE: f64 = 22.0;
/// Failed steps named.
const NAMED: usize = 12;
const SLUG: usize = 40;
const ERROR: usize = 70;

/// How large it is, and the drawing.
pub fn overview(picture: &Picture) -> (Size, String) {
    let mut out = String::new();
    let mut top = LINE;
    let note = |out: &mut String, top: f64, text: &str| {
        let _ = writeln!(
            out,
            "<text class=\"note\" x=\"0\" y=\"{}\">{}</text>",
            number(top),
            xml(text)
        );
    };
    note(
        &mut out,
        6.0,
        "Too large for a graph: each mark is a step, in the order of definition.",
    );
    for kind in Kind::of(picture) {
        let steps = picture.steps.iter().filter(|step| kind.has(step)).count();
        let _ = write!(out, "<g class=\"{}\">", kind.class());
        icon(&mut out, kind.symbol(), 0.0, top - 4.0, 16.0);
        let _ = writeln!(
            out,
            "<path class=\"cells {}\" d=\"M27 {}{}\"/><text x=\"44\" y=\"{}\" class=\"note\">{}</text></g>",
            kind.fill(),
            number(top),
            kind.mark(),
            number(top + 8.0),
            xml(&kind.says(&count(steps as i64, "step")))
        );
        top += LINE;
    }
    top += 8.0;
    for kind in Kind::of(picture) {
        let mut path = String::new();
        for (n, _) in picture
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| kind.has(step))
        {
            let x = (n % IN_A_ROW) as f64 * CELL + 1.0;
            let y = top + (n / IN_A_ROW) as f64 * CELL + 1.0;
            let _ = write!(path, "M{} {}{}", number(x), number(y), kind.mark());
        }
        let _ = writeln!(
            out,
            "<g class=\"{}\"><path class=\"cells {}\" d=\"{path}\"/></g>",
            kind.class(),
            kind.fill()
        );
    }
    top += picture.steps.len().div_ceil(IN_A_ROW) as f64 * CELL;

    let failed = (picture.steps.iter()).filter(|step| Kind::Status(Status::Failed).has(step));
    for step in failed.take(NAMED) {
        top += LINE;
        let error = step
            .error()
            .map(|error| format!(": {}", shorten(error, ERROR)));
        let _ = writeln!(
            out,
            "<g class=\"failed\"><text class=\"error\" x=\"0\" y=\"{}\">{}{}</text></g>",
            number(top),
            xml(&shorten(&step.slug, SLUG)),
            xml(error.as_deref().unwrap_or_default())
        );
    }
    let columns = picture.steps.len().clamp(50, IN_A_ROW);
    (
        Size {
            width: columns as f64 * CELL,
            height: top + 4.0,
        },
        out,
    )
}

/// What steps are told apart by: how they stand in a run, who does them in a flow.
#[derive(Clone, Copy)]
enum Kind {
    Status(Status),
    Executor(Executor),
}

impl Kind {
    /// Those that there are.
    fn of(picture: &Picture) -> Vec<Self> {
        let all: Vec<Self> = match picture.run {
            Some(_) => Status::ALL.into_iter().map(Self::Status).collect(),
            None => Executor::ALL.into_iter().map(Self::Executor).collect(),
        };
        (all.into_iter())
            .filter(|kind| picture.steps.iter().any(|step| kind.has(step)))
            .collect()
    }

    fn has(self, step: &Step) -> bool {
        match self {
            Self::Status(status) => step
                .state
                .as_ref()
                .is_some_and(|state| state.status == status),
            Self::Executor(executor) => step.executor == executor,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Status(status) => status.word(),
            Self::Executor(_) => "kind",
        }
    }

    fn says(self, steps: &str) -> String {
        match self {
            Self::Status(status) => format!("{steps} {}", status.word()),
            Self::Executor(executor) => format!("{steps} by {}", executor.word()),
        }
    }

    fn symbol(self) -> Symbol {
        match self {
            Self::Status(status) => Symbol::Status(status),
            Self::Executor(executor) => Symbol::Executor(executor),
        }
    }

    /// From the upper left corner of a square of 7.
    fn mark(self) -> &'static str {
        const SQUARE: &str = "h7v7h-7z";
        const TRIANGLE: &str = "l7 3.5l-7 3.5z";
        const CROSS: &str = "l7 7m0 -7l-7 7";
        const BARS: &str = "m1 0v7m4 -7v7";
        match self {
            Self::Status(Status::Completed) | Self::Executor(Executor::Worker) => SQUARE,
            Self::Status(Status::Started) | Self::Executor(Executor::External) => TRIANGLE,
            Self::Status(Status::Failed) | Self::Executor(Executor::Timer) => CROSS,
            Self::Status(Status::Skipped) | Self::Executor(Executor::Flow) => BARS,
            // A dot, a stroke, a diamond, a circle.
            Self::Status(Status::Pending) => "m3 3.5h1",
            Self::Status(Status::Cancelled) => "m0 7l7 -7",
            Self::Executor(Executor::Sql) => "m3.5 0l3.5 3.5l-3.5 3.5l-3.5 -3.5z",
            Self::Executor(Executor::Http) => "m0 3.5a3.5 3.5 0 1 1 7 0a3.5 3.5 0 1 1 -7 0z",
        }
    }

    fn fill(self) -> &'static str {
        match self {
            Self::Status(Status::Completed | Status::Started)
            | Self::Executor(Executor::Worker) => "full",
            _ => "open",
        }
    }
}
