//! Supabase Vault, where there is one: secrets by their names.
//!
//! It is code of others: its view is read with the rights of that view's owner, and no more than a security-restricted
//! operation may do, and what the functions in it set does not last. Only the view that belongs to extension
//! supabase_vault is read: a schema of that name that somebody else made is none.

use std::ffi::c_int;

use pgrx::pg_sys;

use super::pinned::Pinned;
use super::role::Rights;
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
    let restricted = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    let rights = Rights::take(owner, restricted);
    let pinned = Pinned::settings();
    let secrets = VAULT_SECRETS.query(&[&name], |row| row.get(1))?;
    pinned.give_back();
    drop(rights);
    Ok(secrets)
}

/// The owner of the view with the secrets, if it exists.
fn owner_of_view() -> Option<pg_sys::Oid> {
    // SAFETY: system cache and catalog look-ups; the tuple is released before the function returns.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"vault".as_ptr(), true);
        if schema == pg_sys::InvalidOid {
            return None;
        }
        let view = pg_sys::get_relname_relid(c"decrypted_secrets".as_ptr(), schema);
        let extension = pg_sys::get_extension_oid(c"supabase_vault".as_ptr(), true);
        if view == pg_sys::InvalidOid
            || extension == pg_sys::InvalidOid
            || pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, view) != extension
        {
            return None;
        }
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
