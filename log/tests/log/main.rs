//! Tests of the log through its public interface.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what was tried is told on standard error")]

mod contract;
mod crash;
mod damage;
mod durability;
mod faults;
mod histories;
mod mending;
mod producers;
mod readers;
mod recovery;
#[path = "../../../tests/support/seeds.rs"]
mod seeds;
mod segments;
mod sent_again;
mod simulation;
mod specimen;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use watershed_log::{Append, EventLog, FileLog, ManualClock, Options};

/// A log in a temporary directory, with one source `s`.
fn open(dir: &Path, options: Options, partitions: u32) -> FileLog {
    let log = FileLog::open_writer(dir, options, Arc::new(ManualClock::new(1_000))).unwrap();
    log.create_source("s", partitions).unwrap();
    log
}

fn append(log: &dyn EventLog, partition: u32, payload: impl Into<bytes::Bytes>) -> u64 {
    log.append("s", vec![Append::new(partition, payload)]).unwrap().records[0].1
}

/// The payloads of one partition, from `from` to the head.
fn payloads(log: &dyn EventLog, partition: u32, from: u64) -> Vec<Vec<u8>> {
    let records = watershed_log::contract::read_all(log, "s", partition, from, 1 << 16);
    records.into_iter().map(|(_, _, _, payload)| payload.to_vec()).collect()
}

/// The files with this extension in a partition of `s`, in order.
fn files(dir: &Path, partition: u32, extension: &str) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(dir.join("s").join(partition.to_string())).unwrap();
    let mut found: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|is| is == extension));
    found.sort();
    found
}
