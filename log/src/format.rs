//! The bytes on disk. All integers are little-endian; every checksum is CRC-32C (Castagnoli, RFC 3720 §B.4).
//!
//! ```text
//! <log>/lock                                  who writes: JSON {"pid": …, "socket": …}; its lock is the writer's lock
//! <log>/<source>/source                       the source's number of partitions
//! <log>/<source>/<partition>/head             up to where the partition is durable
//! <log>/<source>/<partition>/<base>.segment   records, from offset <base> (20 digits)
//! <log>/<source>/<partition>/<base>.index     offset → byte, of a sealed segment; can be rebuilt
//! <log>/<source>/<partition>/<base>.timeindex append time → offset, of a sealed segment; can be rebuilt
//! <log>/<source>/<partition>/<base>-<byte>.torn   what recovery cut off a segment at that byte
//! <log>/<source>/<partition>/<from>-<to>.lost     records that are known to be lost
//! <log>/<source>/<partition>/lasttime         the last append time, when retention has deleted the last record
//! …/<name>.damaged                            what mending found under this name and set aside
//! ```
//!
//! The segment with the highest base is the active one. A name that ends in `.tmp` is a file being made; the next writer
//! removes what a dead one left.
//!
//! # Segment
//!
//! A header, then the producers known when the segment was begun, if there were any (see `known.rs`), then record batches
//! without gaps. Zeros may follow, which batches will take the place of; the writer cuts them off when it seals the segment or closes.
//!
//! | byte | size | header field |
//! | ---: | ---: | --- |
//! | 0 | 8 | `WSLOGSEG` |
//! | 8 | 4 | format version, 2 |
//! | 12 | 4 | partition |
//! | 16 | 8 | base offset |
//! | 24 | 8 | creation time, microseconds since the Unix epoch |
//! | 32 | 4 | CRC of the source's name |
//! | 36 | 4 | CRC of bytes 0–35: the segment's *salt* |
//!
//! # Record batch
//!
//! | byte | size | header field |
//! | ---: | ---: | --- |
//! | 0 | 4 | `WSB1` |
//! | 4 | 4 | bytes of the whole batch, this header included |
//! | 8 | 8 | offset of the first record |
//! | 16 | 8 | durable offset of the partition that the writer knew when it wrote the batch |
//! | 24 | 8 | append time of all its records, microseconds since the Unix epoch |
//! | 32 | 4 | number of records, at least 1 |
//! | 36 | 4 | bytes at the beginning of the body that say which records are whose (see `attribution.rs`); 0 if no producer numbers them |
//! | 40 | 4 | CRC of the body |
//! | 44 | 4 | CRC of bytes 0–43, continued from the segment's salt, so that a batch is good in its own segment only |
//!
//! The rest of the body is one frame per record: key length (`u32`, `0xFFFF_FFFF` for no key), payload length (`u32`), key,
//! payload.
//!
//! Version 1 of a segment is the same without producers. It is read, and no longer written: a writer seals the one that it finds
//! being written and begins another.
//!
//! # Source
//!
//! `WSLOGSRC`, version (`u32`, 1), number of partitions (`u32`), CRC of the source's name (`u32`), CRC of the bytes before
//! (`u32`). Written last when a source is created: a source exists when this file does.
//!
//! The head and index files are described in their modules.

use crate::{LogError, Offset};
use std::path::Path;

/// Written to every file but segments; a reader refuses other versions.
pub(crate) const VERSION: u32 = 1;
/// Written to segments; a reader refuses later versions.
pub(crate) const SEGMENT_VERSION: u32 = 2;

pub(crate) const SEGMENT_MAGIC: &[u8; 8] = b"WSLOGSEG";
pub(crate) const SEGMENT_HEADER_BYTES: usize = 40;
pub(crate) const SOURCE_MAGIC: &[u8; 8] = b"WSLOGSRC";
pub(crate) const SOURCE_FILE_BYTES: usize = 24;
pub(crate) const BATCH_MAGIC: &[u8; 4] = b"WSB1";
pub(crate) const BATCH_HEADER_BYTES: usize = 48;
pub(crate) const FRAME_PREFIX_BYTES: usize = 8;
const NO_KEY: u32 = u32::MAX;

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    u64_at(bytes, at).cast_signed()
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub version: u32,
    pub partition: u32,
    pub base_offset: Offset,
    pub created_micros: i64,
    pub source_crc: u32,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.partition.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base_offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.created_micros.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.source_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header and the salt, or what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), String> {
        if bytes.len() < SEGMENT_HEADER_BYTES {
            return Err(format!("the segment header is cut off after {} bytes", bytes.len()));
        }
        if &bytes[..8] != SEGMENT_MAGIC {
            return Err("this is not a segment file".to_owned());
        }
        let salt = u32_at(bytes, 36);
        if crc32c::crc32c(&bytes[..36]) != salt {
            return Err("the segment header's checksum does not match".to_owned());
        }
        let version = u32_at(bytes, 8);
        if !(1..=SEGMENT_VERSION).contains(&version) {
            return Err(format!("format version {version}, but this program reads versions 1 to {SEGMENT_VERSION}"));
        }
        let header = Self {
            version,
            partition: u32_at(bytes, 12),
            base_offset: u64_at(bytes, 16),
            created_micros: i64_at(bytes, 24),
            source_crc: u32_at(bytes, 32),
        };
        Ok((header, salt))
    }
}

/// The header of a record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Bytes of the whole batch, header included.
    pub bytes: u32,
    pub base_offset: Offset,
    pub durable_offset: Offset,
    pub append_time_micros: i64,
    pub record_count: u32,
    /// Bytes of the body before its records.
    pub attribution_bytes: u32,
    pub body_crc: u32,
}

