//! Tests of what no SQL function shows. Built into the library only for `cargo pgrx test`.

// pgrx wants the schema of test functions as an inline module.
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use super::super::limits;
    use crate::store::{Instant, Statement, enter};

    fn next_room() -> Option<Instant> {
        enter(|session| limits::next_room(session, "q"))
    }

    /// Sets the limits and claims as much as can be had.
    fn limited(limits: &str, runs: &str) -> i64 {
        Spi::run(&format!(
            "select pgflow.create_flow('f'); select pgflow.add_step('f', 's', queue => 'q');
             select {runs};
             select pgflow.limit_queue('q', {limits})"
        ))
        .expect("a limited queue");
        Spi::get_one("select count(*) from pgflow.claim_step_tasks('q')")
            .expect("a claim")
            .expect("a count")
    }

    const RUNS: &str = "count(pgflow.run_flow('f')) from generate_series(1, 5)";

    #[pg_test]
    fn a_window_has_room_when_its_first_start_has_left_it() {
        static END: Statement = Statement::new(
            "end_of_window",
            "select min(started_at) + interval '1 hour 1 microsecond' from pgflow.queue_starts",
        );
        let end = || enter(|_| END.first(&[], |row| row.get::<Instant>(1)));
        assert_eq!(limited("max_started => 2, period => '1 hour'", RUNS), 2);
        assert_eq!(next_room(), end());
        // Nothing is started then that would have to leave it too.
        Spi::run("update pgflow.queue_starts set tasks = 1").expect("an update");
        assert_eq!(next_room(), None);
        Spi::run("select pgflow.pause_queue('q')").expect("a pause");
        assert_eq!(next_room(), None);
    }

    #[pg_test]
    fn the_first_key_to_have_room_counts() {
        static FIRST: Statement = Statement::new(
            "first_key",
            "select started_at + interval '1 hour 1 microsecond' from pgflow.queue_starts where key = 'a'",
        );
        let runs = "count(pgflow.run_flow('f', key => k)) from unnest('{a,a,b}'::text[]) k";
        assert_eq!(
            limited("max_started_per_key => 1, period => '1 hour'", runs),
            2
        );
        Spi::run("update pgflow.queue_starts set started_at = started_at - interval '1 minute' where key = 'a'")
            .expect("an update");
        let first = enter(|_| FIRST.first(&[], |row| row.get::<Instant>(1)));
        assert!(first.is_some());
        assert_eq!(next_room(), first);
    }

    #[pg_test]
    fn what_runs_says_nothing_of_when_it_ends() {
        assert_eq!(limited("max_running => 2", RUNS), 2);
        assert_eq!(next_room(), None);
    }

    #[pg_test]
    fn a_queue_without_limits_has_room() {
        assert_eq!(next_room(), None);
        assert_eq!(limited("max_started => 0", RUNS), 0);
        assert_eq!(next_room(), None);
    }
}
