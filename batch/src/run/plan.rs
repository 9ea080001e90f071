//! What a run has to do: which views are built from where, and which records are read for which of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use watershed_log::{EventLog, Position};
use watershed_pipelines::{catalog::Catalog, partial::CoreKernel, source::Source, sql::SEMANTICS_VERSION};

use super::{options::BatchRun, report::ViewBuild};
use crate::{
    error::{BatchError, Result},
    manifest::{ArchiveFile, Manifest, PartitionState, SourceState, StoredFile, ViewState},
};

/// Records of one piece of work.
pub(super) const ITEM_RECORDS: u64 = 16 << 10;

/// One view to build.
pub(super) struct Job {
    pub view: String,
    pub fingerprint: String,
    pub kernel: CoreKernel,
    /// Index into [`Plan::sources`].
    pub source: usize,
    pub purpose: Purpose,
    /// What the new records are merged with.
    pub base: Option<ViewState>,
    /// Of a view that is built anew because some of its files are damaged: the partitions whose files are not. Those that turn out
    /// the same stay.
    pub sound: BTreeMap<String, PartitionState>,
}

/// Why a view is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Its state in the new manifest.
    Publish(ViewBuild),
    /// To compare a computation from the first record on with what is published.
    Check,
}

impl Job {
    /// Whether it needs the records below the previous cut.
    fn starts_at_zero(&self) -> bool {
        self.base.is_none()
    }
}

/// One source to read.
pub(super) struct SourcePlan {
    pub source: Arc<Source>,
    /// Hash of the declaration.
    pub declaration: String,
    /// Its state in the previous manifest.
    pub previous: SourceState,
    /// Whether its records are counted from the first one on: the declaration is new or has changed, or all is computed anew.
    pub recount: bool,
}

/// Where the records of an item come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Log,
    Archive(ArchiveFile),
}

/// A stretch of records of one partition.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Index into [`Plan::sources`].
    pub source: usize,
    pub partition: u32,
    pub from: u64,
    pub to: u64,
    pub origin: Origin,
    /// Indexes into [`Plan::jobs`].
    pub jobs: Arc<[usize]>,
    /// Whether the records are counted for the source.
    pub counted: bool,
    /// Whether the records are new to the archive; if so, the how-manieth item of its partition to be.
    pub archived: Option<usize>,
}

/// Everything a run has to do.
pub(super) struct Plan {
    pub sources: Vec<SourcePlan>,
    pub jobs: Vec<Job>,
    pub items: Vec<Item>,
    /// Views of the previous manifest that the definitions no longer have.
    pub dropped: Vec<String>,
    /// Damaged files of the archive: index into [`Plan::sources`], partition, file.
    pub damaged_archive: Vec<(usize, u32, ArchiveFile)>,
}

impl Plan {
    /// `damaged` are files that must not be read.
    pub(super) fn new(
        run: &BatchRun<'_>,
        previous: Option<&Manifest>,
        cut: &Position,
        damaged: &BTreeSet<String>,
    ) -> Result<Plan> {
        let sources = sources(run.catalog, previous, run.options.full);
        let jobs = jobs(run, previous, &sources, damaged)?;
        let below = previous.map(|manifest| manifest.cut.clone()).unwrap_or_default();
        let mut items = items(run.log, run.options.archive, &sources, &jobs, (&below, cut), damaged)?;
        // In turns, so that threads work on different partitions, whose archives are written each by one at a time.
        items.sort_by_key(|item| (item.from, item.source, item.partition));
        number_archived(&mut items);
        let dropped = previous
            .map(|manifest| manifest.views.keys().filter(|name| !jobs.iter().any(|job| &job.view == *name)).cloned())
            .map(Iterator::collect)
            .unwrap_or_default();
        let damaged_archive = damaged_archive(&sources, damaged);
        Ok(Plan { sources, jobs, items, dropped, damaged_archive })
    }

    /// Whether the previous manifest says everything already.
    pub(super) fn is_idle(&self) -> bool {
        let unchanged = |job: &Job| job.purpose == Purpose::Publish(ViewBuild::Incremental);
        let is_whole = self.damaged_archive.is_empty();
        is_whole && self.items.is_empty() && self.dropped.is_empty() && self.jobs.iter().all(unchanged)
    }
}

fn damaged_archive(sources: &[SourcePlan], damaged: &BTreeSet<String>) -> Vec<(usize, u32, ArchiveFile)> {
    let mut found = Vec::new();
    for (index, plan) in sources.iter().enumerate() {
        for (&partition, files) in &plan.previous.archive {
            let of_partition = files.iter().filter(|file| damaged.contains(&file.file.path));
            found.extend(of_partition.map(|file| (index, partition, file.clone())));
        }
    }
    found
}

fn sources(catalog: &Catalog, previous: Option<&Manifest>, full: bool) -> Vec<SourcePlan> {
    let plan = |(name, source): (&String, &Arc<Source>)| {
        let declaration = declaration(source);
        let state = previous.and_then(|manifest| manifest.sources.get(name)).cloned().unwrap_or_default();
        let recount = full || state.declaration != declaration;
        SourcePlan { source: Arc::clone(source), declaration, previous: state, recount }
    };
    catalog.sources.iter().map(plan).collect()
}

