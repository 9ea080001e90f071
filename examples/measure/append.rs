//! Appends: producers that each wait for their acknowledgement before the next append.

use std::{path::PathBuf, sync::Arc, thread, time::Instant};

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
    let log = Arc::new(FileLog::open_writer(&args.directory, Options::default(), Arc::new(SystemClock))?);
    log.create_source("records", 1)?;
    let payload = Bytes::from(payload(args.bytes));
    let durability = if args.os { Durability::Os } else { Durability::Fsync };
    let each = args.appends.div_ceil(args.producers);
    let before = log.stats();
    let begun = Instant::now();
    thread::scope(|scope| -> Result<(), LogError> {
        let producers: Vec<_> = (0..args.producers)
            .map(|_| scope.spawn(|| produce(&log, &payload, args.records, each, durability)))
            .collect();
        producers.into_iter().try_for_each(|producer| producer.join().unwrap_or(Err(LogError::Closed)))
    })?;
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

fn produce(
    log: &FileLog,
    payload: &Bytes,
    records: usize,
    appends: u64,
    durability: Durability,
) -> Result<(), LogError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|_| LogError::Closed)?;
    for _ in 0..appends {
        let batch = (0..records).map(|_| Append::new(0, payload.clone())).collect();
        runtime.block_on(log.submit("records", batch, Some(durability)))?;
    }
    Ok(())
}

/// Bytes that do not compress to nothing.
pub fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8).collect()
}
