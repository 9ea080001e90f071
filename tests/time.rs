//! Time at its edges: the first and the last year, what nanoseconds cannot count, leap seconds, a clock that is set while `up` runs.

use std::{fs, path::Path, process::Stdio};

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::oneshot;

use crate::support::{
    log,
    system::System,
    tools::{self, Tools},
    wait,
};

const EXTREMES: &str = "
CREATE TABLE events (id BIGINT NOT NULL, ts TIMESTAMP NOT NULL, name TEXT NOT NULL, day DATE)
WITH (event_time = 'ts', partitions = 2, partition_by = 'name', max_ahead = '4000000 days');

CREATE MATERIALIZED VIEW by_instant AS
SELECT ts, COUNT(*) AS n, MIN(id) AS id, MAX(name) AS name FROM events GROUP BY ts;

CREATE MATERIALIZED VIEW by_minute AS
SELECT window_start, COUNT(*) AS n, MIN(ts) AS first_at, MAX(ts) AS last_at
FROM TUMBLE(events, ts, INTERVAL '1 minute') GROUP BY window_start;

CREATE MATERIALIZED VIEW by_day AS
SELECT window_start, window_end, COUNT(*) AS n FROM TUMBLE(events, ts, INTERVAL '1 day', 'Asia/Tokyo')
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW by_month AS
SELECT window_start, COUNT(*) AS n, SUM(id) AS ids FROM TUMBLE(events, ts, INTERVAL '1 month') GROUP BY window_start;

CREATE MATERIALIZED VIEW by_week AS
SELECT window_start, window_end, COUNT(*) AS n FROM HOP(events, ts, INTERVAL '1 day', INTERVAL '7 days')
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW span AS SELECT MIN(ts) AS earliest, MAX(ts) AS latest, COUNT(*) AS n FROM events;

CREATE MATERIALIZED VIEW kept AS SELECT id, ts, name, day FROM events WHERE id >= 0;
";

/// Instants at which something changes: the first and last that there are, what 64-bit nanoseconds, 32-bit seconds and calendars
/// come to an end at, and the beginning of 1970.
const INSTANTS: [&str; 22] = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00.000001Z",
    "0999-12-31T23:59:59Z",
    "1582-10-04T12:00:00Z",
    "1582-10-15T12:00:00Z",
    "1677-09-21T00:12:43.145224Z",
    "1677-09-21T00:12:43.145225Z",
    "1900-02-28T23:59:59.999999Z",
    "1901-12-13T20:45:51Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00.000001Z",
    "2000-02-29T12:00:00Z",
    "2026-11-25T19:00:00Z",
    "2038-01-19T03:14:07Z",
    "2038-01-19T03:14:08Z",
    "2106-02-07T06:28:16Z",
    "2262-04-11T23:47:16.854775Z",
    "2262-04-11T23:47:16.854776Z",
    "4000-02-29T00:00:00Z",
    "9999-12-30T23:59:59.999999Z",
    "9999-12-31T23:59:59.999999Z",
];

fn micros(text: &str) -> i64 {
    text.parse::<DateTime<Utc>>().expect("an instant").timestamp_micros()
}

/// The records of `count` rounds over all instants.
fn extremes(rounds: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    let record = |round: usize, (i, at): (usize, &&str)| {
        let id = round * INSTANTS.len() + i;
        json!({"id": id, "ts": at, "name": format!("n{}", id % 5), "day": &at[..10]}).to_string().into_bytes()
    };
    rounds.flat_map(|round| INSTANTS.iter().enumerate().map(move |at| record(round, at))).collect()
}

/// Every instant is found by its key and by ranges that begin or end at it, `rounds` times.
fn each_is_found(system: &System, rounds: usize) {
    for (i, at) in INSTANTS.iter().enumerate() {
        let count = |condition: &str| {
            let (_, rows) =
                system.ask(&format!("SELECT SUM(n) AS n FROM by_instant WHERE ts {condition} TIMESTAMP '{at}'"));
            rows[0][0].as_deref().map_or(0, |n| n.parse::<usize>().expect("a number"))
        };
        assert_eq!(count("="), rounds, "{at}");
        assert_eq!((count("<"), count(">=")), (i * rounds, (INSTANTS.len() - i) * rounds), "{at}");
        let (_, rows) = system.ask(&format!("SELECT id, ts FROM kept WHERE ts = TIMESTAMP '{at}' ORDER BY id LIMIT 1"));
        assert_eq!(rows, [[Some(i.to_string()), Some(micros(at).to_string())]], "{at}");
    }
}

