//! Values: ordinary ones that tie, and those at which careless code breaks.

use chrono::{DateTime, NaiveDate, TimeDelta};
use rand::{Rng, rngs::StdRng};
use watershed::{DataType, Value};

use super::{
    language::{Expr, Fails, text},
    types::{chance, pick, theirs},
};
use crate::support::records::BEGIN_MICROS;

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;
/// 0001-01-01T00:00:00Z.
pub const FIRST_MICROS: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
pub const LAST_MICROS: i64 = 253_402_300_799_999_999;

/// Texts at which careless code breaks.
pub const HOSTILE: &[&str] = &[
    "",
    " ",
    "a",
    "b",
    "A",
    "a ",
    "../../etc/passwd",
    "%2F..%2F",
    "a/b=c",
    "'; DROP TABLE t0; --",
    "\"quoted\"",
    "line\nbreak\r\ttab",
    "\u{0}",
    "\u{0}\u{0}",
    "a\u{0}b",
    "\u{7f}\u{80}\u{ff}",
    "\u{10ffff}",
    "\u{feff}bom",
    "é",
    "e\u{301}",
    "ΑΣ",
    "straße",
    "ŉİı",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "مرحبا",
    "NULL",
    "null",
    "__HIVE_DEFAULT_PARTITION__",
    "a,b,,c",
    "key=value;key=other",
    "a_b%c\\d",
    "2024-02-29",
];

/// Texts that are values of other types, or nearly.
const READABLE: &[&str] = &[
    "0",
    "-1",
    "+7",
    " 42 ",
    "2147483648",
    "-9223372036854775808",
    "9223372036854775808",
    "1e2",
    "1_000",
    "0x10",
    "1.5",
    ".5",
    "5.",
    "-0.005",
    "1e308",
    "1e309",
    "-Infinity",
    "nan",
    "inf",
    "99999999999999999999999999999999999999",
    "0.00000000000000000000000000000000000001",
    "true",
    "F",
    "yes",
    "off",
    "maybe",
    "2024-02-30",
    "0001-01-01",
    "9999-12-31T23:59:59.999999Z",
    "2024-03-10 02:30",
    "2024-03-10T02:30:00.1234567+05:30",
    "0001-01-01T00:00:00+00:01",
    "{\"a\": {\"b\": [1.50, \"x\", null, true]}}",
    "[1, 2, {\"a\": \"ü\"}]",
    "\"text\"",
    "{\"a\": 1e5, \"a\": 2}",
];

/// JSON texts, as columns keep them.
const JSON: &[&str] = &[
    "{}",
    "[]",
    "true",
    "false",
    "-0.0",
    "1e400",
    "12345678901234567890.50",
    "\"text\"",
    "\"a\\u0000b\"",
    "{\"a\":{\"b\":[1.50,\"x\",null,true]}}",
    "{ \"a\" : 1 }",
    "{\"a\":1,\"a\":\"again\"}",
    "[1, 2, {\"a\": \"ü\"}]",
    "{\"a b\":\"spaces\",\"0\":\"zero\"}",
    "[[[[[[1]]]]]]",
    "{\"a\":\"\\ud83d\\ude00\"}",
];

const DOUBLES: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    0.2,
    0.3,
    0.5,
    1.5,
    2.5,
    -2.5,
    1.005,
    1e16,
    -1e16,
    9_007_199_254_740_993.0,
    1e308,
    -1e308,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
    1e-300,
    2_147_483_647.5,
    9_223_372_036_854_775_808.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

/// A value of a type; never NULL.
pub fn sample(rng: &mut StdRng, data_type: DataType) -> Value {
    match data_type {
        DataType::Boolean => Value::Boolean(rng.random()),
        DataType::Int => Value::Int(match rng.random_range(0..4) {
            0 => *pick(rng, &[i64::from(i32::MAX), i64::from(i32::MIN), i64::from(i32::MAX) - 1]),
            1 => rng.random_range(-100_000..100_000),
            _ => rng.random_range(-3..8),
        }),
        DataType::BigInt => Value::Int(match rng.random_range(0..4) {
            0 => *pick(rng, &[i64::MAX, i64::MIN, i64::MAX - 1, 1 << 53, 1 << 31]),
            1 => rng.random(),
            _ => rng.random_range(-3..8),
        }),
        DataType::Double => Value::Double(match rng.random_range(0..4) {
            0 => *pick(rng, DOUBLES),
            1 => f64::from_bits(rng.random()),
            2 => f64::from(rng.random_range(-400..400)) / 8.0,
            _ => rng.random_range(-1e6..1e6),
        }),
        DataType::Decimal { precision, .. } => {
            let most = 10i128.pow(u32::from(precision)) - 1;
            Value::Decimal(match rng.random_range(0..4) {
                0 => *pick(rng, &[most, -most, most / 2, 0]),
                1 => rng.random_range(-most..=most),
                _ => rng.random_range(-20_i128.min(most)..=50_i128.min(most)),
            })
        }
        DataType::Text => Value::Text(text_value(rng)),
        DataType::Json => Value::Text((*pick(rng, JSON)).to_owned()),
        DataType::Timestamp => Value::Timestamp(instant(rng)),
        DataType::Date => Value::Date(i32::try_from(instant(rng).div_euclid(DAY)).expect("a day")),
    }
}

