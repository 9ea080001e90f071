//! Making segments anew from what is left of them and from copies.

use std::ops::Range;

use super::hands::Hands;
use super::mend::{CopiedRecord, Copies, Part};
use super::partition::{Checked, Inspected};
use super::salvage::Piece;
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, SEGMENT_VERSION, SegmentHeader, encode_frame};
use crate::known::Known;
use crate::{LogError, Offset, Result, files, lost};

/// Copied records share a batch up to this size, if they were appended at the same time.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Consecutive batches that become one segment.
struct Run {
    base: Offset,
    end: Offset,
    /// Headers, whose salt is that of the new segment, and bodies.
    batches: Vec<(BatchHeader, Vec<u8>)>,
}

/// Makes every damaged or missing segment of a partition anew, and marks what is lost.
pub(super) fn records(part: &Part<'_>, found: &Inspected, copies: &dyn Copies, hands: &mut Hands) -> Result<()> {
    let mut missing: Vec<Range<Offset>> = found.unmarked().collect();
    for segment in &found.segments {
        if found.bad(segment).next().is_none() {
            continue;
        }
        let area = area(segment, found);
        missing.retain(|gap| !(area.start <= gap.start && gap.start < area.end));
        make(part, found, area, Some(segment), copies, hands)?;
    }
    if found.segments.is_empty() && missing.is_empty() {
        missing.push(found.kept.clone());
    }
    for gap in missing {
        make(part, found, gap, None, copies, hands)?;
    }
    Ok(())
}

/// What a damaged segment has to hold: up to the next one; the last one up to what was durable, and good batches behind it.
fn area(segment: &Checked, found: &Inspected) -> Range<Offset> {
    let mut end = segment.next.unwrap_or_else(|| found.kept.end.max(segment.base));
    if segment.next.is_none() {
        for piece in &segment.salvage.pieces {
            if piece.header.base_offset == end {
                end = piece.header.end_offset();
            }
        }
    }
    segment.base..end
}

/// Makes the segments of an area.
fn make(
    part: &Part<'_>,
    found: &Inspected,
    area: Range<Offset>,
    old: Option<&Checked>,
    copies: &dyn Copies,
    hands: &mut Hands,
) -> Result<()> {
    let old_bytes = match old {
        Some(old) => files::read(&hands.disk, &old.path)?.unwrap_or_default(),
        None => Vec::new(),
    };
    let pieces = old.map_or(&[][..], |old| &old.salvage.pieces);
    let (mut runs, holes) = runs(part, &area, pieces, &old_bytes, copies);
    let is_followed = found.segments.iter().any(|segment| segment.base >= area.end && segment.base > area.start);
    if !is_followed && runs.last().is_none_or(|last| last.end != area.end) {
        runs.push(Run { base: area.end, end: area.end, batches: Vec::new() });
    }
    // The marks first: without them, what follows would look like damage.
    for hole in &holes {
        let done = format!("records {} to {} are nowhere any more: marked as lost", hole.start, hole.end);
        hands.create(&lost::path(&part.dir, hole), &lost::encode(hole), &done)?;
    }
    let old_created = old.filter(|old| old.salvage.salt != 0).map(|old| old.salvage.created_micros);
    let created_micros = old_created.unwrap_or(part.now_micros);
    // What was known of producers before: what a batch behind repeats of it does no harm.
    let before = found.segments.iter().rfind(|segment| segment.base < area.start);
    let mut known = before.map(|before| before.salvage.learned.clone()).unwrap_or_default();
    known.merge(old.map(|old| old.salvage.learned.clone()).unwrap_or_default());
    let replaced = |run: &Run| old.is_some_and(|old| old.base == run.base);
    for run in runs.iter().filter(|run| !replaced(run)) {
        write(part, run, created_micros, &known, hands)?;
    }
    hands.sync_dir(&part.dir)?;
    if let Some(old) = old {
        match runs.iter().find(|run| replaced(run)) {
            Some(run) => {
                let at_begin = old.salvage.known.as_ref().unwrap_or(&known);
                write(part, run, created_micros, at_begin, hands)?;
            }
            None => hands.set_aside(&old.path)?,
        }
        for extension in [files::INDEX, files::TIME_INDEX] {
            hands.set_aside(&files::base_path(&part.dir, old.base, extension))?;
        }
    }
    hands.sync_dir(&part.dir)
}

