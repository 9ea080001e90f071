//! What the user may set, and what the log counts.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Durability, FileSystem, LogError, OperatingSystem, Result};

const MIB: u64 = 1024 * 1024;
/// How many producers are remembered per source, unless said otherwise.
pub(crate) const PRODUCERS_MAX: usize = 1_000;

/// How a [`FileLog`](crate::FileLog) writes.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment that would grow beyond this is sealed and a new one begun (a single larger batch still fits). Default 128
    /// MiB.
    pub segment_bytes_max: u64,
    /// A segment whose first record is this much older than the one being appended is sealed. Default 1 hour, microseconds.
    pub segment_age_max_micros: i64,
    /// The largest record, key and payload together. Default 64 MiB, at most 1 GiB.
    pub record_bytes_max: u64,
    /// Records of one partition that arrive together share a batch up to this size. Default 1 MiB, at most 1 GiB.
    pub batch_bytes_max: u64,
    /// How many bytes of records may wait; further appends wait for room. One larger append is let in alone. Default 64 MiB,
    /// at most 4 GiB − 1.
    pub queue_bytes_max: u64,
    /// What an append waits for unless it says otherwise.
    pub durability: Durability,
    /// How long records appended at [`Durability::Os`] wait for a sync, and are invisible, at most; after 4 MiB a sync begins at
    /// once. Default 20 ms.
    pub os_sync_interval: Duration,
    /// How many files are synced at the same time. Default 16: they wait for the disk, and the file system commits its
    /// journal once for several.
    pub sync_threads: usize,
    /// Ahead of records that are synced at once, up to so many bytes of a segment's file are filled with zeros (at first, as many as it
    /// has records): a sync of what then takes their place need not make a new size and new places durable, and takes about half the time.
    /// They are cut off when the segment is sealed or the log closed. Default 1 MiB, at most 1 GiB; 0: none.
    pub reserve_bytes_max: u64,
    /// How many producers that number their records are remembered per source; of more, those that appended last. Default
    /// 1,000.
    pub producers_max: usize,
    /// Where other processes can talk to this one; named in the lock file.
    pub control_socket: Option<PathBuf>,
    /// Where the files are. Default: the operating system's.
    pub files: Arc<dyn FileSystem>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: 128 * MIB,
            segment_age_max_micros: 3_600_000_000,
            record_bytes_max: 64 * MIB,
            batch_bytes_max: MIB,
            queue_bytes_max: 64 * MIB,
            durability: Durability::Fsync,
            os_sync_interval: Duration::from_millis(20),
            sync_threads: 16,
            reserve_bytes_max: MIB,
            producers_max: PRODUCERS_MAX,
            control_socket: None,
            files: Arc::new(OperatingSystem),
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        let within = |what, value: u64, most: u64| {
            let reason = format!("{value} is not between 1 and {most}");
            if (1..=most).contains(&value) { Ok(()) } else { Err(LogError::Invalid { what, reason }) }
        };
        within("segment_bytes_max", self.segment_bytes_max, i64::MAX as u64)?;
        within("segment_age_max_micros", self.segment_age_max_micros.try_into().unwrap_or(0), i64::MAX as u64)?;
        within("record_bytes_max", self.record_bytes_max, 1024 * MIB)?;
        within("batch_bytes_max", self.batch_bytes_max, 1024 * MIB)?;
        within("queue_bytes_max", self.queue_bytes_max, u64::from(u32::MAX))?;
        within("reserve_bytes_max", self.reserve_bytes_max.max(1), 1024 * MIB)?;
        within("producers_max", self.producers_max as u64, 100_000)?;
        within("sync_threads", self.sync_threads as u64, 64)
    }
}

/// What a writer has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Acknowledged calls of append.
    pub appends: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written to segments, headers included.
    pub bytes: u64,
    /// Record batches written.
    pub batches: u64,
    /// Calls of `fdatasync` on segments. Appends that arrive together share one.
    pub syncs: u64,
    /// Segments sealed.
    pub sealed: u64,
    /// Numbered records that came again and were not appended.
    pub repeated: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub appends: AtomicU64,
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    pub batches: AtomicU64,
    pub syncs: AtomicU64,
    pub sealed: AtomicU64,
    pub repeated: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> LogStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            appends: get(&self.appends),
            records: get(&self.records),
            bytes: get(&self.bytes),
            batches: get(&self.batches),
            syncs: get(&self.syncs),
            sealed: get(&self.sealed),
            repeated: get(&self.repeated),
        }
    }
}
