//! Tails over real views' rows: what queries give, and that the order of rows scanned never matters.

use std::{collections::BTreeMap, sync::Mutex};

use polars::prelude::{DataFrame, IdxCa, IdxSize};
use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rayon::prelude::*;

use super::{BoxError, Relations, TailPlan, Take};
use crate::{
    catalog::Catalog,
    decode::{ColumnSet, Decoder, RawRecord},
    error::PipelineError,
    key::KeyFilter,
    partial::CoreKernel,
    registry::Registry,
    sql::SqlFile,
    types::Value as Scalar,
};

const DEFINITIONS: &str = "
CREATE TABLE t (g TEXT NOT NULL, h INT, v BIGINT, d DOUBLE) WITH (partitions = 1);
CREATE MATERIALIZED VIEW m AS
SELECT g, h, SUM(v) AS total, COUNT(*) AS n, AVG(d) AS mean FROM t GROUP BY g, h;
CREATE MATERIALIZED VIEW p AS SELECT g, COUNT(*) AS c FROM t GROUP BY g;
CREATE VIEW busy AS SELECT g, c FROM p WHERE c > 1;
";

const RECORDS: &[&str] = &[
    r#"{"g":"a","h":1,"v":10,"d":1.0}"#,
    r#"{"g":"a","h":1,"v":5,"d":2.0}"#,
    r#"{"g":"a","h":2,"v":7}"#,
    r#"{"g":"b","h":1,"v":3,"d":0.5}"#,
    r#"{"g":"b","v":1,"d":4.0}"#,
    r#"{"g":"c"}"#,
];

/// Query, rows with `|` between columns.
const QUERIES: &[(&str, &[&str])] = &[
    ("SELECT g, h, total FROM m", &["a|1|15", "a|2|7", "b|NULL|1", "b|1|3", "c|NULL|NULL"]),
    ("SELECT n, mean FROM m WHERE h = 1", &["1|0.5", "2|1.5"]),
    ("SELECT g, h FROM m ORDER BY total DESC", &["c|NULL", "a|1", "a|2", "b|1", "b|NULL"]),
    ("SELECT g, h FROM m ORDER BY total LIMIT 2", &["b|NULL", "b|1"]),
    ("SELECT g, h FROM m ORDER BY total DESC NULLS LAST LIMIT 2 OFFSET 1", &["a|2", "b|1"]),
    ("SELECT g, h FROM m ORDER BY n DESC", &["a|1", "a|2", "b|NULL", "b|1", "c|NULL"]),
    ("SELECT n, g FROM m LIMIT 2", &["1|a", "1|b"]),
    ("SELECT g, SUM(total) AS s, COUNT(*) AS c FROM m GROUP BY g HAVING COUNT(*) > 1", &["a|22|2", "b|4|2"]),
    ("SELECT COUNT(*) AS c, SUM(n) AS s FROM m WHERE g = 'nothing'", &["0|NULL"]),
    ("SELECT AVG(mean) AS a, COUNT(DISTINCT h) AS d FROM m", &["2.0|2"]),
    ("SELECT a.g, a.h, b.g AS o FROM m a JOIN m b ON a.h = b.h WHERE a.g < b.g", &["a|1|b"]),
    (
        "SELECT a.g, a.h, b.n FROM m a LEFT JOIN (SELECT * FROM m WHERE g = 'b') b ON a.h = b.h",
        &["a|1|1", "a|2|NULL", "b|NULL|NULL", "b|1|1", "c|NULL|NULL"],
    ),
    (
        "SELECT a.total, b.g FROM (SELECT * FROM m WHERE h = 2) a RIGHT JOIN p b ON a.g = b.g",
        &["NULL|b", "NULL|c", "7|a"],
    ),
    ("SELECT COUNT(*) AS c, COUNT(a.g) AS l, COUNT(b.g) AS r FROM m a FULL JOIN p b ON a.h = b.c", &["6|5|4"]),
    ("SELECT COUNT(*) AS c FROM m CROSS JOIN p", &["15"]),
    ("SELECT a.g, b.g AS o FROM p a JOIN p b ON a.c > b.c", &["a|b", "a|c", "b|c"]),
    (
        "SELECT g, h, ROW_NUMBER() OVER (PARTITION BY g ORDER BY total DESC NULLS LAST) AS r FROM m",
        &["a|1|1", "a|2|2", "b|NULL|2", "b|1|1", "c|NULL|1"],
    ),
    (
        "SELECT g, h, RANK() OVER (ORDER BY n) AS r, DENSE_RANK() OVER (ORDER BY n) AS d FROM m",
        &["a|1|5|2", "a|2|1|1", "b|NULL|1|1", "b|1|1|1", "c|NULL|1|1"],
    ),
    ("SELECT g, NTILE(2) OVER (ORDER BY g) AS t FROM p", &["a|1", "b|1", "c|2"]),
    (
        "SELECT g, LAG(c) OVER (ORDER BY g) AS before, LEAD(c, 2) OVER (ORDER BY g) AS after FROM p",
        &["a|NULL|1", "b|3|NULL", "c|2|NULL"],
    ),
    ("SELECT DISTINCT h FROM m", &["NULL", "1", "2"]),
    ("SELECT g FROM busy UNION ALL SELECT g FROM p WHERE c > 2", &["a", "a", "b"]),
    ("SELECT 1 AS one, 'x' AS x", &["1|x"]),
];