/// Hash of what the counts of a source depend on (hex).
pub fn declaration(source: &Source) -> String {
    // A source is a tree of names and numbers: it always has a JSON form. What it accepts is a matter of semantics too.
    let json = serde_json::to_vec(&(SEMANTICS_VERSION, source)).unwrap_or_default();
    blake3::hash(&json).to_hex().to_string()
}

fn jobs(
    run: &BatchRun<'_>,
    previous: Option<&Manifest>,
    sources: &[SourcePlan],
    damaged: &BTreeSet<String>,
) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    let mut checks = Vec::new();
    for (name, view) in &run.catalog.views {
        let Some(core) = &view.core else { continue };
        let source = sources.iter().position(|plan| plan.source.name == core.source.name).ok_or_else(|| {
            BatchError::table(name)(format!("reads {:?}, which is not among the sources", core.source.name))
        })?;
        let kernel = CoreKernel::compile(core, run.registry).map_err(BatchError::pipeline(name))?;
        let stored = previous.and_then(|manifest| manifest.views.get(name));
        let is_damaged = |file: &StoredFile| damaged.contains(&file.path);
        let mut sound = BTreeMap::new();
        let (build, base) = match stored {
            Some(state) if state.fingerprint == view.fingerprint && state.files().any(is_damaged) => {
                sound = state.partitions.clone();
                sound.retain(|_, partition| !partition.files.iter().any(is_damaged));
                (ViewBuild::Repaired, None)
            }
            Some(state) if state.fingerprint == view.fingerprint => (ViewBuild::Incremental, Some(state.clone())),
            Some(_) => (ViewBuild::Changed, None),
            None => (ViewBuild::New, None),
        };
        let job = |purpose, base, sound| Job {
            view: name.clone(),
            fingerprint: view.fingerprint.clone(),
            kernel: kernel.clone(),
            source,
            purpose,
            base,
            sound,
        };
        if run.options.full && base.is_some() {
            checks.push(job(Purpose::Check, None, BTreeMap::new()));
        }
        jobs.push(job(Purpose::Publish(build), base, sound));
    }
    // Checks come last: they compare with what the others publish.
    jobs.append(&mut checks);
    Ok(jobs)
}

fn items(
    log: &dyn EventLog,
    archive: bool,
    sources: &[SourcePlan],
    jobs: &[Job],
    (below, cut): (&Position, &Position),
    damaged: &BTreeSet<String>,
) -> Result<Vec<Item>> {
    let log_start = log.start()?;
    let mut items = Vec::new();
    for (index, plan) in sources.iter().enumerate() {
        let name = &plan.source.name;
        let all: Arc<[usize]> = (0..jobs.len()).filter(|&i| jobs[i].source == index).collect();
        let from_start: Arc<[usize]> = all.iter().copied().filter(|&i| jobs[i].starts_at_zero()).collect();
        for partition in 0..plan.source.partitions {
            let end = cut.partition(name, partition);
            let counted_from = if plan.recount { 0 } else { below.partition(name, partition) };
            let archived_to = if archive { plan.previous.archive_end(partition) } else { u64::MAX };
            let log_start = log_start.partition(name, partition);
            let mut at = 0;
            // The stretches between these points have one purpose and one origin each.
            let mut points = vec![below.partition(name, partition), archived_to, log_start, end];
            points.sort_unstable();
            for to in points {
                let to = to.min(end);
                if to <= at {
                    continue;
                }
                let stretch = Item {
                    source: index,
                    partition,
                    from: at,
                    to,
                    origin: Origin::Log,
                    jobs: if at >= below.partition(name, partition) { all.clone() } else { from_start.clone() },
                    counted: at >= counted_from,
                    archived: (at >= archived_to).then_some(0),
                };
                at = to;
                if stretch.jobs.is_empty() && !stretch.counted && stretch.archived.is_none() {
                    continue;
                }
                if stretch.from >= log_start {
                    split_log(log, name, &stretch, &mut items)?;
                } else {
                    split_archive(&stretch, plan, log_start, damaged, &mut items)?;
                }
            }
        }
    }
    Ok(items)
}

fn split_log(log: &dyn EventLog, source: &str, stretch: &Item, items: &mut Vec<Item>) -> Result<()> {
    let mut from = stretch.from;
    while from < stretch.to {
        let to = log.end_of_piece(source, stretch.partition, from, stretch.to, ITEM_RECORDS)?;
        items.push(Item { from, to, ..stretch.clone() });
        from = to;
    }
    Ok(())
}

fn split_archive(
    stretch: &Item,
    plan: &SourcePlan,
    log_start: u64,
    damaged: &BTreeSet<String>,
    items: &mut Vec<Item>,
) -> Result<()> {
    let mut at = stretch.from;
    for file in plan.previous.archive.get(&stretch.partition).into_iter().flatten() {
        if file.end <= at || file.start > at || damaged.contains(&file.file.path) {
            continue;
        }
        let to = file.end.min(stretch.to);
        items.push(Item { from: at, to, origin: Origin::Archive(file.clone()), ..stretch.clone() });
        at = to;
        if at == stretch.to {
            return Ok(());
        }
    }
    Err(BatchError::Hole { source_name: plan.source.name.clone(), partition: stretch.partition, from: at, log_start })
}

fn number_archived(items: &mut [Item]) {
    let mut next: BTreeMap<(usize, u32), usize> = BTreeMap::new();
    for item in items {
        if let Some(number) = &mut item.archived {
            let next = next.entry((item.source, item.partition)).or_default();
            *number = *next;
            *next += 1;
        }
    }
}
