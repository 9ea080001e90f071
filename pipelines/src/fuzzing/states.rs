//! Stored states of aggregates: whatever stands in their place is read as what was written, or refused.

use std::sync::LazyLock;

use polars::prelude::{BinaryChunked, DataFrame, Float64Chunked, IntoColumn as _, NewChunkedArray as _};

use crate::{
    catalog::Catalog,
    decode::{Decoder, RawRecord},
    partial::{CoreKernel, TableLayout},
    registry::Registry,
    source::ViewCounts,
    sql::SqlFile,
    time::MAX_TIMESTAMP,
};

const DEFINITIONS: &str = "
CREATE TABLE t (ts TIMESTAMP NOT NULL, g TEXT, i INT, l BIGINT, d DOUBLE, m DECIMAL(12,2), b BOOLEAN) WITH (event_time = 'ts');
CREATE MATERIALIZED VIEW v AS
SELECT g, COUNT(*) AS c, COUNT(i) AS ci, SUM(i) AS si, SUM(l) AS sl, SUM(m) AS sm, SUM(d) AS sd, AVG(d) AS ad, AVG(m) AS am,
       VAR_SAMP(d) AS vd, STDDEV_POP(m) AS dm, MIN(g) AS lg, MAX(l) AS xl, MIN(m) AS lm, MAX(d) AS xd, BOOL_AND(b) AS ab, BOOL_OR(b) AS ob,
       FIRST(g) AS fg, LAST(d) AS ld, LAST(m) AS lam, APPROX_COUNT_DISTINCT(g) AS h, APPROX_PERCENTILE(d, 0.9) AS p
FROM t GROUP BY g;
";

const RECORDS: [&str; 6] = [
    r#"{"ts":"2026-01-01T00:00:00Z","g":"a","i":1,"l":9223372036854775807,"d":0.1,"m":0.01,"b":true}"#,
    r#"{"ts":"2026-01-01T00:00:01Z","g":"a","i":-7,"l":9223372036854775807,"d":1e300,"m":9999999999.99,"b":false}"#,
    r#"{"ts":"2026-01-01T00:00:02Z","g":"a","d":-1e-300}"#,
    r#"{"ts":"2026-01-01T00:00:02Z","d":"NaN","b":true}"#,
    r#"{"ts":"2026-01-01T00:00:03Z","g":"","d":"-Infinity","l":-1}"#,
    r#"{"ts":"2026-01-01T00:00:04Z","g":"b","d":5e-324,"m":-1}"#,
];

struct World {
    kernel: CoreKernel,
    frame: DataFrame,
    /// Names of the columns with states.
    states: Vec<String>,
    /// Names of the columns with what rounding took away.
    rests: Vec<String>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let catalog = Catalog::from_sql(&[SqlFile::new("known.sql", DEFINITIONS)], &Registry::new());
    let catalog = catalog.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let (_, core) = catalog.materialized().next().expect("a view");
    let kernel = CoreKernel::compile(core, &Registry::new()).expect("it is planned");
    let mut builder = kernel.builder();
    let records = (0..).zip(RECORDS).map(|(offset, payload)| RawRecord {
        offset,
        append_time_micros: MAX_TIMESTAMP,
        payload: payload.as_bytes(),
    });
    let decoded = Decoder::new(&core.source).decode(0, records, &kernel.columns_needed());
    builder.push(&decoded.batch).expect("a batch of its own source");
    let frame = kernel.to_frame(0, &builder.finish()).expect("partials of its own");
    let TableLayout { states, rests, .. } = kernel.tables().swap_remove(0);
    World { kernel, frame, states, rests }
});

/// Takes bytes that stand in the place of a state, or of the number that rounding took away: the first says in which column, the second in
/// which row.
pub fn states(bytes: &[u8]) {
    let [column, row, cell @ ..] = bytes else { return };
    let world = &*WORLD;
    let row = usize::from(*row) % world.frame.height();
    let beside: Vec<&String> = world.states.iter().chain(&world.rests).collect();
    let name = beside[usize::from(*column) % beside.len()];
    let whole = world.frame.column(name).expect("a column beside the values");
    let changed = match whole.binary() {
        Ok(cells) => {
            let changed = cells.iter().enumerate().map(|(i, other)| if i == row { Some(cell) } else { other });
            BinaryChunked::from_iter_options(name.as_str().into(), changed).into_column()
        }
        Err(_) => {
            let Some(rest) = cell.first_chunk().map(|bytes| f64::from_le_bytes(*bytes)) else { return };
            let rests = whole.f64().expect("doubles");
            let changed = rests.iter().enumerate().map(|(i, other)| if i == row { Some(rest) } else { other });
            Float64Chunked::from_iter_options(name.as_str().into(), changed).into_column()
        }
    };
    let mut frame = world.frame.clone();
    frame.with_column(changed).expect("of the same height");
    let Ok(partials) = world.kernel.from_frames(vec![frame.clone()], ViewCounts::default()) else { return };
    // What is read is what was written, in its one encoding; or nothing, where the finished value says it all.
    let back = world.kernel.to_frame(0, &partials).expect("partials of its own");
    let (read, written) = (back.column(name).expect("the same columns"), frame.column(name).expect("the same columns"));
    let (read, written) = (read.get(row).expect("a row"), written.get(row).expect("a row"));
    assert!(read.is_null() || read == written, "{name} has another encoding: {read} for {written}");
    // It merges and finishes, or says that it does not fit.
    let merged = world.kernel.merge(&[&partials, &partials]).expect("partials of its own");
    let _ = world.kernel.finish(&merged);
    let _ = world.kernel.finish(&partials);
}

pub(super) fn corpus() -> Vec<Vec<u8>> {
    let world = &*WORLD;
    let mut corpus = Vec::new();
    for (index, name) in world.states.iter().enumerate() {
        let cells = world.frame.column(name).expect("a column of states").binary().expect("bytes").clone();
        for (row, cell) in cells.iter().enumerate() {
            corpus.extend(cell.map(|cell| [&[index as u8, row as u8], cell].concat()));
        }
    }
    for (index, name) in (world.states.len()..).zip(&world.rests) {
        let rests = world.frame.column(name).expect("a column of rests").f64().expect("doubles").clone();
        for (row, rest) in rests.iter().enumerate() {
            corpus.extend(rest.map(|rest| [&[index as u8, row as u8], rest.to_le_bytes().as_slice()].concat()));
        }
    }
    corpus
}
