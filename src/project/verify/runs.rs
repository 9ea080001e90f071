//! Real batch runs over the same records, in a store of their own: incremental ones at several cuts, then one in full.

use std::sync::Arc;

use watershed_batch::{BatchError, BatchOptions, BatchRun, Manifest, Store, StoreOptions, ViewReader, WriterId};
use watershed_log::Position;
use watershed_pipelines::partial::Partials;

use super::{Checking, LISTED_MAX, gather::Gather, result::Verified};
use crate::error::Error;

/// Incremental runs before the last one.
const RUNS_MAX: usize = 6;

pub(super) fn compare(checking: &Checking<'_>, reference: &Gather<'_>, results: &mut [Verified]) -> Result<(), Error> {
    if !checking.scope.log_start.is_zero() {
        for verified in results {
            verified.not_covered.push("batch runs from the first record on: the log no longer has it".to_owned());
        }
        return Ok(());
    }
    let scratch = checking.project.directory().join(".watershed-scratch");
    let directory = scratch.join(format!("verify-{}", WriterId::random()));
    let runs = Runs { checking, directory: directory.clone() };
    let compared = runs.compare(reference, results);
    // Only tidying: a check that is killed leaves its directory.
    let _ = std::fs::remove_dir_all(directory);
    compared
}

struct Runs<'a> {
    checking: &'a Checking<'a>,
    directory: std::path::PathBuf,
}

impl Runs<'_> {
    fn compare(&self, reference: &Gather<'_>, results: &mut [Verified]) -> Result<(), Error> {
        let store = Store::open(&StoreOptions::new(self.directory.join("store").to_string_lossy()))?;
        let chain = &self.checking.scope.chain;
        let step = chain.len().div_ceil(RUNS_MAX).max(1);
        let cuts = chain.iter().step_by(step).map(|cut| &cut.position).chain([&self.checking.scope.head]);
        let mut last = Position::new();
        for (number, cut) in cuts.enumerate() {
            if cut.le(&last) {
                continue;
            }
            self.checking.doing("running batches in a store of their own");
            // One thread and hardly any memory now, all of both then.
            let (threads, memory) =
                if number % 2 == 0 { (Some(1), 1 << 20) } else { (None, self.checking.options.memory_bytes_max) };
            self.run(&store, cut, false, threads, memory)?;
            last = cut.clone();
        }
        if last.is_zero() {
            return Ok(());
        }
        self.differences(&store, "incremental batch runs", reference, results)?;
        self.checking.doing("running a batch in full");
        match self.run(&store, &last, true, None, self.checking.options.memory_bytes_max) {
            Ok(()) => results.iter_mut().for_each(|verified| verified.way("a batch run in full")),
            Err(Error::Batch(BatchError::FullDiffers { partitions })) => {
                for verified in results {
                    let own = |name: &&String| {
                        name.starts_with(&format!("{}/", verified.view))
                            || name.starts_with(&format!("{} (", verified.view))
                    };
                    let found: Vec<&String> = partitions.iter().filter(own).collect();
                    found.into_iter().for_each(|name| verified.differ("a batch run in full", name, None, None));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn run(
        &self,
        store: &Store,
        cut: &Position,
        full: bool,
        threads: Option<usize>,
        memory: usize,
    ) -> Result<(), Error> {
        let clock = self.checking.project.clock();
        let epoch = store.record_epoch(cut, clock.now_micros(), &WriterId::random())?;
        let mut options = BatchOptions::new(self.directory.join("scratch"));
        options.cut = Some(epoch.number);
        options.full = full;
        options.archive = false;
        options.threads = threads;
        options.memory_bytes_max = memory;
        let run = BatchRun {
            store,
            log: &*self.checking.history.log,
            catalog: &self.checking.catalog,
            registry: self.checking.project.registry(),
            clock: &**clock,
            options: &options,
        };
        run.run()?;
        Ok(())
    }

    fn differences(
        &self,
        store: &Store,
        way: &str,
        reference: &Gather<'_>,
        results: &mut [Verified],
    ) -> Result<(), Error> {
        let Some(manifest) = store.latest_manifest()? else { return Ok(()) };
        let reader = ViewReader::new(store.clone(), Arc::new(manifest));
        let manifest: &Manifest = reader.manifest();
        for (view, verified) in results.iter_mut().enumerate() {
            let of = &self.checking.kernels[view];
            let state = reader.state(&of.view.name, &of.view.fingerprint)?;
            verified.compare(
                way,
                "counts",
                &reference.books(view, |_| true).counts,
                &manifest.views[&of.view.name].counts,
            );
            let stored = state.partitions.keys().cloned().collect();
            for name in reference.partitions(view).union(&stored) {
                let expected: Vec<Partials> = reference.partials(view, name)?.into_values().collect();
                let expected = of.kernel.merge(&expected.iter().collect::<Vec<_>>())?;
                let found = reader.read_partition(&of.view.name, &of.view.fingerprint, &of.kernel, name)?;
                if of.kernel.digest(&expected) != of.kernel.digest(&found) {
                    verified.rows_differ(way, of.kernel.differences(&expected, &found, LISTED_MAX)?);
                }
            }
            verified.way(way);
        }
        Ok(())
    }
}
