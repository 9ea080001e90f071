//! Every record there ever was: from the log, and from the archive what the log no longer has.

use std::sync::Arc;

use watershed_batch::{ArchiveReader, ArchivedRecords};
use watershed_log::{EventLog, Offset, Position, RecordChunk};
use watershed_pipelines::decode::RawRecord;

use super::Project;
use crate::error::Error;

/// How often the log is read, because it was shortened meanwhile.
const HISTORIES_MAX: usize = 3;

/// Log and archive, read as one.
pub(super) struct History {
    pub log: Arc<dyn EventLog>,
    archive: Option<ArchiveReader>,
    /// Where the log begins.
    pub start: Position,
}

/// Consecutive records of one partition.
pub(super) enum Stretch {
    Log(RecordChunk),
    Archive(ArchivedRecords),
}

impl Project {
    /// Does something that reads log and archive from the first record on. It begins again if a head file had to be mended, and if the log
    /// was shortened meanwhile: the archive has those records, and what was read of the log's beginning is out of date.
    pub(super) fn with_history<T>(&self, work: impl Fn(&History) -> Result<T, Error>) -> Result<T, Error> {
        let once = || self.with_heads_mended(|| work(&self.history()?));
        for _ in 1..HISTORIES_MAX {
            match once() {
                Err(error) if error.is_below_start() => {
                    tracing::debug!(%error, "the log was shortened; beginning again")
                }
                done => return done,
            }
        }
        once()
    }

    fn history(&self) -> Result<History, Error> {
        let log: Arc<dyn EventLog> = Arc::new(self.log()?);
        let start = log.start()?;
        let archive = match start.is_zero() {
            true => None,
            false => {
                let store = self.store()?;
                store.latest_manifest()?.map(|manifest| ArchiveReader::new(store, Arc::new(manifest)))
            }
        };
        Ok(History { log, archive, start })
    }
}

impl History {
    /// Records from `from` on, below `to`; at least one if `from` is below `to`.
    pub fn read(
        &self,
        source: &str,
        partition: u32,
        from: Offset,
        to: Offset,
        bytes_max: usize,
    ) -> Result<Stretch, Error> {
        let start = self.start.partition(source, partition);
        if from >= start {
            return Ok(Stretch::Log(self.log.read(source, partition, from, to, bytes_max)?));
        }
        if let Some(archive) = &self.archive {
            let records = archive.read(source, partition, from, to.min(start))?;
            if !records.is_empty() {
                return Ok(Stretch::Archive(records));
            }
        }
        let place = format!("record {from} of {source:?}/{partition}");
        Err(Error::Unavailable(format!("{place} is in neither the log, which begins at {start}, nor the archive")))
    }

    /// Goes through all records of a table up to `head`, as long as `visit` says so.
    pub fn for_each(
        &self,
        source: &str,
        head: &Position,
        bytes_max: usize,
        mut visit: impl FnMut(u32, &Stretch) -> bool,
    ) -> Result<(), Error> {
        for partition in 0..self.log.partitions(source)? {
            let (mut from, to) = (0, head.partition(source, partition));
            while from < to {
                let stretch = self.read(source, partition, from, to, bytes_max)?;
                if !visit(partition, &stretch) {
                    return Ok(());
                }
                from = stretch.next_offset();
            }
        }
        Ok(())
    }
}

impl Stretch {
    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        match self {
            Stretch::Log(chunk) => chunk.next_offset(),
            Stretch::Archive(records) => records.next_offset(),
        }
    }

    /// The records, in order of offset.
    pub fn iter(&self) -> Box<dyn Iterator<Item = RawRecord<'_>> + '_> {
        match self {
            Stretch::Log(chunk) => Box::new(chunk.iter().map(|record| RawRecord {
                offset: record.offset,
                append_time_micros: record.append_time_micros,
                payload: record.payload,
            })),
            Stretch::Archive(records) => Box::new(records.iter().map(|record| RawRecord {
                offset: record.offset,
                append_time_micros: record.append_time_micros,
                payload: record.payload,
            })),
        }
    }
}
