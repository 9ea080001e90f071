//! One run: choose the cut, read the new records once, merge, write what changed, publish.

mod merge;
pub(crate) mod options;
pub(crate) mod parity;
pub(crate) mod plan;
mod rearchive;
pub(crate) mod rejected;
pub(crate) mod report;
mod scan;
pub(crate) mod scratch;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use watershed_log::Position;
use watershed_pipelines::{
    core::Partitioning,
    source::{SourceCounts, ViewCounts},
};

use self::{
    merge::{Checked, Merged},
    options::BatchRun,
    parity::Opened,
    plan::{Job, Plan, Purpose},
    report::{Report, ViewBuild, ViewReport},
    scan::{Part, Scan, Scanned},
    scratch::Scratch,
};
use crate::{
    epoch::{Epoch, describe},
    error::{BatchError, Result},
    manifest::{Manifest, Previous, SourceState, ViewState},
    store::{
        Store,
        layout::{ARCHIVE, DATA, EPOCHS, attempt, segment},
    },
};

/// Runs to the end.
pub(crate) fn run(run: &BatchRun<'_>) -> Result<Report> {
    let begun = Instant::now();
    // The epoch first: if it is gone, the manifest that is read afterwards lies beyond it.
    let epoch = asked_epoch(run)?;
    let previous = run.store.latest_manifest()?;
    let epoch = cut(epoch, previous.as_ref(), run.options.cut)?;
    let number = previous.as_ref().map_or(1, |previous| previous.number + 1);
    let mut report =
        made_from(run, previous.as_ref(), number, &epoch).map_err(|error| overtaken(run.store, number, error))?;
    report.total = begun.elapsed();
    tracing::info!(number, published = report.published.is_some(), records = report.records, "batch run ends");
    Ok(report)
}

/// Makes the manifest `number` from the one before it, up to an epoch.
fn made_from(run: &BatchRun<'_>, previous: Option<&Manifest>, number: u64, epoch: &Epoch) -> Result<Report> {
    let damaged = damaged(run, previous)?;
    let mut plan = Plan::new(run, previous, &epoch.position, &damaged)?;
    let mut report = Report { epoch: epoch.number, cut: epoch.position.clone(), ..Report::default() };
    if previous.is_some() && plan.is_idle() {
        return Ok(report);
    }
    tracing::info!(number, epoch = epoch.number, items = plan.items.len(), views = plan.jobs.len(), "batch run begins");
    let attempt = Attempt { store: run.store, number, run };
    let built = attempt.build(&mut plan, previous, epoch, &mut report);
    let manifest = match built {
        Ok(manifest) => manifest,
        Err(error) => {
            attempt.clean();
            return Err(error);
        }
    };
    if let Some(manifest) = manifest {
        match run.store.publish(&manifest) {
            Ok(()) => report.published = Some(number),
            Err(error) => {
                // Of any other failure it is not known whether the manifest is there: then its files must stay. If there are later
                // ones, it may have been there and they may name its files: then garbage collection decides.
                if matches!(error, BatchError::LostRace { .. })
                    && matches!(run.store.latest_manifest_above(number), Ok(None))
                {
                    attempt.clean();
                }
                return Err(error);
            }
        }
    } else {
        attempt.clean();
    }
    Ok(report)
}

/// What is missing or unreadable of a manifest that is no longer the newest was collected, or does not matter any more: the run has
/// lost, and nothing is damaged.
fn overtaken(store: &Store, number: u64, error: BatchError) -> BatchError {
    let of_base = matches!(error, BatchError::Gone { .. } | BatchError::Damaged { .. });
    match of_base && matches!(store.latest_manifest_above(number - 1), Ok(Some(_))) {
        true => store.lost(number).unwrap_or(error),
        false => error,
    }
}

