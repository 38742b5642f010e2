//! Locks that are not row locks. In which order they are taken is written in [`crate::engine`].

use std::collections::BTreeMap;

use pgrx::{direct_function_call, pg_sys};

use crate::error::{Error, Result};
use crate::model::RunId;

/// Excludes `delete_flow` until the transaction ends. Every call that makes or moves a run takes it first.
pub fn share_runs_table() -> Result<()> {
    let table = runs_table()?;
    // SAFETY: a heavyweight lock, given back at the end of the transaction.
    unsafe { pg_sys::LockRelationOid(table, pg_sys::RowExclusiveLock as pg_sys::LOCKMODE) };
    Ok(())
}

/// [`share_runs_table`] for a caller that must not wait; false when someone holds the table.
pub fn try_share_runs_table() -> Result<bool> {
    let table = runs_table()?;
    // SAFETY: as above.
    Ok(unsafe {
        pg_sys::ConditionalLockRelationOid(table, pg_sys::RowExclusiveLock as pg_sys::LOCKMODE)
    })
}

/// Waits for all calls that make or move runs to end, and holds new ones off until the transaction ends.
pub fn own_runs_table() -> Result<()> {
    let table = runs_table()?;
    // SAFETY: as above. A standby would refuse the lock with a less telling error.
    unsafe {
        pg_sys::PreventCommandDuringRecovery(c"delete_flow()".as_ptr());
        pg_sys::LockRelationOid(table, pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE);
    }
    Ok(())
}

fn runs_table() -> Result<pg_sys::Oid> {
    // SAFETY: system cache look-ups.
    let table = unsafe {
        let schema = pg_sys::get_namespace_oid(c"pgflow".as_ptr(), true);
        pg_sys::get_relname_relid(c"runs".as_ptr(), schema)
    };
    if table == pg_sys::InvalidOid {
        return Err(Error::Internal("table pgflow.runs does not exist".into()));
    }
    Ok(table)
}

/// The advisory lock key of a run: the last 64 bits of its id, which are random in a version 7 UUID.
pub fn run_key(run_id: RunId) -> i64 {
    let mut half = [0; 8];
    half.copy_from_slice(&run_id.0[8..]);
    i64::from_be_bytes(half)
}

/// The advisory lock key under which a worker waits for tasks of a queue: FNV-1a over the queue's bytes, see
/// docs/workers.md.
pub fn queue_key(queue: &str) -> i64 {
    fnv_1a(queue.bytes())
}

/// The advisory lock key of an event, and the hash by which events and their waiters are found. No other key is a hash of
/// bytes that begin with a zero: the name of a queue has none.
pub fn event_key(name: &str, key: Option<&str>) -> i64 {
    let bytes = std::iter::once(0).chain(name.bytes());
    match key {
        None => fnv_1a(bytes),
        Some(key) => fnv_1a(bytes.chain(std::iter::once(0)).chain(key.bytes())),
    }
}

/// The advisory lock key under which listeners hear of changes, see docs/realtime.md. No event has an empty name.
pub fn events_key() -> i64 {
    event_key("", None)
}

fn fnv_1a(bytes: impl Iterator<Item = u8>) -> i64 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    i64::from_be_bytes(hash.to_be_bytes())
}

/// How a call holds the lock of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Beside others who share it: for what resolves no dependency.
    Shared,
    Alone,
}

/// Takes the locks of the runs, in the order of their keys, and holds them until the transaction ends.
pub fn lock_runs(runs: impl IntoIterator<Item = RunId>) {
    lock_runs_as(runs.into_iter().map(|run| (run, Hold::Alone)));
}

/// [`lock_runs`], each run as it is said; of two for one lock, alone.
pub fn lock_runs_as(runs: impl IntoIterator<Item = (RunId, Hold)>) {
    for (key, hold) in keys_of(runs) {
        let key = &[Some(pg_sys::Datum::from(key))];
        // SAFETY: pg_advisory_xact_lock(bigint), pg_advisory_xact_lock_shared(bigint); waits are interruptible.
        unsafe {
            match hold {
                Hold::Alone => {
                    direct_function_call::<()>(pg_sys::pg_advisory_xact_lock_int8, key);
                }
                Hold::Shared => {
                    direct_function_call::<()>(pg_sys::pg_advisory_xact_lock_shared_int8, key);
                }
            }
        }
    }
}

/// Gives the locks of the runs back as [`lock_runs_as`] took them, before the transaction ends: for a caller that has
/// changed nothing under them. What the transaction held before, it still holds.
pub fn unlock_runs_as(runs: impl IntoIterator<Item = (RunId, Hold)>) {
    for (key, hold) in keys_of(runs) {
        let mode = match hold {
            Hold::Shared => pg_sys::ShareLock,
            Hold::Alone => pg_sys::ExclusiveLock,
        };
        unlock(key, mode);
    }
}

