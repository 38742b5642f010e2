//! The door: what every SQL function of pgflow does before and after its work.
//!
//! 1. The caller is the role in force (`current_user`), remembered before anything else.
//! 2. The rest runs as the owner of schema `pgflow`, with the security flags that were already set kept and
//!    `SECURITY_LOCAL_USERID_CHANGE` added; both are given back on every way out, errors included.
//! 3. The planner looks keys up by index while the call lasts.
//! 4. What the call changed is told to the outside when it ends well ([`super::changes`]).
//! 5. An [`Error`] becomes an error of PostgreSQL with the SQLSTATE it names. pgrx knows only the SQLSTATEs of the
//!    standard, so the report is written here and not by pgrx.

use std::ffi::{CString, c_char, c_int};

use pgrx::pg_sys;

use super::changes::Call;
use super::function;
use super::planner::PlannerSettings;
use super::role::Rights;
use super::value::Instant;
use crate::error::{Error, Result};

/// Who calls, and when.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// The role in force at the call.
    pub caller: pg_sys::Oid,
    /// The clock, read once per call.
    pub now: Instant,
}

impl Session {
    /// The same session, with the clock read anew: for a part of a call that may have waited for locks before it. The clock
    /// does not go back within a call.
    pub fn later(&self) -> Self {
        Self {
            now: self.now.max(Instant::now()),
            ..*self
        }
    }
}

/// Runs `work` behind the door and returns what it returns; an error leaves as an error of PostgreSQL.
pub fn enter<T>(work: impl FnOnce(&Session) -> Result<T>) -> T {
    match act(work) {
        Ok(value) => value,
        Err(error) => raise(error),
    }
}

/// [`enter`] for a background worker, which has no statement to end.
pub fn act<T>(work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
    let owner = Rights::take(schema_owner()?, pg_sys::SECURITY_LOCAL_USERID_CHANGE);
    let session = Session {
        caller: owner.before(),
        now: Instant::now(),
    };
    let planner = PlannerSettings::look_ups();
    let connection = Connection::open()?;
    let call = Call::begin(session.now)?;
    let result = work(&session);
    // In this order: results were copied out of the connection's memory, settings end before the rights do.
    connection.close();
    drop(planner);
    if result.is_ok() {
        call.tell()?;
    }
    drop(call);
    drop(owner);
    result
}

/// [`enter`] for a STABLE function: it sees, too, what the statement that calls it has done so far, such as the run that
/// an argument of it has started.
pub fn look<T>(work: impl FnOnce(&Session) -> Result<T>) -> T {
    enter(|session| {
        // SAFETY: pushed and popped in pairs; an error unwinds the stack with the transaction.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        let found = work(session);
        // SAFETY: what was pushed above.
        unsafe { pg_sys::PopActiveSnapshot() };
        found
    })
}

/// [`act`] for work that nobody asks for: pgflow itself is the caller.
pub fn act_for_itself<T>(work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
    let rights = Rights::take(schema_owner()?, pg_sys::SECURITY_LOCAL_USERID_CHANGE);
    let result = act(work);
    drop(rights);
    result
}

/// Whether the transaction sees one state of the tables from its first statement to its end.
pub fn has_fixed_snapshot() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as c_int }
}

fn schema_owner() -> Result<pg_sys::Oid> {
    function::schema(c"pgflow")
        .map(|(_, owner)| owner)
        .ok_or_else(|| Error::Internal("schema pgflow does not exist".into()))
}

/// A connection to the server programming interface. An error ends it with the (sub)transaction.
pub(super) struct Connection;

impl Connection {
    pub(super) fn open() -> Result<Self> {
        // SAFETY: paired with `close`.
        match unsafe { pg_sys::SPI_connect() } {
            status if status == pg_sys::SPI_OK_CONNECT as c_int => Ok(Self),
            status => Err(Error::Internal(format!("SPI_connect returned {status}"))),
        }
    }

    pub(super) fn close(self) {
        // SAFETY: paired with `open`.
        unsafe { pg_sys::SPI_finish() };
    }
}

/// Ends the statement with an error report.
fn raise(error: Error) -> ! {
    unsafe extern "C-unwind" {
        fn errstart(elevel: c_int, domain: *const c_char) -> bool;
        fn errcode(sqlstate: c_int) -> c_int;
        fn errmsg_internal(format: *const c_char, ...) -> c_int;
        fn errdetail_internal(format: *const c_char, ...) -> c_int;
        fn errhint(format: *const c_char, ...) -> c_int;
        fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    }
    let state = sqlstate(*error.sqlstate().code());
    let message = in_postgres_memory(&error.to_string());
    let detail = error.detail().map(in_postgres_memory);
    let hint = error.hint().map(in_postgres_memory);
    drop(error);
    // SAFETY: errfinish leaves by longjmp; no value with a destructor is alive in this frame, and the frames between
    // here and PostgreSQL are the argument shuffling of pgrx, which hold none either.
    unsafe {
        errstart(pgrx::PgLogLevel::ERROR as c_int, std::ptr::null());
        errcode(state);
        errmsg_internal(c"%s".as_ptr(), message);
        if let Some(detail) = detail {
            errdetail_internal(c"%s".as_ptr(), detail);
        }
        if let Some(hint) = hint {
            errhint(c"%s".as_ptr(), hint);
        }
        errfinish(std::ptr::null(), 0, std::ptr::null());
    }
    unreachable!("errfinish does not return from an error")
}

/// MAKE_SQLSTATE of utils/elog.h: six bits a character.
fn sqlstate(code: [u8; 5]) -> c_int {
    code.iter().rev().fold(0, |state, character| {
        (state << 6) | c_int::from((character - b'0') & 0x3f)
    })
}

fn in_postgres_memory(text: &str) -> *const c_char {
    let text = CString::new(text.replace('\0', "")).unwrap_or_default();
    // SAFETY: copies a C string into the current memory context, which the error clean-up frees.
    unsafe { pg_sys::pstrdup(text.as_ptr()) }
}
