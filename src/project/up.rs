//! The long-running process: speed layer, epochs, scheduled batch runs.

use std::{pin::pin, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use watershed_batch::{Report, Schedule};
use watershed_log::{EventLog, Position};
use watershed_serving::{SpeedSide, built_by};
use watershed_speed::SpeedLayer;

use super::{
    Project,
    batch::BatchOptions,
    blocking,
    due::Due,
    holder::LogHolder,
    live::{Live, Questions},
    writer::Writer,
};
use crate::error::{Error, Kind};

/// What [`Project::up`] has done.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct UpSummary {
    /// Records appended to the log in the meantime.
    pub records: u64,
    /// Epochs recorded on the schedule.
    pub epochs: u64,
    /// Batch runs that published a manifest.
    pub batches: u64,
    /// Batch runs that failed.
    pub failed_batches: u64,
}

impl Project {
    /// Runs the speed layer, epochs and scheduled batch runs, and answers other processes, until `stop` completes; then finishes
    /// what is under way. `ready` is called once everything runs.
    pub async fn up(&self, stop: impl Future<Output = ()>, ready: impl FnOnce()) -> Result<UpSummary, Error> {
        let schedule = self.schedule()?;
        let writer = self.lasting_writer().await?;
        let Some(holder) = writer.holder().map(Arc::clone) else {
            return Err(Error::Internal("a local writer holds the log".to_owned()));
        };
        let ran = run(self, &holder, schedule, stop, ready).await;
        let closed = Writer::close(writer).await;
        let summary = ran?;
        closed?;
        Ok(summary)
    }

    fn schedule(&self) -> Result<Option<Schedule>, Error> {
        let batch = &self.config().batch;
        if batch.schedule.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(Schedule::parse(&batch.schedule, &batch.time_zone)?))
    }

    /// A speed layer above the newest manifest's cut, and serving over it.
    pub(super) async fn start_live(&self, log: Arc<dyn EventLog>) -> Result<Live, Error> {
        let project = self.clone();
        blocking(move || {
            let manifest = project.store()?.latest_manifest()?;
            let built = manifest.as_ref().map(built_by).unwrap_or_default();
            let (catalog, options) = (Arc::clone(project.catalog()), project.speed_options());
            let speed = Arc::new(SpeedLayer::new(catalog, project.registry(), Arc::clone(&log), options, &built)?);
            let serving = Arc::new(project.serving(&log, Arc::clone(&speed) as Arc<dyn SpeedSide>)?);
            let questions = Questions::new(project.config().query.concurrent);
            Ok(Live { project, log, speed, serving, look_for_manifest: Notify::new(), questions })
        })
        .await
    }
}

async fn run(
    project: &Project,
    holder: &Arc<LogHolder>,
    schedule: Option<Schedule>,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(),
) -> Result<UpSummary, Error> {
    let log: Arc<dyn EventLog> = Arc::clone(&holder.log) as Arc<dyn EventLog>;
    let begun_at = log.head()?;
    let live = Arc::new(project.start_live(Arc::clone(&log)).await?);
    let (stop_speed, speed_stopped) = oneshot::channel::<()>();
    let speed = Arc::clone(&live.speed);
    let mut speed = tokio::spawn(speed.run(async {
        let _ = speed_stopped.await;
    }));
    let _ = holder.live.set(Arc::clone(&live));
    let mut service = Service::new(project, holder, &live, schedule, begun_at.clone()).await?;
    ready();

    let mut stop = pin!(stop);
    let mut wants_batch = live.speed.wants_batch();
    let mut epochs = tokio::time::interval(project.config().epochs.every.0);
    epochs.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut next_look = tokio::time::Instant::now();
    let ended = loop {
        tokio::select! {
            () = &mut stop => break Ok(()),
            ended = &mut speed => break match ended {
                Ok(Ok(())) => Err(Error::Unavailable("the log was closed".to_owned())),
                Ok(Err(error)) => Err(error.into()),
                Err(error) => Err(Error::Internal(format!("the speed layer ended: {error}"))),
            },
            _ = epochs.tick() => service.epoch().await,
            () = tokio::time::sleep_until(next_look) => {
                service.look().await;
                next_look = tokio::time::Instant::now() + service.due.wait(service.now());
            }
            () = live.look_for_manifest.notified() => service.look().await,
            changed = wants_batch.changed() => {
                if changed.is_ok() && *wants_batch.borrow_and_update() {
                    tracing::info!("the speed layer asks for an early batch run");
                    service.start_batch();
                }
            }
            ended = service.batch_ended() => service.after_batch(ended).await,
        }
    };
    tracing::info!("shutting down");
    service.finish().await;
    let _ = stop_speed.send(());
    if !speed.is_finished() {
        let _ = (&mut speed).await;
    }
    service.summary.records = Position::records_between(&begun_at, &log.head()?);
    ended.map(|()| service.summary)
}

/// What happens on schedules.
struct Service<'a> {
    project: &'a Project,
    holder: &'a Arc<LogHolder>,
    live: &'a Arc<Live>,
    due: Due,
    last_epoch: Position,
    manifest: u64,
    batch: Option<JoinHandle<Result<Report, Error>>>,
    summary: UpSummary,
}