/// The batches of an area, and the holes between.
fn runs(
    part: &Part<'_>,
    area: &Range<Offset>,
    pieces: &[Piece],
    bytes: &[u8],
    copies: &dyn Copies,
) -> (Vec<Run>, Vec<Range<Offset>>) {
    let (mut runs, mut holes): (Vec<Run>, Vec<Range<Offset>>) = (Vec::new(), Vec::new());
    let mut push = |header: BatchHeader, body: Vec<u8>| {
        match runs.last_mut() {
            Some(last) if last.end == header.base_offset => {
                last.end = header.end_offset();
                last.batches.push((header, body));
            }
            _ => runs.push(Run { base: header.base_offset, end: header.end_offset(), batches: vec![(header, body)] }),
        }
        header.end_offset()
    };
    let mut pieces = pieces.iter().filter(|piece| piece.header.end_offset() <= area.end).peekable();
    let mut at = area.start;
    while at < area.end {
        if let Some(piece) = pieces.next_if(|piece| piece.header.base_offset <= at) {
            let body = piece.at + BATCH_HEADER_BYTES..piece.at + piece.header.bytes as usize;
            at = push(piece.header, bytes[body].to_vec());
            continue;
        }
        let gap_end = pieces.peek().map_or(area.end, |piece| piece.header.base_offset);
        let copied = copies.read(part.source, part.partition, at..gap_end);
        let before = at;
        for (header, body) in batches(at..gap_end, copied) {
            at = push(header, body);
        }
        if at == before {
            holes.push(at..gap_end);
            at = gap_end;
        }
    }
    (runs, holes)
}

/// Copied records as batches; only those that follow each other from the range's start on.
fn batches(range: Range<Offset>, records: Vec<CopiedRecord>) -> Vec<(BatchHeader, Vec<u8>)> {
    let mut batches: Vec<(BatchHeader, Vec<u8>)> = Vec::new();
    for (next, record) in range.zip(records) {
        if record.offset != next {
            break;
        }
        let shares = |(header, body): &&mut (BatchHeader, Vec<u8>)| {
            header.append_time_micros == record.append_time_micros && body.len() < BATCH_BYTES_MAX
        };
        match batches.last_mut().filter(shares) {
            Some((header, body)) => {
                header.record_count += 1;
                encode_frame(body, record.key.as_deref(), &record.payload);
            }
            None => {
                let mut body = Vec::new();
                encode_frame(&mut body, record.key.as_deref(), &record.payload);
                let header = BatchHeader {
                    bytes: 0,
                    base_offset: record.offset,
                    // All before it is durable: the segment is written as a whole.
                    durable_offset: record.offset,
                    append_time_micros: record.append_time_micros,
                    record_count: 1,
                    attribution_bytes: 0,
                    body_crc: 0,
                };
                batches.push((header, body));
            }
        }
    }
    for (header, body) in &mut batches {
        header.bytes = (BATCH_HEADER_BYTES + body.len()) as u32;
        header.body_crc = crc32c::crc32c(body);
    }
    batches
}

/// Writes a segment.
fn write(part: &Part<'_>, run: &Run, created_micros: i64, known: &Known, hands: &mut Hands) -> Result<()> {
    let source_crc = crc32c::crc32c(part.source.as_bytes());
    let header = SegmentHeader {
        version: SEGMENT_VERSION,
        partition: part.partition,
        base_offset: run.base,
        created_micros,
        source_crc,
    }
    .encode();
    let path = files::base_path(&part.dir, run.base, files::SEGMENT);
    let (_, salt) = SegmentHeader::decode(&header).map_err(|reason| LogError::damaged(&path, 0, reason))?;
    let mut bytes = [&header[..], &known.encode(salt)].concat();
    for (header, body) in &run.batches {
        bytes.extend_from_slice(&header.encode(salt));
        bytes.extend_from_slice(body);
    }
    hands.set_aside_copy(&path)?;
    hands.create(&path, &bytes, &format!("written anew with records {} to {}", run.base, run.end))
}
