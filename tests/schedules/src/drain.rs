//! The end of every schedule: one plain worker does what is left, until each run has ended or nothing moves.

use pgflow_model_test::generate::Outcome;
use rand::SeedableRng;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::crew::Stuck;
use crate::ledger::{Deed, Target, Task};
use crate::play::Play;
use crate::program::Kind;

impl Play<'_> {
    /// One plain worker does what is left.
    pub fn drain(&mut self) -> Result<(), Stuck> {
        self.tell("    drain");
        self.is_draining = true;
        let mut dice = StdRng::seed_from_u64(self.ledger.program.seed);
        for slot in 0..self.ledger.runs.len() {
            if self.ledger.runs[slot].id.is_none()
                && let Some(start) = self.ledger.start(slot)
            {
                self.call(0, start)?;
            }
            if self.ledger.runs[slot].cancelled {
                let retry = self.ledger.choose(0, Kind::Retry(slot), true, &mut dice);
                self.call(0, retry)?;
            }
        }
        self.begun.clear();
        loop {
            let before = self.moves;
            self.work_off(&mut dice)?;
            if self.moves == before {
                self.push()?;
                // A claim that ends the last attempt at a task hands out nothing, and still moves the run.
                self.work_off(&mut dice)?;
            }
            let ids: Vec<Uuid> = self.ledger.runs.iter().filter_map(|run| run.id).collect();
            let sql = "select count(*) from pgflow.runs where run_id = any($1) and status in ('pending', 'started')";
            let open: i64 = self.crew.admin.query_one(sql, &[&ids])?.try_get(0)?;
            if open == 0 || self.moves == before {
                return Ok(());
            }
        }
    }

    /// Does what no claim does: starts manual steps, finishes external ones, lets the time pass.
    fn push(&mut self) -> Result<(), Stuck> {
        for step in self.ledger.steps(0, |step| step.manual) {
            if !self.begun.contains(&step) {
                self.call(0, self.ledger.start_manual(step))?;
            }
        }
        for step in self.ledger.steps(0, |step| step.external) {
            if self.ledger.tasks.get(&(step.0, step.1, 0)) != Some(&Task::Done) {
                self.call(0, self.ledger.settle_external(step, false))?;
            }
        }
        self.call(0, self.ledger.pass())
    }

    fn work_off(&mut self, dice: &mut StdRng) -> Result<(), Stuck> {
        for queue in self.ledger.program.queues() {
            self.call(0, self.ledger.claim_tasks(&queue, 10 * self.ledger.program.scale))?;
        }
        self.settle_all(dice)
    }

    fn settle_all(&mut self, dice: &mut StdRng) -> Result<(), Stuck> {
        // The claims before this met every lease that had run out: of a last attempt nothing is handed out.
        for (key, _) in self.ledger.held().into_iter().filter(|(_, lease)| lease.aged) {
            self.ledger.set(0, key, Task::Unsure);
        }
        while let [target, ..] = self.ledger.dying().as_slice() {
            let expire = self.ledger.expire(target);
            self.call(0, expire)?;
            if !matches!(self.ledger.tasks.get(&target.key), Some(Task::Held(lease)) if lease.aged) {
                self.ledger.set(0, target.key, Task::Unsure);
                continue;
            }
            break;
        }
        let mut batches = vec![Vec::new(); self.ledger.runs.len()];
        for (key, lease) in self.ledger.held() {
            let target = Target { key, lease: Some(lease.lease), attempt: lease.attempt };
            match self.ledger.outcome(key, lease.attempt) {
                Outcome::Complete(output) => {
                    let batch = if self.ledger.program.fair { key.0 } else { 0 };
                    batches[batch].push((target, Deed::Complete(output)));
                }
                Outcome::Fail { retryable } => {
                    let deed = Deed::Fail { retryable, retry_after: None };
                    self.call(0, self.ledger.settle_alone(target, deed, false))?;
                }
                Outcome::Die => {}
            }
        }
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            self.call(0, self.ledger.settle_batch(batch, dice))?;
        }
        Ok(())
    }
}
