//! Rows as JSON, without losing digits.

use std::fmt::Write as _;

use polars::prelude::DataFrame;
use serde_json::value::RawValue;
use watershed_pipelines::types::{DataType, Schema, Value};

/// Appends row `row` as a JSON object, on one line.
pub(crate) fn write_row(text: &mut String, frame: &DataFrame, schema: &Schema, row: usize) {
    text.push('{');
    for (index, (field, column)) in schema.fields.iter().zip(frame.columns()).enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_text(text, &field.name);
        text.push(':');
        write_value(text, &Value::at(column, row), field.data_type);
    }
    text.push('}');
}

fn write_value(text: &mut String, value: &Value, data_type: DataType) {
    // Writing to a `String` cannot fail.
    let _ = match value {
        Value::Null => write!(text, "null"),
        Value::Boolean(_) | Value::Int(_) | Value::Decimal(_) => write!(text, "{}", value.display(data_type)),
        Value::Double(x) if x.is_finite() => write!(text, "{x:?}"),
        Value::Text(json) if data_type == DataType::Json && serde_json::from_str::<&RawValue>(json).is_ok() => {
            // Line breaks can only stand between tokens.
            text.extend(json.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
            Ok(())
        }
        Value::Text(content) => {
            write_text(text, content);
            Ok(())
        }
        Value::Double(_) | Value::Timestamp(_) | Value::Date(_) => write!(text, "\"{}\"", value.display(data_type)),
    };
}

fn write_text(text: &mut String, content: &str) {
    // Serialising a text cannot fail.
    text.push_str(&serde_json::to_string(content).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_digits() {
        let decimal = DataType::Decimal { precision: 38, scale: 2 };
        for (value, data_type, expected) in [
            (Value::Null, DataType::Text, "null"),
            (
                Value::Decimal(12345678901234567890123456789012345678),
                decimal,
                "123456789012345678901234567890123456.78",
            ),
            (Value::Double(0.1), DataType::Double, "0.1"),
            (Value::Double(1e300), DataType::Double, "1e300"),
            (Value::Double(f64::NAN), DataType::Double, "\"NaN\""),
            (Value::Double(f64::INFINITY), DataType::Double, "\"Infinity\""),
            (Value::Timestamp(0), DataType::Timestamp, "\"1970-01-01T00:00:00Z\""),
            (Value::Date(1), DataType::Date, "\"1970-01-02\""),
            (Value::Text("a\"\n".into()), DataType::Text, r#""a\"\n""#),
            (Value::Text("{\"a\":\n1.10}".into()), DataType::Json, "{\"a\": 1.10}"),
            (Value::Text("{".into()), DataType::Json, "\"{\""),
        ] {
            let mut text = String::new();
            write_value(&mut text, &value, data_type);
            assert_eq!(text, expected);
        }
    }
}
