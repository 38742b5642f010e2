//! Who watches what. All watchers of a run that have the same role and claims share one *watch*: a task that looks when the
//! bell is rung, and now and then anyway, and shows the newest snapshot to all of them.
//!
//! A watcher that is slow misses snapshots and no events: what it is told is the difference between the one that it saw
//! last and the newest. So nothing piles up for it.
//!
//! No event is lost between the feed and a watch: a watch can be rung before it looks for the first time, and the feed,
//! when it has lost its connection and listens again, rings all.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::database::{Database, Mode};
use crate::failure::Failure;
use crate::snapshot::{Details, Event, Moment, Snapshot, Standing, Step, Teller};
use crate::token::Caller;

const LOOK: &str = include_str!("statements/look.sql");

/// After how long without a bell a watch looks by itself: at first and at most; and where bells are known to be rung, so
/// that it need only look whether the caller may still look.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
const RUNG_PAUSE: Duration = Duration::from_secs(60);

/// How long one who begins to watch waits for the first look.
const PATIENCE: Duration = Duration::from_secs(15);

/// A run of so few steps is looked at as a whole whenever it is rung for. Larger ones are looked at where a bell says.
const FEW_STEPS: usize = 200;

/// Of how many flows one remembers that they ring.
const MAX_HEARD: usize = 10_000;

/// All watches.
pub struct Watches {
    database: Arc<Database>,
    max_watchers: usize,
    max_watchers_per_user: usize,
    max_output_bytes: i64,
    counts: Mutex<Counts>,
    by_run: Mutex<HashMap<Uuid, HashMap<Caller, Arc<Watch>>>>,
    /// Flows that were rung for.
    heard: Mutex<HashSet<Box<str>>>,
}

/// A user, whichever token it has: its role, and its sub if it has one.
type User = (String, Option<String>);

/// How many watch.
#[derive(Default)]
struct Counts {
    all: usize,
    by_user: HashMap<User, usize>,
}

/// That one watches, and is counted.
pub struct Counted {
    watches: Arc<Watches>,
    user: User,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = lock(&self.watches.counts);
        counts.all -= 1;
        if let Some(of_user) = counts.by_user.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                counts.by_user.remove(&self.user);
            }
        }
    }
}

/// One run, watched by one caller.
struct Watch {
    bell: Bell,
    /// How many have joined; guarded by the lock of `by_run`.
    watchers: AtomicUsize,
    view: watch::Sender<View>,
}

/// What a watch has seen.
#[derive(Clone, Debug, Default)]
struct View {
    /// How often it has looked.
    looks: u64,
    /// When the last look everywhere began: nothing that was seen is older.
    since: Option<Instant>,
    seen: Option<Result<Arc<Snapshot>, Failure>>,
}

/// Where to look.
#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
    notify: Notify,
}

#[derive(Default)]
struct Rung {
    everywhere: bool,
    steps: BTreeSet<String>,
}

impl Bell {
    fn ring(&self, steps: Option<&str>) {
        {
            let mut rung = lock(&self.rung);
            match steps {
                Some(step) => drop(rung.steps.insert(step.to_owned())),
                None => rung.everywhere = true,
            }
        }
        self.notify.notify_one();
    }
}

