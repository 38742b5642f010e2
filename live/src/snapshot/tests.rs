use super::*;

fn moment(micros: i64) -> Option<Moment> {
    Some(Moment {
        micros,
        text: format!("t{micros}").into(),
    })
}

fn standing(status: &str, started: Option<i64>, finished: Option<i64>) -> Standing {
    let details = Details {
        output: RawValue::from_string("1".to_owned()).ok(),
        ..Details::default()
    };
    Standing {
        status: status.into(),
        started: started.and_then(moment),
        finished: finished.and_then(moment),
        is_empty: false,
        details: Some(Arc::new(details)),
    }
}

fn snapshot(run: Standing, steps: &[(&str, Standing)]) -> Arc<Snapshot> {
    let steps = steps.iter().zip(0..).map(|((slug, standing), index)| {
        let step = Step {
            index: Some(index),
            standing: standing.clone(),
        };
        (Arc::from(*slug), step)
    });
    Arc::new(Snapshot {
        run_id: Uuid::nil(),
        flow_slug: "flow".into(),
        run,
        steps: steps.collect(),
    })
}

fn names(events: &[Event]) -> Vec<String> {
    events.iter().map(Event::name).collect()
}

#[test]
fn what_was_known_is_not_told() {
    let known = snapshot(
        standing("started", Some(1), None),
        &[("a", standing("completed", Some(1), Some(2)))],
    );
    let mut teller = Teller::new(Arc::clone(&known));
    assert!(teller.tell(&known).is_empty());
    assert!(
        teller
            .tell(&snapshot(
                known.run.clone(),
                &[("a", known.steps["a"].standing.clone())]
            ))
            .is_empty()
    );
}

