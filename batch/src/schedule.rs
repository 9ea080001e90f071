//! Schedules: cron expressions with a time zone. Pure: the time is passed in.
//!
//! Daylight-saving neither skips nor doubles a run:
//! - an expression with fixed times (`30 2 * * *`) fires at the first instant after a gap that its local time falls into, and
//!   once, at the first of the two instants, where its local time occurs twice;
//! - an expression that repeats within the hour (`*/15 * * * *`) follows the clock on the wall as it goes: it fires in both
//!   repeated hours, for both are real time, and not in one that does not exist.
//!
//! A run that was missed (the process was down, the previous run took long) is caught up once, however many were missed.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use crate::error::{BatchError, Result};

/// When to run.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
}

impl Schedule {
    /// A schedule from a cron expression of five fields (minute, hour, day of month, month, day of week; `@daily` and its like
    /// too) and an IANA time zone (`Europe/Berlin`).
    pub fn parse(cron: &str, time_zone: &str) -> Result<Schedule> {
        let wrong = |reason: String| BatchError::Schedule { schedule: format!("{cron} ({time_zone})"), reason };
        let zone = Tz::from_str(time_zone)
            .map_err(|_| wrong(format!("{time_zone:?} is not an IANA time zone, such as Europe/Berlin or UTC")))?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|error| wrong(error.to_string()))?;
        let schedule = Schedule { cron, zone };
        // An expression that never fires (the 31st of February) is a mistake, found now and not in the night.
        match schedule.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(wrong("it never fires".to_owned())),
        }
    }

    /// The first instant after `instant` at which it fires; `None` if there is none in the calendar.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut from = instant.with_timezone(&self.zone);
        // Fires never come less than a minute apart; a fire found at or before `instant` (it has a fraction of a second, or
        // stands in a repeated hour) is not after it.
        for _ in 0..8 {
            let next = self.cron.find_next_occurrence(&from, false).ok()?;
            if next.with_timezone(&Utc) > instant {
                return Some(next.with_timezone(&Utc));
            }
            from = from.checked_add_signed(TimeDelta::minutes(1))?;
        }
        None
    }

    /// Whether a run is due at `now`, if the last one began at `last_run`. Missed runs count as one.
    pub fn is_due(&self, last_run: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.next_after(last_run).is_some_and(|next| next <= now)
    }

    /// The time zone.
    pub fn time_zone(&self) -> &str {
        self.zone.name()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cron.as_str(), self.zone.name())
    }
}

#[cfg(test)]
mod tests {
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
        for (cron, zone) in
            [("61 * * * *", "UTC"), ("* * *", "UTC"), ("0 3 * * *", "Mars/Olympus"), ("0 0 31 2 *", "UTC")]
        {
            let error = Schedule::parse(cron, zone).unwrap_err().to_string();
            assert!(error.contains(cron), "{error}");
        }
    }
}
