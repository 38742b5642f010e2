//! What a seed says: a small flow, its runs, and what each session is going to do.
//!
//! A program names no tasks: which one a call is about is decided when its turn comes, by the dice of its transaction
//! and by what is there then. So a transaction can be left out and the others keep their dice and their place.

use pgflow_model_test::generate::{Flow, Plan, Step, generate};
use pgflow_model_test::interpret::{Expected, Kept, interpret};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// How a transaction is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One call, committed by itself.
    Alone,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    pub fn begin(self) -> &'static str {
        match self {
            Level::Alone | Level::ReadCommitted => "begin isolation level read committed",
            Level::RepeatableRead => "begin isolation level repeatable read",
            Level::Serializable => "begin isolation level serializable",
        }
    }

    /// Whether the server may end the transaction with a serialisation failure.
    pub fn may_conflict(self) -> bool {
        matches!(self, Level::RepeatableRead | Level::Serializable)
    }
}

/// The kinds of calls, in the order in which one transaction may have them: what starts a run, then what settles, then
/// what claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Start(usize),
    SettleOne,
    SettleBatch,
    SettleAndClaim,
    Extend,
    /// A result that comes after its lease was taken over, or with a lease that never was.
    Intrude,
    External,
    StartStep,
    Cancel(usize),
    Retry(usize),
    Claim,
    /// A worker goes silent and the clock passes the end of its lease.
    LetExpire,
    /// The clock passes the delays of retries and the starts of pending runs.
    Pass,
}

#[derive(Clone, Debug)]
pub struct Transaction {
    pub seed: u64,
    /// Comes before all others.
    pub is_first: bool,
    pub level: Level,
    /// Reads something first, so that its snapshot is older than what it does.
    pub looks: bool,
    pub calls: Vec<Kind>,
    pub commits: bool,
}

impl Transaction {
    fn alone(seed: u64, kind: Kind) -> Transaction {
        Transaction { seed, is_first: false, level: Level::Alone, looks: false, calls: vec![kind], commits: true }
    }

    /// Its statements: the calls, and what opens and ends it.
    pub fn len(&self) -> usize {
        self.calls.len() + if self.level == Level::Alone { 0 } else { 2 }
    }

    /// Of statements that could come next the one with the lowest rank does. Ends come late: while a transaction is
    /// open, others are to run into it.
    pub fn rank(&self, statement: usize) -> u64 {
        let mut dice = self.dice(100 + statement);
        let draws = if statement > 0 && statement + 1 == self.len() { 3 } else { 1 };
        if self.is_first { 0 } else { (0..draws).map(|_| dice.random()).max().unwrap_or(0) }
    }

