//! Functions of users that do the tasks of executor `sql`: found by name, and called with exactly the rights of a role.
//!
//! A handler runs as the flow's owner. The session belongs to that role too, as far as anyone who asks can see, with
//! `SECURITY_LOCAL_USERID_CHANGE` set: PostgreSQL then refuses SET ROLE and SET SESSION AUTHORIZATION, so there is no
//! way back to the rights of the worker. They come back when the transaction is over, after the triggers that were
//! deferred to its end have run.

use std::ffi::{CString, c_int};

use pgrx::datum::FromDatum;
use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

use super::function::Call;
use super::pinned;
use super::role::Rights;
use super::subtransaction;
use super::transaction;
use super::value::Json;
use crate::error::Result;
use crate::model::FunctionName;

/// The oids of a role and of a function.
pub type Role = pg_sys::Oid;
pub type Function = pg_sys::Oid;

/// Why a function cannot be a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// There is none of that name that takes one jsonb.
    Unknown,
    /// It returns something else, or a set, or is no function.
    Shape,
    /// The role may not execute it, or not use its schema.
    Denied,
}

/// Finds the function with this name that takes one jsonb and returns one, if `role` may execute it.
pub fn find(name: &FunctionName, role: Role) -> Result<std::result::Result<Function, Unfit>> {
    // The search looks at the rights of whoever is in force to use the schema, and raises an error without them.
    let denied = [PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE];
    let found = subtransaction::attempt(&denied, || {
        let _rights = Rights::take(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE);
        Ok(look_up(name))
    })?;
    let Ok(function) = found else {
        return Ok(Err(Unfit::Denied));
    };
    if function == pg_sys::InvalidOid {
        return Ok(Err(Unfit::Unknown));
    }
    if !returns_one_jsonb(function) {
        return Ok(Err(Unfit::Shape));
    }
    if !may_execute(function, role) {
        return Ok(Err(Unfit::Denied));
    }
    Ok(Ok(function))
}

fn look_up(name: &FunctionName) -> pg_sys::Oid {
    let text = |part: &str| CString::new(part.replace('\0', "")).unwrap_or_default();
    let (schema, name) = (text(&name.schema), text(&name.name));
    // SAFETY: the list and its nodes live in the current memory context, which outlives the call.
    unsafe {
        let mut list = std::ptr::null_mut();
        for part in [&schema, &name] {
            let node = pg_sys::makeString(pg_sys::pstrdup(part.as_ptr()));
            list = pg_sys::lappend(list, node.cast());
        }
        let arguments = [pg_sys::JSONBOID];
        pg_sys::LookupFuncName(list, 1, arguments.as_ptr(), true)
    }
}

fn returns_one_jsonb(function: pg_sys::Oid) -> bool {
    // SAFETY: a system cache look-up; the tuple is released before the function returns.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::PROCOID as c_int,
            pg_sys::Datum::from(function),
        );
        if tuple.is_null() {
            return false;
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
        let fits = form.prokind == pg_sys::PROKIND_FUNCTION as std::ffi::c_char
            && !form.proretset
            && form.prorettype == pg_sys::JSONBOID;
        pg_sys::ReleaseSysCache(tuple);
        fits
    }
}

fn may_execute(function: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: catalog look-ups.
    unsafe {
        #[cfg(feature = "pg15")]
        let checked = pg_sys::pg_proc_aclcheck(function, role, pg_sys::ACL_EXECUTE);
        #[cfg(not(feature = "pg15"))]
        let checked = pg_sys::object_aclcheck(
            pg_sys::ProcedureRelationId,
            function,
            role,
            pg_sys::ACL_EXECUTE.into(),
        );
        checked == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// The session of a background worker in the name of a role, from inside a transaction to behind its end.
pub struct Session {
    worker: pg_sys::Oid,
}

impl Session {
    /// Only for a background worker that is connected as a superuser.
    pub fn begin(role: Role) -> Self {
        // SAFETY: the worker's authenticated user is a superuser, so it may set any session user.
        unsafe {
            let worker = pg_sys::GetSessionUserId();
            pg_sys::SetSessionAuthorization(role, pg_sys::superuser_arg(role));
            let local = pg_sys::SECURITY_LOCAL_USERID_CHANGE as c_int;
            pg_sys::SetUserIdAndSecContext(role, local);
            Self { worker }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: gives the session back to the worker's own user, with no flags, as it was.
        unsafe {
            pg_sys::SetUserIdAndSecContext(self.worker, 0);
            pg_sys::SetSessionAuthorization(self.worker, true);
            // What a trigger set that was deferred to the commit would last, and the next role would meet it.
            pg_sys::ResetAllOptions();
        }
    }
}

/// Calls a handler with the role in force and returns its result; SQL NULL is `None`. What it sets is undone when it
/// returns; after `timeout` seconds it is cancelled. Errors leave as PostgreSQL's own.
pub fn call(function: Function, input: Json, timeout: i32) -> Option<Json> {
    // For who asks: in a process without a client nothing goes by it.
    let text = CString::new(format!("{timeout}s")).unwrap_or_default();
    // SAFETY: the function takes one jsonb and returns one, see `find`. An error ends the transaction, and the settings
    // with it.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        pinned::set(c"statement_timeout", &text);
        transaction::set_timeout(timeout);
        let result = Call::of(function).with(&[input.0]);
        transaction::cancel_timeout();
        pg_sys::AtEOXact_GUC(false, level);
        pg_sys::CommandCounterIncrement();
        result.and_then(|result| Json::from_datum(result, false))
    }
}
