//! One segment file: reading batches from it and checking it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::file_system::read_fully;
use crate::files::{Disk, OpenFile};
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES, SegmentHeader, is_unwritten};
use crate::index::{Place, SegmentIndex};
use crate::known::{self, BLOCK_HEADER_BYTES, Known};
use crate::read_buffer::ReadBuffer;
use crate::record::Batch;
use crate::{LogError, Offset, OpenMode, Result, files};

/// A read looks at no less than this, so that finding the first batch takes one call.
const READ_BYTES_MIN: u64 = 4 * 1024;
/// How much of a file is read at a time when only headers are wanted, and several are likely to be in it.
const HEADER_WINDOW_BYTES: u64 = 64 * 1024;

/// Whether headers of such batches are read one by one, without what is between them.
fn is_large(batch_bytes: u64) -> bool {
    batch_bytes > HEADER_WINDOW_BYTES / 4
}

/// An open segment. The writer and any number of readers share one.
#[derive(Debug)]
pub(crate) struct Segment {
    pub base: Offset,
    pub path: PathBuf,
    pub file: OpenFile,
    pub salt: u32,
    pub version: u32,
    /// The byte where the first batch begins.
    pub begin: u64,
    index: Mutex<SegmentIndex>,
}

/// What a read found.
pub(crate) enum Found {
    /// At least one batch that ends above the offset asked for.
    Batches(Vec<Batch>),
    /// The file ends before the offset asked for; this is the offset after its last record.
    EndsAt(Offset),
}

impl Segment {
    /// A segment just created, whose first batch will begin at byte `begin`.
    pub fn new(header: &SegmentHeader, path: PathBuf, file: OpenFile, salt: u32, begin: u64) -> Self {
        let (base, version) = (header.base_offset, header.version);
        Self { base, path, file, salt, version, begin, index: Mutex::new(SegmentIndex::new(base, begin)) }
    }