/// Nothing here panics while it holds a lock; if something did, what is behind it would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Watches {
    pub fn new(
        database: Arc<Database>,
        max_watchers: usize,
        max_watchers_per_user: usize,
        max_output_bytes: i64,
    ) -> Self {
        Self {
            database,
            max_watchers,
            max_watchers_per_user,
            max_output_bytes,
            counts: Mutex::default(),
            by_run: Mutex::default(),
            heard: Mutex::default(),
        }
    }

    /// How many watch, and how many watches they share.
    pub fn count(&self) -> (usize, usize) {
        let watches = lock(&self.by_run).values().map(HashMap::len).sum();
        (lock(&self.counts).all, watches)
    }

    /// Rings for a step of a run, or for the run itself.
    pub fn ring(&self, flow_slug: &str, run_id: Uuid, step: Option<&str>) {
        self.hear(flow_slug);
        for watch in lock(&self.by_run)
            .get(&run_id)
            .into_iter()
            .flat_map(HashMap::values)
        {
            // The run itself is looked at whatever it is rung for.
            watch.bell.ring(Some(step.unwrap_or_default()));
        }
    }

    /// Anybody may notify, so what is remembered is bounded, and being wrong only makes watches look less often.
    fn hear(&self, flow_slug: &str) {
        let mut heard = lock(&self.heard);
        if !heard.contains(flow_slug) {
            if heard.len() >= MAX_HEARD {
                heard.clear();
            }
            heard.insert(flow_slug.into());
        }
    }

    fn hears_of(&self, flow_slug: &str) -> bool {
        lock(&self.heard).contains(flow_slug)
    }

    /// Nothing is rung for any more: watches look by themselves until there is news.
    pub fn go_deaf(&self) {
        lock(&self.heard).clear();
        self.ring_all();
    }

    /// Something may have happened anywhere.
    pub fn ring_all(&self) {
        for watch in lock(&self.by_run).values().flat_map(HashMap::values) {
            watch.bell.ring(None);
        }
    }

    /// Begins to watch a run. What has happened until this returns can be read; what happens later is told. Who watches in the
    /// place of another one says how that one is counted.
    ///
    /// # Errors
    ///
    /// 404 when there is no such run, or none that the caller may see; 401 or 403 when the role may see none at all; 503
    /// when there are too many watchers, or too many of this user.
    pub async fn join(
        self: &Arc<Self>,
        run_id: Uuid,
        caller: &Caller,
        instead_of: Option<Arc<Counted>>,
    ) -> Result<Watcher, Failure> {
        let user = (caller.role.clone(), caller.sub.clone());
        let counted = match instead_of.filter(|counted| counted.user == user) {
            Some(counted) => counted,
            None => Arc::new(self.count_in(user)?),
        };
        let mut watcher = self.enter(run_id, caller, counted);
        // One look since now: the caller may have lost the right that others have begun to watch with.
        let begun = watcher.view.borrow().looks;
        watcher.watch.bell.ring(None);
        // A watch that others have goes on in silence while the database is away; who is new is told.
        timeout(PATIENCE, watcher.see(begun))
            .await
            .map_err(|_| Failure::Database)??;
        Ok(watcher)
    }

    fn count_in(self: &Arc<Self>, user: User) -> Result<Counted, Failure> {
        let too_many = |whose| Failure::Unavailable(format!("there are too many watchers{whose}"));
        let mut counts = lock(&self.counts);
        if counts.all >= self.max_watchers {
            return Err(too_many(""));
        }
        let of_user = counts.by_user.get(&user).copied().unwrap_or_default();
        if of_user >= self.max_watchers_per_user {
            return Err(too_many(" of this user"));
        }
        counts.all += 1;
        counts.by_user.insert(user.clone(), of_user + 1);
        Ok(Counted {
            watches: Arc::clone(self),
            user,
        })
    }

    fn enter(self: &Arc<Self>, run_id: Uuid, caller: &Caller, counted: Arc<Counted>) -> Watcher {
        let mut by_run = lock(&self.by_run);
        let watch = by_run
            .entry(run_id)
            .or_default()
            .entry(caller.clone())
            .or_insert_with(|| {
                let (view, _) = watch::channel(View::default());
                let watch = Arc::new(Watch {
                    bell: Bell::default(),
                    watchers: AtomicUsize::new(0),
                    view,
                });
                let keeper = Keeper {
                    watches: Arc::clone(self),
                    run_id,
                    caller: caller.clone(),
                    watch: Arc::clone(&watch),
                };
                tokio::spawn(keeper.keep());
                watch
            });
        watch.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher {
            view: watch.view.subscribe(),
            watch: Arc::clone(watch),
            teller: None,
            since: None,
            run_id,
            caller: caller.clone(),
            counted,
        }
    }

    fn leave(&self, run_id: Uuid, caller: &Caller, watch: &Watch) {
        let mut by_run = lock(&self.by_run);
        if watch.watchers.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        if let Some(of_run) = by_run.get_mut(&run_id) {
            of_run.remove(caller);
            if of_run.is_empty() {
                by_run.remove(&run_id);
            }
        }
        // It finds that nobody looks any more.
        watch.bell.ring(None);
    }
}

