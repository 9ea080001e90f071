//! Timestamps, by chrono.

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike,
};
use chrono_tz::Tz;

use super::Outcome;
use crate::{
    core::{Window, WindowUnit},
    error::Failure,
    expr::{DateField, Function, Interval, TimeUnit},
    time::{MAX_TIMESTAMP, MIN_TIMESTAMP},
    types::Value,
};

pub(super) fn naive(micros: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(micros).unwrap().naive_utc()
}

pub(super) fn micros(naive: NaiveDateTime) -> i64 {
    naive.and_utc().timestamp_micros()
}

pub(super) fn checked(micros: i64) -> Result<i64, Failure> {
    if (MIN_TIMESTAMP..=MAX_TIMESTAMP).contains(&micros) { Ok(micros) } else { Err(Failure::TimestampOutOfRange) }
}

/// What was worked out may be the end of the year 9999.
fn computed(micros: i64) -> Result<i64, Failure> {
    if micros == MAX_TIMESTAMP + 1 { Ok(micros) } else { checked(micros) }
}

fn tz(name: &Option<String>) -> Tz {
    name.as_deref().unwrap_or("UTC").parse().unwrap()
}

fn local(micros: i64, tz: Tz) -> NaiveDateTime {
    tz.from_utc_datetime(&naive(micros)).naive_local()
}

/// The first instant of a local day, if it is in the calendar.
fn midnight(day: NaiveDate, tz: Tz) -> Result<i64, Failure> {
    computed(first_instant(day, tz))
}

/// The first instant of a local day, found by looking.
fn first_instant(day: NaiveDate, tz: Tz) -> i64 {
    let wanted = day.and_time(NaiveTime::MIN);
    match tz.from_local_datetime(&wanted) {
        chrono::LocalResult::Single(t) => t.timestamp_micros(),
        chrono::LocalResult::Ambiguous(a, b) => a.timestamp_micros().min(b.timestamp_micros()),
        chrono::LocalResult::None => {
            // Offsets change at whole seconds, here at whole minutes.
            let mut at = micros(wanted) - 26 * 3_600_000_000;
            while local(at, tz) < wanted {
                at += 60_000_000;
            }
            at
        }
    }
}

pub(super) fn temporal(function: &Function, values: &[Value]) -> Outcome {
    use Function as F;
    let at = match values[0] {
        Value::Timestamp(at) => at,
        Value::Double(seconds) => {
            let micros = (seconds * 1e6).round_ties_even();
            let inside = micros >= MIN_TIMESTAMP as f64 && micros <= MAX_TIMESTAMP as f64;
            return if inside {
                checked(micros as i64).map(Value::Timestamp)
            } else {
                Err(Failure::TimestampOutOfRange)
            };
        }
        Value::Int(seconds) => {
            let micros = i64::try_from(i128::from(seconds) * 1_000_000).map_err(|_| Failure::TimestampOutOfRange)?;
            return checked(micros).map(Value::Timestamp);
        }
        _ => panic!(),
    };
    match function {
        F::DateTrunc { unit, time_zone } => truncate(at, *unit, tz(time_zone)).map(Value::Timestamp),
        F::Extract { field, time_zone } => Ok(Value::Int(extract(at, *field, tz(time_zone)))),
        F::AddInterval { interval } => add(at, *interval).map(Value::Timestamp),
        F::DateDiff { unit } => {
            let Value::Timestamp(end) = values[1] else { panic!() };
            Ok(Value::Int(boundaries(end, *unit) - boundaries(at, *unit)))
        }
        F::EpochMicros => Ok(Value::Int(at)),
        F::WindowStart { window } => window_start(at, window).map(Value::Timestamp),
        _ => panic!(),
    }
}

fn monday(day: NaiveDate) -> NaiveDate {
    day - TimeDelta::days(i64::from(day.weekday().num_days_from_monday()))
}

fn truncate(at: i64, unit: TimeUnit, tz: Tz) -> Result<i64, Failure> {
    let here = local(at, tz);
    let day = here.date();
    let first = |month: u32| NaiveDate::from_ymd_opt(day.year(), month, 1).unwrap();
    let step = match unit {
        TimeUnit::Microsecond => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Second => 1_000_000,
        TimeUnit::Minute => 60_000_000,
        TimeUnit::Hour => 3_600_000_000,
        TimeUnit::Day => return midnight(day, tz),
        TimeUnit::Week => return midnight(monday(day), tz),
        TimeUnit::Month => return midnight(first(day.month()), tz),
        TimeUnit::Quarter => return midnight(first((day.month() - 1) / 3 * 3 + 1), tz),
        TimeUnit::Year => return midnight(first(1), tz),
    };
    let offset = i64::from(tz.offset_from_utc_datetime(&naive(at)).fix().local_minus_utc()) * 1_000_000;
    computed((at + offset).div_euclid(step) * step - offset)
}