/// Gives back an advisory lock that was taken until the transaction ends.
fn unlock(key: i64, mode: u32) {
    // SAFETY: the tag of the lock.
    unsafe { pg_sys::LockRelease(&tag(key, BIGINT), mode as pg_sys::LOCKMODE, false) };
}

/// What tells advisory locks apart that have the same key: those of pg_advisory_lock(bigint), see SET_LOCKTAG_INT64 in
/// lockfuncs.c of PostgreSQL, and pgflow's own, which no SQL function takes (those with two keys have 2).
const BIGINT: u16 = 1;
const OWN: u16 = 3;

fn tag(key: i64, class: u16) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: a variable of the backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: (key >> 32) as u32,
        locktag_field3: key as u32,
        locktag_field4: class,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

/// Takes the lock of an event for its sender, who waits for other senders and for those who begin to wait for it.
pub fn lock_event(key: i64) {
    // SAFETY: pg_advisory_xact_lock(bigint); the wait is interruptible.
    unsafe {
        direct_function_call::<()>(
            pg_sys::pg_advisory_xact_lock_int8,
            &[Some(pg_sys::Datum::from(key))],
        );
    }
}

/// Gives the lock of an event back as [`lock_event`] took it: for a sender that has changed nothing under it.
pub fn unlock_event(key: i64) {
    unlock(key, pg_sys::ExclusiveLock);
}

/// Takes the lock of an event beside others who begin to wait for it, if nobody is sending it.
pub fn try_share_event(key: i64) -> bool {
    let key = Some(pg_sys::Datum::from(key));
    // SAFETY: pg_try_advisory_xact_lock_shared(bigint).
    unsafe {
        direct_function_call(pg_sys::pg_try_advisory_xact_lock_shared_int8, &[key]).unwrap_or(false)
    }
}

/// Each key once, in order.
fn keys_of(runs: impl IntoIterator<Item = (RunId, Hold)>) -> BTreeMap<i64, Hold> {
    let mut keys = BTreeMap::new();
    for (run, hold) in runs {
        let held = keys.entry(run_key(run)).or_insert(hold);
        if hold == Hold::Alone {
            *held = hold;
        }
    }
    keys
}

/// Takes, until the session ends, the lock of the one process that looks after this database; false when another has it.
/// Whoever is only let in to the database cannot have it.
pub fn own_database() -> bool {
    // No queue has an empty name.
    let tag = tag(queue_key(""), OWN);
    let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: a lock for the session that is not waited for.
    let taken = unsafe { pg_sys::LockAcquire(&tag, mode, true, true) };
    taken != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// Takes the lock of a run if nobody holds it.
pub fn try_lock_run(run_id: RunId) -> bool {
    let key = Some(pg_sys::Datum::from(run_key(run_id)));
    // SAFETY: pg_try_advisory_xact_lock(bigint).
    unsafe { direct_function_call(pg_sys::pg_try_advisory_xact_lock_int8, &[key]).unwrap_or(false) }
}

/// Whether a worker waits for tasks of this queue: it then holds the queue's lock in share mode.
pub fn has_waiting_worker(queue: &str) -> bool {
    let key = Some(pg_sys::Datum::from(queue_key(queue)));
    // SAFETY: pg_try_advisory_lock(bigint) and pg_advisory_unlock(bigint): taken and given back at once.
    unsafe {
        let free = direct_function_call(pg_sys::pg_try_advisory_lock_int8, &[key]).unwrap_or(false);
        if free {
            direct_function_call::<bool>(pg_sys::pg_advisory_unlock_int8, &[key]);
        }
        !free
    }
}

/// Whether somebody listens to changes now: it then holds that lock in share mode.
pub fn is_heard() -> bool {
    let is_free = hold_off_listeners();
    if is_free {
        unlock(events_key(), pg_sys::RowExclusiveLock);
    }
    !is_free
}

/// If nobody listens to changes, keeps it so until the transaction has ended: others who ask share the lock, and who
/// begins to listen waits for it. False when somebody listens, or waits to.
pub fn hold_off_listeners() -> bool {
    let tag = tag(events_key(), BIGINT);
    // SAFETY: a heavyweight lock in a mode that SQL cannot ask for, given back at the end of the transaction. The own
    // session would not be in the way.
    unsafe {
        let share = pg_sys::ShareLock as pg_sys::LOCKMODE;
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let listens_itself = pg_sys::LockHeldByMe(&tag, share);
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let listens_itself = pg_sys::LockHeldByMe(&tag, share, false);
        !listens_itself
            && pg_sys::LockAcquire(
                &tag,
                pg_sys::RowExclusiveLock as pg_sys::LOCKMODE,
                false,
                true,
            ) != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }
}
