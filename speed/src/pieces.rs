//! Some of a span of the log in pieces: each is read by whichever thread is free.

use std::sync::{Mutex, MutexGuard, PoisonError};

use watershed_log::{EventLog, LogError, Offset, RecordChunk};

use crate::{
    error::Result,
    run::{Offsets, Span},
};

/// Bytes of a piece, about: few enough to share a step's work between threads, and several times what a batch of the log has.
const PIECE_BYTES: usize = 3 << 20;
/// Smaller steps are divided evenly between the threads, down to this.
const PIECE_BYTES_MIN: usize = 512 << 10;
/// Bytes that are read at a time: few enough that they and their columns stay in a core's cache.
const CHUNK_BYTES: usize = 1 << 20;
/// Records of a source that has not been read yet are taken for so large.
const RECORD_BYTES: usize = 1 << 10;

/// What a source's records take in the log, going by those read last: how many a piece has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordBytes(usize);

impl Default for RecordBytes {
    fn default() -> RecordBytes {
        RecordBytes(RECORD_BYTES)
    }
}

impl RecordBytes {
    fn records(self, bytes: usize) -> u64 {
        (bytes / self.0).max(1) as u64
    }
}

/// A span from its low end on, up to about so many bytes, each piece handed out once.
pub(crate) struct Pieces<'a> {
    log: &'a dyn EventLog,
    source: &'a str,
    span: &'a Span,
    /// Of a piece.
    records: u64,
    /// How many threads have something to do.
    pub threads: usize,
    left: Mutex<Left>,
}

/// By partition.
struct Left {
    next: Offsets,
    bytes: Vec<usize>,
    read: usize,
}

/// Consecutive records of one partition.
pub(crate) struct Piece {
    pub partition: u32,
    from: Offset,
    to: Offset,
}

