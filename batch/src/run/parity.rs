//! The gate before a manifest: what this run made of the new records is compared with what the speed layer made of them.
//!
//! Both sides hold partials of exactly the records between the old cut and the new one, so their digests must be equal, view by
//! view and partition by partition. On a difference nothing is published ([`ParityPolicy::Enforce`]): the old cut stays, and the
//! answers with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use watershed_log::Position;
use watershed_pipelines::{
    partial::{CoreKernel, Partials, RowDifference},
    source::{SourceCounts, ViewCounts},
};

use super::{
    options::BatchRun,
    plan::{Job, Plan, Purpose},
    scan::Scanned,
};
use crate::error::{BatchError, Result};

/// Differing keys that are listed per view.
const LISTED_MAX: usize = 20;

/// What happens if the two sides differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParityPolicy {
    /// Nothing is published, and the run fails.
    #[default]
    Enforce,
    /// The manifest is published, and the report says so.
    Warn,
    /// Nothing is compared.
    Off,
}

/// What is asked of the speed side: its partials of these records.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ParityQuestion {
    /// The old cut.
    pub low: Position,
    /// The new cut.
    pub high: Position,
    /// The views by name.
    pub views: BTreeMap<String, AskedView>,
    /// The tables' declarations ([`declaration`](crate::declaration)): what is dead or late depends on them.
    pub declarations: BTreeMap<String, String>,
}

/// Which partials of a view are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AskedView {
    /// The definition's fingerprint.
    pub fingerprint: String,
    /// All records below the new cut, not only those above the old one: the view is built anew.
    pub all: bool,
}

/// What the speed side says.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ParitySummary {
    /// By view: its summary, or why there is none.
    pub views: BTreeMap<String, Result<ViewSummary, String>>,
    /// What happened to the records between the cuts, by source; those only that have the same declaration there.
    pub sources: BTreeMap<String, SourceCounts>,
}

/// One view's partials of the records asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ViewSummary {
    /// By the name of the view's partition: the digest of the canonical rows (hex).
    pub partitions: BTreeMap<String, String>,
    /// What happened to the records.
    pub counts: ViewCounts,
}

/// The side that a run is compared with.
pub trait SpeedParity: Send + Sync {
    /// Digests of its partials; `None` if no speed layer runs. An error says why nothing can be compared.
    fn summary(&self, question: &ParityQuestion) -> Result<Option<ParitySummary>, String>;

    /// Its partials of one partition of a view, to find the rows that differ.
    fn partition(
        &self,
        question: &ParityQuestion,
        view: &str,
        partition: &str,
        kernel: &CoreKernel,
    ) -> Result<Partials, String>;
}

/// With whom a run is compared, and what follows from a difference.
#[derive(Clone, Default)]
pub struct Parity {
    /// What follows.
    pub policy: ParityPolicy,
    /// The speed side; without one nothing is compared.
    pub speed: Option<Arc<dyn SpeedParity>>,
}

/// How a run compared with the speed layer.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ParityReport {
    /// Why nothing could be compared, if so.
    pub not_compared: Option<String>,
    /// The views.
    pub views: BTreeMap<String, ParityView>,
    /// Sources whose counts differ: in words.
    pub sources: BTreeMap<String, String>,
    /// Seconds that the run waited for the speed layer's digests.
    pub seconds_asked: f64,
    /// Seconds that digests of this run's own partials took, all threads together.
    pub seconds_digested: f64,
}

/// How one view compared.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ParityView {
    /// Why it could not be compared, if so: it is stalled, or being built, or has another definition there.
    pub not_compared: Option<String>,
    /// Partitions of the view that were compared.
    pub partitions: u64,
    /// Those that differ.
    pub differing: BTreeSet<String>,
    /// Differing counts, in words.
    pub counts: Option<String>,
    /// How many keys differ, as far as they were looked at.
    pub keys: u64,
    /// The first of them: the left values are this run's, the right ones the speed layer's.
    pub listed: Vec<RowDifference>,
}

impl ParityView {
    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        !self.differing.is_empty() || self.counts.is_some()
    }
}

