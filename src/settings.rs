//! Settings: every one behind a getter. The prefix is reserved, so that a misspelt one is noticed.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static MAX_FLOW_DEPTH: GucSetting<i32> = GucSetting::<i32>::new(32);

pub fn register() {
    GucRegistry::define_int_guc(
        c"pgflow.max_flow_depth",
        c"How deep child runs may be nested.",
        c"A task of executor flow whose child would be nested in more runs than this fails for good.",
        &MAX_FLOW_DEPTH,
        0,
        1000,
        GucContext::Suset,
        GucFlags::default(),
    );
    crate::store::reserve_settings_prefix();
}

/// How many runs a child may be nested in.
pub fn max_flow_depth() -> i32 {
    MAX_FLOW_DEPTH.get()
}
