//! Batches of results, as `settle_step_tasks` gets them: judged here, outputs unread.

use super::receipt::{Receipt, Standing, TaskKey};
use super::rights;
use super::settle::{self, Settlement, Verdict};
use crate::error::{Error, Result, quoted};
use crate::model::RunId;
use crate::store::json::Node;
use crate::store::{Json, Session};

/// How many results a batch may have.
const MAX_RESULTS: usize = 1000;

/// The members that a result may have.
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
    let results = results.node();
    if results.kind() != "array" {
        let what = format!("is of type \"{}\" and not an array", results.kind());
        return Err(malformed("$", &what));
    }
    if results.len() > MAX_RESULTS {
        let what = format!(
            "has {} elements, and {MAX_RESULTS} are allowed",
            results.len()
        );
        return Err(malformed("$", &what));
    }
    (results.elements().into_iter().enumerate())
        .map(|(number, element)| Element::read(number, element)?.settlement())
        .collect()
}

/// Settles a batch as far as its caller may. A result of a run that it may not see is about nothing, and is refused.
pub fn settle(
    session: &Session,
    batch: Vec<Settlement>,
    run_locks: &mut usize,
) -> Result<Vec<Receipt>> {
    let known = rights::may_settle(session, &batch)?;
    if !known.contains(&false) {
        return settle::settle_within(session, &batch, run_locks);
    }
    let (seen, unseen): (Vec<_>, Vec<_>) =
        (batch.into_iter().zip(&known)).partition(|(_, known)| **known);
    let seen: Vec<_> = seen.into_iter().map(|(result, _)| result).collect();
    let mut settled = settle::settle_within(session, &seen, run_locks)?.into_iter();
    let mut refused = unseen.into_iter().map(|(result, _)| Receipt {
        task: result.task,
        accepted: false,
        standing: Standing::default(),
    });
    Ok((known.iter())
        .filter_map(|&known| {
            if known {
                settled.next()
            } else {
                refused.next()
            }
        })
        .collect())
}

/// An element as it came.
struct Element {
    path: String,
    members: [Option<Node>; MEMBERS.len()],
}

impl Element {
    fn read(number: usize, element: Node) -> Result<Self> {
        let mut read = Self {
            path: format!("$[{number}]"),
            members: Default::default(),
        };
        if element.kind() != "object" {
            let what = format!("is of type \"{}\" and not an object", element.kind());
            return Err(malformed(&read.path, &what));
        }
        let mut unknown: Option<String> = None;
        element.members(|name, value| {
            match MEMBERS.iter().position(|member| member.as_bytes() == name) {
                Some(no) => read.members[no] = Some(value),
                None => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    unknown = Some(unknown.take().map_or(name.clone(), |first| first.min(name)));
                }
            }
        });
        match unknown {
            Some(name) => {
                let what = format!("has an unknown member {}", quoted(&name));
                Err(malformed(&read.path, &what))
            }
            None => Ok(read),
        }
    }

    fn settlement(self) -> Result<Settlement> {
        let run_id = self.text(0, "string")?.ok_or_else(|| self.lacks(0))?;
        let step_slug = self.text(1, "string")?.ok_or_else(|| self.lacks(1))?;
        let task = TaskKey {
            run_id: RunId::parse(&run_id)
                .ok_or_else(|| self.fault(0, &format!("{} is not a UUID", quoted(&run_id))))?,
            step_slug,
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
        if message.is_none() && self.members[4].is_some() {
            return Err(self.fault(4, "is null"));
        }
        let retryable = self.boolean(5)?;
        let retry_after = self.number(6)?;
        let release = self.boolean(7)?.unwrap_or(false);
        let output = self.members[8];
        if usize::from(message.is_some()) + usize::from(release) + usize::from(output.is_some()) > 1
        {
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
            let given = self.text(6, "number")?.unwrap_or_default();
            return Err(self.fault(6, &format!("{} is out of range", quoted(&given))));
        }
        Ok(match message {
            Some(message) => Verdict::Fail {
                message,
                retryable: retryable.unwrap_or(true),
                retry_after,
            },
            None if release => Verdict::Release,
            None => Verdict::Complete(output.map(Node::json)),
        })
    }

    /// The text of a member, `None` when it is absent or null.
    fn text(&self, member: usize, kind: &str) -> Result<Option<String>> {
        match &self.members[member] {
            None => Ok(None),
            Some(value) if value.kind() == kind => Ok(value.text()),
            Some(value) if value.kind() == "null" => Ok(None),
            Some(value) => {
                let what = format!("is of type \"{}\" and not a {kind}", value.kind());
                Err(self.fault(member, &what))
            }
        }
    }

    fn number<T: std::str::FromStr>(&self, member: usize) -> Result<Option<T>> {
        self.text(member, "number")?
            .map(|text| {
                text.parse().map_err(|_| {
                    self.fault(member, &format!("{} is no integer in range", quoted(&text)))
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
