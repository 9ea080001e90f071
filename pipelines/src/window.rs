//! Where windows begin and end: units of a [`Window`] as instants, in calendars and time zones.
//!
//! A window's unit splits the time line into numbered stretches: microseconds, or the calendar days or months of a zone,
//! counted from 1970-01-01. A day (or month) begins at the first instant whose local date is in it: where a change of the
//! zone's offset skips midnight, right after the gap; where midnight comes twice, at the first one. Stretches are half open
//! intervals of instants, so every instant is in exactly one (a day that a zone skips is empty), and every record of a window is
//! before its end.

use std::ops::Range;

use crate::{
    core::{Window, WindowUnit},
    error::{Failure, PipelineError},
    time::{DAY, MAX_TIMESTAMP, MIN_TIMESTAMP, Zone, in_range, in_range_or_end, month_index, month_start},
};

/// Years beyond which no unit is looked for.
const DAYS_MAX: i64 = 100_000_000;

/// Finds the windows of a [`Window`]: starts of panes, and steps from one start to another.
#[derive(Clone, Debug)]
pub struct WindowClock {
    unit: WindowUnit,
    pane: i64,
    size: i64,
    slide: i64,
    offset: i64,
    zone: Zone,
    /// Instants all of whose windows are far from the ends of the calendar.
    inside: Range<i64>,
}

impl WindowClock {
    /// The clock of `window`. Fails if its zone is unknown.
    pub fn new(window: &Window) -> Result<WindowClock, PipelineError> {
        if window.size < 1 || window.slide < 1 {
            return Err(PipelineError::Definition("a window's size and slide must be at least 1".to_owned()));
        }
        let zone = Zone::named(window.time_zone.as_deref())?;
        let unit_micros_max = match window.unit {
            WindowUnit::Micros => 1,
            WindowUnit::Days => DAY,
            WindowUnit::Months => 31 * DAY,
        };
        // No zone was ever more than a day off.
        let margin = window.size.saturating_add(1).saturating_mul(unit_micros_max).saturating_add(2 * DAY);
        Ok(WindowClock {
            unit: window.unit,
            pane: window.pane(),
            size: window.size,
            slide: window.slide,
            offset: window.offset_micros,
            zone,
            inside: MIN_TIMESTAMP.saturating_add(margin)..MAX_TIMESTAMP.saturating_sub(margin),
        })
    }

    /// The start of the pane that an instant lies in (the start of the window, if windows do not overlap). Fails if one of the
    /// windows that the instant is in is not wholly within the years 1 to 9999.
    pub fn start_of(&self, micros: i64) -> Result<i64, Failure> {
        let unit = self.unit_of(in_range(micros)?)?;
        if !self.inside.contains(&micros) {
            self.check_windows(unit)?;
        }
        in_range(self.start_of_unit(unit - unit.rem_euclid(self.pane))?)
    }

    /// The end of the tumbling window that an instant lies in.
    pub(crate) fn end_of(&self, micros: i64) -> Result<i64, Failure> {
        self.step(self.start_of(micros)?, self.size)
    }

    /// Fails if one of the windows that have this unit is not wholly within the calendar.
    fn check_windows(&self, unit: i64) -> Result<(), Failure> {
        let out = Failure::TimestampOutOfRange;
        let last = unit - unit.rem_euclid(self.slide);
        let before = unit.checked_sub(self.size).ok_or(out)?;
        let first = before.checked_add(self.slide - before.rem_euclid(self.slide)).ok_or(out)?;
        in_range(self.start_of_unit(first)?)?;
        match self.start_of_unit(last.checked_add(self.size).ok_or(out)?)? {
            end if end <= MAX_TIMESTAMP + 1 => Ok(()),
            _ => Err(out),
        }
    }

    /// The pane starts of many instants.
    pub(crate) fn starts_of(&self, micros: &[i64]) -> Vec<Result<i64, Failure>> {
        // Neighbouring records are mostly in one pane.
        let mut last = 0..0;
        let start_of = |at: &i64| {
            if last.contains(at) {
                return Ok(last.start);
            }
            let start = self.start_of(*at)?;
            last = start..self.step(start, self.pane).unwrap_or(start);
            Ok(start)
        };
        micros.iter().map(start_of).collect()
    }

    /// The start that lies `units` (of the window's size and slide) after the start `start`; before it, if negative.
    pub fn step(&self, start: i64, units: i64) -> Result<i64, Failure> {
        self.step_from(self.unit_of_start(start, self.pane)?, units)
    }

    /// The end of the window that begins at `start`.
    pub(crate) fn window_end(&self, start: i64) -> Result<i64, Failure> {
        self.step_from(self.unit_of_start(start, self.slide)?, self.size)
    }

    fn step_from(&self, unit: i64, units: i64) -> Result<i64, Failure> {
        let unit = unit.checked_add(units).ok_or(Failure::TimestampOutOfRange)?;
        // A window's end is exclusive: it may be the first instant after the year 9999.
        in_range_or_end(self.start_of_unit(unit)?)
    }

