//! Rows of composite types, built in memory: a statement that only did that would cost more than the row.

use std::ffi::CStr;
use std::marker::PhantomData;

use pgrx::{PgTupleDesc, pg_sys};

use super::value::{ClaimedTask, Composite, Parameter, TaskReceipt};
use crate::error::{Error, Result};

/// A composite type of schema `pgflow`.
pub trait Named {
    const NAME: &'static CStr;
}

impl Named for ClaimedTask {
    const NAME: &'static CStr = c"claimed_task";
}

impl Named for TaskReceipt {
    const NAME: &'static CStr = c"task_receipt";
}

/// The columns of the composite type `T`, looked up once for any number of rows.
pub struct RowType<T> {
    columns: PgTupleDesc<'static>,
    of: PhantomData<T>,
}

impl<T: Named> RowType<T> {
    pub fn open() -> Result<Self> {
        // SAFETY: system cache look-ups; the descriptor is pinned here and released when it is dropped.
        let columns = unsafe {
            let schema = pg_sys::get_namespace_oid(c"pgflow".as_ptr(), true);
            let oid = pg_sys::GetSysCacheOid(
                pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
                pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
                pg_sys::Datum::from(T::NAME.as_ptr()),
                pg_sys::Datum::from(schema),
                pg_sys::Datum::null(),
                pg_sys::Datum::null(),
            );
            if oid == pg_sys::InvalidOid {
                return Err(Error::Internal(format!(
                    "type {:?} does not exist",
                    T::NAME
                )));
            }
            PgTupleDesc::from_pg(pg_sys::lookup_rowtype_tupdesc(oid, -1))
        };
        Ok(Self {
            columns,
            of: PhantomData,
        })
    }

    /// A row, in the memory of the caller of the SQL function.
    pub fn row(&self, values: &[&dyn Parameter]) -> Result<Composite<T>> {
        // A datum of another type would be read as what it is not.
        let types = self.columns.iter().map(|column| column.atttypid);
        if !types.eq(values.iter().map(|value| value.oid())) {
            return Err(Error::Internal(format!(
                "type {:?} has other columns than a row of it",
                T::NAME
            )));
        }
        let (mut values, mut nulls): (Vec<_>, Vec<_>) = (values.iter())
            .map(|value| match value.datum() {
                Some(datum) => (datum, false),
                None => (pg_sys::Datum::null(), true),
            })
            .unzip();
        let columns = self.columns.as_ptr();
        // SAFETY: there are as many values, and of the same types, as there are columns.
        Ok(Composite::new(unsafe {
            let tuple = pg_sys::heap_form_tuple(columns, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::Datum::from(pg_sys::SPI_returntuple(tuple, columns))
        }))
    }
}
