//! The writing side of one partition. Owned by the committer thread, so nothing here is shared or locked.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use crate::append_queue::Frames;
use crate::file_system::write_all;
use crate::files::Disk;
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, SegmentHeader};
use crate::head::HeadFile;
use crate::partition::Partition;
use crate::segment::Segment;
use crate::{LogError, Offset, Options, Result, files};

/// `IOV_MAX` on every system we know.
const SLICES_MAX: usize = 1024;

/// Frames waiting to be written, and which append they belong to.
pub(crate) struct Pending {
    pub request: u64,
    pub frames: Frames,
}

/// What one batch was made of: for each piece, its append and its first offset.
pub(crate) type Written = Vec<(u64, Offset)>;

pub(crate) struct PartitionWriter {
    pub shared: Arc<Partition>,
    pub active: Arc<Segment>,
    pub head_file: HeadFile,
    pub next_offset: Offset,
    pub durable_offset: Offset,
    pub last_time_micros: i64,
    pub pending: VecDeque<Pending>,
}

impl PartitionWriter {
    /// Whether there is something that has not been synced.
    pub fn is_dirty(&self) -> bool {
        self.next_offset > self.durable_offset
    }

    /// How many bytes of waiting frames the next batch takes, and how many pieces that is.
    fn next_batch(&self, bytes_max: u64) -> (usize, u64) {
        let (mut pieces, mut bytes) = (0, 0);
        for pending in &self.pending {
            let more = bytes + pending.frames.bytes.len() as u64;
            if pieces > 0 && (more > bytes_max || pieces == SLICES_MAX - 1) {
                break;
            }
            (pieces, bytes) = (pieces + 1, more);
        }
        (pieces, bytes)
    }

    /// Whether the next batch belongs in a new segment.
    pub fn is_full(&self, options: &Options, now_micros: i64) -> bool {
        let end = self.active.index().end;
        let bytes = end.at + BATCH_HEADER_BYTES as u64 + self.next_batch(options.batch_bytes_max).1;
        (end.offset > self.active.base && bytes > options.segment_bytes_max) || self.is_aged(options, now_micros)
    }

    /// Whether the active segment's first record is old enough for the segment to be sealed.
    pub fn is_aged(&self, options: &Options, now_micros: i64) -> bool {
        let times = self.active.index().times;
        let age = |(first, _)| now_micros.max(self.last_time_micros).saturating_sub(first);
        times.map(age).is_some_and(|age| age >= options.segment_age_max_micros)
    }

    /// Writes one batch of what is waiting. Does not sync. Returns what was in it and its size.
    pub fn write_batch(&mut self, options: &Options, now_micros: i64) -> Result<(Written, u64)> {
        let (pieces, body_bytes) = self.next_batch(options.batch_bytes_max);
        let taken: Vec<Pending> = self.pending.drain(..pieces).collect();
        let body_crc = taken.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, &piece.frames.bytes));
        let header = BatchHeader {
            bytes: (BATCH_HEADER_BYTES as u64 + body_bytes) as u32,
            base_offset: self.next_offset,
            durable_offset: self.durable_offset,
            append_time_micros: now_micros.max(self.last_time_micros),
            record_count: taken.iter().map(|piece| piece.frames.record_count).sum(),
            body_crc,
        };
        let encoded = header.encode(self.active.salt);
        let mut slices = Vec::with_capacity(pieces + 1);
        slices.push(IoSlice::new(&encoded));
        slices.extend(taken.iter().map(|piece| IoSlice::new(&piece.frames.bytes)));
        write_all(&*self.active.file, &mut slices).map_err(LogError::stopped(&self.active.path))?;
        self.active.index().push(&header);
        self.last_time_micros = header.append_time_micros;
        let mut written = Written::with_capacity(pieces);
        for piece in &taken {
            written.push((piece.request, self.next_offset));
            self.next_offset += u64::from(piece.frames.record_count);
        }
        Ok((written, u64::from(header.bytes)))
    }

    /// Says that everything written so far is durable, after it has been synced.
    pub fn publish(&mut self) -> Result<()> {
        self.head_file.write(self.next_offset).map_err(LogError::into_stopped)?;
        self.durable_offset = self.next_offset;
        self.shared.set_head(self.next_offset);
        Ok(())
    }

    /// Seals the active segment, all of which must be durable, and begins the next.
    pub fn roll(&mut self, now_micros: i64) -> Result<()> {
        debug_assert!(!self.is_dirty());
        let shared = &self.shared;
        let (disk, dir) = (&shared.disk, &shared.dir);
        let next = create_segment(disk, dir, &shared.source, shared.partition, self.next_offset, now_micros)?;
        files::sync_dir(disk, dir)?;
        let saved = self.active.index().save(disk, dir, self.active.base);
        if let Err(error) = saved {
            tracing::warn!(%error, "could not write the index of a sealed segment; it is rebuilt when the log is next opened");
        }
        self.active = Arc::new(next);
        shared.begin_segment(self.active.clone());
        Ok(())
    }
}

/// Creates a segment without records. The directory must be synced afterwards.
pub(crate) fn create_segment(
    disk: &Disk,
    dir: &Path,
    source: &str,
    partition: u32,
    base_offset: Offset,
    created_micros: i64,
) -> Result<Segment> {
    let source_crc = crc32c::crc32c(source.as_bytes());
    let header = SegmentHeader { partition, base_offset, created_micros, source_crc }.encode();
    let path = files::base_path(dir, base_offset, files::SEGMENT);
    let file = files::create_whole(disk, &path, &header)?;
    let (_, salt) = SegmentHeader::decode(&header).map_err(|reason| LogError::damaged(&path, 0, reason))?;
    Ok(Segment::new(base_offset, path, file, salt))
}
