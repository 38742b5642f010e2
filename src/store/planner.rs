//! What the planner is told while a call lasts.
//!
//! The statements of the engine find rows by key, whatever is in the tables, and their plans are kept. Statistics can only
//! do harm here: a plan made while the queue was empty walks a whole index, because there seems to be nothing in it, and
//! stays when the queue is full. So within a call the planner takes every table of pgflow for a large one without
//! statistics, and what would read a table as a whole is off. Its plans are then the same on every day.

use std::cell::Cell;
use std::ffi::c_int;

use pgrx::pg_sys::{self, ffi};

/// Rows of a table as the planner is told, and pages.
const ROWS: f64 = 1e6;
const PAGES: u32 = 20_000;

thread_local! {
    /// Whether the planner plans look-ups.
    static LOOKS_UP: Cell<bool> = const { Cell::new(false) };
}

static mut NEXT_RELATION_INFO: pg_sys::get_relation_info_hook_type = None;
static mut NEXT_RELATION_STATS: pg_sys::get_relation_stats_hook_type = None;
static mut NEXT_INDEX_STATS: pg_sys::get_index_stats_hook_type = None;

/// Puts pgflow between the planner and what it knows of tables. Called once, when the library is loaded.
pub fn install() {
    // SAFETY: the hooks are variables of the backend, and there is one thread.
    unsafe {
        NEXT_RELATION_INFO = pg_sys::get_relation_info_hook;
        pg_sys::get_relation_info_hook = Some(relation_info);
        NEXT_RELATION_STATS = pg_sys::get_relation_stats_hook;
        pg_sys::get_relation_stats_hook = Some(relation_stats);
        NEXT_INDEX_STATS = pg_sys::get_index_stats_hook;
        pg_sys::get_index_stats_hook = Some(index_stats);
    }
}

/// Makes a table of pgflow a large one.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn relation_info(
    root: *mut pg_sys::PlannerInfo,
    relation: pg_sys::Oid,
    is_parent: bool,
    info: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: called by the planner with structures that it owns; index infos are what the list holds.
    unsafe {
        if let Some(next) = NEXT_RELATION_INFO {
            ffi::pg_guard_ffi_boundary(|| next(root, relation, is_parent, info));
        }
        if !LOOKS_UP.get() || !is_ours(relation) {
            return;
        }
        (*info).tuples = ROWS;
        (*info).pages = PAGES;
        let indexes = pgrx::PgList::<pg_sys::IndexOptInfo>::from_pg((*info).indexlist);
        for index in indexes.iter_ptr() {
            (*index).tuples = ROWS;
            (*index).pages = PAGES / 4;
        }
    }
}

/// Hides the statistics of columns.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn relation_stats(
    root: *mut pg_sys::PlannerInfo,
    entry: *mut pg_sys::RangeTblEntry,
    column: pg_sys::AttrNumber,
    variable: *mut pg_sys::VariableStatData,
) -> bool {
    // SAFETY: as above.
    unsafe {
        if LOOKS_UP.get() && is_ours((*entry).relid) {
            (*variable).statsTuple = std::ptr::null_mut();
            return true;
        }
        NEXT_RELATION_STATS
            .is_some_and(|next| ffi::pg_guard_ffi_boundary(|| next(root, entry, column, variable)))
    }
}

/// Hides the statistics of index expressions.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn index_stats(
    root: *mut pg_sys::PlannerInfo,
    index: pg_sys::Oid,
    column: pg_sys::AttrNumber,
    variable: *mut pg_sys::VariableStatData,
) -> bool {
    // SAFETY: as above.
    unsafe {
        if LOOKS_UP.get() && is_ours(index) {
            (*variable).statsTuple = std::ptr::null_mut();
            return true;
        }
        NEXT_INDEX_STATS
            .is_some_and(|next| ffi::pg_guard_ffi_boundary(|| next(root, index, column, variable)))
    }
}

fn is_ours(relation: pg_sys::Oid) -> bool {
    // SAFETY: system cache look-ups.
    unsafe {
        let schema = pg_sys::get_rel_namespace(relation);
        schema != pg_sys::InvalidOid
            && schema == pg_sys::get_namespace_oid(c"pgflow".as_ptr(), true)
    }
}

/// The settings of the planner for the length of a call, whatever the caller has set. They are set where the planner
/// reads them: the ordinary way costs several microseconds, in each call.
pub struct PlannerSettings {
    /// In this order: jit; the ways to read and join whole tables (seqscan, hashjoin, mergejoin, material); by index
    /// (indexscan, indexonlyscan, bitmapscan); nestloop; sort; by ctid (tidscan).
    switches: [bool; 11],
    /// join_collapse_limit, from_collapse_limit, plan_cache_mode: PostgreSQL's defaults.
    limits: [c_int; 3],
    /// Whether tables of pgflow are taken for large ones.
    looks_up: bool,
}

impl PlannerSettings {
    /// For statements that find rows by key.
    pub fn look_ups() -> Self {
        let found = Self::read();
        Self {
            switches: [
                false, false, false, false, false, true, true, false, true, true, true,
            ],
            limits: [8, 8, 0],
            looks_up: true,
        }
        .write();
        found
    }

    /// For statements that look at whole tables: never with nested loops, which a plan that was made while the tables
    /// were small would keep.
    pub fn surveys() -> Self {
        let found = Self::read();
        Self {
            switches: [
                false, true, true, true, true, true, true, true, false, true, true,
            ],
            limits: [8, 8, 0],
            looks_up: false,
        }
        .write();
        found
    }

    fn read() -> Self {
        // SAFETY: reads variables of the backend.
        unsafe {
            Self {
                switches: [
                    pg_sys::jit_enabled,
                    pg_sys::enable_seqscan,
                    pg_sys::enable_hashjoin,
                    pg_sys::enable_mergejoin,
                    pg_sys::enable_material,
                    pg_sys::enable_indexscan,
                    pg_sys::enable_indexonlyscan,
                    pg_sys::enable_bitmapscan,
                    pg_sys::enable_nestloop,
                    pg_sys::enable_sort,
                    pg_sys::enable_tidscan,
                ],
                limits: [
                    pg_sys::join_collapse_limit,
                    pg_sys::from_collapse_limit,
                    pg_sys::plan_cache_mode,
                ],
                looks_up: LOOKS_UP.get(),
            }
        }
    }

    fn write(&self) {
        // SAFETY: writes variables of the backend that every user may set, with values they may have.
        unsafe {
            [
                pg_sys::jit_enabled,
                pg_sys::enable_seqscan,
                pg_sys::enable_hashjoin,
                pg_sys::enable_mergejoin,
                pg_sys::enable_material,
                pg_sys::enable_indexscan,
                pg_sys::enable_indexonlyscan,
                pg_sys::enable_bitmapscan,
                pg_sys::enable_nestloop,
                pg_sys::enable_sort,
                pg_sys::enable_tidscan,
            ] = self.switches;
            [
                pg_sys::join_collapse_limit,
                pg_sys::from_collapse_limit,
                pg_sys::plan_cache_mode,
            ] = self.limits;
        }
        LOOKS_UP.set(self.looks_up);
    }
}

/// Errors of PostgreSQL leave a call as panics, so this happens on every way out.
impl Drop for PlannerSettings {
    fn drop(&mut self) {
        self.write();
    }
}
