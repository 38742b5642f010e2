//! Every call against every other, in every scene: the end is that of one after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::acts::{self, Act, CLAIM, Kind, OPEN, PRUNE};
use crate::matrix::{Cells, Matrix};
use crate::scenes::{SCENES, Scene};
use crate::server::Fallible;
use crate::stage::{End, Level, Outcome, Stage};
use crate::verdict::{self, Serial};

pub struct Options {
    pub stages: usize,
    /// Only scenes and calls whose names contain these.
    pub only: Vec<String>,
    /// Of so many pairs one is also tried above READ COMMITTED.
    pub sample: usize,
    pub seed: u64,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
pub struct Report {
    pub matrix: Matrix,
    pub passed: usize,
    pub failures: Vec<String>,
    pub overlaps: usize,
    pub waited: usize,
    pub refused: usize,
}

/// Serial executions by scene, calls and how many of them are follow-ups.
type Twins = Mutex<HashMap<(usize, Vec<&'static str>, usize), Arc<Outcome>>>;

pub fn test(options: &Options) -> Fallible<Report> {
    let mut rows: Vec<(usize, &'static Act)> = Vec::new();
    for (no, scene) in SCENES.iter().enumerate() {
        for name in scene.acts {
            rows.push((no, acts::find(name).ok_or_else(|| format!("no such call: {name}"))?));
        }
    }
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Report::default());
    let twins = Twins::default();
    let broken = Mutex::new(None);
    std::thread::scope(|scope| {
        for stage in 0..options.stages {
            let (rows, next, report, twins, broken) = (&rows, &next, &report, &twins, &broken);
            scope.spawn(move || {
                let result = Stage::new(&stage.to_string()).and_then(|mut stage| {
                    while let Some(&(no, act)) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                        against_all(&mut stage, options, no, act, twins, report)?;
                    }
                    Ok(())
                });
                if let Err(error) = result {
                    lock(broken).get_or_insert(error);
                }
            });
        }
    });
    if let Some(error) = lock(&broken).take() {
        return Err(error);
    }
    Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn against_all(
    stage: &mut Stage,
    options: &Options,
    no: usize,
    first: &'static Act,
    twins: &Twins,
    report: &Mutex<Report>,
) -> Fallible<()> {
    let scene = &SCENES[no];
    for (place, name) in scene.acts.iter().enumerate() {
        let second = acts::find(name).ok_or_else(|| format!("no such call: {name}"))?;
        let wanted = |word: &String| [scene.name, first.name, second.name].iter().any(|name| name.contains(word));
        if !options.only.iter().all(wanted) {
            continue;
        }
        let mut pair = Pair { stage, scene, no, acts: [first, second], twins };
        let mut cells = Cells::default();
        let mut meetings = vec![(Level::ReadCommitted, End::Commit), (Level::ReadCommitted, End::Rollback)];
        let sampled = (place + first.name.len() * 7 + no + options.seed as usize).is_multiple_of(options.sample.max(1));
        if sampled {
            meetings.extend([
                (Level::RepeatableRead, End::Commit),
                (Level::RepeatableRead, End::Rollback),
                (Level::RepeatableRead, End::CommitFirst),
                (Level::Serializable, End::Commit),
                (Level::Serializable, End::CommitFirst),
            ]);
        }
        for (level, end) in meetings {
            let met = pair.meet(level, end)?;
            let mut report = lock(report);
            report.overlaps += 1;
            report.waited += usize::from(met.waited.is_some());
            report.refused += usize::from(met.refused);
            if met.problems.is_empty() {
                report.passed += 1;
            }
            let title = format!("{}: {} / {}, {}, {end:?}", scene.name, first.name, second.name, level.name());
            report.failures.extend(met.problems.iter().map(|problem| format!("{title}\n  {problem}")));
            cells.enter(level, end, met.waited.as_deref(), met.verdict);
        }
        lock(report).matrix.enter(no, first.name, second.name, cells);
    }
    Ok(())
}

/// Two calls that meet in a scene.
struct Pair<'a> {
    stage: &'a mut Stage,
    scene: &'static Scene,
    no: usize,
    acts: [&'static Act; 2],
    twins: &'a Twins,
}

struct Met {
    verdict: &'static str,
    waited: Option<String>,
    /// By a serialisation failure.
    refused: bool,
    problems: Vec<String>,
}

/// The serial executions that an end may be that of, each with the calls made, in their order.
const BOTH: &[(&str, &[usize])] = &[("A;B", &[0, 1]), ("B;A", &[1, 0])];
const ONLY_FIRST: &[(&str, &[usize])] = &[("40001", &[0])];
const TOO_OLD: &[(&str, &[usize])] = &[("PT409", &[0])];
const ONLY_SECOND: &[(&str, &[usize])] = &[("B", &[1])];
const NEITHER: &[(&str, &[usize])] = &[("neither", &[])];
const FIRST_REFUSED: &[(&str, &[usize])] = &[("40001 for A", &[1])];

impl Pair<'_> {
    fn meet(&mut self, level: Level, end: End) -> Fallible<Met> {
        let got = self.stage.overlap(self.scene, self.acts, level, end)?;
        let mut problems = verdict::faults(&got, level);
        let lost = [got.answers[0].is("40001"), got.answers[1].is("40001")];
        let orders = match (end, lost) {
            (_, [true, true]) => &[],
            (_, [true, false]) => FIRST_REFUSED,
            (_, [false, true]) => ONLY_FIRST,
            (End::Commit | End::CommitFirst, _) if verdict::sees_too_little(&got.answers[1], level) => TOO_OLD,
            (End::Rollback, _) => ONLY_SECOND,
            _ => BOTH,
        };
        if orders.is_empty() || end == End::Rollback && lost[1] {
            problems.push("a serialisation failure that nobody else's commit explains".to_owned());
        }
        // The follow-up and the end are of this run: the twins that it is compared with take the stage after that.
        let mut later = got.clone();
        let late = self.late();
        later.answers.extend(late.iter().map(|act| self.stage.call(act)));
        later.state = self.stage.state(false)?;
        problems.extend(self.stage.play_out()?);

        let serial = self.twins(orders, &[])?;
        let matching = verdict::matching(&got, &serial);
        let verdict = match matching.as_slice() {
            [one] => *one,
            [_, ..] => "either",
            [] if late.is_empty() => {
                problems
                    .push(format!("the end is that of no serial execution\n{}", verdict::difference(&got, &serial)));
                "?"
            }
            [] => {
                let kinds: Vec<Kind> = self.acts.iter().chain(&late).map(|act| act.kind).collect();
                let mut serial = self.twins(orders, &late)?;
                if self.acts[1].kind != Kind::Other && got.answers[1].is_empty() {
                    // It left everything.
                    let others = if end == End::Rollback { NEITHER } else { ONLY_FIRST };
                    serial.extend(self.twins(others, &late)?);
                }
                match verdict::after_follow_up(&later, &serial, &kinds) {
                    Ok(()) => "left",
                    Err(difference) => {
                        problems.push(format!("the end is that of no serial execution\n{difference}"));
                        "?"
                    }
                }
            }
        };
        if got.waited.is_some() && verdict::must_not_wait(self.scene, self.acts) {
            problems.push(format!("{} waits for {}", self.acts[1].name, self.acts[0].name));
        }
        Ok(Met { verdict, waited: got.waited, refused: lost.contains(&true), problems })
    }

    /// The calls to which the two may have left something.
    fn late(&self) -> Vec<&'static Act> {
        let any = |kind| self.acts.iter().any(|act| act.kind == kind);
        let mut late: Vec<_> = [CLAIM, PRUNE].into_iter().filter(|act| any(act.kind)).collect();
        if self.scene.name == "delayed" && any(Kind::Claim) {
            // A run that a claim could not open is left to the next settlement.
            late.push(OPEN);
        }
        late.iter().filter_map(|act| acts::find(act.name)).collect()
    }

    fn twins(&mut self, orders: &[(&'static str, &'static [usize])], late: &[&'static Act]) -> Fallible<Vec<Serial>> {
        let twin = |&(name, order)| Ok(Serial { name, order, outcome: self.twin(order, late)? });
        orders.iter().map(twin).collect()
    }

    /// The calls one after the other on a run of their own.
    fn twin(&mut self, order: &[usize], late: &[&'static Act]) -> Fallible<Arc<Outcome>> {
        let acts: Vec<&Act> = order.iter().map(|&role| self.acts[role]).chain(late.iter().copied()).collect();
        let key = (self.no, acts.iter().map(|act| act.name).collect::<Vec<_>>(), late.len());
        if let Some(twin) = lock(self.twins).get(&key) {
            return Ok(Arc::clone(twin));
        }
        let twin = Arc::new(self.stage.one_after_the_other(self.scene, &acts, late.is_empty())?);
        lock(self.twins).insert(key, Arc::clone(&twin));
        Ok(twin)
    }
}