fn text_value(rng: &mut StdRng) -> String {
    match rng.random_range(0..8) {
        0 | 1 => (*pick(rng, READABLE)).to_owned(),
        2 => (*pick(rng, JSON)).to_owned(),
        3 => (0..rng.random_range(1..4)).map(|_| *pick(rng, HOSTILE)).collect(),
        4 => (0..rng.random_range(1..9)).map(|_| rng.random::<char>()).collect(),
        _ => (*pick(rng, HOSTILE)).to_owned(),
    }
}

/// An instant: mostly near to the first append time, in disorder and with ties; some at changes of clocks, some at the ends of the calendar.
pub fn instant(rng: &mut StdRng) -> i64 {
    // The nights in which clocks changed in Berlin, New York, Lord Howe and St John's, and the day that Apia left out.
    const CHANGES: &[i64] =
        &[1_711_846_800, 1_730_016_000, 1_710_054_000, 1_712_415_600, 1_225_593_060, 1_325_239_200, 1_541_300_400, 0];
    match rng.random_range(0..16) {
        0 => {
            *pick(rng, &[FIRST_MICROS, FIRST_MICROS + 1, FIRST_MICROS + 40 * DAY, LAST_MICROS, LAST_MICROS - 40 * DAY])
        }
        1 => rng.random_range(-100 * 365 * DAY..150 * 365 * DAY),
        2 | 3 => pick(rng, CHANGES) * 1_000_000 + rng.random_range(-7_200_000_000..7_200_000_000_i64),
        4 => BEGIN_MICROS - rng.random_range(0..400) * DAY,
        5..8 => BEGIN_MICROS + rng.random_range(-30 * DAY..3_600_000_000),
        _ => BEGIN_MICROS + rng.random_range(-90..30) * 60_000_000,
    }
}

/// `2024-03-09T23:00:00.000000Z`, also in the years 1 and 9999.
pub fn timestamp_text(micros: i64) -> String {
    let at = DateTime::from_timestamp_micros(micros).expect("in range");
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `2024-03-09`.
pub fn date_text(days: i32) -> String {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
    (epoch + TimeDelta::days(i64::from(days))).format("%Y-%m-%d").to_string()
}

/// `-1.50`: all digits of the scale.
pub fn decimal_text(unscaled: i128, scale: u8) -> String {
    let (digits, scale) =
        (format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1), usize::from(scale));
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    format!("{}{whole}{point}{fraction}", if unscaled < 0 { "-" } else { "" })
}

/// A value as the attack compares it: doubles as their bits, decimals unscaled, timestamps in microseconds, dates in days.
pub fn cell(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => value.to_string(),
        Value::Int(value) | Value::Timestamp(value) => value.to_string(),
        Value::Double(value) => format!("{:016x}", canonical(*value).to_bits()),
        Value::Decimal(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Date(value) => value.to_string(),
    })
}

/// One NaN, one zero.
pub fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// A constant in both dialects.
pub fn literal(rng: &mut StdRng, data_type: DataType) -> Expr {
    let value = loop {
        let value = sample(rng, data_type);
        // Text with a NUL cannot be written down.
        if !matches!(&value, Value::Text(text) if text.contains('\0')) {
            break value;
        }
    };
    let (ours, theirs_text) = match &value {
        Value::Boolean(value) => (value.to_string().to_uppercase(), value.to_string()),
        Value::Int(value) if data_type == DataType::Int => (value.to_string(), format!("CAST({value} AS INTEGER)")),
        // A small one would be an INT.
        Value::Int(value) => (format!("CAST({value} AS BIGINT)"), format!("CAST('{value}' AS BIGINT)")),
        Value::Double(value) if value.is_finite() => (format!("{value:e}"), format!("CAST('{value:e}' AS DOUBLE)")),
        Value::Double(value) => {
            let name = if value.is_nan() {
                "NaN"
            } else if *value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            // A quoted constant is read exactly or refused, and infinity is no number: cast a text that is none.
            (format!("CAST(CONCAT('{name}') AS DOUBLE)"), format!("CAST('{name}' AS DOUBLE)"))
        }
        Value::Decimal(value) => {
            let DataType::Decimal { scale, .. } = data_type else { panic!("{data_type}") };
            let digits = decimal_text(*value, scale);
            (format!("CAST('{digits}' AS {data_type})"), format!("CAST('{digits}' AS {data_type})"))
        }
        Value::Text(value) if data_type == DataType::Text => (text(value), text(value)),
        Value::Text(value) => (format!("CAST({} AS JSON)", text(value)), text(value)),
        Value::Timestamp(micros) => {
            (format!("TIMESTAMP '{}'", timestamp_text(*micros)), format!("make_timestamp({micros})"))
        }
        Value::Date(days) => (format!("DATE '{}'", date_text(*days)), format!("DATE '{}'", date_text(*days))),
        Value::Null => unreachable!("samples are never NULL"),
    };
    Expr::new(data_type, "literal", &ours, &theirs_text, Fails::Never, Vec::new())
}

/// NULL of a type.
pub fn null(data_type: DataType) -> Expr {
    let (ours, in_duckdb) = (format!("CAST(NULL AS {data_type})"), format!("CAST(NULL AS {})", theirs(data_type)));
    Expr::new(data_type, "NULL", &ours, &in_duckdb, Fails::Never, Vec::new())
}

/// A name for the `number`th column: mostly plain, sometimes one that needs its quotes.
pub fn column_name(rng: &mut StdRng, number: usize) -> String {
    const ODD: &[&str] = &["select", "Größe", "a b", "a\"b", "x.y", "*", "^c.*$", "_state_c", "window", "'", "c0 "];
    if chance(rng, 12) { format!("{}{number}", pick(rng, ODD)) } else { format!("c{number}") }
}
