//! Some of a span of the log in pieces: each is read by whichever thread is free.

use std::sync::{Mutex, MutexGuard, PoisonError};

use watershed_log::{EventLog, LogError, Offset, RecordChunk};

use crate::{
    error::Result,
    run::{Offsets, Span},
};

/// Bytes of a piece, about: few enough to share a step's work between threads, and several times what a batch of the log has.
const PIECE_BYTES: usize = 3 << 20;
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
        let records = record_bytes.records(PIECE_BYTES.min(bytes));
        let step = span.records().min(record_bytes.records(bytes_max));
        let left = Left { next: span.low.clone(), bytes: vec![bytes; partitions], read: 0 };
        let threads = step.div_ceil(records).clamp(1, rayon::current_num_threads() as u64);
        Pieces { log, source, span, records, threads: threads as usize, left: Mutex::new(left) }
    }

    /// The next piece for a thread: of its own partitions, then of others'. Keys mostly go with the partition (`partition_by`), so
    /// that a thread's groups are its own.
    pub fn next(&self, thread: usize) -> Result<Option<Piece>> {
        let mut left = self.left();
        let high = &self.span.high;
        let open = (0..high.len()).filter(|&p| left.next[p] < high[p] && left.bytes[p] > 0);
        let Some(partition) = open.min_by_key(|p| p % self.threads != thread) else { return Ok(None) };
        let (from, mut to) = (left.next[partition], high[partition]);
        if to - from > self.records {
            to = from + self.records;
            // Where a batch of the log begins, so that none is read for two pieces.
            let begin = self.log.divide(self.source, partition as u32, to)?;
            if begin > from + self.records / 2 {
                to = begin;
            }
        }
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
