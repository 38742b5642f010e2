//! Steps that wait for an event: external steps whose target is its name.
//!
//! An event completes all that wait for it when it is sent ([`super::send_event`]). A step that begins to wait looks for a
//! kept one: the first of those that nobody has taken, or that were first taken when the step's run existed already. So
//! all branches of a run get an event in whatever order they begin, and one that was used does not complete the steps of
//! runs that are started later.
//!
//! **No event is missed.** Whoever begins to wait shares the event's lock until its transaction ends, and the sender
//! holds it alone: either the sender finds the waiter or the waiter finds the event. A waiter holds locks that others
//! wait for, so it waits for no sender: when the event is being sent, or kept and being taken, the task's lease ends at
//! once instead of when the step times out, and whoever sweeps the queue next looks again ([`overdue`]).
//!
//! **Who cleans up.** A row of `event_waiters` goes with the live task that it belongs to. Both are written only by
//! holders of the run's lock. Old events go in [`sweep`], and a few with each event that is sent.

use std::collections::HashMap;

use super::MAX_RUN_LOCKS;
use super::advance::{Advance, RunNo};
use super::kept_events::{Kept, Wait, look, take};
use super::receipt::{self, TaskKey};
use super::run_flow::Creator;
use super::runs::Run;
use super::settle::{self, Settlement, Verdict};
use crate::error::{Error, Result};
use crate::model::{RunId, StepNo, StepType};
use crate::store::{Instant, Session, latch, lock};
use crate::{settings, statements};

statements! {
    WAIT_KEYS = "wait_keys.sql",
    WAIT_FOR_EVENTS = "wait_for_events.sql",
    LIVE_TASKS_OF_STEPS = "live_tasks_of_steps.sql",
    WAITER = "waiter.sql",
    WAIT_ON = "wait_on.sql",
    END_WAITS = "end_waits.sql",
    END_WAITS_OF_STEPS = "end_waits_of_steps.sql",
    OPEN_EVENT = "open_event.sql",
    LOOK_AGAIN = "look_again.sql",
    CLOSE_EVENT = "close_event.sql",
    DELETE_OLD_EVENTS = "delete_old_events.sql",
    OLDEST_EVENT = "oldest_event.sql",
}

/// Seconds until a task that found its event being sent or taken is looked at again.
const SHORTLY: f64 = 0.1;

/// How many events a sweep deletes at once, and how many seconds later it looks again at the latest.
const SWEPT: i32 = 1000;
const LATEST_LOOK: f64 = 3600.0;

/// Steps have started: those that find their event kept are completed, the others wait.
pub fn begin(advance: &mut Advance, steps: &[(RunNo, StepNo)]) -> Result<()> {
    let steps: Vec<_> = (steps.iter().copied())
        .filter(|&(run, step)| advance.step(run, step).event().is_some())
        .collect();
    if steps.is_empty() {
        return Ok(());
    }
    let waits = waits_of(advance, &steps)?;
    let mut must_look_again = being_sent(&waits);
    let (looking, _): (Vec<_>, Vec<_>) = (0..steps.len()).partition(|&no| !must_look_again[no]);
    let mut found = HashMap::new();
    for (no, kept) in looking.iter().zip(look(
        advance.session,
        looking.iter().map(|&no| &waits[no]),
        |n| {
            let (run, step) = steps[looking[n]];
            (&*advance.runs[run].definition, step)
        },
    )?) {
        if let Some(kept) = kept {
            found.insert(*no, kept);
        }
    }
    let beaten = take(advance.session, found.values())?;
    found.retain(|&no, kept| {
        must_look_again[no] = beaten.contains(&kept.id);
        !must_look_again[no]
    });
    note(advance, &steps, &waits, &must_look_again, &found)?;
    complete(advance, &steps, &found)
}

fn waits_of(advance: &Advance, steps: &[(RunNo, StepNo)]) -> Result<Vec<Wait>> {
    let ids: Vec<_> = (steps.iter())
        .map(|&(run, _)| advance.runs[run].id)
        .collect();
    let runs = WAIT_KEYS.query(&[&ids], |row| {
        let creator = Creator {
            created_by: row.get(3)?,
            created_for: row.opt(4),
        };
        Ok((row.opt::<String>(1), row.get::<Instant>(2)?, creator))
    })?;
    if runs.len() != steps.len() {
        return Err(Error::Internal("a run that begins a step is gone".into()));
    }
    Ok((steps.iter().zip(runs))
        .map(|(&(run, step), (key, created_at, creator))| {
            let name = advance.step(run, step).event().unwrap_or_default();
            Wait {
                event_key: lock::event_key(name, key.as_deref()),
                name: name.to_owned(),
                key,
                created_at,
                creator,
            }
        })
        .collect())
}

