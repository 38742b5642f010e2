//! The process that begins a main in every database.
//!
//! It is connected to no database, so it reads the list of them from the shared catalog, and leaves it to the main to find
//! out whether the extension is there. A main that ended is begun again: soon when it had work to do, and when it had none
//! ever later, or when a database or an extension was created.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{CHANGES, Child, main_of, process};
use crate::settings;
use crate::store::transaction;

/// The pause before a main is begun again. Long enough for DROP DATABASE, which has just ended it, to get through.
const PAUSE: Duration = Duration::from_secs(3);
/// A main that ends sooner found nothing to do, mostly.
const SHORT_LIFE: Duration = Duration::from_secs(2);
/// The longest pause: how often databases without the extension are looked at again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

struct Main {
    child: Option<Child>,
    begun: Instant,
    not_before: Instant,
    /// How long it is waited after the next end.
    pause: Duration,
    /// The count of changes when it was begun.
    changes: u64,
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pgflow_launcher(_argument: pg_sys::Datum) {
    process::take_signals();
    process::connect(None);
    super::end_children_at_exit();
    let mut mains: HashMap<pg_sys::Oid, Main> = HashMap::new();
    let mut is_full = false;
    loop {
        process::heed_signals();
        let databases = match transaction::run(|| Ok(databases())) {
            Ok(databases) => databases,
            Err(failure) => {
                log!("pgflow launcher: {failure}");
                process::sleep(Duration::from_secs(1), None);
                continue;
            }
        };
        let wanted = settings::worker_databases();
        let changes = CHANGES.get().load(Ordering::Relaxed);
        mains.retain(|database, main| {
            let is_wanted =
                (databases.iter()).any(|(oid, name)| oid == database && wanted.includes(name));
            if !is_wanted && let Some(child) = main.child.take() {
                child.end();
            }
            is_wanted
        });
        let mut is_full_now = false;
        for (database, name) in &databases {
            if wanted.includes(name) {
                is_full_now |= !look_after(&mut mains, *database, changes);
            }
        }
        if is_full_now && !is_full {
            log!("pgflow launcher: no background worker is free, raise max_worker_processes");
        }
        is_full = is_full_now;
        process::sleep(Duration::from_secs(1), None);
    }
}

/// Begins the main of a database if it is time to. False if no process is free.
fn look_after(mains: &mut HashMap<pg_sys::Oid, Main>, database: pg_sys::Oid, changes: u64) -> bool {
    let now = Instant::now();
    let main = mains.entry(database).or_insert_with(|| Main {
        child: None,
        begun: now,
        not_before: now,
        pause: PAUSE,
        changes,
    });
    if let Some(child) = &main.child {
        if !child.has_ended() {
            return true;
        }
        main.child = None;
        if main.begun.elapsed() > SHORT_LIFE {
            main.pause = PAUSE;
        } else {
            main.pause = (main.pause * 2).min(LONGEST_PAUSE);
        }
        main.not_before = now + main.pause;
    }
    if now < main.not_before && main.changes == changes {
        return true;
    }
    main.child = Child::begin(main_of(database));
    main.begun = now;
    main.changes = changes;
    main.not_before = now + PAUSE;
    main.child.is_some()
}

/// The databases that can be connected to, templates left out.
fn databases() -> Vec<(pg_sys::Oid, String)> {
    let mut found = Vec::new();
    // SAFETY: a scan of a shared catalog in a transaction, as autovacuum does it; tuples are copied before the next.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let table = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
        let scan = pg_sys::table_beginscan_catalog(table, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            if form.datallowconn && !form.datistemplate {
                let name = std::ffi::CStr::from_ptr(form.datname.data.as_ptr());
                found.push((form.oid, name.to_string_lossy().into_owned()));
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(table, lock);
    }
    found
}
