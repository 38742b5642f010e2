//! `POST /rpc/FUNCTION`, and GET for those that only read: the functions of schema pgflow with named arguments, as
//! PostgREST calls them (docs/postgrest.md), for who has no PostgREST. The database decides who may call what.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use tokio::time::timeout;
use tokio_postgres::types::Type;

use crate::database::{Database, Mode};
use crate::failure::Failure;
use crate::options::{MAX_BODY, SLOWEST};
use crate::server::App;
use crate::token::Caller;

const FUNCTIONS: &str = include_str!("statements/functions.sql");

/// How soon after it was read the catalog is read again for a function that is not in it.
const PAUSE: Duration = Duration::from_secs(5);

/// What a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    Nothing,
    Value,
    Rows,
    Image,
}

/// How arguments are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    /// Each as the text of its type.
    Text,
}

/// A function of schema pgflow.
#[derive(Debug)]
struct Function {
    name: String,
    /// By name, as a quoted identifier, with the type.
    arguments: HashMap<String, (String, String)>,
    returns: Returns,
    only_reads: bool,
}

/// The functions, as they were when they were read last.
#[derive(Default)]
pub struct Functions {
    known: Mutex<Known>,
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    functions: HashMap<String, Arc<Function>>,
    read: Option<Instant>,
}

impl Functions {
    /// The function of this name. The catalog is read again when it is not known, or not to have these arguments: it may
    /// have been updated.
    async fn find(
        &self,
        database: &Database,
        name: &str,
        arguments: &[String],
    ) -> Result<Arc<Function>, Failure> {
        let known = self.get(name);
        if let Some(function) = &known
            && arguments
                .iter()
                .all(|name| function.arguments.contains_key(name))
        {
            return Ok(Arc::clone(function));
        }
        // One reads, and who comes meanwhile takes what it has read.
        let _reading = self.reading.lock().await;
        let is_fresh = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.read.is_some_and(|read| read.elapsed() < PAUSE)
        };
        if !is_fresh {
            let functions = read(database).await?;
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            *known = Known {
                functions,
                read: Some(Instant::now()),
            };
        }
        self.get(name).ok_or_else(|| Failure::Missing {
            code: "PGRST202",
            message: format!("there is no function pgflow.{name}"),
            details: None,
        })
    }

    fn get(&self, name: &str) -> Option<Arc<Function>> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .functions
            .get(name)
            .cloned()
    }
}

async fn read(database: &Database) -> Result<HashMap<String, Arc<Function>>, Failure> {
    let rows = database.ask(FUNCTIONS).await?;
    let function = |row: &tokio_postgres::Row| -> Result<Function, tokio_postgres::Error> {
        let names: Vec<String> = row.try_get("argument_names")?;
        let quoted: Vec<String> = row.try_get("argument_identifiers")?;
        let types: Vec<String> = row.try_get("argument_types")?;
        Ok(Function {
            name: row.try_get("name")?,
            arguments: names
                .into_iter()
                .zip(quoted.into_iter().zip(types))
                .collect(),
            returns: match row.try_get("returns")? {
                "nothing" => Returns::Nothing,
                "rows" => Returns::Rows,
                "image" => Returns::Image,
                _ => Returns::Value,
            },
            only_reads: row.try_get("only_reads")?,
        })
    };
    let functions = rows.iter().map(function).collect::<Result<Vec<_>, _>>();
    let functions = functions.map_err(|error| Failure::of_connection(&error))?;
    Ok(functions
        .into_iter()
        .map(|function| (function.name.clone(), Arc::new(function)))
        .collect())
}

