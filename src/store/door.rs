//! The door: what every SQL function of pgflow does before and after its work.
//!
//! 1. The caller is the role in force (`current_user`), remembered before anything else.
//! 2. The rest runs as the owner of schema `pgflow`, with the security flags that were already set kept and
//!    `SECURITY_LOCAL_USERID_CHANGE` added; both are given back on every way out, errors included.
//! 3. The planner looks keys up by index while the call lasts.
//! 4. An [`Error`] becomes an error of PostgreSQL with the SQLSTATE it names. pgrx knows only the SQLSTATEs of the
//!    standard, so the report is written here and not by pgrx.

use std::ffi::{CStr, CString, c_char, c_int};

use pgrx::pg_sys;

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

/// Runs `work` behind the door and returns what it returns; an error leaves as an error of PostgreSQL.
pub fn enter<T>(work: impl FnOnce(&Session) -> Result<T>) -> T {
    match guarded(work) {
        Ok(value) => value,
        Err(error) => raise(error),
    }
}

fn guarded<T>(work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
    let owner = OwnerRights::take()?;
    let session = Session {
        caller: owner.caller,
        now: Instant::now(),
    };
    let planner = PlannerSettings::look_ups();
    let connection = Connection::open()?;
    let result = work(&session);
    // In this order: results were copied out of the connection's memory, settings end before the rights do.
    connection.close();
    planner.give_back();
    drop(owner);
    result
}

/// Whether the transaction sees one state of the tables from its first statement to its end.
pub fn has_fixed_snapshot() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as c_int }
}

/// The rights of the extension's owner, for the length of a call.
struct OwnerRights {
    caller: pg_sys::Oid,
    flags: c_int,
}

impl OwnerRights {
    fn take() -> Result<Self> {
        let owner = schema_owner()?;
        let mut caller = pg_sys::InvalidOid;
        let mut flags = 0;
        // SAFETY: reads and sets two variables of the backend; `Drop` puts them back, and a transaction abort does too.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut caller, &mut flags);
            pg_sys::SetUserIdAndSecContext(
                owner,
                flags | pg_sys::SECURITY_LOCAL_USERID_CHANGE as c_int,
            );
        }
        Ok(Self { caller, flags })
    }
}

impl Drop for OwnerRights {
    fn drop(&mut self) {
        // SAFETY: restores what `take` found.
        unsafe { pg_sys::SetUserIdAndSecContext(self.caller, self.flags) }
    }
}

fn schema_owner() -> Result<pg_sys::Oid> {
    // SAFETY: a system cache look-up; the tuple is released before the function returns.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"pgflow".as_ptr(), true);
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::NAMESPACEOID as c_int,
            pg_sys::Datum::from(schema),
        );
        if tuple.is_null() {
            return Err(Error::Internal("schema pgflow does not exist".into()));
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_namespace>()).nspowner;
        pg_sys::ReleaseSysCache(tuple);
        Ok(owner)
    }
}

/// Settings under which a kept plan stays an index look-up, also when it was made while the tables were empty.
pub struct PlannerSettings {
    level: c_int,
}

impl PlannerSettings {
    const SETTINGS: [&'static CStr; 5] = [
        c"jit",
        c"enable_seqscan",
        c"enable_hashjoin",
        c"enable_mergejoin",
        c"enable_material",
    ];

    /// For statements that find rows by key.
    fn look_ups() -> Self {
        let planner = Self::take(&Self::SETTINGS, c"off");
        // What a caller may have changed, and a kept plan would remember; hardly anybody does.
        // SAFETY: reads variables of the backend.
        let unusual = unsafe {
            !(pg_sys::enable_indexscan
                && pg_sys::enable_indexonlyscan
                && pg_sys::enable_bitmapscan
                && pg_sys::enable_nestloop
                && pg_sys::enable_sort)
                || pg_sys::join_collapse_limit < 8
                || pg_sys::from_collapse_limit < 8
                || pg_sys::plan_cache_mode != 0
        };
        if unusual {
            // Levels within the first one, which end with it.
            Self::take(&Self::USUAL, c"on");
            Self::take(&[c"join_collapse_limit", c"from_collapse_limit"], c"8");
            Self::take(&[c"plan_cache_mode"], c"auto");
        }
        planner
    }

    const USUAL: [&'static CStr; 5] = [
        c"enable_indexscan",
        c"enable_indexonlyscan",
        c"enable_bitmapscan",
        c"enable_nestloop",
        c"enable_sort",
    ];

    /// For statements that look at whole tables: never with nested loops, which a plan that was made while the tables
    /// were small would keep.
    pub fn surveys() -> Self {
        let planner = Self::take(&Self::SETTINGS[1..], c"on");
        // A level within the first one, which ends with it.
        Self::take(&[c"enable_nestloop"], c"off");
        planner
    }

    fn take(settings: &[&'static CStr], value: &'static CStr) -> Self {
        // SAFETY: opens a nest level and sets boolean settings that every user may set, in it.
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            for name in settings {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            Self { level }
        }
    }

    /// Not in `Drop`: on an error PostgreSQL ends the nest level itself with the (sub)transaction.
    pub fn give_back(self) {
        // SAFETY: ends the nest level that `take` opened.
        unsafe { pg_sys::AtEOXact_GUC(true, self.level) }
    }
}

/// A connection to the server programming interface. An error ends it with the (sub)transaction.
struct Connection;

impl Connection {
    fn open() -> Result<Self> {
        // SAFETY: paired with `close`.
        match unsafe { pg_sys::SPI_connect() } {
            status if status == pg_sys::SPI_OK_CONNECT as c_int => Ok(Self),
            status => Err(Error::Internal(format!("SPI_connect returned {status}"))),
        }
    }

    fn close(self) {
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
