//! The machine that the log is on: its disk, its clock, and the process that holds the log.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use watershed_batch::{BatchError, Store, WriterId};
use watershed_log::{
    AppendFuture, Clock, EventLog, FileLog, LogError, ManualClock, Options,
    simulation::{Effect, Failure, Fate, Operation, SimulatedDisk, SimulatedProcess},
};
use watershed_pipelines::registry::Registry;
use watershed_serving::{Serving, ServingError, StoredViews, built_by};
use watershed_speed::{SpeedError, SpeedLayer, SpeedOptions};

use super::{
    bucket::Bucket,
    definitions::{ALL, Definitions},
    producers::NumberedFlight,
    stage::{Gate, Passed, Stage, Trouble},
};

/// Where the log is on the disk.
const LOG: &str = "/log";

/// The machine.
pub struct Machine {
    stage: Arc<Stage>,
    disk: SimulatedDisk,
    bucket: Bucket,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    sync_failed: Arc<AtomicBool>,
}

/// The process that holds the log: it appends, tails and serves.
pub struct Holder {
    /// It lives.
    pub process: Arc<SimulatedProcess>,
    /// The log, for writing.
    pub log: Arc<FileLog>,
    /// The speed layer.
    pub speed: Arc<SpeedLayer>,
    /// What it answers with.
    pub serving: Arc<Serving>,
    /// The newest manifest that both of them follow.
    pub followed: Arc<AtomicU64>,
    /// Its way to the object store.
    pub store: Store,
    /// Who records its epochs.
    pub writer: WriterId,
    /// Its definitions.
    pub definitions: usize,
    /// Appends that are not acknowledged.
    pub flights: Vec<Flight>,
    /// Those whose records are numbered.
    pub numbered: Vec<NumberedFlight>,
    /// Whether the log has stopped, as far as can be told from outside.
    pub stopped: bool,
}

/// An append under way.
pub struct Flight {
    /// The source.
    pub source: String,
    /// What was sent, with the partitions, in order.
    pub records: Vec<(u32, Bytes)>,
    /// Whether its acknowledgement is to mean that it survives the machine.
    pub lasting: bool,
    /// Its outcome.
    pub future: AppendFuture,
}

impl Flight {
    /// The outcome, if there is one.
    pub fn look(&mut self) -> Option<Result<Vec<(u32, u64)>, LogError>> {
        match Pin::new(&mut self.future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome.map(|appended| appended.records)),
            Poll::Pending => None,
        }
    }
}

