//! The writing side of one partition. Owned by the committer, so nothing here is shared or locked.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use crate::append_queue::Frames;
use crate::attribution::Attribution;
use crate::file_system::write_all;
use crate::files::Disk;
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES, SEGMENT_VERSION, SegmentHeader};
use crate::head::HeadFile;
use crate::known::Known;
use crate::partition::Partition;
use crate::places::{PlacedRun, RecentPlaces};
use crate::producers::Producers;
use crate::segment::Segment;
use crate::{Durability, LogError, Offset, Options, ProducerId, Result, files};

/// `IOV_MAX` on every system we know.
const SLICES_MAX: usize = 1024;
/// The batch's header, and what it says about producers.
const SLICES_BEFORE: usize = 2;
/// What a disk's blocks are multiples of.
const BLOCK_BYTES: u64 = 4096;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// For so many batches like the last one zeros are written ahead, or for none: zeros take their time, too.
const RESERVED_BATCHES: u64 = 8;

/// Frames waiting to be written, and which append they belong to.
pub(crate) struct Pending {
    pub request: u64,
    /// Who numbers the records, if anyone does.
    pub producer: Option<ProducerId>,
    /// Whether it is acknowledged after a sync.
    pub durability: Durability,
    /// Without any record, they wait for those before them.
    pub frames: Frames,
}

/// What one batch was made of: for each piece, its append, its first offset and the numbers of its records if it has numbers.
pub(crate) type Written = Vec<(u64, Offset, Option<Arc<Vec<u64>>>)>;

