//! Payloads: decoded or refused, and the same by the short way and by the long way.

use std::sync::LazyLock;

use crate::{
    decode::{ColumnSet, Decoder, RawRecord},
    source::Source,
    types::{DataType, Field, Schema},
};

static SOURCE: LazyLock<Source> = LazyLock::new(|| {
    let types = [
        ("b", DataType::Boolean),
        ("i", DataType::Int),
        ("l", DataType::BigInt),
        ("d", DataType::Double),
        ("m", DataType::Decimal { precision: 6, scale: 2 }),
        ("t", DataType::Text),
        ("ts", DataType::Timestamp),
        ("dt", DataType::Date),
        ("j", DataType::Json),
        ("odd \"name\\", DataType::Text),
    ];
    let field = |(name, data_type): (&str, DataType)| Field { name: name.to_owned(), data_type, nullable: name != "t" };
    Source {
        name: "s".to_owned(),
        schema: Schema { fields: types.into_iter().map(field).collect() },
        event_time: None,
        partitions: 7,
        partition_by: Some(4),
        lateness_micros: 0,
        max_ahead_micros: 0,
    }
});
static DECODER: LazyLock<Decoder> = LazyLock::new(|| Decoder::new(&SOURCE));

/// Takes any payload.
pub fn json(payload: &[u8]) {
    let record = RawRecord { offset: 7, append_time_micros: 0, payload };
    let decoded = DECODER.decode(0, [record].into_iter(), &ColumnSet::all(&SOURCE));
    assert_eq!(decoded.counts.accepted + decoded.counts.dead, 1);
    assert_eq!(decoded.batch.frame.height() as u64, decoded.counts.accepted);
    if decoded.counts.accepted == 1 {
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok(), "accepted, but no JSON");
    }
    let (partition, _) = DECODER.partition_of(payload);
    assert!(partition < SOURCE.partitions);
    DECODER.check_both_ways(payload);
}

pub(super) fn corpus() -> Vec<Vec<u8>> {
    [
        r#"{"t":"a","b":true,"i":-1,"l":9223372036854775807,"d":1e-3,"m":12.50,"ts":"2026-01-01T00:00:00.5Z","dt":"2024-02-29","j":[1]}"#,
        r#"{"t":"\u00e9\n","m":"-0.05","d":"NaN","ts":1700000000000,"j":{"a":{"b":"\ud83d\ude00"}},"other":[{}]}"#,
        r#" { "t" : "x" , "d" : -Infinity } "#,
        r#"{"t":"x","t":"y"}"#,
        r#"{"t":null}"#,
        r#"{"t":"x","i":2147483648,"m":1234567.891}"#,
        r#"{"t":"\ud800","odd \"name\\":"x"}"#,
        r#"{"t":"x","d":1e999,"l":-9223372036854775808}"#,
        r#"{"t":"x","ts":"0000-01-01","dt":"9999-12-31","j":"\u0000"}"#,
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "\u{feff}{}",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
