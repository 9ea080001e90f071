//! Prints how many records a core reduces per second on one thread:
//! `cargo build --workspace --examples`, then `target/debug/examples/reduce_rate`.

use std::{error::Error, io::Write, sync::Arc, time::Instant};

use polars::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use watershed_pipelines::{
    aggregate::{AggregateCall, AggregateFunction as F},
    core::{Core, Key, Partitioning, TimeBucket, Window, WindowUnit},
    decode::Batch,
    expr::Expr,
    partial::CoreKernel,
    registry::Registry,
    source::Source,
    types::{DataType as Type, Field, Schema},
};

const RECORDS: usize = 4_000_000;
const BATCH: usize = 65_536;
const CENTS: Type = Type::Decimal { precision: 12, scale: 2 };

fn source() -> Arc<Source> {
    let field = |name: &str, data_type| Field { name: name.to_owned(), data_type, nullable: true };
    let fields =
        vec![field("ts", Type::Timestamp), field("card", Type::Text), field("amount", CENTS), field("x", Type::Double)];
    Arc::new(Source {
        name: "payments".to_owned(),
        schema: Schema { fields },
        event_time: Some(0),
        partitions: 1,
        partition_by: None,
        lateness_micros: 0,
        max_ahead_micros: 0,
    })
}

/// Payments of 10,000 cards, a thousand per second of event time.
fn batches() -> Result<Vec<Batch>, PolarsError> {
    let mut random = StdRng::seed_from_u64(7);
    let cards: Vec<String> = (0..10_000).map(|n| format!("card-{n:06}")).collect();
    (0..RECORDS)
        .step_by(BATCH)
        .map(|start| {
            let rows = start..(start + BATCH).min(RECORDS);
            let ts: Vec<i64> = rows.clone().map(|n| n as i64 * 1000).collect();
            let card: Vec<&str> = rows.clone().map(|_| cards[random.random_range(0..cards.len())].as_str()).collect();
            let amount: Vec<i128> = rows.clone().map(|_| random.random_range(1..1_000_000)).collect();
            let x: Vec<f64> = amount.iter().map(|a| *a as f64 / 100.0).collect();
            let offset: Vec<i64> = rows.clone().map(|n| n as i64).collect();
            let columns = vec![
                Int64Chunked::from_vec("ts".into(), ts).into_datetime(TimeUnit::Microseconds, None).into_column(),
                Column::new("card".into(), card),
                Int128Chunked::from_vec("amount".into(), amount).into_decimal(38, 2)?.into_column(),
                Column::new("x".into(), x),
                Column::new("_partition".into(), vec![0i32; rows.len()]),
                Column::new("_offset".into(), offset),
            ];
            Ok(Batch { frame: DataFrame::new(rows.len(), columns)? })
        })
        .collect()
}

fn core(aggregates: &[(&str, F, Option<usize>, Type)], window: Window) -> Core {
    let source = source();
    let schema = source.row_schema();
    let call = |(name, function, argument, data_type): &(&str, F, Option<usize>, Type)| AggregateCall {
        name: (*name).to_owned(),
        function: function.clone(),
        argument: argument.map(|index| Expr::column(&schema, index)),
        filter: None,
        data_type: *data_type,
    };
    Core {
        filter: None,
        window: Some(window),
        keys: vec![Key::Expr { name: "card".to_owned(), expr: Expr::column(&schema, 1) }, Key::WindowStart],
        aggregates: aggregates.iter().map(call).collect(),
        partitioning: Partitioning::Time(TimeBucket::Day),
        source,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let batches = batches()?;
    let minute = 60_000_000;
    let window =
        |size, slide| Window { time: 0, unit: WindowUnit::Micros, size, slide, offset_micros: 0, time_zone: None };
    let sum_of_decimals = Type::Decimal { precision: 38, scale: 2 };
    let money = [
        ("n", F::CountStar, None, Type::BigInt),
        ("total", F::Sum, Some(2), sum_of_decimals),
        ("largest", F::Max, Some(2), CENTS),
    ];
    let doubles = [
        ("sum", F::Sum, Some(3), Type::Double),
        ("avg", F::Avg, Some(3), Type::Double),
        ("stddev", F::StddevSamp, Some(3), Type::Double),
    ];
    let sketches = [
        ("distinct", F::CountDistinct, Some(2), Type::BigInt),
        ("approx", F::ApproxCountDistinct, Some(2), Type::BigInt),
        ("p99", F::ApproxPercentile { fraction: 0.99 }, Some(3), Type::Double),
    ];
    for (name, aggregates, window) in [
        ("count, sum and max of decimals, 1 hour", &money, window(60 * minute, 60 * minute)),
        ("count, sum and max of decimals, 1 minute", &money, window(minute, minute)),
        ("count, sum and max of decimals, 60 minutes every minute", &money, window(60 * minute, minute)),
        ("sum, average and deviation of doubles, 1 hour", &doubles, window(60 * minute, 60 * minute)),
        ("distinct, approximate distinct and percentile, 1 hour", &sketches, window(60 * minute, 60 * minute)),
    ] {
        let kernel = CoreKernel::compile(&core(aggregates, window), &Registry::new())?;
        let begin = Instant::now();
        let mut builder = kernel.builder();
        batches.iter().try_for_each(|batch| builder.push(batch))?;
        let pushed = begin.elapsed();
        let partials = builder.finish();
        let built = begin.elapsed();
        let merged = kernel.merge(&[&partials, &partials])?;
        let merging = begin.elapsed() - built;
        let begin = Instant::now();
        let rows = kernel.finish(&merged)?;
        writeln!(
            out,
            "{name}: {:.1} M records/s ({:.1} with sorting {} groups); merging two such {:.2} s; finishing {} rows {:.2} s",
            RECORDS as f64 / pushed.as_secs_f64() / 1e6,
            RECORDS as f64 / built.as_secs_f64() / 1e6,
            partials.len(),
            merging.as_secs_f64(),
            rows.height(),
            begin.elapsed().as_secs_f64(),
        )?;
    }
    Ok(())
}
