//! Single values of data frames, and values as text.

use std::fmt::{self, Write as _};

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};
use polars::prelude::{AnyValue, Column, DataFrame};

use crate::types::{DataType, Schema, Value};

impl Value {
    /// The value of `column` in row `row`; NULL beyond its end or for a column of a type that is not a [`DataType`].
    pub fn at(column: &Column, row: usize) -> Value {
        match column.get(row) {
            Ok(AnyValue::Boolean(b)) => Value::Boolean(b),
            Ok(AnyValue::Int32(i)) => Value::Int(i64::from(i)),
            Ok(AnyValue::Int64(i)) => Value::Int(i),
            Ok(AnyValue::Float64(x)) => Value::Double(x),
            Ok(AnyValue::Decimal(unscaled, ..)) => Value::Decimal(unscaled),
            Ok(AnyValue::String(text)) => Value::Text(text.to_owned()),
            Ok(AnyValue::StringOwned(text)) => Value::Text(text.to_string()),
            Ok(AnyValue::Datetime(micros, ..) | AnyValue::DatetimeOwned(micros, ..)) => Value::Timestamp(micros),
            Ok(AnyValue::Date(days)) => Value::Date(days),
            _ => Value::Null,
        }
    }

    /// The value as text: timestamps in RFC 3339 (UTC), decimals with all digits of their scale, `NULL` for NULL.
    pub fn display(&self, data_type: DataType) -> ValueText<'_> {
        ValueText { value: self, data_type }
    }
}

/// A value with its type, to be printed. See [`Value::display`].
#[derive(Clone, Copy, Debug)]
pub struct ValueText<'a> {
    value: &'a Value,
    data_type: DataType,
}

impl fmt::Display for ValueText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Value::Null => f.write_str("NULL"),
            Value::Boolean(b) => write!(f, "{b}"),
            Value::Int(i) => write!(f, "{i}"),
            Value::Double(x) if x.is_nan() => f.write_str("NaN"),
            Value::Double(x) if x.is_infinite() => f.write_str(if *x > 0.0 { "Infinity" } else { "-Infinity" }),
            // `Debug` prints the shortest digits that read back as the same double, with an exponent where that is shorter.
            Value::Double(x) => write!(f, "{x:?}"),
            Value::Decimal(unscaled) => {
                let scale = if let DataType::Decimal { scale, .. } = self.data_type { scale } else { 0 };
                write_decimal(f, *unscaled, usize::from(scale))
            }
            Value::Text(text) => f.write_str(text),
            Value::Timestamp(micros) => match DateTime::from_timestamp_micros(*micros) {
                Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
                None => write!(f, "{micros} µs"),
            },
            Value::Date(days) => {
                let epoch = NaiveDate::default();
                match epoch.checked_add_signed(TimeDelta::days(i64::from(*days))) {
                    Some(date) => write!(f, "{date}"),
                    None => write!(f, "{days} days"),
                }
            }
        }
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, unscaled: i128, scale: usize) -> fmt::Result {
    let digits = unscaled.unsigned_abs().to_string();
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 {
        return write!(f, "{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    write!(f, "{sign}{whole}.{fraction}")
}

/// Row `row` of `frame` as text, for messages: `card = a, n = 3`.
pub fn describe_row(frame: &DataFrame, schema: &Schema, row: usize) -> String {
    let mut text = String::new();
    for (field, column) in schema.fields.iter().zip(frame.columns()) {
        let separator = if text.is_empty() { "" } else { ", " };
        let value = Value::at(column, row);
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{separator}{} = {}", field.name, value.display(field.data_type));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_text() {
        let cents = DataType::Decimal { precision: 12, scale: 2 };
        for (value, data_type, expected) in [
            (Value::Null, DataType::Int, "NULL"),
            (Value::Decimal(5), cents, "0.05"),
            (Value::Decimal(-12345), cents, "-123.45"),
            (Value::Decimal(i128::MIN), DataType::Decimal { precision: 38, scale: 0 }, &i128::MIN.to_string()),
            (Value::Double(0.1), DataType::Double, "0.1"),
            (Value::Double(f64::NEG_INFINITY), DataType::Double, "-Infinity"),
            (Value::Timestamp(1_500_000), DataType::Timestamp, "1970-01-01T00:00:01.500Z"),
            (Value::Date(365), DataType::Date, "1971-01-01"),
        ] {
            assert_eq!(value.display(data_type).to_string(), expected);
        }
    }
}
