//! Slugs: the names of flows and steps.

use super::problem::Fault;
use crate::error::quoted;

/// The most characters a slug or the name of a queue may have.
pub const LONGEST: usize = 128;

/// Keys of a task's input that a step's output must not hide.
const RESERVED: [&str; 2] = ["run", "item"];

const HINT: &str = "A slug is 1 to 128 characters: ASCII letters, digits and underscores, not beginning with a digit.";

/// Whether `text` may name a flow or a step. Case matters: `Run` is no reserved word.
pub fn check(text: &str) -> Result<(), Fault> {
    let mut bytes = text.bytes();
    let begins = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    if !begins || text.len() > LONGEST || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(Fault::new(format!("{} is not a slug", quoted(text)), HINT));
    }
    if RESERVED.contains(&text) {
        return Err(Fault::new(
            format!("{} is reserved", quoted(text)),
            "The slugs \"run\" and \"item\" are keys of every task's input; take another one.",
        ));
    }
    Ok(())
}

/// What is shown of a text that ought to be a slug, where it stands without quotes: no more than a slug's length.
pub fn shown(text: &str) -> &str {
    text.char_indices()
        .nth(LONGEST)
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_slugs() {
        for slug in ["a", "_", "A1_b", "Run", "ITEM", "run_", &"x".repeat(128)] {
            assert_eq!(check(slug), Ok(()), "{slug}");
        }
    }

    #[test]
    fn bad_slugs() {
        for slug in [
            "", "1a", "a-b", "a b", " a", "a.b", "a\n", "é", "🚀", "ａ", "run", "item",
        ] {
            assert!(check(slug).is_err(), "{slug}");
        }
        assert!(check(&"x".repeat(129)).is_err());
    }

    #[test]
    fn the_message_quotes_the_value_and_stays_short() {
        assert_eq!(check("a-b").unwrap_err().message, "\"a-b\" is not a slug");
        assert_eq!(check("run").unwrap_err().message, "\"run\" is reserved");
        assert!(check(&"x".repeat(1_000_000)).unwrap_err().message.len() < 200);
    }

    proptest! {
        #[test]
        fn what_matches_the_pattern_is_a_slug(slug in "[a-zA-Z_][a-zA-Z0-9_]{0,127}") {
            prop_assume!(!RESERVED.contains(&slug.as_str()));
            prop_assert!(check(&slug).is_ok());
        }

        #[test]
        fn one_other_character_spoils_it(
            head in "[a-zA-Z_][a-zA-Z0-9_]{0,20}", other in "[^a-zA-Z0-9_]", tail in "[a-zA-Z0-9_]{0,20}",
        ) {
            let text = format!("{head}{other}{tail}");
            prop_assert!(check(&text).is_err());
        }
    }
}
