//! The promise, checked: batch only = speed only = merged at every cut, and what is stored is what was published.
//!
//! Every way to a view's partials is a *gathering* of the same records, divided into stretches between cuts: folded straight
//! from the log (batch), or by a speed layer. Gatherings are kept by partition of the view, in memory up to a bound and beyond it
//! in the scratch directory, and compared one partition at a time; so memory does not grow with the project.

mod compare;
mod cuts;
mod derived;
mod fold;
mod gather;
mod live;
mod result;
mod runs;
mod scope;
mod stored;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use watershed_batch::{Scratch, WriterId};
use watershed_log::{FileSystem, OperatingSystem};
use watershed_pipelines::catalog::Catalog;

pub use self::result::{Difference, Verified};
use self::{
    compare::Ways,
    cuts::Cut,
    fold::{Folder, Split},
    gather::{Budget, Gather, Kernels},
    scope::Scope,
};
use super::{Project, blocking, history::History};
use crate::error::Error;

/// Differing keys that are listed per view.
const LISTED_MAX: usize = 20;
/// Cuts that are tried at once: more of them go into further rounds, each of which reads the records again.
const CUTS_MAX: usize = 16;

/// What watches. Called from several threads.
pub trait VerifyProgress: Send + Sync {
    /// How many records will be read, all passes together.
    fn records_planned(&self, _records: u64) {}
    /// Records were read.
    fn records_read(&self, _records: u64) {}
    /// What is being done now.
    fn doing(&self, _what: &str) {}
}

/// What is checked.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Only these views; all if empty. The materialized views that a derived one is made of are checked with it.
    pub views: Vec<String>,
    /// Recorded epochs that are tried as cuts, the newest ones.
    pub epochs: usize,
    /// Pseudo-random positions that are tried as cuts.
    pub random_cuts: usize,
    /// Seed of those positions, of the sizes of micro-batches and of what is sampled.
    pub seed: u64,
    /// Sweeps over sizes of micro-batches, orders of partitions and numbers of threads, and makes batch runs, incremental and in
    /// full, in a store of its own; reads every file of every kept manifest.
    pub sweeps: bool,
    /// Records that are recomputed at most. Of a longer history the newest ones are, above a kept manifest where possible.
    pub records_max: u64,
    /// Bytes of stored files that are read at most.
    pub stored_bytes_max: u64,
    /// Memory for partials, in bytes, about; beyond it they go to the scratch directory.
    pub memory_bytes_max: usize,
    /// What watches.
    pub progress: Option<Arc<dyn VerifyProgress>>,
}

impl Default for VerifyOptions {
    /// Quick: seconds, also for a large project.
    fn default() -> VerifyOptions {
        VerifyOptions {
            views: Vec::new(),
            epochs: 8,
            random_cuts: 5,
            seed: 1,
            sweeps: false,
            records_max: 1_000_000,
            stored_bytes_max: 256 << 20,
            memory_bytes_max: 512 << 20,
            progress: None,
        }
    }
}

impl VerifyOptions {
    /// Everything, however long it takes.
    pub fn thorough() -> VerifyOptions {
        VerifyOptions {
            epochs: usize::MAX,
            random_cuts: 16,
            sweeps: true,
            records_max: u64::MAX,
            stored_bytes_max: u64::MAX,
            ..VerifyOptions::default()
        }
    }
}

impl fmt::Debug for VerifyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("views", &self.views)
            .field("epochs", &self.epochs)
            .field("random_cuts", &self.random_cuts)
            .field("seed", &self.seed)
            .field("sweeps", &self.sweeps)
            .field("records_max", &self.records_max)
            .field("stored_bytes_max", &self.stored_bytes_max)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .finish_non_exhaustive()
    }
}

/// The views to check.
struct Wanted {
    materialized: BTreeSet<String>,
    /// Views with a tail, whose answers are compared.
    tails: BTreeSet<String>,
}

/// What every part of a check is given.
struct Checking<'a> {
    project: &'a Project,
    options: &'a VerifyOptions,
    history: &'a History,
    scope: &'a Scope,
    kernels: &'a Kernels,
    budget: &'a Budget,
    /// Only the views that are checked.
    catalog: Arc<Catalog>,
}

impl Checking<'_> {
    fn doing(&self, what: &str) {
        if let Some(progress) = &self.options.progress {
            progress.doing(what);
        }
    }

    fn read(&self, records: u64) {
        if let Some(progress) = &self.options.progress {
            progress.records_read(records);
        }
    }
}

impl Project {
    /// Recomputes views in batch only, in speed only and merged at several cuts, and compares the canonical bytes; compares what is
    /// stored with what the manifest says, and the answers of derived views. Where retention has deleted the log's first records,
    /// the archive gives them to the batch side, and cuts lie at or above the log's start. Each result says what it covers.
    pub async fn verify(&self, options: &VerifyOptions) -> Result<Vec<Verified>, Error> {
        let wanted = self.wanted_views(&options.views)?;
        let (project, options) = (self.clone(), options.clone());
        blocking(move || project.with_history(|history| project.verify_views(history, &wanted, &options))).await
    }

