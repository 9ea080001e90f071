//! The promise, checked: batch only = speed only = merged at every cut, and what is stored is what was published.

mod cuts;
mod fold;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use watershed_batch::{Manifest, ViewReader};
use watershed_log::Position;
use watershed_pipelines::{
    catalog::View,
    key::KeyFilter,
    partial::{CoreKernel, Partials},
};
use watershed_speed::{Built, SpeedLayer, SpeedSnapshot};

use super::{Project, blocking, history::History};
use crate::error::Error;

/// Differing keys that are listed per view.
const LISTED_MAX: usize = 20;

/// What is checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyOptions {
    /// Only these views; all materialized ones if empty. A derived view stands for those it is made of.
    pub views: Vec<String>,
    /// Recorded epochs that are tried as cuts, the newest ones.
    pub epochs: usize,
    /// Pseudo-random positions that are tried as cuts.
    pub random_cuts: usize,
    /// Seed of those positions, and of the sizes of micro-batches.
    pub seed: u64,
}

impl Default for VerifyOptions {
    fn default() -> VerifyOptions {
        VerifyOptions { views: Vec::new(), epochs: 8, random_cuts: 5, seed: 1 }
    }
}

/// What a check of one view found.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verified {
    /// The view.
    pub view: String,
    /// Records that its source accepted.
    pub records: u64,
    /// Its rows (groups, or panes of hopping windows).
    pub rows: u64,
    /// Cuts tried.
    pub cuts: usize,
    /// Stored partitions compared with the manifest's digests.
    pub stored_partitions: usize,
    /// Digest of the canonical rows (hex).
    pub digest: String,
    /// Where ways differ; empty if all is well.
    pub differences: Vec<Difference>,
}

/// A difference between batch only and another way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// The other way.
    pub way: String,
    /// The key whose row differs, or what else does.
    pub key: String,
}

impl Verified {
    /// Whether all ways gave the same.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }
}

/// One view under test.
struct Subject {
    view: Arc<View>,
    kernel: CoreKernel,
    verified: Verified,
    batch_only: Partials,
}

impl Project {
    /// Recomputes views in batch only, in speed only and merged at several cuts, and compares the canonical bytes. Where
    /// retention has deleted the log's first records, speed only cannot be recomputed and is left out.
    pub async fn verify(&self, options: &VerifyOptions) -> Result<Vec<Verified>, Error> {
        let wanted = self.wanted_views(&options.views)?;
        let (project, options) = (self.clone(), options.clone());
        blocking(move || project.verify_views(&wanted, &options)).await
    }

    fn wanted_views(&self, names: &[String]) -> Result<BTreeSet<String>, Error> {
        if names.is_empty() {
            return Ok(self.catalog().materialized().map(|(view, _)| view.name.clone()).collect());
        }
        let mut wanted = BTreeSet::new();
        for name in names {
            if self.catalog().view(name).is_none() {
                return Err(Error::usage(format!("there is no view {name:?}")));
            }
            wanted.extend(self.catalog().dependencies(name));
        }
        Ok(wanted)
    }

    fn verify_views(&self, wanted: &BTreeSet<String>, options: &VerifyOptions) -> Result<Vec<Verified>, Error> {
        let history = self.history()?;
        let head = history.log.head()?;
        // What the log no longer has, only the batch path can read: cuts lie at or above the log's start.
        let start = history.start.clone();
        let store = self.store()?;
        let manifest = store.latest_manifest()?.filter(|m| start.le(&m.cut) && m.cut.le(&head));
        let chain = cuts::chain(&store, (&start, &head), manifest.as_ref(), options)?;
        let mut subjects = Vec::new();
        for (view, core) in self.catalog().materialized().filter(|(view, _)| wanted.contains(&view.name)) {
            let kernel = CoreKernel::compile(core, self.registry())?;
            let verified = Verified {
                view: view.name.clone(),
                records: 0,
                rows: 0,
                cuts: chain.len(),
                stored_partitions: 0,
                digest: String::new(),
                differences: Vec::new(),
            };
            subjects.push(Subject { view: Arc::clone(view), batch_only: kernel.empty(), kernel, verified });
        }
        let speed = self.speed_with_edges(&history, &chain, &head)?;
        let mut by_source: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, subject) in subjects.iter().enumerate() {
            by_source.entry(subject.kernel.core().source.name.clone()).or_default().push(index);
        }
        for (source, indexes) in by_source {
            let kernels: Vec<CoreKernel> = indexes.iter().map(|&i| subjects[i].kernel.clone()).collect();
            let folder = fold::Folder::new(&history, self.catalog().source(&source), kernels, options.seed)?;
            for (&index, partials) in indexes.iter().zip(folder.fold(&Position::new(), &head)?) {
                subjects[index].begin(partials);
            }
            // Batch up to each cut: the stretches between cuts, folded apart and merged.
            let mut below: Vec<Partials> = indexes.iter().map(|&i| subjects[i].kernel.empty()).collect();
            let mut low = Position::new();
            for cut in &chain {
                let stretches = folder.fold(&low, &cut.position)?;
                for ((below, stretch), &index) in below.iter_mut().zip(stretches).zip(&indexes) {
                    *below = subjects[index].kernel.merge(&[below, &stretch])?;
                }
                low = cut.position.clone();
                for (&index, below) in indexes.iter().zip(&below) {
                    let subject = &mut subjects[index];
                    let above = speed.view(&subject.view.name, Some(&cut.position), Some(&head))?;
                    let merged = subject.merge(below, &above)?;
                    subject.compare(&format!("merged at {}", cut.name), &merged);
                }
            }
        }
        for subject in &mut subjects {
            if start.is_zero() {
                let all = speed.view(&subject.view.name, Some(&start), Some(&head))?;
                let speed_only = subject.merge(&subject.kernel.empty(), &all)?;
                subject.compare("speed only", &speed_only);
            }
            if let Some(manifest) = &manifest {
                subject.compare_stored(&ViewReader::new(store.clone(), Arc::new(manifest.clone())), &speed, &head)?;
            }
        }
        Ok(subjects.into_iter().map(|subject| subject.verified).collect())
    }

    /// Everything that the log has in the speed layer, with edges at the cuts and the head.
    fn speed_with_edges(
        &self,
        history: &History,
        chain: &[cuts::Cut],
        head: &Position,
    ) -> Result<Arc<SpeedSnapshot>, Error> {
        // All views count as built up to the beginning of the log.
        let fingerprints =
            self.catalog().materialized().map(|(v, _)| (v.name.clone(), v.fingerprint.clone())).collect();
        let built = Built { cut: history.start.clone(), fingerprints };
        let mut options = self.speed_options();
        // Everything is in memory here, not only what lies above a cut.
        options.view_bytes_max = usize::MAX;
        let (catalog, log) = (Arc::clone(self.catalog()), Arc::clone(&history.log));
        let layer = SpeedLayer::new(catalog, self.registry(), log, options, &built)?;
        for cut in chain {
            layer.add_epoch(&cut.position)?;
        }
        layer.add_epoch(head)?;
        while !layer.snapshot().reaches(head) && layer.step()? {}
        Ok(layer.snapshot())
    }
}

