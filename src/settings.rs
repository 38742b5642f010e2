//! Every setting, behind a getter.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// Seconds; see [`event_retention`].
static EVENT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * 86_400);

pub fn register() {
    // Set by the server's configuration only: a role that could stretch it would take events that others rely on to
    // be gone.
    GucRegistry::define_int_guc(
        c"pgflow.event_retention",
        c"How long events are kept for steps that begin to wait later.",
        c"0 keeps none.",
        &EVENT_RETENTION,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    crate::store::reserve_settings_prefix();
}

/// For how many seconds events are kept for steps that begin to wait later; 0 for not at all.
pub fn event_retention() -> i32 {
    EVENT_RETENTION.get()
}
