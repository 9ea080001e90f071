//! `CAST` and `TRY_CAST`.

use polars::prelude as pl;

use crate::{
    error::{Failure, PipelineError},
    expr::{
        Evaluated,
        lanes::{Build, Lane, Lanes, Numbers, rows, text_rows},
    },
    number::{
        POWERS, decimal_to_double, divide_rounding, double_to_decimal, parse_decimal, parse_double, rescale,
        write_decimal, write_double,
    },
    time::{DAY, MAX_DATE, MIN_DATE, parse_date, parse_timestamp, write_date, write_timestamp},
    types::DataType,
};
use std::fmt::Write;

/// Whether there is a cast between two types.
pub(crate) fn exists(from: DataType, to: DataType) -> bool {
    use DataType as D;
    match (from, to) {
        (D::Boolean, D::Int | D::BigInt | D::Text) => true,
        (D::Int | D::BigInt, D::Boolean) => true,
        (D::Int | D::BigInt | D::Double | D::Decimal { .. }, D::Int | D::BigInt | D::Double | D::Decimal { .. }) => {
            true
        }
        (D::Int | D::BigInt | D::Double | D::Decimal { .. }, D::Text) => true,
        (D::Text, _) => true,
        (D::Timestamp, D::Date | D::Text) | (D::Date, D::Timestamp | D::Text) => true,
        (D::Json, D::Text) => true,
        (from, to) => from == to,
    }
}

/// Whether a cast can fail for a value.
pub(crate) fn can_fail(from: DataType, to: DataType) -> bool {
    use DataType as D;
    match (from, to) {
        (_, D::Text) => false,
        (D::Boolean, _) | (D::Int | D::BigInt, D::Boolean) => false,
        (D::Int, D::BigInt | D::Double) | (D::BigInt | D::Decimal { .. }, D::Double) => false,
        (from, to) => from != to,
    }
}

const INVALID: Failure = Failure::InvalidCast;

