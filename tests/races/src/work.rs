//! A worker to whom nothing happens.

use std::time::{Duration, Instant};

use postgres::Client;

use crate::server::{Fallible, ask};

const PATIENCE: Duration = Duration::from_secs(20);

/// Works all runs of a database to their end, whatever was claimed or delayed before; says what is wrong after that.
pub fn to_the_end(db: &mut Client, queues: &[&str]) -> Fallible<Vec<String>> {
    let expire = "update pgflow.live_tasks set lease_expires_at = clock_timestamp()
                  where status = 'started' and executor = 'worker' and lease_expires_at > clock_timestamp();
                  update pgflow.live_tasks set ready_at = clock_timestamp()
                  where status = 'delayed' and ready_at > clock_timestamp()";
    let steps = "from pgflow.step_states s join pgflow.runs r using (run_id) where r.status in ('pending', 'started')";
    let start = format!(
        "select pgflow.start_step(s.run_id, 's') {steps} and s.step_slug = 's' and s.status = 'pending'
         and s.remaining_deps = 0"
    );
    let answer = format!(
        "select pgflow.complete_step(s.run_id, 'e', '1') {steps} and s.step_slug = 'e' and s.status = 'started'"
    );
    let claim =
        "select jsonb_agg(jsonb_build_object('run_id', run_id, 'step_slug', step_slug, 'task_index', task_index,
                   'lease', lease, 'output', jsonb '[1, 2]'))::text
                 from pgflow.claim_step_tasks($1, 500, 60, 'last')";
    let open = "select from pgflow.runs where status in ('pending', 'started') limit 1";
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && db.query_opt(open, &[])?.is_some() {
        db.batch_execute(expire)?;
        db.simple_query(&start)?;
        db.simple_query(&answer)?;
        let mut is_idle = true;
        for queue in queues {
            let results: Option<String> = db.query_one(claim, &[queue])?.try_get(0)?;
            let Some(results) = results else { continue };
            is_idle = false;
            let receipts = ask(db, &format!("select accepted from pgflow.settle_step_tasks('{results}')"));
            // A map of this very batch may have failed or been skipped with its tasks: then some are refused.
            if receipts.code.is_some() || !receipts.rows.iter().any(|accepted| accepted == "t") {
                return Ok(vec![format!("a worker alone is refused: {receipts:?}")]);
            }
        }
        if is_idle {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let wrong = "select format('run %s does not end: it is %s', run_id, status) from pgflow.runs
                 where status in ('pending', 'started')
                 union all
                 select format('check_integrity: run %s: %s', run_id, problem) from pgflow.check_integrity()";
    db.query(wrong, &[])?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
