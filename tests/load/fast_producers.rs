//! Producers that are faster than the disk: they wait, and nothing is lost.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{
    append, books, down,
    memory::{self, Limits},
    one, up,
};
use crate::support::{command::Workplace, wait};

const DEFINITIONS: &str = "
CREATE TABLE events (id BIGINT NOT NULL, note TEXT) WITH (partitions = 4);

CREATE MATERIALIZED VIEW totals AS SELECT COUNT(*) AS n, SUM(id) AS ids FROM events;
";

const fn limits(producers: u64) -> Limits {
    Limits { views: 1, view: 1, step: 4, batch: 16, producers }
}

fn event(i: u64) -> String {
    format!("{{\"id\":{i},\"note\":\"{}\"}}", "n".repeat(200))
}

/// Several at once, as fast as they can, every append on stable storage before it is acknowledged.
fn fast_producers(producers: u64, each: u64) {
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    let limits = limits(producers);
    place.configure(&limits.sections());
    let running = up(&place);
    thread::scope(|scope| {
        for _ in 0..producers {
            scope.spawn(|| append(&place, "events", each, event));
        }
    });
    let row = one(&place, "SELECT n, ids FROM totals");
    assert_eq!(row["n"].as_u64(), Some(producers * each), "{row}");
    assert_eq!(row["ids"].as_u64(), Some(producers * (each * (each - 1) / 2)), "{row}");
    limits.check_up(&format!("{producers} producers of {each} records each"), running.id());
    down(running);
    books(&place, "events", producers * each);
}

/// The process that writes is stopped: a producer takes a bounded part of its input, and no more; when it goes on, everything is
/// acknowledged once.
fn stopped_writer(records: u64) {
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    place.configure(&limits(1).sections());
    let running = up(&place);
    // Connected before the other is stopped.
    let mut append = place.start(["append", "events", "-", "--no-check", "--ack", "--format", "json"]);
    let mut input = append.take_input();
    input.write_all(format!("{}\n", event(0)).as_bytes()).expect("it reads");
    assert!(append.line().is_some_and(|line| line.contains("\"acknowledged\":1")));
    running.signal("STOP");
    let taken = Arc::new(AtomicU64::new(0));
    let feeder = {
        let taken = Arc::clone(&taken);
        thread::spawn(move || {
            for i in 1..records {
                let line = format!("{}\n", event(i));
                input.write_all(line.as_bytes()).expect("it reads on in the end");
                taken.fetch_add(line.len() as u64, Ordering::SeqCst);
            }
        })
    };
    // It has stopped taking anything when a hundred looks find the same.
    let (mut last, mut same) = (u64::MAX, 0);
    let bytes = wait::until("the producer to feel it", || {
        let now = taken.load(Ordering::SeqCst);
        (last, same) = if now == last { (now, same + 1) } else { (now, 0) };
        (same >= 100).then_some(now)
    });
    let all = event(0).len() as u64 * records;
    let peak = memory::peak_mib(append.id());
    eprintln!("a stopped writer: the producer took {} of {} KiB, and {peak} MiB of memory", bytes >> 10, all >> 10);
    assert!(bytes < 16 << 20 && bytes < all / 2, "it took {bytes} of {all} bytes");
    assert!(peak < 128, "{peak} MiB");
    running.signal("CONT");
    feeder.join().expect("everything was taken");
    let ended = append.wait();
    assert!(ended.status.success(), "{}", ended.err);
    let row = one(&place, "SELECT n, ids FROM totals");
    assert_eq!((row["n"].as_u64(), row["ids"].as_u64()), (Some(records), Some(records * (records - 1) / 2)), "{row}");
    down(running);
    books(&place, "events", records);
}

#[test]
fn fast_producers_lose_nothing_and_memory_stays_bounded() {
    fast_producers(3, 40_000);
}

#[test]
fn producers_feel_a_writer_that_has_stopped() {
    stopped_writer(200_000);
}

#[test]
#[ignore = "at full size: takes minutes"]
fn fast_producers_at_full_size() {
    fast_producers(16, 1_000_000);
    stopped_writer(5_000_000);
}
