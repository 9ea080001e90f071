//! What of a damaged segment can still be read.

use crate::attribution;
use crate::format::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SEGMENT_VERSION, SegmentHeader,
    u32_at,
};
use crate::index::SegmentIndex;
use crate::known::{self, Known};
use crate::{Offset, format};

/// What a segment's file is supposed to be.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub source: &'a str,
    pub partition: u32,
    pub base: Offset,
}

/// A good batch in a segment's file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub header: BatchHeader,
    /// Where in the file it begins.
    pub at: usize,
}

/// A place where the file is not what was written.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    pub at: u64,
    /// The offset that was expected there.
    pub offset: Offset,
    pub reason: String,
}

/// Everything that a segment's file tells.
#[derive(Debug)]
pub(super) struct Salvage {
    pub created_micros: i64,
    /// With which the batches' checksums begin; the segment's own if its header is good.
    pub salt: u32,
    /// Good batches in order; their offsets ascend.
    pub pieces: Vec<Piece>,
    pub bad: Vec<Bad>,
    /// Of a segment without damage.
    pub index: SegmentIndex,
    pub version: u32,
    /// What the segment says was known of producers when it was begun; `None` if that is damaged.
    pub known: Option<Known>,
    /// The same at its end, as far as it can be read.
    pub learned: Known,
    /// The highest durable offset that a good batch knew.
    pub claimed: Offset,
}

impl Salvage {
    fn take(&mut self, (created_micros, salt, version): Identity) {
        (self.created_micros, self.salt, self.version) = (created_micros, salt, version);
    }

    /// The offset after the last good batch.
    pub fn end(&self, base: Offset) -> Offset {
        self.pieces.last().map_or(base, |piece| piece.header.end_offset())
    }
}

/// Goes through the bytes of a segment. A batch is good if its checksums are and its offset continues those before.
pub(super) fn salvage(bytes: &[u8], place: Place<'_>) -> Salvage {
    let mut found = Salvage {
        created_micros: 0,
        salt: 0,
        pieces: Vec::new(),
        bad: Vec::new(),
        index: SegmentIndex::new(place.base, SEGMENT_HEADER_BYTES as u64),
        version: SEGMENT_VERSION,
        known: None,
        learned: Known::default(),
        claimed: 0,
    };
    let bad = |at: usize, offset, reason: &str| Bad { at: at as u64, offset, reason: reason.to_owned() };
    match identify(bytes, place) {
        Ok(identity) => found.take(identity),
        Err((reason, identity)) => {
            found.bad.push(bad(0, place.base, &reason));
            let Some(identity) = identity else { return found };
            found.take(identity);
        }
    }
    let mut at = SEGMENT_HEADER_BYTES;
    match producers(bytes, found.version, found.salt) {
        Ok((known, block_bytes)) => {
            found.learned = known.clone();
            found.known = Some(known);
            at += block_bytes;
        }
        Err(reason) => {
            // Of the segment as a whole: it is no torn tail.
            found.bad.push(bad(0, place.base, reason));
            let Some(next) = next_good(bytes, at, found.salt, place.base) else { return found };
            at = next;
        }
    }
    found.index = SegmentIndex::new(place.base, at as u64);
    let mut expected = place.base;
    while at < bytes.len() {
        let reason = match good_batch(&bytes[at..], found.salt) {
            Ok(header) if header.base_offset == expected => {
                let body = at + BATCH_HEADER_BYTES;
                let attributed = &bytes[body..body + header.attribution_bytes as usize];
                for attribution in attribution::decode(attributed, header.record_count).into_iter().flatten() {
                    found.learned.note(&attribution, header.append_time_micros);
                }
                at += header.bytes as usize;
                expected = header.end_offset();
                found.claimed = found.claimed.max(header.durable_offset);
                found.index.push(&header);
                found.pieces.push(Piece { header, at: at - header.bytes as usize });
                continue;
            }
            Ok(header) => format!("a batch begins with offset {} where {expected} is expected", header.base_offset),
            // What was filled with zeros ahead of the records.
            Err(_) if bytes[at..].iter().all(|byte| *byte == 0) => break,
            Err(reason) => reason.to_owned(),
        };
        found.bad.push(bad(at, expected, &reason));
        let Some(next) = next_good(bytes, at, found.salt, expected) else { break };
        at = next;
        // The batch there is taken in the next turn.
        expected = format::u64_at(bytes, at + 8);
    }
    found
}