/// Computes `out` of every value that is not NULL.
fn map<L: Lane + ?Sized, B: Build>(
    argument: &pl::Column,
    height: usize,
    to: DataType,
    cast: impl Fn(L::Item<'_>) -> Result<B::Item, Failure>,
) -> Result<Evaluated, PipelineError> {
    let lanes = Lanes::<L>::new(argument)?;
    Ok(rows::<B>(height, to, |i| lanes.get(i).map(&cast).transpose()))
}

/// Writes the text of every value that is not NULL.
fn write<L: Lane + ?Sized>(
    argument: &pl::Column,
    height: usize,
    write: impl Fn(&mut String, L::Item<'_>),
) -> Result<Evaluated, PipelineError> {
    let lanes = Lanes::<L>::new(argument)?;
    Ok(text_rows(height, |i, out| {
        let value = lanes.get(i);
        if let Some(value) = value {
            write(out, value);
        }
        Ok(value.is_some())
    }))
}

pub(crate) fn evaluate(
    from: DataType,
    to: DataType,
    argument: &pl::Column,
    height: usize,
) -> Result<Evaluated, PipelineError> {
    match from {
        DataType::Boolean => from_boolean(to, argument, height),
        DataType::Int => from_integer::<i32>(to, argument, height),
        DataType::BigInt => from_integer::<i64>(to, argument, height),
        DataType::Double => from_double(to, argument, height),
        DataType::Decimal { scale, .. } => from_decimal(scale, to, argument, height),
        DataType::Text | DataType::Json => from_text(to, argument, height),
        DataType::Timestamp => match to {
            DataType::Date => map::<i64, Numbers<i32>>(argument, height, to, |v| {
                i32::try_from(v.div_euclid(DAY)).map_err(|_| INVALID)
            }),
            _ => write::<i64>(argument, height, write_timestamp),
        },
        DataType::Date => match to {
            DataType::Timestamp => map::<i32, Numbers<i64>>(argument, height, to, |v| {
                if (MIN_DATE..=MAX_DATE).contains(&v) {
                    Ok(i64::from(v) * DAY)
                } else {
                    Err(Failure::TimestampOutOfRange)
                }
            }),
            _ => write::<i32>(argument, height, |out, v| write_date(out, i64::from(v))),
        },
    }
}

fn none(from: DataType, to: DataType) -> PipelineError {
    PipelineError::Definition(format!("there is no CAST from {from} to {to}"))
}

fn from_boolean(to: DataType, argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    match to {
        DataType::Int => map::<bool, Numbers<i32>>(argument, height, to, |v| Ok(i32::from(v))),
        DataType::BigInt => map::<bool, Numbers<i64>>(argument, height, to, |v| Ok(i64::from(v))),
        DataType::Text => write::<bool>(argument, height, |out, v| out.push_str(if v { "true" } else { "false" })),
        _ => Err(none(DataType::Boolean, to)),
    }
}

fn from_integer<T>(to: DataType, argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError>
where
    T: for<'a> Lane<Item<'a> = T> + Into<i64> + 'static,
{
    match to {
        DataType::Boolean => {
            map::<T, polars_arrow::array::MutableBooleanArray>(argument, height, to, |v: T| Ok(v.into() != 0))
        }
        DataType::Int => {
            map::<T, Numbers<i32>>(argument, height, to, |v: T| i32::try_from(v.into()).map_err(|_| INVALID))
        }
        DataType::BigInt => map::<T, Numbers<i64>>(argument, height, to, |v: T| Ok(v.into())),
        DataType::Double => map::<T, Numbers<f64>>(argument, height, to, |v: T| Ok(v.into() as f64)),
        DataType::Decimal { precision, scale } => map::<T, Numbers<i128>>(argument, height, to, |v: T| {
            rescale(i128::from(v.into()), 0, scale, precision).ok_or(INVALID)
        }),
        DataType::Text => write::<T>(argument, height, |out, v: T| {
            let _ = write!(out, "{}", v.into());
        }),
        _ => Err(none(DataType::BigInt, to)),
    }
}

fn from_double(to: DataType, argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    match to {
        // Half to even, as PostgreSQL does for doubles. 2^63 itself is not a BIGINT.
        DataType::Int => map::<f64, Numbers<i32>>(argument, height, to, |v| {
            let rounded = v.round_ties_even();
            if (-2_147_483_648.0..=2_147_483_647.0).contains(&rounded) { Ok(rounded as i32) } else { Err(INVALID) }
        }),
        DataType::BigInt => map::<f64, Numbers<i64>>(argument, height, to, |v| {
            let rounded = v.round_ties_even();
            let limit = 9_223_372_036_854_775_808.0;
            if (-limit..limit).contains(&rounded) { Ok(rounded as i64) } else { Err(INVALID) }
        }),
        DataType::Decimal { precision, scale } => {
            map::<f64, Numbers<i128>>(argument, height, to, |v| double_to_decimal(v, precision, scale).ok_or(INVALID))
        }
        DataType::Text => write::<f64>(argument, height, write_double),
        _ => Err(none(DataType::Double, to)),
    }
}

fn from_decimal(from: u8, to: DataType, argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    let power = POWERS[usize::from(from).min(38)];
    match to {
        DataType::Int => map::<i128, Numbers<i32>>(argument, height, to, |v| {
            i32::try_from(divide_rounding(v, power)).map_err(|_| INVALID)
        }),
        DataType::BigInt => map::<i128, Numbers<i64>>(argument, height, to, |v| {
            i64::try_from(divide_rounding(v, power)).map_err(|_| INVALID)
        }),
        DataType::Double => map::<i128, Numbers<f64>>(argument, height, to, |v| Ok(decimal_to_double(v, from))),
        DataType::Decimal { precision, scale } => {
            map::<i128, Numbers<i128>>(argument, height, to, |v| rescale(v, from, scale, precision).ok_or(INVALID))
        }
        DataType::Text => write::<i128>(argument, height, |out, v| write_decimal(out, v, from)),
        _ => Err(none(DataType::Decimal { precision: 38, scale: from }, to)),
    }
}

fn from_text(to: DataType, argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    match to {
        DataType::Boolean => map::<str, polars_arrow::array::MutableBooleanArray>(argument, height, to, |v| {
            boolean(trim(v)).ok_or(INVALID)
        }),
        DataType::Int => map::<str, Numbers<i32>>(argument, height, to, |v| trim(v).parse().map_err(|_| INVALID)),
        DataType::BigInt => map::<str, Numbers<i64>>(argument, height, to, |v| trim(v).parse().map_err(|_| INVALID)),
        DataType::Double => map::<str, Numbers<f64>>(argument, height, to, |v| parse_double(trim(v)).ok_or(INVALID)),
        DataType::Decimal { precision, scale } => map::<str, Numbers<i128>>(argument, height, to, |v| {
            parse_decimal(trim(v), precision, scale, true).map_err(|_| INVALID)
        }),
        DataType::Timestamp => {
            map::<str, Numbers<i64>>(argument, height, to, |v| parse_timestamp(trim(v)).ok_or(INVALID))
        }
        DataType::Date => map::<str, Numbers<i32>>(argument, height, to, |v| {
            parse_date(trim(v).as_bytes()).and_then(|d| i32::try_from(d).ok()).ok_or(INVALID)
        }),
        DataType::Json => {
            let lanes = Lanes::<str>::new(argument)?;
            Ok(text_rows(height, |i, out| {
                let Some(text) = lanes.get(i) else { return Ok(false) };
                let raw: &serde_json::value::RawValue = serde_json::from_str(text).map_err(|_| INVALID)?;
                out.push_str(raw.get());
                Ok(true)
            }))
        }
        DataType::Text => Ok(Evaluated::infallible(argument.clone())),
    }
}

/// Without spaces around it: ASCII white space, as PostgreSQL takes it.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c'))
}

/// PostgreSQL's words for a Boolean.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    const TRUE: [&str; 6] = ["true", "t", "yes", "y", "on", "1"];
    const FALSE: [&str; 6] = ["false", "f", "no", "n", "off", "0"];
    if TRUE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        Some(true)
    } else if FALSE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        Some(false)
    } else {
        None
    }
}
