//! What arguments must be, whichever function takes them.

use crate::engine::LONGEST_SECONDS;
use crate::error::{Error, Result};

/// A required argument.
pub fn required<T>(argument: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or(Error::NullArgument { argument })
}

/// A number within bounds.
pub fn within(argument: &str, value: i32, bounds: std::ops::RangeInclusive<i32>) -> Result<i32> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid_with_hint(
        format!("{argument} {value} is out of range"),
        format!("It must be {} to {}.", bounds.start(), bounds.end()),
    ))
}

/// An optional number of seconds, at least `least`.
pub fn seconds(argument: &str, value: Option<i32>, least: i32) -> Result<Option<i32>> {
    value
        .map(|value| within(argument, value, least..=LONGEST_SECONDS))
        .transpose()
}

/// An array without null elements.
pub fn no_nulls(argument: &str, values: Vec<Option<String>>) -> Result<Vec<String>> {
    values.into_iter().collect::<Option<_>>().ok_or_else(|| {
        Error::invalid_with_hint(
            format!("{argument} has a null element"),
            "Every element is a slug.",
        )
    })
}
