//! The sparse indexes of a segment: offset → byte, and append time → offset.
//!
//! An active segment's index is in memory, made as batches are written or met; it goes to disk when the segment is sealed.
//! Both files can be rebuilt from the segment: the writer does so when it opens the log, readers scan the segment instead.
//!
//! | byte | size | `.index` |
//! | ---: | ---: | --- |
//! | 0 | 8 | `WSLOGIDX` |
//! | 8 | 4 | format version, 2 |
//! | 12 | 4 | number of entries |
//! | 16 | 8 | the segment's base offset |
//! | 24 | 8 | the offset after its last record |
//! | 32 | 8 | its size in bytes |
//! | 40 | 8 | its first append time |
//! | 48 | 8 | its last append time |
//! | 56 | 4 | CRC of the entries |
//! | 60 | 4 | CRC of bytes 0–59, continued from the segment's salt, so that an index is good for its own segment only |
//! | 64 | 16 each | offset of a batch, byte where it begins |
//!
//! `.timeindex` is the same with the magic `WSLOGTIX` and entries of append time and offset, one for each indexed batch
//! whose append time is above the entry before.
//!
//! In version 1, which is read too, the CRC of the header begins with 0.

use std::path::{Path, PathBuf};

use crate::file_system::read_exact;
use crate::files::Disk;
use crate::format::{BatchHeader, i64_at, u32_at, u64_at};
use crate::{LogError, Offset, OpenMode, Result, files};

const INDEX_MAGIC: &[u8; 8] = b"WSLOGIDX";
const TIME_INDEX_MAGIC: &[u8; 8] = b"WSLOGTIX";
/// Of index files; the version of the log's other files has not changed.
const VERSION: u32 = 2;
/// Index files of this version do not know their segment's salt.
const VERSION_WITHOUT_SALT: u32 = 1;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 16;
/// At most one entry per this many bytes of segment.
const SPACING_BYTES: u64 = 16 * 1024;
/// Where readers stopped lately. A tailing reader goes on exactly there.
const RECENT: usize = 8;

/// A place in a segment: the batch that begins with `offset` begins at byte `at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub offset: Offset,
    pub at: u64,
}

/// What is known about a segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentIndex {
    /// The end of what the index covers: every batch before is known, none after.
    pub end: Place,
    /// First and last append time of what is covered.
    pub times: Option<(i64, i64)>,
    /// The size of the last batch, if that has been met.
    pub last_batch_bytes: u64,
    places: Vec<Place>,
    /// Append time and offset.
    time_places: Vec<(i64, Offset)>,
    recent: [Place; RECENT],
    recent_next: usize,
}

impl SegmentIndex {
    /// The index of a segment whose first batch begins at byte `at`.
    pub fn new(base: Offset, at: u64) -> Self {
        let begin = Place { offset: base, at };
        Self {
            end: begin,
            times: None,
            last_batch_bytes: 0,
            places: vec![],
            time_places: vec![],
            recent: [begin; RECENT],
            recent_next: 0,
        }
    }

    /// Takes note of the batch after the last.
    pub fn push(&mut self, header: &BatchHeader) {
        let (place, time) = (self.end, header.append_time_micros);
        if self.places.last().is_none_or(|last| place.at >= last.at + SPACING_BYTES) {
            self.places.push(place);
            if self.time_places.last().is_none_or(|&(last, _)| time > last) {
                self.time_places.push((time, place.offset));
            }
        }
        self.times = Some((self.times.map_or(time, |(first, _)| first), time));
        self.last_batch_bytes = u64::from(header.bytes);
        self.end = Place { offset: header.end_offset(), at: place.at + self.last_batch_bytes };
    }

    /// The last known place at or before `offset`, which lies in the segment.
    pub fn floor(&self, offset: Offset) -> Place {
        if offset >= self.end.offset {
            return self.end;
        }
        let after = self.places.partition_point(|place| place.offset <= offset);
        let indexed = after.checked_sub(1).map(|last| self.places[last]);
        let recent =
            self.recent.iter().filter(|place| place.offset <= offset).max_by_key(|place| place.offset).copied();
        indexed.into_iter().chain(recent).max_by_key(|place| place.offset).unwrap_or(self.begin())
    }

    /// A place from which the first record appended at or after `micros` is not far.
    pub fn floor_time(&self, micros: i64) -> Place {
        let after = self.time_places.partition_point(|&(time, _)| time < micros);
        after.checked_sub(1).map_or(self.begin(), |last| self.floor(self.time_places[last].1))
    }

    fn begin(&self) -> Place {
        self.places.first().copied().unwrap_or(self.end)
    }

    /// Remembers where a reader stopped.
    pub fn remember(&mut self, place: Place) {
        if !self.recent.contains(&place) {
            self.recent[self.recent_next] = place;
            self.recent_next = (self.recent_next + 1) % RECENT;
        }
    }