/// Shares the locks of the events that are waited for, and says of each waiter whether it could not.
fn being_sent(waits: &[Wait]) -> Vec<bool> {
    let mut shared = HashMap::new();
    (waits.iter())
        .map(|wait| {
            // The server's lock table is finite.
            let is_too_much = shared.len() >= MAX_RUN_LOCKS;
            !*shared
                .entry(wait.event_key)
                .or_insert_with(|| !is_too_much && lock::try_share_event(wait.event_key))
        })
        .collect()
}

/// Notes which steps wait from now on: those that have not found their event.
fn note(
    advance: &Advance,
    steps: &[(RunNo, StepNo)],
    waits: &[Wait],
    must_look_again: &[bool],
    found: &HashMap<usize, Kept>,
) -> Result<()> {
    let waiting: Vec<_> = (0..steps.len())
        .filter(|no| !found.contains_key(no))
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = (waiting.iter())
        .map(|&no| advance.runs[steps[no].0].id)
        .collect();
    let slugs: Vec<_> = (waiting.iter())
        .map(|&no| advance.slug(steps[no].0, steps[no].1))
        .collect();
    let event_keys: Vec<_> = waiting.iter().map(|&no| waits[no].event_key).collect();
    let names: Vec<_> = waiting.iter().map(|&no| waits[no].name.as_str()).collect();
    let keys: Vec<_> = waiting.iter().map(|&no| waits[no].key.clone()).collect();
    let again: Vec<_> = waiting.iter().map(|&no| must_look_again[no]).collect();
    WAIT_FOR_EVENTS.execute(&[
        &ids,
        &slugs,
        &event_keys,
        &names,
        &keys,
        &again,
        &advance.session.now,
    ])?;
    if again.contains(&true) {
        latch::set_at_commit();
    }
    Ok(())
}

/// Completes all tasks of the steps that found their event.
fn complete(
    advance: &mut Advance,
    steps: &[(RunNo, StepNo)],
    found: &HashMap<usize, Kept>,
) -> Result<()> {
    let mut numbers: Vec<_> = found.keys().copied().collect();
    numbers.sort_unstable();
    let ended: Vec<_> = numbers.iter().map(|&no| steps[no]).collect();
    let batch: Vec<_> = (tasks_of(advance, &ended)?.into_iter())
        .map(|(n, task)| Settlement {
            task,
            lease: None,
            verdict: Verdict::Complete(Some(found[&numbers[n]].payload)),
        })
        .collect();
    settle::settle_inside(advance, &batch).map(drop)
}

/// The live tasks of steps that have just started, each with the position of its step.
pub fn tasks_of(advance: &Advance, steps: &[(RunNo, StepNo)]) -> Result<Vec<(usize, TaskKey)>> {
    let key = |n: usize, task_index| TaskKey {
        run_id: advance.runs[steps[n].0].id,
        step_slug: advance.slug(steps[n].0, steps[n].1).to_owned(),
        task_index,
    };
    let is_map = |n: &usize| advance.step(steps[*n].0, steps[*n].1).step_type == StepType::Map;
    let (maps, singles): (Vec<_>, Vec<_>) = (0..steps.len()).partition(is_map);
    let mut tasks: Vec<_> = singles.into_iter().map(|n| (n, key(n, 0))).collect();
    if !maps.is_empty() {
        let (ids, slugs, _) =
            receipt::columns(maps.iter().map(|&n| key(n, 0)).collect::<Vec<_>>().iter());
        for (ordinal, index) in LIVE_TASKS_OF_STEPS.query(&[&ids, &slugs], |row| {
            Ok((row.get::<i64>(1)?, row.get::<i32>(2)?))
        })? {
            let n = maps[usize::try_from(ordinal - 1).unwrap_or_default()];
            tasks.push((n, key(n, index)));
        }
    }
    Ok(tasks)
}

/// What becomes of an external task whose lease ran out, when the caller holds the lock of its run: it gets its event if
/// there is one, else it has timed out. Nothing: it goes on waiting.
pub fn overdue(session: &Session, settlement: Settlement) -> Result<Option<Settlement>> {
    let task = &settlement.task;
    let waiter = WAITER.first(&[&task.run_id, &task.step_slug, &task.task_index], |row| {
        let wait = Wait {
            event_key: row.get(1)?,
            name: row.get(2)?,
            key: row.opt(3),
            created_at: row.get(5)?,
            creator: Creator {
                created_by: row.get(6)?,
                created_for: row.opt(7),
            },
        };
        Ok((wait, row.get::<Instant>(4)?))
    })?;
    let Some((wait, times_out_at)) = waiter else {
        return Ok(Some(settlement));
    };
    let shortly = session.now.plus_seconds(SHORTLY);
    let wait_until = |then: Instant| {
        WAIT_ON.execute(&[&task.run_id, &task.step_slug, &task.task_index, &then])?;
        Ok(None)
    };
    if !lock::try_share_event(wait.event_key) {
        return wait_until(shortly);
    }
    let run = Run::find(task.run_id)?;
    let step = (run.definition.step_no(&task.step_slug))
        .ok_or_else(|| Error::step_not_found(&task.step_slug))?;
    let found = look(session, std::iter::once(&wait), |_| {
        (&*run.definition, step)
    })?
    .pop()
    .flatten();
    match found {
        Some(kept) if take(session, std::iter::once(&kept))?.is_empty() => Ok(Some(Settlement {
            verdict: Verdict::Complete(Some(kept.payload)),
            ..settlement
        })),
        Some(_) => wait_until(shortly),
        None if times_out_at <= session.now => Ok(Some(settlement)),
        None => wait_until(times_out_at),
    }
}

