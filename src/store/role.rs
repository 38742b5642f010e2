//! Roles: who the caller is, and whose rights it has.

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

use super::subtransaction;
use crate::error::{Error, Result};
use crate::statements;

statements! {
    ROLE_BY_NAME = "role_by_name.sql",
    CREATED_FOR = "created_for.sql",
}

/// Whether `caller` is `role`, a member of it, or a superuser.
pub fn acts_as(caller: pg_sys::Oid, role: &str) -> Result<bool> {
    let member = by_name(role)?
        // SAFETY: looks at the role graph only; true for superusers.
        .is_some_and(|role| unsafe { pg_sys::has_privs_of_role(caller, role) });
    Ok(member || is_superuser(caller))
}

/// The role of this name.
pub fn by_name(role: &str) -> Result<Option<pg_sys::Oid>> {
    let found = ROLE_BY_NAME.read(&[&role], |row| row.get::<pg_sys::Oid>(1))?;
    Ok(found.into_iter().next())
}

pub fn is_superuser(caller: pg_sys::Oid) -> bool {
    // SAFETY: a system cache look-up.
    unsafe { pg_sys::superuser_arg(caller) }
}

/// The rights of a role instead of those in force, until this is dropped.
pub struct Rights {
    before: pg_sys::Oid,
    flags: c_int,
}

impl Rights {
    /// Takes the rights of `role`, with these `SECURITY_…` flags beside those that are set.
    pub fn take(role: pg_sys::Oid, flags: u32) -> Self {
        let mut rights = Self {
            before: pg_sys::InvalidOid,
            flags: 0,
        };
        // SAFETY: reads and sets two variables of the backend; `Drop` puts them back, and a transaction abort does too.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut rights.before, &mut rights.flags);
            pg_sys::SetUserIdAndSecContext(role, rights.flags | flags as c_int);
        }
        rights
    }

    /// Whose rights they were before.
    pub fn before(&self) -> pg_sys::Oid {
        self.before
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        // SAFETY: restores what `take` found.
        unsafe { pg_sys::SetUserIdAndSecContext(self.before, self.flags) }
    }
}

/// The name of a role.
pub fn name(role: pg_sys::Oid) -> String {
    // SAFETY: returns a palloc'ed C string; with `noerr` false it raises an error for an unknown role.
    unsafe {
        std::ffi::CStr::from_ptr(pg_sys::GetUserNameFromId(role, false))
            .to_string_lossy()
            .into_owned()
    }
}

/// On whose behalf an API gateway calls: the `sub` claim of its token. `None` unless the session belongs to a role
/// that table `gateway_roles` names, because any other session can claim anything.
pub fn created_for() -> Result<Option<String>> {
    // SAFETY: returns a pointer into the setting's own memory, or null when it was never set.
    let has_claims = unsafe {
        let claims = pg_sys::GetConfigOption(c"request.jwt.claims".as_ptr(), true, false);
        !claims.is_null() && *claims != 0
    };
    if !has_claims {
        return Ok(None);
    }
    let malformed = [
        PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
        PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
    ];
    subtransaction::attempt(&malformed, || CREATED_FOR.read(&[], |row| Ok(row.opt(1))))?
        .map(|rows| rows.into_iter().next().flatten())
        .map_err(|reason| {
            Error::invalid_with_hint(
                format!("request.jwt.claims is not JSON: {reason}"),
                "An API gateway sets it to the claims of the request's token, or to nothing.",
            )
        })
}
