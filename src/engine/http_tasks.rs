//! The tasks of executor `http`: claimed by a background worker and sent to the endpoint that their step names.
//!
//! A claim commits before a request is sent, and an answer is settled like the result of any worker, so no transaction is
//! open while a request is under way. What [`crate::http`] answers is all that is known of it.

use super::claimed::Claimed;
use super::define;
use super::settle::{self, Settlement, Verdict};
use crate::error::{Error, Result, quoted};
use crate::http::headers::Task;
use crate::http::{self, Answer, Call, Secret};
use crate::statements;
use crate::store::subtransaction::{self, NOT_JSON};
use crate::store::{Json, Session, role, vault};

statements! {
    HTTP_BODY = "http_body.sql",
    HTTP_HEADERS = "http_headers.sql",
    HTTP_SECRETS = "http_secrets.sql",
    PUT_HTTP_SECRETS = "put_http_secrets.sql",
    DELETE_HTTP_SECRETS = "delete_http_secrets.sql",
    JSON_OF_TEXT = "json_of_text.sql",
    HAND_OVER_TASKS = "hand_over_tasks.sql",
}

/// How many seconds the lease of a task outlasts its step's timeout: for its turn at its host, and for its answer.
pub const GRACE: i32 = 60;

/// How many secrets there may be at once.
const MOST_SECRETS: usize = 4;

/// What is sent for a claimed task.
pub struct Request {
    pub body: Json,
    /// The same, as it is sent.
    pub text: String,
    pub headers: Vec<(String, String)>,
}

/// The request for a claimed task; to be called in a transaction, as what follows.
pub fn request(task: &Claimed) -> Result<Request> {
    let step = task.step();
    let (body, text) = HTTP_BODY
        .first(
            &[
                &task.run_id,
                &task.flow_slug(),
                &step.slug,
                &task.task_index,
                &task.attempt,
                &task.input.json(),
                &task.lease,
                &task.lease_expires_at,
            ],
            |row| Ok((row.get::<Json>(1)?, row.get::<String>(2)?)),
        )?
        .ok_or_else(|| Error::Internal("a task has no text".into()))?;
    let secrets = secrets(task.flow_slug())?;
    let parts = Task {
        run_id: task.run_id,
        flow_slug: task.flow_slug(),
        step_slug: &step.slug,
        task_index: task.task_index,
        attempt: task.attempt,
    };
    Ok(Request {
        headers: parts.headers(&secrets, std::time::SystemTime::now(), &text),
        body,
        text,
    })
}

/// [`request`] for the client of the background worker.
pub fn call(task: &Claimed, id: u64) -> Result<Call> {
    let request = request(task)?;
    let step = task.step();
    Ok(Call {
        id,
        url: step.target.clone().unwrap_or_default(),
        headers: request.headers,
        body: request.text,
        timeout: std::time::Duration::from_secs(u64::try_from(step.timeout).unwrap_or(0)),
    })
}

/// Headers as a JSON object, and one without members beside it.
pub fn as_json(headers: Vec<(String, String)>) -> Result<(Json, Json)> {
    let (names, values): (Vec<_>, Vec<_>) = headers.into_iter().unzip();
    HTTP_HEADERS
        .first(&[&names, &values], |row| Ok((row.get(1)?, row.get(2)?)))?
        .ok_or_else(|| Error::Internal("headers are gone".into()))
}

/// Settles answered tasks. An accepted one stays as it is: its result comes from outside.
pub fn settle(session: &Session, answered: &[(Claimed, Answer)]) -> Result<()> {
    let mut batch = Vec::with_capacity(answered.len());
    let mut accepted = Vec::new();
    for (task, answer) in answered {
        match settlement(task, answer)? {
            Some(settlement) => batch.push(settlement),
            None => accepted.push(task),
        }
    }
    if !accepted.is_empty() {
        hand_over(&accepted)?;
    }
    if batch.is_empty() {
        return Ok(());
    }
    settle::settle(session, &batch).map(drop)
}