impl<'a> Service<'a> {
    async fn new(
        project: &'a Project,
        holder: &'a Arc<LogHolder>,
        live: &'a Arc<Live>,
        schedule: Option<Schedule>,
        head: Position,
    ) -> Result<Service<'a>, Error> {
        let newest = live.serving.manifest();
        let store = project.store()?;
        let last_epoch =
            blocking(move || Ok(store.latest_epoch()?)).await?.map(|epoch| epoch.position).unwrap_or_default();
        // A run that was missed while nothing ran is caught up once; before the first one, nothing was missed.
        let now = project.clock().now_micros();
        let last_run = newest.as_ref().map_or(now, |manifest| manifest.created_at_micros);
        tracing::info!(
            records = Position::records_between(&Position::new(), &head),
            manifest = newest.as_ref().map(|m| m.number),
            schedule = schedule.as_ref().map(tracing::field::display),
            "up"
        );
        Ok(Service {
            project,
            holder,
            live,
            due: Due::new(schedule, DateTime::from_timestamp_micros(last_run).unwrap_or_default()),
            last_epoch,
            manifest: newest.map_or(0, |manifest| manifest.number),
            batch: None,
            summary: UpSummary::default(),
        })
    }

    /// Records an epoch, if there are new records.
    async fn epoch(&mut self) {
        let recorded = async {
            if self.holder.log.head()?.le(&self.last_epoch) {
                return Ok(None);
            }
            Arc::clone(self.holder).epoch().await.map(Some)
        };
        match recorded.await {
            Ok(None) => {}
            Ok(Some(epoch)) => {
                tracing::info!(epoch = epoch.number, "recorded an epoch");
                self.last_epoch = epoch.position;
                self.summary.epochs += 1;
            }
            Err(error) => tracing::warn!(%error, "could not record an epoch; trying again later"),
        }
    }

    /// Follows manifests that were published, by whomever, and starts what is due.
    async fn look(&mut self) {
        match self.follow_manifest().await {
            // Also where another process ran the batch: only the one that holds the log may delete segments.
            Ok(true) => self.retain().await,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "could not look for a new manifest; trying again later"),
        }
        // What is due while a run is under way stays due, and begins when that one has ended.
        if self.batch.is_some() {
            return;
        }
        let (now, at) = (self.now(), Instant::now());
        let wants_early = *self.live.speed.wants_batch().borrow() && self.due.may_begin_early(at);
        if self.due.is_due(now, at) {
            tracing::info!("a batch run is due");
            self.start_batch();
        } else if wants_early {
            self.start_batch();
        }
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.project.clock().now_micros()).unwrap_or_default()
    }

    /// Returns whether there was a new one.
    async fn follow_manifest(&mut self) -> Result<bool, Error> {
        let (store, live, above) = (self.project.store()?, Arc::clone(self.live), self.manifest);
        let newest = blocking(move || {
            let Some(manifest) = store.latest_manifest_above(above)? else { return Ok(None) };
            // First the speed layer: it keeps an edge at the new cut and drops what lies below; then queries pin the manifest.
            live.speed.advance_cut(&built_by(&manifest))?;
            live.serving.adopt(Arc::new(manifest.clone()));
            Ok(Some(manifest))
        })
        .await?;
        if let Some(manifest) = &newest {
            tracing::info!(manifest = manifest.number, epoch = manifest.epoch, "the cut moved");
            self.manifest = manifest.number;
        }
        Ok(newest.is_some())
    }

    /// Deletes what of the log the archive holds and retention no longer keeps.
    async fn retain(&self) {
        let (project, holder) = (self.project.clone(), Arc::clone(self.holder));
        // The newest manifest may not have been followed just now: the store may have failed.
        let live_cut = self.live.speed.snapshot().cut().clone();
        if let Err(error) = blocking(move || project.retain_log(&*holder.log, &live_cut)).await {
            tracing::warn!(%error, "could not delete old segments; trying again after the next run");
        }
    }

    /// Starts a batch run, unless one is under way.
    fn start_batch(&mut self) {
        if self.batch.is_some() {
            return;
        }
        self.due.begun(self.now());
        let (project, holder, live) = (self.project.clone(), Arc::clone(self.holder), Arc::clone(self.live));
        self.batch = Some(tokio::spawn(async move {
            let epoch = Arc::clone(&holder).epoch().await?;
            project.batch_to(epoch.number, Some(Arc::clone(&holder.log)), &BatchOptions::default(), Some(&live)).await
        }));
    }

    /// Completes when the batch run under way ends; never, if there is none.
    async fn batch_ended(&mut self) -> Result<Report, Error> {
        match &mut self.batch {
            Some(batch) => {
                batch.await.unwrap_or_else(|error| Err(Error::Internal(format!("a batch run ended: {error}"))))
            }
            None => std::future::pending().await,
        }
    }

    async fn after_batch(&mut self, ended: Result<Report, Error>) {
        self.batch = None;
        match ended {
            Ok(report) => {
                tracing::info!(manifest = report.published, records = report.records, "a batch run is done");
                self.summary.batches += u64::from(report.published.is_some());
            }
            Err(error) => {
                tracing::error!(%error, "a batch run failed");
                self.summary.failed_batches += 1;
                self.due.failed(Instant::now(), error.kind() == Kind::Retryable);
            }
        }
        self.look().await;
    }

    /// Waits for the batch run under way.
    async fn finish(&mut self) {
        if self.batch.is_some() {
            tracing::info!("waiting for the batch run under way");
            let ended = self.batch_ended().await;
            self.batch = None;
            match ended {
                Ok(report) => self.summary.batches += u64::from(report.published.is_some()),
                Err(error) => {
                    tracing::error!(%error, "the batch run failed");
                    self.summary.failed_batches += 1;
                }
            }
        }
    }
}
