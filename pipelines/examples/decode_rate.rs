//! Prints how fast flat JSON records are decoded on one core: `cargo build --workspace --examples`, then `target/debug/examples/decode_rate [records]`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use watershed_pipelines::{
    decode::{ColumnSet, Decoder, RawRecord},
    source::Source,
    types::{DataType, Field, Schema},
};

fn main() {
    let records: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(400_000);
    let columns = [
        ("event_id", DataType::Text, false),
        ("ts", DataType::Timestamp, false),
        ("card", DataType::Text, false),
        ("merchant", DataType::Text, true),
        ("country", DataType::Text, true),
        ("amount", DataType::Decimal { precision: 12, scale: 2 }, true),
        ("score", DataType::Double, true),
        ("status", DataType::Text, true),
    ];
    let source = Source {
        name: "payments".to_owned(),
        schema: Schema {
            fields: columns
                .iter()
                .map(|(name, data_type, nullable)| Field {
                    name: (*name).to_owned(),
                    data_type: *data_type,
                    nullable: *nullable,
                })
                .collect(),
        },
        event_time: Some(1),
        partitions: 1,
        partition_by: Some(2),
        lateness_micros: 10_000_000,
        max_ahead_micros: i64::MAX,
    };
    let payloads: Vec<Vec<u8>> = (0..records)
        .map(|i| {
            format!(
                "{{\"event_id\":\"evt-{i:012}\",\"ts\":\"2026-11-23T{:02}:{:02}:{:02}.{:03}Z\",\"card\":\"card-{:06}\",\"merchant\":\"m-{}\",\"country\":\"DE\",\"amount\":{}.{:02},\"score\":0.{},\"status\":\"approved\"}}",
                i / 3600 % 24, i / 60 % 60, i % 60, i % 1000, i * 7919 % 100_000, i % 997, i % 5000, i % 100, i % 9973
            )
            .into_bytes()
        })
        .collect();
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    let decoder = Decoder::new(&source);
    let all = ColumnSet::all(&source);
    let some: ColumnSet = [1, 2, 5, 7].into_iter().collect();
    for (what, needed) in [("all columns", &all), ("4 of 8 columns", &some), ("no columns", &ColumnSet::none())] {
        // The best chunk: what else runs on the machine disturbs that one least.
        let mut best = 0.0f64;
        for chunk in payloads.chunks(4_000) {
            for _ in 0..5 {
                let start = Instant::now();
                let batch = chunk.iter().enumerate().map(|(i, payload)| RawRecord {
                    offset: i as u64,
                    append_time_micros: 1_795_000_000_000_000,
                    payload,
                });
                assert_eq!(decoder.decode(0, batch, needed).counts.dead, 0);
                best = best.max(chunk.len() as f64 / start.elapsed().as_secs_f64());
            }
        }
        let size = bytes as f64 / records as f64;
        println!("{what}: {:.0} MB/s, {:.2} M records/s ({size:.0} bytes each)", best * size / 1e6, best / 1e6);
    }
    let start = Instant::now();
    let sum: u64 = payloads.iter().map(|p| u64::from(decoder.partition_of(p).0)).sum();
    assert_eq!(sum, 0);
    println!("partition_of: {:.0} MB/s", bytes as f64 / start.elapsed().as_secs_f64() / 1e6);
}
