//! The report as text, and what the run's history says about retries and speed.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use postgres::Client;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::steps::Report;

/// So many groups of near-identical texts, and so many texts of each, are printed.
const GROUPS: usize = 6;
const MEMBERS: usize = 4;

/// The output of the run, for reading.
pub fn text(output: &Value) -> Result<String> {
    let report = Report::deserialize(output).context("the run's output is no report")?;
    let vocabulary = &report.vocabulary;
    let mut text = format!(
        "The report: {} texts, {} lines, {} words\n\n  most frequent words (of each text's fifty)\n",
        vocabulary.documents, vocabulary.lines, vocabulary.words
    );
    let most = vocabulary.top_words.first().map_or(1, |(_, n)| *n);
    for (word, n) in &vocabulary.top_words {
        let _ = writeln!(text, "    {word:<16} {n:>6}  {}", "▇".repeat((n * 30).div_ceil(most)));
    }

    let _ = writeln!(text, "\n  licences named      texts  mentions");
    for licence in &report.licences {
        let _ = writeln!(text, "    {:<16} {:>6} {:>9}", licence.name, licence.documents, licence.mentions);
    }

    let copies: usize = report.duplicates.iter().map(Vec::len).sum();
    let _ = writeln!(text, "\n  near-identical texts: {copies} in {} groups", report.duplicates.len());
    for group in report.duplicates.iter().take(GROUPS) {
        let shown: Vec<&str> = group.iter().take(MEMBERS).map(|path| short(path)).collect();
        let more = if group.len() > MEMBERS { ", …" } else { "" };
        let _ = writeln!(text, "    {:>3} × {}{more}", group.len(), shown.join(", "));
    }
    if report.duplicates.len() > GROUPS {
        let _ = writeln!(text, "    and {} smaller groups", report.duplicates.len() - GROUPS);
    }
    Ok(text)
}

fn short(path: &str) -> &str {
    path.strip_prefix("/usr/share/doc/").unwrap_or(path)
}

/// What failed, and what became of it: every attempt is a row of its own.
pub fn retries(client: &mut Client, run_id: Uuid) -> Result<String> {
    let rows = client.query(
        "SELECT failed.step_slug, failed.task_index, failed.attempt, failed.status, failed.error_message,
                next.attempt AS next_attempt, next.status AS next_status,
                extract(epoch FROM next.started_at - failed.finished_at)::float8 AS wait
         FROM pgflow.step_tasks AS failed
         LEFT JOIN pgflow.step_tasks AS next
           ON (next.run_id, next.step_slug, next.task_index, next.attempt)
            = (failed.run_id, failed.step_slug, failed.task_index, failed.attempt + 1)
         WHERE failed.run_id = $1 AND failed.status IN ('failed', 'expired')
         ORDER BY failed.finished_at",
        &[&run_id],
    )?;
    let mut text = String::new();
    for row in &rows {
        let _ = write!(
            text,
            "\n  {}[{}] attempt {} {}: {}\n",
            row.try_get::<_, String>("step_slug")?,
            row.try_get::<_, i32>("task_index")?,
            row.try_get::<_, i32>("attempt")?,
            row.try_get::<_, String>("status")?,
            row.try_get::<_, Option<String>>("error_message")?.unwrap_or_default(),
        );
        if let (Some(attempt), Some(status), Some(wait)) = (
            row.try_get::<_, Option<i32>>("next_attempt")?,
            row.try_get::<_, Option<String>>("next_status")?,
            row.try_get::<_, Option<f64>>("wait")?,
        ) {
            let _ = writeln!(text, "  attempt {attempt} began {wait:.1} s later: {status}");
        }
    }
    Ok(text)
}

/// Tasks per second of the whole run and of its tasks that went through at once: the backoff of a
/// retry is waiting, not work.
pub fn throughput(client: &mut Client, run_id: Uuid) -> Result<String> {
    let row = client.query_one(
        "SELECT count(*) AS tasks,
                extract(epoch FROM run.finished_at - run.started_at)::float8 AS wall,
                count(*) FILTER (WHERE map.first) AS first_tasks,
                extract(epoch FROM max(task.finished_at) FILTER (WHERE map.first)
                                 - min(task.started_at) FILTER (WHERE map.first))::float8 AS first_wall
         FROM pgflow.runs AS run
         JOIN pgflow.step_tasks AS task ON task.run_id = run.run_id
         JOIN pgflow.steps AS step
           ON (step.flow_slug, step.flow_version, step.step_slug)
            = (run.flow_slug, run.flow_version, task.step_slug)
         CROSS JOIN LATERAL (SELECT step.step_type = 'map' AND task.attempt = 1) AS map(first)
         WHERE run.run_id = $1 AND task.status = 'completed'
         GROUP BY run.run_id",
        &[&run_id],
    )?;
    let (tasks, wall): (i64, f64) = (row.try_get("tasks")?, row.try_get("wall")?);
    let mut text =
        format!("Throughput: {tasks} tasks in {wall:.2} s, {:.0} tasks per second\n", tasks as f64 / wall);
    if let (tasks, Some(wall)) =
        (row.try_get::<_, i64>("first_tasks")?, row.try_get::<_, Option<f64>>("first_wall")?)
    {
        let rate = tasks as f64 / wall;
        let _ = writeln!(
            text,
            "  without the wait for the retry: {tasks} map tasks in {wall:.2} s, {rate:.0} per second"
        );
    }
    let workers = client.query(
        "SELECT worker_id, count(*) AS tasks FROM pgflow.step_tasks
         WHERE run_id = $1 AND status = 'completed' GROUP BY worker_id ORDER BY worker_id",
        &[&run_id],
    )?;
    for worker in &workers {
        let name: Option<String> = worker.try_get("worker_id")?;
        let _ =
            writeln!(text, "  {}: {} tasks", name.unwrap_or_default(), worker.try_get::<_, i64>("tasks")?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_report_is_readable() {
        let text = text(&json!({
            "vocabulary": {"documents": 3, "lines": 10, "words": 70, "top_words": [["license", 4], ["free", 1]]},
            "licences": [{"name": "GPL", "documents": 2, "mentions": 5}],
            "duplicates": [["/usr/share/doc/a/copyright", "/usr/share/doc/b/copyright"]],
        }))
        .unwrap();
        assert!(text.starts_with("The report: 3 texts, 10 lines, 70 words\n"));
        assert!(text.contains(&format!("free                  1  {}\n", "▇".repeat(8))));
        assert!(text.contains("GPL                   2         5\n"));
        assert!(text.contains("  2 × a/copyright, b/copyright\n"));
    }

    #[test]
    fn an_output_of_another_flow_is_refused() {
        assert!(text(&json!({"leaf": 1})).is_err());
    }
}
