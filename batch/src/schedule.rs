//! Schedules: cron expressions with a time zone. Pure: the time is passed in.
//!
//! An expression names minutes of the clock on the wall. Where the clock goes on evenly, each named minute is one run. Where a
//! zone's offset changes (daylight saving, or a law), no run is skipped and none is doubled:
//!
//! - An expression that names hours (`30 2 * * *`, `*/15 2 * * *`, `0 */6 * * *`) fires once for each minute that it names. A
//!   minute that the clock shows twice fires the first time. Minutes that the clock leaves out fire together, as one run, at the
//!   first instant after the gap (and with the minute that is shown there, if it is named too).
//! - An expression whose hours are all of them (`0 * * * *`, `*/15 * * * *`) follows the clock: it fires whenever the clock shows
//!   a named minute, in a repeated hour too, for that is an hour of real time like any other. Of an hour that is left out there
//!   is nothing to run. Where less than an hour is left out (Lord Howe Island: 30 minutes), what is named in there fires at the first
//!   instant after the gap.
//!
//! A run that was missed (the process was down, the previous run took long) is caught up once, however many were missed.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use watershed_pipelines::time::Zone;

use crate::error::{BatchError, Result};

/// No zone's clock was ever set by more than this: Samoa left out a day.
const LONGEST_CHANGE: TimeDelta = TimeDelta::hours(26);

/// When to run.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
    /// The same zone, for what is not plain to chrono: local times that occur twice or never.
    clock: Zone,
    /// Whether every hour is named.
    hourly: bool,
}

impl Schedule {
    /// A schedule from a cron expression of five fields (minute, hour, day of month, month, day of week; `@daily` and its like
    /// too) and an IANA time zone (`Europe/Berlin`).
    pub fn parse(cron: &str, time_zone: &str) -> Result<Schedule> {
        let wrong = |reason: String| BatchError::Schedule { schedule: format!("{cron} ({time_zone})"), reason };
        let unknown = || wrong(format!("{time_zone:?} is not an IANA time zone, such as Europe/Berlin or UTC"));
        let zone = Tz::from_str(time_zone).map_err(|_| unknown())?;
        let clock = Zone::named(Some(time_zone)).map_err(|_| unknown())?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|error| wrong(error.to_string()))?;
        let hourly = cron.pattern.hours.values().len() == 24;
        let schedule = Schedule { cron, zone, clock, hourly };
        // An expression that never fires (the 31st of February) is a mistake, found now and not in the night.
        match schedule.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(wrong("it never fires".to_owned())),
        }
    }

    /// The first instant after `instant` at which it fires; `None` if there is none in the calendar.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.hourly { self.next_shown(instant) } else { self.next_named(instant) }
    }

    /// Where hours are named: the first instant at which the clock has come to a named minute for the first time.
    fn next_named(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // What the clock has shown up to now has fired. Some more may have, if the clock was set back a moment ago.
        let mut minute = self.shown(instant);
        loop {
            minute = self.next_minute(minute)?;
            let fires = self.reached(minute)?;
            if fires > instant {
                return Some(fires);
            }
        }
    }

    /// Where every hour is named: the first instant at which the clock shows a named minute, or has just left one out.
    fn next_shown(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let shown = self.shown(instant);
        let mut minute = shown;
        let ahead = loop {
            minute = self.next_minute(minute)?;
            // As long as the clock goes on evenly, this is when it shows the minute.
            let evenly = instant.checked_add_signed(minute - shown)?;
            if self.shown(evenly) == minute {
                break evenly;
            }
            // A minute that is left out is reached when the clock shows a later one.
            let reached = self.reached(minute)?;
            if reached > instant && (self.shown(reached) == minute || self.leap_at(reached)? < TimeDelta::hours(1)) {
                break reached;
            }
        };
        // If the clock is set back on the way, it shows minutes again that it has shown before.
        let end = ahead.min(instant.checked_add_signed(LONGEST_CHANGE)?);
        if self.offset(instant) <= self.offset(end) {
            return Some(ahead);
        }
        let first = DateTime::from_timestamp(instant.timestamp().div_euclid(60) * 60 + 60, 0)?;
        let minutes = std::iter::successors(Some(first), |at| at.checked_add_signed(TimeDelta::minutes(1)));
        let names = |at: &DateTime<Utc>| self.cron.is_time_matching(&self.shown(*at)).is_ok_and(|named| named);
        Some(minutes.take_while(|at| *at < end).find(names).unwrap_or(ahead))
    }

    /// What the clock on the wall shows, as if it were UTC.
    fn shown(&self, instant: DateTime<Utc>) -> DateTime<Utc> {
        instant.checked_add_signed(self.offset(instant)).unwrap_or(instant)
    }

    fn offset(&self, instant: DateTime<Utc>) -> TimeDelta {
        TimeDelta::microseconds(self.clock.offset_at(instant.timestamp_micros()))
    }

    /// The first instant at which the clock shows this or something later.
    fn reached(&self, shown: DateTime<Utc>) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.clock.to_instant(shown.timestamp_micros()))
    }

    /// By how much the clock goes forward at an instant.
    fn leap_at(&self, instant: DateTime<Utc>) -> Option<TimeDelta> {
        Some(self.offset(instant) - self.offset(instant.checked_sub_signed(TimeDelta::seconds(1))?))
    }

    /// The first named minute after what the clock shows.
    fn next_minute(&self, shown: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.find_next_occurrence(&shown, false).ok()
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
mod tests;
