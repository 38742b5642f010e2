//! Functions of others, found in the catalog and called without a statement.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys;

/// A function and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    pub oid: pg_sys::Oid,
    pub owner: pg_sys::Oid,
}

/// The plain function of this name and these argument types in a schema; procedures, aggregates and what returns a set are
/// none.
pub fn find(schema: pg_sys::Oid, name: &CStr, arguments: &[pg_sys::Oid]) -> Option<Function> {
    // SAFETY: a system cache look-up; the tuple is released before the function returns.
    unsafe {
        let types = pg_sys::buildoidvector(arguments.as_ptr(), arguments.len() as c_int);
        let tuple = pg_sys::SearchSysCache3(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as c_int,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(types),
            pg_sys::Datum::from(schema),
        );
        if tuple.is_null() {
            return None;
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
        let is_plain =
            form.prokind == pg_sys::PROKIND_FUNCTION as std::ffi::c_char && !form.proretset;
        let function = Function {
            oid: form.oid,
            owner: form.proowner,
        };
        pg_sys::ReleaseSysCache(tuple);
        is_plain.then_some(function)
    }
}

/// The schema of this name, and who owns it.
pub fn schema(name: &CStr) -> Option<(pg_sys::Oid, pg_sys::Oid)> {
    // SAFETY: system cache look-ups; the tuple is released before the function returns.
    unsafe {
        let schema = pg_sys::get_namespace_oid(name.as_ptr(), true);
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::NAMESPACEOID as c_int,
            pg_sys::Datum::from(schema),
        );
        if tuple.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_namespace>()).nspowner;
        pg_sys::ReleaseSysCache(tuple);
        Some((schema, owner))
    }
}

/// A function that is ready to be called, any number of times.
pub struct Call {
    info: Box<pg_sys::FmgrInfo>,
}

impl Call {
    pub fn of(function: pg_sys::Oid) -> Self {
        let mut info = Box::<pg_sys::FmgrInfo>::default();
        // SAFETY: fills in what the current memory context keeps.
        unsafe { pg_sys::fmgr_info(function, &mut *info) };
        Self { info }
    }

    /// Calls it with the role in force, and returns its result; SQL NULL is `None`. Errors leave as PostgreSQL's own.
    ///
    /// # Safety
    ///
    /// The function takes arguments of these types, and returns no set.
    pub unsafe fn with(&mut self, arguments: &[pg_sys::Datum]) -> Option<pg_sys::Datum> {
        // SAFETY: the call info is what fmgr.h asks for, with room for the arguments.
        unsafe {
            let size = size_of::<pg_sys::FunctionCallInfoBaseData>()
                + arguments.len() * size_of::<pg_sys::NullableDatum>();
            let call = pg_sys::palloc0(size).cast::<pg_sys::FunctionCallInfoBaseData>();
            (*call).flinfo = &mut *self.info;
            (*call).fncollation = pg_sys::DEFAULT_COLLATION_OID;
            (*call).nargs = arguments.len() as i16;
            let slots = (*call).args.as_mut_slice(arguments.len());
            for (slot, &value) in slots.iter_mut().zip(arguments) {
                *slot = pg_sys::NullableDatum {
                    value,
                    isnull: false,
                };
            }
            let address = self.info.fn_addr?;
            let result = pg_sys::ffi::pg_guard_ffi_boundary(|| address(call));
            (!(*call).isnull).then_some(result)
        }
    }
}
