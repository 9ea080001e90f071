//! Prints how fast the speed layer replays a backlog, and how long a small micro-batch takes until it is visible:
//! `cargo build --workspace --examples`, then `target/debug/examples/tail_rate`.

use std::{error::Error, io::Write, sync::Arc, time::Instant};

use watershed_log::{Append, EventLog, ManualClock, MemoryLog};
use watershed_pipelines::{catalog::Catalog, registry::Registry, sql::SqlFile};
use watershed_speed::{Built, SpeedLayer, SpeedOptions};

const RECORDS: u64 = 1_000_000;
const PARTITIONS: u32 = 4;
const SMALL_BATCHES: usize = 2_000;

const DEFINITIONS: &str = "
CREATE TABLE payments (
    event_id TEXT NOT NULL, ts TIMESTAMP NOT NULL, card TEXT NOT NULL, merchant TEXT, country TEXT, amount DECIMAL(12,2),
    status TEXT
) WITH (event_time = 'ts', partitions = 4, partition_by = 'card', lateness = '10 seconds');
CREATE MATERIALIZED VIEW card_minute AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, MAX(amount) AS largest
FROM TUMBLE(payments, ts, INTERVAL '1 minute') WHERE status = 'approved' GROUP BY card, window_start;
";

fn payment(n: u64) -> Append {
    // A generator of numbers that needs no crate: the high bits of a multiplication.
    let random = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % 10_000;
    let (second, milli) = (n / 1000 % 3600, n % 1000);
    let status = if random.is_multiple_of(10) { "declined" } else { "approved" };
    let payload = format!(
        r#"{{"event_id":"{n:016x}","ts":"2026-01-01T10:{:02}:{:02}.{milli:03}Z","card":"card-{random:06}","merchant":"m{}","country":"NL","amount":{}.{:02},"status":"{status}"}}"#,
        second / 60,
        second % 60,
        random % 500,
        random % 900,
        n % 100,
    );
    Append::new((random % u64::from(PARTITIONS)) as u32, payload)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let registry = Registry::new();
    let catalog = Catalog::from_sql(&[SqlFile::new("payments.sql", DEFINITIONS)], &registry)
        .map_err(|mistakes| mistakes.into_iter().map(|m| m.to_string()).collect::<Vec<_>>().join("\n"))?;
    let log = Arc::new(MemoryLog::new(Arc::new(ManualClock::new(1_767_261_600_000_000))));
    log.create_source("payments", PARTITIONS)?;
    let mut bytes = 0;
    for first in (0..RECORDS).step_by(10_000) {
        let records: Vec<Append> = (first..first + 10_000).map(payment).collect();
        bytes += records.iter().map(|record| record.payload.len()).sum::<usize>();
        log.append("payments", records)?;
    }
    let built = Built::default();
    let layer = SpeedLayer::new(Arc::new(catalog), &registry, log.clone(), SpeedOptions::default(), &built)?;

    let begin = Instant::now();
    while layer.step()? {}
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(
        out,
        "backlog: {RECORDS} records, {:.0} MB in {seconds:.2} s: {:.2} M records/s",
        bytes as f64 / 1e6,
        RECORDS as f64 / seconds / 1e6
    )?;

    for size in [1, 10, 100, 1000] {
        let mut micros = Vec::with_capacity(SMALL_BATCHES);
        for n in 0..SMALL_BATCHES as u64 {
            log.append("payments", (0..size).map(|i| payment(RECORDS + n * size + i)).collect())?;
            let begin = Instant::now();
            while layer.step()? {}
            micros.push(begin.elapsed().as_micros());
        }
        micros.sort_unstable();
        let percentile = |percent: usize| micros[(micros.len() - 1) * percent / 100];
        writeln!(
            out,
            "batches of {size}: visible after {} µs (median), {} µs (99 %), {} µs (longest)",
            percentile(50),
            percentile(99),
            percentile(100)
        )?;
    }
    Ok(())
}
