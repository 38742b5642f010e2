//! The end of a schedule: every run against the interpreter, every acknowledgement against what is stored, and the
//! engine's own invariants.

use std::sync::{Arc, Mutex};

use pgflow_model_test::case::{Dag, Run};
use pgflow_model_test::compare::{self, Got};
use uuid::Uuid;

use crate::crew::Stuck;
use crate::ledger::Ledger;
use crate::play::Play;

pub fn judge(play: &mut Play) -> Result<(), Stuck> {
    let program = play.ledger.program;
    let (flow, plans) = (program.flow.clone(), program.plans.clone());
    let dag = Arc::new(Dag { seed: program.seed, flow, plans, problems: Mutex::default() });
    for (slot, state) in play.ledger.runs.clone().into_iter().enumerate() {
        let Some(id) = state.id else {
            play.problem(format!("r{slot} was not started"));
            continue;
        };
        let payload = program.plans[slot].payload.clone();
        let run = Run::new(&dag, id, payload, program.expected[slot].clone(), state.disturbed);
        let got = compare::load(&mut play.crew.admin, &run)?;
        for difference in compare::diff(&run, &got) {
            play.problem(format!("r{slot} at the end: {difference}"));
        }
        for problem in acknowledgements(&play.ledger, slot, &got) {
            play.problem(problem);
        }
    }
    for row in play.crew.admin.query("select run_id, problem from pgflow.check_integrity()", &[])? {
        let run = row.try_get::<_, Option<Uuid>>(0)?.and_then(|id| play.ledger.find_run(id));
        let run = run.map_or_else(|| "?".to_owned(), |slot| slot.to_string());
        play.problem(format!("check_integrity: r{run}: {}", row.try_get::<_, String>(1)?));
    }
    Ok(())
}

/// Each completed task was acknowledged once, and each acknowledged one is completed.
fn acknowledgements(ledger: &Ledger, slot: usize, got: &Got) -> Vec<String> {
    let mut problems = Vec::new();
    let flow = &ledger.program.flow;
    for (step, got) in flow.steps.iter().enumerate().filter_map(|(i, s)| Some((i, got.steps.get(&s.slug)?))) {
        for (&task, attempts) in &got.tasks {
            let key = (slot, step, task);
            let completed = attempts.iter().filter(|attempt| attempt.status == "completed").count();
            let accepted = ledger.accepted.get(&key).copied().unwrap_or(0);
            let unanswered = ledger.unanswered.get(&key).copied().unwrap_or(0);
            let right = match completed {
                0 => accepted == 0,
                1 => accepted == 1 || accepted == 0 && unanswered > 0,
                _ => false,
            };
            if !right {
                let name = ledger.name(key);
                problems.push(format!(
                    "{name} is completed {completed} times; {accepted} times that was acknowledged, {unanswered} times \
                     it was sent without a receipt"
                ));
            }
        }
    }
    let lost = |key: &&(usize, usize, i32)| {
        let step = got.steps.get(&flow.steps[key.1].slug);
        key.0 == slot && step.is_none_or(|step| !step.tasks.contains_key(&key.2))
    };
    let accepted = ledger.accepted.iter().filter(|(_, times)| **times > 0).map(|(key, _)| key);
    problems.extend(accepted.filter(lost).map(|key| format!("{} was acknowledged and is lost", ledger.name(*key))));
    problems
}
