//! What passed and what did not, and the inputs that did not, kept as files of the corpus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::server::cut;

const SHOWN: usize = 10;

#[derive(Default)]
pub struct Report {
    pub passed: u64,
    pub failed: u64,
    /// How often what came of a call: `accepted`, or an SQLSTATE.
    outcomes: BTreeMap<String, u64>,
}

pub fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The files of a target's corpus with their contents, in the order of their names.
pub fn files(target: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(corpus(target))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_string_lossy().into_owned(), std::fs::read_to_string(path).ok()?))
        })
        .collect();
    files.sort();
    files
}

impl Report {
    pub fn outcome(&mut self, outcome: &str) {
        *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
    }

    pub fn pass(&mut self) {
        self.passed += 1;
    }

    /// Passed if there are no problems.
    pub fn verdict(&mut self, target: &str, name: &str, problems: &[String]) {
        self.passed += u64::from(problems.is_empty());
        self.failed += u64::from(!problems.is_empty());
        problems.iter().for_each(|problem| println!("FAIL {target} {name}: {problem}"));
    }

    /// Says what went wrong, and keeps the input unless it came from the corpus.
    pub fn fail(&mut self, target: &str, name: &str, problem: &str, input: &str) {
        self.failed += 1;
        if self.failed as usize <= SHOWN {
            println!("FAIL {target} {name}: {problem}\n  {}", cut(input, 2000).replace('\n', "\n  "));
        }
        if !corpus(target).join(name).exists() && self.failed as usize <= SHOWN {
            let path = corpus(target).join(name);
            match std::fs::write(&path, input) {
                Ok(()) => println!("  kept as {}", path.display()),
                Err(error) => println!("  could not be kept as {}: {error}", path.display()),
            }
        }
    }

    pub fn line(&self, target: &str, seconds: f64) -> String {
        let outcomes: Vec<_> = self.outcomes.iter().map(|(outcome, n)| format!("{outcome} {n}")).collect();
        format!("{target}: {} passed, {} failed in {seconds:.1} s ({})", self.passed, self.failed, outcomes.join(", "))
    }
}
