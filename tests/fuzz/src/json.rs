//! JSON as a tree of texts, so that what no parser would keep can be said: repeated keys, numbers beyond every type,
//! escapes of half a surrogate pair. And its mutations.

use std::fmt;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;

/// Scalars and keys are kept as they are written, quotes included.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Scalar(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

pub const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1.0",
    "1.5",
    "1e2",
    "1e-2",
    "32768",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "1581120000",
    "1581120001",
    "9007199254740991",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "1e308",
    "-1e309",
    "1e-400",
    "1e20000",
    "0.1234567890123456789012345678901234567890",
    r#""""#,
    r#"" ""#,
    r#""null""#,
    r#""true""#,
    r#""1""#,
    r#""run""#,
    r#""item""#,
    r#""Run""#,
    r#""a""#,
    r#""A""#,
    r#""skip-cascade""#,
    r#""map""#,
    r#""external""#,
    r#""00000000-0000-0000-0000-000000000000""#,
    r#""{00000000-0000-7000-8000-000000000000}""#,
    r#""%s %n %d %1$s %%""#,
    r#""'; drop schema pgflow cascade; --""#,
    r#""\"\\\/\b\f\n\r\t""#,
    r#""\u0000""#,
    r#""\u0001\u007f\u0085\u2028""#,
    r#""\ud83e\udd86""#,
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""é e\u0301 ﬀ İ ß 🦆 \u202e ﷽""#,
    r#""\u00e9""#,
    "[]",
    "{}",
    "[null]",
    "[[]]",
    r#"{"": null}"#,
];

/// Keys that documents or elements have, and some that none has.
const KEYS: &[&str] = &[
    "flow_slug",
    "steps",
    "step_slug",
    "deps_slugs",
    "description",
    "max_attempts",
    "base_delay",
    "timeout",
    "max_delay",
    "start_delay",
    "output_step_slug",
    "executor",
    "target",
    "queue",
    "step_type",
    "start_mode",
    "map_over",
    "required_input_pattern",
    "forbidden_input_pattern",
    "when_unmet",
    "when_exhausted",
    "run_id",
    "task_index",
    "lease",
    "output",
    "error_message",
    "retryable",
    "retry_after",
    "release",
    "version",
    "owner",
    "",
    "$",
    "a.b",
    "steps[0]",
    r"\u0073teps",
    r"\n",
    "%s",
    "Steps",
];

impl From<&Value> for Json {
    fn from(value: &Value) -> Json {
        match value {
            Value::Array(elements) => Json::Array(elements.iter().map(Json::from).collect()),
            Value::Object(fields) => {
                Json::Object(fields.iter().map(|(k, v)| (Value::from(k.as_str()).to_string(), v.into())).collect())
            }
            scalar => Json::Scalar(scalar.to_string()),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let comma = |n: usize| if n > 0 { ", " } else { "" };
        match self {
            Json::Scalar(text) => f.write_str(text),
            Json::Array(elements) => {
                f.write_str("[")?;
                elements.iter().enumerate().try_for_each(|(n, e)| write!(f, "{}{e}", comma(n)))?;
                f.write_str("]")
            }
            Json::Object(fields) => {
                f.write_str("{")?;
                fields.iter().enumerate().try_for_each(|(n, (k, v))| write!(f, "{}{k}: {v}", comma(n)))?;
                f.write_str("}")
            }
        }
    }
}

impl Json {
    pub fn string(text: &str) -> Json {
        Json::Scalar(Value::from(text).to_string())
    }

    /// The value of a field; of a repeated one the last, as jsonb has it.
    pub fn field(&self, name: &str) -> Option<&Json> {
        let Json::Object(fields) = self else { return None };
        fields.iter().rev().find(|(k, _)| decoded(k).as_deref() == Some(name)).map(|(_, v)| v)
    }

    pub fn text(&self) -> Option<String> {
        match self {
            Json::Scalar(text) => decoded(text),
            _ => None,
        }
    }

    fn children(&self) -> usize {
        match self {
            Json::Scalar(_) => 0,
            Json::Array(elements) => elements.len(),
            Json::Object(fields) => fields.len(),
        }
    }

    /// A node somewhere below, deeper ones less often.
    fn descend(&mut self, rng: &mut StdRng) -> &mut Json {
        let n = self.children();
        if n == 0 || rng.random_bool(0.25) {
            return self;
        }
        let n = rng.random_range(0..n);
        match self {
            Json::Array(elements) => elements[n].descend(rng),
            Json::Object(fields) => fields[n].1.descend(rng),
            Json::Scalar(_) => self,
        }
    }

    /// Changes it somewhere; what it is afterwards need not be JSON that PostgreSQL takes.
    pub fn mutate(&mut self, rng: &mut StdRng) {
        let other = {
            let mut copy = self.clone();
            copy.descend(rng).clone()
        };
        self.descend(rng).mutate_here(rng, other);
    }