/// Someone who watches a run.
pub struct Watcher {
    view: watch::Receiver<View>,
    watch: Arc<Watch>,
    teller: Option<Teller>,
    /// What was seen before this is older than what it knows, or may be.
    since: Option<Instant>,
    run_id: Uuid,
    caller: Caller,
    counted: Arc<Counted>,
}

impl Watcher {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// How it is counted.
    pub fn counted(&self) -> Arc<Counted> {
        Arc::clone(&self.counted)
    }

    /// Waits until there have been more looks than these, and takes what was seen as known.
    async fn see(&mut self, begun: u64) -> Result<(), Failure> {
        loop {
            let view = self.view.borrow_and_update().clone();
            if view.looks > begun {
                match view.seen {
                    Some(Ok(snapshot)) => {
                        self.teller = Some(Teller::new(snapshot));
                        return Ok(());
                    }
                    Some(Err(failure)) => return Err(failure),
                    None => {}
                }
            }
            if self.view.changed().await.is_err() {
                return Err(Failure::Unavailable("the server is going down".to_owned()));
            }
        }
    }

    /// Watches in the place of another one, and tells what that one has not told yet. That takes another look: the last one may
    /// be older than what that one has told.
    pub fn instead_of(mut self, other: &mut Self) -> Self {
        self.teller = other.teller.take();
        self.since = Some(Instant::now());
        self.watch.bell.ring(None);
        self
    }

