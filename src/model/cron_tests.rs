use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;

fn at(time: &str) -> i64 {
    let time = match time.len() {
        16 => format!("{time}:00Z"),
        _ => format!("{time}Z"),
    };
    time.parse::<Timestamp>().unwrap().as_microsecond()
}

fn cron(expression: &str, zone: &str) -> Cron {
    Cron::parse(expression, zone).unwrap_or_else(|fault| panic!("{expression}: {}", fault.message))
}

fn fault(expression: &str) -> String {
    match Cron::parse(expression, "UTC") {
        Ok(_) => panic!("{expression:?} is accepted"),
        Err(fault) => fault.message,
    }
}

/// The first ticks after a moment, in ISO 8601.
fn first(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let ticks = cron(expression, zone).ticks(at(after), i64::MAX, count);
    ticks.into_iter().map(iso).collect()
}

#[test]
fn changes_of_the_clock_are_as_in_a_list_found_by_trying_every_minute() {
    let list = include_str!("../../tests/cron/ticks.txt");
    for line in list.lines() {
        let parts: Vec<_> = line.split('|').map(str::trim).collect();
        let [zone, begin, end, expression, ticks] = parts[..] else {
            panic!("{line}");
        };
        let found = cron(expression, zone).ticks(at(begin) - 1, at(end) - 1, usize::MAX);
        let found: Vec<_> = found
            .iter()
            .map(|&tick| iso(tick)[8..16].to_owned())
            .collect();
        assert_eq!(
            found.join(" "),
            ticks,
            "{expression} in {zone} from {begin}"
        );
    }
    assert_eq!(list.lines().count(), 96);
}

#[test]
fn seconds_are_an_optional_first_field() {
    assert_eq!(
        first("*/20 * * * * *", "UTC", "2026-01-01T00:00:05", 3),
        [
            "2026-01-01T00:00:20Z",
            "2026-01-01T00:00:40Z",
            "2026-01-01T00:01:00Z"
        ]
    );
    assert_eq!(
        first("7 30 4 1 2 *", "UTC", "2026-01-01T00:00", 1),
        ["2026-02-01T04:30:07Z"]
    );
}

#[test]
fn every_second_around_a_change_of_the_clock() {
    let berlin = cron("* * * * * *", "Europe/Berlin");
    for change in ["2026-03-29T01:00", "2026-10-25T01:00"] {
        let from = at(change) - 5 * SECOND;
        let ticks = berlin.ticks(from, i64::MAX, 9);
        let all: Vec<_> = (1..10).map(|n| from + n * SECOND).collect();
        assert_eq!(ticks, all, "{change}");
    }
    // The hour that is left out is one tick; the one that is repeated has its ticks once.
    let at_two = cron("* * 2 * * *", "Europe/Berlin");
    let count = |from, until| at_two.ticks(at(from), at(until), usize::MAX).len();
    assert_eq!(count("2026-03-29T00:00", "2026-03-29T12:00"), 1);
    assert_eq!(count("2026-10-24T22:00", "2026-10-25T12:00"), 3600);
    assert_eq!(
        at_two.next_after(at("2026-10-25T01:30")),
        Some(at("2026-10-26T01:00"))
    );
}

#[test]
fn a_day_that_was_left_out_ticks_once_after_it() {
    // Samoa had no 30 December 2011.
    assert_eq!(
        first("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", 3),
        [
            "2011-12-29T22:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-30T22:00:00Z"
        ]
    );
}

