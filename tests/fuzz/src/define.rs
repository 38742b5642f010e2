//! Documents for `define_flow`: random valid ones and what mutations make of them.
//!
//! Either the flow is stored as the document says, read back through `flow_graph` and compared with what
//! docs/definition.md makes of the document, and the same document again changes nothing; or the document is refused
//! with a JSON path, and nothing is stored. What PostgreSQL does not take as jsonb is no input.

use pgflow_model_test::generate::generate;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::json::Json;
use crate::report::{self, Report};
use crate::server::{REFUSALS, Refusal, Server, literal};

const TARGET: &str = "define";
/// A limit that the documentation names.
const MOST_STEPS: usize = 20_000;

pub fn fuzz(server: &mut Server, seed: u64, documents: u64, report: &mut Report) -> Result<(), Refusal> {
    for (name, text) in report::files(TARGET) {
        document(server, report, &name, &text, false)?;
    }
    for n in 0..documents {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(n));
        let (mut tree, too_large) = valid(&mut rng, seed.wrapping_add(n));
        let mutations = *[0, 1, 1, 2, 4, 12].choose(&mut rng).unwrap_or(&1);
        (0..mutations).for_each(|_| tree.mutate(&mut rng));
        let name = format!("found-{}.json", seed.wrapping_add(n));
        document(server, report, &name, &tree.to_string(), mutations == 0 && !too_large)?;
        if n % 200 == 199 {
            for problem in server.integrity()? {
                report.fail(TARGET, &name, &format!("check_integrity: {problem}"), &tree.to_string());
            }
            server.execute("select pgflow.delete_flow(flow_slug, true) from pgflow.flows")?;
        }
    }
    server.execute("select pgflow.delete_flow(flow_slug, true) from pgflow.flows")
}

/// A document with every field in it somewhere, and whether it has more steps than a flow may have.
fn valid(rng: &mut StdRng, seed: u64) -> (Json, bool) {
    // Few slugs, so that documents meet flows that are there, frozen or not.
    let (mut flow, _) = generate(seed, "f");
    flow.slug = format!("fuzz_{}", seed % 40);
    let mut document = flow.definition("q_");
    if rng.random_bool(0.02) {
        let chain = |n: u32| match n {
            0 => json!({"step_slug": "s0"}),
            n => json!({"step_slug": format!("s{n}"), "deps_slugs": [format!("s{}", n - 1)]}),
        };
        let length = *[1000, 10_000, 20_000, 20_001].choose(rng).unwrap_or(&1000);
        let length = if length > 1000 && rng.random_bool(0.8) { 300 } else { length };
        document = json!({"flow_slug": flow.slug, "steps": (0..length).map(chain).collect::<Vec<_>>()});
    }
    let optional = [
        ("description", json!("naïve \"✓\"")),
        ("max_delay", json!(7)),
        ("base_delay", json!(3)),
        ("timeout", json!(1)),
        ("executor", json!("external")),
        ("target", json!("somewhere")),
    ];
    sprinkle(rng, &mut document, &optional);
    let optional = [
        ("base_delay", json!(0)),
        ("timeout", json!(9)),
        ("start_delay", json!(4)),
        ("target", Value::Null),
        ("target", json!("elsewhere")),
        ("start_mode", json!("manual")),
        ("queue", json!("mail, urgent!")),
    ];
    for step in document["steps"].as_array_mut().into_iter().flatten().take(50) {
        sprinkle(rng, step, &optional);
    }
    let steps = document["steps"].as_array().map_or(0, Vec::len);
    (Json::from(&document), steps > MOST_STEPS)
}

fn sprinkle(rng: &mut StdRng, object: &mut Value, fields: &[(&str, Value)]) {
    for (field, value) in fields {
        if rng.random_bool(0.1) {
            object[*field] = value.clone();
        }
    }
}