    /// The number of the unit that begins at `start`, of which only every `every`th begins something. A day that the zone leaves out
    /// begins where the next one does.
    fn unit_of_start(&self, start: i64, every: i64) -> Result<i64, Failure> {
        let unit = self.unit_of(start)?;
        let begins = unit - unit.rem_euclid(every);
        Ok(if self.start_of_unit(begins)? == start { begins } else { unit })
    }

    /// The number of the unit that an instant lies in.
    pub(crate) fn unit_of(&self, micros: i64) -> Result<i64, Failure> {
        let out = Failure::TimestampOutOfRange;
        if self.unit == WindowUnit::Micros {
            return micros.checked_sub(self.offset).ok_or(out);
        }
        let day = self.zone.to_local(micros).div_euclid(DAY);
        if self.zone == Zone::UTC {
            return Ok(if self.unit == WindowUnit::Days { day } else { month_index(day) });
        }
        let mut unit = if self.unit == WindowUnit::Days { day } else { month_index(day) };
        // Local dates can step back (an offset change just after midnight), the stretches do not.
        while self.start_of_unit(unit)? > micros {
            unit -= 1;
        }
        while self.start_of_unit(unit + 1)? <= micros {
            unit += 1;
        }
        Ok(unit)
    }

    /// The first instant of a unit.
    pub(crate) fn start_of_unit(&self, unit: i64) -> Result<i64, Failure> {
        let days = match self.unit {
            WindowUnit::Micros => return unit.checked_add(self.offset).ok_or(Failure::TimestampOutOfRange),
            WindowUnit::Days => unit,
            // Far outside of the years 1 to 9999 it would overflow.
            WindowUnit::Months if unit.abs() < DAYS_MAX / 31 => month_start(unit),
            WindowUnit::Months => return Err(Failure::TimestampOutOfRange),
        };
        if days.abs() > DAYS_MAX {
            return Err(Failure::TimestampOutOfRange);
        }
        Ok(self.zone.to_instant(days * DAY))
    }
}