/// The epoch that was asked for, if it is kept.
fn asked_epoch(run: &BatchRun<'_>) -> Result<Option<Epoch>> {
    match run.options.cut {
        Some(number) => {
            let epoch = run.store.epoch(number)?;
            if epoch.is_some() {
                run.store.settle(EPOCHS, number)?;
            }
            Ok(epoch)
        }
        None => run.store.latest_epoch()?.ok_or(BatchError::NoEpoch).map(Some),
    }
}

/// The epoch to cut at. `epoch` is the one asked for, unless it is not kept; `number` its number, unless it is the newest.
fn cut(epoch: Option<Epoch>, previous: Option<&Manifest>, number: Option<u64>) -> Result<Epoch> {
    match (epoch, previous, number) {
        // Another run has been here since the epoch was chosen: what was asked for is done. The cut stays where it is, and what
        // the definitions need besides is built up to there. (Epochs below a cut are forgotten some time.)
        (Some(Epoch { position, .. }), Some(previous), _) if position.le(&previous.cut) => Ok(cut_of(previous)),
        (None, Some(previous), Some(number)) if number <= previous.epoch => Ok(cut_of(previous)),
        (None, _, number) => Err(BatchError::UnknownEpoch { number: number.unwrap_or_default() }),
        (Some(epoch), Some(previous), _) if !previous.cut.le(&epoch.position) => {
            Err(BatchError::MovedBack { what: "the cut", from: describe(&previous.cut), to: describe(&epoch.position) })
        }
        (Some(epoch), ..) => Ok(epoch),
    }
}

/// The epoch that a manifest's cut is.
fn cut_of(manifest: &Manifest) -> Epoch {
    Epoch {
        number: manifest.epoch,
        position: manifest.cut.clone(),
        created_at_micros: manifest.created_at_micros,
        writer: manifest.writer.clone(),
    }
}

/// The files that must not be read. A full run looks at all files of the views: that the rows which it recomputes have the digests
/// which the manifest gives says nothing of the bytes in the store.
fn damaged(run: &BatchRun<'_>, previous: Option<&Manifest>) -> Result<BTreeSet<String>> {
    let mut damaged = run.options.damaged.clone();
    let (true, Some(previous)) = (run.options.full, previous) else { return Ok(damaged) };
    let found = run.store.damaged_view_files(previous)?;
    match found.iter().find(|(path, _)| !damaged.contains(*path)) {
        Some((path, reason)) if !run.options.repair => return Err(BatchError::damaged(path, reason.as_str())),
        _ => damaged.extend(found.into_keys()),
    }
    Ok(damaged)
}

/// One attempt at one manifest: everything it writes lies below its own folders.
struct Attempt<'a> {
    store: &'a Store,
    number: u64,
    run: &'a BatchRun<'a>,
}

