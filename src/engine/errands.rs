//! What the end of a run could not do to other runs at once, because something was not free: rows that commit with the
//! end itself, for [`super::aftermath::sweep`].

use std::collections::BTreeMap;

use rand::Rng;

use crate::error::{Error, Result, quoted};
use crate::model::RunId;
use crate::statements;
use crate::store::{Instant, Session, latch};

statements! {
    TAKE_ERRANDS = "take_errands.sql",
    INSERT_ERRANDS = "insert_errands.sql",
    NEXT_ERRAND = "next_errand.sql",
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A child has ended: its parent's task is to be settled.
    TellParent,
    /// The same, and if it failed the task is not tried again.
    TellParentForGood,
    /// Children of a run are to be cancelled if no task waits for them, and its tasks failed if their children are gone.
    EndChildren,
}

impl Kind {
    const ALL: [Self; 3] = [Self::TellParent, Self::TellParentForGood, Self::EndChildren];

    const fn as_str(self) -> &'static str {
        match self {
            Self::TellParent => "tell_parent",
            Self::TellParentForGood => "tell_parent_for_good",
            Self::EndChildren => "end_children",
        }
    }
}

/// What is left for later, each once.
#[derive(Default)]
pub struct Errands(BTreeMap<(RunId, Kind), Instant>);

impl Errands {
    pub fn add(&mut self, run: RunId, kind: Kind, due: Instant) {
        let at = self.0.entry((run, kind)).or_insert(due);
        *at = due.min(*at);
    }

    pub fn leave(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut rng = rand::rng();
        let ids: Vec<_> = self.0.keys().map(|key| key.0).collect();
        let kinds: Vec<_> = self.0.keys().map(|key| key.1.as_str()).collect();
        let due: Vec<_> = self.0.values().copied().collect();
        let numbers: Vec<i64> = ids.iter().map(|_| rng.random()).collect();
        INSERT_ERRANDS.execute(&[&ids, &numbers, &kinds, &due])?;
        latch::set_at_commit();
        Ok(())
    }
}

/// Takes so many of the errands that are due, those that nobody else is taking.
pub fn take(session: &Session, most: i32) -> Result<Vec<(RunId, Kind)>> {
    TAKE_ERRANDS.query(&[&session.now, &most], |row| {
        let name: String = row.get(2)?;
        let kind = (Kind::ALL.into_iter())
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| Error::Internal(format!("there is no errand {}", quoted(&name))))?;
        Ok((row.get(1)?, kind))
    })
}

/// When the next one is due.
pub fn next() -> Result<Option<Instant>> {
    NEXT_ERRAND.first(&[], |row| row.get(1))
}
