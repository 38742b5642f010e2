//! When a schedule ticks: a cron expression in a time zone.
//!
//! Crate `croner` reads the expression and finds the wall clock times that match it; crate `jiff` knows the zones. What
//! becomes of a wall clock time that daylight saving leaves out or repeats is decided here, and it depends on the hours:
//!
//! - An expression for every hour of the day ticks at each moment whose wall clock time matches: the hour that is left
//!   out has no ticks, the one that is repeated has them twice, and nothing else moves.
//! - Any other names times of the day. One that is left out ticks once, at the first moment after the gap (several of
//!   them together, once); one that is repeated ticks the first time only.
//!
//! Times are microseconds since 1970-01-01 UTC; ticks are whole seconds.

use croner::parser::{CronParser, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use super::problem::Fault;
use crate::error::quoted;

/// An expression in a zone, both valid, that ticks at some time.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
    every_hour: bool,
}

/// The longest expression, in bytes.
const LONGEST: usize = 256;

const FIELDS: [&str; 6] = [
    "second",
    "minute",
    "hour",
    "day of month",
    "month",
    "day of week",
];
const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const EXPRESSION: &str = "A cron expression is \"minute hour day-of-month month day-of-week\", with seconds as an \
    optional first field, or one of @yearly, @monthly, @weekly, @daily and @hourly.";
const ZONE: &str = "A time zone has the name that the IANA database gives it, such as \"Europe/Berlin\" or \"UTC\".";

/// The name of a time zone as the compiled-in database writes it.
pub fn zone_name(name: &str) -> Result<String, Fault> {
    zone(name).map(|zone| zone.iana_name().unwrap_or(name).to_owned())
}

fn zone(name: &str) -> Result<TimeZone, Fault> {
    let unknown = || Fault::new(format!("unknown time zone {}", quoted(name)), ZONE);
    TimeZone::get(name)
        .ok()
        .filter(|zone| !zone.is_unknown() && zone.iana_name().is_some())
        .ok_or_else(unknown)
}

