//! Batches of results over live runs, most of them mutated.
//!
//! The contract says which elements are well-formed; [`judge`] reads it independently of the engine. A batch of
//! well-formed elements is settled, with receipts in number and order of its elements, and whoever holds a task is
//! heard, whatever stands beside. A batch with a malformed one is refused with the JSON path of one that is malformed.

use std::collections::{HashMap, HashSet};

use pgflow_model_test::generate::{Plan, generate};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::json::{Json, decoded};
use crate::report::{self, Report};
use crate::server::{REFUSALS, Refusal, Server, literal};

const TARGET: &str = "settle";
const MOST: usize = 1000;

/// A task that is claimed.
struct Task {
    run: String,
    step: String,
    index: String,
    lease: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Well,
    Malformed,
    /// The contract does not say.
    Unsaid,
}

pub fn fuzz(server: &mut Server, seed: u64, batches: u64, report: &mut Report) -> Result<(), Refusal> {
    for (name, text) in report::files(TARGET) {
        replay(server, report, &name, &text)?;
    }
    let mut old = Vec::new();
    for n in 0..batches {
        if n % 100 == 0 {
            server.execute("select pgflow.delete_flow(flow_slug, true) from pgflow.flows")?;
            start_runs(server, seed.wrapping_add(n))?;
        }
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(n).rotate_left(20));
        let held = claim(server)?;
        if held.len() < 10 {
            start_runs(server, seed.wrapping_add(n).wrapping_add(1 << 40))?;
        }
        let batch = batch(&mut rng, &held, &old);
        let name = format!("found-{}.json", seed.wrapping_add(n));
        match settle(server, &mut rng, &batch, &held) {
            Ok(Ok(outcome)) => {
                report.outcome(&outcome);
                report.pass();
            }
            Ok(Err(problem)) => report.fail(TARGET, &name, &problem, &batch.to_string()),
            Err(refusal) => {
                report.fail(TARGET, &name, &refusal.to_string(), &batch.to_string());
                server.reconnect().map_err(|e| Refusal::from(&e))?;
            }
        }
        old.extend(held.into_iter().take(3));
        let excess = old.len().saturating_sub(50);
        old.drain(..excess);
        let mut problems = server.drift()?;
        if n % 25 == 24 {
            problems.extend(server.integrity()?);
        }
        for problem in problems {
            report.fail(TARGET, &name, &problem, &batch.to_string());
        }
    }
    server.execute("select pgflow.delete_flow(flow_slug, true) from pgflow.flows")
}

/// A kept batch, for which no runs are there: it is refused as what it is, or all its tasks are unknown.
fn replay(server: &mut Server, report: &mut Report, name: &str, text: &str) -> Result<(), Refusal> {
    let batch = format!("{}::jsonb", literal(text));
    if server.execute(&format!("select {batch}")).is_err() {
        report.outcome("no jsonb");
        return Ok(());
    }
    for call in [format!("settle_step_tasks({batch})"), format!("settle_and_claim({batch}, 'q_0')")] {
        match server.rows(&format!("select * from pgflow.{call}")) {
            Err(refusal) if refusal.code != "22023" => report.fail(TARGET, name, &refusal.to_string(), text),
            _ => report.pass(),
        }
    }
    Ok(())
}

fn start_runs(server: &mut Server, seed: u64) -> Result<(), Refusal> {
    for seed in seed..seed + 8 {
        let (flow, plans) = generate(seed, "s");
        let document = literal(&flow.definition("q_").to_string());
        server.execute(&format!("select pgflow.define_flow({document})"))?;
        for Plan { payload, .. } in plans.iter().cycle().take(6) {
            let payload = literal(&payload.to_string());
            server.execute(&format!("select pgflow.run_flow('{}', {payload})", flow.slug))?;
        }
    }
    Ok(())
}

