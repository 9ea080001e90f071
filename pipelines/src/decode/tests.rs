//! Tests of decoding.

use polars::prelude as pl;
use proptest::prelude::*;

use super::*;
use crate::{
    expr::kernels::user::reader,
    source::{APPEND_TIME_COLUMN, OFFSET_COLUMN, PARTITION_COLUMN},
    time::{MAX_TIMESTAMP, MIN_TIMESTAMP},
    types::{Field, Schema, Value},
};

fn source(columns: &[(&str, DataType, bool)]) -> Source {
    let fields = columns
        .iter()
        .map(|(name, data_type, nullable)| Field {
            name: (*name).to_owned(),
            data_type: *data_type,
            nullable: *nullable,
        })
        .collect();
    Source {
        name: "s".to_owned(),
        schema: Schema { fields },
        event_time: None,
        partitions: 4,
        partition_by: None,
        lateness_micros: 10_000_000,
        max_ahead_micros: 60_000_000,
    }
}

fn record(payload: &str) -> RawRecord<'_> {
    RawRecord { offset: 7, append_time_micros: 1_000, payload: payload.as_bytes() }
}

/// Decodes one record with the one nullable column "x".
fn one(data_type: DataType, json: &str) -> Result<Value, String> {
    let source = source(&[("x", data_type, true)]);
    let payload = format!("{{\"x\":{json}}}");
    let decoded = Decoder::new(&source).decode(0, [record(&payload)].into_iter(), &ColumnSet::all(&source));
    match decoded.dead.first() {
        Some(dead) => Err(dead.reason.clone()),
        None => Ok(reader(decoded.batch.frame.column("x").unwrap(), data_type).unwrap()(0)),
    }
}

const MONEY: DataType = DataType::Decimal { precision: 5, scale: 2 };

