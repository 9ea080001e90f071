//! Schedules by example, and at every transition of every zone.

mod zones;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The next `n` fires after `from`.
fn fires(cron: &str, zone: &str, from: &str, n: usize) -> Vec<String> {
    let schedule = Schedule::parse(cron, zone).unwrap();
    let mut now = at(from);
    let next = |_| {
        now = schedule.next_after(now).unwrap();
        now.format("%m-%dT%H:%M").to_string()
    };
    (0..n).map(next).collect()
}

#[test]
fn a_time_that_does_not_exist_fires_after_the_gap_once() {
    // Berlin, 2026-03-29: 02:00 → 03:00 (01:00 UTC).
    let found = fires("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 4);
    assert_eq!(found, ["03-28T01:30", "03-29T01:00", "03-30T00:30", "03-31T00:30"]);
}

#[test]
fn a_time_that_occurs_twice_fires_once() {
    // Berlin, 2026-10-25: 03:00 → 02:00 (01:00 UTC).
    let found = fires("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", 4);
    assert_eq!(found, ["10-24T00:30", "10-25T00:30", "10-26T01:30", "10-27T01:30"]);
    // Asked from within the second occurrence: the day's run is over.
    assert_eq!(fires("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), ["10-26T01:30"]);
}

#[test]
fn repeating_expressions_follow_the_clock() {
    let found = fires("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 6);
    assert_eq!(found, ["10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00", "10-25T02:30", "10-25T03:00"]);
    let found = fires("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 4);
    assert_eq!(found, ["03-29T00:30", "03-29T01:00", "03-29T01:30", "03-29T02:00"]);
}

#[test]
fn midnight_that_does_not_exist() {
    // Beirut, 2026-03-29: 00:00 → 01:00 (2026-03-28T22:00 UTC).
    let found = fires("0 0 * * *", "Asia/Beirut", "2026-03-27T12:00:00Z", 3);
    assert_eq!(found, ["03-27T22:00", "03-28T22:00", "03-29T21:00"]);
}

#[test]
fn missed_runs_are_caught_up_once() {
    let schedule = Schedule::parse("0 3 * * *", "UTC").unwrap();
    let last = at("2026-01-01T03:00:00Z");
    assert!(!schedule.is_due(last, at("2026-01-02T02:59:59Z")));
    assert!(schedule.is_due(last, at("2026-01-02T03:00:00Z")));
    // Three were missed; one run later there is nothing due until the next morning.
    let now = at("2026-01-05T09:00:00Z");
    assert!(schedule.is_due(last, now));
    assert!(!schedule.is_due(now, at("2026-01-05T23:00:00Z")));
}

#[test]
fn an_instant_within_a_second_is_not_fired_again() {
    let schedule = Schedule::parse("0 3 * * *", "UTC").unwrap();
    assert_eq!(schedule.next_after(at("2026-01-01T03:00:00.5Z")), Some(at("2026-01-02T03:00:00Z")));
    assert_eq!(schedule.next_after(at("2026-01-01T02:59:59.5Z")), Some(at("2026-01-01T03:00:00Z")));
}

#[test]
fn mistakes_are_named() {
    for (cron, zone) in [("61 * * * *", "UTC"), ("* * *", "UTC"), ("0 3 * * *", "Mars/Olympus"), ("0 0 31 2 *", "UTC")]
    {
        let error = Schedule::parse(cron, zone).unwrap_err().to_string();
        assert!(error.contains(cron), "{error}");
    }
}
