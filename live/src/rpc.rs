//! `POST /rpc/FUNCTION`, and GET for those that only read: the functions of schema pgflow with named arguments, as
//! PostgREST calls them (docs/postgrest.md), for who has no PostgREST. The database decides who may call what.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tokio_postgres::types::Type;

use crate::database::{Database, Mode};
use crate::failure::Failure;
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
}

#[derive(Default)]
struct Known {
    functions: HashMap<String, Arc<Function>>,
    read: Option<Instant>,
}

impl Functions {
    async fn find(&self, database: &Database, name: &str) -> Result<Arc<Function>, Failure> {
        if let Some(function) = self.get(name) {
            return Ok(function);
        }
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
    fn statement(&self, arguments: &Map<String, Value>) -> Result<String, Failure> {
        let (mut record, mut list) = (String::new(), String::new());
        for name in arguments.keys() {
            let Some((identifier, kind)) = self.arguments.get(name) else {
                return Err(Failure::Missing {
                    code: "PGRST202",
                    message: format!("function pgflow.{} has no argument {name:?}", self.name),
                    details: None,
                });
            };
            let separator = if record.is_empty() { "" } else { ", " };
            let _ = write!(record, "{separator}{identifier} {kind}");
            let _ = write!(list, "{separator}{identifier} => x.{identifier}");
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
    body: Bytes,
) -> Result<Response, Failure> {
    let caller = app.doorkeeper.caller_of(&headers).await?;
    let arguments = match serde_json::from_slice(&body) {
        _ if body.is_empty() => Map::new(),
        Ok(Value::Object(arguments)) => arguments,
        Ok(_) => {
            return Err(Failure::Bad(
                "the body must be a JSON object of arguments".to_owned(),
            ));
        }
        Err(error) => return Err(Failure::Bad(format!("the body is no JSON: {error}"))),
    };
    let function = app.functions.find(&app.database, &name).await?;
    // What is passed on is the text that came: numbers and strings stay as they were written.
    let text = if body.is_empty() {
        "{}".to_owned()
    } else {
        String::from_utf8_lossy(&body).into_owned()
    };
    call(&app, &caller, &function, &arguments, text, Mode::Write).await
}

pub async fn get(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = app.doorkeeper.caller_of(&headers).await?;
    let function = app.functions.find(&app.database, &name).await?;
    if !function.only_reads {
        return Err(Failure::Method(format!(
            "function pgflow.{name} changes something: call it by POST"
        )));
    }
    let arguments: Map<String, Value> = parameters
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    let text = Value::Object(arguments.clone()).to_string();
    call(&app, &caller, &function, &arguments, text, Mode::Read).await
}

async fn call(
    app: &App,
    caller: &Caller,
    function: &Function,
    arguments: &Map<String, Value>,
    text: String,
    mode: Mode,
) -> Result<Response, Failure> {
    let statement = function.statement(arguments)?;
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
