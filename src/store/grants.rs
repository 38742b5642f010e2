//! What PostgreSQL's own caches tell of the tables of grants: whether what was read of them may have changed.
//!
//! Whoever changes a grant says so by invalidating the cache entry of its table, which is empty talk to PostgreSQL and
//! reaches every backend with the commit; a backend counts what it hears. A rollback is heard of by the one who did it.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys;

/// The tables that a claim asks.
const TABLES: [&CStr; 2] = [c"access_grants", c"queue_grants"];

thread_local! {
    /// The tables by their oids, and how many changes this backend has heard of; 0 before it listens.
    static WATCHED: Cell<[pg_sys::Oid; 2]> = const { Cell::new([pg_sys::InvalidOid; 2]) };
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Whether the schema has the tables of grants: that of 0.1.0 has none, and is served until it is updated.
pub fn has_grants() -> bool {
    tables()[0] != pg_sys::InvalidOid
}

/// A number that is another one after each change that this backend has heard of. To be asked before the tables are read.
pub fn generation() -> u64 {
    let tables = tables();
    if CHANGES.get() == 0 {
        CHANGES.set(1);
        // SAFETY: registered once in a backend; the function only counts.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(table_changed), pg_sys::Datum::null());
        }
    }
    if WATCHED.get() != tables {
        // The extension was made anew.
        WATCHED.set(tables);
        CHANGES.set(CHANGES.get() + 1);
    }
    CHANGES.get()
}

/// Tells every backend, with the commit, that grants have changed.
pub fn changed() {
    for table in tables() {
        // SAFETY: the table exists: it was written just now.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(table) };
    }
}

fn tables() -> [pg_sys::Oid; 2] {
    // SAFETY: system cache look-ups.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"pgflow".as_ptr(), true);
        TABLES.map(|name| pg_sys::get_relname_relid(name.as_ptr(), schema))
    }
}

unsafe extern "C-unwind" fn table_changed(_: pg_sys::Datum, table: pg_sys::Oid) {
    if table == pg_sys::InvalidOid || WATCHED.get().contains(&table) {
        CHANGES.set(CHANGES.get() + 1);
    }
}
