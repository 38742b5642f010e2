//! Settings. There are none yet; the prefix is reserved, so that a misspelt one is noticed.

pub fn register() {
    crate::store::reserve_settings_prefix();
}