    fn mutate_here(&mut self, rng: &mut StdRng, other: Json) {
        match rng.random_range(0..20) {
            0..4 => *self = hostile(rng),
            4 => *self = other,
            5 => *self = Json::Array(vec![self.clone()]),
            6 => *self = Json::Object(vec![(key(rng), self.clone())]),
            7 if rng.random_bool(0.1) => *self = deep(rng),
            _ => match self {
                Json::Scalar(text) => *text = mutated_scalar(rng, text),
                Json::Array(elements) => mutate_list(rng, elements, other),
                Json::Object(fields) if rng.random_bool(0.4) || fields.is_empty() => {
                    let value = if rng.random_bool(0.5) { hostile(rng) } else { other };
                    fields.push((key(rng), value));
                }
                Json::Object(fields) if rng.random_bool(0.4) => {
                    let n = rng.random_range(0..fields.len());
                    fields[n].0 = if rng.random_bool(0.5) { key(rng) } else { flipped(rng, &fields[n].0) };
                }
                Json::Object(fields) => {
                    let key = fields.choose(rng).map_or_else(|| key(rng), |(k, _)| k.clone());
                    mutate_list(rng, fields, (key, other));
                }
            },
        }
    }
}

/// What a JSON string says; `None` for what is no string of Unicode.
pub fn decoded(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

fn key(rng: &mut StdRng) -> String {
    format!("\"{}\"", KEYS.choose(rng).copied().unwrap_or_default())
}

fn hostile(rng: &mut StdRng) -> Json {
    match rng.random_range(0..40) {
        0 => {
            Json::Scalar(format!("\"{}\"", "x".repeat(*[127, 128, 129, 1025, 8192, 300_000].choose(rng).unwrap_or(&1))))
        }
        1 => Json::Scalar(format!("\"{}\"", "ä".repeat(*[63, 64, 65, 128, 129].choose(rng).unwrap_or(&1)))),
        2 => Json::Scalar("7".repeat(rng.random_range(1..3000))),
        _ => Json::Scalar(SCALARS.choose(rng).copied().unwrap_or("null").to_owned()),
    }
}

fn deep(rng: &mut StdRng) -> Json {
    let depth = rng.random_range(1..3000);
    let (open, close) = *[("[", "]"), ("{\"a\": ", "}")].choose(rng).unwrap_or(&("[", "]"));
    Json::Scalar(format!("{}null{}", open.repeat(depth), close.repeat(depth)))
}

fn mutate_list<T: Clone>(rng: &mut StdRng, list: &mut Vec<T>, other: T) {
    if list.is_empty() {
        list.push(other);
        return;
    }
    let (n, m) = (rng.random_range(0..list.len()), rng.random_range(0..list.len()));
    match rng.random_range(0..12) {
        0..3 => drop(list.remove(n)),
        3..5 => list.insert(m, list[n].clone()),
        5..7 => list.swap(n, m),
        7..9 => list.insert(n, other),
        9 => list.truncate(n),
        10 if rng.random_bool(0.03) => {
            let times = *[100, 1000, 1001, 10_000].choose(rng).unwrap_or(&100);
            let element = list[n].clone();
            list.resize(times, element);
        }
        _ => list[n] = other,
    }
}

fn mutated_scalar(rng: &mut StdRng, text: &str) -> String {
    if !text.starts_with('"') {
        let bare = text.trim_start_matches('-');
        return match rng.random_range(0..8) {
            0 => format!("-{bare}"),
            1 => format!("{bare}0"),
            2 => format!("{bare}.0"),
            3 => format!("{bare}.5"),
            4 => format!("{bare}e9"),
            5 => format!("\"{text}\""),
            6 => format!("{bare}000000000000000000"),
            _ => format!("[{text}]"),
        };
    }
    let inner = text.trim_matches('"');
    match rng.random_range(0..9) {
        0 => flipped(rng, text),
        1 => format!("\"{inner}{inner}\""),
        2 => format!("\"{inner} \""),
        3 => format!("\"\\u0000{inner}\""),
        4 => format!("\"{inner}\\ud83e\\udd86\""),
        5 => format!("\"{}\"", inner.replace('-', "")),
        6 => format!("\"{}\"", inner.chars().skip(1).collect::<String>()),
        7 => inner.to_owned(),
        _ => format!("\"{inner}_\""),
    }
}

/// One letter in the other case.
fn flipped(rng: &mut StdRng, text: &str) -> String {
    let at = rng.random_range(0..text.chars().count().max(1));
    let flip = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().enumerate().map(|(n, c)| if n == at { flip(c) } else { c }).collect()
}
