//! What the answer to a call means: for the books, for the trace, and whether it may be.

use std::fmt::Write;

use pgflow_model_test::calls::{Claimed, Receipt};
use pgflow_model_test::compare::clip;
use postgres::Row;
use uuid::Uuid;

use crate::calls::Call;
use crate::ledger::{Deed, Lease, Target, Task};
use crate::play::{Play, letter};

impl Play<'_> {
    pub fn apply(&mut self, session: usize, call: &Call, rows: &[Row]) -> Result<(), postgres::Error> {
        match call {
            Call::Start(slot) => {
                let id: Option<Uuid> = rows.first().map(|row| row.try_get(0)).transpose()?;
                let known = self.ledger.runs[*slot].id;
                if known.is_some() && known != id {
                    self.problem(format!("the key of r{slot} gave {id:?} and not {known:?}"));
                } else if known.is_none() {
                    let uncommitted = self.ledger.is_open(session);
                    self.ledger.set_run(session, *slot, |run| (run.id, run.uncommitted) = (id, uncommitted));
                }
            }
            Call::Settle(batch) => {
                if rows.len() != batch.len() {
                    self.problem(format!("{} receipts for {} results", rows.len(), batch.len()));
                }
                for ((target, deed), row) in batch.iter().zip(rows) {
                    self.judge_receipt(session, target, deed, row)?;
                }
            }
            Call::SettleAndClaim(batch, most) => {
                for (target, deed) in batch {
                    self.ledger.settle_unanswered(session, target, deed);
                }
                self.take(session, *most, rows)?;
            }
            Call::Claim(most) => self.take(session, *most, rows)?,
            Call::Extend(target) => {
                if let Some(row) = rows.first() {
                    self.judge_extension(session, target, row)?;
                }
            }
            Call::StartStep(..) | Call::Cancel(_) | Call::Retry(_) => {
                let status: String = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
                self.tell(&format!("      {status}"));
                if let Call::StartStep(slot, step) = call
                    && status != "pending"
                {
                    self.moves += u64::from(self.begun.insert((*slot, *step)));
                }
                if let Call::Cancel(slot) | Call::Retry(slot) = call
                    && ["cancelled", "started"].contains(&status.as_str())
                {
                    self.ledger.set_run(session, *slot, |run| run.cancelled = status == "cancelled");
                }
            }
            Call::Expire(target) => {
                let held = self.ledger.tasks.get_mut(&target.key);
                if let Some(Task::Held(lease)) = held.filter(|_| !rows.is_empty()) {
                    lease.aged |= Some(lease.lease) == target.lease;
                    self.moves += 1;
                }
                self.tell(if rows.is_empty() { "      not yet" } else { "      done" });
            }
            Call::Pass => {
                self.moves += rows.len() as u64;
                self.tell(&format!("      {} tasks are due", rows.len()));
            }
        }
        Ok(())
    }

    fn judge_receipt(
        &mut self,
        session: usize,
        target: &Target,
        deed: &Deed,
        row: &Row,
    ) -> Result<(), postgres::Error> {
        let receipt = receipt(row)?;
        self.tell(&format!("      {receipt}"));
        self.moves += u64::from(receipt.accepted);
        let step = &self.ledger.program.flow.steps[target.key.1].slug;
        if (receipt.task_index, &receipt.slug, Some(receipt.run_id))
            != (target.key.2, step, self.ledger.runs[target.key.0].id)
        {
            self.problem(format!("the receipt of {} is that of another task", self.ledger.name(target.key)));
        }
        if let Some(wrong) = self.ledger.settle(session, target, deed, &receipt) {
            self.problem(format!("{} by {}: {wrong}, got {receipt}", self.ledger.name(target.key), letter(session)));
        }
        Ok(())
    }

    fn judge_extension(&mut self, session: usize, target: &Target, row: &Row) -> Result<(), postgres::Error> {
        let receipt = receipt(row)?;
        self.tell(&format!("      {receipt}"));
        let held = self.ledger.lease(session, target).cloned();
        let goes_on = receipt.step == "started" && receipt.run == "started";
        let disturbed = self.ledger.runs[target.key.0].disturbed;
        match held {
            Some(held) if receipt.accepted => {
                self.ledger.set(session, target.key, Task::Held(Lease { aged: false, ended: false, ..held }));
            }
            Some(held) if goes_on && !disturbed && !held.ended => {
                self.problem(format!("extending {} is refused: {receipt}", self.ledger.name(target.key)));
            }
            None if receipt.accepted && !disturbed => {
                self.problem(format!("a lease on {} that is gone was extended", self.ledger.name(target.key)));
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Checks claimed tasks and notes who holds them.
    fn take(&mut self, session: usize, most: usize, rows: &[Row]) -> Result<(), postgres::Error> {
        self.moves += rows.len() as u64;
        self.ledger.end_aged();
        let mut line = String::from("      claimed");
        let mut wrong = Vec::new();
        for row in rows {
            let c = claimed(row)?;
            let step = self.ledger.program.flow.find(&c.step);
            let (Some(slot), Some(step)) = (self.ledger.find_run(c.run), step) else {
                wrong.push(format!("claimed {c} of run {}, which nobody started", c.run));
                continue;
            };
            let key = (slot, step, c.task);
            let _ = write!(line, " {}#{}", self.ledger.name(key), c.attempt);
            let expected = &self.ledger.program.expected[slot].steps[step];
            let input = usize::try_from(c.task).ok().and_then(|task| expected.inputs.get(task));
            if self.ledger.program.flow.steps[step].external || input != Some(&c.input) {
                let got = clip(Some(&c.input), 200);
                wrong.push(format!("{} with {got}, expected {}", self.ledger.name(key), clip(input, 200)));
            }
            if let Some(problem) = self.ledger.claim(session, key, c.attempt, c.lease) {
                wrong.push(format!("{}: {problem}", self.ledger.name(key)));
            }
        }
        if rows.len() > most {
            wrong.push(format!("claiming {most} tasks gave {}", rows.len()));
        }
        self.tell(if rows.is_empty() { "      claimed nothing" } else { &line });
        wrong.into_iter().for_each(|problem| self.problem(problem));
        Ok(())
    }
}

fn receipt(row: &Row) -> Result<Receipt, postgres::Error> {
    Ok(Receipt {
        run_id: row.try_get(0)?,
        slug: row.try_get(1)?,
        task_index: row.try_get(2)?,
        accepted: row.try_get(3)?,
        task: row.try_get(4)?,
        step: row.try_get::<_, Option<String>>(5)?.unwrap_or_default(),
        run: row.try_get::<_, Option<String>>(6)?.unwrap_or_default(),
    })
}

fn claimed(row: &Row) -> Result<Claimed, postgres::Error> {
    Ok(Claimed {
        run: row.try_get(0)?,
        step: row.try_get(1)?,
        task: row.try_get(2)?,
        attempt: row.try_get(3)?,
        input: row.try_get(4)?,
        lease: row.try_get(5)?,
    })
}
