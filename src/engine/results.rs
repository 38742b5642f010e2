//! Batches of results, as `settle_step_tasks` gets them: taken apart by PostgreSQL, judged here, outputs unread.

use super::receipt::TaskKey;
use super::settle::{Settlement, Verdict};
use crate::error::{Error, Result, quoted};
use crate::model::RunId;
use crate::statements;
use crate::store::{Json, Row};

statements! {
    EXPAND_RESULTS = "expand_results.sql",
}

/// How many results a batch may have.
const MAX_RESULTS: i32 = 1000;

/// The members of a result, in the order in which the statement returns them.
const MEMBERS: [&str; 9] = [
    "run_id",
    "step_slug",
    "task_index",
    "lease",
    "error_message",
    "retryable",
    "retry_after",
    "release",
    "output",
];

/// Reads a batch; the first malformed element is an error, with its JSON path.
pub fn read(results: Json) -> Result<Vec<Settlement>> {
    let rows = EXPAND_RESULTS.query(&[&results, &MAX_RESULTS], read_row)?;
    rows.into_iter()
        .map(|row| row.and_then(Element::settlement))
        .collect()
}

/// An element as it came.
struct Element {
    path: String,
    members: [Member; MEMBERS.len()],
    output: Option<Json>,
}

/// A member of an element: its JSON type, `None` when absent, and its text.
#[derive(Default)]
struct Member {
    kind: Option<String>,
    text: Option<String>,
}

fn read_row(row: &Row) -> Result<Result<Element>> {
    let Some(number) = row.opt::<i64>(1) else {
        return Ok(Err(malformed("$", &row.get::<String>(2)?)));
    };
    let path = format!("$[{}]", number - 1);
    let kind = row.get::<String>(2)?;
    if kind != "object" {
        return Ok(Err(malformed(
            &path,
            &format!("is of type \"{kind}\" and not an object"),
        )));
    }
    if let Some(unknown) = row.opt::<String>(3) {
        return Ok(Err(malformed(
            &path,
            &format!("has an unknown member {}", quoted(&unknown)),
        )));
    }
    let mut element = Element {
        path,
        members: Default::default(),
        output: row.opt(4),
    };
    for (column, member) in (5..).step_by(2).zip(&mut element.members) {
        member.kind = row.opt(column);
        member.text = row.opt(column + 1);
    }
    Ok(Ok(element))
}

impl Element {
    fn settlement(self) -> Result<Settlement> {
        let run_id = self.text(0, "string")?.ok_or_else(|| self.lacks(0))?;
        let step_slug = self.text(1, "string")?.ok_or_else(|| self.lacks(1))?;
        let task = TaskKey {
            run_id: RunId::parse(run_id)
                .ok_or_else(|| self.fault(0, &format!("{} is not a UUID", quoted(run_id))))?,
            step_slug: step_slug.to_owned(),
            task_index: self.number(2)?.unwrap_or(0),
        };
        Ok(Settlement {
            task,
            lease: self.number(3)?,
            verdict: self.verdict()?,
        })
    }

    fn verdict(&self) -> Result<Verdict> {
        let message = self.text(4, "string")?;
        if message.is_none() && self.members[4].kind.is_some() {
            return Err(self.fault(4, "is null"));
        }
        let retryable = self.boolean(5)?;
        let retry_after = self.number(6)?;
        let release = self.boolean(7)?.unwrap_or(false);
        let has_output = self.members[8].kind.is_some();
        if usize::from(message.is_some()) + usize::from(release) + usize::from(has_output) > 1 {
            return Err(malformed(
                &self.path,
                "has more than one of output, error_message and release",
            ));
        }
        if message.is_none() && (retryable.is_some() || retry_after.is_some()) {
            return Err(malformed(
                &self.path,
                "has retryable or retry_after without error_message",
            ));
        }
        if retry_after
            .is_some_and(|seconds| !(0..=crate::engine::LONGEST_SECONDS).contains(&seconds))
        {
            let given = self.members[6].text.as_deref().unwrap_or_default();
            return Err(self.fault(6, &format!("{} is out of range", quoted(given))));
        }
        Ok(match message {
            Some(message) => Verdict::Fail {
                message: message.to_owned(),
                retryable: retryable.unwrap_or(true),
                retry_after,
            },
            None if release => Verdict::Release,
            None => Verdict::Complete(self.output),
        })
    }

    /// The text of a member, `None` when it is absent or null.
    fn text(&self, member: usize, kind: &str) -> Result<Option<&str>> {
        let Member { kind: found, text } = &self.members[member];
        match found.as_deref() {
            None | Some("null") => Ok(None),
            Some(found) if found == kind => Ok(text.as_deref()),
            Some(found) => {
                Err(self.fault(member, &format!("is of type \"{found}\" and not a {kind}")))
            }
        }
    }

    fn number<T: std::str::FromStr>(&self, member: usize) -> Result<Option<T>> {
        self.text(member, "number")?
            .map(|text| {
                text.parse().map_err(|_| {
                    self.fault(member, &format!("{} is no integer in range", quoted(text)))
                })
            })
            .transpose()
    }

    fn boolean(&self, member: usize) -> Result<Option<bool>> {
        Ok(self.text(member, "boolean")?.map(|text| text == "true"))
    }

    fn lacks(&self, member: usize) -> Error {
        malformed(&self.path, &format!("lacks {}", MEMBERS[member]))
    }

    fn fault(&self, member: usize, what: &str) -> Error {
        malformed(&format!("{}.{}", self.path, MEMBERS[member]), what)
    }
}

fn malformed(path: &str, what: &str) -> Error {
    Error::invalid_with_hint(
        format!("malformed results: {path} {what}"),
        "Results are an array of objects with run_id, step_slug, task_index, lease, and output, error_message or release.",
    )
}