/// Accepted tasks are their endpoint's, and no longer this process's: they stay leased when it ends.
fn hand_over(tasks: &[&Claimed]) -> Result<()> {
    let ids: Vec<_> = tasks.iter().map(|task| task.run_id).collect();
    let leases: Vec<_> = tasks.iter().map(|task| task.lease).collect();
    let slugs: Vec<_> = tasks.iter().map(|task| task.step().slug.clone()).collect();
    let indexes: Vec<_> = tasks.iter().map(|task| task.task_index).collect();
    HAND_OVER_TASKS.execute(&[&ids, &slugs, &indexes, &leases])
}

fn settlement(task: &Claimed, answer: &Answer) -> Result<Option<Settlement>> {
    let verdict = match answer {
        Answer::Accepted => return Ok(None),
        Answer::Output(text) => match output(text)? {
            Ok(json) => Verdict::Complete(Some(json)),
            Err(reason) => Verdict::Fail {
                message: format!("the response is no output: {reason}"),
                retryable: false,
                retry_after: None,
            },
        },
        Answer::Failed {
            message,
            retryable,
            retry_after,
        } => Verdict::Fail {
            message: message.clone(),
            retryable: *retryable,
            retry_after: *retry_after,
        },
    };
    Ok(Some(task.settlement(verdict)))
}

/// The client has checked the text; what a database in another encoding does not take is found here.
fn output(text: &str) -> Result<std::result::Result<Json, String>> {
    let text = text.to_owned();
    subtransaction::attempt(NOT_JSON, || {
        JSON_OF_TEXT
            .first(&[&text], |row| row.get::<Json>(1))?
            .ok_or_else(|| Error::Internal("a value is gone".into()))
    })
}

/// Gives a flow, or all flows that have none of their own, secrets; none takes them away.
pub fn set_secrets(session: &Session, flow_slug: Option<&str>, secrets: &[String]) -> Result<()> {
    match flow_slug {
        Some(flow_slug) => define::check_owner(session, flow_slug)?,
        None if role::may_do_everything(session.caller) => {}
        None => {
            return Err(Error::Denied {
                object: "the secrets of all flows".into(),
                detail: "They are set by superusers.".into(),
            });
        }
    }
    if secrets.len() > MOST_SECRETS {
        return Err(Error::invalid_with_hint(
            format!("{} secrets are too many", secrets.len()),
            format!("There may be {MOST_SECRETS} at once."),
        ));
    }
    for secret in secrets {
        http::check_secret(secret)
            .map_err(|fault| Error::invalid_with_hint(fault.message, fault.hint))?;
    }
    if secrets.is_empty() {
        return DELETE_HTTP_SECRETS.execute(&[&flow_slug]);
    }
    PUT_HTTP_SECRETS.execute(&[&flow_slug, &secrets.to_vec(), &session.now])
}

/// What requests of a flow are signed with: its secrets in the table, else those in Supabase Vault under the name
/// `pgflow_http_<flow>`, else those for all flows, in the table or, at last, under `pgflow_http`.
fn secrets(flow_slug: &str) -> Result<Vec<Secret>> {
    let in_table = HTTP_SECRETS.query(&[&flow_slug], |row| {
        Ok((row.get::<bool>(2)?, row.get::<Vec<String>>(1)?))
    })?;
    let mut texts = Vec::new();
    for is_own in [true, false] {
        if let Some((_, found)) = in_table.iter().find(|(own, _)| *own == is_own) {
            texts.clone_from(found);
        } else {
            let name = if is_own {
                format!("pgflow_http_{flow_slug}")
            } else {
                "pgflow_http".to_owned()
            };
            // There is one secret of a name in Vault; it may be several words.
            for text in vault::secrets(&name)? {
                texts.extend(text.split_whitespace().map(str::to_owned));
            }
        }
        if !texts.is_empty() {
            break;
        }
    }
    texts
        .iter()
        .map(|text| {
            Secret::parse(text).map_err(|fault| {
                Error::invalid_with_hint(
                    format!("a secret of flow {} is malformed", quoted(flow_slug)),
                    fault.hint,
                )
            })
        })
        .collect()
}
