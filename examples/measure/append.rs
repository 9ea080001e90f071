//! Appends: producers that each wait for their acknowledgement before the next append.

use std::{path::PathBuf, sync::Arc, time::Instant};

use bytes::Bytes;
use serde_json::json;
use watershed::parts::log::{Append, Durability, EventLog, FileLog, LogError, Options, SystemClock};

use crate::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// The log's directory; must not exist.
    directory: PathBuf,
    #[arg(long, default_value_t = 1)]
    producers: u64,
    /// Appends in all.
    #[arg(long, default_value_t = 2_000)]
    appends: u64,
    /// Records of one append.
    #[arg(long, default_value_t = 1)]
    records: usize,
    /// Bytes of a record.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// Acknowledge when the operating system has the record.
    #[arg(long)]
    os: bool,
}

pub fn run(args: &Args) -> Outcome {
    let durability = if args.os { Durability::Os } else { Durability::Fsync };
    let options = Options { durability, ..Options::default() };
    let log = Arc::new(FileLog::open_writer(&args.directory, options, Arc::new(SystemClock))?);
    log.create_source("records", 1)?;
    let payload = Bytes::from(payload(args.bytes));
    let each = args.appends.div_ceil(args.producers);
    let before = log.stats();
    let begun = Instant::now();
    if args.producers == 1 {
        for _ in 0..each {
            log.append("records", batch(&payload, args.records))?;
        }
    } else {
        let runtime = tokio::runtime::Runtime::new()?;
        let producer = || produce(log.clone(), payload.clone(), args.records, each);
        let producers: Vec<_> = (0..args.producers).map(|_| runtime.spawn(producer())).collect();
        runtime.block_on(async {
            for producer in producers {
                producer.await.unwrap_or(Err(LogError::Closed))?;
            }
            Ok::<(), LogError>(())
        })?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let stats = log.stats();
    log.close()?;
    Ok(json!({
        "seconds": seconds,
        "records": each * args.producers * args.records as u64,
        "bytes": stats.bytes - before.bytes,
        "batches": stats.batches - before.batches,
        "syncs": stats.syncs - before.syncs,
    }))
}

/// One of several producers: a task, as a connection to `watershed up` is. One alone is a thread that does nothing else.
async fn produce(log: Arc<FileLog>, payload: Bytes, records: usize, appends: u64) -> Result<(), LogError> {
    for _ in 0..appends {
        log.append_async("records", batch(&payload, records)).await?;
    }
    Ok(())
}

fn batch(payload: &Bytes, records: usize) -> Vec<Append> {
    (0..records).map(|_| Append::new(0, payload.clone())).collect()
}

/// Bytes that do not compress to nothing.
pub fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8).collect()
}