impl Attempt<'_> {
    fn folder(&self, of: &str) -> String {
        attempt(of, self.number, &self.run.options.writer)
    }

    /// Deletes what the attempt wrote. What cannot be deleted now, garbage collection deletes once the number is published.
    fn clean(&self) {
        for folder in [self.folder(DATA), self.folder(ARCHIVE)] {
            let deleted = self
                .store
                .list(&folder)
                .and_then(|files| self.store.delete(files.into_iter().map(|(path, _)| path).collect()));
            if let Err(error) = deleted {
                tracing::warn!(folder, %error, "what an unpublished run wrote is left to garbage collection");
            }
        }
    }

    /// Does everything but publishing; `None` if there is nothing to publish after all.
    fn build(
        &self,
        plan: &mut Plan,
        previous: Option<&Manifest>,
        epoch: &Epoch,
        report: &mut Report,
    ) -> Result<Option<Manifest>> {
        let run = self.run;
        report.archived_again = rearchive::run(run, &self.folder(ARCHIVE), plan)?;
        let plan = &*plan;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(run.options.threads.unwrap_or(0))
            .thread_name(|i| format!("watershed-batch-{i}"))
            .start_handler(|_| yield_to_others())
            .build()
            .map_err(|error| BatchError::Threads(error.to_string()))?;
        let scratch = Scratch::new(&run.options.files, &run.options.scratch, &run.options.writer);

        let scanning = Instant::now();
        let mut scanned =
            Scan::new(run, plan, &scratch, &self.folder(ARCHIVE), pool.current_num_threads()).run(&pool)?;
        report.scan = scanning.elapsed();
        report.records = scanned.records;
        report.bytes = scanned.bytes;
        report.spilled_runs = scanned.spilled_runs;

        let low = previous.map(|previous| previous.cut.clone()).unwrap_or_default();
        let opened = Opened::new(run, plan, &low, &epoch.position);
        let merging = Instant::now();
        let data = self.folder(DATA);
        let mut parts: Vec<BTreeMap<String, Vec<Part>>> =
            scanned.built.iter_mut().map(|built| std::mem::take(&mut built.parts)).collect();
        let mut merged = merge::publishing(run, &pool, &data, &plan.jobs, &mut parts, opened.gate())?;
        report.parity = opened.close(run, plan, &scanned)?;
        let published = plan
            .jobs
            .iter()
            .zip(&merged)
            .filter(|(job, _)| job.purpose != Purpose::Check)
            .map(|(job, merged)| (job.view.as_str(), merged.partitions.clone()))
            .collect();
        let checked = merge::checking(run, &pool, &data, &plan.jobs, &mut parts, &published)?;
        let mut counts = counts(&plan.jobs, &scanned);
        report.repaired = repair(run, plan, checked, &mut merged, &mut counts)?;
        report.merge = merging.elapsed();

        let views = self.views(plan, &mut scanned, merged, counts, report)?;
        let sources = sources(plan, previous, scanned, report);
        report.dropped = plan.dropped.clone();
        let cut_moves = previous.is_none_or(|previous| !epoch.position.le(&previous.cut));
        let changed =
            cut_moves || previous.is_none_or(|previous| previous.views != views || previous.sources != sources);
        Ok(changed.then(|| Manifest {
            number: self.number,
            previous: previous.map(|m| Previous { number: m.number, writer: m.writer.clone() }),
            writer: run.options.writer.clone(),
            created_at_micros: run.clock.now_micros(),
            epoch: epoch.number,
            cut: forward(previous, &epoch.position),
            views,
            sources,
        }))
    }

    /// The views' states, with their files of rejected records.
    fn views(
        &self,
        plan: &Plan,
        scanned: &mut Scanned,
        merged: Vec<Merged>,
        counts: Vec<ViewCounts>,
        report: &mut Report,
    ) -> Result<BTreeMap<String, ViewState>> {
        let mut views = BTreeMap::new();
        for (i, (job, merged)) in plan.jobs.iter().zip(merged).enumerate() {
            let Purpose::Publish(build) = job.purpose else { continue };
            let rejected = std::mem::take(&mut scanned.built[i].rejected);
            let before = job.base.as_ref().map_or(&[][..], |base| &base.rejected);
            let view = segment(&job.view);
            let rejected = rejected::append(self.store, &self.folder(DATA), &view, &job.fingerprint, before, rejected)?;
            let state = ViewState {
                fingerprint: job.fingerprint.clone(),
                source: plan.sources[job.source].source.name.clone(),
                partitions: merged.partitions,
                counts: counts[i],
                rejected,
            };
            let of_view = view_report(job, build, merged.written, &state);
            let is_new = |path: &str| path.starts_with(&self.folder(DATA));
            report.bytes_written += state.files().filter(|file| is_new(&file.path)).map(|file| file.bytes).sum::<u64>();
            report.views.insert(job.view.clone(), of_view);
            views.insert(job.view.clone(), state);
        }
        Ok(views)
    }
}

/// The cut of the new manifest. It never moves back, also for sources that the definitions no longer have.
fn forward(previous: Option<&Manifest>, cut: &Position) -> Position {
    previous.map_or_else(|| cut.clone(), |previous| previous.cut.max(cut))
}

