//! Whether a text is JSON that a jsonb can hold: what is not must fail the task, not the transaction that settles it.

use serde::de::IgnoredAny;
use thiserror::Error;

/// How deep values may be nested; the server's own limit depends on `max_stack_depth` (500 pass at 100 kB).
const DEEPEST: usize = 500;
/// How many digits a numeric may have before and behind its point.
const DIGITS_BEFORE: i64 = 131_072;
const DIGITS_BEHIND: i64 = 16_383;

#[derive(Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    #[error("is not JSON: {0}")]
    NotJson(String),
    #[error("cannot be stored as jsonb: {0}")]
    NotJsonb(&'static str),
}

/// Looks through `text` without building anything.
pub fn check(text: &str) -> Result<(), Unfit> {
    // Holds no values and does not recurse.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| Unfit::NotJson(error.to_string()))?;
    check_values(text.as_bytes()).map_err(Unfit::NotJsonb)
}

/// What the grammar lets pass. Where the text is not JSON the result means nothing.
fn check_values(mut rest: &[u8]) -> Result<(), &'static str> {
    let mut depth = 0;
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'"' => after_string(tail)?,
            b'-' | b'0'..=b'9' => after_number(rest)?,
            b'[' | b'{' if depth == DEEPEST => {
                return Err("it is nested more than 500 levels deep");
            }
            b'[' | b'{' => {
                depth += 1;
                tail
            }
            b']' | b'}' => {
                depth -= 1;
                tail
            }
            _ => tail,
        };
    }
    Ok(())
}

fn after_string(mut rest: &[u8]) -> Result<&[u8], &'static str> {
    const HALF: &str = "it has one half of a surrogate pair";
    loop {
        rest = match rest {
            [] => return Ok(rest),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'u', tail @ ..] => match unit(tail) {
                Some((0, _)) => return Err("it has the character \\u0000"),
                Some((0xd800..=0xdbff, [b'\\', b'u', tail @ ..])) => match unit(tail) {
                    Some((0xdc00..=0xdfff, tail)) => tail,
                    _ => return Err(HALF),
                },
                Some((0xd800..=0xdfff, _)) => return Err(HALF),
                Some((_, tail)) => tail,
                None => tail,
            },
            [b'\\', _, tail @ ..] | [_, tail @ ..] => tail,
        };
    }
}

/// Four hexadecimal digits.
fn unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let unit = u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((unit, rest))
}

fn after_number(text: &[u8]) -> Result<&[u8], &'static str> {
    const RANGE: Result<&[u8], &str> = Err("it has a number with too many digits");
    let end = text
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    // Most numbers are too short to be out of range.
    if number.len() < 6 {
        return Ok(rest);
    }
    let number = str::from_utf8(number)
        .unwrap_or_default()
        .trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // Out of the range of an i32 it is out of that of a numeric, even of zero.
    let Ok(exponent) = exponent.parse::<i32>().map(i64::from) else {
        return RANGE;
    };
    let length = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX / 2);
    let zeros = length(mantissa) - length(mantissa.trim_start_matches(['0', '.']));
    let before = length(whole) + exponent
        - if zeros > length(whole) {
            zeros - 1
        } else {
            zeros
        };
    let is_zero = zeros == length(mantissa);
    if length(fraction) - exponent > DIGITS_BEHIND || !is_zero && before > DIGITS_BEFORE {
        return RANGE;
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(open: &str, close: &str, depth: usize) -> String {
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn json_passes() {
        for text in [
            "null",
            " true ",
            "-0.5e-3",
            "[]",
            r#"{"a": [1, "b", {"c": null}], "a": 2}"#,
            r#""\\u0000""#,
            r#""\"\\\u0001\ud83d\ude00\u20ac""#,
            r#"["]", "}", "\"["]"#,
            "\"😀\u{7f}\"",
            &nested("[", "]", 500),
            &nested("{\"a\":", "}", 500),
            &format!("[{}]", vec!["[]"; 1000].join(",")),
        ] {
            assert_eq!(check(text), Ok(()), "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn other_texts_are_not_json() {
        for text in [
            "",
            "nul",
            "{",
            "[1,]",
            "{\"a\"}",
            "1 2",
            "'a'",
            "\"a",
            "01",
            "1.",
            ".5",
            "+1",
            "NaN",
            "\"\n\"",
            "\"\u{1}\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\u{feff}1",
            "<html>",
            "[\u{a0}1]",
        ] {
            assert!(matches!(check(text), Err(Unfit::NotJson(_))), "{text:?}");
        }
    }

    /// Each of these is JSON, and an error of a server when it is cast to jsonb.
    #[test]
    fn not_all_json_is_jsonb() {
        for text in [
            r#""\u0000""#,
            r#"{"a\u0000": 1}"#,
            r#"["\\\u0000"]"#,
            r#""\ud800""#,
            r#""\ud83dx""#,
            r#""\ud83d\n""#,
            r#""\ud83d\u0041""#,
            r#""\ud83d\ud83d""#,
            r#""\ude00\ud83d""#,
            &nested("[", "]", 501),
            &nested("[{\"a\":", "}]", 251),
            &nested("[", "]", 1_000_000),
        ] {
            let unfit = check(text).unwrap_err();
            assert!(matches!(unfit, Unfit::NotJsonb(_)), "{unfit}");
        }
    }

    /// The bounds were found by asking servers.
    #[test]
    fn numbers_are_within_those_of_numeric() {
        let nines = |digits| "9".repeat(digits);
        for (number, fits) in [
            ("1e131071", true),
            ("1e131072", false),
            ("1e99999999999999999999", false),
            ("0e99999999999999999999", false),
            ("0e999999", true),
            ("-1E+131071", true),
            ("-1E+131072", false),
            ("1e-16383", true),
            ("1e-16384", false),
            ("0e-99999", false),
            ("0.0001e131075", true),
            ("0.0001e131076", false),
            ("0.1e131072", true),
            ("0.1e131073", false),
            ("12.5e131070", true),
            ("12.5e131071", false),
            (nines(131_072).as_str(), true),
            (nines(131_073).as_str(), false),
            (&format!("0.{}", nines(16_383)), true),
            (&format!("0.{}", nines(16_384)), false),
            ("1.7976931348623157e308", true),
            ("5e-324", true),
        ] {
            let text = format!("[{number}, \"\"]");
            assert_eq!(
                check(&text).is_ok(),
                fits,
                "{}",
                &number[..number.len().min(40)]
            );
        }
    }
}
