//! Dead letters and rejected records, one by one.

use std::sync::Arc;

use bytes::Bytes;
use watershed_batch::ViewReader;
use watershed_log::Offset;
use watershed_pipelines::{
    catalog::View,
    decode::{ColumnSet, Decoder},
};

use super::{Project, blocking, history::History};
use crate::error::Error;

/// Bytes that are looked through at once.
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
    /// Its bytes.
    pub payload: Bytes,
}

impl Project {
    /// The dead letters of a table, in order of partition and offset; at most `limit`.
    pub async fn dead_letters(&self, table: &str, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let decoder = Decoder::new(self.table(table)?);
        let (project, table) = (self.clone(), table.to_owned());
        blocking(move || project.with_history(|history| dead_letters(history, &table, &decoder, limit))).await
    }

    /// The records that a view has rejected, in order of partition and offset; at most `limit`.
    pub async fn rejected(&self, view: &str, limit: usize) -> Result<Vec<RejectedRecord>, Error> {
        let known = self.catalog().materialized().find(|(known, _)| known.name == view);
        let Some((definition, core)) = known else {
            return Err(Error::usage(format!("there is no materialized view {view:?}")));
        };
        let (project, view) = (self.clone(), Arc::clone(definition));
        let source = core.source.name.clone();
        blocking(move || project.with_history(|history| project.rejected_by(history, &view, &source, limit))).await
    }

    fn rejected_by(
        &self,
        history: &History,
        view: &View,
        source: &str,
        limit: usize,
    ) -> Result<Vec<RejectedRecord>, Error> {
        let (manifest, snapshot) = self.replay(&history.log)?;
        let stored = manifest
            .map(|manifest| ViewReader::new(self.store()?, Arc::new(manifest)).within(&view.name, &view.fingerprint))
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
                payload: Bytes::new(),
            }));
        }
        rejected.extend(stored.flatten().unwrap_or_default());
        rejected.sort_unstable();
        rejected.truncate(limit);
        for one in &mut rejected {
            one.payload = payload(history, source, one.partition, one.offset)?;
        }
        Ok(rejected)
    }
}

fn dead_letters(history: &History, table: &str, decoder: &Decoder, limit: usize) -> Result<Vec<DeadLetter>, Error> {
    let head = history.log.head()?;
    let mut dead = Vec::new();
    history.for_each(table, &head, CHUNK_BYTES, |partition, stretch| {
        let refused = decoder.decode(partition, stretch.iter(), &ColumnSet::none()).dead;
        let mut records = stretch.iter();
        for letter in refused {
            let payload = records.find(|record| record.offset == letter.offset).map(|record| record.payload);
            dead.push(DeadLetter {
                partition: letter.partition,
                offset: letter.offset,
                append_time_micros: letter.append_time_micros,
                reason: letter.reason,
                payload: Bytes::copy_from_slice(payload.unwrap_or_default()),
            });
        }
        dead.len() < limit
    })?;
    dead.truncate(limit);
    Ok(dead)
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
            payload: Bytes::new(),
        };
        Ok(Some((0..frame.height()).map(record).collect()))
    }
}

fn payload(history: &History, source: &str, partition: u32, offset: Offset) -> Result<Bytes, Error> {
    let stretch = history.read(source, partition, offset, offset + 1, 1)?;
    Ok(stretch.iter().next().map(|record| Bytes::copy_from_slice(record.payload)).unwrap_or_default())
}