/// By job: the base's counts and those of the records that were read.
fn counts(jobs: &[Job], scanned: &Scanned) -> Vec<ViewCounts> {
    let counts = |(job, built): (&Job, &scan::Built)| {
        let mut counts = job.base.as_ref().map(|base| base.counts).unwrap_or_default();
        counts.merge(&built.counts);
        counts
    };
    jobs.iter().zip(&scanned.built).map(counts).collect()
}

/// Puts recomputed partitions and counts in the place of those that differ, if that was asked for; says which they were.
fn repair(
    run: &BatchRun<'_>,
    plan: &Plan,
    mut checked: BTreeMap<String, Checked>,
    merged: &mut [Merged],
    counts: &mut [ViewCounts],
) -> Result<Vec<String>> {
    let mut differing = Vec::new();
    let checks = plan.jobs.iter().enumerate().filter(|(_, job)| job.purpose == Purpose::Check);
    for (check, job) in checks {
        let publishing = |(_, other): &(usize, &Job)| other.view == job.view && other.purpose != Purpose::Check;
        let Some((published, _)) = plan.jobs.iter().enumerate().find(publishing) else { continue };
        if counts[check] != counts[published] {
            differing.push(format!("{} (counts)", job.view));
            counts[published] = counts[check];
        }
        for (name, state) in checked.remove(&job.view).unwrap_or_default().differing {
            differing.push(format!("{}/{name}", job.view));
            match state {
                Some(state) => merged[published].partitions.insert(name.clone(), state),
                None => merged[published].partitions.remove(&name),
            };
            merged[published].written.push(name);
        }
    }
    if differing.is_empty() || run.options.repair {
        return Ok(differing);
    }
    Err(BatchError::FullDiffers { partitions: differing })
}

/// The sources' states. One that the definitions no longer have keeps its archive, but not its books: the cut moves on without
/// its records being counted, so they are counted anew if it comes back.
fn sources(
    plan: &Plan,
    previous: Option<&Manifest>,
    scanned: Scanned,
    report: &mut Report,
) -> BTreeMap<String, SourceState> {
    let mut sources = previous.map(|previous| previous.sources.clone()).unwrap_or_default();
    for (name, state) in &mut sources {
        if !plan.sources.iter().any(|of| &of.source.name == name) {
            state.declaration.clear();
            state.counts = SourceCounts::default();
        }
    }
    let mut archived = scanned.archived;
    for (i, (of, counted)) in plan.sources.iter().zip(scanned.counts).enumerate() {
        let name = &of.source.name;
        report.sources.insert(name.clone(), counted);
        let mut state = of.previous.clone();
        state.declaration = of.declaration.clone();
        state.partitions = of.source.partitions;
        if of.recount {
            state.counts = counted;
        } else {
            state.counts.merge(&counted);
        }
        for partition in 0..of.source.partitions {
            if let Some(archived) = archived.remove(&(i, partition)) {
                report.archive_files += archived.written.len() as u64;
                report.bytes_written += archived.written.iter().map(|file| file.bytes).sum::<u64>();
                state.archive.insert(partition, archived.files);
            }
        }
        sources.insert(name.clone(), state);
    }
    sources
}

fn view_report(job: &Job, build: ViewBuild, written: Vec<String>, state: &ViewState) -> ViewReport {
    let mut late = Vec::new();
    if let (Partitioning::Time(_), Some(base)) = (job.kernel.core().partitioning, &job.base)
        && let Some((newest, _)) = base.partitions.last_key_value()
    {
        late = written.iter().filter(|name| *name < newest).cloned().collect();
    }
    ViewReport {
        build,
        kept: (state.partitions.len() - written.iter().filter(|name| state.partitions.contains_key(*name)).count())
            as u64,
        written,
        late,
        rows: state.rows(),
        bytes: state.bytes(),
    }
}

/// How much a run's threads yield: beside a busy thread of usual priority, one gets a tenth of the core.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lowers the priority of this thread, so that appends, the speed layer and questions go first where they share cores with a run.
fn yield_to_others() {
    // Linux has priorities of threads, elsewhere they are the process's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "a batch run goes on with the usual priority");
    }
}
