//! Records: as they are appended, and as they are read, without a copy per record.

use std::sync::Arc;

use bytes::Bytes;

use crate::Offset;
use crate::format::{FRAME_PREFIX_BYTES, frame_at};

/// One record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The partition it goes to.
    pub partition: u32,
    /// The optional key, kept as it came.
    pub key: Option<Bytes>,
    /// The payload, kept as it came.
    pub payload: Bytes,
}

impl Append {
    /// A record without a key.
    pub fn new(partition: u32, payload: impl Into<Bytes>) -> Self {
        Self { partition, key: None, payload: payload.into() }
    }

    /// The same record with a key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Key and payload together, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.payload.len()
    }
}

/// The acknowledgement of an append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// For each record, in the order given, its partition and its offset.
    pub records: Vec<(u32, Offset)>,
}

/// When an append is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When it is on stable storage (`fdatasync`). Survives a power failure.
    #[default]
    Fsync,
    /// When the operating system has it. Survives the death of the process, not that of the machine. It becomes visible to
    /// readers, and counts for the head, only once it has been synced, which follows within `os_sync_interval`.
    Os,
}

/// One record as it is read. Borrows from its [`RecordChunk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The partition.
    pub partition: u32,
    /// The offset in the partition.
    pub offset: Offset,
    /// When the log took it, in microseconds since the Unix epoch; never decreases within a partition.
    pub append_time_micros: i64,
    /// The key, if it came with one.
    pub key: Option<&'a [u8]>,
    /// The payload as it came.
    pub payload: &'a [u8],
}

/// Consecutive records with one append time, whose bytes have been checked.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub base_offset: Offset,
    pub append_time_micros: i64,
    pub record_count: u32,
    /// Frames only; their structure has been checked by [`crate::format::frames_are_sound`].
    pub body: Bytes,
}

impl Batch {
    pub fn end_offset(&self) -> Offset {
        self.base_offset + u64::from(self.record_count)
    }

    /// The byte at which the record `skip` records in begins.
    fn byte_of(&self, skip: u64) -> usize {
        let mut at = 0;
        for _ in 0..skip {
            at += frame_at(&self.body[at..]).bytes;
        }
        at
    }
}

/// Consecutive records of one partition, owning the bytes they were read into. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RecordChunk {
    partition: u32,
    from: Offset,
    next: Offset,
    batches: Arc<[Batch]>,
}

impl RecordChunk {
    /// A chunk with the records of `batches` (dense, in order) that lie at or above `from` and below `to`.
    pub(crate) fn new(partition: u32, from: Offset, to: Offset, batches: Vec<Batch>) -> Self {
        let next = batches.last().map_or(from, |last| last.end_offset().min(to));
        Self { partition, from, next, batches: batches.into() }
    }

    pub(crate) fn empty(partition: u32, from: Offset) -> Self {
        Self { partition, from, next: from, batches: Arc::new([]) }
    }

    /// The partition that all records belong to.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The offset of the first record, or where it would be.
    pub fn first_offset(&self) -> Offset {
        self.from
    }

    /// The offset after the last record: where to read on.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        (self.next - self.from) as usize
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.next == self.from
    }

    /// Keys and payloads with their framing, in bytes, of all batches the chunk touches: an upper bound, for sizing buffers.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.body.len()).sum()
    }

    /// The records, in order of offset.
    pub fn iter(&self) -> Records<'_> {
        let mut records = Records { chunk: self, batch: 0, offset: self.from, at: 0 };
        if let Some(first) = self.batches.first() {
            records.at = first.byte_of(self.from - first.base_offset);
        }
        records
    }

    /// The bytes of `part`, a key or payload of this chunk, as an owned slice that shares the chunk's memory.
    ///
    /// # Panics
    /// If `part` does not lie inside this chunk.
    pub fn share(&self, part: &[u8]) -> Bytes {
        if part.is_empty() {
            return Bytes::new();
        }
        let begin = part.as_ptr() as usize;
        let holder = self.batches.iter().find(|batch| {
            let from = batch.body.as_ptr() as usize;
            from <= begin && begin + part.len() <= from + batch.body.len()
        });
        holder.expect("the slice was taken from this chunk").body.slice_ref(part)
    }
}

impl<'a> IntoIterator for &'a RecordChunk {
    type Item = Record<'a>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// Iterator over the records of a [`RecordChunk`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    chunk: &'a RecordChunk,
    batch: usize,
    offset: Offset,
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        if self.offset == self.chunk.next {
            return None;
        }
        let mut batch = &self.chunk.batches[self.batch];
        if self.at == batch.body.len() {
            self.batch += 1;
            self.at = 0;
            batch = &self.chunk.batches[self.batch];
        }
        let frame = frame_at(&batch.body[self.at..]);
        let record = Record {
            partition: self.chunk.partition,
            offset: self.offset,
            append_time_micros: batch.append_time_micros,
            key: frame.key,
            payload: frame.payload,
        };
        debug_assert!(frame.bytes >= FRAME_PREFIX_BYTES);
        self.at += frame.bytes;
        self.offset += 1;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.chunk.next - self.offset) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Records<'_> {}