    fn wanted_views(&self, names: &[String]) -> Result<Wanted, Error> {
        let catalog = self.catalog();
        if let Some(unknown) = names.iter().find(|name| catalog.view(name).is_none()) {
            return Err(Error::usage(format!("there is no view {unknown:?}")));
        }
        let named = |view: &String| names.is_empty() || names.contains(view);
        let tails: BTreeSet<String> = catalog.views.keys().filter(|view| named(view)).cloned().collect();
        let mut materialized: BTreeSet<String> = tails.iter().flat_map(|view| catalog.dependencies(view)).collect();
        materialized.extend(catalog.materialized().map(|(view, _)| view.name.clone()).filter(|view| named(view)));
        Ok(Wanted { materialized, tails })
    }

    fn verify_views(
        &self,
        history: &History,
        wanted: &Wanted,
        options: &VerifyOptions,
    ) -> Result<Vec<Verified>, Error> {
        let kernels = Kernels::new(self, &wanted.materialized)?;
        let scope = Scope::new(self, history, options)?;
        let files: Arc<dyn FileSystem> = Arc::new(OperatingSystem);
        let scratch = Scratch::new(&files, &self.directory().join(".watershed-scratch"), &WriterId::random());
        let budget = Budget::new(options.memory_bytes_max, scratch);
        let mut catalog = Catalog::clone(self.catalog());
        catalog.views.retain(|name, _| wanted.materialized.contains(name));
        let is_read = |source: &str| kernels.iter().any(|of| of.kernel.core().source.name == source);
        catalog.sources.retain(|name, _| is_read(name));
        let catalog = Arc::new(catalog);
        let checking =
            Checking { project: self, options, history, scope: &scope, kernels: &kernels, budget: &budget, catalog };
        checking.run(wanted)
    }
}

impl Checking<'_> {
    fn run(&self, wanted: &Wanted) -> Result<Vec<Verified>, Error> {
        let mut results: Vec<Verified> =
            self.kernels.iter().map(|of| self.scope.begin(&of.view, &of.kernel.core().source.name)).collect();
        let mut answers = derived::begin(self, wanted)?;
        if let Some(progress) = &self.options.progress {
            progress.records_planned(self.scope.records * self.passes());
        }
        let head = &self.scope.head;
        self.doing("folding the records in batch only");
        let reference = self.fold(&[(self.scope.from.clone(), head.clone())], Split::large())?;
        for (round, chain) in self.rounds().enumerate() {
            let split = if self.options.sweeps {
                Split::sweep(round, self.options.seed)
            } else {
                Split::random(self.options.seed)
            };
            self.doing("folding them between cuts");
            let stretches = cuts::stretches(&self.scope.from, &chain, head);
            let between = self.fold(&stretches, split)?;
            self.doing("folding them in the speed layer");
            let live = live::fold(self, &chain, round)?;
            self.doing("comparing");
            let ways = Ways { checking: self, chain: &chain, reference: &reference, between: &between, live: &live };
            ways.compare(round, &mut results)?;
            derived::compare(&ways, &mut results, &mut answers)?;
        }
        if self.options.sweeps {
            for (name, split) in Split::all(self.options.seed) {
                self.doing(&format!("folding them with {name}"));
                let other = self.fold(&[(self.scope.from.clone(), head.clone())], split)?;
                compare::same(self, &name, &reference, &other, &mut results)?;
            }
            runs::compare(self, &reference, &mut results)?;
        }
        stored::check(self, &mut results)?;
        results.extend(answers.into_iter().map(|answer| answer.verified).filter(|answer| !answer.materialized));
        Ok(results)
    }

    /// The chain of cuts, so many at a time. There is at least one round.
    fn rounds(&self) -> impl Iterator<Item = Vec<Cut>> + '_ {
        let chain = &self.scope.chain;
        // What the log no longer has, no speed layer reads: each round begins with its start.
        let (first, rest) = chain.split_at(usize::from(self.scope.begins_below_log()));
        let rounds = rest.len().div_ceil(CUTS_MAX).max(1);
        (0..rounds).map(move |round| {
            // Every so-manieth cut, so that each round has cuts from everywhere.
            first.iter().chain(rest.iter().skip(round).step_by(rounds)).cloned().collect()
        })
    }

    /// How often the records are read, in all.
    fn passes(&self) -> u64 {
        let sweeps = if self.options.sweeps { Split::all(0).len() as u64 } else { 0 };
        1 + 2 * self.rounds().count() as u64 + sweeps
    }

    /// Folds all views' records of each stretch.
    fn fold(&self, stretches: &[cuts::Stretch], split: Split) -> Result<Gather<'_>, Error> {
        let gather = Gather::new(self.budget, self.kernels);
        let mut by_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, of) in self.kernels.iter().enumerate() {
            by_source.entry(&of.kernel.core().source.name).or_default().push(index);
        }
        for (source, views) in by_source {
            let folder = Folder::new(self, source, &views, split.clone())?;
            for (stretch, (low, high)) in stretches.iter().enumerate() {
                folder.fold(low, high, stretch, &gather)?;
            }
        }
        Ok(gather)
    }
}
