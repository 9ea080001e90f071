//! A project driven through the public library, with a clock that the test sets.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinHandle};
use watershed::{
    Answer, BatchOptions, Numbering, ProducerId, Project, Receipt, Registry, Report, Value, VerifyOptions,
    config::{Durability, Overrides},
    control::Acknowledged,
    output::{Cells, value_text},
};
use watershed_batch::{ArchiveReader, Manifest};
use watershed_log::{EventLog, FileLog, ManualClock, Options};

use super::log::OwnedRecord;

/// The rows of every view, each row as texts, in order.
pub type Answers = BTreeMap<String, Vec<Vec<Option<String>>>>;

/// A project in a temporary directory.
pub struct System {
    directory: TempDir,
    clock: Arc<ManualClock>,
    overrides: Overrides,
    project: Project,
    runtime: Runtime,
}

impl System {
    /// A project with these definitions, whose clock shows `now_micros`.
    pub fn new(definitions: &[(&str, &str)], now_micros: i64) -> System {
        System::with_settings(definitions, now_micros, Vec::new())
    }

    /// A project with these definitions and settings, whose clock shows `now_micros`.
    pub fn with_settings(definitions: &[(&str, &str)], now_micros: i64, settings: Vec<(String, String)>) -> System {
        let directory = tempfile::Builder::new().prefix("ws").tempdir().expect("a temporary directory");
        Project::init(directory.path()).expect("an empty directory takes a project");
        write_definitions(&directory.path().join("definitions"), definitions);
        System::open(directory, Arc::new(ManualClock::new(now_micros)), Overrides { environment: None, settings })
    }

    fn open(directory: TempDir, clock: Arc<ManualClock>, overrides: Overrides) -> System {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let project = open(directory.path(), &clock, &overrides);
        System { directory, clock, overrides, project, runtime }
    }

    /// A project with a copy of this one's log and definitions, nothing in its store, and micro-batches of about this size.
    pub fn copy_of_log(&self, step_bytes: usize) -> System {
        let directory = tempfile::Builder::new().prefix("ws").tempdir().expect("a temporary directory");
        for name in ["watershed.toml", "definitions", "log"] {
            copy(&self.directory.path().join(name), &directory.path().join(name));
        }
        let settings = vec![("speed.step_bytes".to_owned(), step_bytes.to_string())];
        System::open(directory, Arc::clone(&self.clock), Overrides { environment: None, settings })
    }