pub(crate) struct PartitionWriter {
    pub shared: Arc<Partition>,
    pub active: Arc<Segment>,
    pub head_file: HeadFile,
    pub next_offset: Offset,
    pub durable_offset: Offset,
    pub last_time_micros: i64,
    pub pending: VecDeque<Pending>,
    /// Up to where the active segment's file has been filled with zeros; there are none if that is not above its records.
    pub reserved: u64,
    /// Where the latest numbered records are.
    pub recent: RecentPlaces,
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
            if pieces > 0 && (more > bytes_max || pieces == SLICES_MAX - SLICES_BEFORE) {
                break;
            }
            (pieces, bytes) = (pieces + 1, more);
        }
        (pieces, bytes)
    }

    /// Whether the next batch belongs in a new segment.
    pub fn is_full(&self, options: &Options, now_micros: i64) -> bool {
        let end = self.active.index().end;
        // What a segment begins with is not its own: many producers must not make it full at once.
        let own = end.at - (self.active.begin - SEGMENT_HEADER_BYTES as u64);
        let bytes = own + BATCH_HEADER_BYTES as u64 + self.next_batch(options.batch_bytes_max).1;
        (end.offset > self.active.base && bytes > options.segment_bytes_max) || self.is_aged(options, now_micros)
    }

    /// Whether the active segment's first record is old enough for the segment to be sealed.
    pub fn is_aged(&self, options: &Options, now_micros: i64) -> bool {
        let times = self.active.index().times;
        let age = |(first, _)| now_micros.max(self.last_time_micros).saturating_sub(first);
        times.map(age).is_some_and(|age| age >= options.segment_age_max_micros)
    }

    /// Writes one batch of what is waiting, if there is any record in it. Does not sync. Returns what was in it and its size.
    /// `producers` are the source's.
    pub fn write_batch(
        &mut self,
        options: &Options,
        now_micros: i64,
        producers: Option<&mut Producers>,
    ) -> Result<(Written, u64)> {
        let (pieces, frames_bytes) = self.next_batch(options.batch_bytes_max);
        let taken: Vec<Pending> = self.pending.drain(..pieces).collect();
        let mut bytes = 0;
        if frames_bytes > 0 {
            let append_time_micros = now_micros.max(self.last_time_micros);
            let attributed = producers.map(|producers| self.attribute(&taken, append_time_micros, producers));
            bytes = self.write(&taken, frames_bytes, append_time_micros, &attributed.unwrap_or_default())?;
            if taken.iter().any(|piece| piece.durability == Durability::Fsync) {
                self.reserve(bytes, options);
            }
        }
        let mut written = Written::with_capacity(pieces);
        for piece in taken {
            written.push((piece.request, self.next_offset, piece.frames.numbers));
            self.next_offset += u64::from(piece.frames.record_count);
        }
        Ok((written, bytes))
    }

    /// What the batch of these pieces says about producers. Takes note of it.
    fn attribute(&mut self, pieces: &[Pending], append_time_micros: i64, producers: &mut Producers) -> Vec<u8> {
        let (mut encoded, mut first_record) = (Vec::new(), 0);
        for piece in pieces {
            if let (Some(producer), Some(numbers)) = (&piece.producer, &piece.frames.numbers) {
                let (producer, numbers, complete) = (producer.clone(), numbers.clone(), producers.complete(producer));
                producers.wrote(&producer, append_time_micros);
                let (partition, base_offset) = (self.shared.partition, self.next_offset + u64::from(first_record));
                let run = PlacedRun { partition, base_offset, numbers: numbers.clone(), repeated: true };
                self.recent.push(producer.clone(), run);
                Attribution { producer, first_record, complete, numbers }.encode(&mut encoded);
            }
            first_record += piece.frames.record_count;
        }
        encoded
    }

    fn write(
        &mut self,
        pieces: &[Pending],
        frames_bytes: u64,
        append_time_micros: i64,
        attributed: &[u8],
    ) -> Result<u64> {
        let begun = crc32c::crc32c(attributed);
        let body_crc = pieces.iter().fold(begun, |crc, piece| crc32c::crc32c_append(crc, &piece.frames.bytes));
        let header = BatchHeader {
            bytes: (BATCH_HEADER_BYTES as u64 + attributed.len() as u64 + frames_bytes) as u32,
            base_offset: self.next_offset,
            durable_offset: self.durable_offset,
            append_time_micros,
            record_count: pieces.iter().map(|piece| piece.frames.record_count).sum(),
            attribution_bytes: attributed.len() as u32,
            body_crc,
        };
        let encoded = header.encode(self.active.salt);
        let mut slices = Vec::with_capacity(pieces.len() + SLICES_BEFORE);
        slices.extend([IoSlice::new(&encoded), IoSlice::new(attributed)]);
        slices.extend(pieces.iter().map(|piece| IoSlice::new(&piece.frames.bytes)));
        write_all(&*self.active.file, &mut slices).map_err(LogError::stopped(&self.active.path))?;
        self.active.index().push(&header);
        self.last_time_micros = append_time_micros;
        Ok(u64::from(header.bytes))
    }

    /// Sees to zeros ahead of the records, after a batch of so many bytes. That they cannot be written is no harm.
    fn reserve(&mut self, batch_bytes: u64, options: &Options) {
        let end = self.active.index().end.at;
        if end < self.reserved {
            return;
        }
        let room = options.segment_bytes_max.saturating_sub(end);
        let wanted = (end - self.active.begin).min(options.reserve_bytes_max).min(room);
        if wanted < RESERVED_BATCHES * batch_bytes {
            return;
        }
        let reserved = (end + wanted).next_multiple_of(BLOCK_BYTES);
        let mut at = end;
        while at < reserved {
            let zeros = &ZEROS[..(reserved - at).min(ZEROS.len() as u64) as usize];
            if let Err(error) = self.active.file.write_all_at(zeros, at) {
                let segment = self.active.path.display();
                tracing::warn!(%error, %segment, "could not write ahead; appends to this segment take longer");
                self.reserved = u64::MAX;
                return;
            }
            at += zeros.len() as u64;
        }
        self.reserved = reserved;
    }

    /// Cuts off what was written ahead. Should a power failure bring it back, whoever opens the log next does so: of the active segment
    /// all is looked at.
    fn cut_reserve(&mut self) -> Result<()> {
        let end = self.active.index().end.at;
        self.reserved = 0;
        if self.active.file_bytes()? > end {
            self.active.file.set_bytes(end).map_err(LogError::stopped(&self.active.path))?;
        }
        Ok(())
    }

    /// Says that everything below `end` is durable, after it has been synced.
    pub fn publish(&mut self, end: Offset) -> Result<()> {
        self.head_file.write(end).map_err(LogError::into_stopped)?;
        self.durable_offset = end;
        self.shared.set_head(end);
        Ok(())
    }

    /// Leaves a segment without zeros after its records, and a head file at rest in which both slots say the same.
    pub fn rest(&mut self) -> Result<()> {
        self.cut_reserve()?;
        self.head_file.write(self.durable_offset)?;
        self.head_file.write(self.durable_offset)?;
        self.head_file.sync()
    }

    /// Seals the active segment, all of which must be durable, and begins the next with what is known of producers.
    pub fn roll(&mut self, now_micros: i64, known: &Known) -> Result<()> {
        debug_assert!(!self.is_dirty());
        self.cut_reserve()?;
        // Also if a writer that died had cut it: where its records end is durable before another segment follows.
        self.active.file.sync_all().map_err(LogError::stopped(&self.active.path))?;
        let shared = &self.shared;
        let (disk, dir) = (&shared.disk, &shared.dir);
        let next = create_segment(disk, dir, &shared.source, shared.partition, self.next_offset, now_micros, known)?;
        files::sync_dir(disk, dir)?;
        let saved = self.active.index().save(disk, dir, self.active.base, self.active.salt);
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
    known: &Known,
) -> Result<Segment> {
    let source_crc = crc32c::crc32c(source.as_bytes());
    let header = SegmentHeader { version: SEGMENT_VERSION, partition, base_offset, created_micros, source_crc };
    let path = files::base_path(dir, base_offset, files::SEGMENT);
    let encoded = header.encode();
    let (_, salt) = SegmentHeader::decode(&encoded).map_err(|reason| LogError::damaged(&path, 0, reason))?;
    let whole = [&encoded[..], &known.encode(salt)].concat();
    let file = files::create_whole(disk, &path, &whole)?;
    Ok(Segment::new(&header, path, file, salt, whole.len() as u64))
}
