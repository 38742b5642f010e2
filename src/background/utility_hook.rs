//! Commands that a background worker would be in the way of, or that make work for one.
//!
//! DROP DATABASE, ALTER DATABASE … RENAME and SET TABLESPACE, and CREATE DATABASE … TEMPLATE refuse while anybody is
//! connected to the database. So its workers are ended first, if the role may do what it asks for, and begun again when it
//! is over. CREATE EXTENSION and CREATE DATABASE have the launcher look, too.

use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::{PgXactCallbackEvent, pg_sys, register_xact_callback};

use super::{CHANGES, TYPE};

/// How long a worker is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

static mut NEXT: pg_sys::ProcessUtility_hook_type = None;

/// Called once, in the postmaster.
pub fn install() {
    // SAFETY: the hook is a variable of the process, and there is one thread.
    unsafe {
        NEXT = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

#[pgrx::pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    is_read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: called by PostgreSQL with structures that it owns.
    unsafe {
        let node = (*statement).utilityStmt;
        match (*node).type_ {
            pg_sys::NodeTag::T_DropdbStmt => {
                end_workers_of((*node.cast::<pg_sys::DropdbStmt>()).dbname);
                tell_launcher();
            }
            pg_sys::NodeTag::T_RenameStmt => {
                let rename = node.cast::<pg_sys::RenameStmt>();
                if (*rename).renameType == pg_sys::ObjectType::OBJECT_DATABASE {
                    end_workers_of((*rename).subname);
                    tell_launcher();
                }
            }
            pg_sys::NodeTag::T_AlterDatabaseStmt => {
                let alter = node.cast::<pg_sys::AlterDatabaseStmt>();
                if !option(c"tablespace", (*alter).options).is_null() {
                    end_workers_of((*alter).dbname);
                    tell_launcher();
                }
            }
            pg_sys::NodeTag::T_CreatedbStmt => {
                let create = node.cast::<pg_sys::CreatedbStmt>();
                end_workers_of(option(c"template", (*create).options));
                tell_launcher();
            }
            pg_sys::NodeTag::T_CreateExtensionStmt => tell_launcher(),
            _ => {}
        }
        match NEXT {
            Some(next) => pg_sys::ffi::pg_guard_ffi_boundary(|| {
                next(
                    statement,
                    text,
                    is_read_only,
                    context,
                    parameters,
                    environment,
                    destination,
                    completion,
                );
            }),
            None => pg_sys::standard_ProcessUtility(
                statement,
                text,
                is_read_only,
                context,
                parameters,
                environment,
                destination,
                completion,
            ),
        }
    }
}

/// The name that an option of a command has, or null.
unsafe fn option(name: &CStr, options: *mut pg_sys::List) -> *const c_char {
    // SAFETY: the nodes that the grammar makes of options; a value that is no text is given none here.
    unsafe {
        for position in 0..pg_sys::list_length(options) {
            let option = pg_sys::list_nth(options, position).cast::<pg_sys::DefElem>();
            let value = (*option).arg;
            if CStr::from_ptr((*option).defname) == name
                && !value.is_null()
                && (*value).type_ == pg_sys::NodeTag::T_String
            {
                return (*value.cast::<pg_sys::String>()).sval;
            }
        }
    }
    std::ptr::null()
}

/// Has the launcher look at all databases when the transaction is over, whether the command was carried out or not.
fn tell_launcher() {
    fn count() {
        CHANGES.get().fetch_add(1, Ordering::Relaxed);
    }
    register_xact_callback(PgXactCallbackEvent::Commit, count);
    register_xact_callback(PgXactCallbackEvent::Abort, count);
}

/// Ends the background workers of a database that the role in force owns, and waits until they are gone.
unsafe fn end_workers_of(name: *const c_char) {
    if name.is_null() {
        return;
    }
    // SAFETY: catalog look-ups, and signals to processes whose type says that they are ours.
    unsafe {
        let database = pg_sys::get_database_oid(name, true);
        if database == pg_sys::InvalidOid || !owns(database, pg_sys::GetUserId()) {
            return;
        }
        let begun = Instant::now();
        loop {
            let workers = workers_of(database);
            if workers.is_empty() || begun.elapsed() > PATIENCE {
                return;
            }
            for pid in workers {
                kill(pid, pg_sys::SIGTERM as c_int);
            }
            pgrx::check_for_interrupts!();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

unsafe extern "C" {
    fn kill(pid: c_int, signal: c_int) -> c_int;
}

fn owns(database: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: catalog look-ups.
    unsafe {
        #[cfg(feature = "pg15")]
        let owns = pg_sys::pg_database_ownercheck(database, role);
        #[cfg(not(feature = "pg15"))]
        let owns = pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, role);
        owns
    }
}

fn workers_of(database: pg_sys::Oid) -> Vec<c_int> {
    // SAFETY: the array of processes in shared memory; a process that ends meanwhile is not signalled, because its
    // type is asked for by its number.
    unsafe {
        let count = (*pg_sys::ProcGlobal).allProcCount as usize;
        (0..count)
            .map(|n| (*pg_sys::ProcGlobal).allProcs.add(n))
            .filter(|process| (**process).databaseId == database && (**process).pid != 0)
            .map(|process| (*process).pid)
            .filter(|&pid| {
                let kind = pg_sys::GetBackgroundWorkerTypeByPid(pid);
                !kind.is_null() && CStr::from_ptr(kind).to_bytes() == TYPE.as_bytes()
            })
            .collect()
    }
}