    /// A copy of a project that is kept, with a clock that shows `now_micros`.
    pub fn copy_of(directory: &Path, now_micros: i64) -> System {
        let copied = tempfile::Builder::new().prefix("ws").tempdir().expect("a temporary directory");
        for entry in fs::read_dir(directory).expect("a project's directory") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &copied.path().join(entry.file_name()));
        }
        System::open(copied, Arc::new(ManualClock::new(now_micros)), Overrides::default())
    }

    /// The project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// What an answer covers.
    pub fn receipt(&self, sql: &str) -> Receipt {
        self.run(self.project.query(sql)).receipt
    }

    /// The records of a source in the log below the newest manifest's cut.
    pub fn records_below_cut(&self, source: &str) -> Vec<OwnedRecord> {
        let cut = self.manifest().cut;
        let records = super::log::records(&self.log_directory(), source).into_iter();
        records.filter(|record| record.offset < cut.partition(source, record.partition)).collect()
    }

    /// The records of a source in the archive.
    pub fn archived(&self, source: &str) -> Vec<OwnedRecord> {
        let manifest = self.manifest();
        let partitions = manifest.sources[source].partitions;
        let reader = ArchiveReader::new(self.project.store().expect("a store"), Arc::new(manifest));
        let mut archived = Vec::new();
        for partition in 0..partitions {
            let (mut at, end) = (0, reader.end(source, partition));
            while at < end {
                let records = reader.read(source, partition, at, end).expect("no damage");
                archived.extend(records.iter().map(|record| OwnedRecord {
                    partition,
                    offset: record.offset,
                    append_time_micros: record.append_time_micros,
                    payload: record.payload.to_vec(),
                }));
                at = records.next_offset();
            }
        }
        archived
    }

    fn manifest(&self) -> Manifest {
        let store = self.project.store().expect("a store");
        store.latest_manifest().expect("it can be read").expect("there was a batch run")
    }

    /// Changes the configuration.
    pub fn set(&mut self, key: &str, value: &str) {
        self.overrides.settings.push((key.to_owned(), value.to_owned()));
        self.restart();
    }

    /// Runs something of the library to its end.
    pub fn run<T>(&self, future: impl Future<Output = Result<T, watershed::Error>>) -> T {
        self.runtime.block_on(future).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs something of the library that may fail.
    pub fn try_run<T>(&self, future: impl Future<Output = Result<T, watershed::Error>>) -> Result<T, watershed::Error> {
        self.runtime.block_on(future)
    }

    /// Begins something of the library that goes on beside the test.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.spawn(future)
    }

    /// Waits for the end of what was begun.
    pub fn join<T>(&self, task: JoinHandle<T>) -> T {
        self.runtime.block_on(task).expect("it does not panic")
    }

    /// The directory of its log.
    pub fn log_directory(&self) -> PathBuf {
        self.project.log_directory()
    }

    /// Deletes the log's sealed segments that the archive holds; returns how many records they had.
    pub fn delete_archived_segments(&self) -> u64 {
        let log =
            FileLog::open_writer(self.log_directory(), Options::default(), self.clock.clone()).expect("a free lock");
        for source in log.sources().expect("they can be listed") {
            log.seal(&source).expect("it can be sealed");
        }
        let deleted = log.delete_sealed_below(&self.manifest().archived()).expect("they can be deleted");
        log.close().expect("it closes");
        deleted.iter().map(|deleted| deleted.to - deleted.from).sum()
    }

    /// Lets time go on.
    pub fn advance(&mut self, micros: i64) {
        self.clock.advance(micros);
    }

    /// The directory of its store.
    pub fn store_directory(&self) -> PathBuf {
        self.project.directory().join("store")
    }

    /// Appends records in one call.
    pub fn append(&self, table: &str, payloads: Vec<Vec<u8>>) {
        let count = payloads.len() as u64;
        assert_eq!(self.run(self.project.append(table, payloads)).records, count);
    }

    /// Appends many deliveries, each at its time, and waits at the end until all are on disk.
    pub fn deliver(&self, deliveries: impl IntoIterator<Item = (i64, &'static str, Vec<Vec<u8>>)>) {
        self.run(async {
            let writer = self.project.writer().await?;
            for (micros, table, payloads) in deliveries {
                self.clock.set(micros);
                let payloads = payloads.into_iter().map(Into::into).collect();
                writer.append(table, payloads, Some(Durability::Os)).await?;
            }
            writer.close().await
        });
    }

    /// Appends a producer's records from the number `first` on.
    pub fn append_numbered(&self, table: &str, producer: &str, first: u64, payloads: Vec<Vec<u8>>) -> Acknowledged {
        let numbering = Numbering { producer: ProducerId::new(producer).expect("a good name"), first };
        self.run(async {
            let writer = self.project.writer().await?;
            let payloads = payloads.into_iter().map(Into::into).collect();
            let acknowledged = writer.append_numbered(table, numbering, payloads, None).await;
            writer.close().await?;
            acknowledged
        })
    }

    /// Records an epoch.
    pub fn epoch(&self) -> u64 {
        self.run(self.project.epoch())
    }

    /// A batch run up to now.
    pub fn batch(&self) -> Report {
        self.run(self.project.run_batch(&BatchOptions::default()))
    }

    /// A batch run that recomputes everything, and finds no difference.
    pub fn batch_in_full(&self) -> Report {
        self.run(self.project.run_batch(&BatchOptions { full: true, ..BatchOptions::default() }))
    }

    /// Ends the process, as far as the project can tell, and begins another.
    pub fn restart(&mut self) {
        self.project = open(self.directory.path(), &self.clock, &self.overrides);
    }

    /// The names of all views, derived ones included.
    pub fn views(&self) -> Vec<String> {
        self.project.catalog().views.keys().cloned().collect()
    }

    /// A view's columns and rows: exact texts, timestamps in microseconds.
    pub fn rows(&self, view: &str) -> (Vec<String>, Vec<Vec<Option<String>>>) {
        self.ask(&format!("SELECT * FROM {view}"))
    }

    /// The answer to a query, or why there is none.
    pub fn answer(&self, sql: &str) -> Result<Answer, watershed::Error> {
        self.runtime.block_on(self.project.query(sql))
    }

    /// Other definitions take the place of those that were there; the process ends, another begins.
    pub fn define(&mut self, definitions: &[(&str, &str)]) {
        let folder = self.directory.path().join("definitions");
        write_definitions(&folder, definitions);
        self.restart();
    }

    /// An answer's columns and rows.
    pub fn ask(&self, sql: &str) -> (Vec<String>, Vec<Vec<Option<String>>>) {
        let answer = self.run(self.project.query(sql));
        let columns: Vec<String> = answer.schema.fields.iter().map(|field| field.name.clone()).collect();
        let cells = Cells::new(&answer.frame, &answer.schema).expect("the answer fits its schema");
        let text = |column: usize, row: usize| match cells.value(column, row) {
            Value::Timestamp(micros) => Some(micros.to_string()),
            value => value_text(&value, cells.data_type(column)),
        };
        let rows =
            (0..cells.height()).map(|row| (0..columns.len()).map(|column| text(column, row)).collect()).collect();
        (columns, rows)
    }

    /// The rows of every view, in a canonical order.
    pub fn answers(&self) -> Answers {
        let sorted = |view: String| {
            let mut rows = self.rows(&view).1;
            rows.sort();
            (view, rows)
        };
        self.views().into_iter().map(sorted).collect()
    }

    /// Every view is recomputed in batch only, in speed only and merged at several cuts, and is the same.
    pub fn verify(&self) {
        for verified in self.run(self.project.verify(&VerifyOptions::default())) {
            assert!(verified.is_equal(), "{verified:#?}");
        }
    }

    /// No record is missing from the books.
    pub fn numbers_add_up(&self) {
        let ledger = self.run(self.project.status()).ledger;
        for (name, source) in &ledger.sources {
            assert!(source.adds_up(), "{name}: {source:?}");
        }
        for (name, view) in &ledger.views {
            assert!(view.adds_up(), "{name}: {view:?}");
        }
    }

    /// The number of dead letters of all tables, counted by the books and listed one by one.
    pub fn dead_letters(&self) -> u64 {
        let status = self.run(self.project.status());
        let counted = status.sources.iter().map(|source| source.dead).sum();
        let listed: usize =
            status.sources.iter().map(|s| self.run(self.project.dead_letters(&s.name, usize::MAX)).len()).sum();
        assert_eq!(counted, listed as u64);
        counted
    }
}

fn open(directory: &Path, clock: &Arc<ManualClock>, overrides: &Overrides) -> Project {
    let clock = Arc::clone(clock);
    Project::builder(directory)
        .registry(Registry::new())
        .overrides(overrides.clone())
        .clock(clock)
        .open()
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Writes definitions into a folder, from which what was there goes first.
fn write_definitions(folder: &Path, definitions: &[(&str, &str)]) {
    for entry in fs::read_dir(folder).expect("init makes definitions/") {
        fs::remove_file(entry.expect("an entry").path()).expect("a definition can be removed");
    }
    for (name, text) in definitions {
        fs::write(folder.join(name), text).expect("definitions can be written");
    }
}

/// Copies a file or a folder.
pub fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).expect("a file can be copied");
        return;
    }
    fs::create_dir(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("an entry");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
