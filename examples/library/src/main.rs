//! A whole program on top of pgflow: it defines a flow, starts runs of it, works them and shows them.
//!
//! To learn how a worker is written, read `worker.rs` (the claim and settle loop) and then `steps.rs`
//! (what is done for a task); `flow.json` is the flow itself. The other files only show things.

mod picture;
mod report;
mod steps;
mod watch;
mod worker;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use postgres::{Client, NoTls};
use serde_json::{Value, json};
use uuid::Uuid;

const FLOW: &str = include_str!("../flow.json");

const USAGE: &str = "\
usage: library start [MAX_DOCUMENTS]   define the flow, start a run and print its id
       library worker NAME             claim and do tasks until killed
       library watch RUN_ID            follow a run to its end
       library show RUN_ID             print a run: table, picture, report, throughput
DATABASE_URL says where the database is.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["start"] => start("400"),
        ["start", max_documents] => start(max_documents),
        ["worker", name] => connect().and_then(|client| worker::work(client, "library", name)),
        ["watch", run_id] => watch(run_id),
        ["show", run_id] => show(run_id),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("library: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn connect() -> Result<Client> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    Client::connect(&url, NoTls).context("cannot connect")
}

/// Defining the same flow again changes nothing, so every start may do it.
fn start(max_documents: &str) -> Result<()> {
    let max_documents: usize = max_documents.parse().context("MAX_DOCUMENTS is not a number")?;
    let mut client = connect()?;
    let flow: Value = serde_json::from_str(FLOW).context("flow.json")?;
    client.execute("SELECT pgflow.define_flow($1)", &[&flow])?;

    let payload = json!({
        "folders": ["/usr/share/common-licenses", "/usr/share/doc"],
        "max_documents": max_documents,
    });
    let run = client.query_one("SELECT pgflow.run_flow('library', $1)", &[&payload])?;
    println!("{}", run.try_get::<_, Uuid>(0)?);
    Ok(())
}

fn watch(run_id: &str) -> Result<()> {
    watch::follow(&mut connect()?, run_id.parse().context("RUN_ID")?, std::io::stdout().is_terminal())
}

fn show(run_id: &str) -> Result<()> {
    let run_id: Uuid = run_id.parse().context("RUN_ID")?;
    let mut client = connect()?;
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();

    let run: Value = client.query_one("SELECT pgflow.get_run($1)", &[&run_id])?.try_get(0)?;
    let (Some(flow), Some(version)) = (run["run"]["flow_slug"].as_str(), run["run"]["flow_version"].as_i64())
    else {
        bail!("get_run names no flow: {run}");
    };
    let version = i32::try_from(version)?;
    let graph: Value =
        client.query_one("SELECT pgflow.flow_graph($1, $2)", &[&flow, &version])?.try_get(0)?;

    print!("\nThe run, step by step:\n\n{}", watch::table(&watch::progress(&mut client, run_id)?));
    print!("{}", report::retries(&mut client, run_id)?);
    let picture = picture::Picture::new(&graph, &run)?;
    println!("\nThe run as a picture:\n\n{}", picture.draw(colour));
    println!("The same as Mermaid text:\n\n{}", picture.mermaid());
    println!("{}", report::text(&run["run"]["output"])?);
    print!("{}", report::throughput(&mut client, run_id)?);
    Ok(())
}