    /// Opens a segment and checks that it is what its name says. `sealed` lets its index files be used.
    pub fn open(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        source: &str,
        partition: u32,
        sealed: bool,
        mode: OpenMode,
    ) -> Result<Self> {
        let path = files::base_path(dir, base, files::SEGMENT);
        let file = files::open(disk, &path, mode)?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES + BLOCK_HEADER_BYTES];
        let filled = read_fully(&*file, &mut bytes, 0).map_err(LogError::io("read", &path))?;
        let (header, salt) =
            SegmentHeader::decode(&bytes[..filled]).map_err(|reason| LogError::damaged(&path, 0, reason))?;
        let is = (header.partition, header.base_offset, header.source_crc);
        if is != (partition, base, crc32c::crc32c(source.as_bytes())) {
            let reason = "the segment belongs to another source, partition or offset than its path says";
            return Err(LogError::damaged(&path, 0, reason));
        }
        let known_bytes = match header.version {
            1 => 0,
            _ => known::block_bytes(&bytes[SEGMENT_HEADER_BYTES..filled], salt)
                .map_err(|reason| LogError::damaged(&path, SEGMENT_HEADER_BYTES as u64, reason))?,
        };
        let segment = Self::new(&header, path, file, salt, SEGMENT_HEADER_BYTES as u64 + known_bytes);
        let file_bytes = segment.file_bytes()?;
        if segment.begin > file_bytes {
            return Err(segment.damaged(SEGMENT_HEADER_BYTES as u64, "the list of producers is cut off"));
        }
        if sealed && let Some(index) = SegmentIndex::load(disk, dir, base, segment.begin, file_bytes, salt) {
            *segment.index() = index;
        }
        Ok(segment)
    }

    /// What was known of the source's producers when the segment was begun.
    pub fn known(&self) -> Result<Known> {
        let at = SEGMENT_HEADER_BYTES as u64;
        if self.begin == at {
            return Ok(Known::default());
        }
        let block = self.load(at, self.begin - at)?;
        Known::decode(&block, self.salt).map_err(|reason| self.damaged(at, reason))
    }

    pub fn index(&self) -> MutexGuard<'_, SegmentIndex> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn file_bytes(&self) -> Result<u64> {
        self.file.bytes().map_err(LogError::io("look at", &self.path))
    }

    pub fn damaged(&self, at: u64, reason: &str) -> LogError {
        LogError::damaged(&self.path, at, reason)
    }

    /// Reads whole batches, from the one that holds `from` to the one before `to` at most, until about `bytes_max` bytes of file
    /// have been read (less than twice that), but at least one. All records below `to` must be durable.
    pub fn read(&self, from: Offset, to: Offset, bytes_max: usize) -> Result<Found> {
        let file_bytes = self.file_bytes()?;
        let mut place = self.find(from, file_bytes)?;
        let mut want = (bytes_max as u64).max(READ_BYTES_MIN);
        let stop = self.index().floor(to);
        if stop.offset == to && stop.at > place.at {
            // Nothing from there on is wanted.
            want = want.min(stop.at - place.at);
        }
        loop {
            if place.at >= file_bytes {
                return Ok(Found::EndsAt(place.offset));
            }
            let (found, next) = self.read_at(place, from, to, want, file_bytes)?;
            if !found.is_empty() {
                self.index().remember(next);
                return Ok(Found::Batches(found));
            }
            if next == place {
                return Ok(Found::EndsAt(place.offset));
            }
            place = next;
        }
    }

    /// Reads about `want` bytes of file: the batches that begin there, without those that end at or below `from`. Returns the place
    /// after them, too: the same one where the records end.
    fn read_at(
        &self,
        begin: Place,
        from: Offset,
        to: Offset,
        want: u64,
        file_bytes: u64,
    ) -> Result<(Vec<Batch>, Place)> {
        let mut buffer = ReadBuffer::for_bytes(want as usize);
        self.load_up_to(&mut buffer, begin.at, want.min(file_bytes - begin.at))?;
        let (mut place, mut headers) = (begin, Vec::new());
        loop {
            let (filled, used) = (buffer.filled(), (place.at - begin.at) as usize);
            if place.offset >= to || used as u64 >= want || (used > 0 && filled.len() - used < BATCH_HEADER_BYTES) {
                break;
            }
            if is_unwritten(&filled[used..]) {
                break;
            }
            let header = self.header(&filled[used..], place)?;
            let end = used + self.check_inside(&header, place, file_bytes)? as usize;
            if end > filled.len() {
                if used > 0 && end as u64 > 2 * want {
                    break;
                }
                // What has been read of it is not read again.
                self.load_up_to(&mut buffer, begin.at, end as u64)?;
            }
            let body = buffer.filled().get(used + BATCH_HEADER_BYTES..end);
            let body = body.ok_or_else(|| self.damaged(place.at, "the file was cut while it was read"))?;
            if header.end_offset() > from {
                header.check_body(body).map_err(|reason| self.damaged(place.at, reason))?;
                headers.push((header, used));
            }
            place = Place { offset: header.end_offset(), at: place.at + u64::from(header.bytes) };
        }
        let buffer = Bytes::from(buffer);
        let batch = |(header, at): (BatchHeader, usize)| Batch {
            base_offset: header.base_offset,
            append_time_micros: header.append_time_micros,
            record_count: header.record_count,
            body: buffer.slice(at + BATCH_HEADER_BYTES + header.attribution_bytes as usize..at + header.bytes as usize),
        };
        Ok((headers.into_iter().map(batch).collect(), place))
    }

    /// Where the batch with `offset`, a durable one, begins, if that is known or few reads of large batches' headers tell it; else
    /// `offset`. The end of the segment if it is not in it.
    pub fn divide(&self, offset: Offset) -> Result<std::result::Result<Offset, Offset>> {
        let end = self.index().end;
        if offset < end.offset {
            return Ok(Ok(self.index().floor(offset).offset));
        }
        let (mut found, mut ends) = (false, true);
        let place = self.walk(end, |_, header| {
            found = header.end_offset() > offset;
            ends = !found && is_large(u64::from(header.bytes));
            ends
        })?;
        Ok(if ends { Err(place.offset) } else { Ok(if found { place.offset } else { offset }) })
    }

    /// Where to begin looking for `offset`. Extends the index up to it if need be.
    fn find(&self, offset: Offset, file_bytes: u64) -> Result<Place> {
        let end = self.index().end;
        if offset > end.offset && end.at < file_bytes {
            self.walk(end, |_, header| header.end_offset() <= offset)?;
        }
        Ok(self.index().floor(offset))
    }

    /// Goes from batch to batch by their headers, beginning at `place`, for as long as `go_on` says, extending the index on
    /// the way. Returns the place of the first batch that `go_on` refused, or the end of the records.
    fn walk(&self, mut place: Place, mut go_on: impl FnMut(Place, &BatchHeader) -> bool) -> Result<Place> {
        let file_bytes = self.file_bytes()?;
        let (mut buffer, mut buffer_at, mut batch_bytes) = (Bytes::new(), 0, self.index().last_batch_bytes);
        while place.at < file_bytes {
            if place.at + BATCH_HEADER_BYTES as u64 > buffer_at + buffer.len() as u64 {
                // After a large batch the next one is likely large, too, and its body need not be read.
                let window = if is_large(batch_bytes) { BATCH_HEADER_BYTES as u64 } else { HEADER_WINDOW_BYTES };
                buffer = self.load(place.at, window.min(file_bytes - place.at))?;
                buffer_at = place.at;
            }
            let bytes = &buffer[(place.at - buffer_at) as usize..];
            if is_unwritten(bytes) {
                break;
            }
            let header = self.header(bytes, place)?;
            self.check_inside(&header, place, file_bytes)?;
            if !go_on(place, &header) {
                return Ok(place);
            }
            let mut index = self.index();
            if index.end == place {
                index.push(&header);
            }
            batch_bytes = u64::from(header.bytes);
            place = Place { offset: header.end_offset(), at: place.at + batch_bytes };
        }
        Ok(place)
    }

    /// The append time of the first record, given that the segment has a durable one.
    pub fn first_time(&self) -> Result<i64> {
        if let Some((first, _)) = self.index().times {
            return Ok(first);
        }
        let begin = Place { offset: self.base, at: self.begin };
        let buffer = self.load(begin.at, BATCH_HEADER_BYTES as u64)?;
        Ok(self.header(&buffer, begin)?.append_time_micros)
    }

    /// The last append time of the records below `to`, all of which must be durable.
    pub fn last_time(&self, to: Offset) -> Result<i64> {
        let mut last = i64::MIN;
        let begin = Place { offset: self.base, at: self.begin };
        self.walk(begin, |_, header| {
            last = header.append_time_micros;
            header.end_offset() < to
        })?;
        Ok(last)
    }

    /// The first offset below `to` whose append time is `micros` or later, if this segment has one; the offset at which the
    /// segment ends if that is before `to`. All records below `to` must be durable.
    pub fn offset_at_time(&self, micros: i64, to: Offset) -> Result<std::result::Result<Option<Offset>, Offset>> {
        let begin = self.index().floor_time(micros);
        let (mut found, mut reached) = (None, begin.offset >= to);
        let end = self.walk(begin, |place, header| {
            if place.offset < to && header.append_time_micros >= micros {
                found = Some(place.offset);
            }
            reached |= header.end_offset() >= to;
            found.is_none() && !reached
        })?;
        Ok(if found.is_some() || reached { Ok(found) } else { Err(end.offset) })
    }

    /// The highest durable offset that the batches from `head` on know. They need not be durable themselves, nor whole: looking
    /// ends at the first that is not, and nothing of them is remembered.
    pub fn claimed_above(&self, head: Offset) -> Result<Offset> {
        let file_bytes = self.file_bytes()?;
        let begin = self.find(head - 1, file_bytes)?;
        let mut place = self.walk(begin, |_, header| header.end_offset() < head)?;
        let mut claimed = 0;
        while place.at < file_bytes {
            let Ok(buffer) = self.load(place.at, BATCH_HEADER_BYTES as u64) else { break };
            let Ok(header) = self.header(&buffer, place) else { break };
            // The first one found ends at the head: it is durable.
            claimed = claimed.max(header.durable_offset);
            place = Place { offset: header.end_offset(), at: place.at + u64::from(header.bytes) };
        }
        Ok(claimed)
    }

    fn load(&self, at: u64, bytes: u64) -> Result<Bytes> {
        let mut buffer = ReadBuffer::for_bytes(bytes as usize);
        self.load_up_to(&mut buffer, at, bytes)?;
        Ok(buffer.into())
    }

    /// Fills a buffer, which begins at byte `at` of the file, up to `bytes` bytes. If the file has become shorter, as it does when the
    /// segment is sealed, to its end.
    fn load_up_to(&self, buffer: &mut ReadBuffer, at: u64, bytes: u64) -> Result<()> {
        buffer.read_up_to(&*self.file, at, bytes as usize).map_err(LogError::io("read", &self.path))
    }

    /// The header at `place`, which must be good and continue the offsets.
    fn header(&self, bytes: &[u8], place: Place) -> Result<BatchHeader> {
        let header = BatchHeader::decode(bytes, self.salt).map_err(|reason| self.damaged(place.at, reason))?;
        if header.base_offset != place.offset {
            let reason =
                format!("a batch begins with offset {} where {} is expected", header.base_offset, place.offset);
            return Err(self.damaged(place.at, &reason));
        }
        Ok(header)
    }

    /// The batch's size, which must not reach beyond the file.
    fn check_inside(&self, header: &BatchHeader, place: Place, file_bytes: u64) -> Result<u64> {
        if place.at + u64::from(header.bytes) > file_bytes {
            return Err(self.damaged(place.at, "the batch is cut off"));
        }
        Ok(u64::from(header.bytes))
    }
}
