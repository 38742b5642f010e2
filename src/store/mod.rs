//! The only place that speaks to PostgreSQL: the door every call comes through, kept statements, values that pass
//! unparsed, locks, the wake-up call to workers, and what is told to the outside. Nothing here knows a rule of the engine.

#![allow(unsafe_code)]

mod broadcast;
pub mod changes;
pub mod door;
pub mod doorbell;
mod function;
pub mod grants;
pub mod handler;
pub mod json;
pub mod latch;
pub mod lock;
mod notices;
mod one_row;
pub mod pg_net;
mod pinned;
pub mod planner;
pub mod role;
mod row_type;
pub mod statement;
pub mod subtransaction;
pub mod transaction;
pub mod value;
pub mod vault;
pub mod wake;

#[cfg(any(test, feature = "pg_test"))]
mod tests;

pub use door::{Session, enter, look};
pub use grants::has_grants;
pub use row_type::RowType;
pub use statement::{Row, Statement};
pub use value::{Composite, Instant, Json, JsonArray, KeptJson, RoleName, Rows, Svg};

/// Makes a misspelt `pgflow.…` setting an error once the library is loaded.
pub fn reserve_settings_prefix() {
    // SAFETY: registers a string that lives for ever.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"pgflow".as_ptr()) }
}

/// Whether this database has the extension; asked in a transaction.
pub fn has_extension() -> bool {
    // SAFETY: a catalog look-up.
    unsafe { pgrx::pg_sys::get_extension_oid(c"pgflow".as_ptr(), true) != pgrx::pg_sys::InvalidOid }
}

/// How many pages this backend has looked at since it began.
pub fn pages_touched() -> i64 {
    // SAFETY: counters that only this backend writes.
    unsafe {
        pgrx::pg_sys::pgBufferUsage.shared_blks_hit + pgrx::pg_sys::pgBufferUsage.shared_blks_read
    }
}
