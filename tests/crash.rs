//! Processes of the built command are killed (SIGKILL) at random moments: what was acknowledged is there, once.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io::Write,
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{
    command::{Running, Workplace},
    log, wait,
};

const DEFINITIONS: &str = "
CREATE TABLE payments (id BIGINT NOT NULL, at TIMESTAMP NOT NULL, card TEXT NOT NULL, amount DECIMAL(12,2))
WITH (event_time = 'at', partitions = 3, partition_by = 'card');

CREATE MATERIALIZED VIEW cards AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, COUNT(DISTINCT id) AS ids
FROM TUMBLE(payments, at, INTERVAL '1 hour')
GROUP BY card, window_start;
";

/// A generator whose seed is printed, and taken from `WATERSHED_TEST_SEED` to repeat a run.
fn generator() -> StdRng {
    let given = std::env::var("WATERSHED_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    eprintln!("WATERSHED_TEST_SEED={seed} repeats this");
    StdRng::seed_from_u64(seed)
}

fn payment(id: u64) -> String {
    // Event times come out of order by up to an hour.
    let minutes = (id / 50 + id * 37 % 60) % 1440;
    let (hour, minute, card, amount) = (minutes / 60, minutes % 60, id % 17, id % 100_000);
    format!(
        "{{\"id\":{id},\"at\":\"2026-03-01T{hour:02}:{minute:02}:00Z\",\"card\":\"c{card}\",\"amount\":{}.{:02}}}\n",
        amount / 100,
        amount % 100
    )
}

/// What producers were told.
#[derive(Default)]
struct Ledger {
    /// The next id that no producer has used.
    next: u64,
    acknowledged: Vec<u64>,
}

impl Ledger {
    /// Runs `append` until `enough` records are acknowledged, then calls `kill`; notes all acknowledgements.
    fn append_until(&mut self, place: &Workplace, enough: u64, kill: impl FnOnce(Running) -> String) {
        let mut append = place.start(["append", "payments", "-", "--ack", "--format", "json"]);
        let mut input = append.take_input();
        let first = self.next;
        let feeder = thread::spawn(move || {
            let mut next = first;
            loop {
                let lines: String = (next..next + 40).map(payment).collect();
                next += 40;
                if input.write_all(lines.as_bytes()).and_then(|()| input.flush()).is_err() {
                    return next;
                }
            }
        });
        let mut acknowledged = 0;
        while acknowledged < enough {
            match append.line() {
                Some(line) => acknowledged = records_of(&line),
                None => panic!("append ended by itself: {}", append.errors()),
            }
        }
        let rest = kill(append);
        // A line without its end was not received.
        let whole = rest.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        acknowledged = whole.map(records_of).next_back().unwrap_or(acknowledged);
        self.next = feeder.join().expect("the feeder ends with the pipe");
        assert!(first + acknowledged <= self.next);
        self.acknowledged.extend(first..first + acknowledged);
    }

    /// Checks the log and the views.
    fn check(&self, place: &Workplace) {
        let mut times = BTreeMap::new();
        for record in log::records(&place.file("log"), "payments") {
            let value: serde_json::Value = serde_json::from_slice(&record.payload).expect("every record is whole");
            *times.entry(value["id"].as_u64().expect("an id")).or_insert(0) += 1;
        }
        for id in &self.acknowledged {
            assert_eq!(times.get(id), Some(&1), "record {id} was acknowledged");
        }
        assert!(times.values().all(|n| *n == 1), "a record is there twice");
        assert!(times.keys().all(|id| *id < self.next));
        let total = place.run(["query", "SELECT SUM(n) AS n, SUM(ids) AS ids FROM cards", "--format", "json"]).ok();
        let total: serde_json::Value = serde_json::from_str(&total).expect("one row");
        let expected = Some(times.len() as u64);
        assert_eq!((total["n"].as_u64(), total["ids"].as_u64()), (expected, expected));
        place.run(["verify"]).ok();
        eprintln!("{} acknowledged, {} in the log", self.acknowledged.len(), times.len());
    }
}

/// How many records an acknowledgement says are in the log by now: the first ones of the input.
fn records_of(line: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    value["acknowledged"].as_u64().expect("an acknowledgement has a number of records")
}

/// Lets a random part of `most` go by: the moment of a kill.
fn a_moment(rng: &mut StdRng, most: Duration) {
    let until = Instant::now() + most.mul_f64(rng.random());
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

#[test]
fn append_killed() {
    let mut rng = generator();
    let place = Workplace::with_definitions(&[("payments.sql", DEFINITIONS)]);
    let mut ledger = Ledger::default();
    for _ in 0..6 {
        let enough = rng.random_range(1..4_000);
        ledger.append_until(&place, enough, |append| {
            a_moment(&mut rng, Duration::from_millis(20));
            append.kill()
        });
        if rng.random_bool(0.5) {
            place.run(["batch"]).ok();
        }
    }
    ledger.check(&place);
}

#[test]
fn batch_killed() {
    let mut rng = generator();
    let place = Workplace::with_definitions(&[("payments.sql", DEFINITIONS)]);
    let mut next = 0;
    let mut append = |count: u64| {
        let lines: String = (next..next + count).map(payment).collect();
        next += count;
        place.run_with(["append", "payments", "-"], lines.as_bytes()).ok();
    };
    append(20_000);
    let begun = Instant::now();
    place.run(["batch"]).ok();
    let usual = begun.elapsed();
    let ask = || place.run(["query", "SELECT * FROM cards ORDER BY card, window_start", "--format", "json"]).ok();
    let mut killed = 0;
    for _ in 0..8 {
        append(2_000);
        let before = ask();
        let batch = place.start(["batch"]);
        a_moment(&mut rng, usual.mul_f64(1.2));
        let mut batch = batch;
        killed += u32::from(batch.is_running());
        drop(batch.kill());
        assert_eq!(before, ask());
        place.run(["verify"]).ok();
    }
    eprintln!("{killed} of 8 runs were killed before they ended");
    let before = ask();
    place.run(["batch"]).ok();
    assert_eq!(before, ask());
    place.run(["batch", "--full"]).ok();
    assert_eq!(before, ask());
    place.run(["verify"]).ok();
}

#[test]
fn up_killed() {
    let mut rng = generator();
    let place = Workplace::with_definitions(&[("payments.sql", DEFINITIONS)]);
    place.configure("[epochs]\nevery = \"100 ms\"\n\n[batch]\nschedule = \"* * * * *\"\n");
    let mut ledger = Ledger::default();
    for round in 0..5 {
        let up = place.start(["up"]);
        wait::until("up to answer", || place.run(["status", "--format", "json"]).json()["pid"].as_u64());
        let enough = rng.random_range(1..4_000);
        ledger.append_until(&place, enough, |append| {
            if round % 2 == 1 {
                // A batch run beside it, killed with it or not.
                let batch = place.start(["batch"]);
                a_moment(&mut rng, Duration::from_millis(300));
                drop(up.kill());
                drop(batch.kill());
            } else {
                a_moment(&mut rng, Duration::from_millis(20));
                drop(up.kill());
            }
            // The producer sees that its records are not acknowledged, or is killed before.
            append.kill()
        });
    }
    ledger.check(&place);
    place.run(["batch"]).ok();
    ledger.check(&place);
}
