//! The definitions that histories use and change between: small, compiled once.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use watershed_pipelines::{
    catalog::Catalog, decode::Decoder, partial::CoreKernel, registry::Registry, source::Source, sql::SqlFile,
};

use super::reference::Meaning;

const PAYS: &str = "
CREATE TABLE pays (id TEXT NOT NULL, ts TIMESTAMP NOT NULL, card TEXT NOT NULL, amount DECIMAL(12,2), score DOUBLE, n INT)
WITH (event_time = 'ts', partitions = 2, partition_by = 'card', lateness = '10 seconds', max_ahead = '1 hour');
";
/// The same table, whose records are late only after an hour: the books must be written anew.
const PAYS_PATIENT: &str = "
CREATE TABLE pays (id TEXT NOT NULL, ts TIMESTAMP NOT NULL, card TEXT NOT NULL, amount DECIMAL(12,2), score DOUBLE, n INT)
WITH (event_time = 'ts', partitions = 2, partition_by = 'card', lateness = '1 hour', max_ahead = '1 hour');
";
const TAPS: &str = "CREATE TABLE taps (id TEXT NOT NULL, n INT) WITH (partitions = 1);";

const MINUTES: &str = "
CREATE MATERIALIZED VIEW minutes AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, SUM(score) AS score, MAX(amount) AS largest
FROM TUMBLE(pays, ts, INTERVAL '1 minute') WHERE amount > 0 GROUP BY card, window_start;
";
/// Another core under the same name.
const MINUTES_CHANGED: &str = "
CREATE MATERIALIZED VIEW minutes AS
SELECT card, window_start, COUNT(*) AS n, MIN(amount) AS least
FROM TUMBLE(pays, ts, INTERVAL '1 minute') GROUP BY card, window_start;
";
const QUOTIENTS: &str = "
CREATE MATERIALIZED VIEW quotients WITH (buckets = 2) AS SELECT n, COUNT(*) AS c, SUM(100 / n) AS q FROM pays GROUP BY n;
";
const LARGE: &str = "
CREATE MATERIALIZED VIEW large AS SELECT id, card, amount FROM pays WHERE amount > 10;
";
const LATEST: &str = "
CREATE MATERIALIZED VIEW latest WITH (buckets = 2) AS SELECT card, LAST(id) AS last, COUNT(DISTINCT n) AS kinds FROM pays GROUP BY card;
";
const HOPS: &str = "
CREATE MATERIALIZED VIEW hops AS SELECT window_start, COUNT(*) AS n
FROM HOP(pays, ts, INTERVAL '1 minute', INTERVAL '3 minutes') GROUP BY window_start;
";
const TAPPED: &str = "
CREATE MATERIALIZED VIEW tapped WITH (buckets = 2) AS SELECT n, COUNT(*) AS c, MAX(_append_time) AS latest FROM taps GROUP BY n;
";
const BUSY: &str = "CREATE VIEW busy AS SELECT card, window_start, n FROM minutes WHERE n > 1;";

/// What a history's definitions are at a time.
pub struct Definitions {
    /// Planned.
    pub catalog: Arc<Catalog>,
    /// What each view means, said independently.
    pub meanings: BTreeMap<String, Meaning>,
    /// The materialized views' kernels.
    pub kernels: BTreeMap<String, CoreKernel>,
    /// The tables' decoders, which say where a producer's record goes.
    pub decoders: BTreeMap<String, Decoder>,
}

impl Definitions {
    fn new(tables: &[&str], views: &[(&str, &str, Meaning)]) -> Definitions {
        let sql: String = tables.iter().copied().chain(views.iter().map(|view| view.1)).collect();
        let catalog = Catalog::from_sql(&[SqlFile::new("simulation.sql", sql)], &Registry::new());
        let catalog = catalog.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let kernel = |core| CoreKernel::compile(core, &Registry::new()).expect("the view compiles");
        let kernels = catalog.materialized().map(|(view, core)| (view.name.clone(), kernel(core))).collect();
        let decoders = catalog.sources.iter().map(|(name, source)| (name.clone(), Decoder::new(source))).collect();
        let meanings = views.iter().map(|(name, _, meaning)| ((*name).to_owned(), *meaning)).collect();
        Definitions { catalog: Arc::new(catalog), meanings, kernels, decoders }
    }

    /// The table that a materialized view reads.
    pub fn source_of(&self, view: &str) -> &Source {
        &self.kernels[view].core().source
    }

    /// The fingerprint of a view.
    pub fn fingerprint(&self, view: &str) -> &str {
        &self.catalog.views[view].fingerprint
    }
}

/// All definitions; a history begins with the first ones.
pub static ALL: LazyLock<Vec<Definitions>> = LazyLock::new(|| {
    let minutes = ("minutes", MINUTES, Meaning::Minutes);
    let quotients = ("quotients", QUOTIENTS, Meaning::Quotients);
    let large = ("large", LARGE, Meaning::Large);
    let latest = ("latest", LATEST, Meaning::Latest);
    let busy = ("busy", BUSY, Meaning::Busy);
    vec![
        Definitions::new(&[PAYS], &[minutes, quotients, large, latest, busy]),
        // A core changes.
        Definitions::new(&[PAYS], &[("minutes", MINUTES_CHANGED, Meaning::MinutesChanged), quotients, large]),
        // A view goes, another comes.
        Definitions::new(&[PAYS], &[minutes, quotients, latest, ("hops", HOPS, Meaning::Hops)]),
        // A declaration changes.
        Definitions::new(&[PAYS_PATIENT], &[minutes, large, latest]),
        // A table comes.
        Definitions::new(&[PAYS, TAPS], &[minutes, latest, ("tapped", TAPPED, Meaning::Tapped), busy]),
    ]
});
