//! Partials of many records, by partition of the view and by stretch between cuts, in bounded memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use watershed_batch::{Scratch, Spilled};
use watershed_pipelines::{
    catalog::View,
    partial::{CoreKernel, Partials, Rejected},
    source::ViewCounts,
};

use crate::{error::Error, project::Project};

/// A view and its kernel.
pub(super) struct Of {
    pub view: Arc<View>,
    pub kernel: CoreKernel,
}

/// The views that are checked; everything else names them by their place here.
pub(super) struct Kernels(Vec<Of>);

impl Kernels {
    pub fn new(project: &Project, wanted: &BTreeSet<String>) -> Result<Kernels, Error> {
        let of =
            project.catalog().materialized().filter(|(view, _)| wanted.contains(&view.name)).map(|(view, core)| {
                Ok(Of { view: Arc::clone(view), kernel: CoreKernel::compile(core, project.registry())? })
            });
        Ok(Kernels(of.collect::<Result<_, Error>>()?))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Of> {
        self.0.iter()
    }

    pub fn position(&self, view: &str) -> Option<usize> {
        self.0.iter().position(|of| of.view.name == view)
    }
}

impl std::ops::Index<usize> for Kernels {
    type Output = Of;

    fn index(&self, index: usize) -> &Of {
        &self.0[index]
    }
}

/// The memory that all gatherings share, and where they go beyond it.
pub(super) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
    scratch: Scratch,
}

impl Budget {
    pub fn new(bytes_max: usize, scratch: Scratch) -> Budget {
        Budget { bytes_max, used: AtomicUsize::new(0), scratch }
    }

    /// The share of one that is being built.
    pub fn share(&self) -> usize {
        self.bytes_max / 8
    }
}

/// A gathering. Threads may add to it at once.
pub(super) struct Gather<'a> {
    budget: &'a Budget,
    kernels: &'a Kernels,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    views: BTreeMap<usize, Gathered>,
    /// What it takes of the budget.
    bytes: usize,
}

/// One view's.
#[derive(Default)]
struct Gathered {
    /// By stretch.
    books: BTreeMap<usize, Books>,
    parts: BTreeMap<String, Vec<(usize, Part)>>,
}

/// What happened to some records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Books {
    pub counts: ViewCounts,
    /// The sum of hashes of the rejected records, each with its place, column and reason: the same for the same set.
    pub rejected: u128,
}

enum Part {
    Memory(Partials),
    Scratch(Spilled),
}

impl Books {
    fn add(&mut self, other: &Books) {
        self.counts.merge(&other.counts);
        self.rejected = self.rejected.wrapping_add(other.rejected);
    }

    fn of(partials: &Partials) -> Books {
        let hash = |one: &Rejected| {
            let hash = blake3::hash(format!("{one:?}").as_bytes());
            hash.as_bytes().first_chunk::<16>().map_or(0, |bytes| u128::from_le_bytes(*bytes))
        };
        let rejected = partials.rejected.iter().map(hash).fold(0u128, u128::wrapping_add);
        Books { counts: partials.counts, rejected }
    }
}

impl<'a> Gather<'a> {
    pub fn new(budget: &'a Budget, kernels: &'a Kernels) -> Gather<'a> {
        Gather { budget, kernels, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a view's partials of some records of a stretch.
    pub fn add(&self, view: usize, stretch: usize, partials: &Partials) -> Result<(), Error> {
        let divided = self.kernels[view].kernel.rows_by_partition(partials)?;
        let parts: Vec<(String, Partials)> =
            divided.into_iter().map(|(name, rows)| (name, partials.rows(&rows))).collect();
        let bytes: usize = parts.iter().map(|(_, part)| part.memory_bytes()).sum();
        let mut state = self.state();
        let gathered = state.views.entry(view).or_default();
        gathered.books.entry(stretch).or_default().add(&Books::of(partials));
        for (name, part) in parts {
            gathered.parts.entry(name).or_default().push((stretch, Part::Memory(part)));
        }
        state.bytes += bytes;
        let used = self.budget.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // One that others left no room still works in pieces of some size.
        if used > self.budget.bytes_max && state.bytes > self.budget.share() {
            self.spill(&mut state)?;
        }
        Ok(())
    }

    /// Moves everything in memory to the scratch directory.
    fn spill(&self, state: &mut State) -> Result<(), Error> {
        for (view, gathered) in &mut state.views {
            let Of { view, kernel } = &self.kernels[*view];
            for parts in gathered.parts.values_mut() {
                let (in_memory, spilled): (Vec<_>, Vec<_>) =
                    std::mem::take(parts).into_iter().partition(|(_, part)| matches!(part, Part::Memory(_)));
                *parts = spilled;
                for (stretch, partials) in by_stretch(kernel, &view.name, &in_memory)? {
                    let (run, _) = self.budget.scratch.write(kernel, &view.name, &partials)?;
                    parts.push((stretch, Part::Scratch(run)));
                }
            }
        }
        self.budget.used.fetch_sub(std::mem::take(&mut state.bytes), Ordering::Relaxed);
        Ok(())
    }

    /// The names of a view's partitions.
    pub fn partitions(&self, view: usize) -> BTreeSet<String> {
        self.state().views.get(&view).map(|of| of.parts.keys().cloned().collect()).unwrap_or_default()
    }

    /// What happened to a view's records of some stretches.
    pub fn books(&self, view: usize, stretches: impl Fn(usize) -> bool) -> Books {
        let mut all = Books::default();
        if let Some(of) = self.state().views.get(&view) {
            of.books.iter().filter(|(stretch, _)| stretches(**stretch)).for_each(|(_, books)| all.add(books));
        }
        all
    }

    /// One partition of a view: the partials of each stretch, without counts and rejected records.
    pub fn partials(&self, view: usize, partition: &str) -> Result<BTreeMap<usize, Partials>, Error> {
        let state = self.state();
        let Some(parts) = state.views.get(&view).and_then(|of| of.parts.get(partition)) else {
            return Ok(BTreeMap::new());
        };
        let Of { view, kernel } = &self.kernels[view];
        by_stretch(kernel, &view.name, parts)
    }
}

impl Drop for Gather<'_> {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn by_stretch(kernel: &CoreKernel, view: &str, parts: &[(usize, Part)]) -> Result<BTreeMap<usize, Partials>, Error> {
    let loaded: BTreeMap<usize, Vec<Partials>> = {
        let mut loaded: BTreeMap<usize, Vec<Partials>> = BTreeMap::new();
        for (stretch, part) in parts {
            if let Part::Scratch(run) = part {
                loaded.entry(*stretch).or_default().push(run.load(kernel, view)?);
            }
        }
        loaded
    };
    let mut all: BTreeMap<usize, Vec<&Partials>> = BTreeMap::new();
    for (stretch, partials) in &loaded {
        all.entry(*stretch).or_default().extend(partials);
    }
    for (stretch, part) in parts {
        if let Part::Memory(partials) = part {
            all.entry(*stretch).or_default().push(partials);
        }
    }
    all.into_iter().map(|(stretch, parts)| Ok((stretch, kernel.merge(&parts)?))).collect()
}