    /// Writes both files of a sealed segment.
    pub fn save(&self, disk: &Disk, dir: &Path, base: Offset, salt: u32) -> Result<()> {
        for (extension, bytes) in self.encoded(VERSION, base, salt) {
            files::create_whole(disk, &files::base_path(dir, base, extension), &bytes)?;
        }
        Ok(())
    }

    /// What is wrong with the index files of a sealed segment, given the index made from the segment itself.
    pub fn problems(&self, disk: &Disk, dir: &Path, base: Offset, salt: u32) -> Result<Vec<(PathBuf, String)>> {
        let now = self.encoded(VERSION, base, salt);
        let before = self.encoded(VERSION_WITHOUT_SALT, base, 0);
        let mut problems = Vec::new();
        for ((extension, now), (_, before)) in now.into_iter().zip(before) {
            let path = files::base_path(dir, base, extension);
            match files::read(disk, &path)? {
                Some(bytes) if bytes == now || bytes == before => {}
                Some(_) => problems.push((path, "it does not say what its segment does".to_owned())),
                None => problems.push((path, "the file is missing".to_owned())),
            }
        }
        Ok(problems)
    }

    /// The bytes of both files, with their extensions.
    fn encoded(&self, version: u32, base: Offset, salt: u32) -> [(&'static str, Vec<u8>); 2] {
        let places: Vec<(u64, u64)> = self.places.iter().map(|place| (place.offset, place.at)).collect();
        let times: Vec<(u64, u64)> =
            self.time_places.iter().map(|&(time, offset)| (time.cast_unsigned(), offset)).collect();
        [
            (files::INDEX, self.encode(INDEX_MAGIC, version, base, &places, salt)),
            (files::TIME_INDEX, self.encode(TIME_INDEX_MAGIC, version, base, &times, salt)),
        ]
    }

    fn encode(&self, magic: &[u8; 8], version: u32, base: Offset, entries: &[(u64, u64)], salt: u32) -> Vec<u8> {
        let (first_time, last_time) = self.times.unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
        bytes.extend_from_slice(magic);
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        for field in [base, self.end.offset, self.end.at, first_time.cast_unsigned(), last_time.cast_unsigned()] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.resize(HEADER_BYTES, 0);
        for (left, right) in entries {
            bytes.extend_from_slice(&left.to_le_bytes());
            bytes.extend_from_slice(&right.to_le_bytes());
        }
        let entries_crc = crc32c::crc32c(&bytes[HEADER_BYTES..]);
        bytes[56..60].copy_from_slice(&entries_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The index of a sealed segment of `segment_bytes` bytes whose first batch begins at byte `at`, or `None` if its files are
    /// missing, damaged or of another segment.
    pub fn load(disk: &Disk, dir: &Path, base: Offset, at: u64, segment_bytes: u64, salt: u32) -> Option<Self> {
        // What cannot be read is as good as missing: the segment is scanned instead.
        let read = |extension| files::read(disk, &files::base_path(dir, base, extension)).ok().flatten();
        Self::decode((base, at, segment_bytes), salt, &read(files::INDEX)?, &read(files::TIME_INDEX)?)
    }

    /// What both files of a sealed segment say.
    fn decode(
        (base, at, segment_bytes): (Offset, u64, u64),
        salt: u32,
        index: &[u8],
        time_index: &[u8],
    ) -> Option<Self> {
        let summary = Summary::decode(index, INDEX_MAGIC, salt).filter(|found| found.fits(base, segment_bytes))?;
        let time_summary = Summary::decode(time_index, TIME_INDEX_MAGIC, salt)?;
        if (Summary { entries: 0, ..time_summary }) != (Summary { entries: 0, ..summary }) {
            return None;
        }
        let places: Vec<Place> = entries(index, &summary)?.map(|(offset, at)| Place { offset, at }).collect();
        let time_places: Vec<(i64, Offset)> =
            entries(time_index, &time_summary)?.map(|(time, offset)| (time.cast_signed(), offset)).collect();
        let end = Place { offset: summary.end_offset, at: segment_bytes };
        if !ascend(&places, &time_places, end) {
            return None;
        }
        let times = Some((summary.first_time, summary.last_time));
        Some(Self { end, times, places, time_places, ..Self::new(base, at) })
    }
}

fn entries<'a>(bytes: &'a [u8], summary: &Summary) -> Option<impl Iterator<Item = (u64, u64)> + use<'a>> {
    let body = &bytes[HEADER_BYTES..];
    let good = body.len() == summary.entries as usize * ENTRY_BYTES && crc32c::crc32c(body) == u32_at(bytes, 56);
    good.then(|| body.chunks_exact(ENTRY_BYTES).map(|entry| (u64_at(entry, 0), u64_at(entry, 8))))
}

/// The header of an index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    entries: u32,
    base: Offset,
    pub end_offset: Offset,
    pub segment_bytes: u64,
    pub first_time: i64,
    pub last_time: i64,
}