#[test]
fn names_and_nicknames() {
    let after = "2026-01-01T00:00";
    for (name, same) in [
        ("@yearly", "0 0 1 1 *"),
        ("@Annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        (" @hourly ", "0 * * * *"),
        ("0 0 * jan-mar,DEC mon", "0 0 * 1-3,12 1"),
        ("0 0 * * SUN", "0 0 * * 7"),
        ("0 0 * * fri-sun", "0 0 * * 5-7"),
        ("0\t0 ? * MON#2", "0 0 * * 1#2"),
        ("0 0 * * FRIL", "0 0 * * 5L"),
    ] {
        assert_eq!(
            first(name, "UTC", after, 20),
            first(same, "UTC", after, 20),
            "{name}"
        );
    }
}

#[test]
fn either_day_is_enough_unless_both_are_asked_for() {
    let after = "2026-02-01T00:00";
    assert_eq!(
        first("0 0 13 * FRI", "UTC", after, 3),
        [
            "2026-02-06T00:00:00Z",
            "2026-02-13T00:00:00Z",
            "2026-02-20T00:00:00Z"
        ]
    );
    assert_eq!(
        first("0 0 13 * +FRI", "UTC", after, 2),
        ["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"]
    );
    assert_eq!(
        first("0 0 L * *", "UTC", after, 2),
        ["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]
    );
    assert_eq!(
        first("0 0 15W 2 *", "UTC", after, 1),
        ["2026-02-16T00:00:00Z"]
    );
    assert_eq!(
        first("0 0 29 2 *", "UTC", after, 1),
        ["2028-02-29T00:00:00Z"]
    );
}

#[test]
fn what_is_wrong_is_said() {
    for (expression, message) in [
        ("", "\"\" has 0 fields and not 5 or 6"),
        ("* * * *", "\"* * * *\" has 4 fields and not 5 or 6"),
        (
            "* * * * * * 2026",
            "\"* * * * * * 2026\" has 7 fields and not 5 or 6",
        ),
        ("60 * * * *", "minute \"60\" is wrong: number out of bounds"),
        (
            "60 * * * * *",
            "second \"60\" is wrong: number out of bounds",
        ),
        ("* 24 * * *", "hour \"24\" is wrong: number out of bounds"),
        (
            "* * 0 * *",
            "day of month \"0\" is wrong: number out of bounds",
        ),
        ("* * * 13 *", "month \"13\" is wrong: number out of bounds"),
        (
            "* * * * 8",
            "day of week \"8\" is wrong: number out of bounds",
        ),
        (
            "*/0 * * * *",
            "minute \"*/0\" is wrong: step cannot be zero",
        ),
        ("@every", "unknown nickname \"@every\""),
        ("0 0 30 2 *", "\"0 0 30 2 *\" never comes"),
        ("0 0 31 2,4,6 *", "\"0 0 31 2,4,6 *\" never comes"),
        ("a\nb", "\"a\\nb\" is not a cron expression"),
    ] {
        assert_eq!(fault(expression), message);
    }
    // Lists with holes, and names in the wrong place or glued to something.
    for expression in [
        ", * * * *",
        "1,,2 * * * *",
        "0 0 MON * *",
        "0 0 * JANFEB *",
        "0 0 * * 1MON",
        "0 0 * * MON1",
        "JAN * * * *",
        "0 0 * * FEB",
        "0 0 * * MONDAY",
        "0 0 * ı *",
        "@hourly @daily",
    ] {
        fault(expression);
    }
    assert!(fault(&"*".repeat(300)).ends_with("(300 bytes) is not a cron expression"));
    for zone in [
        "",
        "Europe/Atlantis",
        "Etc/Unknown",
        "local",
        "+02:00",
        "CEST",
    ] {
        let fault = Cron::parse("* * * * *", zone).unwrap_err();
        assert_eq!(fault.message, format!("unknown time zone {}", quoted(zone)));
    }
}

#[test]
fn zones_have_one_spelling() {
    for (given, name) in [
        ("europe/berlin", "Europe/Berlin"),
        ("utc", "UTC"),
        ("UTC", "UTC"),
    ] {
        assert_eq!(zone_name(given).as_deref(), Ok(name));
    }
}

#[test]
fn the_last_tick_is_found_without_walking() {
    let every_second = cron("* * * * * *", "UTC");
    let from = at("1970-01-02T00:00");
    assert_eq!(
        every_second.last_tick(from, at("2026-01-01T00:00")),
        Some(at("2026-01-01T00:00"))
    );
    assert_eq!(every_second.last_tick(from, from + SECOND - 1), None);
    let leap_day = cron("0 0 29 2 *", "UTC");
    assert_eq!(
        leap_day.last_tick(from, at("2026-01-01T00:00")),
        Some(at("2024-02-29T00:00"))
    );
    assert_eq!(
        leap_day.last_tick(at("2024-02-29T00:00"), at("2026-01-01T00:00")),
        None
    );
}

#[test]
fn the_calendar_ends() {
    let cron = cron("@yearly", "Europe/Berlin");
    assert_eq!(cron.next_after(i64::MAX), None);
    assert_eq!(
        cron.next_after(at("4999-12-01T00:00")).map(iso).as_deref(),
        Some("4999-12-31T23:00:00Z")
    );
    assert_eq!(cron.next_after(at("6000-01-01T00:00")), None);
}

/// One element of a field, as text and as the values it stands for.
fn field(low: u32, high: u32) -> impl Strategy<Value = (String, BTreeSet<u32>)> {
    let all = move || (low..=high).collect::<BTreeSet<_>>();
    prop_oneof![
        Just(("*".to_owned(), all())),
        (1..12u32).prop_map(move |step| {
            (
                format!("*/{step}"),
                (low..=high).step_by(step as usize).collect(),
            )
        }),
        prop::collection::btree_set(low..=high, 1..4).prop_map(|values| {
            let list: Vec<_> = values.iter().map(u32::to_string).collect();
            (list.join(","), values)
        }),
        (low..high)
            .prop_flat_map(move |first| (Just(first), first + 1..=high))
            .prop_map(|(first, last)| (format!("{first}-{last}"), (first..=last).collect())),
    ]
}

proptest! {
    // In UTC the ticks are the minutes that match, tried one by one.
    #[test]
    fn ticks_are_the_minutes_that_match(
        minute in field(0, 59), hour in field(0, 23), month in field(1, 12), weekday in field(0, 6),
        start in 0..4_000_000_i64,
    ) {
        let expression = format!("{} {} * {} {}", minute.0, hour.0, month.0, weekday.0);
        let cron = cron(&expression, "UTC");
        let (from, minutes) = (start * 7 * 60 * SECOND, 3000);
        let until = from + minutes * 60 * SECOND;
        let expected: Vec<_> = (1..=minutes).map(|n| from + n * 60 * SECOND).filter(|&time| {
            let wall = TimeZone::UTC.to_datetime(Timestamp::from_microsecond(time).unwrap());
            minute.1.contains(&(wall.minute() as u32)) && hour.1.contains(&(wall.hour() as u32))
                && month.1.contains(&(wall.month() as u32))
                && weekday.1.contains(&(wall.weekday().to_sunday_zero_offset() as u32))
        }).collect();
        prop_assert_eq!(cron.last_tick(from, until), expected.last().copied());
        prop_assert_eq!(cron.ticks(from, until, usize::MAX), expected);
    }

    // Whatever the zone does, each tick is later than the one before, and none is missed between two looks.
    #[test]
    fn ticks_go_on(
        minute in field(0, 59), hour in field(0, 23), start in 0..30_000_i64, rest in 0..86_400_i64,
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
                                          "America/Santiago", "Asia/Tehran", "Pacific/Apia", "Antarctica/Troll"]),
    ) {
        let cron = cron(&format!("{} {} * * *", minute.0, hour.0), zone);
        let from = (start * 86_400 + rest) * SECOND;
        let ticks = cron.ticks(from, i64::MAX, 20);
        prop_assert_eq!(ticks.len(), 20);
        prop_assert!(ticks[0] > from && ticks.is_sorted_by(|a, b| a < b));
        let middle = from + (ticks[19] - from) / 2;
        let mut two_looks = cron.ticks(from, middle, usize::MAX);
        two_looks.extend(cron.ticks(middle, ticks[19], usize::MAX));
        prop_assert_eq!(two_looks, ticks);
    }

    #[test]
    fn anything_is_read_or_refused(text in "[-0-9*,/?LW#@+A-Za-z ]{0,40}") {
        let _ = Cron::parse(&text, "UTC");
    }
}
