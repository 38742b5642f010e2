//! Work that may fail without failing the call.
//!
//! Used where PostgreSQL itself has the last word and cannot be asked before: a value too large to build, a row lock
//! that someone else holds. Everything done inside is undone, locks included, when it fails with a code in `expected`;
//! any other error goes on.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};

use crate::error::Result;

/// The row is locked by someone else (`FOR UPDATE NOWAIT`).
pub const LOCK_NOT_AVAILABLE: PgSqlErrorCode = PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE;
/// A jsonb or a tuple over the limits of PostgreSQL.
pub const PROGRAM_LIMIT_EXCEEDED: PgSqlErrorCode = PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED;

/// Runs `work` in a subtransaction. `Ok(Err(message))` when it failed with an expected code and was undone.
pub fn attempt<T>(
    expected: &[PgSqlErrorCode],
    work: impl FnOnce() -> Result<T>,
) -> Result<std::result::Result<T, String>> {
    // SAFETY: the pattern of plpgsql's exception blocks: memory context and resource owner are put back on both ways
    // out, and the subtransaction is ended exactly once.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);

        #[allow(clippy::result_large_err)]
        let outcome = PgTryBuilder::new(AssertUnwindSafe(|| Ok(work())))
            .catch_others(Err)
            .catch_rust_panic(Err)
            .execute();

        if matches!(outcome, Ok(Ok(_))) {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        match outcome {
            Ok(done) => done.map(Ok),
            Err(CaughtError::PostgresError(report))
                if expected.contains(&report.sql_error_code()) =>
            {
                Ok(Err(report.message().to_owned()))
            }
            // Only now: whoever catches it further out must not find a subtransaction that nobody ends.
            Err(unexpected) => unexpected.rethrow(),
        }
    }
}