/// Tasks have ended: those that waited for an event do so no more.
pub fn end_waits(
    advance: &Advance,
    batch: &[Settlement],
    ended: impl Iterator<Item = (RunNo, StepNo, usize)>,
) -> Result<()> {
    let tasks: Vec<_> = ended
        .filter(|&(run, step, _)| advance.step(run, step).event().is_some())
        .map(|(_, _, no)| &batch[no].task)
        .collect();
    if tasks.is_empty() {
        return Ok(());
    }
    let (ids, slugs, indexes) = receipt::columns(tasks.into_iter());
    END_WAITS.execute(&[&ids, &slugs, &indexes])
}

/// [`end_waits`] for all tasks of steps.
pub fn end_waits_of_steps(advance: &Advance, steps: &[(RunNo, StepNo)]) -> Result<()> {
    let (ids, slugs): (Vec<_>, Vec<_>) = (steps.iter())
        .filter(|step| advance.step(step.0, step.1).event().is_some())
        .map(|step| {
            (
                advance.runs[step.0].id,
                Some(advance.slug(step.0, step.1).to_owned()),
            )
        })
        .unzip();
    if ids.is_empty() {
        return Ok(());
    }
    END_WAITS_OF_STEPS.execute(&[&ids, &slugs])
}

/// [`end_waits`] for all tasks of runs.
pub fn end_waits_of_runs(runs: &[RunId]) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let no_slugs: Vec<Option<String>> = vec![None; runs.len()];
    END_WAITS_OF_STEPS.execute(&[&runs.to_vec(), &no_slugs])
}

/// What is left to be done for events that were sent: more runs may have waited for one than its sender could lock, and
/// old ones go. Returns when to look again.
pub fn sweep(session: &Session) -> Result<Option<Instant>> {
    let mut next = session.now.plus_seconds(LATEST_LOOK);
    if hand_out(session)? {
        next = session.now.plus_seconds(1.0);
    }
    if delete_old(session, SWEPT)? == i64::from(SWEPT) {
        return Ok(Some(session.now));
    }
    let oldest = OLDEST_EVENT.first(&[], |row| row.get::<Instant>(1))?;
    let gone_at = oldest.map(|sent| sent.plus_seconds(f64::from(settings::event_retention())));
    // An event that is past its time is one that is still handed out.
    Ok(Some(match gone_at {
        Some(at) if at > session.now => next.min(at),
        _ => next,
    }))
}

/// Has those look again who have not got an event that is open. Returns whether one is.
fn hand_out(session: &Session) -> Result<bool> {
    let mut last = i64::MIN;
    let mut is_open = false;
    while let Some((id, event_key, name, key, taken_at)) = OPEN_EVENT.first(&[&last], |row| {
        Ok((
            row.get::<i64>(1)?,
            row.get::<i64>(2)?,
            row.get::<String>(3)?,
            row.opt::<String>(4),
            row.get::<Instant>(5)?,
        ))
    })? {
        last = id;
        if CLOSE_EVENT.first(&[&id], |_| Ok(()))?.is_none() {
            is_open = true;
            look_again(session, event_key, &name, key.as_deref(), &[], taken_at)?;
        }
    }
    Ok(is_open)
}

/// Has all look for an event again whose runs existed at `taken_at`, but `settled`: when their queues are swept.
pub fn look_again(
    session: &Session,
    event_key: i64,
    name: &str,
    key: Option<&str>,
    settled: &[RunId],
    taken_at: Instant,
) -> Result<()> {
    LOOK_AGAIN.execute(&[
        &event_key,
        &name,
        &key,
        &settled.to_vec(),
        &taken_at,
        &session.now,
    ])?;
    latch::set_at_commit();
    Ok(())
}

/// Deletes old ones of the first `most` events.
pub fn delete_old(session: &Session, most: i32) -> Result<i64> {
    let retention = f64::from(settings::event_retention());
    let horizon = session.now.plus_seconds(-retention);
    Ok(DELETE_OLD_EVENTS
        .first(&[&horizon, &i64::from(most)], |row| row.get(1))?
        .unwrap_or(0))
}
