//! When a timer is over: where its time stands in the task's input, and how that value is read.

use jiff::civil::date;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

use super::domain::LONGEST_SECONDS;
use super::problem::Fault;
use super::shape::StepShape;
use crate::error::quoted;

/// A JSON pointer (RFC 6901) as its tokens; `None` if it is none.
pub fn pointer(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.strip_prefix('/')?.split('/').map(token).collect()
}

fn token(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('~');
    let mut token = parts.next()?.to_owned();
    for part in parts {
        let (character, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        token.push(character);
        token.push_str(rest);
    }
    Some(token)
}

/// Whether a timer's target names a value of its task's input.
pub fn check_target(step: &StepShape, target: &str) -> Result<(), Fault> {
    const HINT: &str = "The target of a timer is a JSON pointer into the input of its task, such as \"/run/remind_at\".";
    let tokens = pointer(target)
        .ok_or_else(|| Fault::new(format!("{} is no JSON pointer", quoted(target)), HINT))?;
    let is_member = |token: &String| match step.step_type.as_str() {
        "map" => matches!(token.as_str(), "item" | "index"),
        _ => token == "run" || step.deps_slugs.contains(token),
    };
    match tokens.first() {
        Some(first) if is_member(first) => Ok(()),
        Some(first) => Err(Fault::new(
            format!("the input of the step has no member {}", quoted(first)),
            "The input is an object: of a single step with \"run\" and the slugs of its deps, of a map with \"item\" and \"index\".",
        )),
        None => Err(Fault::new(
            format!("{} names the whole input", quoted(target)),
            HINT,
        )),
    }
}

/// The time at which a timer is over, as its input says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Due {
    /// Microseconds since 1970-01-01 UTC.
    At(i64),
    /// Seconds from the moment at which the step begins.
    In(f64),
}

/// Reads a JSON value, given as its type and text: a date with a time, which is UTC without an offset, or a number of
/// seconds. The error says what is wrong with it.
pub fn due(kind: Option<&str>, text: Option<&str>) -> Result<Due, String> {
    match (kind, text.unwrap_or_default()) {
        (None, _) => Err("there is no such value".to_owned()),
        (Some("string"), text) => at(text)
            .map(Due::At)
            .ok_or_else(|| format!("{} is no date with a time", quoted(text))),
        (Some("number"), text) => match text.parse() {
            Ok(seconds) if (0.0..=f64::from(LONGEST_SECONDS)).contains(&seconds) => {
                Ok(Due::In(seconds))
            }
            _ => Err(format!(
                "{} seconds are out of range, which is 0 to {LONGEST_SECONDS}",
                quoted(text)
            )),
        },
        (Some("null"), _) => Err("it is null".to_owned()),
        (Some(kind), _) => Err(format!(
            "it is of type \"{kind}\", and neither a string nor a number"
        )),
    }
}

/// ISO 8601 as RFC 3339 profiles it; seconds and the offset may be left out. A year before 0 is refused: PostgreSQL and
/// ISO 8601 count those differently.
fn at(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    if pieces.time_zone_annotation().is_some() || pieces.date().year() < 0 {
        return None;
    }
    let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    let local = pieces.date().to_datetime(pieces.time()?);
    // Not by way of a timestamp, which ends a day before the calendar does.
    let since_1970 = local.duration_since(date(1970, 1, 1).at(0, 0, 0, 0));
    i64::try_from(since_1970.as_micros() - i128::from(offset.seconds()) * 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_those_of_rfc_6901() {
        let tokens = |text| pointer(text).map(|tokens| tokens.join("|"));
        assert_eq!(tokens("/run/remind_at").as_deref(), Some("run|remind_at"));
        assert_eq!(tokens("/a~1b/m~0n//0").as_deref(), Some("a/b|m~n||0"));
        assert_eq!(tokens("/~01").as_deref(), Some("~1"));
        assert_eq!(pointer(""), Some(vec![]));
        for wrong in [
            "run", "run/at", "/run/~", "/run/~2", "/run/a~", " /run", "/~é",
        ] {
            assert_eq!(pointer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_target_begins_with_a_member_of_the_input() {
        let mut step = StepShape::new("f", "s");
        step.deps_slugs = vec!["fetch".into()];
        for target in ["/run/at", "/fetch/next/at", "/run"] {
            assert_eq!(check_target(&step, target), Ok(()), "{target}");
        }
        for target in ["", "/", "/item/at", "/other/at", "run"] {
            assert!(check_target(&step, target).is_err(), "{target}");
        }
        step.step_type = "map".into();
        assert_eq!(check_target(&step, "/item/at"), Ok(()));
        assert_eq!(check_target(&step, "/index"), Ok(()));
        for target in ["/run/at", "/fetch/at"] {
            assert!(check_target(&step, target).is_err(), "{target}");
        }
    }

    #[test]
    fn times_have_an_offset_or_are_utc() {
        let noon = 1_767_268_800_000_000;
        for text in [
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:00:00.000+00:00",
            "2026-01-01t13:30:00+01:30",
            "2026-01-01 07:00:00-05",
            "2026-01-01T12:00:00",
            "2026-01-01T12:00",
            "20260101T120000Z",
        ] {
            assert_eq!(due(Some("string"), Some(text)), Ok(Due::At(noon)), "{text}");
        }
        assert_eq!(
            due(Some("string"), Some("2026-01-01T12:00:00.000001Z")),
            Ok(Due::At(noon + 1))
        );
        assert_eq!(
            due(Some("string"), Some("9999-12-31T23:59:59Z")),
            Ok(Due::At(253_402_300_799_000_000))
        );
        for text in [
            "",
            "tomorrow",
            "2026-01-01",
            "12:00:00",
            "2026-02-29T00:00:00Z",
            "2026-01-01T12:00:00+25:61",
            "2026-01-01T12:00:00 Z",
            "2026-01-01T12:00:00+01:00[Europe/Paris]",
            "-000001-01-01T12:00:00Z",
            "infinity",
        ] {
            assert!(due(Some("string"), Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_from_now() {
        assert_eq!(due(Some("number"), Some("0")), Ok(Due::In(0.0)));
        assert_eq!(due(Some("number"), Some("1.5")), Ok(Due::In(1.5)));
        let longest = LONGEST_SECONDS.to_string();
        assert!(due(Some("number"), Some(&longest)).is_ok());
        for text in ["-1", "-0.001", "1e300", "1e400", "1581120001"] {
            assert!(due(Some("number"), Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn anything_else_says_what_it_is() {
        assert_eq!(due(None, None), Err("there is no such value".into()));
        assert_eq!(due(Some("null"), None), Err("it is null".into()));
        assert!(
            due(Some("object"), Some("{}"))
                .unwrap_err()
                .contains("\"object\"")
        );
    }
}
