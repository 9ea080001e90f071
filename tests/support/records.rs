//! Random records: disordered, tied, NULL, extreme, hostile; and definitions that put every aggregate and window to them.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

/// The source and views of the property tests.
pub const DEFINITIONS: &str = include_str!("samples.sql");

/// The append time of the first record: 2024-03-09T23:00:00Z, the night in which New York's clocks went forward.
pub const BEGIN_MICROS: i64 = 1_710_025_200_000_000;

const HOSTILE: &[&str] = &[
    "",
    "a",
    "b",
    "A",
    "a ",
    "../../etc/passwd",
    "%2F..%2F",
    "a/b=c",
    "'; DROP TABLE samples; --",
    "\"quoted\"",
    "line\nbreak\r\ttab",
    "\u{0}",
    "\u{0}\u{0}",
    "a\u{0}b",
    "\u{ff}",
    "\u{10ffff}",
    "é",
    "e\u{301}",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "مرحبا",
    "NULL",
    "null",
    "NaN",
    "__HIVE_DEFAULT_PARTITION__",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(HOSTILE).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => (1..300_usize).prop_map(|n| "long ".repeat(n)),
    ]
}

fn double() -> impl Strategy<Value = f64> {
    let extremes = vec![
        0.0,
        -0.0,
        0.1,
        0.2,
        0.3,
        1e16,
        -1e16,
        1.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        1e300,
        -1e300,
        1e-300,
    ];
    prop_oneof![3 => select(extremes), 2 => -1e6..1e6, 1 => any::<f64>().prop_filter("JSON has no others", |d| d.is_finite())]
}

/// What `CAST(number AS DOUBLE)` is given: numbers, what JSON cannot say, and what is no number.
fn number_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => double().prop_map(|d| d.to_string()),
        2 => select(vec!["NaN", "Infinity", "-Infinity", "inf", "-0", "1e999"]).prop_map(str::to_owned),
        1 => select(vec!["", "one", "1,5", "0x10", "--1"]).prop_map(str::to_owned),
    ]
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![2 => select(vec![0, 1, -1, i64::MAX, i64::MIN, i64::MAX - 1]), 3 => -1000..1000_i64]
}

/// Minutes between the first append time and the event: tied, disordered, across the change of clocks, far in the past.
fn minutes() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -30..30_i64, 3 => -3000..10_i64, 1 => select(vec![-525_600, -1_000_000, -60, 0])]
}

/// One record that the schema accepts.
fn accepted() -> impl Strategy<Value = Vec<u8>> {
    let many = (
        minutes(),
        prop_oneof![Just(0_i64), 0..60_000_000_i64],
        option::weighted(0.8, text()),
        option::weighted(0.8, select(vec![0, 1, -1, 7, i64::from(i32::MAX), i64::from(i32::MIN)])),
        option::weighted(0.8, integer()),
        option::weighted(0.8, double()),
        option::weighted(0.8, (-9_999_999_999_i64..=9_999_999_999, any::<bool>())),
        option::weighted(0.8, any::<bool>()),
        option::weighted(0.8, -20_000..20_000_i64),
        option::weighted(0.7, number_text()),
        any::<bool>(),
    );
    many.prop_map(|(minutes, micros, key, small, big, real, money, flag, day, number, explicit_nulls)| {
        let at = BEGIN_MICROS + minutes * 60_000_000 + micros;
        let mut record = Map::new();
        record.insert("at".to_owned(), json!(timestamp(at)));
        let mut put = |name: &str, value: Option<Value>| {
            match value {
                Some(value) => drop(record.insert(name.to_owned(), value)),
                // NULL may be written or left out.
                None if explicit_nulls => drop(record.insert(name.to_owned(), Value::Null)),
                None => {}
            };
        };
        put("key", key.map(Value::from));
        put("small", small.map(Value::from));
        put("big", big.map(Value::from));
        put("real", real.map(Value::from));
        put(
            "money",
            money.map(|(cents, text)| {
                let digits =
                    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
                if text { json!(digits) } else { serde_json::from_str(&digits).expect("a number") }
            }),
        );
        put("flag", flag.map(Value::from));
        put("day", day.map(|days| json!(date(days))));
        put("number", number.map(Value::from));
        put("unknown", explicit_nulls.then(|| json!({"nested": [1, 2, {"deep": null}]})));
        Value::Object(record).to_string().into_bytes()
    })
}

/// One record that the schema refuses.
fn refused() -> impl Strategy<Value = Vec<u8>> {
    let refused: Vec<&[u8]> = vec![
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}",
        b"not JSON",
        b"{\"at\":null}",
        b"{\"at\":\"yesterday\"}",
        b"{\"at\":\"2024-02-30T00:00:00Z\"}",
        b"{\"at\":\"2024-03-09T23:00:00Z\",\"small\":2147483648}",
        b"{\"at\":\"2024-03-09T23:00:00Z\",\"small\":1.5}",
        b"{\"at\":\"2024-03-09T23:00:00Z\",\"big\":9223372036854775808}",
        b"{\"at\":\"2024-03-09T23:00:00Z\",\"money\":123456789012.00}",
        b"{\"at\":\"2024-03-09T23:00:00Z\",\"flag\":\"maybe\"}",
        b"{\"at\":\"2024-03-09T23:00:00Z\",\"key\":{\"not\":\"text\"}}",
        b"{\"at\":\"2024-03-09T23:00:00Z\"",
        b"{\"at\":\"2024-03-09T23:00:00Z\",\"key\":\"\xff\xfe\"}",
        b"{\"at\":\"2999-01-01T00:00:00Z\"}",
        b"\xff\xfe\x00",
        b"{\"at\":\"2024-03-09T23:00:00Z\"} {}",
    ];
    select(refused).prop_map(<[u8]>::to_vec)
}

/// One payload: mostly one that the schema accepts.
pub fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![12 => accepted(), 1 => refused(), 1 => vec(any::<u8>(), 0..40)]
}

fn timestamp(micros: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros(micros).expect("in range");
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn date(days: i64) -> String {
    let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
    (epoch + chrono::TimeDelta::days(days)).to_string()
}