struct Views {
    catalog: Catalog,
    rows: BTreeMap<String, DataFrame>,
    /// Gives the columns that are needed alone.
    few: bool,
    asked: Mutex<Vec<Vec<usize>>>,
}

impl Relations for Views {
    fn scan(&self, view: &str, _keys: &KeyFilter, columns: &ColumnSet) -> Result<DataFrame, BoxError> {
        self.asked.lock().unwrap().push(columns.iter().collect());
        let rows = &self.rows[view];
        if !self.few {
            return Ok(rows.clone());
        }
        Ok(DataFrame::new(rows.height(), columns.iter().map(|i| rows.columns()[i].clone()).collect())?)
    }

    /// Two rows at a time, from several threads.
    fn scan_parts(&self, view: &str, keys: &KeyFilter, columns: &ColumnSet, take: Take<'_>) -> Result<(), BoxError> {
        let rows = self.scan(view, keys, columns)?;
        let parts = (0..rows.height()).into_par_iter().step_by(2);
        Ok(parts.map(|start| take(rows.slice(start as i64, 2))).collect::<Result<(), _>>()?)
    }
}

impl Views {
    fn new() -> Views {
        let registry = Registry::new();
        let catalog = Catalog::from_sql(&[SqlFile::new("definitions.sql", DEFINITIONS)], &registry).unwrap();
        let mut rows = BTreeMap::new();
        for (view, core) in catalog.materialized() {
            let kernel = CoreKernel::compile(core, &registry).unwrap();
            let records = (0..).zip(RECORDS).map(|(offset, payload)| RawRecord {
                offset,
                append_time_micros: 0,
                payload: payload.as_bytes(),
            });
            let decoded = Decoder::new(&core.source).decode(0, records, &kernel.columns_needed());
            let mut builder = kernel.builder();
            builder.push(&decoded.batch).unwrap();
            rows.insert(view.name.clone(), kernel.finish(&builder.finish()).unwrap());
        }
        Views { catalog, rows, few: false, asked: Mutex::default() }
    }

    fn query(&self, sql: &str) -> Result<Vec<String>, PipelineError> {
        let registry = Registry::new();
        let query = self.catalog.plan_query(sql, &registry).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let frame = TailPlan::compile(&query.rel, &registry)?.execute(self)?;
        let text = |row: usize| {
            let values = query.schema.fields.iter().zip(frame.columns());
            let values = values.map(|(field, column)| Scalar::at(column, row).display(field.data_type).to_string());
            values.collect::<Vec<_>>().join("|")
        };
        Ok((0..frame.height()).map(text).collect())
    }

