//! Supabase Realtime, where there is one: `realtime.send(payload jsonb, event text, topic text, private boolean)`.
//!
//! It is code of others. It runs with the rights of its own owner, as a security-restricted operation: it can leave
//! nothing behind that would run later with somebody else's rights. What it sets is undone. It is called only if a
//! superuser owns its schema: else whoever may create schemas could plant one and be told what the runs of others return.

use pgrx::pg_sys;

use super::changes::Message;
use super::function::{self, Call, Function};
use super::pinned::Pinned;
use super::role::Rights;
use super::subtransaction;

/// `realtime.send`.
pub struct Sender(Function);

/// The function, if it exists and its schema belongs to a superuser.
pub fn sender() -> Option<Sender> {
    const ARGUMENTS: [pg_sys::Oid; 4] = [
        pg_sys::JSONBOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::BOOLOID,
    ];
    let (schema, owner) = function::schema(c"realtime")?;
    // SAFETY: a system cache look-up.
    if !unsafe { pg_sys::superuser_arg(owner) } {
        return None;
    }
    function::find(schema, c"send", &ARGUMENTS).map(Sender)
}

/// Sends messages in their order, all or none of them. An error, with its message, when the function failed and was
/// undone.
pub fn send(sender: &Sender, messages: &[Message]) -> Result<(), String> {
    let sent = subtransaction::shield(|| {
        let pinned = Pinned::settings();
        let rights = Rights::take(
            sender.0.owner,
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION,
        );
        let mut call = Call::of(sender.0.oid);
        for message in messages {
            // SAFETY: these are the arguments that `sender` has looked for. An error ends the subtransaction, and the
            // settings with it; the rights come back when they are dropped.
            unsafe {
                call.with(&[
                    message.payload,
                    message.event,
                    message.topic,
                    pg_sys::Datum::from(message.is_private),
                ])
            };
        }
        drop(rights);
        pinned.give_back();
        // SAFETY: what follows sees what the function wrote.
        unsafe { pg_sys::CommandCounterIncrement() };
        Ok(())
    });
    sent.map_err(|undone| undone.message)
}
