//! What has to be done by the clock and by nobody's call.
//!
//! Each part does what is due, a bounded amount of it, waits for nobody, and says when it has something to do next. So a
//! part may be called at any time, by several processes at once, and again after a crash.

use super::{retention, run_timeouts, schedules};
use crate::error::Result;
use crate::store::{Instant, Session};

/// How long after it met somebody's lock a part looks again.
const RETRY_SECONDS: f64 = 0.1;

/// When to look again for what somebody else holds now.
pub fn soon(session: &Session) -> Instant {
    session.now.plus_seconds(RETRY_SECONDS)
}

/// Does what is due, once, and says when there is something to do next; not later than now when there is more.
pub fn run(session: &Session) -> Result<Option<Instant>> {
    let parts = [
        schedules::tick(session)?,
        run_timeouts::sweep(session)?,
        retention::sweep(session)?,
    ];
    Ok(parts.into_iter().flatten().min())
}
