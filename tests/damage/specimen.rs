//! A small project at rest with a file of every kind, and what it answers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use watershed::{
    BatchOptions, Catalog, Fsck, FsckOptions, Project, Registry, SqlFile, Value,
    config::{Config, Overrides},
    output::{Cells, value_text},
};
use watershed_log::{ManualClock, Numbering, ProducerId};

pub const BEGIN_MICROS: i64 = 1_772_000_000_000_000;

const DEFINITIONS: &str = "
CREATE TABLE orders (ts TIMESTAMP NOT NULL, shop TEXT, amount DECIMAL(9,2), parts INT)
WITH (event_time = 'ts', partitions = 2, partition_by = 'shop');
CREATE TABLE visits (ts TIMESTAMP NOT NULL, shop TEXT) WITH (event_time = 'ts', partitions = 1);
CREATE MATERIALIZED VIEW daily AS
SELECT shop, window_start, COUNT(*) AS n, SUM(amount) AS total, COUNT(DISTINCT parts) AS kinds
FROM TUMBLE(orders, ts, INTERVAL '1 day') GROUP BY shop, window_start;
CREATE MATERIALIZED VIEW shares AS SELECT shop, SUM(100 / parts) AS share FROM orders GROUP BY shop;
CREATE MATERIALIZED VIEW large AS SELECT shop, amount, ts FROM orders WHERE amount > 5;
CREATE MATERIALIZED VIEW traffic AS SELECT shop, COUNT(*) AS visits FROM visits GROUP BY shop;
CREATE VIEW best AS SELECT shop, SUM(total) AS total FROM daily GROUP BY shop;
";

/// The views over `visits` alone: what nothing that happens to `orders` may change.
pub const OF_VISITS: [&str; 1] = ["traffic"];

/// The rows of every view, as texts, sorted.
pub type Answers = BTreeMap<String, Vec<Vec<Option<String>>>>;

/// Every file, by its path below the project's directory.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

pub type Result<T> = std::result::Result<T, watershed::Error>;

/// Appends of the specimen, and orders in each.
const ROUNDS: u64 = 3;
const ORDERS: u64 = 15;

/// The orders of a round; the last one is refused.
fn orders(round: u64) -> Vec<String> {
    let order = |n: u64| {
        let (shop, cents, parts) = ((n * 7 + round) % 3, n * 137 % 1000, n % 4);
        let (day, hour) = (20 + n % 2, n % 24);
        format!(
            r#"{{"ts":"2026-02-{day}T{hour:02}:00:00Z","shop":"shop-{shop}","amount":{}.{:02},"parts":{parts}}}"#,
            cents / 100,
            cents % 100
        )
    };
    let mut orders: Vec<String> = (0..ORDERS - 1).map(|n| order(round * (ORDERS - 1) + n)).collect();
    orders.push("{\"ts\": \"never\"}".to_owned());
    orders
}

/// A project that is opened anew each time, as by another process.
pub struct Specimen {
    pub directory: TempDir,
    pub files: Files,
    pub answers: Answers,
    /// What it answers as of the first epoch.
    pub first: Answers,
    catalog: Catalog,
    config: Config,
    runtime: Runtime,
}

/// A directory where `fsync` costs nothing, if there is one.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("ws");
    if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.expect("a directory")
}