impl Summary {
    fn decode(bytes: &[u8], magic: &[u8; 8], salt: u32) -> Option<Self> {
        if bytes.len() < HEADER_BYTES || &bytes[..8] != magic {
            return None;
        }
        let begins_with = match u32_at(bytes, 8) {
            VERSION => salt,
            VERSION_WITHOUT_SALT => 0,
            _ => return None,
        };
        let good = crc32c::crc32c_append(begins_with, &bytes[..60]) == u32_at(bytes, 60);
        good.then(|| Self {
            entries: u32_at(bytes, 12),
            base: u64_at(bytes, 16),
            end_offset: u64_at(bytes, 24),
            segment_bytes: u64_at(bytes, 32),
            first_time: i64_at(bytes, 40),
            last_time: i64_at(bytes, 48),
        })
    }

    fn fits(&self, base: Offset, segment_bytes: u64) -> bool {
        self.base == base && self.segment_bytes == segment_bytes
    }

    /// What the index files of a sealed segment say about it, or `None` if they do not speak of this segment. Their entries
    /// are looked at when they are loaded.
    pub fn load(disk: &Disk, dir: &Path, base: Offset, segment_bytes: u64, salt: u32) -> Result<Option<Self>> {
        let mut summaries = Vec::with_capacity(2);
        for (extension, magic) in [(files::INDEX, INDEX_MAGIC), (files::TIME_INDEX, TIME_INDEX_MAGIC)] {
            let path = files::base_path(dir, base, extension);
            let Some((bytes, size)) = read_header(disk, &path)? else { return Ok(None) };
            let summary = Self::decode(&bytes, magic, salt).filter(|found| found.fits(base, segment_bytes));
            let whole = |found: &Self| size == (HEADER_BYTES + found.entries as usize * ENTRY_BYTES) as u64;
            summaries.extend(summary.filter(whole));
        }
        Ok(if summaries.len() == 2 { Some(summaries[0]) } else { None })
    }
}

/// The header and the size of an index file; `None` if it is missing or too short.
fn read_header(disk: &Disk, path: &Path) -> Result<Option<([u8; HEADER_BYTES], u64)>> {
    let file = match disk.open(path, OpenMode::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(LogError::io("open", path))?,
    };
    let size = file.bytes().map_err(LogError::io("look at", path))?;
    let mut bytes = [0; HEADER_BYTES];
    if size < HEADER_BYTES as u64 {
        return Ok(None);
    }
    read_exact(&*file, &mut bytes, 0).map_err(LogError::io("read", path))?;
    Ok(Some((bytes, size)))
}

/// Whether entries lead into the segment, one after the other. What is looked for between them is then found by scanning forward.
fn ascend(places: &[Place], times: &[(i64, Offset)], end: Place) -> bool {
    let all = places.iter().chain([&end]);
    all.clone().zip(all.skip(1)).all(|(a, b)| a.offset < b.offset && a.at < b.at)
        && times.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1)
}

/// For fuzzing: takes any bytes as both index files, and once more with checksums that fit.
pub(crate) fn check_any(bytes: &[u8]) {
    let (index, time_index) = bytes.split_at(bytes.len() / 2);
    let sealed = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        if bytes.len() >= HEADER_BYTES {
            let entries_crc = crc32c::crc32c(&bytes[HEADER_BYTES..]);
            bytes[56..60].copy_from_slice(&entries_crc.to_le_bytes());
            let crc = crc32c::crc32c(&bytes[..60]);
            bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        }
        bytes
    };
    for (index, time_index) in [(index.to_vec(), time_index.to_vec()), (sealed(index), sealed(time_index))] {
        let Some(summary) = Summary::decode(&index, INDEX_MAGIC, 0) else { continue };
        let of = (summary.base, 40, summary.segment_bytes);
        let Some(found) = SegmentIndex::decode(of, 0, &index, &time_index) else {
            continue;
        };
        // Whatever is looked for, the place found is one of those that stand in the file, or the end.
        for offset in [0, summary.base, summary.end_offset, u64::MAX] {
            let place = found.floor(offset);
            assert!(place == found.end || found.places.contains(&place) || found.recent.contains(&place));
        }
        found.floor_time(summary.first_time);
        found.floor_time(i64::MAX);
    }
}

/// Index files to begin fuzzing with.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let mut index = SegmentIndex::new(7, 40);
    for batch in 0..5 {
        index.push(&BatchHeader {
            bytes: 20_000,
            base_offset: 7 + batch * 3,
            durable_offset: 7,
            append_time_micros: batch.cast_signed() * 1000,
            record_count: 3,
            attribution_bytes: 0,
            body_crc: 0,
        });
    }
    let [(_, places), (_, times)] = index.encoded(VERSION, 7, 0);
    vec![[places, times].concat()]
}