#[test]
fn everything_between_two_looks_is_told_in_order() {
    // The slugs are in the opposite order of the deps, and both steps change in one transaction.
    let before = snapshot(
        standing("started", Some(1), None),
        &[
            ("z", standing("started", Some(1), None)),
            ("a", standing("pending", None, None)),
        ],
    );
    let after = snapshot(
        standing("completed", Some(1), Some(9)),
        &[
            ("z", standing("completed", Some(1), Some(5))),
            ("a", standing("completed", Some(5), Some(9))),
        ],
    );
    let mut teller = Teller::new(before);
    let told = teller.tell(&after);
    assert_eq!(
        names(&told),
        [
            "step:z:completed",
            "step:a:started",
            "step:a:completed",
            "run:completed"
        ]
    );
    assert_eq!(
        told[0].message(),
        r#"{"event_type":"step:completed","run_id":"00000000-0000-0000-0000-000000000000","flow_slug":"flow","step_slug":"z","status":"completed","started_at":"t1","finished_at":"t5","output":1}"#
    );
    // What has only begun has no output yet, whatever is known by now.
    assert!(
        told[1]
            .message()
            .ends_with(r#""status":"started","started_at":"t5"}"#),
        "{}",
        told[1].message()
    );
    assert!(teller.tell(&after).is_empty());
}

#[test]
fn a_run_that_is_still_to_begin_is_told_of_when_it_begins() {
    let held = snapshot(
        standing("pending", None, None),
        &[("wait", standing("started", Some(3), None))],
    );
    let mut teller = Teller::new(held);
    // A wait for an event may begin, and end, before the run does.
    let waits = snapshot(
        standing("pending", None, None),
        &[("wait", standing("completed", Some(3), Some(4)))],
    );
    assert!(teller.tell(&waits).is_empty());
    let began = snapshot(
        standing("started", Some(7), None),
        &[("wait", standing("completed", Some(3), Some(4)))],
    );
    assert_eq!(
        names(&teller.tell(&began)),
        ["run:started", "step:wait:started", "step:wait:completed"]
    );
}

#[test]
fn a_retry_begins_again() {
    let failed = snapshot(
        standing("failed", Some(1), Some(4)),
        &[("a", standing("failed", Some(1), Some(4)))],
    );
    let retried = snapshot(
        standing("started", Some(1), None),
        &[("a", standing("started", Some(6), None))],
    );
    let done = snapshot(
        standing("completed", Some(1), Some(8)),
        &[("a", standing("completed", Some(6), Some(8)))],
    );
    let mut teller = Teller::new(Arc::clone(&failed));
    assert_eq!(
        names(&teller.tell(&retried)),
        ["run:started", "step:a:started"]
    );
    assert_eq!(
        names(&teller.tell(&done)),
        ["step:a:completed", "run:completed"]
    );
    // The same, seen at once.
    let mut teller = Teller::new(failed);
    assert_eq!(
        names(&teller.tell(&done)),
        [
            "run:started",
            "step:a:started",
            "step:a:completed",
            "run:completed"
        ]
    );
}

#[test]
fn a_step_that_never_began_ends_without_having_started() {
    let before = snapshot(
        standing("started", Some(1), None),
        &[("a", standing("pending", None, None))],
    );
    let mut teller = Teller::new(before);
    let cancelled = snapshot(
        standing("cancelled", Some(1), Some(3)),
        &[("a", standing("cancelled", None, Some(3)))],
    );
    assert_eq!(
        names(&teller.tell(&cancelled)),
        ["step:a:cancelled", "run:cancelled"]
    );
}

#[test]
fn a_map_over_nothing_is_completed_at_once() {
    let before = snapshot(
        standing("started", Some(1), None),
        &[("m", standing("pending", None, None))],
    );
    let mut teller = Teller::new(before);
    let empty = Standing {
        is_empty: true,
        ..standing("completed", Some(2), Some(2))
    };
    let after = snapshot(standing("started", Some(1), None), &[("m", empty)]);
    assert_eq!(names(&teller.tell(&after)), ["step:m:completed"]);
}

#[test]
fn what_does_not_fit_is_to_be_fetched() {
    let details = Details {
        output: None,
        error_message: Some("no \"quotes\"".to_owned()),
        skip_reason: None,
        is_cut: true,
    };
    let failed = Standing {
        details: Some(Arc::new(details)),
        ..standing("failed", Some(1), Some(2))
    };
    let mut teller = Teller::new(snapshot(
        standing("started", Some(1), None),
        &[("a", standing("pending", None, None))],
    ));
    let told = teller.tell(&snapshot(
        standing("started", Some(1), None),
        &[("a", failed)],
    ));
    assert_eq!(names(&told), ["step:a:started", "step:a:failed"]);
    assert!(
        told[1]
            .message()
            .ends_with(r#""error_message":"no \"quotes\"","fetch":true}"#),
        "{}",
        told[1].message()
    );
}

#[test]
fn who_does_not_see_the_definition_has_the_times() {
    let hidden = |slugs: &[(&str, Standing)], run: Standing| {
        let mut snapshot = Snapshot::clone(&snapshot(run, slugs));
        snapshot
            .steps
            .values_mut()
            .for_each(|step| step.index = None);
        Arc::new(snapshot)
    };
    let before = [
        ("zeta", standing("started", Some(1), None)),
        ("mid", standing("pending", None, None)),
        ("alpha", standing("pending", None, None)),
    ];
    let after = [
        ("zeta", standing("completed", Some(1), Some(5))),
        ("mid", standing("completed", Some(5), Some(7))),
        ("alpha", standing("started", Some(7), None)),
    ];
    let mut teller = Teller::new(hidden(&before, standing("started", Some(1), None)));
    let told = teller.tell(&hidden(&after, standing("started", Some(1), None)));
    assert_eq!(
        names(&told),
        [
            "step:zeta:completed",
            "step:mid:started",
            "step:mid:completed",
            "step:alpha:started"
        ]
    );
}

#[test]
fn a_step_ends_after_its_start_whatever_the_clock_says() {
    let before = snapshot(
        standing("started", Some(1), None),
        &[("a", standing("pending", None, None))],
    );
    let mut teller = Teller::new(before);
    let after = snapshot(
        standing("started", Some(1), None),
        &[("a", standing("completed", Some(9), Some(3)))],
    );
    assert_eq!(
        names(&teller.tell(&after)),
        ["step:a:started", "step:a:completed"]
    );
}

#[test]
fn what_ended_before_it_was_looked_at_closely_is_to_be_fetched() {
    let ended = Standing {
        details: None,
        ..standing("completed", Some(2), Some(3))
    };
    let mut teller = Teller::new(snapshot(
        standing("pending", None, None),
        &[("a", ended.clone())],
    ));
    let told = teller.tell(&snapshot(
        standing("started", Some(4), None),
        &[("a", ended)],
    ));
    assert_eq!(
        names(&told),
        ["run:started", "step:a:started", "step:a:completed"]
    );
    assert!(
        told[2].message().ends_with(r#""fetch":true}"#),
        "{}",
        told[2].message()
    );
    assert!(
        !told[1].message().contains("fetch"),
        "{}",
        told[1].message()
    );
}