impl<'a> Pieces<'a> {
    /// Each partition gets its share of `bytes_max`, of any that has records at least a record is read.
    pub fn new(
        log: &'a dyn EventLog,
        source: &'a str,
        span: &'a Span,
        bytes_max: usize,
        record_bytes: RecordBytes,
    ) -> Pieces<'a> {
        let partitions = span.low.len();
        let bytes = (bytes_max / partitions.max(1)).max(1);
        let threads = rayon::current_num_threads() as u64;
        let step = span.records().min(record_bytes.records(bytes_max));
        let share = step.div_ceil(threads).max(record_bytes.records(PIECE_BYTES_MIN));
        let records = record_bytes.records(PIECE_BYTES.min(bytes)).min(share);
        let threads = step.div_ceil(share).clamp(1, threads);
        let left = Left { next: span.low.clone(), bytes: vec![bytes; partitions], read: 0 };
        Pieces { log, source, span, records, threads: threads as usize, left: Mutex::new(left) }
    }

    /// The next piece for a thread: of its own partitions, then of others'. Keys mostly go with the partition (`partition_by`), so
    /// that a thread's groups are its own.
    pub fn next(&self, thread: usize) -> Result<Option<Piece>> {
        let mut left = self.left();
        let high = &self.span.high;
        let open = (0..high.len()).filter(|&p| left.next[p] < high[p] && left.bytes[p] > 0);
        let Some(partition) = open.min_by_key(|p| p % self.threads != thread) else { return Ok(None) };
        let from = left.next[partition];
        let to = self.log.end_of_piece(self.source, partition as u32, from, high[partition], self.records)?;
        left.next[partition] = to;
        Ok(Some(Piece { partition: partition as u32, from, to }))
    }

    /// Reads on in a piece; nothing at its end.
    pub fn read(&self, piece: &mut Piece) -> Result<Option<RecordChunk>> {
        let (partition, from) = (piece.partition, piece.from);
        if from >= piece.to {
            return Ok(None);
        }
        let chunk = self.log.read(self.source, partition, from, piece.to, CHUNK_BYTES)?;
        if chunk.is_empty() {
            let name = self.source.to_owned();
            return Err(LogError::AboveHead { name, partition, offset: piece.to, head: from }.into());
        }
        piece.from = chunk.next_offset();
        let mut left = self.left();
        let bytes_left = &mut left.bytes[partition as usize];
        *bytes_left = bytes_left.saturating_sub(chunk.bytes());
        left.read += chunk.bytes();
        Ok(Some(chunk))
    }

    /// What was read, when all pieces handed out have been.
    pub fn finish(self, record_bytes: &mut RecordBytes) -> Span {
        let left = self.left.into_inner().unwrap_or_else(PoisonError::into_inner);
        let span = Span { low: self.span.low.clone(), high: left.next };
        if let Some(bytes) = left.read.checked_div(span.records() as usize) {
            *record_bytes = RecordBytes(bytes.max(1));
        }
        span
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rayon::prelude::*;
    use watershed_log::{Append, ManualClock, MemoryLog};

    use super::*;

    /// A log whose partitions have so many records, of sizes between 0 and 2,000 bytes.
    fn log(records: &[u64]) -> MemoryLog {
        let log = MemoryLog::new(Arc::new(ManualClock::new(0)));
        log.create_source("s", records.len() as u32).unwrap();
        for (partition, records) in (0..).zip(records) {
            for number in 0..*records {
                let payload = vec![b'x'; (number * 7919 % 2000) as usize];
                log.append("s", vec![Append::new(partition, payload)]).unwrap();
            }
        }
        log
    }

    /// Takes all pieces on all threads; the ranges that were read, by partition and in order.
    fn take(pieces: &Pieces<'_>, partitions: usize) -> Vec<Vec<(Offset, Offset)>> {
        let of_threads: Vec<Vec<(u32, Offset, Offset)>> = (0..pieces.threads)
            .into_par_iter()
            .map(|thread| {
                let mut read = Vec::new();
                while let Some(mut piece) = pieces.next(thread).unwrap() {
                    while let Some(chunk) = pieces.read(&mut piece).unwrap() {
                        read.push((chunk.partition(), chunk.first_offset(), chunk.next_offset()));
                    }
                }
                read
            })
            .collect();
        let mut ranges = vec![Vec::new(); partitions];
        for (partition, from, to) in of_threads.into_iter().flatten() {
            ranges[partition as usize].push((from, to));
        }
        ranges.iter_mut().for_each(|ranges| ranges.sort_unstable());
        ranges
    }

    #[test]
    fn each_record_is_read_once_whatever_the_threads_and_bounds() {
        let records = [3_000, 0, 1, 1_700];
        let log = log(&records);
        for threads in 1..5 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for bytes_max in [1, 700, 50_000, 1 << 20, 32 << 20] {
                let mut span = Span { low: vec![5, 0, 0, 100], high: records.to_vec() };
                let mut record_bytes = RecordBytes::default();
                let mut steps = 0;
                while !span.is_empty() && steps < 20 {
                    let pieces = Pieces::new(&log, "s", &span, bytes_max, record_bytes);
                    let (ranges, read) =
                        pool.install(|| (take(&pieces, records.len()), pieces.finish(&mut record_bytes)));
                    for (partition, ranges) in ranges.iter().enumerate() {
                        let mut at = span.low[partition];
                        for &(from, to) in ranges {
                            assert_eq!(from, at, "partition {partition}: {ranges:?}");
                            at = to;
                        }
                        assert_eq!(at, read.high[partition]);
                        assert_eq!(at > span.low[partition], span.high[partition] > span.low[partition]);
                    }
                    span.low = read.high;
                    steps += 1;
                }
                assert_eq!(span.is_empty(), bytes_max > 100_000, "{bytes_max} in {steps} steps");
            }
        }
    }

    #[test]
    fn small_steps_are_one_threads() {
        let log = log(&[20]);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let threads = |records, bytes_max| {
            let span = Span { low: vec![0], high: vec![records] };
            pool.install(|| Pieces::new(&log, "s", &span, bytes_max, RecordBytes::default()).threads)
        };
        assert_eq!([threads(20, 32 << 20), threads(100_000, 4_000), threads(100_000, 1)], [1, 1, 1]);
        assert_eq!([threads(1_000, 32 << 20), threads(100_000, 1 << 20), threads(100_000, 32 << 20)], [2, 2, 4]);
    }
}
