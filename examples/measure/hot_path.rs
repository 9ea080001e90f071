//! One hot path, done a number of times and nothing else: what instruction counts are taken of (`benchmarks/instructions`).

use std::error::Error;

use serde_json::json;
use watershed::{
    Catalog, KeyBound, KeyFilter, Registry, SqlFile, Value,
    datagen::{Payments, Settings},
    parts::{
        log::{Append, EventLog, FileLog, Options, SystemClock},
        pipelines::{
            decode::{Batch, Decoder, RawRecord},
            partial::{CoreKernel, Partials},
        },
    },
};

use crate::Outcome;

const RECORDS: usize = 20_000;
const DEFINITIONS: &str = include_str!("../../benchmarks/definitions/payments.sql");
const VIEW: &str = include_str!("../../benchmarks/definitions/card_minute.sql");

#[derive(clap::Args)]
pub struct Args {
    path: Path,
    /// How often.
    times: usize,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Path {
    /// JSON payloads to columns.
    Decode,
    /// Columns to partials: filter, window, grouping, aggregates.
    Reduce,
    /// Two partials to one.
    Merge,
    /// One key out of partials, finished.
    Lookup,
    /// Records to the log's bytes, without syncing.
    Append,
}

struct Setting {
    kernel: CoreKernel,
    decoder: Decoder,
    lines: Vec<String>,
}

impl Setting {
    fn new() -> Result<Setting, Box<dyn Error>> {
        let files = [SqlFile::new("payments.sql", DEFINITIONS), SqlFile::new("card_minute.sql", VIEW)];
        let catalog = Catalog::from_sql(&files, &Registry::new())
            .map_err(|mistakes| mistakes.into_iter().map(|m| m.to_string()).collect::<Vec<_>>().join("\n"))?;
        let view = catalog.views.get("card_minute").and_then(|view| view.core.as_ref()).ok_or("no view card_minute")?;
        let settings = Settings { per_second: 1000.0, cards: 1000, ..Settings::default() };
        Ok(Setting {
            kernel: CoreKernel::compile(view, &Registry::new())?,
            decoder: Decoder::new(&view.source),
            lines: Payments::new(settings).take(RECORDS).collect(),
        })
    }

    fn decode(&self, lines: &[String]) -> Batch {
        let records = lines.iter().enumerate().map(|(offset, line)| RawRecord {
            offset: offset as u64,
            append_time_micros: 1_800_000_000_000_000,
            payload: line.as_bytes(),
        });
        self.decoder.decode(0, records, &self.kernel.columns_needed()).batch
    }

    fn reduce(&self, batch: &Batch) -> Result<Partials, Box<dyn Error>> {
        let mut builder = self.kernel.builder();
        builder.push(batch)?;
        Ok(builder.finish())
    }
}

pub fn run(args: &Args) -> Outcome {
    let setting = Setting::new()?;
    let whole = setting.decode(&setting.lines);
    let (left, right) = setting.lines.split_at(RECORDS / 2);
    let halves = [setting.reduce(&setting.decode(left))?, setting.reduce(&setting.decode(right))?];
    let per_time = match args.path {
        Path::Decode => {
            (0..args.times).for_each(|_| drop(std::hint::black_box(setting.decode(&setting.lines))));
            RECORDS
        }
        Path::Reduce => {
            for _ in 0..args.times {
                std::hint::black_box(setting.reduce(&whole)?);
            }
            RECORDS
        }
        Path::Merge => {
            for _ in 0..args.times {
                std::hint::black_box(setting.kernel.merge(&[&halves[0], &halves[1]])?);
            }
            halves[0].len() + halves[1].len()
        }
        Path::Lookup => look_up(&setting, &halves[0], args.times)?,
        Path::Append => append(&setting.lines, args.times)?,
    };
    Ok(json!({ "units": per_time * args.times }))
}

fn look_up(setting: &Setting, partials: &Partials, times: usize) -> Result<usize, Box<dyn Error>> {
    const LOOKUPS: usize = 1000;
    for n in 0..times * LOOKUPS {
        let card = Value::Text(format!("card-{:05}", n % 1000));
        let filter = KeyFilter { columns: vec![KeyBound::In(vec![card]), KeyBound::Any] };
        let selected = setting.kernel.select(partials, &filter);
        std::hint::black_box(setting.kernel.finish_within(&selected, &filter)?);
    }
    Ok(LOOKUPS)
}

fn append(lines: &[String], times: usize) -> Result<usize, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let log = FileLog::open_writer(directory.path(), Options::default(), std::sync::Arc::new(SystemClock))?;
    log.create_source("payments", 1)?;
    for _ in 0..times {
        log.append("payments", lines.iter().map(|line| Append::new(0, line.clone())).collect())?;
    }
    log.close()?;
    Ok(lines.len())
}
