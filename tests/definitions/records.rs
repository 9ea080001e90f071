//! Random records, each with what its table makes of it by rules of this test's own.

use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use watershed::{DataType, Value};

use super::{
    tables::{Column, Table},
    types::{chance, pick},
    values::{DAY, FIRST_MICROS, LAST_MICROS, canonical, date_text, decimal_text, sample, timestamp_text},
};

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its bytes.
    pub payload: Vec<u8>,
    /// The values of the table's columns; `None` if the schema refuses it.
    pub accepted: Option<Vec<Value>>,
    /// What is special about it, for the list of what was drawn.
    pub kinds: Vec<String>,
}

/// A field of a payload: its JSON text, and the value or what is wrong with it.
struct Field {
    json: Option<String>,
    value: Result<Value, &'static str>,
}

impl Record {
    /// A random one.
    pub fn random(rng: &mut StdRng, table: &Table) -> Record {
        let mut kinds = Vec::new();
        // Few records are refused, and most of those for one reason.
        let refused = chance(rng, 10).then(|| rng.random_range(0..table.columns.len() + 4));
        let mut values = Some(Vec::new());
        let mut members = Vec::new();
        for (index, column) in table.columns.iter().enumerate() {
            let field = if refused == Some(index) { wrong(rng, column) } else { right(rng, column) };
            match (field.value, &mut values) {
                (Ok(value), Some(values)) => values.push(value),
                (Ok(_), None) => {}
                (Err(kind), values) => {
                    kinds.push(format!("refused: {kind}"));
                    *values = None;
                }
            }
            if let Some(json) = field.json {
                let name = match chance(rng, 4) {
                    true => name_with_escapes(&column.name),
                    false => serde_json::Value::from(column.name.as_str()).to_string(),
                };
                members.push((name, json));
            }
        }
        if chance(rng, 25) {
            members.push(("\"unknown\"".to_owned(), "{\"nested\": [1e999, 2, {\"deep\": null}]}".to_owned()));
            kinds.push("unknown member".to_owned());
        }
        if chance(rng, 40) {
            members.shuffle(rng);
        }
        let (comma, colon) = *pick(rng, &[(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")]);
        let members: Vec<String> = members.into_iter().map(|(name, json)| format!("{name}{colon}{json}")).collect();
        let payload = format!("{{{}}}", members.join(comma)).into_bytes();
        let mut record = Record { payload, accepted: values, kinds };
        if refused.is_some_and(|at| at >= table.columns.len()) {
            record.break_it(rng, table);
        }
        if record.kinds.is_empty() {
            record.kinds.push("plain".to_owned());
        }
        record
    }

    /// Makes the payload one that no table accepts.
    fn break_it(&mut self, rng: &mut StdRng, table: &Table) {
        let whole = self.payload.clone();
        let (kind, payload): (&str, Vec<u8>) = match rng.random_range(0..9) {
            0 => ("truncated", whole[..rng.random_range(1..whole.len())].to_vec()),
            1 => ("empty", (*pick(rng, &["", " ", "\n"])).as_bytes().to_vec()),
            2 => ("no object", (*pick(rng, &["[]", "null", "5", "\"{}\"", "true"])).as_bytes().to_vec()),
            3 => ("more after it", [&whole[..], *pick(rng, &[&b"{}"[..], b",", b"x", b"\0"])].concat()),
            4 => ("not UTF-8", [&whole[..whole.len() - 1], &b",\"x\":\"\xff\xfe\"}"[..]].concat()),
            5 => {
                let name = serde_json::Value::from(table.columns[0].name.as_str());
                let again = format!("{{{name}:null,{name}:null}}");
                ("a member twice", again.into_bytes())
            }
            6 => ("bad JSON", [&whole[..whole.len() - 1], &b",}"[..]].concat()),
            7 => ("bad JSON", b"\xef\xbb\xbf{}".to_vec()),
            _ => ("not JSON", (0..rng.random_range(1..40)).map(|_| rng.random_range(128..=255_u8)).collect()),
        };
        *self = Record { payload, accepted: None, kinds: vec![format!("refused: {kind}")] };
    }

    /// Whether the table accepts it at this append time: besides the schema, event time may not be too far ahead.
    pub fn accepted_at(&self, table: &Table, append_time_micros: i64) -> Option<&Vec<Value>> {
        let values = self.accepted.as_ref()?;
        let event_time = match table.event_time.map(|index| &values[index]) {
            None => append_time_micros,
            Some(Value::Timestamp(micros)) => *micros,
            Some(other) => panic!("{other:?} is no event time"),
        };
        (event_time - append_time_micros <= table.max_ahead.1).then_some(values)
    }
}

/// Every character as an escape.
fn name_with_escapes(name: &str) -> String {
    let units: String = name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

/// A field that the column accepts.
fn right(rng: &mut StdRng, column: &Column) -> Field {
    if !column.not_null && chance(rng, 15) {
        let json = chance(rng, 50).then(|| "null".to_owned());
        return Field { json, value: Ok(Value::Null) };
    }
    let value = if chance(rng, 60) { pick(rng, &column.pool).clone() } else { sample(rng, column.data_type) };
    let (json, value) = written(rng, column.data_type, value);
    Field { json: Some(json), value: Ok(value) }
}

/// A value in one of the ways in which it may be written, and the value that this stands for.
fn written(rng: &mut StdRng, data_type: DataType, value: Value) -> (String, Value) {
    let json = match (&value, data_type) {
        (Value::Boolean(value), _) => value.to_string(),
        (Value::Int(value), _) => value.to_string(),
        (Value::Double(value), _) => double_json(rng, *value),
        (Value::Decimal(value), DataType::Decimal { precision, scale }) => decimal_json(rng, *value, precision, scale),
        (Value::Text(value), DataType::Text) => text_json(rng, value),
        (Value::Text(value), _) => value.clone(),
        (Value::Timestamp(micros), _) => return timestamp_json(rng, *micros),
        (Value::Date(days), _) => format!("\"{}\"", date_text(*days)),
        (other, data_type) => panic!("{other:?} is no {data_type}"),
    };
    let value = if let Value::Double(value) = value { Value::Double(canonical(value)) } else { value };
    (json, value)
}

fn double_json(rng: &mut StdRng, value: f64) -> String {
    if !value.is_finite() {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        return format!("\"{name}\"");
    }
    // All of the shortest digits, or more of them than a double has.
    match rng.random_range(0..4) {
        0 => format!("{value:e}"),
        1 => format!("{value:.25e}").replace('e', "E"),
        2 if (1e-9..1e15).contains(&value.abs()) => format!("{value:.60}"),
        _ => serde_json::Number::from_f64(value).expect("finite").to_string(),
    }
}

fn decimal_json(rng: &mut StdRng, value: i128, precision: u8, scale: u8) -> String {
    let plain = decimal_text(value, scale);
    match rng.random_range(0..7) {
        0 => format!("\"{plain}\""),
        1 => format!("{value}e-{scale}"),
        2 if scale > 0 => format!("{plain}000"),
        3 if value >= 0 => format!("\"+{plain}\""),
        4 if value >= 0 && scale > 0 && scale == precision => format!("\"{}\"", &plain[1..]),
        5 => format!("\"000{}\"", plain.trim_start_matches('-')).replacen(
            "\"000",
            if value < 0 { "\"-000" } else { "\"000" },
            1,
        ),
        _ => plain,
    }
}

fn text_json(rng: &mut StdRng, value: &str) -> String {
    match rng.random_range(0..4) {
        0 => name_with_escapes(value),
        1 => serde_json::Value::from(value).to_string().replace('/', "\\/"),
        _ => serde_json::Value::from(value).to_string(),
    }
}

fn timestamp_json(rng: &mut StdRng, micros: i64) -> (String, Value) {
    let plain = timestamp_text(micros);
    let same = Value::Timestamp(micros);
    match rng.random_range(0..9) {
        0 => {
            let millis = micros.div_euclid(1_000);
            (millis.to_string(), Value::Timestamp(millis * 1_000))
        }
        1 => (format!("\"{}\"", plain.replace('T', " ").trim_end_matches('Z')), same),
        // Digits after the sixth are cut off.
        2 => (format!("\"{}\"", plain.replace('Z', "999z").replace('T', "t")), same),
        3 => {
            let seconds = micros.div_euclid(1_000_000) * 1_000_000;
            (format!("\"{}\"", &timestamp_text(seconds)[..19]), Value::Timestamp(seconds))
        }
        4 => {
            let minutes = micros.div_euclid(60_000_000) * 60_000_000;
            (format!("\"{}\"", &timestamp_text(minutes)[..16]), Value::Timestamp(minutes))
        }
        5 => {
            let day = micros.div_euclid(DAY) * DAY;
            (format!("\"{}\"", &timestamp_text(day)[..10]), Value::Timestamp(day))
        }
        6 | 7 => {
            let (zone, minutes) =
                *pick(rng, &[("+05:30", 330), ("-0800", -480), ("+14", 840), ("-00:01", -1), ("+23:59", 1_439)]);
            let local = micros + minutes * 60_000_000;
            if !(FIRST_MICROS..=LAST_MICROS).contains(&local) {
                return (format!("\"{plain}\""), same);
            }
            (format!("\"{}\"", timestamp_text(local).replace('Z', zone)), same)
        }
        _ => (format!("\"{plain}\""), same),
    }
}

/// A field that the column refuses.
fn wrong(rng: &mut StdRng, column: &Column) -> Field {
    let data_type = column.data_type;
    if column.not_null && chance(rng, 30) {
        let json = chance(rng, 50).then(|| "null".to_owned());
        return Field { json, value: Err("NOT NULL") };
    }
    let kinds: &[&str] = match data_type {
        DataType::Boolean => &["\"true\"", "1", "0", "\"\"", "[true]"],
        DataType::Int => &["2147483648", "-2147483649", "1.0", "1e2", "\"5\"", "true", "{}", "1.5"],
        DataType::BigInt => &["9223372036854775808", "-9223372036854775809", "1.0", "1E2", "\"5\"", "[1]"],
        DataType::Double => &["1e309", "-1e400", "\"inf\"", "\"1.5\"", "true", "{}", "\"nan\"", "\"-NaN\""],
        DataType::Decimal { .. } => return wrong_decimal(rng, data_type),
        DataType::Text => &["5", "true", "[\"a\"]", "{}", "\"\\ud800\"", "\"\\udc00\\ud800\""],
        DataType::Timestamp => &[
            "\"yesterday\"",
            "\"2024-02-30T00:00:00Z\"",
            "\"2023-02-29\"",
            "\"0000-12-31T23:59:59Z\"",
            "\"10000-01-01T00:00:00Z\"",
            "\"2024-01-01T24:00:00Z\"",
            "\"2024-01-01T23:59:60Z\"",
            "\"2024-01-01T00:00:00+24:00\"",
            "\"0001-01-01T00:00:00+00:01\"",
            "\"9999-12-31T23:59:59-00:01\"",
            "253402300800000",
            "-62135596800001",
            "1.5",
            "true",
            "\" 2024-01-01\"",
            "\"2024-1-1\"",
            "\"\"",
        ],
        DataType::Date => {
            &["\"2024-02-30\"", "\"2024-2-9\"", "\"2024-01-01T00:00:00Z\"", "19000", "\"0000-01-01\"", "\"\""]
        }
        DataType::Json => &["{\"a\":}", "[1,]", "'a'", "01", "NaN", "undefined"],
    };
    Field { json: Some((*pick(rng, kinds)).to_owned()), value: Err(super::types::family(data_type)) }
}

fn wrong_decimal(rng: &mut StdRng, data_type: DataType) -> Field {
    let DataType::Decimal { precision, scale } = data_type else { panic!("{data_type}") };
    let zeros = "0".repeat(usize::from(precision - scale));
    let json = match rng.random_range(0..5) {
        // One digit too many before the point, or after it.
        0 => format!("1{zeros}"),
        1 => format!("-1{zeros}.0"),
        2 => format!("0.{}1", "0".repeat(usize::from(scale))),
        3 => format!("1e-{}", u32::from(scale) + 1),
        _ => (*pick(rng, &["\"\"", "\"abc\"", "\" 1\"", "\"1,5\"", "true", "\"NaN\"", "\"1e\"", "{}", "\".\""]))
            .to_owned(),
    };
    Field { json: Some(json), value: Err("DECIMAL") }
}
