//! Whole runs over a log in memory.

mod archived;
mod damaged;
mod directory;
mod equality;
mod killed;
mod local;
mod publishing;
mod races;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use object_store::{ObjectStore, memory::InMemory};
use watershed_log::{Append, Clock, EventLog, FileSystem, ManualClock, MemoryLog, Position};
use watershed_pipelines::{
    catalog::Catalog, key::KeyFilter, partial::CoreKernel, registry::Registry, source::ViewCounts, sql::SqlFile,
};

use crate::{
    BatchOptions, BatchRun, Manifest, Report, Result, Store, ViewReader, WriterId,
    testing::{Counting, Faults},
};

const TABLE: &str = "
CREATE TABLE payments (
  ts TIMESTAMP NOT NULL, card TEXT NOT NULL, amount DECIMAL(12,2), score DOUBLE, n INT
) WITH (event_time = 'ts', partitions = 3, partition_by = 'card', lateness = '10 seconds');
";

const VIEWS: &str = "
CREATE MATERIALIZED VIEW card_half_hour AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, AVG(score) AS mean, LAST(n) AS latest
FROM TUMBLE(payments, ts, INTERVAL '30 minutes') WHERE amount > 0 GROUP BY card, window_start;
CREATE MATERIALIZED VIEW hopping AS
SELECT window_start, COUNT(*) AS n, COUNT(DISTINCT card) AS cards
FROM HOP(payments, ts, INTERVAL '30 minutes', INTERVAL '90 minutes') GROUP BY window_start;
CREATE MATERIALIZED VIEW by_n AS SELECT n, COUNT(*) AS c, SUM(score) AS s, SUM(100 / n) AS q FROM payments GROUP BY n;
CREATE MATERIALIZED VIEW kept AS SELECT card, amount, ts FROM payments WHERE amount > 10;
";

/// One event: (card, minute, amount in cents, n). `n` = 9 makes a record that the schema refuses, 0 one that `by_n` rejects.
pub(super) type Event = (u8, u16, i16, u8);

fn payload(&(card, minute, cents, n): &Event) -> Vec<u8> {
    if n == 9 {
        return b"{\"card\": 7".to_vec();
    }
    let (sign, cents) = (if cents < 0 { "-" } else { "" }, i32::from(cents).abs());
    let (day, hour, minute) = (1 + minute / 1440, minute / 60 % 24, minute % 60);
    let score = f64::from(cents) * 0.1 + 1e9 * f64::from(card);
    format!(
        r#"{{"ts":"2026-03-{day:02}T{hour:02}:{minute:02}:00Z","card":"card-{card}","amount":{sign}{}.{:02},"score":{score},"n":{n}}}"#,
        cents / 100,
        cents % 100
    )
    .into_bytes()
}

/// A project: log, store and definitions.
pub(super) struct Project {
    pub faults: Arc<Faults>,
    pub store: Store,
    pub log: Arc<MemoryLog>,
    pub clock: Arc<ManualClock>,
    pub catalog: Catalog,
    pub scratch: tempfile::TempDir,
    writers: AtomicU64,
}

fn catalog(sql: &str) -> Catalog {
    match Catalog::from_sql(&[SqlFile::new("test.sql", sql)], &Registry::new()) {
        Ok(catalog) => catalog,
        Err(mistakes) => panic!("{mistakes:?}"),
    }
}

impl Project {
    pub(super) fn new() -> Project {
        Project::with_definitions(&[TABLE, VIEWS].concat())
    }

    pub(super) fn with_definitions(sql: &str) -> Project {
        Project::over(Arc::new(InMemory::new()), sql)
    }

    /// A project whose objects are these.
    pub(super) fn over(objects: Arc<dyn ObjectStore>, sql: &str) -> Project {
        let counting = Counting::new(objects);
        let faults = Arc::clone(&counting.faults);
        let clock = Arc::new(ManualClock::new(1_773_100_800_000_000));
        let log = Arc::new(MemoryLog::new(Arc::clone(&clock) as Arc<dyn Clock>));
        log.create_source("payments", 3).unwrap();
        Project {
            faults,
            store: Store::with_object_store(Arc::new(counting)).unwrap(),
            log,
            clock,
            catalog: catalog(sql),
            scratch: tempfile::tempdir().unwrap(),
            writers: AtomicU64::new(0),
        }
    }

    pub(super) fn append(&self, events: &[Event]) {
        let appends: Vec<Append> =
            events.iter().map(|event| Append::new(u32::from(event.0) % 3, payload(event)).with_key("k")).collect();
        if !appends.is_empty() {
            self.log.append("payments", appends).unwrap();
        }
        self.clock.advance(1_000_000);
    }

    pub(super) fn writer(&self) -> WriterId {
        WriterId::from_u64(self.writers.fetch_add(1, Ordering::SeqCst) + 1)
    }

