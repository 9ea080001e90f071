//! Dead letters and rejected records, one by one.

use std::sync::Arc;

use bytes::Bytes;
use watershed_batch::ViewReader;
use watershed_log::{EventLog, FileLog, Offset, RecordChunk};
use watershed_pipelines::decode::{ColumnSet, Decoder, RawRecord};

use super::{Project, blocking};
use crate::error::Error;

/// Bytes of log that are looked through at once.
const CHUNK_BYTES: usize = 4 << 20;

/// A record that its table's schema refuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Log partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// When it was appended, microseconds since 1970.
    pub append_time_micros: i64,
    /// Why it is refused.
    pub reason: String,
    /// Its bytes.
    pub payload: Bytes,
}

/// A record for which an expression of a view fails.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RejectedRecord {
    /// Log partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// The view's column (or clause) whose expression fails.
    pub column: String,
    /// Why.
    pub reason: String,
    /// Its bytes, as long as the log has them.
    pub payload: Option<Bytes>,
}

impl Project {
    /// The dead letters of a table that the log still has, in order of partition and offset; at most `limit`.
    pub async fn dead_letters(&self, table: &str, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let decoder = Decoder::new(self.table(table)?);
        let (project, table) = (self.clone(), table.to_owned());
        blocking(move || {
            let log = project.log()?;
            let mut dead = Vec::new();
            for_each_chunk(&log, &table, |chunk| {
                let records: Vec<_> = chunk.iter().collect();
                let raw = records.iter().map(|record| RawRecord {
                    offset: record.offset,
                    append_time_micros: record.append_time_micros,
                    payload: record.payload,
                });
                for refused in decoder.decode(chunk.partition(), raw, &ColumnSet::default()).dead {
                    let record = &records[(refused.offset - chunk.first_offset()) as usize];
                    dead.push(DeadLetter {
                        partition: refused.partition,
                        offset: refused.offset,
                        append_time_micros: refused.append_time_micros,
                        reason: refused.reason,
                        payload: Bytes::copy_from_slice(record.payload),
                    });
                }
                dead.len() < limit
            })?;
            dead.truncate(limit);
            Ok(dead)
        })
        .await
    }

    /// The records that a view has rejected, in order of partition and offset; at most `limit`.
    pub async fn rejected(&self, view: &str, limit: usize) -> Result<Vec<RejectedRecord>, Error> {
        let known = self.catalog().materialized().find(|(known, _)| known.name == view);
        let Some((definition, core)) = known else {
            return Err(Error::usage(format!("there is no materialized view {view:?}")));
        };
        let (project, view) = (self.clone(), Arc::clone(definition));
        let source = core.source.name.clone();
        blocking(move || {
            let log: Arc<dyn EventLog> = Arc::new(project.log()?);
            let (manifest, snapshot) = project.replay(&log)?;
            let stored = manifest
                .map(|manifest| {
                    ViewReader::new(project.store()?, Arc::new(manifest)).within(&view.name, &view.fingerprint)
                })
                .transpose()?;
            let mut rejected = Vec::new();
            let low = snapshot.cut().clone();
            let is_built = matches!(&stored, Some(Some(_)));
            for partials in snapshot.view(&view.name, is_built.then_some(&low), None)? {
                rejected.extend(partials.rejected.iter().map(|one| RejectedRecord {
                    partition: one.partition,
                    offset: one.offset,
                    column: one.column.clone(),
                    reason: one.failure.to_string(),
                    payload: None,
                }));
            }
            rejected.extend(stored.flatten().unwrap_or_default());
            rejected.sort_unstable();
            rejected.truncate(limit);
            for one in &mut rejected {
                one.payload = payload(&*log, &source, one.partition, one.offset)?;
            }
            Ok(rejected)
        })
        .await
    }
}

/// What the manifest lists of a view, if it has this very view.
trait Within {
    fn within(&self, view: &str, fingerprint: &str) -> Result<Option<Vec<RejectedRecord>>, Error>;
}

impl Within for ViewReader {
    fn within(&self, view: &str, fingerprint: &str) -> Result<Option<Vec<RejectedRecord>>, Error> {
        if self.state(view, fingerprint).is_err() {
            return Ok(None);
        }
        let frame = self.rejected(view)?;
        let internal = |e: polars::error::PolarsError| Error::Internal(format!("rejected records: {e}"));
        let partitions = frame.column("_partition").and_then(|c| c.i32()).map_err(internal)?;
        let offsets = frame.column("_offset").and_then(|c| c.i64()).map_err(internal)?;
        let columns = frame.column("column").and_then(|c| c.str()).map_err(internal)?;
        let reasons = frame.column("reason").and_then(|c| c.str()).map_err(internal)?;
        let record = |row| RejectedRecord {
            partition: partitions.get(row).unwrap_or_default().unsigned_abs(),
            offset: offsets.get(row).unwrap_or_default().unsigned_abs(),
            column: columns.get(row).unwrap_or_default().to_owned(),
            reason: reasons.get(row).unwrap_or_default().to_owned(),
            payload: None,
        };
        Ok(Some((0..frame.height()).map(record).collect()))
    }
}

/// The record's bytes, if the log still has them.
fn payload(log: &dyn EventLog, source: &str, partition: u32, offset: Offset) -> Result<Option<Bytes>, Error> {
    if offset < log.start()?.partition(source, partition) {
        return Ok(None);
    }
    let chunk = log.read(source, partition, offset, offset + 1, 1)?;
    Ok(chunk.iter().next().map(|record| Bytes::copy_from_slice(record.payload)))
}

/// Goes through what the log has of a table, as long as `visit` says so.
fn for_each_chunk(log: &FileLog, table: &str, mut visit: impl FnMut(&RecordChunk) -> bool) -> Result<(), Error> {
    let (start, head) = (log.start()?, log.head()?);
    for partition in 0..log.partitions(table)? {
        let (mut from, to) = (start.partition(table, partition), head.partition(table, partition));
        while from < to {
            let chunk = log.read(table, partition, from, to, CHUNK_BYTES)?;
            if chunk.is_empty() {
                break;
            }
            if !visit(&chunk) {
                return Ok(());
            }
            from = chunk.next_offset();
        }
    }
    Ok(())
}
