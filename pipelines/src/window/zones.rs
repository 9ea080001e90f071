//! Days and months at every transition of every IANA zone, against a walk through the minutes of UTC that knows nothing of
//! [`Zone`](crate::time::Zone).

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use super::*;
use crate::time::SECOND;

const MINUTE: i64 = 60 * SECOND;

/// What the clock of a zone shows in a minute of UTC since 1970.
fn shown(zone: Tz, minute: i64) -> NaiveDateTime {
    let utc = DateTime::from_timestamp(minute * 60, 0).unwrap().naive_utc();
    utc + chrono::TimeDelta::seconds(i64::from(offset_seconds(zone, minute)))
}

fn offset_seconds(zone: Tz, minute: i64) -> i32 {
    let utc = DateTime::from_timestamp(minute * 60, 0).unwrap().naive_utc();
    zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()
}

/// The first minutes after each change of the zone's offset in the years from `from` to before `to`, and by how much it changes.
fn transitions(zone: Tz, from: i32, to: i32) -> Vec<(i64, i32)> {
    const STEP: i64 = 180;
    let begin = |year: i32| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap().timestamp() / 60;
    let changes = |low: &i64| offset_seconds(zone, *low) != offset_seconds(zone, low + STEP);
    let exactly = |low: i64| {
        let before = offset_seconds(zone, low);
        let at = (low..=low + STEP).find(|&minute| offset_seconds(zone, minute) != before).unwrap();
        (at, offset_seconds(zone, at) - before)
    };
    (begin(from)..begin(to)).step_by(STEP as usize).filter(changes).map(exactly).collect()
}

/// One zone for each way in which clocks go in these years.
fn kinds(from: i32, to: i32) -> Vec<(Tz, Vec<(i64, i32)>)> {
    let mut kinds = BTreeMap::new();
    for zone in chrono_tz::TZ_VARIANTS {
        let transitions = transitions(zone, from, to);
        let first = transitions.first().map_or(0, |(at, _)| at - 1);
        kinds.entry((offset_seconds(zone, first), transitions)).or_insert(zone);
    }
    kinds.into_iter().map(|((_, transitions), zone)| (zone, transitions)).collect()
}

fn clock(unit: WindowUnit, zone: Tz, size: i64) -> WindowClock {
    let time_zone = Some(zone.name().to_owned());
    WindowClock::new(&Window { time: 0, unit, size, slide: size, offset_micros: 0, time_zone }).unwrap()
}

/// The minutes in which the clock first shows each day, around a transition.
fn days_begin(zone: Tz, transition: i64) -> Vec<(i64, NaiveDate)> {
    let mut begin: Vec<(i64, NaiveDate)> = Vec::new();
    let mut latest = shown(zone, transition - 3 * 1440).date();
    for minute in transition - 3 * 1440..transition + 2 * 1440 {
        let date = shown(zone, minute).date();
        if date > latest {
            begin.push((minute, date));
            latest = date;
        }
    }
    begin
}

#[test]
#[expect(clippy::print_stderr, reason = "how much was compared is told on standard error")]
fn days_begin_when_the_clock_first_shows_them() {
    let (mut compared, mut changes, mut odd) = (0_u64, 0, 0);
    let kinds = kinds(2010, 2031);
    for (zone, transitions) in &kinds {
        let days = clock(WindowUnit::Days, *zone, 1);
        for (transition, leap) in transitions {
            let begin = days_begin(*zone, *transition);
            changes += 1;
            for pair in begin.windows(2) {
                let ((start, date), (end, next)) = (pair[0], pair[1]);
                let place = || format!("{date} in {zone}, whose clock changes by {leap} s in minute {transition}");
                // The length of a window in days of the calendar, where the zone leaves a day out.
                let units = (next - date).num_days();
                assert_eq!(days.step(start * MINUTE, units), Ok(end * MINUTE), "{}", place());
                assert_eq!(
                    days.start_of(start * MINUTE - 1).unwrap().max(start * MINUTE),
                    start * MINUTE,
                    "{}",
                    place()
                );
                odd += u64::from(end - start != 1440);
                for minute in start..end {
                    assert_eq!(days.start_of(minute * MINUTE), Ok(start * MINUTE), "minute {minute} of {}", place());
                    compared += 1;
                }
                assert_eq!(days.start_of(end * MINUTE - 1), Ok(start * MINUTE), "{}", place());
            }
        }
    }
    eprintln!(
        "days: {} zones ({} different), {changes} transitions of 2010 to 2030, {odd} days that have not 24 hours, {compared} minutes",
        chrono_tz::TZ_VARIANTS.len(),
        kinds.len()
    );
    assert!(changes > 1_000 && odd > 1_000);
}

#[test]
#[expect(clippy::print_stderr, reason = "how much was compared is told on standard error")]
fn months_begin_when_the_clock_first_shows_them() {
    let (mut compared, kinds) = (0_u64, kinds(2020, 2031));
    for (zone, _) in &kinds {
        let (months, quarters) = (clock(WindowUnit::Months, *zone, 1), clock(WindowUnit::Months, *zone, 3));
        let (mut quarter, mut last) = (None, None);
        for index in 0..11 * 12 {
            let (year, month) = (2020 + index / 12, index as u32 % 12 + 1);
            let midnight = Utc.with_ymd_and_hms(year, month, 1, 0, 0, 0).unwrap().timestamp() / 60;
            let is_in = |minute: &i64| {
                let date = shown(*zone, *minute).date();
                (date.year(), date.month()) >= (year, month)
            };
            let start = (midnight - 27 * 60..midnight + 27 * 60).find(is_in).unwrap();
            if let Some(last) = last.replace(start) {
                assert_eq!(months.step(last * MINUTE, 1), Ok(start * MINUTE), "{year}-{month} in {zone}");
                assert_eq!(months.start_of(start * MINUTE - 1), Ok(last * MINUTE), "{year}-{month} in {zone}");
            }
            if month % 3 == 1 {
                quarter = Some(start);
            }
            for minute in (start..start + 28 * 1440).step_by(977) {
                assert_eq!(months.start_of(minute * MINUTE), Ok(start * MINUTE), "{year}-{month} in {zone}");
                assert_eq!(
                    quarters.start_of(minute * MINUTE).ok(),
                    quarter.map(|q: i64| q * MINUTE),
                    "{year}-{month} in {zone}"
                );
                compared += 1;
            }
        }
    }
    eprintln!("months: {} different zones, 132 months each, {compared} instants", kinds.len());
    assert!(compared > 100_000);
}
