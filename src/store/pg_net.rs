//! pg_net, where there is one: the extension that sends requests when the transaction that asked for them commits.
//!
//! It is code of others: its function is called with the rights of that function's owner, and no more than a
//! security-restricted operation may do; the names in it are looked up where nobody can plant any, and what it sets does
//! not last. Only the function that belongs to extension pg_net is called: whoever makes a schema of that name, or puts
//! another function there, is handed nothing.

use pgrx::{IntoDatum, pg_sys};

use super::function::{self, Call, Function};
use super::pinned::Pinned;
use super::role::Rights;
use super::value::Json;

/// `net.http_post`.
#[derive(Debug, Clone, Copy)]
pub struct Post(Function);

/// The function that sends a request, if this database has it.
pub fn find() -> Option<Post> {
    // url, body, params, headers, timeout_milliseconds.
    const ARGUMENTS: [pg_sys::Oid; 5] = [
        pg_sys::TEXTOID,
        pg_sys::JSONBOID,
        pg_sys::JSONBOID,
        pg_sys::JSONBOID,
        pg_sys::INT4OID,
    ];
    let (schema, _) = function::schema(c"net")?;
    let post = function::find(schema, c"http_post", &ARGUMENTS)?;
    // SAFETY: catalog look-ups.
    let (extension, belongs_to) = unsafe {
        (
            pg_sys::get_extension_oid(c"pg_net".as_ptr(), true),
            pg_sys::getExtensionOfObject(pg_sys::ProcedureRelationId, post.oid),
        )
    };
    (extension != pg_sys::InvalidOid && belongs_to == extension).then_some(Post(post))
}

impl Post {
    /// Has the request sent when the transaction commits. Errors leave as PostgreSQL's own.
    pub fn send(self, url: &str, body: Json, parameters: Json, headers: Json, timeout_ms: i32) {
        let restricted =
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
        let rights = Rights::take(self.0.owner, restricted);
        let pinned = Pinned::settings();
        let arguments = [
            url.into_datum().unwrap_or_else(pg_sys::Datum::null),
            body.0,
            parameters.0,
            headers.0,
            pg_sys::Datum::from(timeout_ms),
        ];
        // SAFETY: the function takes these five arguments, see `find`. What it returns is an id that nobody asks for.
        unsafe {
            Call::of(self.0.oid).with(&arguments);
            pg_sys::CommandCounterIncrement();
        }
        pinned.give_back();
        drop(rights);
    }
}
