//! What every background process of pgflow does: signals, the connection, its sleep, and what it says of itself.

use std::ffi::{CStr, CString, c_int};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pgrx::pg_sys;

use crate::store::Instant;

unsafe extern "C-unwind" {
    fn die(signal: c_int);
    #[cfg_attr(feature = "pg18", link_name = "pqsignal_be")]
    fn pqsignal(signal: c_int, handler: Option<unsafe extern "C-unwind" fn(c_int)>);
    #[link_name = "SignalHandlerForConfigReload"]
    fn reload(signal: c_int);
}

/// Takes signals: SIGTERM ends the process wherever it is, a handler's function included; SIGHUP has it read its settings.
pub fn take_signals() {
    // SAFETY: the handlers are PostgreSQL's own.
    unsafe {
        pqsignal(pg_sys::SIGHUP as c_int, Some(reload));
        pqsignal(pg_sys::SIGTERM as c_int, Some(die));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Connects to a database, or to none, as the superuser that the cluster began with.
pub fn connect(database: Option<pg_sys::Oid>) {
    if !database.is_none_or(has_folder) {
        // Connecting would fail, and the postmaster would begin the process again and again.
        exit();
    }
    // SAFETY: once, at the start of a process that was registered with a connection.
    unsafe {
        match database {
            Some(database) => {
                pg_sys::BackgroundWorkerInitializeConnectionByOid(database, pg_sys::InvalidOid, 0);
            }
            None => {
                pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0)
            }
        }
        // Whatever runs in this process, and whenever, finds no name but those it spells out.
        set(c"search_path", c"pg_catalog, pg_temp");
        // Whatever is set for the database or the cluster: the work is short, waits for no one, and sees what is committed.
        set(c"default_transaction_isolation", c"read committed");
        set(c"default_transaction_read_only", c"off");
        set(c"default_transaction_deferrable", c"off");
        set(c"statement_timeout", c"0");
        set(c"lock_timeout", c"0");
        set(c"idle_in_transaction_session_timeout", c"0");
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        set(c"transaction_timeout", c"0");
        // pg_stat_activity has no other column that tells these processes apart.
        let name = CStr::from_ptr((*pg_sys::MyBgworkerEntry).bgw_name.as_ptr());
        set(c"application_name", name);
    }
}

/// Whether a database has files in the folder of the server, which is the process's own, or in a tablespace.
fn has_folder(database: pg_sys::Oid) -> bool {
    let name = database.to_u32().to_string();
    let is_there = |path: PathBuf| path.join(&name).is_dir();
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    is_there("base".into())
        || entries("pg_tblspc".into())
            .flat_map(|tablespace| entries(tablespace.path()))
            .any(|version| is_there(version.path()))
}

fn set(name: &CStr, value: &CStr) {
    // SAFETY: both are settings of PostgreSQL with valid values.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Has the transaction not wait for the disk when it commits.
pub fn commit_without_waiting() {
    // SAFETY: a setting for the length of the transaction.
    unsafe {
        pg_sys::set_config_option(
            c"synchronous_commit".as_ptr(),
            c"off".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// Waits until what was committed so is on the disk.
pub fn wait_for_disk() {
    // SAFETY: the end of the process's last commit, which has been written or is about to be.
    unsafe { pg_sys::XLogFlush(pg_sys::XactLastCommitEnd) }
}

/// Between two transactions: ends the process if it was told to, and takes new settings. Returns whether there were any.
pub fn heed_signals() -> bool {
    pgrx::check_for_interrupts!();
    // SAFETY: flags that signal handlers set; the configuration is read outside a transaction.
    unsafe {
        if pg_sys::ConfigReloadPending == 0 {
            return false;
        }
        pg_sys::ConfigReloadPending = 0;
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        true
    }
}

/// Sleeps until then, until the process is woken, or until something can be read from `file`. Returns whether it was woken.
pub fn sleep_until(then: Instant, file: Option<c_int>) -> bool {
    let micros = then.0.saturating_sub(Instant::now().0).max(0);
    sleep(Duration::from_micros(micros.unsigned_abs()), file)
}

/// [`sleep_until`], for so long.
pub fn sleep(time: Duration, file: Option<c_int>) -> bool {
    let millis = c_int::try_from(time.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX);
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    if file.is_some() {
        events |= pg_sys::WL_SOCKET_READABLE;
    }
    // SAFETY: waits for the process's own latch; whoever sets it later is noticed by the next wait.
    unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as c_int,
            file.unwrap_or(pg_sys::PGINVALID_SOCKET),
            millis.into(),
            pg_sys::PG_WAIT_EXTENSION,
        );
        let is_woken = (*pg_sys::MyLatch).is_set != 0;
        pg_sys::ResetLatch(pg_sys::MyLatch);
        is_woken
    }
}

/// Whether the process was woken since it slept or forgot that.
pub fn is_woken() -> bool {
    // SAFETY: reads the process's own latch.
    unsafe { (*pg_sys::MyLatch).is_set != 0 }
}

pub fn forget_wake_up() {
    // SAFETY: the process's own latch; signals that set it, too, have flags of their own.
    unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
}

/// What `pg_stat_activity` shows in column query, as running or, with nothing, as idle.
pub fn report(activity: Option<&str>) {
    let state = match activity {
        Some(_) => pg_sys::BackendState::STATE_RUNNING,
        None => pg_sys::BackendState::STATE_IDLE,
    };
    let text = CString::new(activity.unwrap_or_default().replace('\0', "")).unwrap_or_default();
    // SAFETY: copies the text into the process's own entry.
    unsafe {
        pg_sys::pgstat_report_activity(state, text.as_ptr());
        if activity.is_none() {
            pg_sys::pgstat_report_stat(true);
        }
    }
}

pub fn exit() {
    // SAFETY: an exit without fault: the postmaster does not start the process again.
    unsafe { pg_sys::proc_exit(0) };
}

pub fn pid() -> i32 {
    // SAFETY: a variable of the process.
    unsafe { pg_sys::MyProcPid }
}

/// Has `work` done once before the process exits, however it comes to that.
pub fn at_exit(work: fn()) {
    thread_local! {
        static WORK: std::cell::RefCell<Vec<fn()>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    unsafe extern "C-unwind" fn call(_code: c_int, _argument: pg_sys::Datum) {
        for work in WORK.take() {
            work();
        }
    }
    let is_first = WORK.with_borrow_mut(|list| {
        list.push(work);
        list.len() == 1
    });
    if is_first {
        // SAFETY: the functions raise no errors.
        unsafe { pg_sys::before_shmem_exit(Some(call), pg_sys::Datum::null()) };
    }
}

/// Whether a process of this server has that number.
pub fn is_alive(pid: i32) -> bool {
    // SAFETY: a look at the list of processes.
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}
