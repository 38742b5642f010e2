//! Settings that hold while code runs that may be somebody else's, or that no function of pgflow has set them for.

use std::ffi::c_int;

use pgrx::pg_sys;

/// From [`Pinned::settings`] to [`Pinned::give_back`] names are looked up in `pg_catalog` first and nowhere else. An
/// error ends that with the (sub)transaction.
pub struct Pinned {
    level: c_int,
}

impl Pinned {
    pub fn settings() -> Self {
        // SAFETY: what a function with `SET search_path` does (fmgr_security_definer in fmgr.c of PostgreSQL).
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            pg_sys::set_config_option(
                c"search_path".as_ptr(),
                c"pg_catalog, pg_temp".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            Self { level }
        }
    }

    /// Undoes whatever was set since.
    pub fn give_back(self) {
        // SAFETY: the level that was begun above.
        unsafe { pg_sys::AtEOXact_GUC(false, self.level) };
    }
}
