//! Who waits for whom and with what end, as a table that is kept beside the sources: a change of it is seen in review.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::scenes::SCENES;
use crate::stage::{End, Level};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/matrix.txt");

const HEAD: &str = "\
# What becomes of call B when it meets call A, which is done but not yet committed.
#
# waits        what B waits for until A ends: the lock of the run, a row, a table; - when it does not wait
# A comm.      A commits: the end is that of A;B, of B;A, of either (they are the same), or something is left: a claim
#              or a pruning passed over what A held, and the next one takes it up
# A rolls      A rolls back: the end is that of B alone, or something is left
# RR …         the same at REPEATABLE READ, where B's snapshot is older than A; 40001 or PT409: B failed so (for
#              delete_flow: \"flow has new runs\") and changed nothing
# RR late      B is called when A has committed
#
# What is measured at SERIALIZABLE is not here: which serialisation failures are reported too much depends on pages.
";

const COLUMNS: usize = 6;

/// waits, A commits, A rolls back, and at REPEATABLE READ: A commits, A rolls back, late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells([Option<String>; COLUMNS]);

impl Cells {
    pub fn enter(&mut self, level: Level, end: End, waited: Option<&str>, verdict: &str) {
        let column = match (level, end) {
            (Level::ReadCommitted, End::Commit) => {
                self.0[0] = Some(waited.unwrap_or("-").to_owned());
                1
            }
            (Level::ReadCommitted, End::Rollback) => 2,
            (Level::RepeatableRead, End::Commit) => 3,
            (Level::RepeatableRead, End::Rollback) => 4,
            (Level::RepeatableRead, End::CommitFirst) => 5,
            _ => return,
        };
        self.0[column] = Some(verdict.to_owned());
    }
}

/// By scene, then by the places of A and B in it.
#[derive(Default)]
pub struct Matrix(BTreeMap<(usize, usize, usize), Cells>);

impl Matrix {
    pub fn enter(&mut self, scene: usize, first: &str, second: &str, cells: Cells) {
        let place = |name| SCENES[scene].acts.iter().position(|act| *act == name).unwrap_or(usize::MAX);
        self.0.insert((scene, place(first), place(second)), cells);
    }

    fn line(&self, key: (usize, usize, usize), kept: Option<&str>) -> String {
        let (scene, first, second) = key;
        let kept: Vec<&str> = kept.map(|line| line.split('|').map(str::trim).collect()).unwrap_or_default();
        let cells = self.0.get(&key);
        let acts = SCENES[scene].acts;
        let mut line = format!("{:<19} | {:<19}", acts[first], acts[second]);
        for column in 0..COLUMNS {
            // What was not tried this time is taken to be as it was.
            // A claim that begins behind what it should have met leaves it for a moment, now and then; that it is found
            // again was checked.
            let was = kept.get(column + 2).copied();
            let tried = cells.and_then(|cells| cells.0[column].as_deref());
            let cell = tried.filter(|tried| *tried != "left" || was.is_none_or(str::is_empty)).or(was);
            let _ = write!(line, " | {:<7}", cell.unwrap_or(""));
        }
        line.trim_end().to_owned()
    }

    /// The table with what was tried now in the place of what was there.
    fn text(&self, kept: &str) -> String {
        let mut lines = BTreeMap::new();
        let mut scene = "";
        for line in kept.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                scene = name.split(':').next().unwrap_or("");
            } else if let Some((first, rest)) = line.split_once('|').filter(|_| !line.starts_with('#')) {
                let second = rest.split('|').next().unwrap_or("");
                lines.insert((scene, first.trim(), second.trim()), line);
            }
        }
        let mut text = HEAD.to_owned();
        for (no, scene) in SCENES.iter().enumerate() {
            let _ = writeln!(text, "\n== {}: {}\n", scene.name, scene.about);
            let _ =
                writeln!(text, "{:<19} | {:<19} | waits   | A comm. | A rolls | RR comm | RR roll | RR late", "A", "B");
            for (first, first_name) in scene.acts.iter().enumerate() {
                for (second, second_name) in scene.acts.iter().enumerate() {
                    let kept = lines.get(&(scene.name, *first_name, *second_name)).copied();
                    let _ = writeln!(text, "{}", self.line((no, first, second), kept));
                }
            }
        }
        text
    }

    /// The lines that differ from the table as it is kept; with `accept` it is written instead.
    pub fn compare(&self, accept: bool) -> Result<Vec<String>, std::io::Error> {
        let kept = std::fs::read_to_string(FILE).unwrap_or_default();
        let text = self.text(&kept);
        if accept {
            std::fs::write(FILE, text)?;
            return Ok(Vec::new());
        }
        let old: Vec<&str> = kept.lines().collect();
        let mut differences = Vec::new();
        let mut scene = "";
        for (no, line) in text.lines().enumerate() {
            scene = line.strip_prefix("== ").unwrap_or(scene);
            if old.get(no) != Some(&line) {
                let was = old.get(no).copied().unwrap_or("");
                differences.push(format!("{scene}\n  was {was}\n  is  {line}"));
            }
        }
        Ok(differences)
    }
}
