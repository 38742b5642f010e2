//! Values that cross the border between PostgreSQL and Rust.
//!
//! Payloads, outputs and patterns stay what PostgreSQL made of them: [`Json`] and [`JsonArray`] are datums that are
//! handed on, never parsed. A `Json` read from a statement lives until the call ends; [`super::statement::Row::keep`]
//! copies what must be returned to the caller.

use std::marker::PhantomData;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, FromDatum, IntoDatum, Uuid};
use pgrx::{impl_sql_translatable, pg_sys};

use crate::model::RunId;

/// A `jsonb` value, opaque.
#[derive(Debug, Clone, Copy)]
pub struct Json(pub(super) pg_sys::Datum);

/// A `jsonb[]` value, opaque.
#[derive(Debug, Clone, Copy)]
pub struct JsonArray {
    array: pg_sys::Datum,
    /// What it was made of, by [`JsonArray::of`].
    only: Option<Json>,
}

/// A point in time: microseconds since 2000-01-01 UTC, as `timestamptz` stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub i64);

const MICROS_1970_TO_2000: i64 = 946_684_800_000_000;

impl Instant {
    /// Later than every other, as `timestamptz` has it.
    pub const INFINITY: Self = Self(i64::MAX);
    /// Earlier than every other.
    pub const MINUS_INFINITY: Self = Self(i64::MIN);

    /// The wall clock now, which goes on inside a transaction, as `clock_timestamp()` does.
    pub fn now() -> Self {
        // SAFETY: reads the clock, nothing else.
        Self(unsafe { pg_sys::GetCurrentTimestamp() })
    }

    /// What lies beyond the range of `timestamptz` is [`Self::INFINITY`].
    pub fn plus_seconds(self, seconds: f64) -> Self {
        const END_TIMESTAMP: i64 = 9_223_371_331_200_000_000;
        match self.0.saturating_add((seconds * 1e6) as i64) {
            END_TIMESTAMP.. => Self::INFINITY,
            micros => Self(micros),
        }
    }

    /// Microseconds since 1970-01-01 UTC.
    pub fn unix_micros(self) -> i64 {
        self.0.saturating_add(MICROS_1970_TO_2000)
    }

    /// The opposite of [`Self::unix_micros`].
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(MICROS_1970_TO_2000))
    }

    /// Milliseconds since 1970-01-01 UTC, as a version 7 UUID counts them; 0 for what lies before.
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.unix_micros() / 1000).unwrap_or(0)
    }
}

impl Json {
    /// The size of the value in bytes, uncompressed, without reading it.
    pub fn size(self) -> usize {
        // SAFETY: looks at the header of a varlena value only.
        unsafe { pg_sys::toast_raw_datum_size(self.0) }
    }
}

/// A `jsonb` value that outlives the transaction it was read in.
#[derive(Debug)]
pub struct KeptJson(Box<[u64]>);

impl KeptJson {
    /// The value, for as long as this lives.
    pub fn json(&self) -> Json {
        Json(pg_sys::Datum::from(self.0.as_ptr()))
    }
}

impl Json {
    /// Copies the value out of PostgreSQL's memory.
    pub fn keep(self) -> KeptJson {
        // SAFETY: a jsonb is a varlena; the copy is as long as its header says, and aligned as palloc would have it.
        unsafe {
            let value = pg_sys::pg_detoast_datum(self.0.cast_mut_ptr());
            let size = pgrx::varsize_any(value);
            let mut copy = vec![0_u64; size.div_ceil(size_of::<u64>())].into_boxed_slice();
            std::ptr::copy_nonoverlapping(value.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), size);
            KeptJson(copy)
        }
    }
}

impl JsonArray {
    /// An array of one element.
    pub fn of(element: Json) -> Self {
        // SAFETY: the array is built in the current memory context; the element is copied.
        let array = vec![element].into_datum();
        Self {
            array: array.unwrap_or_else(pg_sys::Datum::null),
            only: Some(element),
        }
    }

