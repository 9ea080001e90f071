//! What a run is given.

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use watershed_log::{Clock, EventLog, FileSystem, OperatingSystem};
use watershed_pipelines::{catalog::Catalog, registry::Registry};

use crate::{
    error::Result,
    run::{parity::Parity, report::Report},
    store::{Store, WriterId},
};

/// What watches a run. Called from many threads; must return quickly.
pub trait Progress: Send + Sync {
    /// How many records there are to read, once that is known.
    fn records_planned(&self, _records: u64) {}
    /// Records were decoded and pushed into the views; `bytes` are their payloads'.
    fn records_decoded(&self, _records: u64, _bytes: u64) {}
    /// How many partitions of views there are to merge, once that is known.
    fn partitions_planned(&self, _partitions: u64) {}
    /// A partition of a view was merged; it is `changed` if it differs from what the previous manifest names.
    fn partition_merged(&self, _view: &str, _partition: &str, _changed: bool) {}
    /// A file was written into the store.
    fn file_written(&self, _path: &str, _bytes: u64) {}
    /// Memory ran short: sorted runs went to the scratch directory.
    fn spilled(&self, _bytes: u64) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// How to run.
#[derive(Clone)]
pub struct BatchOptions {
    /// The number of the epoch to take as the cut; the newest one when absent.
    pub cut: Option<u64>,
    /// Compute everything from the first record on, and compare with what the incremental runs gave.
    pub full: bool,
    /// With `full`: publish the recomputed rows where they differ, and do not report that as an error.
    pub repair: bool,
    /// Files of the newest manifest that are damaged or missing. None of them is read: views that have one are built from
    /// the first record on, and files of the archive are made anew from the log, where it has their records.
    pub damaged: BTreeSet<String>,
    /// Whether records are archived.
    pub archive: bool,
    /// Memory for partials that are being built, in bytes; above it, sorted runs go to the scratch directory.
    pub memory_bytes_max: usize,
    /// Threads; as many as the machine has when absent.
    pub threads: Option<usize>,
    /// Where sorted runs go; created when needed, and emptied of what dead runs left.
    pub scratch: PathBuf,
    /// Where the files of the scratch directory are; the operating system's by default.
    pub files: Arc<dyn FileSystem>,
    /// Who publishes: a fresh id for each run.
    pub writer: WriterId,
    /// What a run is compared with before it publishes.
    pub parity: Parity,
    /// What watches.
    pub progress: Arc<dyn Progress>,
    /// Set it to stop the run: nothing is published.
    pub stop: Arc<AtomicBool>,
}

impl BatchOptions {
    /// The usual: incremental, newest epoch, with an archive, 1 GiB for partials.
    pub fn new(scratch: impl Into<PathBuf>) -> BatchOptions {
        BatchOptions {
            cut: None,
            full: false,
            repair: false,
            damaged: BTreeSet::new(),
            archive: true,
            memory_bytes_max: 1 << 30,
            threads: None,
            scratch: scratch.into(),
            files: Arc::new(OperatingSystem),
            writer: WriterId::random(),
            parity: Parity::default(),
            progress: Arc::new(NoProgress),
            stop: Arc::default(),
        }
    }
}

impl fmt::Debug for BatchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchOptions")
            .field("cut", &self.cut)
            .field("full", &self.full)
            .field("repair", &self.repair)
            .field("damaged", &self.damaged)
            .field("archive", &self.archive)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .field("threads", &self.threads)
            .field("scratch", &self.scratch)
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

/// One run over a project. Blocks until it is done; asynchronous code runs it on a thread of its own.
///
/// The caller records an epoch first ([`Store::record_epoch`]); runs over one store may race, and one of them wins.
#[derive(Clone, Copy)]
pub struct BatchRun<'a> {
    /// Where views, archive and manifests are.
    pub store: &'a Store,
    /// The records.
    pub log: &'a dyn EventLog,
    /// The definitions.
    pub catalog: &'a Catalog,
    /// The functions that the definitions call.
    pub registry: &'a Registry,
    /// Gives the manifest its time.
    pub clock: &'a dyn Clock,
    /// How to run.
    pub options: &'a BatchOptions,
}

impl BatchRun<'_> {
    /// Runs to the end. After an error the previous manifest and all it names are as they were.
    ///
    /// # Errors
    /// [`NoEpoch`](crate::BatchError::NoEpoch) before the first epoch; [`LostRace`](crate::BatchError::LostRace) if another run
    /// published first; [`FullDiffers`](crate::BatchError::FullDiffers);
    /// [`ParityDiffers`](crate::BatchError::ParityDiffers); those of the store, the log and the pipelines.
    pub fn run(&self) -> Result<Report> {
        crate::run::run(self)
    }
}
