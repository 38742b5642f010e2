//! Work that may fail without failing the call.
//!
//! Used where PostgreSQL itself has the last word and cannot be asked before: a value too large to build, a row lock
//! that someone else holds. Everything done inside is undone, locks included, when it fails with a code in `expected`;
//! any other error goes on.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};

use super::changes;
use crate::error::Result;

/// The row is locked by someone else (`FOR UPDATE NOWAIT`).
pub const LOCK_NOT_AVAILABLE: PgSqlErrorCode = PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE;
/// A jsonb or a tuple over the limits of PostgreSQL.
pub const PROGRAM_LIMIT_EXCEEDED: PgSqlErrorCode = PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED;

/// What is no JSON, or none that this database can hold.
pub const NOT_JSON: &[PgSqlErrorCode] = &[
    PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
    PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
    PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
    PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX,
    PROGRAM_LIMIT_EXCEEDED,
];

/// Runs `work` in a subtransaction. `Ok(Err(message))` when it failed with an expected code and was undone.
pub fn attempt<T>(
    expected: &[PgSqlErrorCode],
    work: impl FnOnce() -> Result<T>,
) -> Result<std::result::Result<T, String>> {
    match within(work) {
        Ok(done) => done.map(Ok),
        Err(CaughtError::PostgresError(report)) if expected.contains(&report.sql_error_code()) => {
            Ok(Err(report.message().to_owned()))
        }
        Err(unexpected) => unexpected.rethrow(),
    }
}

/// Runs `work`, which may fail for any reason of its own: `Ok(Err(message))` when it did and was undone. What is no fault
/// of the work (somebody ends this session, a deadlock, a full disk) goes on: trying again may help.
pub fn contain<T>(work: impl FnOnce() -> Result<T>) -> Result<std::result::Result<T, String>> {
    const OTHERS: [PgSqlErrorCode; 3] = [
        PgSqlErrorCode::ERRCODE_TRANSACTION_ROLLBACK,
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
        PgSqlErrorCode::ERRCODE_OPERATOR_INTERVENTION,
    ];
    match within(work) {
        Ok(Ok(done)) => Ok(Ok(done)),
        Ok(Err(error)) => Ok(Err(described(&error.to_string(), error.detail()))),
        Err(CaughtError::PostgresError(report))
            if !OTHERS.map(class).contains(&class(report.sql_error_code())) =>
        {
            Ok(Err(described(report.message(), report.detail())))
        }
        Err(unexpected) => unexpected.rethrow(),
    }
}

/// Why something failed that was undone.
pub struct Undone {
    pub message: String,
    /// Others came in between, and another transaction may do better.
    pub by_others: bool,
}

/// Runs `work`, which may fail for whatever reason, and is undone then. Only what ends the session or cancels its
/// statement goes on.
pub fn shield<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, Undone> {
    let report = match within(work) {
        Ok(done) => {
            return done.map_err(|error| Undone {
                message: described(&error.to_string(), error.detail()),
                by_others: false,
            });
        }
        Err(CaughtError::PostgresError(report)) => report,
        Err(unexpected) => unexpected.rethrow(),
    };
    let found = class(report.sql_error_code());
    if found == class(PgSqlErrorCode::ERRCODE_OPERATOR_INTERVENTION) {
        CaughtError::PostgresError(report).rethrow()
    }
    Err(Undone {
        message: described(report.message(), report.detail()),
        by_others: found == class(PgSqlErrorCode::ERRCODE_TRANSACTION_ROLLBACK),
    })
}

/// ERRCODE_TO_CATEGORY of utils/elog.h.
fn class(code: PgSqlErrorCode) -> i64 {
    code as i64 & 0xfff
}

fn described(message: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{message}: {detail}"),
        None => message.to_owned(),
    }
}

#[allow(clippy::result_large_err)]
fn within<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<Result<T>, CaughtError> {
    // SAFETY: the pattern of plpgsql's exception blocks: memory context and resource owner are put back on both ways
    // out, and the subtransaction is ended exactly once.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        let noted = changes::noted();
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);

        #[allow(clippy::result_large_err)]
        let outcome = PgTryBuilder::new(AssertUnwindSafe(|| Ok(work())))
            .catch_others(Err)
            .catch_rust_panic(Err)
            .execute();

        if matches!(outcome, Ok(Ok(_))) {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            changes::forget_since(noted);
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        // What is thrown again is thrown only after this: whoever catches it further out must not find a subtransaction
        // that nobody ends.
        outcome
    }
}
