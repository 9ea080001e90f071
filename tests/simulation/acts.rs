//! What actors do: calls of the product as its own processes make them.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use watershed_batch::{
    BatchError, BatchOptions, BatchRun, Collected, Epoch, Parity, ParityPolicy, Report, Retention, SpeedParity, Store,
    WriterId,
};
use watershed_log::{Clock, EventLog, FileLog, ManualClock, simulation::SimulatedProcess};
use watershed_pipelines::registry::Registry;
use watershed_serving::{FixedSpeed, Serving, ServingError, StoredViews, built_by};
use watershed_speed::{SpeedLayer, SpeedOptions, replay};

use super::{
    asking::{Asked, Question},
    definitions::ALL,
    machine::{Holder, Machine, StartError},
};

/// What an actor gives.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub enum Done {
    /// A batch run.
    Batch(Result<Report, BatchError>),
    /// A garbage collection.
    Collected(Result<Collected, BatchError>),
    /// An epoch.
    Epoch(Result<Epoch, StartError>),
    /// The newest manifest is followed.
    Followed(Result<Option<u64>, StartError>),
    /// Answers.
    Asked(Vec<Asked>),
    /// A reader that could not begin.
    NotBegun(ServingError),
}

/// A batch run to be made.
pub struct Batch {
    /// The process, to read the log in.
    pub files: Arc<SimulatedProcess>,
    /// Its way to the object store.
    pub store: Store,
    /// The definitions it was started with.
    pub definitions: usize,
    /// The clock.
    pub clock: Arc<ManualClock>,
    /// The epoch to cut at; the newest one if absent.
    pub cut: Option<u64>,
    /// Whether all is computed anew.
    pub full: bool,
    /// Whether records are archived.
    pub archive: bool,
    /// Memory for what is built, bytes.
    pub memory_bytes_max: usize,
    /// Where sorted runs go.
    pub scratch: PathBuf,
    /// Who publishes.
    pub writer: WriterId,
    /// The speed layer that the run is compared with before it publishes.
    pub speed: Option<Arc<dyn SpeedParity>>,
}

impl Batch {
    /// Makes it.
    pub fn run(self) -> Result<Report, BatchError> {
        let log = Machine::read_log(&self.files)?;
        let options = BatchOptions {
            cut: self.cut,
            full: self.full,
            archive: self.archive,
            memory_bytes_max: self.memory_bytes_max,
            threads: Some(1),
            writer: self.writer,
            parity: Parity { policy: ParityPolicy::Enforce, speed: self.speed },
            ..BatchOptions::new(self.scratch)
        };
        let run = BatchRun {
            store: &self.store,
            log: &log,
            catalog: &ALL[self.definitions].catalog,
            registry: &Registry::new(),
            clock: &*self.clock,
            options: &options,
        };
        run.run()
    }
}

/// Collects garbage.
pub fn collect(store: &Store, retention: Retention, now_micros: i64) -> Done {
    Done::Collected(store.collect_garbage(retention, now_micros))
}

/// Records an epoch at the head, as the process that holds the log does: the speed layer is told first.
pub fn epoch(log: &FileLog, speed: &SpeedLayer, store: &Store, clock: &ManualClock, writer: &WriterId) -> Done {
    let recorded = || -> Result<Epoch, StartError> {
        let head = log.head()?;
        speed.add_epoch(&head)?;
        Ok(store.record_epoch(&head, clock.now_micros(), writer)?)
    };
    Done::Epoch(recorded())
}

/// Looks for a new manifest.
pub fn follow(speed: &SpeedLayer, serving: &Serving, followed: &AtomicU64, store: &Store) -> Done {
    Done::Followed(Holder::follow(speed, serving, followed, store))
}

/// A process that has only the log's files and the store: pins the newest manifest, replays the log above its cut, and asks.
pub fn read(files: &Arc<SimulatedProcess>, store: Store, definitions: usize, questions: Vec<Question>) -> Done {
    match begin_to_read(files, store, definitions) {
        Ok(serving) => Done::Asked(questions.into_iter().map(|question| question.ask(&serving)).collect()),
        Err(error) => Done::NotBegun(error),
    }
}

fn begin_to_read(files: &Arc<SimulatedProcess>, store: Store, definitions: usize) -> Result<Serving, ServingError> {
    let (catalog, registry) = (Arc::clone(&ALL[definitions].catalog), Arc::new(Registry::new()));
    let log: Arc<dyn EventLog> = Arc::new(Machine::read_log(files)?);
    let manifest = store.latest_manifest()?;
    let built = manifest.as_ref().map(built_by).unwrap_or_default();
    let options = SpeedOptions::default();
    let live = replay(Arc::clone(&catalog), &registry, Arc::clone(&log), options.clone(), &built, None)?;
    let serving = Serving::new(catalog, registry, Arc::new(StoredViews(store)), Arc::new(FixedSpeed(live)))?;
    Ok(serving.with_log(log, options))
}
