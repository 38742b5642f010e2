//! Very many calls in one backend: its memory must level off.
//!
//! Each kind of calls has a backend of its own. What is measured is the memory that the kernel counts as the backend's
//! own (what it allocated, without shared buffers), after a warm-up and at the end. A leak is bytes for each call; what
//! caches and the allocator's slack need does not grow with the calls. The same calls in one transaction may keep some
//! memory until it ends: that is bounded for each call.

use std::time::Instant;

use crate::report::Report;
use crate::server::{Refusal, Server};

const TARGET: &str = "memory";

const SETUP: &str = include_str!("../sql/memory.sql");

/// A procedure of `SETUP`, the share of the calls that it makes in per cent, and the memory that its caches may fill.
const KINDS: &[(&str, i64, i64)] = &[
    ("tasks", 100, SLACK),
    ("batches", 100, SLACK),
    ("errors", 100, SLACK),
    // Versions are cached, and these have 40 steps each: a few say as much as many small ones, and cost as much.
    ("definitions", 5, 8 << 20),
    ("empty_flows", 100, SLACK),
    ("rest", 100, SLACK),
    ("unread", 100, SLACK),
];

/// What the allocator may hold back, and what a cache may take that is filled late.
const SLACK: i64 = 2 << 20;
/// Bytes a call may leave behind.
const PER_CALL: i64 = 8;
/// Bytes a call may keep until its transaction ends.
const PER_CALL_OF_A_TRANSACTION: i64 = 1024;

const CHUNKS: i64 = 25;

pub fn test(server: &mut Server, calls: u64, only: Option<&str>, report: &mut Report) -> Result<(), Refusal> {
    let calls = i64::try_from(calls).unwrap_or(i64::MAX);
    let wanted = || KINDS.iter().filter(|(kind, ..)| only.is_none_or(|only| only == *kind));
    server.execute(SETUP)?;
    for (kind, share, slack) in wanted() {
        levels_off(server, kind, calls * share / 100, *slack, report)?;
    }
    for (kind, _, slack) in wanted() {
        in_one_transaction(server, kind, (calls / 50).clamp(300, 2000), *slack, report)?;
    }
    server.execute("select pgflow.delete_flow(flow_slug, true) from pgflow.flows")
}

/// Calls in chunks, of which the first fifth warms up.
fn levels_off(server: &mut Server, kind: &str, calls: i64, slack: i64, report: &mut Report) -> Result<(), Refusal> {
    let begun = Instant::now();
    server.reconnect().map_err(|e| Refusal::from(&e))?;
    server.execute("set statement_timeout = 0")?;
    let chunk = (calls / CHUNKS).max(50);
    let mut sizes = Vec::new();
    for _ in 0..CHUNKS {
        server.execute(&format!("call fuzz.memory_{kind}({chunk})"))?;
        sizes.push(own_memory(server)?);
    }
    let curve: Vec<_> = sizes.iter().skip(4).step_by(4).map(|size| format!("{:.1}", mb(*size))).collect();
    let measured = sizes.split_off(sizes.len() / 5);
    let (Some(&warm), Some(&end)) = (sizes.last(), measured.last()) else { return Ok(()) };
    let calls = chunk * i64::try_from(measured.len()).unwrap_or(1);
    println!(
        "memory {kind}: {} calls in {:.1} s, MB from a fifth to the end: {}; {:+.1} bytes a call",
        chunk * CHUNKS,
        begun.elapsed().as_secs_f64(),
        curve.join(" "),
        (end - warm) as f64 / calls as f64,
    );
    let mut problems = server.drift()?;
    problems.extend(server.integrity()?);
    let bound = slack + PER_CALL * calls;
    if end - warm > bound {
        problems.push(format!("{} bytes more, {bound} are allowed", end - warm));
    }
    report.verdict(TARGET, kind, &problems);
    Ok(())
}

fn in_one_transaction(
    server: &mut Server,
    kind: &str,
    calls: i64,
    slack: i64,
    report: &mut Report,
) -> Result<(), Refusal> {
    server.reconnect().map_err(|e| Refusal::from(&e))?;
    server.execute("set statement_timeout = 0")?;
    // What the session keeps anyhow is there before.
    server.execute(&format!("call fuzz.memory_{kind}({calls})"))?;
    server.execute("begin")?;
    server.execute(&format!("call fuzz.memory_{kind}({calls}, false)"))?;
    let warm = own_memory(server)?;
    server.execute(&format!("call fuzz.memory_{kind}({}, false)", 2 * calls))?;
    let growth = own_memory(server)? - warm;
    let contexts = server.rows("select name, total_bytes from pg_backend_memory_contexts order by 2 desc limit 3")?;
    server.execute("rollback")?;
    let per_call = growth as f64 / (2 * calls) as f64;
    let largest: Vec<_> =
        contexts.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    println!("memory {kind} in one transaction: {per_call:.0} bytes a call (largest contexts: {})", largest.join(", "));
    let too_much = format!("{growth} bytes more for {} calls of a transaction", 2 * calls);
    let allowed = slack + PER_CALL_OF_A_TRANSACTION * 2 * calls;
    report.verdict(TARGET, kind, if growth > allowed { std::slice::from_ref(&too_much) } else { &[] });
    Ok(())
}

fn mb(bytes: i64) -> f64 {
    bytes as f64 / 1e6
}

/// The backend's memory but for shared memory and files.
fn own_memory(server: &mut Server) -> Result<i64, Refusal> {
    let sql = "select 1024 * substring(pg_read_file('/proc/self/status') from 'RssAnon:\\s*(\\d+)')::bigint";
    Ok(server.value(sql)?.and_then(|text| text.parse().ok()).unwrap_or_default())
}
