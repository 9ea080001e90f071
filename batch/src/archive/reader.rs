//! Reading records back.

use std::sync::Arc;

use arrow_array::{
    Array, LargeBinaryArray, RecordBatch,
    cast::AsArray,
    types::{Int64Type, TimestampMicrosecondType},
};
use watershed_log::Record;
use watershed_pipelines::{
    decode::RawRecord,
    source::{APPEND_TIME_COLUMN, OFFSET_COLUMN},
};

use super::{KEY_COLUMN, PAYLOAD_COLUMN};
use crate::{
    error::{BatchError, Result},
    manifest::{ArchiveFile, Manifest},
    store::Store,
    table::read,
};

/// Reads the archive as a manifest names it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ArchiveReader {
    store: Store,
    manifest: Arc<Manifest>,
}

/// A record as the log had it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchivedRecord<'a> {
    /// The offset in its partition.
    pub offset: u64,
    /// When the log took it, in microseconds since 1970-01-01 UTC.
    pub append_time_micros: i64,
    /// The key, if it came with one.
    pub key: Option<&'a [u8]>,
    /// The payload as it came.
    pub payload: &'a [u8],
}

impl<'a> From<Record<'a>> for ArchivedRecord<'a> {
    #[inline]
    fn from(record: Record<'a>) -> ArchivedRecord<'a> {
        let Record { offset, append_time_micros, key, payload, .. } = record;
        ArchivedRecord { offset, append_time_micros, key, payload }
    }
}

impl<'a> From<ArchivedRecord<'a>> for RawRecord<'a> {
    #[inline]
    fn from(record: ArchivedRecord<'a>) -> RawRecord<'a> {
        let ArchivedRecord { offset, append_time_micros, payload, .. } = record;
        RawRecord { offset, append_time_micros, payload }
    }
}

/// Consecutive records of one partition.
#[derive(Clone, Debug)]
pub struct ArchivedRecords {
    from: u64,
    to: u64,
    batches: Vec<RecordBatch>,
}

impl ArchiveReader {
    /// A reader of what this manifest names.
    pub fn new(store: Store, manifest: Arc<Manifest>) -> ArchiveReader {
        ArchiveReader { store, manifest }
    }

    /// The offset after the last archived record.
    pub fn end(&self, source: &str, partition: u32) -> u64 {
        self.manifest.sources.get(source).map_or(0, |source| source.archive_end(partition))
    }

    /// Records from `from` on, below `to`, as far as one file goes: read on from [`ArchivedRecords::next_offset`]. At the
    /// archive's end there are none.
    pub fn read(&self, source: &str, partition: u32, from: u64, to: u64) -> Result<ArchivedRecords> {
        let files = self.manifest.sources.get(source).and_then(|source| source.archive.get(&partition));
        let file = files.into_iter().flatten().find(|file| file.start <= from && from < file.end);
        match file {
            Some(file) if from < to => {
                let to = to.min(file.end);
                let batches: Result<Vec<RecordBatch>> = records_of(&self.store, file)?.collect();
                Ok(ArchivedRecords { from, to, batches: batches? })
            }
            _ => Ok(ArchivedRecords { from, to: from, batches: Vec::new() }),
        }
    }
}

/// The batches of a file with the columns that make a record.
pub(crate) fn records_of(
    store: &Store,
    file: &ArchiveFile,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let columns = [OFFSET_COLUMN, APPEND_TIME_COLUMN, KEY_COLUMN, PAYLOAD_COLUMN];
    let path = file.file.path.clone();
    let batches = read::batches(&file.file, read::fetch(store, &file.file)?, Some(&columns))?;
    Ok(batches.map(move |batch| {
        let batch = batch?;
        if records_in(&batch).is_none() {
            return Err(BatchError::damaged(&path, "is not a file of the archive"));
        }
        Ok(batch)
    }))
}

/// The records of a batch of [`records_of`]; `None` if it has other columns.
pub(crate) fn records_in(batch: &RecordBatch) -> Option<impl Iterator<Item = ArchivedRecord<'_>>> {
    let offsets = batch.column_by_name(OFFSET_COLUMN)?.as_primitive_opt::<Int64Type>()?;
    let times = batch.column_by_name(APPEND_TIME_COLUMN)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let keys: &LargeBinaryArray = batch.column_by_name(KEY_COLUMN)?.as_binary_opt::<i64>()?;
    let payloads: &LargeBinaryArray = batch.column_by_name(PAYLOAD_COLUMN)?.as_binary_opt::<i64>()?;
    Some((0..batch.num_rows()).map(move |i| ArchivedRecord {
        offset: offsets.value(i) as u64,
        append_time_micros: times.value(i),
        key: keys.is_valid(i).then(|| keys.value(i)),
        payload: payloads.value(i),
    }))
}

impl ArchivedRecords {
    /// The offset after the last record: where to read on.
    pub fn next_offset(&self) -> u64 {
        self.to
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// The records, in order of offset.
    pub fn iter(&self) -> impl Iterator<Item = ArchivedRecord<'_>> {
        let (from, to) = (self.from, self.to);
        let all = self.batches.iter().filter_map(records_in).flatten();
        all.filter(move |record| from <= record.offset && record.offset < to)
    }
}
