//! Entries for fuzzing: functions that take any bytes, and fail (by a panic) only where a promise of this crate is broken. Not part of
//! the public interface.

use std::path::Path;
use std::sync::Arc;

use crate::attribution::{self, Attribution};
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES, SegmentHeader, decode_source, encode_frame, encode_source,
    frame_at,
};
use crate::known::{self, Known};
use crate::{ProducerId, head, index};

/// One entry: its name, what takes any bytes, and bytes to begin with.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The entries of this crate.
pub const TARGETS: &[Target] =
    &[("segment", segment, segments), ("index", index, indexes), ("source", source, sources), ("head", head, heads)];

/// Takes any bytes as a segment; and once more with their checksums made to fit, so that what lies behind those is reached.
pub fn segment(bytes: &[u8]) {
    walk(bytes);
    walk(&resealed(bytes));
}

/// Goes from batch to batch until one is bad. What is good is what was written: it encodes to the same bytes.
fn walk(bytes: &[u8]) {
    let Ok((header, salt)) = SegmentHeader::decode(bytes) else { return };
    assert_eq!(header.encode(), bytes[..SEGMENT_HEADER_BYTES]);
    let mut rest = &bytes[SEGMENT_HEADER_BYTES..];
    if header.version > 1 {
        let Ok(known_bytes) = known::block_bytes(rest, salt) else { return };
        let Some((block, batches)) = rest.split_at_checked(known_bytes as usize) else { return };
        let _ = Known::decode(block, salt);
        rest = batches;
    }
    while let Ok(header) = BatchHeader::decode(rest, salt) {
        let Some(body) = rest.get(BATCH_HEADER_BYTES..header.bytes as usize) else { return };
        if header.check_body(body).is_err() {
            return;
        }
        let _ = header.end_offset();
        let (attributed, frames) = body.split_at(header.attribution_bytes as usize);
        let (mut at, mut again) = (0, Vec::with_capacity(frames.len()));
        for attribution in attribution::decode(attributed, header.record_count).unwrap_or_default() {
            assert!(attribution.numbers.is_sorted_by(|one, other| one < other));
        }
        for _ in 0..header.record_count {
            let frame = frame_at(&frames[at..]);
            encode_frame(&mut again, frame.key, frame.payload);
            at += frame.bytes;
        }
        assert_eq!(again, frames);
        assert_eq!(header.encode(salt), rest[..BATCH_HEADER_BYTES]);
        rest = &rest[header.bytes as usize..];
    }
}

fn put_crc(bytes: &mut [u8], salt: Option<u32>, at: usize) {
    let crc = match salt {
        Some(salt) => crc32c::crc32c_append(salt, &bytes[..at]),
        None => crc32c::crc32c(&bytes[..at]),
    };
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn resealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < SEGMENT_HEADER_BYTES {
        return bytes;
    }
    put_crc(&mut bytes, None, SEGMENT_HEADER_BYTES - 4);
    let salt = crate::format::u32_at(&bytes, SEGMENT_HEADER_BYTES - 4);
    let mut at = SEGMENT_HEADER_BYTES;
    while bytes.len() - at >= BATCH_HEADER_BYTES {
        let length = crate::format::u32_at(&bytes, at + 4) as usize;
        let end = at.saturating_add(length).min(bytes.len());
        if let Some(body) = bytes.get(at + BATCH_HEADER_BYTES..end) {
            let crc = crc32c::crc32c(body);
            bytes[at + 40..at + 44].copy_from_slice(&crc.to_le_bytes());
        }
        put_crc(&mut bytes[at..], Some(salt), BATCH_HEADER_BYTES - 4);
        if length < BATCH_HEADER_BYTES {
            break;
        }
        at = end;
    }
    bytes
}

fn segments() -> Vec<Vec<u8>> {
    let header = SegmentHeader { version: 2, partition: 1, base_offset: 7, created_micros: 1, source_crc: 3 };
    let mut segment = header.encode().to_vec();
    let salt = crate::format::u32_at(&segment, SEGMENT_HEADER_BYTES - 4);
    let mut base_offset = 7;
    let numbers = Arc::new(vec![4]);
    let producer = ProducerId::new("export");
    let attribution = producer.map(|producer| Attribution { producer, first_record: 0, complete: 3, numbers });
    let (mut known, mut attributed) = (Known::default(), Vec::new());
    if let Ok(attribution) = &attribution {
        attribution.encode(&mut attributed);
        known.note(attribution, 1);
    }
    segment.extend_from_slice(&known.encode(salt));
    for records in [&[(None, "{}")][..], &[(Some("key"), "payload"), (Some(""), ""), (None, "x")]] {
        let mut body = attributed.clone();
        records.iter().for_each(|(key, payload)| encode_frame(&mut body, key.map(str::as_bytes), payload.as_bytes()));
        let header = BatchHeader {
            bytes: (BATCH_HEADER_BYTES + body.len()) as u32,
            base_offset,
            durable_offset: 7,
            append_time_micros: 1_700_000_000_000_000,
            record_count: records.len() as u32,
            attribution_bytes: attributed.len() as u32,
            body_crc: crc32c::crc32c(&body),
        };
        base_offset = header.end_offset();
        segment.extend_from_slice(&header.encode(salt));
        segment.extend_from_slice(&body);
    }
    vec![segment, header.encode().to_vec()]
}

/// Takes any bytes as the two index files of a segment, one after the other, with their checksums and without.
pub fn index(bytes: &[u8]) {
    index::check_any(bytes);
}

fn indexes() -> Vec<Vec<u8>> {
    index::samples()
}

/// Takes any bytes as a source's `source` file.
pub fn source(bytes: &[u8]) {
    if let Ok(partitions) = decode_source(Path::new("source"), "payments", bytes) {
        assert_eq!(encode_source("payments", partitions), bytes);
    }
}

fn sources() -> Vec<Vec<u8>> {
    vec![encode_source("payments", 4).to_vec(), encode_source("clicks", 1).to_vec()]
}

/// Takes any bytes as a slot of a partition's head file.
pub fn head(bytes: &[u8]) {
    head::check_any(bytes);
}

fn heads() -> Vec<Vec<u8>> {
    head::samples()
}
