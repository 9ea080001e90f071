//! SQL: planned, or refused with a place in the text; what is planned runs within its budget.

use std::sync::{
    LazyLock,
    atomic::{AtomicU32, Ordering},
};

use polars::prelude::DataFrame;

use crate::{
    catalog::Catalog,
    decode::{ColumnSet, Decoder, RawRecord},
    error::Diagnostic,
    explain,
    key::KeyFilter,
    partial::CoreKernel,
    registry::Registry,
    sql::{SqlFile, render},
    tail::{BoxError, Budget, Relations, TailPlan},
    time::MAX_TIMESTAMP,
};

const DEFINITIONS: &str = "
CREATE TABLE t (ts TIMESTAMP NOT NULL, g TEXT NOT NULL, h INT, v BIGINT, d DOUBLE, m DECIMAL(12,2), b BOOLEAN, y DATE, j JSON)
WITH (event_time = 'ts', partitions = 2, partition_by = 'g', lateness = '10 seconds');
CREATE MATERIALIZED VIEW p AS SELECT g, h, COUNT(*) AS n, SUM(v) AS v, SUM(d) AS d, MAX(m) AS m FROM t GROUP BY g, h;
CREATE MATERIALIZED VIEW q AS SELECT window_start, g, COUNT(DISTINCT h) AS n FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY g, window_start;
CREATE MATERIALIZED VIEW r AS SELECT ts, g, v, j, y FROM t WHERE b;
CREATE VIEW s AS SELECT g, n FROM p WHERE n > 1;
";

const RECORDS: [&str; 5] = [
    r#"{"ts":"2026-01-01T00:00:30Z","g":"a","h":1,"v":10,"d":1.5,"m":0.25,"b":true,"y":"2024-02-29","j":{"a":[1]}}"#,
    r#"{"ts":"2026-01-01T00:01:30Z","g":"a","h":2,"v":-5,"d":1e300,"b":true}"#,
    r#"{"ts":"2026-01-01T00:00:10Z","g":"","v":9223372036854775807}"#,
    r#"{"ts":"0001-01-01T00:00:00Z","g":"é","h":-1,"d":"NaN","b":false}"#,
    r#"{"ts":"9999-12-31T23:59:59Z","g":"a","h":1,"m":-9999999999.99,"b":true,"j":"x"}"#,
];

/// Looks at the budget before a run is told to stop: no query of few rows needs so many.
const LOOKS_MAX: u32 = 20_000;

struct World {
    catalog: Catalog,
    rows: Vec<(String, DataFrame)>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let catalog = planned("").unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let rows = catalog.materialized().map(|(view, core)| {
        let kernel = CoreKernel::compile(core, &Registry::new()).expect("it is planned");
        let mut builder = kernel.builder();
        let records = (0..).zip(RECORDS).map(|(offset, payload)| RawRecord {
            offset,
            append_time_micros: MAX_TIMESTAMP,
            payload: payload.as_bytes(),
        });
        let decoded = Decoder::new(&core.source).decode(0, records, &kernel.columns_needed());
        builder.push(&decoded.batch).expect("a batch of its own source");
        (view.name.clone(), kernel.finish(&builder.finish()).expect("small numbers"))
    });
    let rows = rows.collect();
    World { catalog, rows }
});

impl Relations for World {
    fn scan(&self, view: &str, _: &KeyFilter, _: &ColumnSet) -> Result<DataFrame, BoxError> {
        let found = self.rows.iter().find(|(name, _)| name == view);
        found.map(|(_, rows)| rows.clone()).ok_or_else(|| format!("no {view}").into())
    }
}

fn planned(text: &str) -> Result<Catalog, Vec<Diagnostic>> {
    Catalog::from_sql(&[SqlFile::new("known.sql", DEFINITIONS), SqlFile::new("fuzzed.sql", text)], &Registry::new())
}

