//! How fast records are appended to a log on this disk, at level `os`, without a producer and with one.
//!
//! `cargo run -p watershed-log --example append_rate`
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use watershed_log::{
    Append, AppendFuture, Durability, EventLog, FileLog, NumberedFuture, Numbering, Options, ProducerId, SystemClock,
};

const PARTITIONS: u32 = 4;
const RECORD_BYTES: usize = 100;
/// Appends under way.
const IN_FLIGHT: usize = 4;

enum Waiting {
    Unnumbered(AppendFuture),
    Numbered(NumberedFuture),
}

impl Waiting {
    fn wait(self, runtime: &tokio::runtime::Runtime) -> Result<(), Box<dyn std::error::Error>> {
        match self {
            Self::Unnumbered(append) => drop(runtime.block_on(append)?),
            Self::Numbered(append) => drop(runtime.block_on(append)?),
        }
        Ok(())
    }
}

/// Records per second.
fn rate(records_per_append: usize, appends: usize, numbered: bool) -> Result<f64, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let log = FileLog::open_writer(dir.path(), Options::default(), Arc::new(SystemClock))?;
    log.create_source("s", PARTITIONS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let producer = ProducerId::new("export")?;
    let payload = bytes::Bytes::from(vec![b'x'; RECORD_BYTES]);
    let mut waiting = VecDeque::new();
    let begun = Instant::now();
    for append in 0..appends {
        let record = |at: usize| Append::new((at * 7 + at / 3) as u32 % PARTITIONS, payload.clone());
        let records: Vec<Append> = (0..records_per_append).map(record).collect();
        if waiting.len() == IN_FLIGHT
            && let Some(oldest) = waiting.pop_front()
        {
            Waiting::wait(oldest, &runtime)?;
        }
        waiting.push_back(if numbered {
            let numbering = Numbering { producer: producer.clone(), first: (append * records_per_append) as u64 };
            Waiting::Numbered(log.submit_numbered("s", numbering, records, Some(Durability::Os)))
        } else {
            Waiting::Unnumbered(log.submit("s", records, Some(Durability::Os)))
        });
    }
    waiting.into_iter().try_for_each(|append| append.wait(&runtime))?;
    let seconds = begun.elapsed().as_secs_f64();
    log.close()?;
    Ok((records_per_append * appends) as f64 / seconds)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (records, appends) in [(1, 40_000), (100, 10_000), (10_000, 200)] {
        for numbered in [false, true] {
            let mut rates = (0..5).map(|_| rate(records, appends, numbered)).collect::<Result<Vec<_>, _>>()?;
            rates.sort_by(f64::total_cmp);
            let who = if numbered { "a producer's" } else { "unnumbered" };
            println!("{records:6} records of {RECORD_BYTES} bytes an append, {who}: {:.0} records/s", rates[2]);
        }
    }
    Ok(())
}
