//! Kept statements.
//!
//! A [`Statement`] is a file of `statements/`: prepared at its first use in a backend, planned once as a generic plan
//! and kept until the backend ends, once for any number of rows and once for one ([`super::one_row`]). PostgreSQL plans it again by itself when a table changes, under the settings
//! that [`super::door`] holds for the length of a call: keys are looked up by index whatever the statistics say.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::ops::ControlFlow;

use pgrx::datum::FromDatum;
use pgrx::pg_sys;

use super::one_row::{self, OneRow};
use super::planner::PlannerSettings;
use super::value::{Composite, Parameter};
use crate::error::{Error, Result};

/// A named statement, written in its own file.
pub struct Statement {
    name: &'static str,
    text: &'static str,
}

/// Declares the statements of a module: `statement!(CLAIM = "claim.sql")`.
#[macro_export]
macro_rules! statements {
    ($($name:ident = $file:literal),* $(,)?) => {$(
        static $name: $crate::store::Statement = $crate::store::Statement::new(
            $file,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/statements/", $file)),
        );
    )*};
}

/// What a backend keeps of a statement: its plans, each made at its first use.
struct Kept {
    many: Option<pg_sys::SPIPlanPtr>,
    one: Option<pg_sys::SPIPlanPtr>,
    one_row: Option<OneRow>,
}

thread_local! {
    static KEPT: RefCell<HashMap<&'static str, Kept>> = RefCell::default();
}