#[cfg(test)]
mod zones;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{SECOND, parse_timestamp, write_timestamp};
    use chrono::DateTime;
    use proptest::prelude::*;

    fn clock(unit: WindowUnit, zone: &str, size: i64) -> WindowClock {
        let time_zone = Some(zone.to_owned());
        WindowClock::new(&Window { time: 0, unit, size, slide: size, offset_micros: 0, time_zone }).unwrap()
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
            let days = clock(WindowUnit::Days, zone, 1);
            assert_eq!(days.start_of(micros(inside)), Ok(micros(start)), "{zone} {inside}");
        }
    }

    #[test]
    fn a_window_may_begin_with_a_day_that_is_left_out() {
        // There was no 30 December of 2011 in Apia.
        let days = clock(WindowUnit::Days, "Pacific/Apia", 2);
        let (start, end) = (micros("2011-12-30T10:00:00Z"), micros("2011-12-31T10:00:00Z"));
        assert_eq!(days.start_of(start), Ok(start));
        assert_eq!(days.step(start, 2), Ok(end));
        assert_eq!(days.step(end, -2), Ok(start));
        assert_eq!(days.end_of(start + 5), Ok(end));
        assert_eq!(days.window_end(start), Ok(end));
        // Every second day begins a window of three.
        let time_zone = Some("Pacific/Apia".to_owned());
        let hop = Window { time: 0, unit: WindowUnit::Days, size: 3, slide: 2, offset_micros: 0, time_zone };
        assert_eq!(WindowClock::new(&hop).unwrap().window_end(start), Ok(end + DAY));
        assert_eq!(days.starts_of(&[start, end - 1, end]), [Ok(start), Ok(start), Ok(end)]);
    }

    #[test]
    fn months_before_1970() {
        let months = clock(WindowUnit::Months, "UTC", 3);
        assert_eq!(months.start_of(micros("1969-11-15T00:00:00Z")), Ok(micros("1969-10-01T00:00:00Z")));
        assert_eq!(months.start_of(micros("2024-11-15T00:00:00Z")), Ok(micros("2024-10-01T00:00:00Z")));
    }

    fn shown(micros: i64) -> String {
        let mut text = String::new();
        write_timestamp(&mut text, micros);
        text
    }

    #[test]
    fn windows_begin_and_end() {
        let window = Window {
            time: 0,
            unit: WindowUnit::Micros,
            size: 300 * SECOND,
            slide: 120 * SECOND,
            offset_micros: SECOND,
            time_zone: None,
        };
        let minutes = WindowClock::new(&window).unwrap();
        assert_eq!(minutes.start_of(-1), Ok(-59 * SECOND));
        assert_eq!(minutes.start_of(SECOND), Ok(SECOND));
        let days = clock(WindowUnit::Days, "America/Sao_Paulo", 1);
        // The day that begins at one o'clock has 23 hours, the one that ends twice 25.
        let start = days.start_of(parse_timestamp("2018-11-04T12:00:00Z").unwrap()).unwrap();
        assert_eq!(shown(start), "2018-11-04T03:00:00Z");
        assert_eq!(days.step(start, 1).map(shown), Ok("2018-11-05T02:00:00Z".to_owned()));
        assert_eq!(days.step(start, -1).map(shown), Ok("2018-11-03T03:00:00Z".to_owned()));
        let start = days.start_of(parse_timestamp("2018-02-18T02:30:00Z").unwrap()).unwrap();
        assert_eq!(shown(start), "2018-02-17T02:00:00Z");
        assert_eq!(days.step(start, 1).map(shown), Ok("2018-02-18T03:00:00Z".to_owned()));
        let quarters = clock(WindowUnit::Months, "UTC", 3);
        assert_eq!(
            quarters.start_of(parse_timestamp("1969-11-30").unwrap()).map(shown),
            Ok("1969-10-01T00:00:00Z".to_owned())
        );
        assert_eq!(quarters.step(parse_timestamp("9999-10-01").unwrap(), 3), Ok(MAX_TIMESTAMP + 1));
        // The last days of the calendar end, in a zone too.
        let days = clock(WindowUnit::Days, "Europe/Berlin", 1);
        assert_eq!(
            days.end_of(parse_timestamp("9999-12-31T12:00:00Z").unwrap()).map(shown),
            Ok("9999-12-31T23:00:00Z".to_owned())
        );
        let months = clock(WindowUnit::Months, "UTC", 1);
        assert_eq!(months.end_of(MAX_TIMESTAMP), Ok(MAX_TIMESTAMP + 1));
        let long = clock(WindowUnit::Days, "UTC", i64::MAX);
        assert_eq!(long.start_of(-1), Err(Failure::TimestampOutOfRange));
        assert_eq!(long.step(0, i64::MAX), Err(Failure::TimestampOutOfRange));
    }

    #[test]
    fn windows_beyond_the_calendar_are_refused() {
        let out = Err(Failure::TimestampOutOfRange);
        let window = |unit, size, slide| Window { time: 0, unit, size, slide, offset_micros: 0, time_zone: None };
        for (window, inside, outside) in [
            // The last window that is wholly within, and the first one that is not.
            (window(WindowUnit::Micros, 300 * SECOND, 300 * SECOND), "9999-12-31T23:59:59Z", None),
            (window(WindowUnit::Micros, 7, 7), "9999-12-31T23:59:59.999990Z", Some("9999-12-31T23:59:59.999999Z")),
            (window(WindowUnit::Days, 7, 7), "9999-12-29T12:00:00Z", Some("9999-12-31T12:00:00Z")),
            (window(WindowUnit::Months, 5, 5), "9999-12-31T23:59:59Z", None),
            (window(WindowUnit::Months, 7, 7), "9999-07-31T00:00:00Z", Some("9999-08-01T00:00:00Z")),
            (
                window(WindowUnit::Micros, 300 * SECOND, 60 * SECOND),
                "0001-01-01T00:04:00Z",
                Some("0001-01-01T00:03:59Z"),
            ),
            (window(WindowUnit::Months, 3, 1), "0001-03-01T00:00:00Z", Some("0001-02-28T00:00:00Z")),
            (window(WindowUnit::Months, 3, 1), "9999-10-31T00:00:00Z", Some("9999-11-01T00:00:00Z")),
        ] {
            let clock = WindowClock::new(&window).unwrap();
            assert!(clock.start_of(parse_timestamp(inside).unwrap()).is_ok(), "{window:?} {inside}");
            if let Some(outside) = outside {
                assert_eq!(clock.start_of(parse_timestamp(outside).unwrap()), out, "{window:?} {outside}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_instant_is_in_its_unit(
            at in -62_000_000_000_000_000i64..250_000_000_000_000_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Beirut"]),
            months: bool,
        ) {
            let clock = clock(if months { WindowUnit::Months } else { WindowUnit::Days }, zone, 1);
            let unit = clock.unit_of(at).unwrap();
            prop_assert!(clock.start_of_unit(unit).unwrap() <= at);
            prop_assert!(at < clock.start_of_unit(unit + 1).unwrap());
            prop_assert_eq!(clock.unit_of(clock.start_of_unit(unit).unwrap()), Ok(unit));
        }

        #[test]
        fn a_pane_holds_its_instants(
            // Also around the day that Apia left out.
            micros in prop_oneof![-2_000_000_000 * SECOND..5_000_000_000 * SECOND, 1_325_000_000 * SECOND..1_325_600_000 * SECOND],
            unit in prop::sample::select(vec![WindowUnit::Micros, WindowUnit::Days, WindowUnit::Months]),
            size in 1i64..40,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"]),
        ) {
            let clock = clock(unit, zone, size);
            let start = clock.start_of(micros).unwrap();
            let end = clock.step(start, size).unwrap();
            prop_assert!(start <= micros && micros < end);
            prop_assert_eq!(clock.start_of(start), Ok(start));
            prop_assert_eq!(clock.start_of(end), Ok(end));
            prop_assert_eq!(clock.start_of(end - 1), Ok(start));
            prop_assert_eq!(clock.window_end(start), Ok(end));
            // Of single days, the one that is left out begins where the next one does.
            prop_assert!(size == 1 || clock.step(end, -size) == Ok(start));
        }
    }
}
