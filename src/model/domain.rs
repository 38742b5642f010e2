//! What values the fields of a definition may have, each by itself.

use super::problem::Fault;
use super::slug::LONGEST as LONGEST_NAME;
use crate::error::quoted;

/// The longest duration, in seconds: fifty years, which no sum of two overflows.
pub const LONGEST_SECONDS: i32 = 50 * 366 * 86_400;

/// What a text may be.
pub struct Domain {
    what: &'static str,
    values: &'static [&'static str],
    hint: &'static str,
}

pub const STEP_TYPE: Domain = Domain {
    what: "step type",
    values: &["single", "map"],
    hint: "Step types are \"single\" and \"map\".",
};
pub const EXECUTOR: Domain = Domain {
    what: "executor",
    values: &["worker", "sql", "http", "flow", "external", "timer"],
    hint: "Executors are \"worker\", \"sql\", \"http\", \"flow\", \"external\" and \"timer\".",
};
pub const START_MODE: Domain = Domain {
    what: "start mode",
    values: &["auto", "manual"],
    hint: "Start modes are \"auto\" and \"manual\".",
};
pub const WHEN: Domain = Domain {
    what: "value",
    values: &["fail", "skip", "skip-cascade"],
    hint: "An unmet condition or an exhausted step may \"fail\", \"skip\" or \"skip-cascade\".",
};
pub const CATCH_UP: Domain = Domain {
    what: "value",
    values: &["none", "one", "all"],
    hint: "Missed ticks start \"none\", \"one\" or \"all\" of their runs.",
};

impl Domain {
    /// Whether `value` is one of the domain's.
    pub fn check(&self, value: &str) -> Result<(), Fault> {
        if self.values.contains(&value) {
            return Ok(());
        }
        Err(Fault::new(
            format!("unknown {} {}", self.what, quoted(value)),
            self.hint,
        ))
    }
}

/// A number of attempts.
pub fn attempts(value: Option<i32>) -> Result<(), Fault> {
    within(1, i32::MAX, value)
}

/// A duration.
pub fn seconds(least: i32, value: Option<i32>) -> Result<(), Fault> {
    within(least, LONGEST_SECONDS, value)
}

fn within(least: i32, most: i32, value: Option<i32>) -> Result<(), Fault> {
    const HINT: &str =
        "Attempts and timeouts are 1 or more, delays 0 or more; durations are in seconds.";
    match value {
        Some(value) if value < least => {
            Err(Fault::new(format!("{value} is less than {least}"), HINT))
        }
        Some(value) if value > most => {
            Err(Fault::new(format!("{value} is more than {most}"), HINT))
        }
        _ => Ok(()),
    }
}

/// Whether the text is a name: 1 to 128 characters, none of them a control character.
fn is_name(text: &str) -> bool {
    let length = text.chars().take(LONGEST_NAME + 1).count();
    (1..=LONGEST_NAME).contains(&length) && !text.chars().any(char::is_control)
}

/// The name of a schedule.
pub fn schedule(name: &str) -> Result<(), Fault> {
    if is_name(name) {
        return Ok(());
    }
    Err(Fault::new(
        format!("{} is not the name of a schedule", quoted(name)),
        "The name of a schedule is 1 to 128 characters, none of them a control character.",
    ))
}

/// The name of a queue.
pub fn queue(name: &str) -> Result<(), Fault> {
    if is_name(name) {
        return Ok(());
    }
    Err(Fault::new(
        format!("{} is not the name of a queue", quoted(name)),
        "The name of a queue is 1 to 128 characters, none of them a control character.",
    ))
}

/// A pattern, as JSON text.
pub fn pattern(text: Option<&str>) -> Result<(), Fault> {
    match text {
        Some(json) if !json.starts_with('{') => Err(Fault::new(
            format!("{} is not a JSON object", excerpt(json)),
            "A pattern is an object that the input must, or must not, contain.",
        )),
        _ => Ok(()),
    }
}

/// JSON text, cut where [`quoted`] would cut it.
pub fn excerpt(json: &str) -> String {
    const LONGEST: usize = 64;
    let mut text = String::new();
    for (n, c) in json.chars().enumerate() {
        if n == LONGEST {
            return format!("{text}… ({} bytes)", json.len());
        }
        // jsonb keeps some control characters as they are.
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_closed() {
        assert_eq!(WHEN.check("skip-cascade"), Ok(()));
        let fault = WHEN.check("Skip").unwrap_err();
        assert_eq!(fault.message, "unknown value \"Skip\"");
        assert!(EXECUTOR.check("").is_err());
    }

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(excerpt("\"a\u{85}b\u{7f}\""), "\"a\\u{85}b\\u{7f}\"");
        assert_eq!(
            excerpt(&"ä".repeat(65)),
            format!("{}… (130 bytes)", "ä".repeat(64))
        );
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(attempts(None), Ok(()));
        assert_eq!(attempts(Some(i32::MAX)), Ok(()));
        assert!(attempts(Some(0)).is_err());
        assert_eq!(seconds(0, Some(0)), Ok(()));
        assert_eq!(seconds(1, Some(LONGEST_SECONDS)), Ok(()));
        assert!(seconds(1, Some(0)).is_err());
        assert!(seconds(1, Some(LONGEST_SECONDS + 1)).is_err());
    }

    #[test]
    fn queues_are_any_printable_name() {
        for name in ["mail, urgent!", &"ä".repeat(128)] {
            assert_eq!(queue(name), Ok(()));
        }
        for name in ["", "a\nb", &"ä".repeat(129)] {
            assert!(queue(name).is_err());
        }
    }

    #[test]
    fn patterns_are_objects() {
        assert_eq!(pattern(None), Ok(()));
        assert_eq!(pattern(Some("{}")), Ok(()));
        let long = format!("[{}]", "1, ".repeat(1000));
        assert!(pattern(Some(&long)).unwrap_err().message.len() < 150);
    }
}
