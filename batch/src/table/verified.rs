//! Reading parts of a file, each byte verified.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, future::BoxFuture};
use object_store::{ObjectStore, path::Path as ObjectPath};
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::{ParquetError, Result},
    file::metadata::ParquetMetaData,
};

use super::{BLOCK_BYTES, tails::Tail};
use crate::store::failure;

/// The damage that a reader met, through the Parquet reader's error type.
#[derive(Debug, thiserror::Error)]
#[error("block {block} (bytes from {from}) does not have the checksum it was written with")]
pub(crate) struct BlockDamaged {
    pub block: u64,
    pub from: u64,
}

/// Gives the Parquet reader its ranges: whole blocks are read and checked, and cut to what was asked.
pub(crate) struct VerifiedReader {
    pub objects: Arc<dyn ObjectStore>,
    pub location: ObjectPath,
    /// Where the tail begins.
    pub body_bytes: u64,
    pub tail: Arc<Tail>,
}

impl VerifiedReader {
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        let mut wanted: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in &ranges {
            if range.start > range.end || range.end > self.body_bytes {
                return Err(ParquetError::General(format!("the range {range:?} is not in the file's body")));
            }
            let blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
            wanted.push(blocks);
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
            runs.iter().map(|run| run.start * BLOCK_BYTES..self.end_of(run.end)).collect();
        // What does not pass is read once more before it counts as damaged: an answer may be cut off on its way.
        let read = match self.read_blocks(&runs, &byte_ranges).await? {
            Ok(read) => read,
            Err(_) => self.read_blocks(&runs, &byte_ranges).await??,
        };
        ranges.iter().map(|range| cut(&read, range)).collect()
    }

    /// The parts by where they begin. The outer error is of the store, the inner one of what was read.
    async fn read_blocks(
        &self,
        runs: &[Range<u64>],
        byte_ranges: &[Range<u64>],
    ) -> Result<Result<BTreeMap<u64, Bytes>>> {
        let parts = match self.objects.get_ranges(&self.location, byte_ranges).await {
            Err(cause) if failure::is_behind_end(&cause) => {
                self.objects.get_ranges(&self.location, byte_ranges).await?
            }
            read => read?,
        };
        let mut read = BTreeMap::new();
        for ((run, range), part) in runs.iter().zip(byte_ranges).zip(parts) {
            if let Err(damaged) = self.verify(run, range, &part) {
                return Ok(Err(damaged));
            }
            read.insert(range.start, part);
        }
        Ok(Ok(read))
    }

    fn end_of(&self, block_end: u64) -> u64 {
        (block_end * BLOCK_BYTES).min(self.body_bytes)
    }

    fn verify(&self, run: &Range<u64>, range: &Range<u64>, part: &Bytes) -> Result<()> {
        if part.len() as u64 != range.end - range.start {
            return Err(ParquetError::EOF(format!("read {} bytes of {range:?}", part.len())));
        }
        for (block, bytes) in run.clone().zip(part.chunks(BLOCK_BYTES as usize)) {
            let written = self.tail.blocks.get(block as usize).copied();
            if written != Some(crc32c::crc32c(bytes)) {
                return Err(ParquetError::External(Box::new(BlockDamaged { block, from: block * BLOCK_BYTES })));
            }
        }
        Ok(())
    }
}

/// The bytes of `range`, which lies in one of the parts.
fn cut(parts: &BTreeMap<u64, Bytes>, range: &Range<u64>) -> Result<Bytes> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let (start, part) = parts
        .range(..=range.start)
        .next_back()
        .ok_or_else(|| ParquetError::General(format!("the range {range:?} was not read")))?;
    let (from, to) = ((range.start - start) as usize, (range.end - start) as usize);
    // A page is kept apart from the run it came in, so that a small answer does not hold a large buffer.
    if (to - from) * 4 < part.len() {
        let mut copy = BytesMut::with_capacity(to - from);
        copy.extend_from_slice(&part[from..to]);
        return Ok(copy.freeze());
    }
    Ok(part.slice(from..to))
}

impl AsyncFileReader for VerifiedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move { Ok(self.read(vec![range]).await?.remove(0)) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.read(ranges).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        futures::future::ready(Ok(Arc::clone(self.tail.metadata.metadata()))).boxed()
    }
}
