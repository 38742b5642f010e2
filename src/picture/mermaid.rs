//! A picture as a flowchart of Mermaid, for places that draw its text: Markdown pages of code hosts, notebooks, chats.
//!
//! Only what every version of Mermaid knows is used. Nodes are named by number, since a slug may be a word of Mermaid's.

use std::fmt::Write as _;

use super::label::shorten;
use super::{Executor, Picture, Status, Step};

const LONGEST_SLUG: usize = 40;
const LONGEST_LINE: usize = 60;

/// The style of each status: fill, border, text, and dashes where the step was not done.
const fn style(status: Status) -> &'static str {
    match status {
        Status::Completed => "fill:#ebf8f3,stroke:#08714f,color:#06382a",
        Status::Started => "fill:#e9f3fd,stroke:#0b5fb0,color:#062e57,stroke-width:2px",
        Status::Pending => "fill:#ffffff,stroke:#5d6772,color:#3b434b",
        Status::Failed => "fill:#fdefe8,stroke:#b3350b,color:#5c1a04,stroke-width:3px",
        Status::Skipped => "fill:#faf5fb,stroke:#84478f,color:#4d2854,stroke-dasharray:5 4",
        Status::Cancelled => "fill:#f5f7f9,stroke:#5d6772,color:#3b434b,stroke-dasharray:2 3",
    }
}

/// What says how a step stands where colours do not.
const fn sign(status: Status) -> &'static str {
    match status {
        Status::Completed => "✓",
        Status::Started => "▶",
        Status::Pending => "○",
        Status::Failed => "✗",
        Status::Skipped => "»",
        Status::Cancelled => "⊘",
    }
}

pub fn mermaid(picture: &Picture) -> String {
    let mut out = String::from("flowchart TD\n");
    let title = match &picture.run {
        None => format!("Flow {}, version {}", picture.flow_slug, picture.version),
        Some(run) => format!(
            "Run {} of {}: {}",
            run.run_id,
            picture.flow_slug,
            run.status.word()
        ),
    };
    // Up to the end of the line.
    let _ = writeln!(out, "  accTitle: {}", harmless(&title));
    for (n, step) in picture.steps.iter().enumerate() {
        let (open, close) = shape(step);
        let text = text(step);
        // Mermaid takes the last semicolon of a line away that looks to it like a style; so there is one for it.
        let end = if text.contains('#') { ";" } else { "" };
        let _ = writeln!(out, "  s{n}{open}\"{text}\"{close}{end}");
    }
    for (n, step) in picture.steps.iter().enumerate() {
        for dep in &step.deps {
            let _ = writeln!(out, "  s{dep} --> s{n}");
        }
    }
    for status in Status::ALL {
        let mut nodes = (picture.steps.iter().enumerate())
            .filter(|(_, step)| {
                step.state
                    .as_ref()
                    .is_some_and(|state| state.status == status)
            })
            .map(|(n, _)| format!("s{n}"))
            .peekable();
        if nodes.peek().is_some() {
            let nodes: Vec<_> = nodes.collect();
            let word = status.word();
            let _ = writeln!(out, "  classDef {word} {}", style(status));
            let _ = writeln!(out, "  class {} {word}", nodes.join(","));
        }
    }
    out
}

/// A map has double sides; what waits for a time or for somebody is round or has corners.
fn shape(step: &Step) -> (&'static str, &'static str) {
    match step.executor {
        _ if step.is_map => ("[[", "]]"),
        Executor::Timer => ("([", "])"),
        Executor::External => ("{{", "}}"),
        Executor::Flow => ("[/", "/]"),
        Executor::Worker | Executor::Sql | Executor::Http => ("[", "]"),
    }
}

fn text(step: &Step) -> String {
    let slug = harmless(&shorten(&step.slug, LONGEST_SLUG));
    let line = harmless(&shorten(&step.line(), LONGEST_LINE));
    let Some(state) = &step.state else {
        return format!("<b>{slug}</b><br/>{line}");
    };
    let mut text = format!(
        "{} <b>{slug}</b><br/>{}",
        sign(state.status),
        step.executor.word()
    );
    if step.is_map {
        text.push_str(" map");
    }
    let _ = write!(text, " · {line}");
    if let Some(error) = step.error() {
        let _ = write!(text, "<br/>{}", harmless(&shorten(error, LONGEST_LINE)));
    }
    text
}

/// Text within a label: whatever Mermaid, Markdown or HTML might make something of is a character code.
fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            'a'..='z'
            | 'A'..='Z'
            | '0'..='9'
            | ' '
            | '_'
            | '.'
            | ','
            | ':'
            | '/'
            | '-'
            | '…'
            | '·' => {
                safe.push(character);
            }
            character if character.is_alphanumeric() => safe.push(character),
            character => {
                let _ = write!(safe, "#{};", u32::from(character));
            }
        }
    }
    safe
}