impl ParityReport {
    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        !self.sources.is_empty() || self.views.values().any(ParityView::differs)
    }

    /// What differs, a line for each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.sources.iter().map(|(name, what)| format!("{name}: {what}")).collect();
        for (name, view) in &self.views {
            lines.extend(view.counts.iter().map(|what| format!("{name}: {what}")));
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "no row".to_owned());
            lines.extend(view.listed.iter().map(|row| {
                format!(
                    "{name}: {}: the batch run has {}, the speed layer {}",
                    row.key,
                    value(&row.left),
                    value(&row.right)
                )
            }));
            if !view.differing.is_empty() {
                let named: Vec<&str> = view.differing.iter().map(String::as_str).take(LISTED_MAX).collect();
                let more = if named.len() < view.differing.len() { " …" } else { "" };
                lines.push(format!("{name}: {} keys differ, in {}{more}", view.keys, named.join(", ")));
            }
        }
        lines
    }
}

/// The comparison under way. Partitions are compared as they are merged, by whichever thread does so.
pub(super) struct Gate<'a> {
    speed: &'a dyn SpeedParity,
    question: ParityQuestion,
    summary: ParitySummary,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    views: BTreeMap<String, ParityView>,
    partitions: BTreeMap<String, BTreeSet<String>>,
    digested: Duration,
    asked: Duration,
}

/// The gate, or why there is none.
pub(super) enum Opened<'a> {
    Gate(Box<Gate<'a>>),
    NotCompared(ParityReport),
    Off,
}

impl<'a> Opened<'a> {
    /// Asks the speed side for its digests.
    pub(super) fn new(run: &BatchRun<'a>, plan: &Plan, low: &Position, high: &Position) -> Opened<'a> {
        let parity = &run.options.parity;
        let Some(speed) = parity.speed.as_deref().filter(|_| parity.policy != ParityPolicy::Off) else {
            return Opened::Off;
        };
        let asked = |job: &Job| AskedView { fingerprint: job.fingerprint.clone(), all: job.base.is_none() };
        let views = publishing(plan).map(|job| (job.view.clone(), asked(job))).collect();
        let declarations = plan.sources.iter().map(|of| (of.source.name.clone(), of.declaration.clone())).collect();
        let question = ParityQuestion { low: low.clone(), high: high.clone(), views, declarations };
        let begun = Instant::now();
        let summary = speed.summary(&question);
        let asked = begun.elapsed();
        match summary {
            Ok(None) => Opened::Off,
            Ok(Some(summary)) => {
                let seen = Mutex::new(Seen { asked, ..Seen::default() });
                Opened::Gate(Box::new(Gate { speed, question, summary, seen }))
            }
            Err(reason) => {
                tracing::warn!(reason, "the run cannot be compared with the speed layer");
                let seconds_asked = asked.as_secs_f64();
                Opened::NotCompared(ParityReport {
                    not_compared: Some(reason),
                    seconds_asked,
                    ..ParityReport::default()
                })
            }
        }
    }

    pub(super) fn gate(&self) -> Option<&Gate<'a>> {
        match self {
            Opened::Gate(gate) => Some(gate),
            Opened::NotCompared(_) | Opened::Off => None,
        }
    }

    /// What was found; an error if it forbids to publish.
    pub(super) fn close(self, run: &BatchRun<'_>, plan: &Plan, scanned: &Scanned) -> Result<Option<ParityReport>> {
        let report = match self {
            Opened::Off => return Ok(None),
            Opened::NotCompared(report) => report,
            Opened::Gate(gate) => gate.close(plan, scanned),
        };
        for (view, why) in report.views.iter().filter_map(|(name, view)| Some((name, view.not_compared.as_ref()?))) {
            tracing::info!(view, why, "the view was not compared with the speed layer");
        }
        if report.differs() {
            tracing::warn!(lines = ?report.lines(), "the run differs from the speed layer");
            if run.options.parity.policy == ParityPolicy::Enforce {
                return Err(BatchError::ParityDiffers(Box::new(report)));
            }
        }
        Ok(Some(report))
    }
}

/// The jobs whose partials go into the manifest.
fn publishing(plan: &Plan) -> impl Iterator<Item = &Job> {
    plan.jobs.iter().filter(|job| job.purpose != Purpose::Check)
}

