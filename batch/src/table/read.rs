//! Reading a table, whole or the pages that may hold wanted keys.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection},
    },
    bloom_filter::Sbbf,
    errors::ParquetError,
    file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};
use polars::prelude::DataFrame;
use watershed_pipelines::partial::StoredColumns;

use super::{
    BLOCK_BYTES, BLOCKS_KEY, FORMAT, FORMAT_KEY, PAGE_ROWS, groups, pages,
    prune::{self, Wanted},
    tails::Tail,
    verified::VerifiedParts,
};
use crate::{
    columns,
    error::{BatchError, Result},
    manifest::StoredFile,
    store::Store,
};

/// Files up to this length are read whole: one request instead of several, and little to decode.
pub(super) const WHOLE_BYTES: u64 = 16 << 10;
/// Up to so many rows of a row group are read without asking its bloom filters, which are a request of their own and lie in blocks
/// as large as the pages' blocks. More than two pages are left only where what is wanted says nothing of the first key column.
const ROWS_WITHOUT_BLOOM: usize = 2 * PAGE_ROWS;
/// Rows of a batch.
const BATCH_ROWS: usize = 64 << 10;

/// The whole table.
pub(crate) fn read(store: &Store, file: &StoredFile) -> Result<DataFrame> {
    let batches: Result<Vec<RecordBatch>> = batches(file, fetch(store, file)?, None)?.collect();
    columns::from_arrow(&batches?)
}

/// The rows of every page that may hold a wanted key: no wanted row is left out. Of the columns that those partials need, if not of all.
pub(crate) fn read_wanted(
    store: &Store,
    file: &StoredFile,
    wanted: &[Wanted],
    columns: Option<&StoredColumns>,
) -> Result<DataFrame> {
    let of_all = wanted.is_empty() && columns.is_none_or(|columns| columns.are_all);
    if of_all || file.bytes <= WHOLE_BYTES {
        return read(store, file);
    }
    let batches = read_pages(store, file, wanted, columns).map_err(|error| of_length(store, file, error))?;
    columns::from_arrow(&batches)
}

/// Stores have many words for a range that a file does not have: what is meant is that the file was cut.
pub(super) fn of_length(store: &Store, file: &StoredFile, error: BatchError) -> BatchError {
    match (&error, store.bytes_of(&file.path)) {
        (BatchError::Store { .. }, Ok(bytes)) if bytes < file.bytes => {
            BatchError::damaged(&file.path, format!("has {bytes} bytes, {} were written", file.bytes))
        }
        _ => error,
    }
}

/// The whole object, checked.
pub(crate) fn fetch(store: &Store, file: &StoredFile) -> Result<Bytes> {
    store.get_checked(&file.path, |bytes| {
        if bytes.len() as u64 != file.bytes {
            let reason = format!("has {} bytes, {} were written", bytes.len(), file.bytes);
            return Err(BatchError::damaged(&file.path, reason));
        }
        if blake3::hash(bytes).to_hex().as_str() != file.checksum {
            return Err(BatchError::damaged(&file.path, "the checksum does not match"));
        }
        Ok(bytes.clone())
    })
}

/// The batches of a fetched file; of the columns named only, if any are.
pub(crate) fn batches(
    file: &StoredFile,
    bytes: Bytes,
    columns: Option<&[&str]>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let (empty, mut reader) = guarded(file, || {
        let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new());
        let metadata = metadata.map_err(|error| reading(file, error))?;
        check_format(file, metadata.metadata())?;
        let mask = match columns {
            Some(columns) => ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied()),
            None => ProjectionMask::all(),
        };
        // A table without rows still has columns.
        let schema = Arc::clone(metadata.schema());
        let empty = (file.rows == 0 && columns.is_none()).then(|| Ok(RecordBatch::new_empty(schema)));
        let groups = (0..metadata.metadata().num_row_groups()).collect();
        let reader = pages::reader(bytes, &metadata, groups, mask, None, BATCH_ROWS);
        Ok((empty, reader.map_err(|error| reading(file, error))?))
    })?;
    let (file, mut ended) = (file.clone(), false);
    let batches = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let next =
            guarded(&file, || reader.next().transpose().map_err(|e| BatchError::damaged(&file.path, e.to_string())));
        ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    });
    Ok(empty.into_iter().chain(batches))
}

/// Runs a step of the Parquet reader. It panics where a file contradicts itself: that is damage, and no reason to end the process.
pub(super) fn guarded<T>(file: &StoredFile, step: impl FnOnce() -> Result<T>) -> Result<T> {
    let panicked = |_| Err(BatchError::damaged(&file.path, "the Parquet reader cannot make sense of it"));
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(panicked)
}

