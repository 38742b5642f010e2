//! Roles: who the caller is, and whose rights it has.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_int;
use std::rc::Rc;

use pgrx::pg_sys;

use super::subtransaction::{self, NOT_JSON};
use crate::error::{Error, Result};
use crate::statements;

statements! {
    ROLE_BY_NAME = "role_by_name.sql",
    ROLES_OF = "roles_of.sql",
    ON_BEHALF = "on_behalf.sql",
}

/// A role, as the catalog knows it.
pub type Role = pg_sys::Oid;

/// Whether `caller` is `role`, a member of it, or somebody who may do everything.
pub fn acts_as(caller: pg_sys::Oid, role: &str) -> Result<bool> {
    if may_do_everything(caller) {
        return Ok(true);
    }
    Ok(by_name(role)?
        // SAFETY: looks at the role graph only.
        .is_some_and(|role| unsafe { pg_sys::has_privs_of_role(caller, role) }))
}

/// Whether `role` is a superuser or has the rights of the extension's owner. For use behind the door, where these are
/// the rights in force.
pub fn may_do_everything(role: pg_sys::Oid) -> bool {
    // SAFETY: reads a variable of the backend and looks at the role graph, which is cached; true for superusers.
    unsafe { pg_sys::has_privs_of_role(role, pg_sys::GetUserId()) }
}

/// The names of all roles whose rights a role has, its own among them.
pub fn all_of(role: pg_sys::Oid) -> Result<Rc<Vec<String>>> {
    // Looked at before the catalog is: what changes meanwhile makes the answer an old one.
    let generation = generation();
    let known = ROLE_GRAPH.with_borrow(|graph| graph.roles_of(role, generation));
    if let Some(roles) = known {
        return Ok(roles);
    }
    let roles = Rc::new(ROLES_OF.latest(&[&role], |row| row.get::<String>(1))?);
    ROLE_GRAPH.with_borrow_mut(|graph| graph.keep(role, generation, &roles));
    Ok(roles)
}

/// Who has whose rights, as far as it was asked for; forgotten when any role or membership changes.
#[derive(Default)]
struct RoleGraph {
    generation: u64,
    roles: HashMap<pg_sys::Oid, Rc<Vec<String>>>,
}

thread_local! {
    static ROLE_GRAPH: RefCell<RoleGraph> = RefCell::default();
    /// Counts the changes of roles and memberships that this backend has heard of; 0 before it listens.
    static ROLE_CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// A number that is another one after each change of roles that this backend has heard of.
pub fn generation() -> u64 {
    if ROLE_CHANGES.get() == 0 {
        ROLE_CHANGES.set(1);
        let caches = [
            pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
            pg_sys::SysCacheIdentifier::AUTHOID,
        ];
        for cache in caches {
            // SAFETY: registered once in a backend; the function only counts.
            unsafe {
                pg_sys::CacheRegisterSyscacheCallback(
                    cache as c_int,
                    Some(role_changed),
                    pg_sys::Datum::null(),
                );
            }
        }
    }
    ROLE_CHANGES.get()
}

impl RoleGraph {
    fn roles_of(&self, role: pg_sys::Oid, generation: u64) -> Option<Rc<Vec<String>>> {
        (self.generation == generation)
            .then(|| self.roles.get(&role).cloned())
            .flatten()
    }

    fn keep(&mut self, role: pg_sys::Oid, generation: u64, roles: &Rc<Vec<String>>) {
        if self.generation != generation {
            self.generation = generation;
            self.roles.clear();
        }
        self.roles.insert(role, Rc::clone(roles));
    }
}

unsafe extern "C-unwind" fn role_changed(_: pg_sys::Datum, _: c_int, _: u32) {
    ROLE_CHANGES.set(ROLE_CHANGES.get() + 1);
}

/// The role of this name.
pub fn by_name(role: &str) -> Result<Option<pg_sys::Oid>> {
    let found = ROLE_BY_NAME.read(&[&role], |row| row.get::<pg_sys::Oid>(1))?;
    Ok(found.into_iter().next())
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

/// On whose behalf a session calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behalf {
    /// Its own: it is no API gateway's, and could claim anything.
    Own,
    /// That of the `sub` claim of the request's token, if it has one.
    Sub(Option<String>),
}

impl Behalf {
    pub fn sub(&self) -> Option<&str> {
        match self {
            Self::Own => None,
            Self::Sub(sub) => sub.as_deref(),
        }
    }

    /// Whether what was created for this subject, by the caller's role, is the caller's.
    pub fn owns(&self, created_for: Option<&str>) -> bool {
        *self == Self::Own || self.sub().is_some() && self.sub() == created_for
    }
}

/// On whose behalf the session calls: that of a claim only when the role that logged in is in table `gateway_roles`.
pub fn on_behalf() -> Result<Behalf> {
    let read = || {
        ON_BEHALF.read(&[], |row| {
            Ok(if row.get(1)? {
                Behalf::Sub(row.opt(2))
            } else {
                Behalf::Own
            })
        })
    };
    let rows = if has_claims() {
        subtransaction::attempt(NOT_JSON, read)?.map_err(|reason| {
            Error::invalid_with_hint(
                format!("request.jwt.claims is not JSON: {reason}"),
                "An API gateway sets it to the claims of the request's token, or to nothing.",
            )
        })?
    } else {
        read()?
    };
    let behalf = rows.into_iter().next().unwrap_or(Behalf::Own);
    match behalf.sub() {
        Some(sub) if sub.len() > LONGEST_SUB => Err(Error::invalid_with_hint(
            format!("sub claim of {} bytes is too long", sub.len()),
            format!("It has up to {LONGEST_SUB} bytes."),
        )),
        _ => Ok(behalf),
    }
}

/// Bytes of a `sub` claim: it is part of the key of an index.
const LONGEST_SUB: usize = 1024;

/// The `sub` claim of the request, if it counts.
pub fn created_for() -> Result<Option<String>> {
    if !has_claims() {
        return Ok(None);
    }
    Ok(on_behalf()?.sub().map(str::to_owned))
}

fn has_claims() -> bool {
    // SAFETY: returns a pointer into the setting's own memory, or null when it was never set.
    unsafe {
        let claims = pg_sys::GetConfigOption(c"request.jwt.claims".as_ptr(), true, false);
        !claims.is_null() && *claims != 0
    }
}
