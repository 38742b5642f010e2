//! `pgflow-live` lets browsers watch the runs of pgflow: as server-sent events, over a WebSocket as the clients of Supabase
//! Realtime expect it, and on a page of its own. It also calls the functions of schema `pgflow` for them, as PostgREST
//! does.
//!
//! ```text
//!  NOTIFY pgflow_events ── feed ──ring──> watches ──look, as the caller──> PostgreSQL
//!                                            │ snapshots
//!                              ┌─────────────┼──────────────┐
//!                            events        socket       (many of each)
//!                      server-sent events  Phoenix
//! ```
//!
//! A notification is only a bell: it says which steps of which run to look at. What has happened is read from the tables,
//! by each watcher's own role and claims, so that row-level security decides who learns what, and a change that nobody
//! rang for (a lost connection, a flow that is not published) is found by the next look. [`snapshot`] makes messages of
//! the difference between two looks.
//!
//! It keeps nothing: any number of them may run beside each other, and one may be restarted at any time.

mod connections;
mod database;
mod events;
mod failure;
mod feed;
mod keys;
mod lists;
mod options;
mod page;
mod phoenix;
mod rpc;
mod server;
mod snapshot;
mod socket;
mod token;
mod watches;

use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(options.log_level())
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error),
    };
    match runtime.block_on(server::serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(error.as_ref()),
    }
}

fn complain(error: &dyn std::error::Error) -> ExitCode {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text: Vec<String> = causes.map(ToString::to_string).collect();
    tracing::error!("{}", text.join(": "));
    ExitCode::FAILURE
}
