//! Supabase Realtime, where there is one: `realtime.send(payload jsonb, event text, topic text, private boolean)`.
//!
//! It is code of others. It runs with the rights of its own owner, as a security-restricted operation: it can leave
//! nothing behind that would run later with somebody else's rights. What it sets is undone. It is called only if a
//! superuser owns its schema: else whoever may create schemas could plant one and be told what the runs of others return.

use std::ffi::c_int;

use pgrx::pg_sys;

use super::changes::Message;
use super::pinned::Pinned;
use super::role::Rights;
use super::subtransaction;

/// `realtime.send`, and whose it is.
pub struct Sender {
    function: pg_sys::Oid,
    owner: pg_sys::Oid,
}

/// The function, if it exists and its schema belongs to a superuser.
pub fn sender() -> Option<Sender> {
    const ARGUMENTS: [pg_sys::Oid; 4] = [
        pg_sys::JSONBOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::BOOLOID,
    ];
    // SAFETY: system cache look-ups; each tuple is released before the function returns.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"realtime".as_ptr(), true);
        if schema == pg_sys::InvalidOid || !pg_sys::superuser_arg(owner_of_schema(schema)?) {
            return None;
        }
        let arguments = pg_sys::buildoidvector(ARGUMENTS.as_ptr(), ARGUMENTS.len() as c_int);
        let tuple = pg_sys::SearchSysCache3(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as c_int,
            pg_sys::Datum::from(c"send".as_ptr()),
            pg_sys::Datum::from(arguments),
            pg_sys::Datum::from(schema),
        );
        if tuple.is_null() {
            return None;
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
        let fits = form.prokind == pg_sys::PROKIND_FUNCTION as std::ffi::c_char && !form.proretset;
        let sender = Sender {
            function: form.oid,
            owner: form.proowner,
        };
        pg_sys::ReleaseSysCache(tuple);
        fits.then_some(sender)
    }
}

/// # Safety
///
/// In a transaction.
unsafe fn owner_of_schema(schema: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a system cache look-up; the tuple is released before the function returns.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::NAMESPACEOID as c_int,
            pg_sys::Datum::from(schema),
        );
        if tuple.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_namespace>()).nspowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}

/// Sends messages in their order, all or none of them. An error, with its message, when the function failed and was
/// undone.
pub fn send(sender: &Sender, messages: &[Message]) -> Result<(), String> {
    let sent = subtransaction::shield(|| {
        let pinned = Pinned::settings();
        let rights = Rights::take(
            sender.owner,
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION,
        );
        // SAFETY: the function is what `sender` has found. An error ends the subtransaction, and the settings with it; the
        // rights come back when they are dropped.
        unsafe { call_for_each(sender.function, messages) };
        drop(rights);
        pinned.give_back();
        // SAFETY: what follows sees what the function wrote.
        unsafe { pg_sys::CommandCounterIncrement() };
        Ok(())
    });
    sent.map_err(|undone| undone.message)
}

/// # Safety
///
/// The function takes a jsonb, two texts and a boolean, and returns no set.
unsafe fn call_for_each(function: pg_sys::Oid, messages: &[Message]) {
    // SAFETY: the call info is what fmgr.h asks for, with room for four arguments.
    unsafe {
        let mut info = pg_sys::FmgrInfo::default();
        pg_sys::fmgr_info(function, &mut info);
        let size =
            size_of::<pg_sys::FunctionCallInfoBaseData>() + 4 * size_of::<pg_sys::NullableDatum>();
        let call = pg_sys::palloc0(size).cast::<pg_sys::FunctionCallInfoBaseData>();
        for message in messages {
            (*call).flinfo = &mut info;
            (*call).fncollation = pg_sys::DEFAULT_COLLATION_OID;
            (*call).isnull = false;
            (*call).nargs = 4;
            let values = [
                message.payload,
                message.event,
                message.topic,
                pg_sys::Datum::from(message.is_private),
            ];
            let arguments = (*call).args.as_mut_slice(values.len());
            for (argument, value) in arguments.iter_mut().zip(values) {
                *argument = pg_sys::NullableDatum {
                    value,
                    isnull: false,
                };
            }
            if let Some(address) = info.fn_addr {
                pg_sys::ffi::pg_guard_ffi_boundary(|| address(call));
            }
        }
    }
}
