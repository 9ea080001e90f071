//! Where windows begin and end: units of a [`Window`] as instants, in calendars and time zones.
//!
//! A window's unit splits the time line into numbered stretches: microseconds, or the calendar days or months of a zone,
//! counted from 1970-01-01. A day (or month) begins at the first instant whose local date is in it: where a change of the
//! zone's offset skips midnight, right after the gap; where midnight comes twice, at the first one. Stretches are half open
//! intervals of instants, so every instant is in exactly one (a day that a zone skips is empty).

use chrono::{DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;

use crate::{
    core::{Window, WindowUnit},
    error::PipelineError,
};

/// The stretches of time that a window's unit counts.
#[derive(Clone, Debug)]
pub struct Calendar {
    unit: WindowUnit,
    zone: Tz,
    offset_micros: i64,
}

impl Calendar {
    /// The calendar of `window`. Fails if its zone is unknown.
    pub fn new(window: &Window) -> Result<Calendar, PipelineError> {
        let name = window.time_zone.as_deref().unwrap_or("UTC");
        let zone = name.parse().map_err(|_| PipelineError::Definition(format!("unknown time zone \"{name}\"")))?;
        Ok(Calendar { unit: window.unit, zone, offset_micros: window.offset_micros })
    }

    /// The number of the unit in which the instant lies; `None` outside the range of dates.
    pub fn unit_of(&self, micros: i64) -> Option<i64> {
        if self.unit == WindowUnit::Micros {
            return micros.checked_sub(self.offset_micros);
        }
        let local = DateTime::from_timestamp_micros(micros)?.with_timezone(&self.zone).date_naive();
        let mut unit = match self.unit {
            WindowUnit::Months => (i64::from(local.year()) - 1970) * 12 + i64::from(local.month0()),
            _ => (local - NaiveDate::default()).num_days(),
        };
        // Local dates can step back (an offset change just after midnight), the stretches do not.
        while self.start_of(unit)? > micros {
            unit -= 1;
        }
        while self.start_of(unit + 1).is_some_and(|next| next <= micros) {
            unit += 1;
        }
        Some(unit)
    }

    /// The first instant of a unit, in microseconds; `None` outside the range of dates.
    pub fn start_of(&self, unit: i64) -> Option<i64> {
        let epoch = NaiveDate::default();
        let date = match self.unit {
            WindowUnit::Micros => return unit.checked_add(self.offset_micros),
            WindowUnit::Days if unit >= 0 => epoch.checked_add_days(Days::new(unit.unsigned_abs()))?,
            WindowUnit::Days => epoch.checked_sub_days(Days::new(unit.unsigned_abs()))?,
            WindowUnit::Months => {
                let months = Months::new(u32::try_from(unit.unsigned_abs()).ok()?);
                if unit >= 0 { epoch.checked_add_months(months)? } else { epoch.checked_sub_months(months)? }
            }
        };
        self.first_instant(date.and_time(NaiveTime::MIN))
    }

    /// The start of the window of `size` units (aligned to a multiple of `size`) in which the instant lies.
    pub fn floor(&self, micros: i64, size: i64) -> Option<i64> {
        let unit = self.unit_of(micros)?;
        self.start_of(unit - unit.rem_euclid(size))
    }

    /// The first instant whose local time is `local` or later.
    fn first_instant(&self, local: NaiveDateTime) -> Option<i64> {
        match self.zone.from_local_datetime(&local) {
            MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => Some(at.timestamp_micros()),
            MappedLocalTime::None => {
                // Zones are less than two days from UTC; within these bounds local time jumps over `local` once.
                let utc = local.and_utc().timestamp_micros();
                let (mut before, mut at) = (utc - 172_800_000_000, utc + 172_800_000_000);
                while at - before > 1 {
                    let middle = before + (at - before) / 2;
                    let there = DateTime::from_timestamp_micros(middle)?.with_timezone(&self.zone).naive_local();
                    if there < local { before = middle } else { at = middle }
                }
                Some(at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn calendar(unit: WindowUnit, zone: &str) -> Calendar {
        Calendar::new(&Window { time: 0, unit, size: 1, slide: 1, offset_micros: 0, time_zone: Some(zone.to_owned()) })
            .unwrap()
    }

    fn micros(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros()
    }

    #[test]
    fn days_where_midnight_is_skipped_or_comes_twice() {
        for (zone, inside, start) in [
            ("UTC", "2024-03-31T12:00:00Z", "2024-03-31T00:00:00Z"),
            ("Europe/Berlin", "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z"),
            ("Europe/Berlin", "1969-12-31T22:59:59Z", "1969-12-30T23:00:00Z"),
            // Midnight skipped: the day begins at 01:00.
            ("America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z"),
            // Midnight comes twice.
            ("America/Havana", "2023-11-05T12:00:00Z", "2023-11-05T04:00:00Z"),
            // 00:01 went back to 23:01 of the day before.
            ("America/St_Johns", "2008-11-02T02:45:00Z", "2008-11-02T02:30:00Z"),
        ] {
            let days = calendar(WindowUnit::Days, zone);
            assert_eq!(days.floor(micros(inside), 1), Some(micros(start)), "{zone} {inside}");
        }
    }

    #[test]
    fn months_before_1970() {
        let months = calendar(WindowUnit::Months, "UTC");
        assert_eq!(months.floor(micros("1969-11-15T00:00:00Z"), 3), Some(micros("1969-10-01T00:00:00Z")));
        assert_eq!(months.floor(micros("2024-11-15T00:00:00Z"), 3), Some(micros("2024-10-01T00:00:00Z")));
    }

    proptest! {
        #[test]
        fn an_instant_is_in_its_unit(
            at in -62_000_000_000_000_000i64..250_000_000_000_000_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Beirut"]),
            months: bool,
        ) {
            let calendar = calendar(if months { WindowUnit::Months } else { WindowUnit::Days }, zone);
            let unit = calendar.unit_of(at).unwrap();
            prop_assert!(calendar.start_of(unit).unwrap() <= at);
            prop_assert!(at < calendar.start_of(unit + 1).unwrap());
            prop_assert_eq!(calendar.unit_of(calendar.start_of(unit).unwrap()), Some(unit));
        }
    }
}