/// The good batch that `bytes` begin with.
fn good_batch(bytes: &[u8], salt: u32) -> Result<BatchHeader, &'static str> {
    let header = BatchHeader::decode(bytes, salt)?;
    let whole = bytes.get(..header.bytes as usize).ok_or("the batch is cut off")?;
    let body = &whole[BATCH_HEADER_BYTES..];
    header.check_body(body)?;
    attribution::decode(&body[..header.attribution_bytes as usize], header.record_count)
        .ok_or("what the batch says about producers contradicts itself")?;
    Ok(header)
}

/// What a segment says about producers before its batches, and the bytes that it takes to say so.
fn producers(bytes: &[u8], version: u32, salt: u32) -> Result<(Known, usize), &'static str> {
    let rest = &bytes[SEGMENT_HEADER_BYTES..];
    let block_bytes = if version == 1 { 0 } else { known::block_bytes(rest, salt)? as usize };
    if block_bytes == 0 {
        return Ok((Known::default(), 0));
    }
    let block = rest.get(..block_bytes).ok_or("the list of producers is cut off")?;
    Ok((Known::decode(block, salt)?, block_bytes))
}

/// Where behind a bad batch the next good one begins that does not go back.
fn next_good(bytes: &[u8], bad: usize, salt: u32, expected: Offset) -> Option<usize> {
    let mut at = bad + 1;
    while let Some(skip) = bytes.get(at..)?.windows(BATCH_MAGIC.len()).position(|candidate| candidate == BATCH_MAGIC) {
        at += skip;
        if good_batch(&bytes[at..], salt).is_ok_and(|header| header.base_offset >= expected) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Creation time, salt and version.
type Identity = (i64, u32, u32);

/// Tells a segment that is what it should be; else what is wrong, with its identity where it can be told nevertheless.
fn identify(bytes: &[u8], place: Place<'_>) -> Result<Identity, (String, Option<Identity>)> {
    let foreign = "the segment belongs to another source, partition or offset than its path says";
    match SegmentHeader::decode(bytes) {
        Ok((header, salt)) if fits(&header, place) => Ok((header.created_micros, salt, header.version)),
        Ok(_) => Err((foreign.to_owned(), None)),
        Err(reason) => {
            let guessed = bytes.get(..SEGMENT_HEADER_BYTES).and_then(|header| guess(header, bytes, place));
            Err((reason, guessed))
        }
    }
}

fn fits(header: &SegmentHeader, place: Place<'_>) -> bool {
    let is = (header.partition, header.base_offset, header.source_crc);
    is == (place.partition, place.base, crc32c::crc32c(place.source.as_bytes()))
}

/// A damaged header still tells the salt if either the stored checksum or the bytes under it are whole, and if all but the
/// creation time is written anew, which the path gives. Which of the guesses is right, the first batch tells.
fn guess(header: &[u8], bytes: &[u8], place: Place<'_>) -> Option<Identity> {
    let created_micros = format::i64_at(header, 24);
    let source_crc = crc32c::crc32c(place.source.as_bytes());
    let made = |version| {
        let (partition, base_offset) = (place.partition, place.base);
        u32_at(&SegmentHeader { version, partition, base_offset, created_micros, source_crc }.encode(), 36)
    };
    let stored = u32_at(header, 36);
    let version = u32_at(header, 8).clamp(1, SEGMENT_VERSION);
    let guesses = [(stored, version), (made(SEGMENT_VERSION), SEGMENT_VERSION), (made(1), 1)];
    let fits = |salt| next_good(bytes, SEGMENT_HEADER_BYTES - 1, salt, place.base).is_some();
    guesses.into_iter().find(|&(salt, _)| fits(salt)).map(|(salt, version)| (created_micros, salt, version))
}

/// Says so if the segment has a format that this program does not read: that is no damage, and not to be mended here.
pub(super) fn other_version(bytes: &[u8]) -> Option<String> {
    let header = bytes.get(..SEGMENT_HEADER_BYTES).filter(|header| header.starts_with(SEGMENT_MAGIC))?;
    let (version, sound) = (u32_at(header, 8), crc32c::crc32c(&header[..36]) == u32_at(header, 36));
    (sound && version > SEGMENT_VERSION)
        .then(|| format!("format version {version}, but this program reads versions 1 to {SEGMENT_VERSION}"))
}