impl Specimen {
    pub fn new() -> Specimen {
        let registry = Registry::new();
        let catalog = Catalog::from_sql(&[SqlFile::new("d.sql", DEFINITIONS)], &registry).expect("they are right");
        let settings = [("log.segment_age", "500 ms"), ("batch.keep_minutes", "100000")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let overrides = Overrides { environment: Some(std::collections::HashMap::new()), settings };
        let config = Config::without_file(&overrides).expect("a configuration");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        let mut specimen = Specimen {
            directory: directory(),
            files: Files::new(),
            answers: Answers::new(),
            first: Answers::new(),
            catalog,
            config,
            runtime,
        };
        for round in 0..ROUNDS {
            specimen.append(round);
            if round < 2 {
                specimen.batch(false).expect("it runs");
            }
        }
        specimen.files = files_in(specimen.path());
        specimen.answers = specimen.answers_now().expect("it answers");
        specimen.first = specimen.answers_as_of(1).expect("it answers");
        specimen
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The project, as a new process sees it.
    pub fn project(&self) -> Result<Project> {
        Project::builder(self.path())
            .config(self.config.clone())
            .catalog(self.catalog.clone())
            .clock(Arc::new(ManualClock::new(BEGIN_MICROS + 86_400_000_000)))
            .open()
    }

    pub fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(future)
    }

    fn append(&self, round: u64) {
        let clock = ManualClock::new(BEGIN_MICROS + round as i64 * 1_000_000);
        let project = Project::builder(self.path()).config(self.config.clone()).catalog(self.catalog.clone());
        let project = project.clock(Arc::new(clock)).open().expect("it opens");
        // One by one, and numbered: what a segment says about producers is in all of them.
        for (number, order) in (round * ORDERS..).zip(orders(round)) {
            self.send_orders(&project, number, vec![order]).expect("it is acknowledged");
        }
        let visits = (0..5).map(|n| format!(r#"{{"ts":"2026-02-2{n}T01:02:03Z","shop":"shop-{}"}}"#, (n + round) % 3));
        self.run(project.append("visits", visits.collect::<Vec<_>>())).expect("it is acknowledged");
    }

    /// Appends orders as the producer that numbers them, the first with this number. Gives how many the log had.
    fn send_orders(&self, project: &Project, first: u64, orders: Vec<String>) -> Result<u64> {
        let numbering = Numbering { producer: ProducerId::new("till").expect("a name"), first };
        self.run(async {
            let writer = project.writer().await?;
            let orders = orders.into_iter().map(Into::into).collect();
            let appended = writer.append_numbered("orders", numbering, orders, None).await;
            writer.close().await?;
            Ok(appended?.repeated)
        })
    }

    /// Sends all orders again, which the log has, and one that it does not have, which no view counts.
    pub fn send_all_again(&self, project: &Project) -> Result<()> {
        let all: Vec<String> = (0..ROUNDS).flat_map(orders).collect();
        let sent = all.len() as u64;
        assert_eq!(self.send_orders(project, 0, all)?, sent, "WRONG: orders were appended twice");
        let refused = vec!["{\"ts\": \"never\"}".to_owned()];
        assert_eq!(self.send_orders(project, sent, refused)?, 0, "WRONG: a new order is taken for a known one");
        Ok(())
    }

    pub fn batch(&self, full: bool) -> Result<()> {
        let project = self.project()?;
        self.run(project.run_batch(&BatchOptions { full, ..BatchOptions::default() })).map(drop)
    }

    pub fn fsck(&self, repair: bool) -> Result<Fsck> {
        let project = self.project()?;
        self.run(project.fsck(FsckOptions { repair }))
    }

    /// The rows of every view now.
    pub fn answers_now(&self) -> Result<Answers> {
        self.answers_of(self.catalog.views.keys().map(String::as_str), None)
    }

    pub fn answers_as_of(&self, epoch: u64) -> Result<Answers> {
        self.answers_of(self.catalog.views.keys().map(String::as_str), Some(epoch))
    }

    pub fn answers_of<'a>(&self, views: impl IntoIterator<Item = &'a str>, as_of: Option<u64>) -> Result<Answers> {
        let project = self.project()?;
        let mut answers = Answers::new();
        for view in views {
            let options = watershed::QueryOptions { as_of, ..watershed::QueryOptions::default() };
            let answer = self.run(project.query_with(&format!("SELECT * FROM {view}"), options))?;
            let cells = Cells::new(&answer.frame, &answer.schema)?;
            let text = |column: usize, row: usize| match cells.value(column, row) {
                Value::Timestamp(micros) => Some(micros.to_string()),
                value => value_text(&value, cells.data_type(column)),
            };
            let columns = answer.schema.fields.len();
            let mut rows: Vec<Vec<_>> =
                (0..cells.height()).map(|row| (0..columns).map(|column| text(column, row)).collect()).collect();
            rows.sort();
            answers.insert(view.to_owned(), rows);
        }
        Ok(answers)
    }

    /// Makes the directory what it was.
    pub fn restore(&self) {
        write_files(self.path(), &self.files);
    }

    /// Puts other bytes, or nothing, in the place of a file.
    pub fn damage(&self, file: &Path, bytes: Option<&[u8]>) {
        let path = self.path().join(file);
        match bytes {
            Some(bytes) => fs::write(path, bytes),
            None => fs::remove_file(path),
        }
        .expect("it can be damaged");
    }

    /// One file of each kind, with the kind's name.
    pub fn kinds(&self) -> Vec<(&'static str, PathBuf)> {
        let last = |starts: &str, ends: &str| -> PathBuf {
            let fits = |path: &&PathBuf| {
                let path = path.to_str().expect("Unicode");
                path.starts_with(starts) && path.ends_with(ends)
            };
            self.files.keys().rfind(fits).unwrap_or_else(|| panic!("{starts}…{ends}")).clone()
        };
        let first_segment = "log/orders/0/00000000000000000000";
        let newest = "store/data/00000000000000000002-";
        let of_view = |view: &str, table: &str| {
            let fits = |path: &&PathBuf| {
                let path = path.to_str().expect("Unicode");
                path.starts_with(newest) && path.contains(&format!("/{view}/{table}"))
            };
            self.files.keys().rfind(fits).unwrap_or_else(|| panic!("{view}/{table}")).clone()
        };
        vec![
            ("sealed segment", last(first_segment, ".segment")),
            ("offset index", last(first_segment, ".index")),
            ("time index", last(first_segment, ".timeindex")),
            ("active segment", last("log/orders/0/", ".segment")),
            ("head", last("log/orders/0/", "head")),
            ("source file", last("log/orders/", "/source")),
            ("newest epoch", last("store/epochs/", ".json")),
            ("manifest", last("store/manifests/", ".json")),
            ("view", of_view("daily", "groups")),
            ("view's second table", of_view("daily", "distinct_")),
            ("view of rows", of_view("large", "groups")),
            ("rejected records", of_view("shares", "rejected")),
            ("archive", last("store/archive/00000000000000000002-", ".parquet")),
        ]
    }
}

pub fn files_in(directory: &Path) -> Files {
    fn walk(root: &Path, directory: &Path, files: &mut Files) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, files);
            } else if let Ok(bytes) = fs::read(&path) {
                files.insert(path.strip_prefix(root).expect("below it").to_owned(), bytes);
            }
        }
    }
    let mut files = Files::new();
    walk(directory, directory, &mut files);
    files
}

/// Makes the directory hold exactly these files.
pub fn write_files(directory: &Path, files: &Files) {
    for path in files_in(directory).into_keys().filter(|path| !files.contains_key(path)) {
        fs::remove_file(directory.join(path)).expect("it can be removed");
    }
    for (path, bytes) in files {
        let path = directory.join(path);
        if fs::read(&path).ok().as_ref() != Some(bytes) {
            fs::create_dir_all(path.parent().expect("in a directory")).expect("a directory");
            fs::write(path, bytes).expect("it can be written");
        }
    }
}
