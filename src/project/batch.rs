//! Batch runs, epochs and garbage collection.

use std::sync::Arc;

use watershed_batch::{BatchRun, Collected, Progress, Report, Retention};
use watershed_log::{FileLog, Position};

use super::{
    Project, blocking,
    live::Live,
    writer::{ATTEMPT_WAIT, Patience},
};
use crate::{
    control::{ControlError, Request},
    error::Error,
};

/// The folder of what does not fit into a run's memory.
const SCRATCH: &str = ".watershed-scratch";

/// How a batch run is done.
#[derive(Clone, Default)]
pub struct BatchOptions {
    /// Computes everything from the first record on, and compares with what the incremental runs gave.
    pub full: bool,
    /// With `full`: publishes the recomputed rows where they differ, and does not report that as an error.
    pub repair: bool,
    /// What watches the run.
    pub progress: Option<Arc<dyn Progress>>,
}

impl std::fmt::Debug for BatchOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchOptions").field("full", &self.full).field("repair", &self.repair).finish_non_exhaustive()
    }
}

impl Project {
    /// Records an epoch at the log's head, or has the process that holds the log do it, and returns its number.
    pub async fn epoch(&self) -> Result<u64, Error> {
        Ok(self.record_epoch().await?.0)
    }

    /// The same; if this process did it, with the log, which is closed now.
    async fn record_epoch(&self) -> Result<(u64, Option<Arc<FileLog>>), Error> {
        let mut patience = Patience::new();
        loop {
            match self.try_epoch().await {
                // A process that held the log for a moment has ended with the question unanswered. To ask again does no harm.
                Err(Error::Control(ControlError::Closed)) if patience.lasts(None) => {
                    tokio::time::sleep(ATTEMPT_WAIT).await;
                }
                other => return other,
            }
        }
    }

    async fn try_epoch(&self) -> Result<(u64, Option<Arc<FileLog>>), Error> {
        let writer = self.writer().await?;
        let log = writer.holder().map(|holder| Arc::clone(&holder.log));
        let epoch = writer.epoch().await;
        writer.close().await?;
        Ok((epoch?, log))
    }

    /// One batch run up to now: records an epoch, folds the log up to it into the store, publishes a manifest, tells the process
    /// that runs the speed layer, and deletes what is no longer kept.
    pub async fn run_batch(&self, options: &BatchOptions) -> Result<Report, Error> {
        let (epoch, log) = self.record_epoch().await?;
        let report = self.batch_to(epoch, log, options, None).await?;
        if let Some(manifest) = report.published {
            // It finds the manifest by itself sooner or later.
            if let Err(error) = self.ask_holder(&Request::Published { manifest }).await {
                tracing::debug!(%error, "could not tell the running process of the manifest");
            }
        }
        Ok(report)
    }

    /// One batch run up to an epoch. What `log`, if this process has one, knows of its segments need not be found out again. The run is
    /// compared with the speed layer of this process, if there is one, else with that of the process that holds the log.
    pub(super) async fn batch_to(
        &self,
        epoch: u64,
        log: Option<Arc<FileLog>>,
        options: &BatchOptions,
        live: Option<&Arc<Live>>,
    ) -> Result<Report, Error> {
        let (project, options) = (self.clone(), options.clone());
        let parity = self.parity(live, tokio::runtime::Handle::current());
        blocking(move || {
            let store = project.store()?;
            let log = log.map_or_else(|| project.log(), |log| Ok(log.reader()?))?;
            let config = &project.config().batch;
            let scratch = project.directory().join(SCRATCH);
            // What is spilled is the project's data, and what dead runs left is deleted: neither anywhere else.
            if scratch.exists() {
                super::inside(project.directory(), &scratch)?;
            }
            let mut run_options = watershed_batch::BatchOptions::new(scratch);
            run_options.cut = Some(epoch);
            run_options.full = options.full;
            run_options.repair = options.repair;
            run_options.archive = config.archive;
            run_options.parity = parity;
            run_options.memory_bytes_max = config.memory.as_usize();
            if let Some(progress) = options.progress {
                run_options.progress = progress;
            }
            let run = BatchRun {
                store: &store,
                log: &log,
                catalog: project.catalog(),
                registry: project.registry(),
                clock: &**project.clock(),
                options: &run_options,
            };
            let report = run.run()?;
            if report.published.is_some() {
                project.tidy();
            }
            Ok(report)
        })
        .await
    }

    /// Deletes what no kept manifest names, and sealed segments that the archive holds and whose retention time has passed.
    pub async fn collect_garbage(&self) -> Result<Collected, Error> {
        let project = self.clone();
        blocking(move || project.collect()).await
    }

    fn collect(&self) -> Result<Collected, Error> {
        let batch = &self.config().batch;
        let minutes = u32::try_from(batch.keep_minutes).unwrap_or(u32::MAX);
        let retention = Retention { manifests: batch.keep_manifests, minutes };
        Ok(self.store()?.collect_garbage(retention, self.clock().now_micros())?)
    }

    /// Garbage that stays is collected after the next run.
    fn tidy(&self) {
        match self.collect() {
            Ok(collected) => tracing::debug!(?collected, "collected garbage"),
            Err(error) => tracing::warn!(%error, "could not collect garbage; it is tried again after the next run"),
        }
    }

    /// Deletes sealed segments of the log that the archive holds, whose retention time has passed, and that lie below `live_cut`,
    /// from where this process's speed layer reads. Only the process that writes the log may.
    pub(super) fn retain_log(&self, log: &dyn watershed_log::EventLog, live_cut: &Position) -> Result<(), Error> {
        let Some(retention) = self.config().log.retention else { return Ok(()) };
        let Some(manifest) = self.store()?.latest_manifest()? else { return Ok(()) };
        let retention_micros = i64::try_from(retention.0.as_micros()).unwrap_or(i64::MAX);
        let before_micros = self.clock().now_micros().saturating_sub(retention_micros);
        for deleted in log.retain(&manifest.log_needless_below(live_cut), before_micros)? {
            tracing::info!(
                source = deleted.source,
                partition = deleted.partition,
                from = deleted.from,
                to = deleted.to,
                "deleted sealed segments that the archive holds"
            );
        }
        Ok(())
    }
}
