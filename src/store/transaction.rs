//! Transactions of a background worker: begun here, committed here, and rolled back whatever goes wrong in them.
//!
//! The pattern of PostgresMain in tcop/postgres.c of PostgreSQL, as far as it concerns a process without a client.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int, c_void};
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, PgXactCallbackEvent, pg_sys, register_xact_callback};

use super::value::Instant;
use crate::error::{Error, Result};

/// Why a transaction was rolled back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    pub sqlstate: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Where it happened, innermost first, as PostgreSQL's CONTEXT says.
    pub context: Option<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)?;
        let parts = [
            ("DETAIL", &self.detail),
            ("HINT", &self.hint),
            ("CONTEXT", &self.context),
        ];
        for (name, text) in parts {
            if let Some(text) = text {
                write!(f, "\n{name}: {text}")?;
            }
        }
        Ok(())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            message: error.to_string(),
            sqlstate: String::from_utf8_lossy(error.sqlstate().code()).into_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            context: None,
        }
    }
}

/// Runs `work` in a transaction of its own and commits it. A transaction must not be open.
pub fn run<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, Failure> {
    let watch = Watch::begin();
    // SAFETY: the calls of PostgresMain, in their order; the transaction is ended exactly once on every way out.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        #[allow(clippy::result_large_err)]
        let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let done = work();
            if done.is_ok() {
                pg_sys::PopActiveSnapshot();
                pg_sys::CommitTransactionCommand();
                cancel_timeout();
            }
            Ok(done)
        }))
        .catch_others(Err)
        .catch_rust_panic(Err)
        .execute();

        let failure = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.into(),
            Err(caught) => watch.failure(caught),
        };
        cancel_timeout();
        pg_sys::AbortCurrentTransaction();
        Err(failure)
    }
}

/// Has what runs cancelled after so many seconds, as statement_timeout would; [`cancel_timeout`] and the end of the
/// transaction call that off. Whoever traps the cancellation is cancelled again, and at last its process is ended, which
/// nothing traps.
pub fn set_timeout(seconds: i32) {
    let millis = seconds.saturating_mul(1000);
    // SAFETY: the first timeout is registered in every process that is connected to a database, the second one here.
    unsafe {
        let end = match END_TIMEOUT.get() {
            Some(end) => end,
            None => {
                let end = RegisterTimeout(USER_TIMEOUT, end_process);
                END_TIMEOUT.set(Some(end));
                end
            }
        };
        let first = Instant::now().plus_seconds(f64::from(seconds));
        enable_timeout_every(STATEMENT_TIMEOUT, first.0, PAUSE_OF_CANCELS);
        enable_timeout_after(end, millis.saturating_add(CANCELS * PAUSE_OF_CANCELS));
    }
}

/// [`set_timeout`] for the triggers that were deferred to the commit. The commit itself may take as long as it takes: whoever
/// waits for a standby there must not be told that it has committed before it has.
pub fn set_timeout_of_triggers(seconds: i32) {
    set_timeout(seconds);
    register_xact_callback(PgXactCallbackEvent::PreCommit, cancel_timeout);
}

pub fn cancel_timeout() {
    // SAFETY: as above; a cancellation that came too late must not hit what follows.
    unsafe {
        disable_timeout(STATEMENT_TIMEOUT, false);
        if let Some(end) = END_TIMEOUT.get() {
            disable_timeout(end, false);
        }
        pg_sys::QueryCancelPending = 0;
    }
}

thread_local! {
    /// What the timeout that ends the process was registered as.
    static END_TIMEOUT: Cell<Option<c_int>> = const { Cell::new(None) };
}

/// Milliseconds until what went on in spite of being cancelled is cancelled again, and how often.
const PAUSE_OF_CANCELS: c_int = 1000;
const CANCELS: c_int = 3;

/// A signal handler: ends this process, as pg_terminate_backend would.
extern "C" fn end_process() {
    // SAFETY: both may be called in a signal handler.
    unsafe { kill(getpid(), pg_sys::SIGTERM as c_int) };
}

unsafe extern "C" {
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn getpid() -> c_int;
}

unsafe extern "C-unwind" {
    fn RegisterTimeout(id: c_int, handler: extern "C" fn()) -> c_int;
    fn enable_timeout_after(id: c_int, delay_ms: c_int);
    fn enable_timeout_every(id: c_int, first: i64, delay_ms: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
    fn geterrcode() -> c_int;
}

/// Of enum TimeoutId in utils/timeout.h, the same in PostgreSQL 15 to 18.
const STATEMENT_TIMEOUT: c_int = 3;
/// Where those of extensions begin.
#[cfg(any(feature = "pg15", feature = "pg16"))]
const USER_TIMEOUT: c_int = 12;
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
const USER_TIMEOUT: c_int = 13;

/// What pgrx leaves out of the errors that it hands on: SQLSTATEs that it has no name for, and the context. A callback at
/// the bottom of PostgreSQL's stack of error contexts notes both for the latest error.
struct Watch {
    callback: Box<pg_sys::ErrorContextCallback>,
}

#[derive(Default)]
struct Noted {
    sqlstate: c_int,
    context: Option<String>,
    /// Asking for the context calls the callbacks again.
    is_asking: bool,
}

thread_local! {
    static NOTED: RefCell<Noted> = RefCell::default();
}

impl Watch {
    fn begin() -> Self {
        NOTED.take();
        let mut callback = Box::<pg_sys::ErrorContextCallback>::default();
        callback.callback = Some(note);
        // SAFETY: taken off again by `Drop`; the box does not move.
        unsafe {
            callback.previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = &raw mut *callback;
        }
        Self { callback }
    }

    fn failure(&self, caught: CaughtError) -> Failure {
        let noted = NOTED.take();
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic {
            ereport: report, ..
        }) = caught;
        let code = report.sql_error_code();
        let sqlstate = match code {
            // What pgrx makes of those it does not know.
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR if noted.sqlstate != 0 => noted.sqlstate,
            code => code as c_int,
        };
        Failure {
            message: report.message().to_owned(),
            sqlstate: sqlstate_text(sqlstate),
            detail: report.detail().map(str::to_owned),
            hint: report.hint().map(str::to_owned),
            context: noted.context,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: what `begin` put there; errors have put the stack back to it.
        unsafe { pg_sys::error_context_stack = self.callback.previous }
    }
}

unsafe extern "C-unwind" fn note(_: *mut c_void) {
    if NOTED.with_borrow_mut(|noted| std::mem::replace(&mut noted.is_asking, true)) {
        return;
    }
    // SAFETY: inside an error context callback, which is what both functions are for.
    unsafe {
        let sqlstate = geterrcode();
        let context = pg_sys::GetErrorContextStack();
        let text = (!context.is_null())
            .then(|| CStr::from_ptr(context).to_string_lossy().into_owned())
            .filter(|text| !text.is_empty());
        NOTED.replace(Noted {
            sqlstate,
            context: text,
            is_asking: false,
        });
    }
}

/// The five characters of MAKE_SQLSTATE in utils/elog.h, six bits each.
fn sqlstate_text(code: c_int) -> String {
    (0..5)
        .map(|n| char::from(((code >> (6 * n)) & 0x3f) as u8 + b'0'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_are_spelled() {
        let code = PgSqlErrorCode::ERRCODE_DIVISION_BY_ZERO as c_int;
        assert_eq!(sqlstate_text(code), "22012");
    }
}