impl Subject {
    fn begin(&mut self, batch_only: Partials) {
        self.verified.records = batch_only.counts.accepted;
        self.verified.rows = batch_only.len() as u64;
        self.verified.digest = hex(&self.kernel.digest(&batch_only));
        self.batch_only = batch_only;
    }

    fn merge(&self, below: &Partials, above: &[Arc<Partials>]) -> Result<Partials, Error> {
        let inputs: Vec<&Partials> = std::iter::once(below).chain(above.iter().map(|p| &**p)).collect();
        Ok(self.kernel.merge(&inputs)?)
    }

    /// Compares with batch only: counts, rejected records, and every row.
    fn compare(&mut self, way: &str, other: &Partials) {
        let mut keys = Vec::new();
        if other.counts != self.batch_only.counts {
            keys.push(format!("counts: {:?}, in batch only {:?}", other.counts, self.batch_only.counts));
        }
        if sorted(&other.rejected) != sorted(&self.batch_only.rejected) {
            keys.push("rejected records".to_owned());
        }
        if self.kernel.digest(other) != self.kernel.digest(&self.batch_only) {
            let differing = differing_keys(self.kernel.canonical(&self.batch_only), self.kernel.canonical(other));
            keys.extend(differing.iter().map(|key| self.kernel.describe_key(key)));
        }
        self.report(way, keys);
    }

    fn report(&mut self, way: &str, keys: Vec<String>) {
        let room = LISTED_MAX.saturating_sub(self.verified.differences.len()).max(1);
        let differences = keys.into_iter().take(room).map(|key| Difference { way: way.to_owned(), key });
        self.verified.differences.extend(differences);
    }

    /// What the manifest names: each partition's digest, and the whole, merged with the live part above its cut.
    fn compare_stored(&mut self, reader: &ViewReader, speed: &SpeedSnapshot, head: &Position) -> Result<(), Error> {
        let (view, fingerprint) = (self.view.name.clone(), self.view.fingerprint.clone());
        let Ok(state) = reader.state(&view, &fingerprint) else { return Ok(()) };
        let manifest: &Manifest = reader.manifest();
        let way = format!("stored by manifest {}", manifest.number);
        let mut keys = Vec::new();
        for (name, partition) in &state.partitions {
            let partials = reader.read_partition(&view, &fingerprint, &self.kernel, name)?;
            self.verified.stored_partitions += 1;
            if hex(&self.kernel.digest(&partials)) != partition.digest {
                keys.push(format!("partition {name}: its rows have another digest than the manifest says"));
            }
        }
        self.report(&way, keys);
        let mut stored = reader.read(&view, &fingerprint, &self.kernel, &KeyFilter::all())?;
        // Kept in files of their own; what they list is compared through the counts.
        stored.rejected.clear();
        let above = speed.view(&view, Some(&manifest.cut), Some(head))?;
        let mut merged = self.merge(&stored, &above)?;
        merged.rejected = self.batch_only.rejected.clone();
        self.compare(&way, &merged);
        Ok(())
    }
}

fn sorted(rejected: &[watershed_pipelines::partial::Rejected]) -> Vec<&watershed_pipelines::partial::Rejected> {
    let mut sorted: Vec<_> = rejected.iter().collect();
    sorted.sort_unstable();
    sorted
}

/// The keys of rows that are not the same on both sides, both sorted by key.
fn differing_keys(
    left: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    right: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Vec<Vec<u8>> {
    let left: BTreeMap<Vec<u8>, Vec<u8>> = left.collect();
    let right: BTreeMap<Vec<u8>, Vec<u8>> = right.collect();
    let keys: BTreeSet<&Vec<u8>> = left.keys().chain(right.keys()).collect();
    keys.into_iter().filter(|key| left.get(*key) != right.get(*key)).take(LISTED_MAX).cloned().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
