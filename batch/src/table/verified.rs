//! Parts of a file, read at once, each byte verified.

use std::{collections::BTreeMap, io::Cursor, ops::Range};

use bytes::Bytes;
use parquet::{
    errors::{ParquetError, Result as ParquetResult},
    file::reader::{ChunkReader, Length},
};

use super::{BLOCK_BYTES, tails::Tail};
use crate::{
    error::{BatchError, Result},
    manifest::StoredFile,
    store::Store,
};

/// What the Parquet reader is given in place of a file: the blocks that hold the ranges it will ask for.
#[derive(Debug)]
pub(crate) struct VerifiedParts {
    /// By where they begin.
    parts: BTreeMap<u64, Bytes>,
    file_bytes: u64,
}

impl VerifiedParts {
    /// Reads whole blocks in one request and checks them.
    pub(crate) fn read(store: &Store, file: &StoredFile, tail: &Tail, ranges: &[Range<u64>]) -> Result<VerifiedParts> {
        let body_bytes = file.bytes - file.tail_bytes;
        let mut wanted: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            if range.start > range.end || range.end > body_bytes {
                return Err(BatchError::damaged(&file.path, format!("the range {range:?} is not in the file's body")));
            }
            wanted.push(range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES));
        }
        wanted.retain(|blocks| !blocks.is_empty());
        wanted.sort_unstable_by_key(|blocks| blocks.start);
        let mut runs: Vec<Range<u64>> = Vec::with_capacity(wanted.len());
        for blocks in wanted {
            match runs.last_mut() {
                Some(last) if blocks.start <= last.end => last.end = last.end.max(blocks.end),
                _ => runs.push(blocks),
            }
        }
        let byte_ranges: Vec<Range<u64>> =
            runs.iter().map(|run| run.start * BLOCK_BYTES..(run.end * BLOCK_BYTES).min(body_bytes)).collect();
        let mut parts = BTreeMap::new();
        if !byte_ranges.is_empty() {
            let read = store.get_ranges_checked(&file.path, &byte_ranges, |read| {
                read.iter().zip(&byte_ranges).try_for_each(|(part, range)| verify(file, tail, range, part))
            })?;
            parts.extend(byte_ranges.iter().map(|range| range.start).zip(read));
        }
        Ok(VerifiedParts { parts, file_bytes: file.bytes })
    }
}

/// Checks whole blocks, which begin at the beginning of `range`.
fn verify(file: &StoredFile, tail: &Tail, range: &Range<u64>, part: &Bytes) -> Result<()> {
    if part.len() as u64 != range.end - range.start {
        return Err(BatchError::damaged(&file.path, format!("read {} bytes of {range:?}", part.len())));
    }
    for (block, bytes) in (range.start / BLOCK_BYTES..).zip(part.chunks(BLOCK_BYTES as usize)) {
        if tail.blocks.get(block as usize).copied() != Some(crc32c::crc32c(bytes)) {
            let from = block * BLOCK_BYTES;
            let reason = format!("block {block} (bytes from {from}) does not have the checksum it was written with");
            return Err(BatchError::damaged(&file.path, reason));
        }
    }
    Ok(())
}

impl Length for VerifiedParts {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for VerifiedParts {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let (from, part) = self.part(start)?;
        Ok(Cursor::new(part.slice(from..)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let (from, part) = self.part(start)?;
        match from.checked_add(length) {
            Some(to) if to <= part.len() => Ok(part.slice(from..to)),
            _ => Err(ParquetError::EOF(format!("{length} bytes from {start} were not read"))),
        }
    }
}

impl VerifiedParts {
    /// The part that holds the byte at `start`, and where in it that is.
    fn part(&self, start: u64) -> ParquetResult<(usize, &Bytes)> {
        let holding = self.parts.range(..=start).next_back();
        holding
            .map(|(begin, part)| ((start - begin) as usize, part))
            .filter(|(from, part)| *from < part.len())
            .ok_or_else(|| ParquetError::EOF(format!("the byte at {start} was not read")))
    }
}
