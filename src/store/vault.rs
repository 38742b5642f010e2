//! Supabase Vault, where there is one: secrets by their names.
//!
//! It is code of others: its view is read with the rights of that view's owner, and no more than a security-restricted
//! operation may do. Whoever plants a schema of that name can have a request signed with something else, and learns nothing.

use std::ffi::c_int;

use pgrx::pg_sys;

use crate::error::Result;
use crate::statements;

statements! {
    VAULT_SECRETS = "vault_secrets.sql",
}

/// The secrets of that name; none where there is no Vault.
pub fn secrets(name: &str) -> Result<Vec<String>> {
    let Some(owner) = owner_of_view() else {
        return Ok(Vec::new());
    };
    let _rights = Rights::take(owner);
    VAULT_SECRETS.query(&[&name], |row| row.get(1))
}

/// The owner of the view with the secrets, if it exists.
fn owner_of_view() -> Option<pg_sys::Oid> {
    // SAFETY: system cache look-ups; the tuple is released before the function returns.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"vault".as_ptr(), true);
        if schema == pg_sys::InvalidOid {
            return None;
        }
        let view = pg_sys::get_relname_relid(c"decrypted_secrets".as_ptr(), schema);
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as c_int,
            pg_sys::Datum::from(view),
        );
        if tuple.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}

/// The rights of a role, for the length of a look-up.
struct Rights {
    before: pg_sys::Oid,
    flags: c_int,
}

impl Rights {
    fn take(role: pg_sys::Oid) -> Self {
        let mut before = pg_sys::InvalidOid;
        let mut flags = 0;
        // SAFETY: reads and sets two variables of the backend; `Drop` and a transaction abort put them back.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before, &mut flags);
            let restricted =
                pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
            pg_sys::SetUserIdAndSecContext(role, flags | restricted as c_int);
        }
        Self { before, flags }
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        // SAFETY: restores what `take` found.
        unsafe { pg_sys::SetUserIdAndSecContext(self.before, self.flags) }
    }
}
