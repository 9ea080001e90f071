//! Functions of timestamps.

use polars::prelude as pl;

use crate::{
    error::{Failure, PipelineError},
    expr::{
        DateField, Evaluated, Interval, TimeUnit,
        lanes::{Lanes, Numbers, integers, rows},
    },
    time::{
        DAY, SECOND, WindowClock, Zone, civil_from_days, days_from_civil, days_in_month, in_range, in_range_or_end,
        month_index, month_start,
    },
    types::DataType,
};

/// Reads a timestamp, or a date as its midnight.
fn instants(column: &pl::Column) -> Result<Lanes<i64>, PipelineError> {
    if *column.dtype() != pl::DataType::Date {
        return Lanes::new(column);
    }
    let dates = Lanes::<i32>::new(column)?;
    let midnights =
        rows::<Numbers<i64>>(column.len(), DataType::Timestamp, |i| Ok(dates.get(i).map(|d| i64::from(d) * DAY)));
    Lanes::new(&midnights.column)
}

fn timestamps(
    column: &pl::Column,
    height: usize,
    f: impl Fn(i64) -> Result<i64, Failure>,
) -> Result<Evaluated, PipelineError> {
    let lanes = instants(column)?;
    Ok(rows::<Numbers<i64>>(height, DataType::Timestamp, |i| lanes.get(i).map(&f).transpose()))
}

/// The length of a unit below a day, or of a day.
fn unit_micros(unit: TimeUnit) -> Option<i64> {
    Some(match unit {
        TimeUnit::Microsecond => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Second => SECOND,
        TimeUnit::Minute => 60 * SECOND,
        TimeUnit::Hour => 3_600 * SECOND,
        TimeUnit::Day => DAY,
        TimeUnit::Week | TimeUnit::Month | TimeUnit::Quarter | TimeUnit::Year => return None,
    })
}

/// Monday of the week of a day.
fn monday(day: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    day - (day + 3).rem_euclid(7)
}

/// Units below a day are cut off local time with the offset that holds at the timestamp; from days up the result is the first
/// instant of the local day.
pub(crate) fn truncate(unit: TimeUnit, zone: Zone, micros: i64) -> Result<i64, Failure> {
    let micros = in_range_or_end(micros)?;
    let local = zone.to_local(micros);
    let day = local.div_euclid(DAY);
    let day = match unit {
        TimeUnit::Day => day,
        TimeUnit::Week => monday(day),
        TimeUnit::Month => month_start(month_index(day)),
        TimeUnit::Quarter => month_start(month_index(day).div_euclid(3) * 3),
        TimeUnit::Year => month_start(month_index(day).div_euclid(12) * 12),
        _ => return in_range_or_end(micros - local.rem_euclid(unit_micros(unit).unwrap_or(1))),
    };
    in_range_or_end(zone.to_instant(day * DAY))
}

pub(crate) fn date_trunc(
    unit: TimeUnit,
    zone: Zone,
    argument: &pl::Column,
    height: usize,
) -> Result<Evaluated, PipelineError> {
    timestamps(argument, height, |v| truncate(unit, zone, v))
}

/// The ISO week of a day: that of its Thursday.
fn iso_week(day: i64) -> i64 {
    let thursday = monday(day) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (thursday - days_from_civil(year, 1, 1)) / 7 + 1
}

/// Seconds, milliseconds and microseconds are those of the minute, as in PostgreSQL.
pub(crate) fn field(field: DateField, zone: Zone, micros: i64) -> i64 {
    let local = zone.to_local(micros);
    let (day, of_day) = (local.div_euclid(DAY), local.rem_euclid(DAY));
    let of_minute = of_day % (60 * SECOND);
    match field {
        DateField::Microsecond => of_minute,
        DateField::Millisecond => of_minute / 1_000,
        DateField::Second => of_minute / SECOND,
        DateField::Minute => of_day / (60 * SECOND) % 60,
        DateField::Hour => of_day / (3_600 * SECOND),
        DateField::Day => civil_from_days(day).2,
        DateField::Week => iso_week(day),
        DateField::Month => civil_from_days(day).1,
        DateField::Quarter => (civil_from_days(day).1 + 2) / 3,
        DateField::Year => civil_from_days(day).0,
        DateField::Dow => (day + 4).rem_euclid(7),
        DateField::IsoDow => (day + 3).rem_euclid(7) + 1,
        DateField::Doy => day - days_from_civil(civil_from_days(day).0, 1, 1) + 1,
        DateField::Epoch => micros.div_euclid(SECOND),
    }
}