#[test]
fn values_that_are_accepted() {
    use DataType as D;
    let text = |s: &str| Value::Text(s.to_owned());
    let instant = Value::Timestamp(1_709_210_096_789_012);
    for (data_type, json, expected) in [
        (D::Boolean, "true", Value::Boolean(true)),
        (D::Boolean, "false", Value::Boolean(false)),
        (D::Boolean, "null", Value::Null),
        (D::Int, "-2147483648", Value::Int(-2_147_483_648)),
        (D::Int, "-0", Value::Int(0)),
        (D::BigInt, "9223372036854775807", Value::Int(i64::MAX)),
        (D::BigInt, "-9223372036854775808", Value::Int(i64::MIN)),
        (D::Double, "1", Value::Double(1.0)),
        (D::Double, "-0.0", Value::Double(0.0)),
        (D::Double, "1e-400", Value::Double(0.0)),
        // Hard to round: half-way cases of the binary format.
        (D::Double, "9007199254740993", Value::Double(9_007_199_254_740_992.0)),
        (D::Double, "2.2250738585072012e-308", Value::Double(f64::MIN_POSITIVE)),
        (D::Double, "0.3e0", Value::Double(0.3)),
        (D::Double, "\"Infinity\"", Value::Double(f64::INFINITY)),
        (D::Double, "\"-Infinity\"", Value::Double(f64::NEG_INFINITY)),
        (MONEY, "1.5", Value::Decimal(150)),
        (MONEY, "-999.99", Value::Decimal(-99_999)),
        (MONEY, "\"12.30\"", Value::Decimal(1_230)),
        (MONEY, "1.2300", Value::Decimal(123)),
        (MONEY, "1.5e2", Value::Decimal(15_000)),
        (MONEY, "15000e-2", Value::Decimal(15_000)),
        (MONEY, "0e99999999999", Value::Decimal(0)),
        (D::Text, "\"\"", text("")),
        (D::Text, r#""a\"\u00e9\ud83d\udc4d\n""#, text("a\"é👍\n")),
        (D::Text, r#""\u0000""#, text("\0")),
        (D::Timestamp, "\"2024-02-29T12:34:56.789012Z\"", instant.clone()),
        (D::Timestamp, "\"2024-02-29 12:34:56.7890129\"", instant.clone()),
        (D::Timestamp, "\"2024-02-29t14:34:56.789012+02:00\"", instant.clone()),
        (D::Timestamp, "\"2024-02-29T12:34\"", Value::Timestamp(1_709_210_040_000_000)),
        (D::Timestamp, "\"2024-02-29\"", Value::Timestamp(1_709_164_800_000_000)),
        (D::Timestamp, "1709210096789", Value::Timestamp(1_709_210_096_789_000)),
        (D::Timestamp, "-1", Value::Timestamp(-1_000)),
        (D::Timestamp, "\"0001-01-01T00:00:00Z\"", Value::Timestamp(MIN_TIMESTAMP)),
        (D::Timestamp, "\"9999-12-31T23:59:59.999999Z\"", Value::Timestamp(MAX_TIMESTAMP)),
        (D::Date, "\"2024-02-29\"", Value::Date(19_782)),
        (D::Json, "{\"a\" : [1.50, null]}", text("{\"a\" : [1.50, null]}")),
        (D::Json, "  \"s\"  ", text("\"s\"")),
        (D::Json, "null", Value::Null),
    ] {
        assert_eq!(one(data_type, json), Ok(expected), "{data_type} from {json}");
    }
    let nan = one(DataType::Double, "\"NaN\"").unwrap();
    assert!(matches!(nan, Value::Double(v) if v.to_bits() == f64::NAN.to_bits()));
}

#[test]
fn values_that_are_refused() {
    use DataType as D;
    for (data_type, json, reason) in [
        (D::Boolean, "1", "expected true or false (BOOLEAN), got the number 1"),
        (D::Boolean, "\"true\"", "expected true or false (BOOLEAN), got the string \"true\""),
        (D::Int, "2147483648", "2147483648 is out of the range of INT"),
        (D::Int, "1.0", "expected an integer without point or exponent, got 1.0"),
        (D::Int, "\"1\"", "expected an integer (INT), got the string \"1\""),
        (D::BigInt, "9223372036854775808", "9223372036854775808 is out of the range of BIGINT"),
        (D::BigInt, "1e3", "expected an integer without point or exponent, got 1e3"),
        (
            D::BigInt,
            "99999999999999999999.5",
            "expected an integer without point or exponent, got 99999999999999999999.5",
        ),
        (D::Double, "1e400", "1e400 is out of the range of DOUBLE"),
        (D::Double, "\"1\"", "expected a number, \"NaN\", \"Infinity\" or \"-Infinity\" (DOUBLE), got \"1\""),
        (MONEY, "1.234", "1.234 has more digits after the point than DECIMAL(5,2)"),
        (MONEY, "1000", "1000 is out of the range of DECIMAL(5,2)"),
        (MONEY, "1e99999999999", "1e99999999999 is out of the range of DECIMAL(5,2)"),
        (MONEY, "1e-99999999999", "1e-99999999999 has more digits after the point than DECIMAL(5,2)"),
        (MONEY, "\" 1\"", "expected a number, or a string with one (DECIMAL(5,2)), got \" 1\""),
        (MONEY, "true", "expected a number, or a string with one (DECIMAL(5,2)), got the boolean true"),
        (D::Text, "1", "expected a string (TEXT), got the number 1"),
        (D::Text, "{}", "expected a string (TEXT), got the object {}"),
        (D::Text, r#""\ud800""#, r#"the text has an escape that is not a Unicode character: "\ud800""#),
        (
            D::Timestamp,
            "\"2023-02-29\"",
            "expected an RFC 3339 string or epoch milliseconds (TIMESTAMP), got \"2023-02-29\"",
        ),
        (D::Timestamp, "1.5", "expected an integer without point or exponent, got 1.5"),
        (D::Timestamp, "253402300800000", "253402300800000 is out of the range of TIMESTAMP"),
        (
            D::Timestamp,
            "\"0001-01-01T00:00:00+00:01\"",
            "expected an RFC 3339 string or epoch milliseconds (TIMESTAMP), got \"0001-01-01T00:00:00+00:01\"",
        ),
        (
            D::Timestamp,
            "\"2024-02-29T24:00:00Z\"",
            "expected an RFC 3339 string or epoch milliseconds (TIMESTAMP), got \"2024-02-29T24:00:00Z\"",
        ),
        (
            D::Timestamp,
            "\"2024-02-28T23:59:60Z\"",
            "expected an RFC 3339 string or epoch milliseconds (TIMESTAMP), got \"2024-02-28T23:59:60Z\"",
        ),
        (D::Date, "19782", "expected a string 'YYYY-MM-DD' (DATE), got the number 19782"),
        (D::Date, "\"2024-2-29\"", "expected a string 'YYYY-MM-DD' (DATE), got \"2024-2-29\""),
        (D::Date, "\"0000-01-01\"", "expected a string 'YYYY-MM-DD' (DATE), got \"0000-01-01\""),
    ] {
        assert_eq!(one(data_type, json), Err(format!("column \"x\": {reason}")), "{data_type} from {json}");
    }
    let long = format!("\"{}\"", "é".repeat(100));
    let reason = one(DataType::Int, &long).unwrap_err();
    assert!(reason.ends_with(&format!("{}…", "é".repeat(59))), "{reason}");
}

#[test]
fn payloads_that_are_refused() {
    let source = source(&[("a", DataType::Int, false), ("b", DataType::Text, true)]);
    let decoder = Decoder::new(&source);
    let reason = |payload: &[u8]| {
        let record = RawRecord { offset: 1, append_time_micros: 0, payload };
        let decoded = decoder.decode(3, [record].into_iter(), &ColumnSet::all(&source));
        assert_eq!((decoded.counts.records, decoded.counts.accepted + decoded.counts.dead), (1, 1));
        decoded.dead.first().map(|d| d.reason.clone())
    };
    let deep = format!("{{\"a\":1,\"z\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for accepted in
        ["{\"a\":1}", " {\"b\":null,\"a\":1, \"z\":{\"a\":[{}]}} ", "{\"z\":1,\"z\":2,\"a\":1}", deep.as_str()]
    {
        assert_eq!(reason(accepted.as_bytes()), None, "{:.60}", accepted);
    }
    for (payload, expected) in [
        (&b""[..], "the payload is empty"),
        (b"  ", "the payload is empty"),
        (b"[1]", "the payload is not a JSON object"),
        (b"{\"a\":1,\"b\":\"\xff\"}", "the payload is not UTF-8 (at byte 12)"),
        (b"{\"a\":1", "the payload is not valid JSON: EOF while parsing an object at line 1 column 6"),
        (b"{\"a\":1}x", "the payload is not valid JSON: trailing characters at line 1 column 8"),
        (b"{\"a\":1} {\"a\":2}", "the payload is not valid JSON: trailing characters at line 1 column 9"),
        (b"{\"a\":01}", "the payload is not valid JSON: invalid number at line 1 column 7"),
        (b"{\"a\":1,}", "the payload is not valid JSON: trailing comma at line 1 column 8"),
        (b"{\"a\":1,\"b\":NaN}", "the payload is not valid JSON: expected value at line 1 column 12"),
        (b"{\"a\":\"x\",\"b\":", "the payload is not valid JSON: EOF while parsing a value at line 1 column 13"),
        (b"{}", "column \"a\" is missing, but it is NOT NULL"),
        (b"{\"a\":null}", "column \"a\" is null, but it is NOT NULL"),
        (b"{\"a\":1,\"a\":1}", "column \"a\" occurs twice"),
        (b"{\"a\":1,\"b\":null,\"\\u0062\":\"x\"}", "column \"b\" occurs twice"),
    ] {
        assert_eq!(reason(payload).as_deref(), Some(expected), "{}", String::from_utf8_lossy(payload));
    }
}

#[test]
fn event_time_and_lateness() {
    let mut source = source(&[("ts", DataType::Timestamp, true)]);
    source.event_time = Some(0);
    let decoder = Decoder::new(&source);
    let payloads = ["{\"ts\":1000}", "{\"ts\":-8999}", "{\"ts\":-9001}", "{\"ts\":61000}", "{\"ts\":61001}", "{}"];
    let records = payloads.iter().enumerate().map(|(offset, payload)| RawRecord {
        offset: offset as u64,
        append_time_micros: 1_000_000,
        payload: payload.as_bytes(),
    });
    let decoded = decoder.decode(2, records, &ColumnSet::none());
    let counts = SourceCounts {
        records: 6,
        accepted: 4,
        dead: 2,
        late: 1,
        event_time_min: Some(-9_001_000),
        event_time_max: Some(61_000_000),
    };
    assert_eq!(decoded.counts, counts);
    let reasons: Vec<(u64, &str)> = decoded.dead.iter().map(|d| (d.offset, d.reason.as_str())).collect();
    let ahead = "the event time (column \"ts\") is 60.001 s ahead of the append time; at most 60 s is accepted";
    assert_eq!(reasons, [(4, ahead), (5, "the event time (column \"ts\") is missing")]);
    let frame = &decoded.batch.frame;
    assert_eq!(frame.get_column_names(), [PARTITION_COLUMN, OFFSET_COLUMN, APPEND_TIME_COLUMN]);
    assert_eq!(frame.column(OFFSET_COLUMN).unwrap().i64().unwrap().to_vec(), [0, 1, 2, 3].map(Some));
    assert_eq!(frame.column(PARTITION_COLUMN).unwrap().i32().unwrap().to_vec(), [Some(2); 4]);
    assert_eq!(frame.schema().as_ref(), &Schema { fields: source.row_schema().fields[1..].to_vec() }.to_polars());
}

#[test]
fn partitions_never_change() {
    let mut source = source(&[("k", DataType::Text, true), ("n", MONEY, true)]);
    let whole = Decoder::new(&source);
    assert_eq!(whole.partition_of(b"{\"k\":\"a\"}").1, None);
    source.partition_by = Some(0);
    source.partitions = u32::MAX;
    let by_text = Decoder::new(&source);
    // FNV-1a of "a" is 0xaf63dc4c8601ec8c.
    let a = (0xaf63_dc4c_8601_ec8c_u64 % u64::from(u32::MAX)) as u32;
    assert_eq!(by_text.partition_of(b"{\"k\":\"a\"}"), (a, Some("a".to_owned())));
    assert_eq!(by_text.partition_of(b"{ \"n\":\"not read\", \"k\":\"\\u0061\"}"), (a, Some("a".to_owned())));
    for unreadable in
        [&b"{}"[..], b"{\"k\":null}", b"{\"k\":1}", b"{\"k\":\"a\"", b"{\"k\":\"a\",\"k\":\"a\"}", b"\xff", b""]
    {
        let (partition, key) = by_text.partition_of(unreadable);
        assert_eq!(key, None);
        assert_eq!(partition, (partition::fnv1a(unreadable) % u64::from(u32::MAX)) as u32);
    }
    source.partition_by = Some(1);
    let by_number = Decoder::new(&source);
    let key = Some("1.50".to_owned());
    assert_eq!(by_number.partition_of(b"{\"n\":1.5}").1, key);
    assert_eq!(by_number.partition_of(b"{\"n\":\"15e-1\"}").1, key);
}

const ALL: [(&str, DataType, bool); 9] = [
    ("b", DataType::Boolean, true),
    ("i", DataType::Int, true),
    ("l", DataType::BigInt, true),
    ("d", DataType::Double, true),
    ("m", MONEY, true),
    ("t", DataType::Text, false),
    ("ts", DataType::Timestamp, true),
    ("dt", DataType::Date, true),
    ("j", DataType::Json, true),
];

/// Payloads that are nearly right: members of the schema and others, with values of all kinds.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|v| v.to_string()),
        (-99_999i64..99_999).prop_map(|v| v.to_string()),
        any::<f64>().prop_map(|v| format!("{v:?}")),
        "[ -~é👍\\\\\"]{0,20}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        Just("\"2024-02-29T12:00:00Z\"".to_owned()),
        Just("\"2024-02-29\"".to_owned()),
        Just("\"12.50\"".to_owned()),
        Just("[1,{\"a\":\"\\u00e9\"}]".to_owned()),
        Just("\"\\ud800\"".to_owned()),
    ];
    let name = prop_oneof![
        6 => prop::sample::select(ALL.map(|(name, _, _)| name).to_vec()).prop_map(str::to_owned),
        1 => "[a-z]{0,3}",
    ];
    let object = prop::collection::vec((name, value), 0..8).prop_map(|members| {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{\"t\":\"x\", {}}}", members.join(",")).replace(", }", "}")
    });
    prop_oneof![
        8 => object.prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

/// The values of all rows, as text that tells NULL and NaN apart from everything else.
fn rows(frame: &pl::DataFrame, schema: &Schema) -> Vec<String> {
    let readers: Vec<_> = schema
        .fields
        .iter()
        .filter_map(|f| frame.column(&f.name).ok().map(|c| reader(c, f.data_type).unwrap()))
        .collect();
    (0..frame.height()).map(|row| format!("{:?}", readers.iter().map(|read| read(row)).collect::<Vec<_>>())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_is_decoded_alone_as_in_a_batch(payloads in prop::collection::vec((payload(), any::<i64>()), 0..12), needed in any::<u16>()) {
        let mut source = source(&ALL);
        source.event_time = Some(6);
        source.max_ahead_micros = i64::MAX;
        let decoder = Decoder::new(&source);
        let records: Vec<RawRecord<'_>> = payloads
            .iter()
            .enumerate()
            .map(|(offset, (payload, append))| RawRecord { offset: offset as u64, append_time_micros: *append, payload })
            .collect();
        let needed: ColumnSet = (0..ALL.len()).filter(|i| needed & (1 << i) != 0).collect();
        let schema = source.row_schema();
        let all = decoder.decode(1, records.iter().copied(), &needed);
        prop_assert_eq!(all.counts.records, all.counts.accepted + all.counts.dead);
        prop_assert_eq!(all.counts.accepted, all.batch.frame.height() as u64);
        let (mut alone, mut dead, mut counts) = (Vec::new(), Vec::new(), SourceCounts::default());
        for record in &records {
            let one = decoder.decode(1, [*record].into_iter(), &needed);
            // What is asked for does not decide what is accepted.
            let whole = decoder.decode(1, [*record].into_iter(), &ColumnSet::all(&source));
            prop_assert_eq!(&whole.dead, &one.dead);
            alone.extend(rows(&one.batch.frame, &schema));
            dead.extend(one.dead);
            counts.merge(&one.counts);
            // An accepted payload is JSON, says serde_json by itself.
            if whole.dead.is_empty() {
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(record.payload).is_ok());
            }
        }
        prop_assert_eq!(rows(&all.batch.frame, &schema), alone);
        prop_assert_eq!(all.dead, dead);
        prop_assert_eq!(all.counts, counts);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..80) {
        let mut source = source(&ALL);
        source.partition_by = Some(3);
        let decoder = Decoder::new(&source);
        let good = "{\"t\":\"a\\n\",\"d\":1.5e3,\"ts\":\"2024-02-29T12:00:00Z\",\"j\":[{}],\"m\":\"1.5\",\"b\":true}";
        let mut damaged = good.as_bytes().to_vec();
        damaged.truncate(cut);
        damaged.extend(&bytes);
        for payload in [&bytes, &damaged] {
            let record = RawRecord { offset: u64::MAX, append_time_micros: i64::MIN, payload };
            let decoded = decoder.decode(0, [record].into_iter(), &ColumnSet::all(&source));
            prop_assert_eq!(decoded.counts.accepted + decoded.counts.dead, 1);
            decoder.partition_of(payload);
        }
    }
}
