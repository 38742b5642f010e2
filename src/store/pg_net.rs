//! pg_net, where there is one: the extension that sends requests when the transaction that asked for them commits.
//!
//! It is code of others: its function is called with the rights of that function's owner, and no more than a
//! security-restricted operation may do; the names in it are looked up where nobody can plant any, and what it sets does
//! not last. Only the function that belongs to extension pg_net is called: whoever makes a schema of that name, or puts
//! another function there, is handed nothing.

use std::ffi::c_int;

use pgrx::{IntoDatum, pg_sys};

use super::pinned::Pinned;
use super::role::Rights;
use super::value::Json;

/// `net.http_post`.
#[derive(Debug, Clone, Copy)]
pub struct Post {
    function: pg_sys::Oid,
    owner: pg_sys::Oid,
}

/// The function that sends a request, if this database has it.
pub fn find() -> Option<Post> {
    // url, body, params, headers, timeout_milliseconds.
    let arguments = [
        pg_sys::TEXTOID,
        pg_sys::JSONBOID,
        pg_sys::JSONBOID,
        pg_sys::JSONBOID,
        pg_sys::INT4OID,
    ];
    // SAFETY: system cache and catalog look-ups; the tuple is released before anything else is done.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"net".as_ptr(), true);
        let extension = pg_sys::get_extension_oid(c"pg_net".as_ptr(), true);
        if schema == pg_sys::InvalidOid || extension == pg_sys::InvalidOid {
            return None;
        }
        let types = pg_sys::buildoidvector(arguments.as_ptr(), arguments.len() as c_int);
        let tuple = pg_sys::SearchSysCache3(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as c_int,
            pg_sys::Datum::from(c"http_post".as_ptr()),
            pg_sys::Datum::from(types),
            pg_sys::Datum::from(schema),
        );
        if tuple.is_null() {
            return None;
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
        let post = Post {
            function: form.oid,
            owner: form.proowner,
        };
        let is_plain =
            form.prokind == pg_sys::PROKIND_FUNCTION as std::ffi::c_char && !form.proretset;
        pg_sys::ReleaseSysCache(tuple);
        let belongs_to = pg_sys::getExtensionOfObject(pg_sys::ProcedureRelationId, post.function);
        (is_plain && belongs_to == extension).then_some(post)
    }
}

impl Post {
    /// Has the request sent when the transaction commits. Errors leave as PostgreSQL's own.
    pub fn send(self, url: &str, body: Json, parameters: Json, headers: Json, timeout_ms: i32) {
        let restricted =
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
        let rights = Rights::take(self.owner, restricted);
        let pinned = Pinned::settings();
        let arguments = [
            url.into_datum().unwrap_or_else(pg_sys::Datum::null),
            body.0,
            parameters.0,
            headers.0,
            pg_sys::Datum::from(timeout_ms),
        ];
        // SAFETY: the function takes these five arguments, see `find`; the call info is what fmgr.h asks for. What it
        // returns is an id that nobody asks for.
        unsafe {
            let mut info = pg_sys::FmgrInfo::default();
            pg_sys::fmgr_info(self.function, &mut info);
            let size = size_of::<pg_sys::FunctionCallInfoBaseData>()
                + arguments.len() * size_of::<pg_sys::NullableDatum>();
            let call = pg_sys::palloc0(size).cast::<pg_sys::FunctionCallInfoBaseData>();
            (*call).flinfo = &mut info;
            (*call).fncollation = pg_sys::InvalidOid;
            (*call).nargs = arguments.len() as i16;
            let slots = (*call).args.as_mut_slice(arguments.len());
            for (slot, value) in slots.iter_mut().zip(arguments) {
                *slot = pg_sys::NullableDatum {
                    value,
                    isnull: false,
                };
            }
            if let Some(address) = info.fn_addr {
                pg_sys::ffi::pg_guard_ffi_boundary(|| address(call));
            }
            pg_sys::CommandCounterIncrement();
        }
        pinned.give_back();
        drop(rights);
    }
}