/// Takes any text: as definitions beside known ones, and as a query over those.
pub fn sql(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match planned(&text) {
        Ok(catalog) => compiled(&catalog),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            mistakes.iter().filter(|mistake| mistake.file == "fuzzed.sql").for_each(|mistake| placed(mistake, &text));
        }
    }
    match WORLD.catalog.plan_query(&text, &Registry::new()) {
        Err(mistake) => placed(&mistake, &text),
        Ok(query) => {
            explain::rel(&query.rel);
            let Ok(plan) = TailPlan::compile(&query.rel, &Registry::new()) else { return };
            let looks = AtomicU32::new(0);
            let stopped = || looks.fetch_add(1, Ordering::Relaxed) > LOOKS_MAX;
            if let Ok(rows) = plan.execute_within(&*WORLD, &Budget::new(4 << 20, 1 << 16, &stopped)) {
                assert_eq!(rows.width(), query.schema.fields.len());
            }
        }
    }
}

/// Every view compiles, and its text means the same again.
fn compiled(catalog: &Catalog) {
    for view in catalog.views.values() {
        explain::rel(&view.tail);
        let _ = TailPlan::compile(&view.tail, &Registry::new());
        if let Some(core) = &view.core {
            explain::core(core);
            let _ = CoreKernel::compile(core, &Registry::new());
        }
    }
}

fn placed(mistake: &Diagnostic, text: &str) {
    let span = &mistake.span;
    assert!(span.start <= span.end && span.end <= text.len(), "{mistake:?}");
    assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{mistake:?}");
    render(mistake, text);
}

pub(super) fn corpus() -> Vec<Vec<u8>> {
    [
        "CREATE TABLE u (a TEXT NOT NULL, \"B\" DECIMAL(38,10), c TIMESTAMP NOT NULL) WITH (event_time = c, partitions = 3);",
        "CREATE MATERIALIZED VIEW v AS SELECT window_end, g, SUM(m) / COUNT(*) AS mean, COUNT(DISTINCT h) FILTER (WHERE v > 3) FROM \
         HOP(t, ts, INTERVAL '1 minute', INTERVAL '5 minutes') WHERE g IN ('a', 'b') GROUP BY 1, g HAVING mean > 5;",
        "CREATE MATERIALIZED VIEW w WITH (buckets = 4) AS SELECT g, FIRST(v), LAST(j), APPROX_PERCENTILE(d, 0.5), VAR_POP(m) FROM t GROUP BY g;",
        "CREATE VIEW x AS WITH a AS (SELECT g, n FROM p) SELECT a.*, r.v, RANK() OVER (PARTITION BY g ORDER BY n DESC) k FROM a JOIN r \
         USING (g) QUALIFY k < 3 ORDER BY 1 LIMIT 3 OFFSET 2;",
        "SELECT g, SUM(n) AS n FROM p GROUP BY g HAVING COUNT(*) > 1 ORDER BY n DESC NULLS LAST LIMIT 5",
        "SELECT a.g, b.h FROM p a FULL JOIN p b ON a.h = b.h UNION ALL VALUES ('x', 1)",
        "SELECT DISTINCT CASE WHEN n > 1 THEN LEFT(g, 2) ELSE REPLACE(g, 'a', 'bb') || 'x' END AS c FROM p WHERE NOT g LIKE '%a_'",
        "SELECT CAST(g AS INT), DATE_TRUNC('day', window_start, 'Asia/Tokyo'), window_start + INTERVAL '1 month' FROM q",
        "SELECT ROUND(d, 2), m * 2, v % 3, -v, ABS(v), JSON_VALUE(j, '$.a[0]'), REGEXP_REPLACE(g, '(a+)', '<$1>') FROM p CROSS JOIN r",
        "SELECT LAG(n, 2) OVER (ORDER BY g), NTILE(3) OVER (PARTITION BY h ORDER BY n) FROM p WHERE d IS DISTINCT FROM 1.5e10",
        "SELECT 1; SELECT 2",
        "-- only a comment",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
