//! Which of its due ticks a schedule runs.

use super::cron::Cron;

/// What becomes of ticks that were missed: those before the last one that is due, and that one, too, when it is more
/// than [`LATE`] ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    None,
    One,
    All,
}

/// How late a tick may be noticed and still be no missed one, in microseconds.
pub const LATE: i64 = 60_000_000;

/// What a schedule that is due does.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// The ticks that start a run.
    pub ticks: Vec<i64>,
    /// The last tick that is dealt with.
    pub last: i64,
    pub next: Option<i64>,
}

impl CatchUp {
    pub fn parse(text: &str) -> Self {
        match text {
            "all" => Self::All,
            "one" => Self::One,
            _ => Self::None,
        }
    }

    /// `first` was announced as the next tick and has come, so it counts as one whatever the expression says by now.
    /// No more than `limit` ticks start a run; with [`Self::All`] the next one may then be due, too.
    pub fn due(self, cron: &Cron, first: i64, now: i64, limit: usize) -> Due {
        if self == Self::All {
            let mut ticks = vec![first];
            ticks.extend(cron.ticks(first, now, limit.saturating_sub(1)));
            let last = *ticks.last().unwrap_or(&first);
            return Due {
                ticks,
                last,
                next: cron.next_after(last),
            };
        }
        let last = cron.last_tick(first, now).unwrap_or(first);
        let runs = self == Self::One || now.saturating_sub(last) <= LATE;
        Due {
            ticks: if runs { vec![last] } else { Vec::new() },
            last,
            next: cron.next_after(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn due(catch_up: CatchUp, cron: &str, first: i64, now: i64, limit: usize) -> Due {
        let cron = Cron::parse(cron, "UTC").unwrap();
        catch_up.due(&cron, first * MINUTE, now, limit)
    }

    fn minutes(ticks: &[i64], last: i64, next: i64) -> Due {
        Due {
            ticks: ticks.iter().map(|tick| tick * MINUTE).collect(),
            last: last * MINUTE,
            next: Some(next * MINUTE),
        }
    }

    #[test]
    fn a_tick_that_is_just_due_always_runs() {
        for catch_up in [CatchUp::None, CatchUp::One, CatchUp::All] {
            for late in [0, 1, LATE] {
                let due = due(catch_up, "*/5 * * * *", 10, 10 * MINUTE + late, 1000);
                assert_eq!(due, minutes(&[10], 10, 15), "{catch_up:?} {late}");
            }
        }
    }

    #[test]
    fn missed_ticks_start_no_run_one_or_all() {
        let now = 26 * MINUTE + 1;
        let after = |catch_up| due(catch_up, "*/5 * * * *", 10, now, 1000);
        assert_eq!(after(CatchUp::None), minutes(&[], 25, 30));
        assert_eq!(after(CatchUp::One), minutes(&[25], 25, 30));
        assert_eq!(after(CatchUp::All), minutes(&[10, 15, 20, 25], 25, 30));
        // The last one is just due; only those before it were missed.
        let after = |catch_up| due(catch_up, "*/5 * * * *", 10, 25 * MINUTE + 1, 1000);
        assert_eq!(after(CatchUp::None), minutes(&[25], 25, 30));
        assert_eq!(after(CatchUp::One), minutes(&[25], 25, 30));
    }

    #[test]
    fn a_limit_leaves_the_rest_for_the_next_call() {
        let after = due(CatchUp::All, "* * * * *", 10, 100 * MINUTE, 3);
        assert_eq!(after, minutes(&[10, 11, 12], 12, 13));
        assert_eq!(
            due(CatchUp::All, "* * * * *", 10, 100 * MINUTE, 1),
            minutes(&[10], 10, 11)
        );
    }

    #[test]
    fn what_was_announced_counts_although_the_expression_says_otherwise() {
        for catch_up in [CatchUp::None, CatchUp::One, CatchUp::All] {
            let due = due(catch_up, "0 0 1 1 *", 7, 7 * MINUTE, 1000);
            assert_eq!(due, minutes(&[7], 7, 365 * 1440), "{catch_up:?}");
        }
    }
}
