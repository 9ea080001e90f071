//! Casts, by regular expressions and chrono.

use chrono::{Datelike, NaiveDate, NaiveTime};

use super::{
    Outcome, decimal_text, fit,
    temporal::{checked, micros, naive},
};
use crate::{
    error::Failure,
    number::{double_to_decimal, parse_decimal, write_double},
    time::{MAX_DATE, MIN_DATE},
    types::{DataType, Value},
};

pub(super) fn cast(value: Value, from: DataType, to: DataType) -> Outcome {
    use DataType as D;
    let invalid = Failure::InvalidCast;
    if value == Value::Null || from == to {
        return Ok(value);
    }
    match (&value, to) {
        (Value::Text(_), D::Text) => Ok(value),
        (Value::Text(t), _) => parse(t.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']), t, to).ok_or(invalid),
        (Value::Boolean(v), D::Text) => Ok(Value::Text(v.to_string())),
        (Value::Boolean(v), _) => Ok(Value::Int(i64::from(*v))),
        (Value::Int(v), D::Boolean) => Ok(Value::Boolean(*v != 0)),
        (Value::Int(v), D::Double) => Ok(Value::Double(*v as f64)),
        (Value::Int(v), D::Text) => Ok(Value::Text(v.to_string())),
        (Value::Int(v), D::Decimal { scale, .. }) => {
            fit(i128::from(*v).checked_mul(10i128.pow(u32::from(scale))), to).ok_or(invalid)
        }
        (Value::Int(v), _) => fit(Some(i128::from(*v)), to).ok_or(invalid),
        (Value::Double(v), D::Text) => {
            let mut text = String::new();
            write_double(&mut text, *v);
            Ok(Value::Text(text))
        }
        (Value::Double(v), D::Decimal { precision, scale }) => {
            double_to_decimal(*v, precision, scale).map(Value::Decimal).ok_or(invalid)
        }
        (Value::Double(v), _) => {
            if !v.is_finite() || v.abs() > 1e19 {
                return Err(invalid);
            }
            fit(Some(v.round_ties_even() as i128), to).ok_or(invalid)
        }
        (Value::Decimal(v), _) => {
            let D::Decimal { scale, .. } = from else { panic!() };
            let text = decimal_text(*v, scale);
            match to {
                D::Text => Ok(Value::Text(text)),
                D::Double => Ok(Value::Double(text.parse().unwrap())),
                D::Decimal { precision, scale } => {
                    parse_decimal(&text, precision, scale, true).map(Value::Decimal).map_err(|_| invalid)
                }
                _ => fit(parse_decimal(&text, 38, 0, true).ok(), to).ok_or(invalid),
            }
        }
        (Value::Timestamp(v), D::Date) => Ok(Value::Date(v.div_euclid(86_400_000_000) as i32)),
        (Value::Timestamp(v), _) => {
            let format = if v % 1_000_000 == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.6fZ" };
            Ok(Value::Text(naive(*v).format(format).to_string()))
        }
        (Value::Date(v), D::Timestamp) => {
            if (MIN_DATE..=MAX_DATE).contains(v) {
                Ok(Value::Timestamp(i64::from(*v) * 86_400_000_000))
            } else {
                Err(Failure::TimestampOutOfRange)
            }
        }
        (Value::Date(v), _) => Ok(Value::Text(naive(i64::from(*v) * 86_400_000_000).format("%Y-%m-%d").to_string())),
        _ => panic!("{value:?} to {to}"),
    }
}

fn parse(text: &str, untrimmed: &str, to: DataType) -> Option<Value> {
    let regex = |pattern: &str| regex::Regex::new(pattern).unwrap();
    match to {
        DataType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Some(Value::Boolean(true)),
            "false" | "f" | "no" | "n" | "off" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        DataType::Int | DataType::BigInt => {
            if !regex(r"^[+-]?[0-9]+$").is_match(text) {
                return None;
            }
            fit(text.parse::<i128>().ok(), to)
        }
        DataType::Double => {
            let value: f64 = text.parse().ok()?;
            let named = regex("(?i)^[+-]?inf").is_match(text);
            if value.is_infinite() && !named { None } else { Some(Value::Double(value)) }
        }
        DataType::Decimal { precision, scale } => {
            if !regex(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$").is_match(text) {
                return None;
            }
            parse_decimal(text, precision, scale, true).ok().map(Value::Decimal)
        }
        DataType::Timestamp => {
            let form = regex(
                r"^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?)?$",
            );
            let parts = form.captures(text)?;
            let number = |i: usize| parts.get(i).map_or(0, |m| m.as_str().parse::<i64>().unwrap_or(0));
            let day = NaiveDate::parse_from_str(&parts[1], "%Y-%m-%d").ok().filter(|d| d.year() >= 1)?;
            let time = NaiveTime::from_hms_opt(number(2) as u32, number(3) as u32, number(4) as u32)?;
            let fraction = parts.get(5).map_or("", |m| m.as_str());
            let fraction: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
            if number(8) > 23 || number(9) > 59 {
                return None;
            }
            let offset = (number(8) * 3_600 + number(9) * 60) * 1_000_000;
            let offset = if parts.get(7).is_some_and(|m| m.as_str() == "-") { -offset } else { offset };
            checked(micros(day.and_time(time)) + fraction - offset).ok().map(Value::Timestamp)
        }
        DataType::Date => {
            if !regex(r"^\d{4}-\d\d-\d\d$").is_match(text) {
                return None;
            }
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|d| d.year() >= 1)?;
            Some(Value::Date(day.num_days_from_ce() - 719_163))
        }
        DataType::Json => {
            let raw: Box<serde_json::value::RawValue> = serde_json::from_str(untrimmed).ok()?;
            Some(Value::Text(raw.get().to_owned()))
        }
        DataType::Text => Some(Value::Text(untrimmed.to_owned())),
    }
}
