//! A log on a simulated disk, a store in memory, and processes that use them one after the other.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use futures::{FutureExt, StreamExt};
use object_store::{ObjectStore, memory::InMemory};
use watershed_batch::{BatchOptions, BatchRun, Retention, Store, WriterId};
use watershed_log::{
    Clock, EventLog, FileLog, FileSystem, ManualClock, Options,
    simulation::{SimulatedDisk, SimulatedProcess},
};
use watershed_pipelines::{catalog::Catalog, key::KeyFilter, registry::Registry, sql::SqlFile};
use watershed_serving::{FixedSpeed, ReadOptions, Serving, StoredViews, built_by};
use watershed_speed::{SpeedOptions, replay};

use super::{
    bucket::{self, Bucket, Seen},
    model::{Answers, Model, PARTITIONS, sorted},
};

const DEFINITIONS: &str = "
CREATE TABLE pays (id TEXT NOT NULL, card TEXT NOT NULL, n INT) WITH (partitions = 2);
CREATE MATERIALIZED VIEW totals WITH (buckets = 2) AS SELECT card, COUNT(*) AS c, SUM(n) AS s FROM pays GROUP BY card;
CREATE MATERIALIZED VIEW large AS SELECT id, n FROM pays WHERE n > 5;
";
const LOG: &str = "/project/log";

/// Whatever goes wrong.
pub type Error = Box<dyn std::error::Error>;

/// What there is apart from processes.
pub struct World {
    pub disk: SimulatedDisk,
    pub objects: Arc<InMemory>,
    pub model: Model,
    clock: Arc<ManualClock>,
    catalog: Arc<Catalog>,
    writers: u64,
}

/// A process.
pub struct Process {
    pub files: Arc<SimulatedProcess>,
    pub seen: Arc<Seen>,
    store: Store,
}

impl World {
    pub fn new() -> World {
        let disk = SimulatedDisk::new();
        let user = disk.process();
        user.create_dir_all(Path::new("/project")).expect("a directory");
        user.sync_dir(Path::new("/")).expect("a durable directory");
        let catalog = Catalog::from_sql(&[SqlFile::new("faults.sql", DEFINITIONS)], &Registry::new());
        let catalog = Arc::new(catalog.unwrap_or_else(|mistakes| panic!("{mistakes:?}")));
        let clock = Arc::new(ManualClock::new(1_774_744_200_000_000));
        World { disk, objects: Arc::new(InMemory::new()), model: Model::default(), clock, catalog, writers: 0 }
    }

    /// The same world, from here on by itself.
    pub fn fork(&self) -> World {
        World {
            disk: self.disk.copy(),
            objects: Arc::new(self.objects.fork()),
            model: self.model.clone(),
            clock: Arc::new(ManualClock::new(self.clock.now_micros())),
            catalog: Arc::clone(&self.catalog),
            writers: self.writers,
        }
    }

    /// A process, one of whose requests to the store may meet trouble.
    pub fn process(&self, fault: Option<bucket::Fault>) -> Process {
        let files = self.disk.process();
        let (bucket, seen) = Bucket::new(&self.objects, &files, fault);
        Process { files, seen, store: Store::with_object_store(Arc::new(bucket)).expect("a store") }
    }

    fn open(&self, process: &Process) -> Result<FileLog, Error> {
        let options = Options { files: process.files.clone(), segment_bytes_max: 600, ..Options::default() };
        let log = FileLog::open_stepped(LOG, options, Arc::clone(&self.clock) as Arc<dyn Clock>)?;
        log.create_source("pays", PARTITIONS)?;
        Ok(log)
    }

    /// Appends and waits for the acknowledgement.
    pub fn append(&mut self, process: &Process) -> Result<(), Error> {
        let log = self.open(process)?;
        let records = self.model.send(9);
        self.model.acknowledged(&log.append("pays", records)?);
        self.clock.advance(1_000_000);
        Ok(log.close()?)
    }

    fn writer(&mut self) -> WriterId {
        self.writers += 1;
        WriterId::from_u64(self.writers)
    }

