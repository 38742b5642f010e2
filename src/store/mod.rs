//! The only place that speaks to PostgreSQL: the door every call comes through, kept statements, values that pass
//! unparsed, locks, and the wake-up call to workers. Nothing here knows a rule of the engine.

#![allow(unsafe_code)]

pub mod door;
pub mod json;
pub mod lock;
mod one_row;
pub mod planner;
pub mod role;
mod row_type;
pub mod statement;
pub mod subtransaction;
pub mod value;
pub mod wake;

#[cfg(any(test, feature = "pg_test"))]
mod tests;

pub use door::{Session, enter};
pub use row_type::RowType;
pub use statement::{Row, Statement};
pub use value::{Composite, Instant, Json, JsonArray, Rows};

/// Makes a misspelt `pgflow.…` setting an error once the library is loaded.
pub fn reserve_settings_prefix() {
    // SAFETY: registers a string that lives for ever.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"pgflow".as_ptr()) }
}

/// How many pages this backend has looked at since it began.
pub fn pages_touched() -> i64 {
    // SAFETY: counters that only this backend writes.
    unsafe {
        pgrx::pg_sys::pgBufferUsage.shared_blks_hit + pgrx::pg_sys::pgBufferUsage.shared_blks_read
    }
}