/// Claims some more, and says which tasks are held.
fn claim(server: &mut Server) -> Result<Vec<Task>, Refusal> {
    server.execute(
        "select pgflow.claim_step_tasks(q, 12) \
         from (select distinct queue as q from pgflow.live_tasks where status = 'ready' and executor = 'worker') q",
    )?;
    let sql = "select l.run_id, l.step_slug, l.task_index, l.lease from pgflow.live_tasks l \
               join pgflow.runs r using (run_id) where l.status = 'started' and l.lease is not null \
               and r.status = 'started' order by 1, 2, 3";
    let rows = server.rows(sql)?.into_iter().filter_map(|row| match <[Option<String>; 4]>::try_from(row) {
        Ok([Some(run), Some(step), Some(index), Some(lease)]) => Some(Task { run, step, index, lease }),
        _ => None,
    });
    Ok(rows.collect())
}

fn batch(rng: &mut StdRng, held: &[Task], old: &[Task]) -> Json {
    let size = match rng.random_range(0..60) {
        0 => *[0, 999, 1000, 1001, 5000].choose(rng).unwrap_or(&0),
        1..20 => rng.random_range(1..=3),
        _ => rng.random_range(1..=12),
    };
    let mutated = rng.random_bool(0.7);
    let element = |rng: &mut StdRng| {
        let tasks = if rng.random_bool(0.85) { held } else { old };
        let mut element = match tasks.choose(rng) {
            Some(task) if rng.random_bool(0.96) => element(rng, task),
            _ => stranger(rng),
        };
        if mutated && rng.random_bool(0.25) {
            (0..rng.random_range(1..=2)).for_each(|_| element.mutate(rng));
        }
        element
    };
    let mut batch = Json::Array((0..size).map(|_| element(rng)).collect());
    if mutated && rng.random_bool(0.05) {
        batch.mutate(rng);
    }
    batch
}

fn object(fields: &[(&str, String)]) -> Json {
    Json::Object(fields.iter().map(|(k, v)| (format!("\"{k}\""), Json::Scalar(v.clone()))).collect())
}

fn element(rng: &mut StdRng, task: &Task) -> Json {
    let quoted = |text: &str| Json::string(text).to_string();
    let mut fields = vec![("run_id", quoted(&task.run)), ("step_slug", quoted(&task.step))];
    if task.index != "0" || rng.random_bool(0.8) {
        fields.push(("task_index", task.index.clone()));
    }
    match rng.random_range(0..12) {
        0 => fields.push(("lease", "1".to_owned())),
        1 => {}
        _ => fields.push(("lease", task.lease.clone())),
    }
    match rng.random_range(0..10) {
        0 => fields.push(("release", "true".to_owned())),
        1 => fields.push(("error_message", quoted("100 % of it\nfailed"))),
        2 => fields.extend([("error_message", quoted("")), ("retry_after", "0".to_owned())]),
        3 if rng.random_bool(0.3) => {
            fields.extend([("error_message", quoted("no")), ("retryable", "false".to_owned())]);
        }
        4 => {}
        5 => fields.push(("output", "null".to_owned())),
        6 => fields.push(("output", "[1, {\"k\": [2, 1e400]}]".to_owned())),
        _ => fields.push(("output", "[{\"k\": 0}, \"na\u{ef}ve\", null]".to_owned())),
    }
    object(&fields)
}

/// A well-formed element for a task that nobody has.
fn stranger(rng: &mut StdRng) -> Json {
    let run =
        *["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"].choose(rng).unwrap_or(&"");
    let step = *["", "s0", "run", "'\"%s\\", "🦆"].choose(rng).unwrap_or(&"");
    let index = *["0", "-1", "2147483647", "-2147483648"].choose(rng).unwrap_or(&"0");
    let fields = [
        ("run_id", Json::string(run)),
        ("step_slug", Json::string(step)),
        ("task_index", Json::Scalar(index.to_owned())),
    ];
    Json::Object(fields.into_iter().map(|(k, v)| (format!("\"{k}\""), v)).collect())
}

