//! One column's values as text, each kind in one exact form.

use std::fmt::Write as _;

use chrono::{DateTime, Days, NaiveDate};
use polars::prelude::{self as pl, Column, DataFrame};
use watershed_pipelines::types::{DataType, Schema, Value};

use super::terminal::escaped_json;
use crate::error::Error;

/// The values of a frame's columns, ready to be taken one by one.
pub struct Cells<'a> {
    columns: Vec<(DataType, Accessor<'a>)>,
    height: usize,
}

enum Accessor<'a> {
    Boolean(&'a pl::BooleanChunked),
    Int(&'a pl::Int32Chunked),
    BigInt(&'a pl::Int64Chunked),
    Double(&'a pl::Float64Chunked),
    Decimal(&'a pl::Int128Chunked),
    Text(&'a pl::StringChunked),
    Timestamp(&'a pl::Int64Chunked),
    Date(&'a pl::Int32Chunked),
}

impl<'a> Cells<'a> {
    /// The columns of `frame`, whose types are those of `schema`.
    pub fn new(frame: &'a DataFrame, schema: &Schema) -> Result<Cells<'a>, Error> {
        let columns = schema
            .fields
            .iter()
            .zip(frame.columns())
            .map(|(field, column)| Ok((field.data_type, accessor(column, field.data_type)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Cells { columns, height: frame.height() })
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The type of a column.
    pub fn data_type(&self, column: usize) -> DataType {
        self.columns[column].0
    }

    /// One value.
    pub fn value(&self, column: usize, row: usize) -> Value {
        let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
        or_null(match &self.columns[column].1 {
            Accessor::Boolean(values) => values.get(row).map(Value::Boolean),
            Accessor::Int(values) => values.get(row).map(|v| Value::Int(i64::from(v))),
            Accessor::BigInt(values) => values.get(row).map(Value::Int),
            Accessor::Double(values) => values.get(row).map(Value::Double),
            Accessor::Decimal(values) => values.get(row).map(Value::Decimal),
            Accessor::Text(values) => values.get(row).map(|v| Value::Text(v.to_owned())),
            Accessor::Timestamp(values) => values.get(row).map(Value::Timestamp),
            Accessor::Date(values) => values.get(row).map(Value::Date),
        })
    }

    /// One value as text; `None` is NULL.
    pub fn text(&self, column: usize, row: usize) -> Option<String> {
        value_text(&self.value(column, row), self.data_type(column))
    }

    /// One value as JSON: decimals as numbers with all their digits, timestamps and dates in RFC 3339, JSON as it is.
    pub fn json(&self, column: usize, row: usize) -> String {
        let data_type = self.data_type(column);
        match self.value(column, row) {
            Value::Null => "null".to_owned(),
            Value::Boolean(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Double(value) if value.is_finite() => double_text(value),
            value @ Value::Decimal(_) => value_text(&value, data_type).unwrap_or_default(),
            Value::Text(text) if data_type == DataType::Json => json_on_one_line(text),
            value => quoted(&value_text(&value, data_type).unwrap_or_default()),
        }
    }
}

fn accessor(column: &Column, data_type: DataType) -> Result<Accessor<'_>, Error> {
    let series = column.as_materialized_series();
    let wrong =
        |e: pl::PolarsError| Error::Internal(format!("the answer's column {:?} is no {data_type}: {e}", column.name()));
    Ok(match data_type {
        DataType::Boolean => Accessor::Boolean(series.bool().map_err(wrong)?),
        DataType::Int => Accessor::Int(series.i32().map_err(wrong)?),
        DataType::BigInt => Accessor::BigInt(series.i64().map_err(wrong)?),
        DataType::Double => Accessor::Double(series.f64().map_err(wrong)?),
        DataType::Decimal { .. } => Accessor::Decimal(series.decimal().map_err(wrong)?.physical()),
        DataType::Text | DataType::Json => Accessor::Text(series.str().map_err(wrong)?),
        DataType::Timestamp => Accessor::Timestamp(series.datetime().map_err(wrong)?.physical()),
        DataType::Date => Accessor::Date(series.date().map_err(wrong)?.physical()),
    })
}

/// A value's text; `None` for NULL.
pub fn value_text(value: &Value, data_type: DataType) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => double_text(*value),
        Value::Decimal(unscaled) => {
            decimal_text(*unscaled, if let DataType::Decimal { scale, .. } = data_type { scale } else { 0 })
        }
        Value::Text(text) => text.clone(),
        Value::Timestamp(micros) => timestamp_text(*micros),
        Value::Date(days) => date_text(*days),
    })
}

/// The shortest text that reads back as the same double. Whole numbers keep a `.0`, so that they stay doubles.
fn double_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        serde_json::Number::from_f64(value).map_or_else(|| value.to_string(), |number| number.to_string())
    }
}

/// A decimal with exactly `scale` digits after the point.
pub fn decimal_text(unscaled: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// RFC 3339 in UTC: whole seconds without a fraction, else milliseconds or microseconds.
pub fn timestamp_text(micros: i64) -> String {
    let Some(time) = DateTime::from_timestamp_micros(micros) else { return format!("{micros} µs") };
    let mut text = time.format("%Y-%m-%dT%H:%M:%S").to_string();
    let fraction = micros.rem_euclid(1_000_000);
    if fraction % 1000 != 0 {
        let _ = write!(text, ".{fraction:06}");
    } else if fraction != 0 {
        let _ = write!(text, ".{:03}", fraction / 1000);
    }
    text.push('Z');
    text
}

/// `YYYY-MM-DD`.
pub fn date_text(days: i32) -> String {
    let epoch = NaiveDate::default();
    let distance = Days::new(u64::from(days.unsigned_abs()));
    let date = if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
    date.map_or_else(|| format!("{days} days"), |date| date.format("%Y-%m-%d").to_string())
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    escaped_json(&serde_json::Value::from(text).to_string()).into_owned()
}

/// JSON as it came, its line breaks (which can only stand between tokens) made spaces; a text that is no JSON is quoted.
fn json_on_one_line(text: String) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err() {
        return quoted(&text);
    }
    let text = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text };
    escaped_json(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        for (unscaled, scale, text) in [
            (1250, 2, "12.50"),
            (-5, 2, "-0.05"),
            (0, 2, "0.00"),
            (7, 0, "7"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
            (1, 38, "0.00000000000000000000000000000000000001"),
        ] {
            assert_eq!(decimal_text(unscaled, scale), text);
        }
    }

    #[test]
    fn times() {
        assert_eq!(timestamp_text(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp_text(1_500_000), "1970-01-01T00:00:01.500Z");
        assert_eq!(timestamp_text(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(date_text(-1), "1969-12-31");
        assert_eq!(date_text(19_000), "2022-01-08");
        assert_eq!(date_text(i32::MAX), "2147483647 days");
    }

    #[test]
    fn json_values() {
        assert_eq!(json_on_one_line("{\"a\":\n 1.50}".to_owned()), "{\"a\":  1.50}");
        assert_eq!(json_on_one_line("{oops".to_owned()), "\"{oops\"");
        assert_eq!(double_text(3.0), "3.0");
        assert_eq!(double_text(f64::NAN), "NaN");
        assert_eq!(double_text(0.1 + 0.2), "0.30000000000000004");
    }
}