    /// The number of elements.
    pub fn len(self) -> usize {
        // SAFETY: the datum is a jsonb[] that PostgreSQL gave us; the detoasted copy lives as long as the call.
        unsafe {
            let array =
                pg_sys::pg_detoast_datum(self.array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let dimensions = array
                .cast::<u8>()
                .add(size_of::<pg_sys::ArrayType>())
                .cast::<i32>();
            usize::try_from(pg_sys::ArrayGetNItems((*array).ndim, dimensions)).unwrap_or(0)
        }
    }
}

/// A row of the composite type `T`, opaque.
pub struct Composite<T> {
    datum: pg_sys::Datum,
    of: PhantomData<T>,
}

impl<T> Composite<T> {
    pub(super) fn new(datum: pg_sys::Datum) -> Self {
        Self {
            datum,
            of: PhantomData,
        }
    }
}

impl<T> Composite<T> {
    /// A field, counted from 1.
    pub(crate) fn field<F: FromDatum>(&self, number: i16) -> Option<F> {
        let mut is_null = false;
        // SAFETY: the datum is a composite of a named type; the reader knows the types of its fields.
        unsafe {
            let row = pg_sys::pg_detoast_datum(self.datum.cast_mut_ptr());
            let datum = pg_sys::GetAttributeByNum(row.cast(), number, &mut is_null);
            F::from_datum(datum, is_null)
        }
    }
}

// SAFETY: the datum is a composite that was copied into the caller's memory context.
unsafe impl<T> BoxRet for Composite<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(self.datum) }
    }
}

/// A set of rows of the composite type `T`, handed over all at once: PostgreSQL would set the `search_path` of a function
/// that returns them one by one for each of them.
pub struct Rows<T>(Vec<Composite<T>>);

impl<T> From<Vec<Composite<T>>> for Rows<T> {
    fn from(rows: Vec<Composite<T>>) -> Self {
        Self(rows)
    }
}

// SAFETY: the result is the one that PostgreSQL is told of: null, with the rows in the tuplestore of the call.
unsafe impl<T> BoxRet for Rows<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: refuses a call that cannot take a set; the datums are composites of the function's result type.
        unsafe {
            let call = fcinfo.as_mut_ptr();
            pg_sys::InitMaterializedSRF(call, 0);
            let set = (*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            for row in self.0 {
                let header = row.datum.cast_mut_ptr::<pg_sys::HeapTupleHeaderData>();
                let mut tuple = pg_sys::HeapTupleData {
                    t_len: pgrx::varsize_any(header.cast()) as u32,
                    t_data: header,
                    ..Default::default()
                };
                pg_sys::tuplestore_puttuple((*set).setResult, &mut tuple);
            }
        }
        fcinfo.return_null()
    }
}

/// Names the SQL composite types that functions return.
macro_rules! composite_types {
    ($($(#[$doc:meta])* $name:ident = $sql:literal),* $(,)?) => {$(
        $(#[$doc])*
        pub struct $name;
        impl_sql_translatable!(Composite<$name>, $sql);
    )*};
}

/// An SVG document, of the domain that is named as its media type.
pub struct Svg(pub String);

// SAFETY: the domain is one of text.
unsafe impl BoxRet for Svg {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.0.into_datum() {
            // SAFETY: as above.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

impl_sql_translatable!(Svg, "pgflow.\"image/svg+xml\"");
impl_sql_translatable!(Rows<ClaimedTask>, "SETOF pgflow.claimed_task");
impl_sql_translatable!(Rows<TaskReceipt>, "SETOF pgflow.task_receipt");

composite_types! {
    /// A row of table `flows`.
    FlowRow = "pgflow.flows",
    /// A row of table `steps`.
    StepRow = "pgflow.steps",
    /// A row of table `queues`.
    QueueRow = "pgflow.queues",
    /// A row of table `runs`.
    RunRow = "pgflow.runs",
    /// A row of table `schedules`.
    ScheduleRow = "pgflow.schedules",
    /// A row of table `step_states`.
    StepStateRow = "pgflow.step_states",
    /// A task as a worker gets it.
    ClaimedTask = "pgflow.claimed_task",
    /// What a settlement found and did.
    TaskReceipt = "pgflow.task_receipt",
}

/// The name of a role, as an argument.
#[derive(Debug, Clone)]
pub struct RoleName(pub String);

impl FromDatum for RoleName {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: a name is a C string in 64 bytes.
        (!is_null).then(|| unsafe {
            let name = std::ffi::CStr::from_ptr(datum.cast_mut_ptr());
            Self(name.to_string_lossy().into_owned())
        })
    }
}

// SAFETY: the SQL type of the argument is `name`.
unsafe impl<'fcx> ArgAbi<'fcx> for RoleName {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum::<Self>() }
            .unwrap_or_else(|| unreachable!("a null argument is unboxed as an Option"))
    }
}

impl_sql_translatable!(RoleName, "name");
impl_sql_translatable!(Json, "jsonb");
impl_sql_translatable!(JsonArray, "jsonb[]");
impl_sql_translatable!(Instant, "timestamp with time zone");
impl_sql_translatable!(RunId, "uuid");

/// The four conversions of a value that PostgreSQL passes by a datum we do not look into.
macro_rules! datum_conversions {
    ($type:ty, $oid:expr, $from:expr, $into:expr) => {
        impl FromDatum for $type {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                _: pg_sys::Oid,
            ) -> Option<Self> {
                #[allow(clippy::redundant_closure_call)]
                if is_null { None } else { $from(datum) }
            }
        }

        impl IntoDatum for $type {
            fn into_datum(self) -> Option<pg_sys::Datum> {
                #[allow(clippy::redundant_closure_call)]
                $into(self)
            }

            fn type_oid() -> pg_sys::Oid {
                $oid
            }
        }

        // SAFETY: the SQL type of the argument is the one named by `type_oid`.
        unsafe impl<'fcx> ArgAbi<'fcx> for $type {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: as above.
                unsafe { arg.unbox_arg_using_from_datum::<$type>() }
                    .unwrap_or_else(|| unreachable!("a null argument is unboxed as an Option"))
            }
        }

        // SAFETY: the SQL type of the result is the one named by `type_oid`.
        unsafe impl BoxRet for $type {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
                match self.into_datum() {
                    // SAFETY: as above.
                    Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
                    None => fcinfo.return_null(),
                }
            }
        }
    };
}

