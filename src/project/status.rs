//! The state of a project, as it can be seen from any process.

use std::{fs, path::Path, sync::Arc};

use serde::Serialize;
use watershed_batch::Manifest;
use watershed_log::{EventLog, Position};

use super::{
    Project, blocking,
    ledger::{Ledger, LiveFigures},
    writer::unexpected,
};
use crate::{
    control::{Reply, Request},
    error::Error,
};

/// The state of a project.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The process that runs the speed layer, if one does.
    pub pid: Option<u32>,
    /// The position up to which the log is durable and folded.
    pub head: Position,
    /// The newest manifest.
    pub manifest: Option<u64>,
    /// The epoch that is the cut.
    pub cut_epoch: Option<u64>,
    /// The cut.
    pub cut: Position,
    /// The newest epoch.
    pub epoch: Option<u64>,
    /// Records above the cut.
    pub above_cut: u64,
    /// How long ago the last record was appended, seconds.
    pub last_append_seconds: Option<f64>,
    /// How long ago the cut's epoch was recorded, seconds.
    pub cut_age_seconds: Option<f64>,
    /// Bytes of the log's files.
    pub log_bytes: u64,
    /// Bytes of the archive's files that the manifest names.
    pub archive_bytes: u64,
    /// The tables.
    pub sources: Vec<SourceStatus>,
    /// The materialized views.
    pub views: Vec<ViewStatus>,
    /// What happened to every record.
    pub ledger: Ledger,
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Log partitions.
    pub partitions: u32,
    /// Records ever appended.
    pub records: u64,
    /// Records that the schema refuses; of a table that is [to be counted](Ledger::to_be_counted), those above the cut.
    pub dead: u64,
    /// Accepted records that came late; of a table that is to be counted, those above the cut.
    pub late: u64,
    /// Bytes of the archive's files.
    pub archive_bytes: u64,
}

/// One materialized view.
#[derive(Clone, Debug, Serialize)]
pub struct ViewStatus {
    /// Its name.
    pub name: String,
    /// `current`; `unbuilt` (the log is replayed from its beginning until a batch run builds it), `building`, `stalled`,
    /// `not built` (a batch run must build it first) or `failed`.
    pub state: String,
    /// What its partials depend on.
    pub fingerprint: String,
    /// Stored rows.
    pub rows: u64,
    /// Stored partitions.
    pub partitions: u64,
    /// Bytes of stored files.
    pub bytes: u64,
    /// Memory of the live part.
    pub live_bytes: u64,
}

impl Project {
    /// The state of the project.
    pub async fn status(&self) -> Result<Status, Error> {
        let remote: Option<LiveFigures> = match self.ask_holder(&Request::Status).await? {
            Some((Reply::Live { figures }, _)) => {
                Some(serde_json::from_value(figures).map_err(|e| Error::Internal(e.to_string()))?)
            }
            Some((Reply::NotLive, _)) | None => None,
            Some((other, _)) => return Err(unexpected(&other)),
        };
        let project = self.clone();
        blocking(move || project.with_heads_mended(|| project.status_with(remote.clone()))).await
    }

    fn status_with(&self, remote: Option<LiveFigures>) -> Result<Status, Error> {
        let log: Arc<dyn EventLog> = Arc::new(self.log()?);
        let store = self.store()?;
        // The manifest must be the one that the live part begins at.
        let at_cut = |live: &LiveFigures| -> Result<Option<Option<Manifest>>, Error> {
            for number in store.manifest_numbers()?.into_iter().rev() {
                if let Some(manifest) = store.manifest(number)?
                    && manifest.cut.le(&live.cut)
                    && live.cut.le(&manifest.cut)
                {
                    return Ok(Some(Some(manifest)));
                }
            }
            Ok(live.cut.is_zero().then_some(None))
        };
        let found = match remote {
            Some(live) => at_cut(&live)?.map(|manifest| (manifest, live)),
            None => None,
        };
        let (manifest, live) = match found {
            Some(found) => found,
            None => {
                let (manifest, snapshot) = self.replay(&log)?;
                (manifest, LiveFigures::of(self.catalog(), &snapshot, None))
            }
        };
        self.put_together(&*log, manifest.as_ref(), &live)
    }