    /// Waits for something to happen.
    ///
    /// # Errors
    ///
    /// The run cannot be watched any longer: it was deleted, or the caller may not see it any more.
    pub async fn next(&mut self) -> Result<Vec<Event>, Failure> {
        loop {
            if self.view.changed().await.is_err() {
                return Err(Failure::Unavailable("the server is going down".to_owned()));
            }
            let view = self.view.borrow_and_update().clone();
            match view.seen {
                Some(Ok(_)) if view.since < self.since => {}
                Some(Ok(snapshot)) => {
                    let events = self
                        .teller
                        .as_mut()
                        .map(|teller| teller.tell(&snapshot))
                        .unwrap_or_default();
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
                Some(Err(failure)) => return Err(failure),
                None => {}
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        (self.counted.watches).leave(self.run_id, &self.caller, &self.watch);
    }
}

/// The task behind a watch.
struct Keeper {
    watches: Arc<Watches>,
    run_id: Uuid,
    caller: Caller,
    watch: Arc<Watch>,
}

impl Keeper {
    /// Looks until nobody watches, or what there was to see is gone.
    async fn keep(self) {
        let mut pause = FIRST_PAUSE;
        // Bells do not put it off: they may be rung by anybody, and for other steps than those that have moved.
        let mut everywhere_at = Instant::now() + pause;
        loop {
            let rung = timeout_at(everywhere_at, self.watch.bell.notify.notified())
                .await
                .is_ok_and(|()| Instant::now() < everywhere_at);
            if self.watch.watchers.load(Ordering::Relaxed) == 0 {
                return;
            }
            let work = std::mem::take(&mut *lock(&self.watch.bell.rung));
            let last = self.watch.view.borrow().seen.clone().and_then(Result::ok);
            let is_large = |last: &Snapshot| last.steps.len() > FEW_STEPS;
            let mut everywhere = true;
            let began = Instant::now();
            let seen = match &last {
                Some(last) if rung && !work.everywhere && is_large(last) => {
                    everywhere = false;
                    self.look_at(last, work.steps.into_iter().collect()).await
                }
                Some(last) => self.look_everywhere(last).await,
                None => self.look_first().await,
            };
            match seen {
                Ok(now) => {
                    let has_moved = !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &now));
                    if everywhere {
                        pause = match (rung, has_moved) {
                            _ if self.watches.hears_of(&now.flow_slug) => RUNG_PAUSE,
                            (false, true) => FIRST_PAUSE,
                            (false, false) => (pause * 3 / 2).min(LONGEST_PAUSE),
                            (true, _) => pause.min(LONGEST_PAUSE),
                        };
                        everywhere_at = Instant::now() + pause;
                    }
                    self.watch.view.send_modify(|view| {
                        view.looks += 1;
                        if everywhere {
                            view.since = Some(began);
                        }
                        view.seen = Some(Ok(now));
                    });
                }
                // What was seen stays seen. Later everywhere is looked, for what this look was to find; the feed rings
                // when the database is there again.
                Err(failure) if failure.is_passing() && last.is_some() => {
                    lock(&self.watch.bell.rung).everywhere = true;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    everywhere_at = Instant::now() + pause;
                }
                Err(failure) => {
                    self.watch.view.send_modify(|view| {
                        view.looks += 1;
                        view.seen = Some(Err(failure));
                    });
                    everywhere_at = Instant::now() + LONGEST_PAUSE;
                }
            }
        }
    }

    async fn look_first(&self) -> Result<Arc<Snapshot>, Failure> {
        let mut first = self.ask(None, false).await?;
        // Of a run that is still to begin all is told when it does.
        if first.run.is_pending() {
            first = self.ask(None, true).await?;
        }
        Ok(Arc::new(first))
    }

    /// Looks at the run and some steps. When the run has moved too, at all of it: its end is told after that of its steps.
    async fn look_at(
        &self,
        last: &Arc<Snapshot>,
        steps: Vec<String>,
    ) -> Result<Arc<Snapshot>, Failure> {
        let part = self.ask(Some(steps), true).await?;
        if !part.run.is_as(&last.run)
            || part.steps.keys().any(|slug| !last.steps.contains_key(slug))
        {
            return self.look_everywhere(last).await;
        }
        Ok(merge(last, part))
    }

    /// Looks at everything, and then, as of the same moment, closer at what has changed.
    async fn look_everywhere(&self, last: &Arc<Snapshot>) -> Result<Arc<Snapshot>, Failure> {
        let (run_id, caller, most) = (
            self.run_id,
            self.caller.clone(),
            self.watches.max_output_bytes,
        );
        let known = Arc::clone(last);
        self.watches
            .database
            .act(&self.caller, Mode::Look, move |transaction| {
                Box::pin(async move {
                    let refused = |error| Failure::of_statement(&caller, &error);
                    let statement = transaction.prepare_cached(LOOK).await.map_err(refused)?;
                    let nothing: Option<Vec<String>> = None;
                    let rows = transaction
                        .query(&statement, &[&run_id, &nothing, &false, &most])
                        .await
                        .map_err(refused)?;
                    let all = read(run_id, &rows, false)
                        .map_err(refused)?
                        .ok_or_else(|| Failure::no_run(run_id))?;
                    let changed = changed(&known, &all);
                    if changed.is_empty()
                        && all.run.is_as(&known.run)
                        && all.steps.len() == known.steps.len()
                    {
                        return Ok(known);
                    }
                    let rows = transaction
                        .query(&statement, &[&run_id, &Some(changed), &true, &most])
                        .await
                        .map_err(refused)?;
                    let part = read(run_id, &rows, true)
                        .map_err(refused)?
                        .ok_or_else(|| Failure::no_run(run_id))?;
                    // A run on which steps were taken away is another one.
                    let base = if all.steps.len() == known.steps.len() {
                        known
                    } else {
                        Arc::new(all)
                    };
                    Ok(merge(&base, part))
                })
            })
            .await
    }

    async fn ask(&self, steps: Option<Vec<String>>, closely: bool) -> Result<Snapshot, Failure> {
        let (run_id, caller, most) = (
            self.run_id,
            self.caller.clone(),
            self.watches.max_output_bytes,
        );
        self.watches
            .database
            .act(&self.caller, Mode::Look, move |transaction| {
                Box::pin(async move {
                    let refused = |error| Failure::of_statement(&caller, &error);
                    let statement = transaction.prepare_cached(LOOK).await.map_err(refused)?;
                    let rows = transaction
                        .query(&statement, &[&run_id, &steps, &closely, &most])
                        .await
                        .map_err(refused)?;
                    read(run_id, &rows, closely)
                        .map_err(refused)?
                        .ok_or_else(|| Failure::no_run(run_id))
                })
            })
            .await
    }
}

/// The steps that stand otherwise.
fn changed(known: &Snapshot, now: &Snapshot) -> Vec<String> {
    let is_new = |(slug, step): &(&Arc<str>, &Step)| {
        !known
            .steps
            .get(*slug)
            .is_some_and(|known| known.standing.is_as(&step.standing))
    };
    now.steps
        .iter()
        .filter(is_new)
        .map(|(slug, _)| slug.to_string())
        .collect()
}

/// A snapshot with some of it replaced by what was seen later; the same one if nothing of it has changed.
fn merge(last: &Arc<Snapshot>, part: Snapshot) -> Arc<Snapshot> {
    if part.run.is_as(&last.run) && changed(last, &part).is_empty() {
        return Arc::clone(last);
    }
    let mut now = Snapshot::clone(last);
    if !part.run.is_as(&now.run) {
        now.run = part.run;
    }
    for (slug, step) in part.steps {
        match now.steps.get_mut(&slug) {
            Some(known) if known.standing.is_as(&step.standing) => {}
            Some(known) => *known = step,
            None => drop(now.steps.insert(slug, step)),
        }
    }
    Arc::new(now)
}

/// What the rows of a look show; nothing if the run is not seen.
fn read(
    run_id: Uuid,
    rows: &[Row],
    closely: bool,
) -> Result<Option<Snapshot>, tokio_postgres::Error> {
    let mut run = None;
    let mut steps = BTreeMap::new();
    for row in rows {
        let standing = standing(row, closely)?;
        match row.try_get::<_, Option<&str>>("step_slug")? {
            None => run = Some((row.try_get::<_, &str>("flow_slug")?.into(), standing)),
            Some(slug) => {
                let index = row.try_get("step_index")?;
                steps.insert(slug.into(), Step { index, standing });
            }
        }
    }
    Ok(run.map(|(flow_slug, run)| Snapshot {
        run_id,
        flow_slug,
        run,
        steps,
    }))
}

fn standing(row: &Row, closely: bool) -> Result<Standing, tokio_postgres::Error> {
    let moment = |micros, text| -> Result<Option<Moment>, tokio_postgres::Error> {
        let micros: Option<i64> = row.try_get(micros)?;
        let text: Option<&str> = row.try_get(text)?;
        Ok(micros.zip(text).map(|(micros, text)| Moment {
            micros,
            text: text.into(),
        }))
    };
    let details = || -> Result<Details, tokio_postgres::Error> {
        let output: Option<String> = row.try_get("output")?;
        Ok(Details {
            // It is PostgreSQL that wrote it.
            output: output.and_then(|text| RawValue::from_string(text).ok()),
            error_message: row.try_get("error_message")?,
            skip_reason: row.try_get("skip_reason")?,
            is_cut: row.try_get("is_cut")?,
        })
    };
    Ok(Standing {
        status: row.try_get::<_, &str>("status")?.into(),
        started: moment("started_us", "started_at")?,
        finished: moment("finished_us", "finished_at")?,
        is_empty: row.try_get("is_empty")?,
        details: closely.then(details).transpose()?.map(Arc::new),
    })
}