    fn shuffled(mut self, seed: u64) -> Views {
        let mut random = StdRng::seed_from_u64(seed);
        for frame in self.rows.values_mut() {
            let mut order: Vec<IdxSize> = (0..frame.height() as IdxSize).collect();
            order.shuffle(&mut random);
            *frame = frame.take(&IdxCa::from_vec("order".into(), order)).unwrap();
        }
        self
    }
}

#[test]
fn queries_give_these_rows() {
    let views = Views::new();
    for (sql, expected) in QUERIES {
        assert_eq!(views.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}")), *expected, "{sql}");
    }
}

/// Query, and the columns of m (g, h, total, n, mean) or p (g, c) that it needs of each scan.
const NEEDED: &[(&str, &[&[usize]])] = &[
    ("SELECT COUNT(*) AS c FROM m", &[&[]]),
    ("SELECT COUNT(*) AS c, SUM(total) AS s FROM m", &[&[2]]),
    ("SELECT SUM(total) FILTER (WHERE h = 1) AS s FROM m WHERE mean < 1.0", &[&[1, 2, 4]]),
    ("SELECT n FROM m ORDER BY n", &[&[3]]),
    ("SELECT g, total FROM m ORDER BY n LIMIT 2", &[&[0, 2, 3]]),
    ("SELECT * FROM p LIMIT 1", &[&[0, 1]]),
    ("SELECT COUNT(*) AS c FROM (SELECT *, LOWER(g) AS l FROM m) WHERE n > 1", &[&[3]]),
    // What can fail is evaluated whatever is asked for, and its error tells of the whole row.
    ("SELECT COUNT(*) AS c FROM (SELECT *, n + 1 AS more FROM m) WHERE n > 1", &[&[0, 1, 2, 3, 4]]),
    ("SELECT g FROM m WHERE total / n > 3", &[&[0, 1, 2, 3, 4]]),
    ("SELECT COUNT(*) AS c FROM busy", &[&[1]]),
    ("SELECT a.mean FROM m a JOIN p b ON a.g = b.g AND a.n < b.c", &[&[0, 3, 4], &[0, 1]]),
    ("SELECT COUNT(*) AS c FROM m CROSS JOIN p", &[&[], &[]]),
    ("SELECT ROW_NUMBER() OVER (ORDER BY n) AS r FROM (SELECT n, h FROM m)", &[&[1, 3]]),
    ("SELECT DISTINCT h FROM m", &[&[1]]),
    ("SELECT COUNT(*) AS c FROM (SELECT n FROM m UNION ALL SELECT c FROM p)", &[&[], &[]]),
];

#[test]
fn a_query_asks_for_the_columns_it_needs() {
    for (sql, expected) in NEEDED {
        let views = Views { few: true, ..Views::new() };
        let few = views.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(*views.asked.lock().unwrap(), *expected, "{sql}");
        assert_eq!(few, Views::new().query(sql).unwrap(), "{sql}");
    }
}

#[test]
fn a_failing_row_is_named() {
    let failing = "SELECT COUNT(q) AS c FROM (SELECT g, 10 / (h - 1) AS q FROM m)";
    for seed in 0..5 {
        let views = Views { few: seed % 2 == 0, ..Views::new() };
        let error = views.shuffled(seed).query(failing).unwrap_err().to_string();
        assert!(error.contains("\"q\": division by zero"), "{error}");
        assert!(error.contains("g = a"), "the first in canonical order: {error}");
        // Of three rows that fail, in parts that are worked on at once.
        let failing = "SELECT COUNT(q) AS c FROM (SELECT 10 / (n - 1) AS q FROM m)";
        let views = Views { few: seed % 2 == 0, ..Views::new() };
        let error = views.shuffled(seed).query(failing).unwrap_err().to_string();
        assert!(error.contains("g = a, h = 2"), "the first in canonical order: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_rows_scanned_does_not_matter(seed: u64) {
        let views = Views { few: seed % 2 == 0, ..Views::new() }.shuffled(seed);
        for (sql, expected) in QUERIES {
            prop_assert_eq!(&views.query(sql).unwrap(), expected, "{}", sql);
        }
    }
}