/// Whether nothing has been written where a batch's header would begin: a segment may have zeros after its records.
pub(crate) fn is_unwritten(bytes: &[u8]) -> bool {
    bytes.iter().take(BATCH_HEADER_BYTES).all(|byte| *byte == 0)
}

impl BatchHeader {
    pub fn end_offset(&self) -> Offset {
        self.base_offset + u64::from(self.record_count)
    }

    pub fn encode(&self, salt: u32) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[..4].copy_from_slice(BATCH_MAGIC);
        bytes[4..8].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.base_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable_offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.append_time_micros.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.attribution_bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &bytes[..44]);
        bytes[44..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header that begins at `bytes`, or what is wrong with it.
    pub fn decode(bytes: &[u8], salt: u32) -> Result<Self, &'static str> {
        if bytes.len() < BATCH_HEADER_BYTES {
            return Err("the batch header is cut off");
        }
        if &bytes[..4] != BATCH_MAGIC {
            return Err("no record batch begins here");
        }
        if crc32c::crc32c_append(salt, &bytes[..44]) != u32_at(bytes, 44) {
            return Err("the batch header's checksum does not match");
        }
        let header = Self {
            bytes: u32_at(bytes, 4),
            base_offset: u64_at(bytes, 8),
            durable_offset: u64_at(bytes, 16),
            append_time_micros: i64_at(bytes, 24),
            record_count: u32_at(bytes, 32),
            attribution_bytes: u32_at(bytes, 36),
            body_crc: u32_at(bytes, 40),
        };
        let frames_least = u64::from(header.record_count) * FRAME_PREFIX_BYTES as u64;
        let body_least = u64::from(header.attribution_bytes) + frames_least;
        let ends = header.base_offset.checked_add(u64::from(header.record_count)).is_some();
        if !ends || header.record_count == 0 || u64::from(header.bytes) < BATCH_HEADER_BYTES as u64 + body_least {
            return Err("the batch header contradicts itself");
        }
        Ok(header)
    }

    /// Checks the body's checksum and structure.
    pub fn check_body(&self, body: &[u8]) -> Result<(), &'static str> {
        if crc32c::crc32c(body) != self.body_crc {
            return Err("the batch's checksum does not match");
        }
        if !frames_are_sound(&body[self.attribution_bytes as usize..], self.record_count) {
            return Err("the batch's records do not fill it exactly");
        }
        Ok(())
    }
}

/// Appends one record's frame to `out`.
pub(crate) fn encode_frame(out: &mut Vec<u8>, key: Option<&[u8]>, payload: &[u8]) {
    let key_len = key.map_or(NO_KEY, |key| key.len() as u32);
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(key.unwrap_or_default());
    out.extend_from_slice(payload);
}

/// A record's frame.
pub(crate) struct Frame<'a> {
    pub key: Option<&'a [u8]>,
    pub payload: &'a [u8],
    /// Of the whole frame.
    pub bytes: usize,
}

/// The frame that begins at `body`, whose structure has been checked.
#[inline]
pub(crate) fn frame_at(body: &[u8]) -> Frame<'_> {
    let (key_len, payload_len) = (u32_at(body, 0), u32_at(body, 4) as usize);
    let rest = &body[FRAME_PREFIX_BYTES..];
    if key_len == NO_KEY {
        return Frame { key: None, payload: &rest[..payload_len], bytes: FRAME_PREFIX_BYTES + payload_len };
    }
    let (key, rest) = rest.split_at(key_len as usize);
    let bytes = FRAME_PREFIX_BYTES + key.len() + payload_len;
    Frame { key: Some(key), payload: &rest[..payload_len], bytes }
}

/// Whether `body` is exactly `record_count` frames.
pub(crate) fn frames_are_sound(body: &[u8], record_count: u32) -> bool {
    let mut at = 0usize;
    for _ in 0..record_count {
        if body.len() - at < FRAME_PREFIX_BYTES {
            return false;
        }
        let key_len = match u32_at(body, at) {
            NO_KEY => 0,
            len => len as usize,
        };
        let frame = FRAME_PREFIX_BYTES + key_len + u32_at(body, at + 4) as usize;
        if body.len() - at < frame {
            return false;
        }
        at += frame;
    }
    at == body.len()
}

/// The contents of a source's `source` file.
pub(crate) fn encode_source(name: &str, partitions: u32) -> [u8; SOURCE_FILE_BYTES] {
    let mut bytes = [0; SOURCE_FILE_BYTES];
    bytes[..8].copy_from_slice(SOURCE_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&partitions.to_le_bytes());
    bytes[16..20].copy_from_slice(&crc32c::crc32c(name.as_bytes()).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The number of partitions that a source's `source` file gives.
pub(crate) fn decode_source(path: &Path, name: &str, bytes: &[u8]) -> Result<u32, LogError> {
    let damaged = |reason: String| Err(LogError::damaged(path, 0, reason));
    if bytes.len() != SOURCE_FILE_BYTES || &bytes[..8] != SOURCE_MAGIC {
        return damaged("this is not a source file".to_owned());
    }
    if crc32c::crc32c(&bytes[..20]) != u32_at(bytes, 20) {
        return damaged("its checksum does not match".to_owned());
    }
    if u32_at(bytes, 8) != VERSION {
        return damaged(format!("format version {}, but this program reads version {VERSION}", u32_at(bytes, 8)));
    }
    if u32_at(bytes, 16) != crc32c::crc32c(name.as_bytes()) {
        return damaged(format!("it belongs to another source than {name:?}"));
    }
    Ok(u32_at(bytes, 12))
}