/// What the contract says of an element by itself.
fn judge(element: &Json) -> Form {
    use Form::{Malformed, Unsaid, Well};
    let Json::Object(fields) = element else {
        let nested = matches!(element, Json::Scalar(text) if text.starts_with('{'));
        return if nested { Unsaid } else { Malformed };
    };
    let mut verdicts = vec![];
    for key in fields.iter().map(|(k, _)| k) {
        let Some(name) = decoded(key) else { return Unsaid };
        let Some(value) = element.field(&name) else { return Unsaid };
        let raw = value.to_string();
        let is_string = raw.starts_with('"');
        let integer = |fits: fn(&str) -> bool| match raw.as_bytes().first() {
            _ if fits(&raw) => Well,
            Some(b'0'..=b'9' | b'-') if raw.contains(['.', 'e']) => Unsaid,
            Some(b'n') => Unsaid,
            _ => Malformed,
        };
        verdicts.push(match name.as_str() {
            "run_id" => match value.text() {
                Some(text) if is_uuid(&text) => Well,
                Some(text) if text.chars().filter(char::is_ascii_hexdigit).count() == 32 => Unsaid,
                _ => Malformed,
            },
            "step_slug" | "error_message" if is_string => Well,
            "error_message" if raw == "null" => Unsaid,
            "step_slug" | "error_message" => Malformed,
            "task_index" => integer(|raw| raw.parse::<i32>().is_ok()),
            "lease" => integer(|raw| raw.parse::<i64>().is_ok()),
            "retry_after" if raw.starts_with('-') && !raw.trim_start_matches(['-', '0']).is_empty() => Malformed,
            "retry_after" => {
                integer(|raw| raw.parse::<i32>().is_ok_and(|seconds| (0..=1_000_000_000).contains(&seconds)))
            }
            "retryable" | "release" if ["true", "false"].contains(&raw.as_str()) => Well,
            "retryable" | "release" if raw == "null" => Unsaid,
            "output" => Well,
            _ => Malformed,
        });
    }
    let has = |name| element.field(name).is_some();
    if !has("run_id") || !has("step_slug") {
        return Malformed;
    }
    let released = element.field("release").is_some_and(|r| r.to_string() == "true");
    if usize::from(has("output")) + usize::from(has("error_message")) + usize::from(released) > 1 {
        verdicts.push(Malformed);
    }
    if (has("retryable") || has("retry_after")) && !has("error_message") {
        verdicts.push(Unsaid);
    }
    [Malformed, Unsaid].into_iter().find(|form| verdicts.contains(form)).unwrap_or(Well)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(n, c)| if [8, 13, 18, 23].contains(&n) { c == '-' } else { c.is_ascii_hexdigit() })
}

fn settle(
    server: &mut Server,
    rng: &mut StdRng,
    batch: &Json,
    held: &[Task],
) -> Result<Result<String, String>, Refusal> {
    let text = batch.to_string();
    let argument = format!("{}::jsonb", literal(&text));
    if text.contains('\0') || server.execute(&format!("select {argument}")).is_err() {
        return Ok(Ok("no jsonb".to_owned()));
    }
    let elements = match batch {
        Json::Array(elements) => elements.as_slice(),
        _ => &[],
    };
    let forms: Vec<Form> = elements.iter().map(judge).collect();
    let and_claims = rng.random_bool(0.3);
    let call = if and_claims {
        format!("select step_slug from pgflow.settle_and_claim({argument}, 'q_1', 5)")
    } else {
        format!(
            "select run_id, step_slug, task_index, accepted, task_status, step_status, run_status from pgflow.settle_step_tasks({argument})"
        )
    };
    let watched = rng.random_bool(0.05);
    let before = if watched { server.value("select fuzz.digest()")? } else { None };
    let rows = match server.rows(&call) {
        Ok(rows) => rows,
        Err(refusal) if refusal.fatal || !REFUSALS.contains(&refusal.code.as_str()) => return Err(refusal),
        Err(refusal) => {
            if watched && server.value("select fuzz.digest()")? != before {
                return Ok(Err(format!("refused ({refusal}), but something changed")));
            }
            return Ok(refused(&refusal, batch, &forms));
        }
    };
    if !matches!(batch, Json::Array(_)) || elements.len() > MOST {
        return Ok(Err(format!("accepted, although there are {} elements", elements.len())));
    }
    if let Some(n) = forms.iter().position(|form| *form == Form::Malformed) {
        return Ok(Err(format!("accepted, although $[{n}] is malformed: {}", elements[n])));
    }
    if and_claims {
        return Ok(Ok("settled and claimed".to_owned()));
    }
    Ok(receipts(elements, &rows, held))
}