/// The file's footer and page indexes, from the cache or the store.
pub(super) fn tail(store: &Store, file: &StoredFile) -> Result<Arc<Tail>> {
    if let Some(tail) = store.tails().get(&file.path) {
        return Ok(tail);
    }
    let start = file.bytes.checked_sub(file.tail_bytes);
    let start = start.ok_or_else(|| BatchError::damaged(&file.path, "the tail is longer than the file"))?;
    let bytes = store
        .get_range_checked(&file.path, start..file.bytes, |bytes| {
            match blake3::hash(bytes).to_hex().as_str() == file.tail_checksum {
                true => Ok(bytes.clone()),
                false => Err(BatchError::damaged(&file.path, "the tail's checksum does not match")),
            }
        })
        .map_err(|error| of_length(store, file, error))?;
    let length = bytes.len();
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.try_parse_sized(&bytes, file.bytes).map_err(|error| reading(file, error))?;
    let metadata = reader.finish().map_err(|error| reading(file, error))?;
    check_format(file, &metadata)?;
    let blocks = blocks(&metadata).ok_or_else(|| BatchError::damaged(&file.path, "the block checksums are missing"))?;
    if blocks.len() as u64 != start.div_ceil(BLOCK_BYTES) {
        return Err(BatchError::damaged(&file.path, "the block checksums do not cover the file"));
    }
    let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
        .map_err(|error| reading(file, error))?;
    let tail = Arc::new(Tail { metadata, blocks, bytes: length });
    store.tails().keep(&file.path, &tail);
    Ok(tail)
}

fn read_pages(
    store: &Store,
    file: &StoredFile,
    wanted: &[Wanted],
    columns: Option<&StoredColumns>,
) -> Result<Vec<RecordBatch>> {
    let tail = tail(store, file)?;
    let metadata = &tail.metadata;
    let damaged = |error| reading(file, error);
    let (mut groups, mut selection) = (Vec::new(), None);
    for group in prune::row_groups(metadata, wanted).map_err(damaged)? {
        // Pages first: they are in memory.
        let pages = prune::rows(metadata, &[group], wanted).map_err(damaged)?;
        let rows = pages.as_ref().map_or(usize::MAX, RowSelection::row_count);
        if rows > 0 && (rows <= ROWS_WITHOUT_BLOOM || blooms_allow(store, file, &tail, group, wanted)?) {
            groups.push(group);
            selection = pages;
        }
    }
    if groups.len() != 1 {
        selection = prune::rows(metadata, &groups, wanted).map_err(damaged)?;
    }
    // Rows that are not selected are skipped by their pages, which have not been read; else all pages are.
    let selection = selection.filter(pages::skips);
    let columns = columns.map(|columns| groups::partials(metadata, &groups, columns));
    let ranges = prune::ranges(metadata, &groups, columns.as_deref(), selection.as_ref());
    let parts = VerifiedParts::read(store, file, &tail, &ranges)?;
    guarded(file, || {
        let mask = match columns {
            Some(columns) => ProjectionMask::leaves(metadata.parquet_schema(), columns),
            None => ProjectionMask::all(),
        };
        let reader = pages::reader(parts, metadata, groups, mask, selection, BATCH_ROWS).map_err(damaged)?;
        let mut batches: Vec<RecordBatch> = reader
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| BatchError::damaged(&file.path, e.to_string()))?;
        if batches.is_empty() {
            // A table without rows still has columns.
            batches.push(RecordBatch::new_empty(Arc::clone(metadata.schema())));
        }
        Ok(batches)
    })
}

fn blooms_allow(store: &Store, file: &StoredFile, tail: &Tail, group: usize, wanted: &[Wanted]) -> Result<bool> {
    let metadata = &tail.metadata;
    for wanted in wanted {
        let Some(column) = prune::bloom_column(metadata, wanted) else { continue };
        let column = metadata.metadata().row_group(group).column(column);
        let (Some(offset), Some(length)) = (column.bloom_filter_offset(), column.bloom_filter_length()) else {
            continue;
        };
        let begin = offset.unsigned_abs();
        let range = begin..begin.saturating_add(u64::from(length.unsigned_abs()));
        let parts = VerifiedParts::read(store, file, tail, std::slice::from_ref(&range))?;
        let filter = guarded(file, || Sbbf::read_from_column_chunk(column, &parts).map_err(|e| reading(file, e)))?;
        if filter.is_some_and(|filter| !prune::bloom_allows(metadata, wanted, &filter)) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn check_format(file: &StoredFile, metadata: &ParquetMetaData) -> Result<()> {
    let found = metadata_value(metadata, FORMAT_KEY).unwrap_or("none");
    if found == FORMAT {
        return Ok(());
    }
    Err(BatchError::Format { object: file.path.clone(), found: found.to_owned(), expected: FORMAT })
}

fn metadata_value<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    metadata.file_metadata().key_value_metadata()?.iter().find(|kv| kv.key == key)?.value.as_deref()
}

fn blocks(metadata: &ParquetMetaData) -> Option<Vec<u32>> {
    let hex = metadata_value(metadata, BLOCKS_KEY)?.as_bytes();
    let (blocks, rest) = hex.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    blocks
        .iter()
        .map(|block| u32::from_str_radix(std::str::from_utf8(block).ok()?, 16).ok().map(u32::swap_bytes))
        .collect()
}

/// The error of a Parquet reader, which reads what is in memory.
pub(super) fn reading(file: &StoredFile, error: ParquetError) -> BatchError {
    BatchError::damaged(&file.path, error.to_string())
}