    /// Records an epoch, and folds the log up to it into the store.
    pub fn batch(&mut self, process: &Process, full: bool) -> Result<(), Error> {
        let log = self.open(process)?;
        process.store.record_epoch(&log.head()?, self.clock.now_micros(), &self.writer())?;
        log.close()?;
        let log = FileLog::open_reader_on(process.files.clone(), LOG)?;
        let options = BatchOptions {
            full,
            threads: Some(1),
            memory_bytes_max: 1,
            writer: self.writer(),
            files: process.files.clone(),
            ..BatchOptions::new("/project/scratch")
        };
        let run = BatchRun {
            store: &process.store,
            log: &log,
            catalog: &self.catalog,
            registry: &Registry::new(),
            clock: &*self.clock,
            options: &options,
        };
        let report = run.run()?;
        assert!(report.repaired.is_empty());
        Ok(())
    }

    /// Deletes from the log what the archive holds.
    pub fn retain(&mut self, process: &Process) -> Result<(), Error> {
        let Some(manifest) = process.store.latest_manifest()? else { return Ok(()) };
        let log = self.open(process)?;
        log.seal("pays")?;
        log.delete_sealed_below(&manifest.archived())?;
        Ok(log.close()?)
    }

    /// Keeps the newest manifest only.
    pub fn collect(&mut self, process: &Process) -> Result<(), Error> {
        self.clock.advance(3_600_000_000);
        process.store.collect_garbage(Retention { manifests: 1, minutes: 0 }, self.clock.now_micros())?;
        Ok(())
    }

    /// Asks every view, as a process does that has only the log's files and the store. Every answer is right.
    pub fn ask(&mut self, process: &Process) -> Result<(), Error> {
        let log: Arc<dyn EventLog> = Arc::new(FileLog::open_reader_on(process.files.clone(), LOG)?);
        let (catalog, registry) = (Arc::clone(&self.catalog), Arc::new(Registry::new()));
        let built = process.store.latest_manifest()?.as_ref().map(built_by).unwrap_or_default();
        let options = SpeedOptions::default();
        let live = replay(Arc::clone(&catalog), &registry, Arc::clone(&log), options.clone(), &built, None)?;
        let views = Arc::new(StoredViews(process.store.clone()));
        let serving = Serving::new(catalog, registry, views, Arc::new(FixedSpeed(live)))?.with_log(log, options);
        let mut answers = Answers::new();
        let mut head = None;
        for view in ["totals", "large"] {
            let answer = serving.scan(view, &KeyFilter::all(), &ReadOptions::default())?;
            let rows = answer.to_json_lines();
            let rows = rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            answers.insert(view, sorted(rows));
            head = Some(answer.receipt.head.clone());
        }
        let head = head.expect("a view was asked");
        assert_eq!(answers, self.model.answers(&head), "up to {head:?}");
        Ok(())
    }

    /// With nothing in the way: the log has what it must have, the answers are right, every manifest and what it names is there.
    pub fn check(&mut self) {
        let process = self.process(None);
        let log = self.open(&process).unwrap_or_else(|error| panic!("cannot be opened: {error}"));
        self.model.learn(&log);
        log.close().expect("it closes");
        self.ask(&process).unwrap_or_else(|error| panic!("cannot be asked: {error}"));
        let numbers: Vec<u64> = self.paths().iter().filter_map(|path| number_of("manifests/", path)).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "manifests {numbers:?}");
    }

    /// What no manifest names is gone, after a collection.
    pub fn check_no_orphan(&self) {
        let process = self.process(None);
        let manifest = process.store.latest_manifest().expect("it can be read").expect("a manifest");
        let named: BTreeSet<String> = manifest.files().map(|file| file.path.clone()).collect();
        let is_data = |path: &String| path.starts_with("data/") || path.starts_with("archive/");
        let found: BTreeSet<String> = self.paths().into_iter().filter(is_data).collect();
        assert_eq!(found, named, "files, and those that manifest {} names", manifest.number);
        let scratch: Vec<_> =
            self.disk.paths().into_iter().filter(|path| path.starts_with("/project/scratch")).collect();
        assert!(scratch.is_empty(), "{scratch:?}");
    }

    fn paths(&self) -> Vec<String> {
        let listed = self.objects.list(None).collect::<Vec<_>>().now_or_never().expect("it is in memory");
        let mut paths: Vec<String> = listed.into_iter().flatten().map(|meta| String::from(meta.location)).collect();
        paths.sort();
        paths
    }
}

fn number_of(folder: &str, path: &str) -> Option<u64> {
    let digits: String = path.strip_prefix(folder)?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
