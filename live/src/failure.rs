//! What goes wrong, as a response: the same bodies and statuses as those of PostgREST, so that one client serves both.
//!
//! The statuses of SQLSTATEs are those of <https://docs.postgrest.org/en/stable/references/errors.html>.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use thiserror::Error;
use tokio_postgres::error::DbError;

use crate::token::Caller;

/// A request that is refused or cannot be answered.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    #[error("{0}")]
    Token(String),
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{message}")]
    Missing {
        code: &'static str,
        message: String,
        details: Option<String>,
    },
    #[error("{0}")]
    Method(String),
    #[error("{0}")]
    Unavailable(String),
    /// The database has refused it.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// What is wrong is nobody's business but the log's.
    #[error("the database cannot be asked")]
    Database,
}

/// An error of the database, for the one who asked.
#[derive(Clone, Debug)]
pub struct Refusal {
    code: String,
    message: String,
    details: Option<String>,
    hint: Option<String>,
    is_anonymous: bool,
}

impl Failure {
    pub fn token(message: impl Into<String>) -> Self {
        Self::Token(message.into())
    }

    /// There is no such run, or none that the caller may see.
    pub fn no_run(run_id: impl std::fmt::Display) -> Self {
        Self::Missing {
            code: "PT404",
            message: "run not found".to_owned(),
            details: Some(format!("There is no run \"{run_id}\".")),
        }
    }

    /// An error of a statement that a caller asked for.
    pub fn of_statement(caller: &Caller, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(error) => Self::Refused(Refusal::new(error, caller.is_anonymous)),
            None => Self::of_connection(error),
        }
    }

    /// There is no connection to the database, or it broke. One such error a second is logged, since all who ask have it.
    pub fn of_connection(error: &dyn std::error::Error) -> Self {
        static LOGGED: Mutex<Option<Instant>> = Mutex::new(None);
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| logged.elapsed() >= Duration::from_secs(1)) {
            *logged = Some(Instant::now());
            let cause = error
                .source()
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            tracing::warn!("{error}{cause}");
        }
        Self::Database
    }

    /// Whether asking again later may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database | Self::Unavailable(_) => true,
            Self::Refused(refusal) => refusal.is_passing(),
            _ => false,
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Missing { .. } => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable(_) | Self::Database => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(refusal) => refusal.status(),
        }
    }

    /// As an object with `code`, `message`, `details` and `hint`.
    pub fn body(&self) -> Value {
        let (code, details, hint) = match self {
            Self::Token(_) => ("PGRST301", None, None),
            Self::Bad(_) | Self::TooLarge(_) => ("PGRST102", None, None),
            Self::Missing { code, details, .. } => (*code, details.as_deref(), None),
            Self::Method(_) => ("PGRST101", None, None),
            Self::Unavailable(_) => ("PGRST003", None, None),
            Self::Database => ("PGRST001", None, None),
            Self::Refused(r) => (r.code.as_str(), r.details.as_deref(), r.hint.as_deref()),
        };
        json!({"code": code, "message": self.to_string(), "details": details, "hint": hint})
    }
}

impl Refusal {
    fn new(error: &DbError, is_anonymous: bool) -> Self {
        Self {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            details: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            is_anonymous,
        }
    }

    /// The server goes down or comes up, or is out of connections or memory.
    fn is_passing(&self) -> bool {
        matches!(self.code.get(..2), Some("08" | "53" | "57" | "58"))
    }

    fn status(&self) -> StatusCode {
        let code = self.code.as_str();
        let status = match code {
            "42501" if self.is_anonymous => 401,
            "42501" => 403,
            "42883" | "42P01" => 404,
            "23503" | "23505" => 409,
            "25006" => 405,
            "57P01" | "57P02" | "57P03" => 503,
            "P0001" => 400,
            _ => match code.get(..2) {
                Some("PT") => code[2..].parse().unwrap_or(500),
                Some("08" | "53") => 503,
                Some("0L" | "0P" | "28") => 403,
                Some(
                    "09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "54" | "55" | "57" | "58"
                    | "F0" | "HV" | "P0" | "XX",
                ) => 500,
                _ => 400,
            },
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self.body())).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
