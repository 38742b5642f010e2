//! What is wrong with a definition, and where.

use std::fmt;

/// What is wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Without its place; quotes the value.
    pub message: String,
    /// A sentence that says what would be right.
    pub hint: &'static str,
}

impl Fault {
    pub fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            message: message.into(),
            hint,
        }
    }
}

/// A fault and the value that has it: the name of an argument, or a JSON path into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: String,
    pub fault: Fault,
}

impl Problem {
    pub fn new(place: impl Into<String>, fault: Fault) -> Self {
        Self {
            place: place.into(),
            fault,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault.message)
    }
}

/// All that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// How many bytes of problems are listed, so that a hopeless document does not flood the log.
    const LISTED: usize = 256 * 1024;

    /// The first problem, and how many more there are.
    pub fn summary(&self) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            [only] => only.to_string(),
            [first, more @ ..] => format!("{first} (and {} more)", more.len()),
        }
    }

    /// Every problem, one a line; `None` when the summary says it all.
    pub fn list(&self) -> Option<String> {
        if self.0.len() < 2 {
            return None;
        }
        let mut list = String::new();
        for (n, problem) in self.0.iter().enumerate() {
            if list.len() > Self::LISTED {
                list += &format!("\nand {} more", self.0.len() - n);
                break;
            }
            if n > 0 {
                list.push('\n');
            }
            list += &problem.to_string();
        }
        Some(list)
    }

    /// The hints of all problems, each once.
    pub fn hints(&self) -> String {
        let mut hints = Vec::new();
        for Problem { fault, .. } in &self.0 {
            if !hints.contains(&fault.hint) {
                hints.push(fault.hint);
            }
        }
        hints.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(count: usize) -> Problems {
        Problems(
            (0..count)
                .map(|n| Problem::new(format!("$[{n}]"), Fault::new("is odd", "Be even.")))
                .collect(),
        )
    }

    #[test]
    fn one_problem_needs_no_list() {
        assert_eq!(problems(1).summary(), "$[0]: is odd");
        assert_eq!(problems(1).list(), None);
        assert_eq!(problems(1).hints(), "Be even.");
    }

    #[test]
    fn several_problems_are_counted_and_listed() {
        assert_eq!(problems(3).summary(), "$[0]: is odd (and 2 more)");
        assert_eq!(
            problems(2).list().as_deref(),
            Some("$[0]: is odd\n$[1]: is odd")
        );
        assert_eq!(problems(3).hints(), "Be even.");
        assert_eq!(problems(2000).list().unwrap().lines().count(), 2000);
    }

    #[test]
    fn a_list_beyond_measure_is_cut() {
        let list = problems(100_000).list().unwrap();
        assert!(list.len() < 300_000);
        let (told, more) = list.rsplit_once("\nand ").unwrap();
        let more: usize = more.strip_suffix(" more").unwrap().parse().unwrap();
        assert_eq!(told.lines().count() + more, 100_000);
    }
}