    pub(super) fn options(&self) -> BatchOptions {
        BatchOptions { threads: Some(2), writer: self.writer(), ..BatchOptions::new(self.scratch.path()) }
    }

    pub(super) fn epoch(&self) -> Result<crate::Epoch> {
        self.store.record_epoch(&self.log.head()?, self.clock.now_micros(), &self.writer())
    }

    pub(super) fn run_with(&self, options: &BatchOptions) -> Result<Report> {
        self.run_on(&self.store, options)
    }

    /// A run on a store that is the project's by another way.
    pub(super) fn run_on(&self, store: &Store, options: &BatchOptions) -> Result<Report> {
        let run = BatchRun {
            store,
            log: &*self.log,
            catalog: &self.catalog,
            registry: &Registry::new(),
            clock: &*self.clock,
            options,
        };
        run.run()
    }

    /// Records an epoch and runs.
    pub(super) fn run(&self) -> Result<Report> {
        self.epoch()?;
        self.run_with(&self.options())
    }

    pub(super) fn manifest(&self) -> Manifest {
        self.store.latest_manifest().unwrap().expect("a manifest")
    }

    pub(super) fn kernel(&self, view: &str) -> CoreKernel {
        let core = self.catalog.views[view].core.as_ref().expect("materialized");
        CoreKernel::compile(core, &Registry::new()).unwrap()
    }

    /// What the newest manifest says, apart from how it came to say so; every file is read.
    pub(super) fn answer(&self) -> Answer {
        let Some(reader) = ViewReader::pin(&self.store).unwrap() else { return Answer::default() };
        let manifest = reader.manifest();
        let mut views = BTreeMap::new();
        for (name, state) in &manifest.views {
            let kernel = self.kernel(name);
            let mut digests = BTreeMap::new();
            for (partition, state) in &state.partitions {
                let partials = reader.read_partition(name, &self.fingerprint(name), &kernel, partition).unwrap();
                let digest = blake3::Hash::from_bytes(kernel.digest(&partials)).to_hex().to_string();
                assert_eq!((&digest, partials.len() as u64), (&state.digest, state.rows), "{name}/{partition}");
                digests.insert(partition.clone(), digest);
            }
            let whole = reader.read(name, &self.fingerprint(name), &kernel, &KeyFilter::all()).unwrap();
            let rows = kernel.finish(&whole).unwrap();
            let mut rejected: BTreeSet<String> = BTreeSet::new();
            let listed = reader.rejected(name).unwrap();
            for row in 0..listed.height() {
                rejected.insert(format!("{:?}", listed.get_row(row).unwrap()));
            }
            assert_eq!(rejected.len() as u64, state.counts.rejected, "{name}");
            views.insert(name.clone(), (digests, state.counts, format!("{rows:?}"), rejected));
        }
        let sources = manifest.sources.iter().map(|(name, source)| (name.clone(), format!("{:?}", source.counts)));
        Answer { cut: manifest.cut.clone(), views, sources: sources.collect() }
    }

    pub(super) fn fingerprint(&self, view: &str) -> String {
        self.catalog.views[view].fingerprint.clone()
    }

    /// The same records in a project of their own, in one run over everything.
    pub(super) fn at_once(&self) -> Answer {
        let mut other = Project::new();
        other.catalog = self.catalog.clone();
        let other_options = BatchOptions { archive: false, ..other.options() };
        other.store.record_epoch(&self.manifest().cut, 0, &other.writer()).unwrap();
        let run = BatchRun {
            store: &other.store,
            log: &*self.log,
            catalog: &self.catalog,
            registry: &Registry::new(),
            clock: &*self.clock,
            options: &other_options,
        };
        run.run().unwrap();
        other.answer()
    }

    /// Every object in the store.
    pub(super) fn objects(&self) -> BTreeSet<String> {
        ["data", "archive", "manifests", "epochs"]
            .iter()
            .flat_map(|folder| self.store.list(folder).unwrap())
            .map(|(path, _)| path)
            .collect()
    }
}

/// One view's answer: digests of partitions, counts, finished rows, rejected records.
pub(super) type ViewAnswer = (BTreeMap<String, String>, ViewCounts, String, BTreeSet<String>);

/// What a project answers.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Answer {
    pub cut: Position,
    pub views: BTreeMap<String, ViewAnswer>,
    pub sources: BTreeMap<String, String>,
}

/// Some events that touch every view and partition.
pub(super) fn events(n: usize, seed: u64) -> Vec<Event> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    (0..n)
        .map(|_| (next(7) as u8, next(3 * 1440) as u16, next(4000) as i16 - 500, [1, 2, 3, 0, 9][next(5) as usize]))
        .collect()
}