/// DuckDB reads the stored files: the archive's records and the views' rows are what they should be.
fn duckdb_agrees(system: &System, tools: &Tools) {
    let directory = tempfile::tempdir().expect("a folder");
    let file = |name: &str| directory.path().join(name);
    fs::create_dir(file("answers")).expect("a folder");
    let mut lines = String::new();
    for record in log::records(&system.log_directory(), "events") {
        let mut value: serde_json::Value = serde_json::from_slice(&record.payload).expect("JSON");
        value["micros"] = json!(micros(value["ts"].as_str().expect("a text")));
        lines.push_str(&format!("{value}\n"));
    }
    fs::write(file("events.ndjson"), lines).expect("a file");
    let tables = "CREATE TABLE events AS SELECT id, make_timestamp(micros) AS ts, name, day FROM read_json(\
                  '$DIRECTORY/events.ndjson', format = 'newline_delimited', \
                  columns = {id: 'BIGINT', micros: 'BIGINT', name: 'VARCHAR', day: 'DATE'});";
    fs::write(file("tables.sql"), tables).expect("a file");
    for view in system.views() {
        let (columns, rows) = system.rows(&view);
        let answer = json!({"columns": columns, "rows": rows});
        fs::write(file(&format!("answers/{view}.json")), answer.to_string()).expect("a file");
    }
    let arguments: [&Path; 3] = [&file("tables.sql"), &system.store_directory(), directory.path()];
    let mut command = tools.python();
    command.arg(tools::support().join("stored.py")).args(arguments).stdin(Stdio::null());
    let output = command.output().expect("python3 runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    eprintln!("{out}");
}

#[test]
fn from_the_first_year_to_the_last() {
    let Some(tools) = Tools::for_test("from_the_first_year_to_the_last") else { return };
    let system = System::new(&[("events.sql", EXTREMES)], micros("2026-11-25T20:00:00Z"));
    system.append("events", extremes(0..2));
    let speed = system.answers();
    each_is_found(&system, 2);
    system.batch();
    assert_eq!(system.answers(), speed, "all above the cut, all below it");
    each_is_found(&system, 2);
    system.append("events", extremes(2..3));
    each_is_found(&system, 3);
    let merged = system.answers();
    system.batch();
    assert_eq!(system.answers(), merged);
    duckdb_agrees(&system, tools);
    system.batch_in_full();
    system.numbers_add_up();
    system.verify();
    let (_, rows) = system.rows("span");
    let text = |at: &str| Some(micros(at).to_string());
    let all = Some((3 * INSTANTS.len()).to_string());
    assert_eq!(rows, [[text(INSTANTS[0]), text(INSTANTS[INSTANTS.len() - 1]), all]]);
    assert_eq!(system.dead_letters(), 0);
    // Beyond the years there is nothing.
    let beyond = ["0000-12-31T23:59:59Z", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z"];
    let beyond = beyond.map(|at| json!({"id": -1, "ts": at, "name": "n"}).to_string().into_bytes());
    system.append("events", beyond.to_vec());
    assert_eq!(system.dead_letters(), 3);
    assert_eq!(system.answers(), merged);
}

const LEAP: &str = "
CREATE TABLE events (at TIMESTAMP NOT NULL, noted TEXT) WITH (event_time = 'at', partitions = 1);

CREATE MATERIALIZED VIEW by_second AS
SELECT window_start, COUNT(*) AS n, MIN(at) AS first_at, MAX(at) AS last_at
FROM TUMBLE(events, at, INTERVAL '1 second') GROUP BY window_start;

CREATE MATERIALIZED VIEW by_year AS
SELECT window_start, COUNT(*) AS n FROM TUMBLE(events, at, INTERVAL '1 year') GROUP BY window_start;

CREATE MATERIALIZED VIEW noted AS SELECT CAST(noted AS TIMESTAMP) AS noted FROM events WHERE noted IS NOT NULL;
";

#[test]
fn a_leap_second_is_the_second_after_it_in_both_layers() {
    let system = System::new(&[("events.sql", LEAP)], micros("2026-11-25T20:00:00Z"));
    let event = |at: &str| json!({"at": at}).to_string().into_bytes();
    let noted = |text: &str| json!({"at": "2020-01-01T00:00:00Z", "noted": text}).to_string().into_bytes();
    system.append(
        "events",
        vec![
            event("2016-12-31T23:59:59.999999Z"),
            event("2016-12-31T23:59:60Z"),
            event("2016-12-31T23:59:60.5Z"),
            event("2017-01-01T08:59:60.25+09:00"),
            event("2017-01-01T00:00:00Z"),
            noted("2015-06-30T23:59:60Z"),
            // There is no leap second at these moments: one dead letter, one rejected record.
            event("2016-12-30T23:59:60Z"),
            noted("2015-06-30T22:59:60Z"),
        ],
    );
    let check = |layer: &str| {
        let text = |at: &str| Some(micros(at).to_string());
        let (_, seconds) =
            system.ask("SELECT window_start, n, first_at, last_at FROM by_second ORDER BY window_start LIMIT 2");
        let (new_year, half) = ("2017-01-01T00:00:00Z", "2017-01-01T00:00:00.500000Z");
        let before = "2016-12-31T23:59:59.999999Z";
        let expected = [
            [text("2016-12-31T23:59:59Z"), Some("1".to_owned()), text(before), text(before)],
            [text(new_year), Some("4".to_owned()), text(new_year), text(half)],
        ];
        assert_eq!(seconds, expected, "{layer}");
        let (_, noted) = system.ask("SELECT noted FROM noted");
        assert_eq!(noted, [[text("2015-07-01T00:00:00Z")]], "{layer}");
        assert_eq!(system.dead_letters(), 1, "{layer}");
        let rejected = system.run(system.project().rejected("noted", usize::MAX));
        assert_eq!(rejected.len(), 1, "{layer}");
    };
    check("speed");
    system.batch();
    check("batch");
    system.numbers_add_up();
    system.verify();
}

const PAYMENTS: &str = "
CREATE TABLE payments (id BIGINT NOT NULL, at TIMESTAMP NOT NULL)
WITH (event_time = 'at', partitions = 3, partition_by = 'id', lateness = '10 minutes', max_ahead = '1 hour');

CREATE MATERIALIZED VIEW total AS SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM payments;
";

#[test]
fn the_clock_is_set_by_an_hour_while_up_runs() {
    const HOUR: i64 = 3_600_000_000;
    let begin = micros("2026-03-27T11:59:00Z");
    let mut system = System::new(&[("payments.sql", PAYMENTS)], begin);
    system.set("batch.schedule", "0 * * * *");
    system.set("epochs.every", "50 ms");
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let project = system.project().clone();
    let up = system.spawn(async move {
        let stopped = async { drop(stopped.await) };
        project.up(stopped, move || ready.send(()).expect("the test waits for it")).await
    });
    is_ready.recv().expect("it comes up");

    let mut ids = 0;
    let mut append = |system: &System| {
        let payment = |id: i64| json!({"id": id, "at": "2026-03-27T11:55:00Z"}).to_string().into_bytes();
        system.append("payments", (ids..ids + 10).map(payment).collect());
        ids += 10;
        ids
    };
    let store = system.project().store().expect("a store");
    let manifest = |number: u64| {
        wait::until("a manifest", || store.latest_manifest().expect("it is read").filter(|m| m.number >= number))
    };
    // Set forward over 12:00: one run, at once.
    append(&system);
    system.advance(HOUR);
    assert_eq!(manifest(1).epoch, store.latest_epoch().expect("it is read").expect("there is one").number);
    // Set back: 12:00 comes again, and is taken already. Nothing is due when the clock passes it.
    append(&system);
    system.advance(-HOUR);
    append(&system);
    system.advance(HOUR / 2);
    append(&system);
    // Back and forth, with appends at every reading, and over 13:00.
    for step in [1, -1, 1, -1, -1, 1, 1] {
        system.advance(step * HOUR);
        append(&system);
    }
    let all = append(&system);
    let second = manifest(2);
    assert!(second.created_at_micros >= micros("2026-03-27T13:00:00Z"));
    stop.send(()).expect("it runs");
    let summary = system.join(up).expect("it ends well");
    assert_eq!((summary.batches, summary.failed_batches), (2, 0), "each full hour that the clock came to was one run");
    assert_eq!(summary.records, all as u64);

    // Append times never decrease in a partition, and are what the clock had shown at most.
    let mut latest = [i64::MIN; 3];
    for record in log::records(&system.log_directory(), "payments") {
        let before = &mut latest[record.partition as usize];
        assert!(record.append_time_micros >= *before, "{record:?}");
        *before = record.append_time_micros;
        assert!((begin..begin + 3 * HOUR).contains(before), "{record:?}");
    }
    // Epochs are a chain of positions, whatever the clock said.
    let epochs = store.epoch_numbers().expect("they are listed");
    let epochs: Vec<_> = epochs.into_iter().map(|n| store.epoch(n).expect("it is read").expect("kept")).collect();
    assert!(epochs.windows(2).all(|pair| pair[0].position.le(&pair[1].position)));
    let (_, rows) = system.rows("total");
    assert_eq!(rows, [[Some(all.to_string()), Some(all.to_string())]]);
    system.numbers_add_up();
    system.verify();
    system.batch_in_full();
    assert_eq!(system.rows("total").1, rows);
}
