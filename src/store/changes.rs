//! What a call changed, told to the outside at its end.
//!
//! Transitions note here which run or step came to which status, in the order in which it happens and only for flows that
//! are published. The list belongs to the call: a subtransaction that is undone takes its part of it back, and when the
//! call ends well, [`super::door`] tells the rest: to `realtime.send()` where there is one ([`super::broadcast`]), and
//! to whoever listens ([`super::notices`]). Both are transactional, so a rollback takes the messages back.
//!
//! **Which flows are published** a backend reads once and keeps. A change of the table reaches every backend as the
//! invalidation of that table's cache entry; what changes it without saying so, such as a restore, is noticed after
//! some seconds. As long as the table has no page nothing is read at all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;

use super::broadcast::{self, Sender};
use super::door::Connection;
use super::planner::PlannerSettings;
use super::value::Instant;
use super::{lock, notices};
use crate::error::{Error, Result};
use crate::model::RunId;
use crate::{settings, statements};

statements! {
    REALTIME_FLOWS = "realtime_flows.sql",
    CHANGE_MESSAGES = "change_messages.sql",
}

/// For how many seconds the list of published flows is kept when nobody says that it has changed.
const KEPT_SECONDS: f64 = 10.0;

/// How many changes are read and sent at once: large outputs may hang on each.
const CHUNK: usize = 500;

/// A flow that is published.
#[derive(Debug)]
pub struct PublishedFlow {
    pub slug: String,
    /// Whether only those may learn what is in a run who may read it.
    pub is_private: bool,
}

/// A run, or a step of it, that has come to a status.
#[derive(Debug, Clone)]
pub struct Change {
    pub flow: Rc<PublishedFlow>,
    pub run_id: RunId,
    /// Nothing for the run itself.
    pub step_slug: Option<String>,
    pub status: &'static str,
    pub at: Instant,
}

/// A change as it is sent.
pub struct Message {
    pub payload: pg_sys::Datum,
    pub event: pg_sys::Datum,
    pub topic: pg_sys::Datum,
    pub is_private: bool,
}

thread_local! {
    static FLOWS: RefCell<HashMap<String, Rc<PublishedFlow>>> = RefCell::default();
    static FLOWS_KEPT_UNTIL: Cell<Instant> = const { Cell::new(Instant::MINUS_INFINITY) };
    static TABLE: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
    static IS_REGISTERED: Cell<bool> = const { Cell::new(false) };
    static CHANGES: RefCell<Vec<Change>> = const { RefCell::new(Vec::new()) };
}

/// The flow of this name, if it is published.
pub fn published(flow_slug: &str) -> Option<Rc<PublishedFlow>> {
    FLOWS.with_borrow(|flows| {
        if flows.is_empty() {
            return None;
        }
        flows.get(flow_slug).cloned()
    })
}

/// Notes a change.
pub fn note(change: Change) {
    CHANGES.with_borrow_mut(|changes| changes.push(change));
}

/// How many changes are noted.
pub fn noted() -> usize {
    CHANGES.with_borrow(Vec::len)
}

/// Forgets what was noted since there were so many: it is undone.
pub fn forget_since(noted: usize) {
    CHANGES.with_borrow_mut(|changes| changes.truncate(noted));
}

/// Tells every backend, when the transaction commits, that other flows are published.
pub fn flows_changed() {
    let table = table();
    if table != pg_sys::InvalidOid {
        // SAFETY: a catalog look-up; the invalidation is sent with the commit, and taken back with a rollback.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(table) };
    }
}

/// Whether this schema can have published flows; that of version 0.1 cannot.
pub fn has_table() -> bool {
    table() != pg_sys::InvalidOid
}

/// What one call notes. Calls may be nested: a function that the outer one calls may call pgflow.
pub struct Call {
    before: usize,
}

impl Call {
    /// Begins to note. The caller has the rights of the extension's owner and a connection.
    pub fn begin(now: Instant) -> Result<Self> {
        let kept_until = FLOWS_KEPT_UNTIL.get();
        // A clock that was set back must not keep the list for long.
        if now >= kept_until || now.plus_seconds(KEPT_SECONDS) < kept_until {
            read_flows(now)?;
        }
        Ok(Self { before: noted() })
    }

