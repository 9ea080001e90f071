//! Point lookups: hot (in the speed layer), cold (in Parquet files), and a plain concurrent map with the same rows.

use std::{path::PathBuf, sync::Arc, time::Instant};

use dashmap::DashMap;
use hdrhistogram::Histogram;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value as Json, json};
use watershed::{
    KeyFilter, Value,
    parts::serving::{FixedSpeed, ReadOptions, Serving},
};

use crate::{Outcome, live};

#[derive(clap::Args)]
pub struct Args {
    project: PathBuf,
    /// A view.
    view: String,
    /// How many of its columns are its key.
    #[arg(long, default_value_t = 2)]
    key_columns: usize,
    #[arg(long, default_value_t = 20_000)]
    lookups: usize,
    /// Also look the keys up in a `DashMap` of the same rows.
    #[arg(long)]
    map: bool,
    /// Prints this many of the keys that were looked up, for other systems.
    #[arg(long, default_value_t = 0)]
    print_keys: usize,
}

pub fn run(args: &Args) -> Outcome {
    let project = live::open(&args.project)?;
    let snapshot = live::replayed(&project)?;
    let runs = snapshot.view(&args.view, Some(snapshot.cut()), None)?.len();
    let serving = live::serving(&project, Arc::new(FixedSpeed(snapshot)))?;
    let rows = serving.scan(&args.view, &KeyFilter::all(), &ReadOptions::default())?;
    let mut rng = StdRng::seed_from_u64(7);
    let wanted: Vec<usize> = (0..args.lookups).map(|_| rng.random_range(0..rows.len())).collect();
    let all: Vec<Vec<Value>> = rows.rows().collect();
    let keys: Vec<&[Value]> = wanted.iter().map(|row| &all[*row][..args.key_columns]).collect();
    for key in keys.iter().take(args.lookups / 10) {
        look_up(&serving, &args.view, key)?;
    }
    let merged = timed(&keys, |key| look_up(&serving, &args.view, key))?;
    let map = if args.map { Some(map(&all, args.key_columns, &keys)?) } else { None };
    let printed: Vec<Vec<Json>> =
        keys.iter().take(args.print_keys).map(|key| key.iter().map(plain).collect()).collect();
    Ok(json!({ "rows": all.len(), "runs": runs, "merged": merged, "map": map, "keys": printed }))
}

fn look_up(serving: &Serving, view: &str, key: &[Value]) -> Result<(), Box<dyn std::error::Error>> {
    let answer = serving.lookup(view, key, &ReadOptions::default())?;
    if answer.len() == 1 { Ok(()) } else { Err(format!("{} rows for one key", answer.len()).into()) }
}

fn map(rows: &[Vec<Value>], key_columns: usize, keys: &[&[Value]]) -> Outcome {
    let text = |key: &[Value]| key.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join("\0");
    let map: DashMap<String, Vec<Value>> =
        rows.iter().map(|row| (text(&row[..key_columns]), row[key_columns..].to_vec())).collect();
    let keys: Vec<String> = keys.iter().map(|key| text(key)).collect();
    timed(&keys, |key| match map.get(key) {
        Some(row) => {
            std::hint::black_box(row.clone());
            Ok(())
        }
        None => Err("a key is missing".into()),
    })
}

fn timed<K>(keys: &[K], mut look: impl FnMut(&K) -> Result<(), Box<dyn std::error::Error>>) -> Outcome {
    let mut nanos: Histogram<u64> = Histogram::new(3)?;
    let all = Instant::now();
    for key in keys {
        let begun = Instant::now();
        look(key)?;
        nanos.record(begun.elapsed().as_nanos() as u64)?;
    }
    let seconds = all.elapsed().as_secs_f64();
    let micros = |quantile: f64| nanos.value_at_quantile(quantile) as f64 / 1e3;
    Ok(json!({
        "per_second": keys.len() as f64 / seconds,
        "p50_us": micros(0.5), "p99_us": micros(0.99), "p999_us": micros(0.999), "max_us": micros(1.0),
    }))
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Int(i) => json!(i),
        Value::Timestamp(micros) => json!(micros),
        other => json!(format!("{other:?}")),
    }
}