impl Statement {
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text }
    }

    /// Runs the statement and reads each row with `read`.
    ///
    /// Errors of PostgreSQL leave as panics that the door turns back into errors of PostgreSQL.
    pub fn query<T>(
        &self,
        parameters: &[&dyn Parameter],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.run(parameters, false, read)
    }

    /// Like [`Self::query`], but sees what the calling query sees: nothing that this call did, no matter how long it
    /// waited. For STABLE functions and for what does not change during a call.
    pub fn read<T>(
        &self,
        parameters: &[&dyn Parameter],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.run(parameters, true, read)
    }

    /// [`Self::read`], but sees what is committed by now, whatever the isolation level of the transaction.
    pub fn latest<T>(
        &self,
        parameters: &[&dyn Parameter],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        // SAFETY: pushed and popped in pairs; an error unwinds the stack with the transaction.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
        let rows = self.run(parameters, true, read);
        // SAFETY: what was pushed above.
        unsafe { pg_sys::PopActiveSnapshot() };
        rows
    }

    /// [`Self::read`] for a statement that looks at whole tables: planned as any other query, not as a look-up by key.
    pub fn survey<T>(&self, read: impl Fn(&Row) -> Result<T>) -> Result<Vec<T>> {
        let planner = PlannerSettings::surveys();
        let rows = self.run(&[], true, read);
        drop(planner);
        rows
    }

    /// Runs the statement and reads its only row, if there is one.
    pub fn first<T>(
        &self,
        parameters: &[&dyn Parameter],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.query(parameters, read)?.into_iter().next())
    }

    /// Runs the statement for its effect.
    pub fn execute(&self, parameters: &[&dyn Parameter]) -> Result<()> {
        self.query(parameters, |_| Ok(())).map(drop)
    }

    /// Runs the statement and hands its rows to `meet`, a few at a time, until that says that it has met enough.
    /// `meet` may run other statements; what they change is not seen here.
    pub fn walk(
        &self,
        parameters: &[&dyn Parameter],
        mut meet: impl FnMut(&Row) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        /// Rows fetched at once.
        const FEW: i64 = 50;
        let (plan, parameters) = self.plan(parameters)?;
        let (mut values, nulls) = datums(&parameters);
        // SAFETY: as in `run`; an error ends the cursor with the (sub)transaction. The table of a fetch stays until it
        // is freed, whatever `meet` runs.
        unsafe {
            let cursor = pg_sys::SPI_cursor_open(
                std::ptr::null(),
                plan,
                values.as_mut_ptr(),
                nulls.as_ptr(),
                false,
            );
            let mut goes_on = true;
            while goes_on {
                pg_sys::SPI_cursor_fetch(cursor, true, FEW);
                let table = pg_sys::SPI_tuptable;
                let count = usize::try_from(pg_sys::SPI_processed).unwrap_or(0);
                goes_on = count > 0 && self.read_rows(table, count, &mut meet)?.is_continue();
                pg_sys::SPI_freetuptable(table);
            }
            pg_sys::SPI_cursor_close(cursor);
        }
        Ok(())
    }

    fn run<T>(
        &self,
        parameters: &[&dyn Parameter],
        read_only: bool,
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let (plan, parameters) = self.plan(parameters)?;
        let (mut values, nulls) = datums(&parameters);
        // Under READ COMMITTED a statement that is not read-only sees what was committed when it began: what follows
        // a lock sees what the lock waited for. A read-only one sees what the calling query sees.
        // SAFETY: the plan is kept for the life of the backend; values and nulls match its parameters.
        let status = unsafe {
            pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls.as_ptr(), read_only, 0)
        };
        if status < 0 {
            return Err(Error::Internal(format!(
                "statement {} failed with SPI status {status}",
                self.name
            )));
        }
        self.rows(read)
    }

    fn rows<T>(&self, read: impl Fn(&Row) -> Result<T>) -> Result<Vec<T>> {
        // SAFETY: SPI set both after the call above; the table lives until SPI_finish or until it is freed here.
        unsafe {
            let table = pg_sys::SPI_tuptable;
            if table.is_null() {
                return Ok(Vec::new());
            }
            let count = usize::try_from(pg_sys::SPI_processed).unwrap_or(0);
            let mut rows = Vec::with_capacity(count);
            let _ = self.read_rows(table, count, |row| {
                rows.push(read(row)?);
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(rows)
        }
    }

    /// Hands the rows of a result to `meet`, until that says that it has met enough.
    ///
    /// # Safety
    ///
    /// The table has so many rows, and `meet` does not free it.
    unsafe fn read_rows(
        &self,
        table: *mut pg_sys::SPITupleTable,
        count: usize,
        mut meet: impl FnMut(&Row) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        // SAFETY: values and nulls have room for all columns.
        unsafe {
            let descriptor = (*table).tupdesc;
            let columns = usize::try_from((*descriptor).natts).unwrap_or(0);
            let mut values = vec![pg_sys::Datum::null(); columns];
            let mut nulls = vec![false; columns];
            for n in 0..count {
                // All columns at once: PostgreSQL finds a single one by walking over those before it.
                pg_sys::heap_deform_tuple(
                    *(*table).vals.add(n),
                    descriptor,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                );
                let row = Row {
                    statement: self.name,
                    values: &values,
                    nulls: &nulls,
                };
                if meet(&row)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The plan for these parameters, and the parameters as it takes them.
    fn plan<'a>(
        &self,
        parameters: &[&'a dyn Parameter],
    ) -> Result<(pg_sys::SPIPlanPtr, Vec<&'a dyn Parameter>)> {
        KEPT.with_borrow_mut(|kept| {
            let kept = kept.entry(self.name).or_insert_with(|| Kept {
                many: None,
                one: None,
                one_row: one_row::of(self.text),
            });
            let mut parameters = parameters.to_vec();
            let is_one = (kept.one_row.as_ref())
                .is_some_and(|row| row.values.iter().all(|&n| parameters[n].only().is_some()));
            let (plan, text) = match &kept.one_row {
                Some(row) if is_one => {
                    for &n in &row.values {
                        parameters[n] = parameters[n].only().unwrap_or(parameters[n]);
                    }
                    (&mut kept.one, row.text.as_str())
                }
                _ => (&mut kept.many, self.text),
            };
            let plan = match plan {
                Some(plan) => *plan,
                None => *plan.insert(self.prepare(text, &parameters)?),
            };
            Ok((plan, parameters))
        })
    }

    fn prepare(&self, text: &str, parameters: &[&dyn Parameter]) -> Result<pg_sys::SPIPlanPtr> {
        let text = CString::new(text)
            .map_err(|_| Error::Internal(format!("statement {} has a zero byte", self.name)))?;
        let mut types: Vec<_> = parameters.iter().map(|p| p.oid()).collect();
        // SAFETY: text and types outlive the call; a kept plan belongs to the backend until it ends.
        unsafe {
            let plan = pg_sys::SPI_prepare_cursor(
                text.as_ptr(),
                types.len() as i32,
                types.as_mut_ptr(),
                pg_sys::CURSOR_OPT_GENERIC_PLAN as i32,
            );
            if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                return Err(Error::Internal(format!(
                    "statement {} could not be prepared",
                    self.name
                )));
            }
            Ok(plan)
        }
    }
}

/// Runs a command that a statement has written: privileges are granted by commands alone, which take no parameters.
pub fn command(text: &str) -> Result<()> {
    let text =
        CString::new(text).map_err(|_| Error::Internal("a command has a zero byte".to_owned()))?;
    // SAFETY: the text outlives the call; errors leave as panics.
    match unsafe { pg_sys::SPI_execute(text.as_ptr(), false, 0) } {
        status if status < 0 => Err(Error::Internal(format!(
            "a command failed with SPI status {status}"
        ))),
        _ => Ok(()),
    }
}

/// The values of parameters, and which of them are null, as SPI takes them.
fn datums(parameters: &[&dyn Parameter]) -> (Vec<pg_sys::Datum>, Vec<c_char>) {
    let mut nulls = Vec::with_capacity(parameters.len());
    let mut values = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let datum = parameter.datum();
        nulls.push(if datum.is_some() { b' ' } else { b'n' } as c_char);
        values.push(datum.unwrap_or(pg_sys::Datum::null()));
    }
    (values, nulls)
}

/// One row of a result; columns are counted from 1.
pub struct Row<'a> {
    statement: &'static str,
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
}

impl Row<'_> {
    /// A column that is never null.
    pub fn get<T: FromDatum>(&self, column: i32) -> Result<T> {
        self.opt(column).ok_or_else(|| {
            Error::Internal(format!(
                "statement {} returned null in column {column}",
                self.statement
            ))
        })
    }

    /// A column that may be null.
    pub fn opt<T: FromDatum>(&self, column: i32) -> Option<T> {
        let (datum, is_null) = self.value(column);
        // SAFETY: the statement's file and its reader agree on the types of the columns.
        unsafe { T::from_datum(datum, is_null) }
    }

    /// A column copied into the memory of the caller of the SQL function.
    pub fn keep<T: FromDatum>(&self, column: i32) -> Option<T> {
        let (datum, is_null) = self.value(column);
        // SAFETY: as in `opt`; by-reference values here are varlena types.
        unsafe {
            let datum = if is_null {
                datum
            } else {
                pg_sys::SPI_datumTransfer(datum, false, -1)
            };
            T::from_datum(datum, is_null)
        }
    }

    /// A composite column, copied into the memory of the caller of the SQL function.
    pub fn composite<T>(&self, column: i32) -> Result<Composite<T>> {
        let (datum, is_null) = self.value(column);
        if is_null {
            return Err(Error::Internal(format!(
                "statement {} returned null in column {column}",
                self.statement
            )));
        }
        // SAFETY: composites are varlena values.
        Ok(Composite::new(unsafe {
            pg_sys::SPI_datumTransfer(datum, false, -1)
        }))
    }

    fn value(&self, column: i32) -> (pg_sys::Datum, bool) {
        let found = usize::try_from(column - 1)
            .ok()
            .and_then(|n| self.values.get(n).zip(self.nulls.get(n)));
        found.map_or((pg_sys::Datum::null(), true), |(&value, &null)| {
            (value, null)
        })
    }
}