pub(crate) fn extract(
    wanted: DateField,
    zone: Zone,
    argument: &pl::Column,
    height: usize,
) -> Result<Evaluated, PipelineError> {
    let lanes = instants(argument)?;
    Ok(rows::<Numbers<i64>>(height, DataType::BigInt, |i| Ok(lanes.get(i).map(|v| field(wanted, zone, v)))))
}

/// Months first (clamped to the month's end), then days, then microseconds; in UTC.
pub(crate) fn add(interval: Interval, micros: i64) -> Result<i64, Failure> {
    let micros = in_range_or_end(micros)?;
    let mut day = micros.div_euclid(DAY);
    let of_day = micros.rem_euclid(DAY);
    if interval.months != 0 {
        let (_, _, day_of_month) = civil_from_days(day);
        let month = month_index(day) + i64::from(interval.months);
        let first = month_start(month);
        let (year, month, _) = civil_from_days(first);
        day = first + day_of_month.min(days_in_month(year, month)) - 1;
    }
    let day = day + i64::from(interval.days);
    day.checked_mul(DAY)
        .and_then(|d| d.checked_add(of_day))
        .and_then(|v| v.checked_add(interval.micros))
        .ok_or(Failure::TimestampOutOfRange)
        .and_then(in_range_or_end)
}

pub(crate) fn add_interval(
    interval: Interval,
    from: DataType,
    argument: &pl::Column,
    height: usize,
) -> Result<Evaluated, PipelineError> {
    match from {
        DataType::Timestamp | DataType::Date => timestamps(argument, height, |v| add(interval, v)),
        _ => Err(PipelineError::Definition(format!("an INTERVAL cannot be added to {from}"))),
    }
}

/// The number of a unit since 1970.
fn unit_index(unit: TimeUnit, micros: i64) -> i64 {
    let day = micros.div_euclid(DAY);
    match unit {
        TimeUnit::Week => (day + 3).div_euclid(7),
        TimeUnit::Month => month_index(day),
        TimeUnit::Quarter => month_index(day).div_euclid(3),
        TimeUnit::Year => civil_from_days(day).0,
        _ => micros.div_euclid(unit_micros(unit).unwrap_or(1)),
    }
}

/// Unit boundaries between two instants.
pub(crate) fn difference(unit: TimeUnit, start: i64, end: i64) -> i64 {
    unit_index(unit, end).saturating_sub(unit_index(unit, start))
}

pub(crate) fn date_diff(
    unit: TimeUnit,
    start: &pl::Column,
    end: &pl::Column,
    height: usize,
) -> Result<Evaluated, PipelineError> {
    let (start, end) = (instants(start)?, instants(end)?);
    Ok(rows::<Numbers<i64>>(height, DataType::BigInt, |i| match (start.get(i), end.get(i)) {
        (Some(start), Some(end)) => Ok(Some(difference(unit, start, end))),
        _ => Ok(None),
    }))
}

/// Seconds as microseconds, half to even.
pub(crate) fn from_seconds(seconds: f64) -> Result<i64, Failure> {
    let micros = (seconds * 1e6).round_ties_even();
    // A cast saturates and makes NaN zero: look first.
    if micros.is_finite() { in_range(micros as i64) } else { Err(Failure::TimestampOutOfRange) }
}

pub(crate) fn to_timestamp(from: DataType, argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    match from {
        DataType::Double => {
            let lanes = Lanes::<f64>::new(argument)?;
            Ok(rows::<Numbers<i64>>(height, DataType::Timestamp, |i| lanes.get(i).map(from_seconds).transpose()))
        }
        DataType::Int | DataType::BigInt => {
            let lanes = integers(argument)?;
            Ok(rows::<Numbers<i64>>(height, DataType::Timestamp, |i| {
                let micros = |s: i64| s.checked_mul(SECOND).ok_or(Failure::TimestampOutOfRange).and_then(in_range);
                lanes.get(i).map(micros).transpose()
            }))
        }
        _ => Err(PipelineError::Definition(format!("TO_TIMESTAMP takes seconds, not {from}"))),
    }
}

pub(crate) fn epoch_micros(argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    let lanes = instants(argument)?;
    Ok(rows::<Numbers<i64>>(height, DataType::BigInt, |i| Ok(lanes.get(i))))
}

pub(crate) fn window_start(
    clock: &WindowClock,
    argument: &pl::Column,
    height: usize,
) -> Result<Evaluated, PipelineError> {
    timestamps(argument, height, |v| clock.start_of(v))
}

pub(crate) fn window_end(
    clock: &WindowClock,
    argument: &pl::Column,
    height: usize,
) -> Result<Evaluated, PipelineError> {
    timestamps(argument, height, |v| clock.end_of(v))
}