    /// The dice of one of its statements.
    pub fn dice(&self, statement: usize) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (statement as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

#[derive(Clone, Debug)]
pub struct Program {
    pub seed: u64,
    pub flow: Flow,
    pub plans: Vec<Plan>,
    pub expected: Vec<Expected>,
    /// The runs have one priority and take turns. A batch then keeps to one run: of tasks that two runs get in one call
    /// neither comes first.
    pub fair: bool,
    /// How many times as many tasks as usual are claimed and settled in a call.
    pub scale: i32,
    pub sessions: Vec<Vec<Transaction>>,
}

/// The prefix of the shared queues.
pub const QUEUES: &str = "q";

const LARGEST_FLOW: usize = 7;
/// The engine takes a map of so many tasks for large.
const LARGE_MAP: usize = 100;
const FEWEST_TASKS: usize = 4;
const MOST_TASKS: usize = 16;
/// Tasks that the runs have at their start, so that sessions have something to do beside each other.
const FEWEST_READY: usize = 3;

impl Program {
    pub fn new(seed: u64) -> Program {
        let mut rng = StdRng::seed_from_u64(seed);
        let rng = &mut rng;
        let is_large = rng.random_bool(0.04);
        let (flow, mut plans, expected) = if is_large { large_flow(rng) } else { small_flow(rng) };
        let fair = rng.random_bool(0.5);
        let serializable = rng.random_bool(0.06);
        for (n, plan) in (0..).zip(&mut plans) {
            plan.priority = if fair { 0 } else { n };
            plan.disturbed = rng.random_bool(0.2);
            plan.key = rng.random_bool(0.3).then(|| format!("key {n}"));
        }
        let mut sessions = vec![Vec::new(); *[2, 3, 3, 4].choose(rng).unwrap_or(&3)];
        let mut left = rng.random_range(5..=30);
        while left > 0 {
            let transaction = transaction(rng, &flow, serializable);
            left -= transaction.len().min(left);
            let session = rng.random_range(0..sessions.len());
            sessions[session].push(transaction);
        }
        let scale = if is_large { 15 } else { 1 };
        let mut program = Program { seed, flow, plans, expected, fair, scale, sessions };
        program.start_runs(rng);
        program
    }

    /// Puts in the starts of the runs, and the cancelling and retrying of those that are disturbed.
    fn start_runs(&mut self, rng: &mut StdRng) {
        for slot in 0..self.plans.len() {
            let starts = if self.plans[slot].key.is_some() { 2 } else { 1 };
            for _ in 0..starts {
                let mut start = Transaction::alone(rng.random(), Kind::Start(slot));
                if slot == 0 && rng.random_bool(0.8) {
                    start.is_first = true;
                    self.sessions[0].insert(0, start);
                    continue;
                }
                if rng.random_bool(0.3) {
                    start.level = Level::ReadCommitted;
                    start.commits = rng.random_bool(0.7);
                    start.calls.extend(rng.random_bool(0.5).then_some(Kind::Claim));
                }
                let session = rng.random_range(0..self.sessions.len());
                let most = self.sessions[session].len().min(2 * slot);
                self.sessions[session].insert(rng.random_range(0..=most), start);
            }
            let manual = self.flow.steps.iter().filter(|step| step.manual).count();
            for _ in 0..manual {
                let start = Transaction::alone(rng.random(), Kind::StartStep);
                let session = rng.random_range(0..self.sessions.len());
                let at = rng.random_range(0..=self.sessions[session].len());
                self.sessions[session].insert(at, start);
            }
            if self.plans[slot].disturbed {
                for kind in [Kind::Cancel(slot), Kind::Retry(slot)] {
                    let mut change = Transaction::alone(rng.random(), kind);
                    if rng.random_bool(0.4) {
                        change.level = Level::ReadCommitted;
                        change.commits = rng.random_bool(0.7);
                    }
                    let session = rng.random_range(0..self.sessions.len());
                    let at = rng.random_range(0..=self.sessions[session].len());
                    self.sessions[session].insert(at, change);
                }
            }
        }
    }

    pub fn queues(&self) -> Vec<String> {
        let mut queues: Vec<String> = (self.flow.steps.iter())
            .map(|step| step.queue.map_or(self.flow.slug.clone(), |n| format!("{QUEUES}{n}")))
            .collect();
        queues.sort();
        queues.dedup();
        queues
    }

    pub fn uses(&self, level: Level) -> bool {
        self.sessions.iter().flatten().any(|t| t.level == level)
    }

    /// The program without one transaction.
    pub fn without(&self, session: usize, transaction: usize) -> Program {
        let mut less = self.clone();
        less.sessions[session].remove(transaction);
        less
    }
}

fn small_flow(rng: &mut StdRng) -> (Flow, Vec<Plan>, Vec<Expected>) {
    loop {
        let (mut flow, plans) = generate(rng.random_range(0..1 << 40), "schedule");
        if flow.steps.is_empty() || flow.steps.len() > LARGEST_FLOW {
            continue;
        }
        flow.slug = "f".to_owned();
        flow.piecewise = false;
        // So that sessions meet: in one queue most often.
        let queues = if rng.random_bool(0.7) { 1 } else { 2 };
        flow.steps.iter_mut().for_each(|step| step.queue = step.queue.map(|queue| queue % queues));
        let expected: Vec<Expected> = plans.iter().map(|plan| interpret(&flow, &plan.payload, &Kept::new())).collect();
        let tasks = |e: &Expected| e.steps.iter().map(|s| s.tasks.len()).sum::<usize>();
        let at_once = |e: &Expected| {
            let steps = e.steps.iter().zip(&flow.steps);
            steps
                .filter(|(_, step)| step.deps.is_empty() && !step.manual)
                .map(|(end, _)| end.tasks.len())
                .sum::<usize>()
        };
        let ready: usize = expected.iter().map(at_once).sum();
        if expected.iter().all(|e| (FEWEST_TASKS..=MOST_TASKS).contains(&tasks(e))) && ready >= FEWEST_READY {
            return (flow, plans, expected);
        }
    }
}

/// A flow with a map of so many tasks that the engine does not count each of them.
fn large_flow(rng: &mut StdRng) -> (Flow, Vec<Plan>, Vec<Expected>) {
    loop {
        let (flow, mut plans, _) = small_flow(rng);
        let is_root_map = |step: &Step| step.map && step.deps.is_empty() && step.required.is_none();
        if !flow.steps.iter().any(is_root_map) {
            continue;
        }
        plans.truncate(1);
        plans[0].payload = (0..rng.random_range(100..=110)).collect();
        let expected = interpret(&flow, &plans[0].payload, &Kept::new());
        let tasks: usize = expected.steps.iter().map(|step| step.tasks.len()).sum();
        let completes = expected.steps.iter().any(|s| s.tasks.len() >= LARGE_MAP && s.output().is_some());
        if completes && tasks <= 2 * MOST_TASKS + LARGE_MAP {
            return (flow, plans, vec![expected]);
        }
    }
}

fn transaction(rng: &mut StdRng, flow: &Flow, serializable: bool) -> Transaction {
    let mut transaction = Transaction::alone(rng.random(), Kind::Claim);
    transaction.calls = match rng.random_range(0..100) {
        0..22 => vec![Kind::Claim],
        22..24 => vec![Kind::Claim, Kind::Claim],
        24..88 => {
            let kind = settling(rng, flow);
            if rng.random_bool(0.35) { vec![kind, Kind::Claim] } else { vec![kind] }
        }
        88..94 => vec![Kind::LetExpire],
        _ => vec![Kind::Pass],
    };
    if matches!(transaction.calls[..], [Kind::LetExpire | Kind::Pass]) {
        return transaction;
    }
    let levels: &[Level] = if serializable {
        &[Level::Alone, Level::ReadCommitted, Level::RepeatableRead, Level::Serializable, Level::Serializable]
    } else {
        &[Level::Alone, Level::ReadCommitted, Level::ReadCommitted, Level::ReadCommitted, Level::RepeatableRead]
    };
    transaction.level = *levels.choose(rng).unwrap_or(&Level::Alone);
    if transaction.level == Level::Alone && transaction.calls.len() > 1 {
        transaction.level = Level::ReadCommitted;
    }
    transaction.looks = transaction.level.may_conflict() && rng.random_bool(0.6);
    transaction.commits = rng.random_bool(0.85);
    transaction
}

fn settling(rng: &mut StdRng, flow: &Flow) -> Kind {
    let external = flow.steps.iter().any(|s| s.external);
    let manual = flow.steps.iter().any(|s| s.manual);
    match rng.random_range(0..100) {
        0..10 if external => Kind::External,
        10..20 if manual => Kind::StartStep,
        20..30 => Kind::SettleAndClaim,
        30..50 => Kind::SettleBatch,
        50..57 => Kind::Extend,
        57..64 => Kind::Intrude,
        _ => Kind::SettleOne,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_everything() {
        for seed in 0..50 {
            assert_eq!(format!("{:?}", Program::new(seed)), format!("{:?}", Program::new(seed)));
        }
    }

    #[test]
    fn programs_are_small_and_of_every_kind() {
        let programs: Vec<Program> = (0..400).map(Program::new).collect();
        let calls = |p: &Program| p.sessions.iter().flatten().flat_map(|t| t.calls.clone()).collect::<Vec<_>>();
        assert!(programs.iter().all(|p| p.flow.steps.len() <= LARGEST_FLOW && p.sessions.len() <= 4));
        for kind in [
            Kind::External,
            Kind::StartStep,
            Kind::SettleAndClaim,
            Kind::Cancel(0),
            Kind::Retry(0),
            Kind::LetExpire,
            Kind::Pass,
        ] {
            assert!(programs.iter().any(|p| calls(p).contains(&kind)), "{kind:?}");
        }
        for level in [Level::RepeatableRead, Level::Serializable] {
            assert!(programs.iter().any(|p| p.uses(level)));
        }
        assert!(programs.iter().any(|p| p.scale > 1));
        assert!(programs.iter().any(|p| p.plans.len() == 3 && p.expected.iter().any(|e| e.fails)));
    }

    #[test]
    fn a_transaction_settles_once_and_before_it_claims() {
        for transaction in (0..400).flat_map(|seed| Program::new(seed).sessions).flatten() {
            let claims = |kind: &Kind| *kind == Kind::Claim;
            let first = transaction.calls.iter().position(claims).unwrap_or(transaction.calls.len());
            assert!(transaction.calls[first..].iter().all(claims) && first <= 1);
        }
    }
}
