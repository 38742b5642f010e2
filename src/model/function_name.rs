//! The name of a function as the target of a step: `schema.name`, each part as SQL writes identifiers.

use super::problem::Fault;
use crate::error::quoted;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    pub schema: String,
    pub name: String,
}

impl FunctionName {
    pub const HINT: &'static str = "The target of executor \"sql\" is a function \"schema.name\" that takes one jsonb and returns one.";

    pub fn parse(text: &str) -> Result<Self, Fault> {
        parts(text).ok_or_else(|| {
            Fault::new(
                format!("{} is not the name of a function", quoted(text)),
                Self::HINT,
            )
        })
    }
}

fn parts(text: &str) -> Option<FunctionName> {
    let (schema, rest) = identifier(text.trim())?;
    let (name, rest) = identifier(rest.trim_start().strip_prefix('.')?.trim_start())?;
    // What one session keeps to itself is not there for the process that calls it.
    (rest.is_empty() && !schema.starts_with("pg_temp")).then_some(FunctionName { schema, name })
}

/// An identifier and what follows it. Without quotes it is folded to lower case, as PostgreSQL does.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut rest = quoted;
        loop {
            let (part, after) = rest.split_once('"')?;
            name.push_str(part);
            match after.strip_prefix('"') {
                Some(after) => {
                    name.push('"');
                    rest = after;
                }
                None => return (!name.is_empty()).then_some((name, after)),
            }
        }
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let starts_right = !name.starts_with(|c: char| c.is_ascii_digit() || c == '$');
    (!name.is_empty() && starts_right).then(|| (name.to_ascii_lowercase(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, String)> {
        FunctionName::parse(text)
            .ok()
            .map(|name| (name.schema, name.name))
    }

    #[test]
    fn names_read_as_sql_reads_them() {
        let of = |schema: &str, name: &str| Some((schema.to_owned(), name.to_owned()));
        assert_eq!(read("app.work"), of("app", "work"));
        assert_eq!(read("App.Work"), of("app", "work"));
        assert_eq!(read("\"App\".\"a \"\"b\"\".c\""), of("App", "a \"b\".c"));
        assert_eq!(read(" app . work_2$ "), of("app", "work_2$"));
        assert_eq!(read("büro.größe"), of("büro", "größe"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "work",
            "a.b.c",
            "a.",
            ".b",
            "a.b()",
            "a b.c",
            "1a.b",
            "\"\".b",
            "\"a.b",
            "a.b(jsonb)",
            "pg_temp.b",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