fn extract(at: i64, field: DateField, tz: Tz) -> i64 {
    let here = local(at, tz);
    let micros = i64::from(here.nanosecond()) / 1_000;
    i64::from(match field {
        DateField::Microsecond => return i64::from(here.second()) * 1_000_000 + micros,
        DateField::Millisecond => return i64::from(here.second()) * 1_000 + micros / 1_000,
        DateField::Epoch => return at.div_euclid(1_000_000),
        DateField::Year => return i64::from(here.year()),
        DateField::Second => here.second(),
        DateField::Minute => here.minute(),
        DateField::Hour => here.hour(),
        DateField::Day => here.day(),
        DateField::Week => here.iso_week().week(),
        DateField::Month => here.month(),
        DateField::Quarter => here.month().div_ceil(3),
        DateField::Dow => here.weekday().num_days_from_sunday(),
        DateField::IsoDow => here.weekday().number_from_monday(),
        DateField::Doy => here.ordinal(),
    })
}

fn add(at: i64, interval: Interval) -> Result<i64, Failure> {
    // Steps may leave the range of the years 1 to 9999 as long as the result is inside; chrono's range is wider.
    let out = Failure::TimestampOutOfRange;
    let here = naive(at);
    let months = Months::new(interval.months.unsigned_abs());
    let here = if interval.months >= 0 { here.checked_add_months(months) } else { here.checked_sub_months(months) };
    let days = Days::new(u64::from(interval.days.unsigned_abs()));
    let here = here.and_then(|h| if interval.days >= 0 { h.checked_add_days(days) } else { h.checked_sub_days(days) });
    let micros = i128::from(here.ok_or(out)?.and_utc().timestamp_micros()) + i128::from(interval.micros);
    computed(i64::try_from(micros).map_err(|_| out)?)
}

fn boundaries(at: i64, unit: TimeUnit) -> i64 {
    let day = naive(at).date();
    let year = i64::from(day.year());
    match unit {
        TimeUnit::Microsecond => at,
        TimeUnit::Millisecond => at.div_euclid(1_000),
        TimeUnit::Second => at.div_euclid(1_000_000),
        TimeUnit::Minute => at.div_euclid(60_000_000),
        TimeUnit::Hour => at.div_euclid(3_600_000_000),
        TimeUnit::Day => at.div_euclid(86_400_000_000),
        TimeUnit::Week => i64::from(monday(day).num_days_from_ce() - 1) / 7,
        TimeUnit::Month => year * 12 + i64::from(day.month0()),
        TimeUnit::Quarter => year * 4 + i64::from(day.month0() / 3),
        TimeUnit::Year => year,
    }
}

/// The start of a window, if the last instant before the day on which the next one begins is within the calendar.
fn within(start: Result<i64, Failure>, next: impl Fn() -> NaiveDate, tz: Tz) -> Result<i64, Failure> {
    let (start, next) = (start?, next());
    // The next one's first day may be in the year 10000.
    let end = first_instant(next, tz);
    if end <= MAX_TIMESTAMP + 1 { Ok(start) } else { Err(Failure::TimestampOutOfRange) }
}

fn window_start(at: i64, window: &Window) -> Result<i64, Failure> {
    let zone = tz(&window.time_zone);
    let day = local(at, zone).date();
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    match window.unit {
        WindowUnit::Micros => {
            let mut start = at - window.offset_micros;
            start = start.div_euclid(window.size) * window.size + window.offset_micros;
            checked(start + window.size - 1)?;
            checked(start)
        }
        WindowUnit::Days => {
            let days = (day - epoch).num_days().div_euclid(window.size) * window.size;
            within(midnight(epoch + TimeDelta::days(days), zone), || epoch + TimeDelta::days(days + window.size), zone)
        }
        WindowUnit::Months => {
            let months = (i64::from(day.year()) - 1970) * 12 + i64::from(day.month0());
            let months = months.div_euclid(window.size) * window.size;
            let first = |months: i64| {
                let year = 1970 + months.div_euclid(12) as i32;
                NaiveDate::from_ymd_opt(year, months.rem_euclid(12) as u32 + 1, 1).unwrap()
            };
            within(midnight(first(months), zone), || first(months + window.size), zone)
        }
    }
}
