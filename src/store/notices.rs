//! Changes of published flows, as notifications on channel `pgflow_events`.
//!
//! NOTIFY takes a database-wide lock at commit, so it is sent only if somebody listens, who says so by holding an advisory
//! lock in share mode. Just before the commit the lock is tried once, in a mode that publishers share and that excludes
//! listeners, and kept until the commit is done: a listener that was not there yet gets its lock only when everything
//! that was not told to it can be read. docs/realtime.md describes the protocol.
//!
//! A payload is an array of as many changes as fit. Everybody who may connect may listen, so of a private flow it says
//! what has happened and not what was returned.

use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_char};

use jiff::Timestamp;
use pgrx::{PgXactCallbackEvent, pg_sys, register_xact_callback};

use super::changes::Change;
use super::lock;
use super::value::Instant;

/// The channel.
const CHANNEL: &std::ffi::CStr = c"pgflow_events";

/// The longest payload that PostgreSQL takes, in bytes.
const LONGEST: usize = 7999;

/// The longest text of one change: two brackets make it an array.
pub const LONGEST_CHANGE: i32 = LONGEST as i32 - 2;

struct Notice {
    /// The nesting of the subtransaction that it belongs to.
    level: i32,
    change: Change,
    /// All that is to be said, if that is more than what the change itself says.
    text: Option<String>,
}

thread_local! {
    static NOTICES: RefCell<Vec<Notice>> = const { RefCell::new(Vec::new()) };
    static IS_REGISTERED: Cell<bool> = const { Cell::new(false) };
    static IS_WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Tells of changes when the transaction commits, if anybody listens then.
pub fn at_commit(changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        with_text_at_commit(change, None);
    }
}

/// [`at_commit`] with what is to be said, unless that is too long.
pub fn with_text_at_commit(change: Change, text: Option<String>) {
    // SAFETY: reads a variable of the backend.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    NOTICES.with_borrow_mut(|notices| {
        notices.push(Notice {
            level,
            change,
            text,
        });
    });
    if !IS_WATCHING.replace(true) {
        // SAFETY: once in a backend; the function lives for ever.
        unsafe {
            pg_sys::RegisterSubXactCallback(Some(subtransaction_ended), std::ptr::null_mut())
        };
    }
    if !IS_REGISTERED.replace(true) {
        register_xact_callback(PgXactCallbackEvent::PreCommit, notify);
        register_xact_callback(PgXactCallbackEvent::Commit, forget);
        register_xact_callback(PgXactCallbackEvent::Abort, forget);
        // A prepared transaction cannot notify.
        register_xact_callback(PgXactCallbackEvent::Prepare, forget);
    }
}

fn forget() {
    IS_REGISTERED.set(false);
    NOTICES.with_borrow_mut(Vec::clear);
}

/// What a subtransaction did is its parent's from now on, or was never done.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn subtransaction_ended(
    event: pg_sys::SubXactEvent::Type,
    _own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    NOTICES.with_borrow_mut(|notices| {
        if notices.is_empty() {
            return;
        }
        // SAFETY: reads a variable of the backend; the subtransaction is still the current one.
        let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
        // Those of a subtransaction are the last ones: it began after those of its parent were noted.
        match event {
            pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
                let kept = notices.iter().rposition(|notice| notice.level < level);
                notices.truncate(kept.map_or(0, |last| last + 1));
            }
            pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => {
                for notice in (notices.iter_mut().rev()).take_while(|notice| notice.level >= level)
                {
                    notice.level = level - 1;
                }
            }
            _ => {}
        }
    });
}

/// Tells what has been noted, if anybody listens: called just before the commit.
pub fn notify() {
    let notices = NOTICES.take();
    if notices.is_empty() || lock::hold_off_listeners() {
        return;
    }
    let mut payload = String::new();
    for notice in notices {
        let text = match notice.text {
            Some(text) => text,
            None => bare(&notice.change),
        };
        if !payload.is_empty() && payload.len() + text.len() + 2 > LONGEST {
            send(&mut payload);
        }
        payload.push(if payload.is_empty() { '[' } else { ',' });
        payload.push_str(&text);
    }
    send(&mut payload);
}

fn send(payload: &mut String) {
    unsafe extern "C-unwind" {
        fn Async_Notify(channel: *const c_char, payload: *const c_char);
    }
    payload.push(']');
    let Ok(text) = CString::new(std::mem::take(payload)) else {
        return;
    };
    // SAFETY: both strings outlive the call, which copies them.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(CHANNEL.as_ptr(), text.as_ptr()));
    }
}

/// What a change itself says. Slugs and statuses need no escapes in JSON.
fn bare(change: &Change) -> String {
    let Change {
        flow,
        run_id,
        step_slug,
        status,
        at,
    } = change;
    let at = iso(*at);
    let what = if step_slug.is_some() { "step" } else { "run" };
    let step = match step_slug {
        Some(slug) => format!(r#", "step_slug": "{slug}""#),
        None => String::new(),
    };
    let rest = match *status {
        "started" => format!(r#", "started_at": "{at}""#),
        _ => format!(r#", "finished_at": "{at}", "fetch": true"#),
    };
    format!(
        r#"{{"event_type": "{what}:{status}", "run_id": "{run_id}", "flow_slug": "{}"{step}, "status": "{status}"{rest}}}"#,
        flow.slug
    )
}

/// A time as `to_jsonb` writes it where the time zone is UTC.
fn iso(at: Instant) -> String {
    let micros = at.unix_micros();
    Timestamp::from_microsecond(micros).map_or_else(
        |_| micros.to_string(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%S%.f+00:00").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_json_has_them() {
        let at = |micros| iso(Instant::from_unix_micros(micros));
        assert_eq!(at(0), "1970-01-01T00:00:00+00:00");
        assert_eq!(at(1_700_000_000_120_000), "2023-11-14T22:13:20.12+00:00");
    }
}