/// Why a process could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] BatchError),
    /// The speed layer.
    #[error(transparent)]
    Speed(#[from] SpeedError),
    /// Serving.
    #[error(transparent)]
    Serving(#[from] ServingError),
}

impl Machine {
    /// A machine with an empty disk.
    pub fn new(stage: &Arc<Stage>, bucket: &Bucket, now_micros: i64) -> Machine {
        let clock = Arc::new(ManualClock::new(now_micros));
        let (disk, sync_failed) = (SimulatedDisk::new(), Arc::default());
        Machine { stage: Arc::clone(stage), disk, bucket: bucket.clone(), clock, sync_failed }
    }

    /// A process, whose operations on files are held at their actor's gate if `holds`.
    pub fn process(&self, holds: bool) -> Arc<SimulatedProcess> {
        let (process, stage) = (self.disk.process(), Arc::clone(&self.stage));
        let sync_failed = Arc::clone(&self.sync_failed);
        process.set_fates(move |operation| {
            let what = format!("{:?} {} {}", operation.kind, operation.path.display(), operation.bytes);
            let passed = stage.operation(holds, &what);
            if operation.kind.is_sync() && matches!(passed, Passed::Trouble(_)) {
                sync_failed.store(true, Ordering::SeqCst);
            }
            fate(operation, passed)
        });
        process
    }

    /// The log for reading, in a process.
    pub fn read_log(files: &Arc<SimulatedProcess>) -> Result<FileLog, LogError> {
        FileLog::open_reader_on(files.clone(), LOG)
    }

    /// A process's way to the object store.
    pub fn store(&self) -> Result<Store, BatchError> {
        Store::with_object_store(Arc::new(self.bucket.clone()))
    }

    /// Begins the process that holds the log. What it meets on the way is drawn from `seed`.
    pub fn start(&self, definitions: usize, seed: u64, trouble: Trouble) -> (Result<Holder, StartError>, Arc<Gate>) {
        let process = self.process(false);
        let starting = || self.starting(&process, definitions, seed);
        let (started, gate) = self.stage.directly("start".to_owned(), seed, trouble, starting);
        if started.is_err() {
            process.kill();
        }
        (started, gate)
    }

    fn starting(&self, process: &Arc<SimulatedProcess>, definitions: usize, seed: u64) -> Result<Holder, StartError> {
        let of: &Definitions = &ALL[definitions];
        // Small, so that segments are many. Derived from the seed, as an operator's change of the configuration would.
        let options = Options {
            segment_bytes_max: 400 + seed % 3000,
            segment_age_max_micros: 600_000_000,
            batch_bytes_max: 300 + seed % 1000,
            files: process.clone(),
            ..Options::default()
        };
        let log = Arc::new(FileLog::open_stepped(LOG, options, Arc::clone(&self.clock) as Arc<dyn Clock>)?);
        for source in of.catalog.sources.values() {
            log.create_source(&source.name, source.partitions)?;
        }
        let store = self.store()?;
        let manifest = store.latest_manifest()?;
        let built = manifest.as_ref().map(built_by).unwrap_or_default();
        let registry = Arc::new(Registry::new());
        let as_dyn = || Arc::clone(&log) as Arc<dyn EventLog>;
        let options = SpeedOptions { step_bytes_max: 500 + (seed % 4000) as usize, ..SpeedOptions::default() };
        let speed = SpeedLayer::new(Arc::clone(&of.catalog), &registry, as_dyn(), options, &built)?;
        let speed = Arc::new(speed);
        let views = Arc::new(StoredViews(store.clone()));
        let serving = Serving::new(Arc::clone(&of.catalog), registry, views, Arc::clone(&speed) as _)?;
        let serving = Arc::new(serving.with_log(as_dyn(), SpeedOptions::default()));
        let followed = Arc::new(AtomicU64::new(manifest.map_or(0, |manifest| manifest.number)));
        let (process, writer) = (Arc::clone(process), WriterId::from_u64(seed));
        let (flights, numbered) = (Vec::new(), Vec::new());
        Ok(Holder {
            process,
            log,
            speed,
            serving,
            followed,
            store,
            writer,
            definitions,
            flights,
            numbered,
            stopped: false,
        })
    }

    /// The power fails.
    pub fn cut_power(&self, seed: u64) {
        self.disk.power_cut(seed);
    }

    /// Whether a sync has failed since the last time: then what was acknowledged as with the operating system only may be gone.
    pub fn take_sync_failed(&self) -> bool {
        self.sync_failed.swap(false, Ordering::SeqCst)
    }

    /// The operating system needs its memory.
    pub fn forget_pages(&self, seed: u64) {
        self.disk.forget_pages(seed);
    }
}

impl Holder {
    /// Follows the newest manifest, as a running process does: first the speed layer, which keeps an edge at the new cut and
    /// drops what lies below; then queries pin the manifest. (A question may have read it before: that moves no cut.)
    pub fn follow(
        speed: &SpeedLayer,
        serving: &Serving,
        followed: &AtomicU64,
        store: &Store,
    ) -> Result<Option<u64>, StartError> {
        let Some(manifest) = store.latest_manifest_above(followed.load(Ordering::SeqCst))? else { return Ok(None) };
        let number = manifest.number;
        speed.advance_cut(&built_by(&manifest))?;
        serving.adopt(Arc::new(manifest));
        followed.store(number, Ordering::SeqCst);
        Ok(Some(number))
    }
}

/// What becomes of an operation on a file.
fn fate(operation: &Operation, passed: Passed) -> Fate {
    let change = operation.kind.is_change();
    match passed {
        Passed::Well => Fate::DONE,
        Passed::Trouble(which) => match (change, which % 6) {
            (true, 0) => Fate::failed(Effect::Nothing, Failure::Io),
            (true, 1) => Fate::failed(Effect::Part, Failure::Io),
            (true, 2) => Fate::failed(Effect::Whole, Failure::Io),
            (true, 3) => Fate::failed(Effect::Part, Failure::Full),
            (_, 4) if operation.kind.has_parts() && !operation.kind.is_sync() => Fate::SHORT,
            _ => Fate::failed(Effect::Nothing, Failure::Io),
        },
        Passed::Dying(which) => [Fate::KILLED_BEFORE, Fate::KILLED_WITHIN, Fate::KILLED_AFTER][which as usize % 3],
        Passed::Dead => Fate::KILLED_BEFORE,
    }
}