impl Function {
    /// The call with these arguments, which are `$1` as the text of an object. Names and types come from the catalog.
    fn statement(&self, arguments: &[String], form: Form) -> Result<String, Failure> {
        let (mut record, mut list) = (String::new(), String::new());
        for name in arguments {
            let Some((identifier, kind)) = self.arguments.get(name) else {
                return Err(Failure::Missing {
                    code: "PGRST202",
                    message: format!("function pgflow.{} has no argument {name:?}", self.name),
                    details: None,
                });
            };
            let separator = if record.is_empty() { "" } else { ", " };
            let (member, cast) = match form {
                Form::Json => (kind.as_str(), String::new()),
                Form::Text => ("text", format!("::{kind}")),
            };
            let _ = write!(record, "{separator}{identifier} {member}");
            let _ = write!(list, "{separator}{identifier} => x.{identifier}{cast}");
        }
        let result = match self.returns {
            Returns::Nothing => "null::text",
            Returns::Value => "to_json(t)::text",
            Returns::Rows => "coalesce(json_agg(t), '[]')::text",
            Returns::Image => "t::text",
        };
        let name = &self.name;
        Ok(if record.is_empty() {
            format!("select {result} from pgflow.{name}() t where $1::text is not null")
        } else {
            format!(
                "select {result} from json_to_record($1::text::json) x ({record}) cross join lateral pgflow.{name}({list}) t"
            )
        })
    }
}

pub async fn post(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    // Who may not ask is not listened to.
    let caller = app.doorkeeper.caller_of(&headers).await?;
    let body = match timeout(SLOWEST, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) if body.is_empty() => Bytes::from_static(b"{}"),
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return Err(Failure::TooLarge(format!(
                "the body is larger than {MAX_BODY} bytes, or was not sent whole"
            )));
        }
        Err(_) => return Err(Failure::Bad("the body took too long".to_owned())),
    };
    // What is passed on is the text that came; of it only the names are of interest here.
    let text = String::from_utf8(body.into())
        .map_err(|_| Failure::Bad("the body is not UTF-8".to_owned()))?;
    let arguments: BTreeMap<String, IgnoredAny> = serde_json::from_str(&text).map_err(|error| {
        Failure::Bad(format!(
            "the body must be a JSON object of arguments: {error}"
        ))
    })?;
    let names: Vec<String> = arguments.into_keys().collect();
    let function = app.functions.find(&app.database, &name, &names).await?;
    let statement = function.statement(&names, Form::Json)?;
    call(&app, &caller, &function, statement, text, Mode::Write).await
}

pub async fn get(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = app.doorkeeper.caller_of(&headers).await?;
    let names: Vec<String> = parameters.keys().cloned().collect();
    let function = app.functions.find(&app.database, &name, &names).await?;
    if !function.only_reads {
        return Err(Failure::Method(format!(
            "function pgflow.{name} changes something: call it by POST"
        )));
    }
    let text = serde_json::to_string(&parameters).unwrap_or_default();
    let statement = function.statement(&names, Form::Text)?;
    call(&app, &caller, &function, statement, text, Mode::Read).await
}

async fn call(
    app: &App,
    caller: &Caller,
    function: &Function,
    statement: String,
    text: String,
    mode: Mode,
) -> Result<Response, Failure> {
    let asked = caller.clone();
    let answer: Option<String> = app
        .database
        .act(caller, mode, move |transaction| {
            Box::pin(async move {
                let refused = |error| Failure::of_statement(&asked, &error);
                // Not prepared for later: which arguments are given is up to the caller.
                let rows = transaction
                    .query_typed(&statement, &[(&text, Type::TEXT)])
                    .await
                    .map_err(refused)?;
                rows.first()
                    .map(|row| row.try_get(0))
                    .transpose()
                    .map_err(refused)
                    .map(Option::flatten)
            })
        })
        .await?;
    let kind = match function.returns {
        Returns::Nothing => return Ok(StatusCode::NO_CONTENT.into_response()),
        Returns::Image => "image/svg+xml",
        Returns::Value | Returns::Rows => "application/json; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        // An image is never a page: opened by itself it may not run anything.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, answer.unwrap_or_else(|| "null".to_owned())).into_response())
}