/// A time as ISO 8601 has it, to the second.
pub fn iso(unix_micros: i64) -> String {
    Timestamp::from_microsecond(unix_micros).map_or_else(
        |_| unix_micros.to_string(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

impl Cron {
    /// Reads an expression. One that names a date no year has is refused.
    pub fn parse(expression: &str, time_zone: &str) -> Result<Self, Fault> {
        let pattern = parse(expression)?;
        // The calendar repeats every 400 years, so the start does not matter.
        if next_wall(&pattern, DateTime::constant(2000, 1, 1, 0, 0, 0, 0)).is_none() {
            return Err(Fault::new(
                format!("{} never comes", quoted(expression)),
                "No month that it names has such a day.",
            ));
        }
        Ok(Self {
            every_hour: pattern.pattern.hours.values().len() == 24,
            pattern,
            zone: zone(time_zone)?,
        })
    }

    /// The first tick after a moment; `None` when the calendar ends before.
    pub fn next_after(&self, unix_micros: i64) -> Option<i64> {
        let after = Timestamp::from_microsecond(unix_micros).ok()?;
        let tick = if self.every_hour {
            self.next_of_every_hour(after)
        } else {
            self.next_of_the_day(after)
        };
        tick.map(Timestamp::as_microsecond)
    }

    /// The ticks after one moment and up to another, the first `limit` of them.
    pub fn ticks(&self, after: i64, until: i64, limit: usize) -> Vec<i64> {
        std::iter::successors(self.next_after(after), |&tick| self.next_after(tick))
            .take_while(|&tick| tick <= until)
            .take(limit)
            .collect()
    }

    /// The last tick after one moment and up to another, however many there are.
    pub fn last_tick(&self, after: i64, until: i64) -> Option<i64> {
        let next = |moment| self.next_after(moment).filter(|&tick| tick <= until);
        let mut last = next(after)?;
        // Halves the time in which a later one may be.
        let mut none_after = until;
        while last < none_after {
            let middle = last + (none_after - last) / 2;
            match next(middle) {
                Some(tick) => last = tick,
                None => none_after = middle,
            }
        }
        Some(last)
    }

    /// Walks with the offset that is in force, from one change of the offset to the next.
    fn next_of_every_hour(&self, mut after: Timestamp) -> Option<Timestamp> {
        loop {
            let offset = self.zone.to_offset(after);
            let wall = next_wall(&self.pattern, offset.to_datetime(after))?;
            let tick = offset.to_timestamp(wall).ok()?;
            match self.zone.following(after).next() {
                Some(change) if change.timestamp() <= tick => {
                    let change = change.timestamp();
                    // The walk goes on after it, so the change itself is looked at here.
                    let wall = self.zone.to_datetime(change);
                    if self.pattern.is_time_matching(&wall).unwrap_or(false) {
                        return Some(change);
                    }
                    after = change;
                }
                _ => return Some(tick),
            }
        }
    }

    /// Walks along the wall clock as if there were no changes; the moments of its times never go back.
    fn next_of_the_day(&self, after: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(after);
        loop {
            wall = next_wall(&self.pattern, wall)?;
            let tick = self.moment(wall)?;
            if tick > after {
                return Some(tick);
            }
            // Repeated, and this is the second time.
        }
    }

    /// The moment of a wall clock time: the first of two; of none, the end of the gap.
    fn moment(&self, wall: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                let missed = before.to_timestamp(wall).ok()?;
                let gap_end = (self.zone)
                    .preceding(missed.checked_add(1.second()).ok()?)
                    .next()?;
                Some(gap_end.timestamp())
            }
        }
    }
}

/// The first wall clock time after another that matches.
fn next_wall(pattern: &croner::Cron, after: DateTime) -> Option<DateTime> {
    pattern.find_next_occurrence(&after, false).ok()
}

fn parse(expression: &str) -> Result<croner::Cron, Fault> {
    let fault = |what: String| Fault::new(what, EXPRESSION);
    if expression.len() > LONGEST || expression.chars().any(|c| c.is_control() && c != '\t') {
        return Err(fault(format!(
            "{} is not a cron expression",
            quoted(expression)
        )));
    }
    let upper = expression.trim().to_ascii_uppercase();
    let upper = match upper.as_str() {
        "@MIDNIGHT" => "@DAILY",
        other => other,
    };
    let parser = CronParser::builder().year(Year::Disallowed).build();
    if upper.starts_with('@') {
        return parser
            .parse(upper)
            .map_err(|_| fault(format!("unknown nickname {}", quoted(expression))));
    }
    let fields: Vec<&str> = upper.split_ascii_whitespace().collect();
    let names = match fields.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        count => {
            return Err(fault(format!(
                "{} has {count} fields and not 5 or 6",
                quoted(expression)
            )));
        }
    };
    for (n, (name, field)) in names.iter().zip(&fields).enumerate() {
        // Alone, so that the field at fault can be named.
        let mut alone = vec!["*"; fields.len()];
        alone[n] = field;
        let parsed = if is_well_formed(name, field) {
            parser
                .parse(&alone.join(" "))
                .map_err(|error| reason(&error))
        } else {
            Err("a list has an empty element, or a name is not one of this field".to_owned())
        };
        if let Err(reason) = parsed {
            return Err(fault(format!(
                "{name} {} is wrong: {reason}",
                quoted(field)
            )));
        }
    }
    parser.parse(upper).map_err(|error| {
        fault(format!(
            "{} is wrong: {}",
            quoted(expression),
            reason(&error)
        ))
    })
}

/// What the crate would read as something else: empty elements of a list, and names that are part of a longer word or
/// stand in the wrong field.
fn is_well_formed(name: &str, field: &str) -> bool {
    let names: &[&str] = match name {
        "month" => &MONTHS,
        "day of week" => &WEEKDAYS,
        _ => &[],
    };
    let specials: &[&str] = match name {
        "day of month" => &["L", "W", "LW"],
        "day of week" => &["L"],
        _ => &[],
    };
    let is_word_known =
        |word: &str| word.is_empty() || names.contains(&word) || specials.contains(&word);
    let has_whole_names = |element: &str| {
        let mut rest = element;
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
            let tail = &rest[start..];
            let end = tail
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(tail.len());
            let (word, after) = tail.split_at(end);
            let touches_digit = rest[..start].ends_with(|c: char| c.is_ascii_digit())
                || after.starts_with(|c: char| c.is_ascii_digit());
            // "FRIL" is the last Friday.
            let word = match word.strip_suffix('L') {
                Some(name) if names.contains(&name) && specials.contains(&"L") => name,
                _ => word,
            };
            if !is_word_known(word) || (touches_digit && names.contains(&word)) {
                return false;
            }
            rest = after;
        }
        true
    };
    let list = match name {
        "day of week" => field.strip_prefix('+').unwrap_or(field),
        _ => field,
    };
    list.split(',')
        .all(|element| !element.is_empty() && has_whole_names(element))
}

/// What the crate says is wrong, in our style.
fn reason(error: &croner::errors::CronError) -> String {
    use croner::errors::CronError;
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text.as_str(),
        other => return other.to_string(),
    };
    let mut letters = text.trim_end_matches('.').chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;
