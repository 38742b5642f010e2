//! Settings, each behind a getter. They are registered when the library is loaded; the prefix is reserved, so that a
//! misspelt one is noticed. docs/background.md describes them for users.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static WORKER_DATABASES: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"*"));
static WORKERS_PER_DATABASE: GucSetting<i32> = GucSetting::<i32>::new(2);

pub fn register() {
    GucRegistry::define_string_guc(
        c"pgflow.worker_databases",
        c"The databases in which background workers run.",
        c"Names separated by commas; * is every database that has the extension, nothing is none. Counts where the library is preloaded.",
        &WORKER_DATABASES,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgflow.workers_per_database",
        c"How many background workers of a database do SQL tasks.",
        c"Each does one at a time. One process more looks after everything else.",
        &WORKERS_PER_DATABASE,
        0,
        128,
        GucContext::Sighup,
        GucFlags::default(),
    );
    crate::store::reserve_settings_prefix();
}

/// `pgflow.worker_databases`.
pub struct Databases(String);

impl Databases {
    pub fn includes(&self, name: &str) -> bool {
        (self.0.split(',').map(str::trim)).any(|listed| listed == "*" || listed == name)
    }
}

pub fn worker_databases() -> Databases {
    let list = WORKER_DATABASES.get().unwrap_or_default();
    Databases(list.to_string_lossy().into_owned())
}

pub fn workers_per_database() -> usize {
    usize::try_from(WORKERS_PER_DATABASE.get()).unwrap_or(0)
}