datum_conversions!(
    Json,
    pg_sys::JSONBOID,
    |datum| Some(Self(datum)),
    |json: Self| Some(json.0)
);
datum_conversions!(
    JsonArray,
    pg_sys::JSONBARRAYOID,
    |array| Some(Self { array, only: None }),
    |array: Self| Some(array.array)
);
datum_conversions!(
    Instant,
    pg_sys::TIMESTAMPTZOID,
    |datum: pg_sys::Datum| Some(Self(datum.value() as i64)),
    |instant: Self| Some(pg_sys::Datum::from(instant.0))
);
datum_conversions!(
    RunId,
    pg_sys::UUIDOID,
    // SAFETY: the datum is a uuid and not null.
    |datum| unsafe { Uuid::from_datum(datum, false) }.map(|id| Self(*id.as_bytes())),
    |id: Self| Uuid::from_bytes(id.0).into_datum()
);

/// A statement parameter.
pub trait Parameter {
    fn oid(&self) -> pg_sys::Oid;
    fn datum(&self) -> Option<pg_sys::Datum>;

    /// The element of an array that has only one.
    fn only(&self) -> Option<&dyn Parameter> {
        None
    }
}

/// Values and, in columns of rows, arrays of them.
macro_rules! parameters {
    ($($type:ty),* $(,)?) => {$(
        parameters!(value $type);
        parameters!(value Option<$type>);
        parameters!(array $type);
        parameters!(array Option<$type>);
    )*};
    (value $type:ty) => {
        impl Parameter for $type {
            fn oid(&self) -> pg_sys::Oid {
                <$type>::type_oid()
            }

            fn datum(&self) -> Option<pg_sys::Datum> {
                self.clone().into_datum()
            }
        }
    };
    (array $type:ty) => {
        impl Parameter for Vec<$type> {
            fn oid(&self) -> pg_sys::Oid {
                Self::type_oid()
            }

            fn datum(&self) -> Option<pg_sys::Datum> {
                self.clone().into_datum()
            }

            fn only(&self) -> Option<&dyn Parameter> {
                match self.as_slice() {
                    [only] => Some(only),
                    _ => None,
                }
            }
        }
    };
}

parameters!(bool, i32, i64, &str, String, RunId, Instant, Json);
parameters!(value pgrx::datum::Interval);
parameters!(value Option<pgrx::datum::Interval>);
parameters!(value pg_sys::Oid);
parameters!(value f64);
parameters!(value Option<f64>);

impl Parameter for JsonArray {
    fn oid(&self) -> pg_sys::Oid {
        Self::type_oid()
    }

    fn datum(&self) -> Option<pg_sys::Datum> {
        self.into_datum()
    }

    fn only(&self) -> Option<&dyn Parameter> {
        self.only.as_ref().map(|only| only as &dyn Parameter)
    }
}