impl Gate<'_> {
    /// Whether partitions of this job are compared.
    pub(super) fn compares(&self, job: &Job) -> bool {
        job.purpose != Purpose::Check && matches!(self.summary.views.get(&job.view), Some(Ok(_)))
    }

    /// Compares the partials that the new records gave one partition.
    pub(super) fn compare(&self, job: &Job, partition: &str, fresh: &Partials) -> Result<()> {
        let Some(Ok(theirs)) = self.summary.views.get(&job.view) else { return Ok(()) };
        let begun = Instant::now();
        let digest = blake3::Hash::from_bytes(job.kernel.digest(fresh)).to_hex();
        {
            let mut seen = self.seen();
            seen.digested += begun.elapsed();
            seen.partitions.entry(job.view.clone()).or_default().insert(partition.to_owned());
        }
        match theirs.partitions.get(partition) {
            Some(theirs) if theirs == digest.as_str() => Ok(()),
            _ => self.list(job, partition, fresh),
        }
    }

    /// Finds the keys that differ in a partition.
    fn list(&self, job: &Job, partition: &str, ours: &Partials) -> Result<()> {
        let room = {
            let mut seen = self.seen();
            let view = seen.views.entry(job.view.clone()).or_default();
            view.differing.insert(partition.to_owned());
            LISTED_MAX.saturating_sub(view.listed.len())
        };
        if room == 0 {
            return Ok(());
        }
        // Without them, the partition's name is all that can be said.
        let Ok(theirs) = self.speed.partition(&self.question, &job.view, partition, &job.kernel) else { return Ok(()) };
        let found = job.kernel.differences(ours, &theirs, room).map_err(BatchError::pipeline(&job.view))?;
        let mut seen = self.seen();
        let view = seen.views.entry(job.view.clone()).or_default();
        view.keys += found.count;
        let room = LISTED_MAX.saturating_sub(view.listed.len());
        view.listed.extend(found.listed.into_iter().take(room));
        Ok(())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(self, plan: &Plan, scanned: &Scanned) -> ParityReport {
        for job in publishing(plan) {
            let Some(Ok(theirs)) = self.summary.views.get(&job.view) else { continue };
            let ours = self.seen().partitions.get(&job.view).cloned().unwrap_or_default();
            for missing in theirs.partitions.keys().filter(|name| !ours.contains(*name)) {
                if let Err(error) = self.list(job, missing, &job.kernel.empty()) {
                    tracing::warn!(%error, view = job.view, missing, "the keys that differ cannot be listed");
                }
            }
        }
        let Gate { question, summary, seen, .. } = self;
        let Seen { mut views, partitions, digested, asked } = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut compared_sources = BTreeSet::new();
        for (index, job) in plan.jobs.iter().enumerate().filter(|(_, job)| job.purpose != Purpose::Check) {
            let view = views.entry(job.view.clone()).or_default();
            match summary.views.get(&job.view) {
                Some(Ok(theirs)) => {
                    let names = partitions.get(&job.view).into_iter().flatten().chain(theirs.partitions.keys());
                    view.partitions = names.collect::<BTreeSet<_>>().len() as u64;
                    let ours = &scanned.built[index].counts;
                    view.counts = unequal(ours, &theirs.counts);
                    compared_sources.insert(job.source);
                }
                Some(Err(why)) => view.not_compared = Some(why.clone()),
                None => view.not_compared = Some("the speed layer does not know it".to_owned()),
            }
        }
        let mut sources = BTreeMap::new();
        for index in compared_sources {
            let of = &plan.sources[index];
            // Counted from the first record on, they are not those between the cuts.
            if of.recount && !question.low.is_zero() {
                continue;
            }
            let Some(theirs) = summary.sources.get(&of.source.name) else { continue };
            sources.extend(unequal(&scanned.counts[index], theirs).map(|what| (of.source.name.clone(), what)));
        }
        ParityReport {
            not_compared: None,
            views,
            sources,
            seconds_asked: asked.as_secs_f64(),
            seconds_digested: digested.as_secs_f64(),
        }
    }
}

fn unequal<T: PartialEq + std::fmt::Debug>(batch: &T, speed: &T) -> Option<String> {
    (batch != speed).then(|| format!("the batch run has {batch:?}, the speed layer {speed:?}"))
}