    /// Tells what was noted. The caller has the rights of the extension's owner and no connection.
    pub fn tell(&self) -> Result<()> {
        let changes = CHANGES.with_borrow_mut(|changes| changes.split_off(self.before));
        if changes.is_empty() {
            return Ok(());
        }
        let mut sender = broadcast::sender();
        if sender.is_none() && !lock::is_heard() {
            notices::at_commit(changes);
            return Ok(());
        }
        for chunk in changes.chunks(CHUNK) {
            tell_chunk(chunk, &mut sender)?;
        }
        Ok(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        forget_since(self.before);
    }
}

fn tell_chunk(chunk: &[Change], sender: &mut Option<Sender>) -> Result<()> {
    let is_read = sender.is_some() || chunk.iter().any(|change| !change.flow.is_private);
    if !is_read {
        notices::at_commit(chunk.iter().cloned());
        return Ok(());
    }
    let memory = Memory::begin();
    let mut texts: Vec<Option<String>> = vec![None; chunk.len()];
    let messages = read_messages(chunk, &mut texts)?;
    for (change, text) in chunk.iter().zip(texts) {
        notices::with_text_at_commit(change.clone(), text);
    }
    if let Some(to) = sender
        && let Err(reason) = broadcast::send(to, &messages)
    {
        pgrx::warning!("pgflow could not publish changes: realtime.send failed: {reason}");
        // What comes later would make no sense to who has not heard of what came before.
        *sender = None;
    }
    memory.end();
    Ok(())
}

/// Reads what is to be said of changes, in their order; `texts` get what may be said to everybody.
fn read_messages(chunk: &[Change], texts: &mut [Option<String>]) -> Result<Vec<Message>> {
    let planner = PlannerSettings::look_ups();
    let connection = Connection::open()?;
    let ids: Vec<_> = chunk.iter().map(|change| change.run_id).collect();
    let slugs: Vec<_> = chunk
        .iter()
        .map(|change| change.step_slug.clone())
        .collect();
    let statuses: Vec<_> = chunk.iter().map(|change| change.status).collect();
    let are_public: Vec<_> = chunk.iter().map(|change| !change.flow.is_private).collect();
    let lacks = || Error::Internal("a message lacks a field".into());
    let rows = CHANGE_MESSAGES.query(
        &[
            &ids,
            &slugs,
            &statuses,
            &are_public,
            &settings::realtime_max_bytes(),
            &notices::LONGEST_CHANGE,
        ],
        |row| {
            let no = usize::try_from(row.get::<i64>(1)? - 1).unwrap_or_default();
            let message = Message {
                topic: row.keep(2).ok_or_else(lacks)?,
                event: row.keep(3).ok_or_else(lacks)?,
                payload: row.keep(4).ok_or_else(lacks)?,
                is_private: chunk[no].flow.is_private,
            };
            Ok((no, message, row.opt::<String>(5)))
        },
    )?;
    connection.close();
    drop(planner);
    let mut messages = Vec::with_capacity(rows.len());
    for (no, message, text) in rows {
        texts[no] = text;
        messages.push(message);
    }
    Ok(messages)
}

fn read_flows(now: Instant) -> Result<()> {
    if !IS_REGISTERED.replace(true) {
        // SAFETY: once in a backend; the function lives for ever.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0));
        }
    }
    TABLE.set(table());
    // First: an invalidation that comes while the list is read counts.
    FLOWS_KEPT_UNTIL.set(now.plus_seconds(KEPT_SECONDS));
    let flows = if TABLE.get() == pg_sys::InvalidOid || !has_pages(TABLE.get()) {
        HashMap::new()
    } else {
        REALTIME_FLOWS
            .latest(&[], |row| {
                let slug: String = row.get(1)?;
                let is_private = row.get(2)?;
                Ok((slug.clone(), Rc::new(PublishedFlow { slug, is_private })))
            })?
            .into_iter()
            .collect()
    };
    FLOWS.replace(flows);
    Ok(())
}

fn table() -> pg_sys::Oid {
    // SAFETY: system cache look-ups.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"pgflow".as_ptr(), true);
        pg_sys::get_relname_relid(c"realtime_flows".as_ptr(), schema)
    }
}

fn has_pages(table: pg_sys::Oid) -> bool {
    // SAFETY: the entry is held while it is used; a table that was dropped meanwhile has none.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(table);
        if relation.is_null() {
            return false;
        }
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let pages = pg_sys::RelationGetNumberOfBlocksInFork(relation, main);
        pg_sys::RelationClose(relation);
        pages > 0
    }
}

/// Called by PostgreSQL when it drops what it keeps of a table; of all tables, when the oid is none.
unsafe extern "C-unwind" fn relation_changed(_: pg_sys::Datum, relation: pg_sys::Oid) {
    let table = TABLE.get();
    if relation == table || relation == pg_sys::InvalidOid || table == pg_sys::InvalidOid {
        FLOWS_KEPT_UNTIL.set(Instant::MINUS_INFINITY);
    }
}

/// Memory for what is read of a chunk, freed before the next one.
struct Memory {
    own: pg_sys::MemoryContext,
    before: pg_sys::MemoryContext,
}

impl Memory {
    fn begin() -> Self {
        // SAFETY: a child of the current context, which frees it after an error.
        unsafe {
            let before = pg_sys::CurrentMemoryContext;
            let own = pg_sys::AllocSetContextCreateInternal(
                before,
                c"pgflow changes".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            pg_sys::MemoryContextSwitchTo(own);
            Self { own, before }
        }
    }

    fn end(self) {
        // SAFETY: nothing refers to what was read any more.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.before);
            pg_sys::MemoryContextDelete(self.own);
        }
    }
}