fn document(server: &mut Server, report: &mut Report, name: &str, text: &str, valid: bool) -> Result<(), Refusal> {
    let document = format!("{}::jsonb", literal(text));
    // Whether it is JSON is for PostgreSQL to say; a text with a zero byte is none.
    if text.contains('\0') || server.execute(&format!("select {document}")).is_err() {
        report.outcome("no jsonb");
        return Ok(());
    }
    match defined(server, &document) {
        Ok(Ok(outcome)) if valid && outcome != "accepted" && outcome != "same" => {
            report.fail(TARGET, name, &format!("a valid document is refused: {outcome}"), text);
        }
        Ok(Ok(outcome)) => {
            report.outcome(&outcome);
            report.pass();
        }
        Ok(Err(problem)) => report.fail(TARGET, name, &problem, text),
        Err(refusal) => {
            report.fail(TARGET, name, &refusal.to_string(), text);
            if refusal.fatal {
                std::thread::sleep(std::time::Duration::from_secs(2));
            }
            server.reconnect().map_err(|e| Refusal::from(&e))?;
        }
    }
    for problem in server.drift()? {
        report.fail(TARGET, name, &problem, text);
    }
    Ok(())
}

/// What came of it: an outcome, or what is wrong; `Err` is an error that no call should end with.
fn defined(server: &mut Server, document: &str) -> Result<Result<String, String>, Refusal> {
    let flows = "select coalesce(md5(string_agg(f::text || v::text, '' order by v.version)), '') from pgflow.flows f \
                 join pgflow.flow_versions v using (flow_slug) where flow_slug = ";
    let slug = format!("coalesce(case jsonb_typeof({document}) when 'object' then {document} ->> 'flow_slug' end, '')");
    let before = server.value(&format!("{flows}{slug}"))?;
    let call = format!("select flow_slug, changed from pgflow.define_flow({document})");
    let rows = match server.rows(&call) {
        Ok(rows) => rows,
        Err(refusal) if refusal.fatal || !REFUSALS.contains(&refusal.code.as_str()) => return Err(refusal),
        Err(refusal) => {
            if server.value(&format!("{flows}{slug}"))? != before {
                return Ok(Err(format!("refused ({refusal}), but something is stored")));
            }
            if refusal.code == "22023" && !refusal.message.starts_with('$') {
                return Ok(Err(format!("no JSON path in: {refusal}")));
            }
            if refusal.message.len() > 2000 || refusal.message.chars().any(char::is_control) {
                return Ok(Err(format!("the message is not one short line: {refusal}")));
            }
            return Ok(Ok(refusal.code));
        }
    };
    let [row] = rows.as_slice() else {
        return Ok(Err(format!("{} rows instead of one", rows.len())));
    };
    let [Some(slug), Some(changed)] = row.as_slice() else {
        return Ok(Err(format!("a row with nulls: {row:?}")));
    };
    let slug = literal(slug);
    let checks = format!(
        "select concat_ws(', ',
           case when {slug} is distinct from {document} ->> 'flow_slug' then 'it has another slug' end,
           case when changed then 'the same document again is a change' end,
           case when fuzz.stored({slug}) is distinct from fuzz.expected({document})
                then concat('stored: ', fuzz.stored({slug}), E'\\n  expected: ', fuzz.expected({document})) end)
         from pgflow.define_flow({document})"
    );
    let wrong = server.value(&checks)?.unwrap_or_default();
    if !wrong.is_empty() {
        return Ok(Err(wrong));
    }
    // Some are frozen, so that the next change opens a version, and some are gone.
    let run = format!("call fuzz.caught($$select pgflow.run_flow({slug}, '[1]')$$, '{{22023,PT409}}')");
    match slug.len() % 2 + usize::from(slug.bytes().fold(0u8, u8::wrapping_add) % 3) {
        1 => server.execute(&run)?,
        2 if changed == "t" => server.execute(&format!("select pgflow.delete_flow({slug}, true)"))?,
        _ => {}
    }
    Ok(Ok(if changed == "t" { "accepted".to_owned() } else { "same".to_owned() }))
}