fn refused(refusal: &Refusal, batch: &Json, forms: &[Form]) -> Result<String, String> {
    let path = refusal.message.split_once('$').map(|(_, path)| path);
    let place = path.and_then(|path| path.strip_prefix('[')?.split_once(']')?.0.parse::<usize>().ok());
    let right = match (refusal.code.as_str(), path, place) {
        ("22023", Some(_), _) if !matches!(batch, Json::Array(_)) => true,
        ("22023", Some(_), Some(n)) => forms.get(n).is_some_and(|form| *form != Form::Well),
        ("22023", Some(_), None) => forms.len() > MOST,
        _ => false,
    };
    if !right {
        return Err(format!("refused without a reason: {refusal}"));
    }
    if refusal.message.len() > 2000 || refusal.message.chars().any(char::is_control) {
        return Err(format!("the message is not one short line: {refusal}"));
    }
    Ok(refusal.code.clone())
}

/// Receipts stand in the order of the elements, and the holders of tasks are heard.
fn receipts(elements: &[Json], rows: &[Vec<Option<String>>], held: &[Task]) -> Result<String, String> {
    if rows.len() != elements.len() {
        return Err(format!("{} receipts of {} elements", rows.len(), elements.len()));
    }
    let key = |t: &Task| (t.run.clone(), t.step.clone(), t.index.clone());
    let held: HashMap<_, _> = held.iter().map(|task| (key(task), task.lease.clone())).collect();
    let mut won = HashSet::new();
    for (n, (element, row)) in elements.iter().zip(rows).enumerate() {
        let text = |name| element.field(name).and_then(Json::text).unwrap_or_default();
        let number = |name| element.field(name).map(Json::to_string).filter(|text| text != "null");
        let [Some(run), Some(step), Some(index), Some(accepted), ..] = row.as_slice() else {
            return Err(format!("receipt {n} has nulls: {row:?}"));
        };
        let wanted = number("task_index").unwrap_or("0".to_owned());
        let wanted = wanted.parse::<i64>().map_or(wanted, |wanted| wanted.to_string());
        let same_run = run.replace('-', "") == text("run_id").to_ascii_lowercase().replace(['-', '{', '}'], "");
        if !same_run || *step != text("step_slug") || (*index != wanted && !wanted.contains(['.', 'e'])) {
            return Err(format!("receipt {n} is not about element {n}, {element}: {row:?}"));
        }
        let task = (run.clone(), step.clone(), index.clone());
        let lease = number("lease");
        let mine = held.get(&task).is_some_and(|of| lease.as_ref().is_none_or(|lease| lease == of));
        // Of two for one task the first wins; without a lease it may be a task that nobody has claimed.
        let expected = mine && won.insert(task);
        if expected != (accepted == "t") && (expected || lease.is_some()) {
            let why =
                if expected { "although the task is held" } else { "although the task is not, or no longer, held" };
            return Err(format!("element {n}, {element}, is answered {row:?}, {why}"));
        }
    }
    Ok("settled".to_owned())
}