    fn put_together(
        &self,
        log: &dyn EventLog,
        manifest: Option<&Manifest>,
        live: &LiveFigures,
    ) -> Result<Status, Error> {
        let store = self.store()?;
        let now_micros = self.clock().now_micros();
        let seconds_since = |micros: i64| (now_micros.saturating_sub(micros)).max(0) as f64 / 1e6;
        let ledger = Ledger::of(self.catalog(), manifest, live);
        let cut_epoch = manifest.map(|m| m.epoch);
        let cut_time = cut_epoch.map(|epoch| store.epoch(epoch)).transpose()?.flatten().map(|e| e.created_at_micros);
        let archive_of = |name: &str| -> u64 {
            let source = manifest.and_then(|m| m.sources.get(name));
            source.map_or(0, |s| s.archive.values().flatten().map(|f| f.file.bytes).sum())
        };
        let sources: Vec<SourceStatus> = self
            .catalog()
            .sources
            .values()
            .map(|source| {
                let counted = ledger.sources.get(&source.name).map(|of| of.counts);
                let counts = counted.or_else(|| live.sources.get(&source.name).copied()).unwrap_or_default();
                SourceStatus {
                    name: source.name.clone(),
                    partitions: source.partitions,
                    records: live.position.get(&source.name).unwrap_or_default().iter().sum(),
                    dead: counts.dead,
                    late: counts.late,
                    archive_bytes: archive_of(&source.name),
                }
            })
            .collect();
        Ok(Status {
            pid: live.pid,
            head: live.position.clone(),
            manifest: manifest.map(|m| m.number),
            cut_epoch,
            cut: live.cut.clone(),
            epoch: store.epoch_numbers()?.last().copied(),
            above_cut: Position::records_between(&live.cut, &live.position),
            last_append_seconds: last_append_micros(log, &live.position)?.map(seconds_since),
            cut_age_seconds: cut_time.map(seconds_since),
            log_bytes: directory_bytes(&self.log_directory()),
            archive_bytes: sources.iter().map(|s| s.archive_bytes).sum(),
            sources,
            views: self.view_statuses(manifest, live),
            ledger,
        })
    }

    fn view_statuses(&self, manifest: Option<&Manifest>, live: &LiveFigures) -> Vec<ViewStatus> {
        use watershed_speed::ViewState as Live;
        let status = |view: &watershed_pipelines::catalog::View| {
            let stored = manifest.and_then(|m| m.views.get(&view.name));
            let is_current = stored.is_some_and(|s| s.fingerprint == view.fingerprint);
            let figures = live.views.get(&view.name);
            let state = match figures.map(|f| &f.state) {
                Some(Live::Ready) if is_current => "current".to_owned(),
                Some(Live::Ready) => "unbuilt".to_owned(),
                Some(Live::Building) => "building".to_owned(),
                Some(Live::Stalled) => "stalled".to_owned(),
                Some(Live::Failed(reason)) => format!("failed: {reason}"),
                Some(Live::NotBuilt) | None => "not built".to_owned(),
            };
            let stored = stored.filter(|_| is_current);
            ViewStatus {
                name: view.name.clone(),
                state,
                fingerprint: view.fingerprint.clone(),
                rows: stored.map_or(0, |s| s.rows()),
                partitions: stored.map_or(0, |s| s.partitions.len() as u64),
                bytes: stored.map_or(0, |s| s.bytes()),
                live_bytes: figures.map_or(0, |f| f.bytes),
            }
        };
        self.catalog().materialized().map(|(view, _)| status(view)).collect()
    }
}

/// The latest append time below `head`.
fn last_append_micros(log: &dyn EventLog, head: &Position) -> Result<Option<i64>, Error> {
    let mut latest = None;
    let start = log.start()?;
    for (source, partition, next) in head.iter() {
        if next > start.partition(source, partition) {
            let chunk = log.read(source, partition, next - 1, next, 1)?;
            latest = latest.max(chunk.iter().last().map(|record| record.append_time_micros));
        }
    }
    Ok(latest)
}

fn directory_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => directory_bytes(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
