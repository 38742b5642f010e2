//! Following a run: how far each step is, read from the tables anybody may read.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use postgres::Client;
use uuid::Uuid;

const REDRAW: Duration = Duration::from_millis(100);
/// A line a second is enough for a log.
const LOG: Duration = Duration::from_secs(1);
/// When nothing moves for so long, nobody works.
const STALLED: Duration = Duration::from_secs(120);

/// Where one step of a run stands.
#[derive(Clone, PartialEq)]
pub struct Progress {
    step_slug: String,
    step_type: String,
    status: String,
    tasks: i64,
    done: i64,
    attempts: i64,
    failed_attempts: i64,
    seconds: Option<f64>,
}

pub fn progress(client: &mut Client, run_id: Uuid) -> Result<Vec<Progress>> {
    let rows = client.query(
        "SELECT state.step_slug, step.step_type, state.status,
                coalesce(state.initial_tasks, 0)::bigint AS tasks,
                count(*) FILTER (WHERE task.status = 'completed') AS done,
                count(task.attempt) AS attempts,
                count(*) FILTER (WHERE task.status IN ('failed', 'expired')) AS failed_attempts,
                extract(epoch FROM state.finished_at - state.started_at)::float8 AS seconds
         FROM pgflow.runs AS run
         JOIN pgflow.step_states AS state ON state.run_id = run.run_id
         JOIN pgflow.steps AS step
           ON (step.flow_slug, step.flow_version, step.step_slug)
            = (run.flow_slug, run.flow_version, state.step_slug)
         LEFT JOIN pgflow.step_tasks AS task
           ON (task.run_id, task.step_slug) = (state.run_id, state.step_slug)
         WHERE run.run_id = $1
         GROUP BY state.run_id, state.step_slug, step.step_index, step.step_type
         ORDER BY step.step_index",
        &[&run_id],
    )?;
    rows.iter()
        .map(|row| {
            Ok(Progress {
                step_slug: row.try_get("step_slug")?,
                step_type: row.try_get("step_type")?,
                status: row.try_get("status")?,
                tasks: row.try_get("tasks")?,
                done: row.try_get("done")?,
                attempts: row.try_get("attempts")?,
                failed_attempts: row.try_get("failed_attempts")?,
                seconds: row.try_get("seconds")?,
            })
        })
        .collect()
}

/// Shows the run's progress until it has ended: redrawn in place on a terminal, else as lines.
pub fn follow(client: &mut Client, run_id: Uuid, terminal: bool) -> Result<()> {
    let begin = Instant::now();
    let mut last = Vec::new();
    let mut moved = begin;
    let mut logged = None;
    loop {
        // Read before the steps, so that the last picture shows all of them ended.
        let run = client
            .query_opt("SELECT status, error_message FROM pgflow.runs WHERE run_id = $1", &[&run_id])?;
        let Some(run) = run else { bail!("there is no run {run_id}") };
        let status: String = run.try_get("status")?;
        let ended = !matches!(status.as_str(), "pending" | "started");

        let now = progress(client, run_id)?;
        if terminal {
            print!("{}{}", up(last.len()), bars(&now));
        } else if (now != last && logged.is_none_or(|at: Instant| at.elapsed() >= LOG)) || ended {
            println!("{:6.1} s  {}", begin.elapsed().as_secs_f64(), line(&now));
            logged = Some(Instant::now());
        }
        stdout().flush()?;

        if ended {
            let reason: Option<String> = run.try_get("error_message")?;
            return match status.as_str() {
                "completed" => Ok(()),
                _ => bail!("the run is {status}: {}", reason.unwrap_or_default()),
            };
        }
        if now != last {
            moved = Instant::now();
        } else if moved.elapsed() > STALLED {
            bail!("nothing has moved for {} s; does any worker run?", STALLED.as_secs());
        }
        last = now;
        sleep(REDRAW);
    }
}

/// Takes the cursor back over what was drawn before.
fn up(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
}

fn bars(steps: &[Progress]) -> String {
    const WIDTH: i64 = 30;
    let mut text = String::new();
    for step in steps {
        let full = (step.done * WIDTH).checked_div(step.tasks).unwrap_or(0).clamp(0, WIDTH) as usize;
        let (bar, rest) = ("█".repeat(full), "░".repeat(WIDTH as usize - full));
        let done = format!("{}/{}", step.done, step.tasks);
        let _ =
            writeln!(text, "  {:<12} {bar}{rest} {done:>9}  {}{}", step.step_slug, step.status, failed(step));
    }
    text
}

fn line(steps: &[Progress]) -> String {
    let parts: Vec<String> = steps
        .iter()
        .filter(|step| step.status != "pending")
        .map(|step| format!("{} {}/{}{}", step.step_slug, step.done, step.tasks, failed(step)))
        .collect();
    if parts.is_empty() { "nothing has begun".to_owned() } else { parts.join(" · ") }
}

fn failed(step: &Progress) -> String {
    match step.failed_attempts {
        0 => String::new(),
        1 => " (1 attempt failed)".to_owned(),
        n => format!(" ({n} attempts failed)"),
    }
}

/// The steps of a run as a table.
pub fn table(steps: &[Progress]) -> String {
    let mut rows = vec![["step", "type", "status", "tasks", "attempts", "duration"].map(str::to_owned)];
    rows.extend(steps.iter().map(|step| {
        [
            step.step_slug.clone(),
            step.step_type.clone(),
            step.status.clone(),
            step.tasks.to_string(),
            step.attempts.to_string(),
            step.seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{:.0} ms", seconds * 1000.0)),
        ]
    }));
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        text.push(' ');
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Words to the left, numbers to the right.
            let _ =
                if column < 3 { write!(text, " {cell:<width$} ") } else { write!(text, " {cell:>width$} ") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        if i == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            let _ = writeln!(text, "  {}", rules.join("  "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(slug: &str, tasks: i64, done: i64, attempts: i64) -> Progress {
        Progress {
            step_slug: slug.to_owned(),
            step_type: "map".to_owned(),
            status: "started".to_owned(),
            tasks,
            done,
            attempts,
            failed_attempts: attempts - done,
            seconds: Some(0.25),
        }
    }

    #[test]
    fn progress_reads_well_in_a_log_and_on_a_terminal() {
        let steps = [step("scan", 1, 1, 1), step("analyse", 30, 10, 11), step("empty", 0, 0, 0)];
        assert_eq!(line(&steps), "scan 1/1 · analyse 10/30 (1 attempt failed) · empty 0/0");
        assert!(bars(&steps).contains(&format!("{}{}     10/30", "█".repeat(10), "░".repeat(20))));
    }

    #[test]
    fn the_table_lines_up() {
        assert_eq!(
            table(&[step("scan", 1, 1, 1), step("analyse", 300, 300, 301)]),
            "  step     type  status   tasks  attempts  duration\n  \
               ───────  ────  ───────  ─────  ────────  ────────\n  \
               scan     map   started      1         1    250 ms\n  \
               analyse  map   started    300       301    250 ms\n"
        );
    }
}
