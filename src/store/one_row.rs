//! Statements for one row.
//!
//! The statements of the engine work on rows that come as arrays: `unnest($1::uuid[], $2::text[]) u(run_id, step_slug)`,
//! where the rows are always called `u`, or `w` for walks. A call about one task would pay for setting up a function scan
//! over each of these arrays, which costs more than the work. So a statement has a second form, in which the same list is
//! `(select $1::uuid, $2::text) u(run_id, step_slug)`: the planner puts the parameters where they are used. Where the rows
//! are kept for several uses (`with u as materialized`), one is not: there is nothing to compute twice, and each use would
//! start up a scan of its own.

const KEPT_ROWS: &str = "u as materialized (";

/// A statement for one row, and which of its parameters (counted from 0) are values instead of arrays.
#[derive(Debug, PartialEq, Eq)]
pub struct OneRow {
    pub text: String,
    pub values: Vec<usize>,
}

/// The form for one row of a statement that takes rows.
pub fn of(statement: &str) -> Option<OneRow> {
    let mut text = String::with_capacity(statement.len());
    let mut values = Vec::new();
    let mut rest = statement;
    while let Some(start) = rest.find("unnest(") {
        let (before, list) = rest.split_at(start);
        text.push_str(before);
        match row(&list["unnest(".len()..]) {
            Some(row) => {
                text.push_str(&row.select);
                values.extend(row.values);
                rest = row.rest;
            }
            None => {
                text.push_str("unnest(");
                rest = &list["unnest(".len()..];
            }
        }
    }
    text.push_str(rest);
    let text = text.replacen(KEPT_ROWS, "u as not materialized (", 1);
    values.sort_unstable();
    values.dedup();
    (!values.is_empty()).then_some(OneRow { text, values })
}

struct Row<'a> {
    select: String,
    values: Vec<usize>,
    rest: &'a str,
}

/// Reads `$1::uuid[], $2::text[]) with ordinality u(`, up to and without the name.
fn row(list: &str) -> Option<Row<'_>> {
    let (arrays, rest) = list.split_once(')')?;
    let rest = rest.trim_start();
    let (rest, with_ordinality) = match rest.strip_prefix("with ordinality") {
        Some(rest) => (rest.trim_start(), true),
        None => (rest, false),
    };
    if !rest.starts_with("u(") && !rest.starts_with("w(") {
        return None;
    }
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for array in arrays.split(',') {
        let (number, element) = array
            .trim()
            .strip_prefix('$')?
            .strip_suffix("[]")?
            .split_once("::")?;
        values.push(number.parse::<usize>().ok()?.checked_sub(1)?);
        columns.push(format!("${number}::{element}"));
    }
    if with_ordinality {
        columns.push("1::bigint".to_owned());
    }
    Some(Row {
        select: format!("(select {}) ", columns.join(", ")),
        values,
        rest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_row() {
        let one = of(
            "select 1 from unnest($2::uuid[],\n  $1::text[]) with ordinality\n  u(a, b, n) where b = $3",
        );
        let text = "select 1 from (select $2::uuid, $1::text, 1::bigint) u(a, b, n) where b = $3";
        assert_eq!(
            one,
            Some(OneRow {
                text: text.to_owned(),
                values: vec![0, 1]
            })
        );
        let two =
            of("from unnest($1::int[]) u(a), unnest($2::text[]) o(b), unnest($3::int[]) w(c)");
        let text = "from (select $1::int) u(a), unnest($2::text[]) o(b), (select $3::int) w(c)";
        assert_eq!(
            two,
            Some(OneRow {
                text: text.to_owned(),
                values: vec![0, 2]
            })
        );
    }

    #[test]
    fn a_row_is_not_kept() {
        let one =
            of("with u as materialized (select * from unnest($1::int[]) u(a)) select a from u");
        let text =
            "with u as not materialized (select * from (select $1::int) u(a)) select a from u";
        assert_eq!(one.map(|one| one.text).as_deref(), Some(text));
    }

    #[test]
    fn other_lists_stay() {
        assert_eq!(of("select unnest($1::int[])"), None);
        assert_eq!(of("from unnest(array(select 1)) u(a)"), None);
        assert_eq!(of("update t set a = $1"), None);
    }
}
