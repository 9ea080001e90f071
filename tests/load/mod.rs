//! Load and bounds: what takes memory, files or time takes no more than is stated, producers feel backpressure, and nothing is lost.
//!
//! Each attack is run small here. At full size it is run by name, one at a time, with `--ignored --nocapture`
//! (`docs/reliability.md` has the commands); it then prints what it measured beside what is stated.

mod dead_letters;
mod fast_producers;
mod hot_key;
mod keys;
mod large_record;
mod memory;
mod plot;
mod soak;
mod stalled_batch;
mod stalled_reader;
mod tiny_appends;

use std::{io::Write, thread};

use serde_json::Value;

use crate::support::{
    command::{Running, Workplace},
    wait,
};

/// Starts `up` and waits until it answers.
fn up(place: &Workplace) -> Running {
    let mut up = place.start(["up"]);
    wait::until("up to answer", || {
        assert!(up.is_running(), "{}", up.errors());
        status(place)["pid"].as_u64()
    });
    up
}

fn status(place: &Workplace) -> Value {
    place.run(["status", "--format", "json"]).json()
}

/// Ends `up`, and checks that it ended well.
fn down(up: Running) {
    up.signal("TERM");
    let ended = up.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
}

/// The only row of an answer.
fn one(place: &Workplace, sql: &str) -> Value {
    let out = place.run(["query", sql, "--format", "json"]).ok();
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
}

/// Appends what `line` gives for 0 to `count`, as one stream, and checks that all of it was acknowledged.
fn append(place: &Workplace, table: &str, count: u64, line: impl Fn(u64) -> String + Send + 'static) {
    let mut append = place.start(["append", table, "-", "--no-check", "--format", "json"]);
    let mut input = append.take_input();
    let feeder = thread::spawn(move || {
        let mut lines = String::new();
        for i in 0..count {
            lines.push_str(&line(i));
            lines.push('\n');
            if lines.len() > 1 << 20 || i + 1 == count {
                input.write_all(lines.as_bytes()).expect("append reads on");
                lines.clear();
            }
        }
    });
    let ended = append.wait();
    feeder.join().expect("everything was read");
    let told: Value = serde_json::from_str(&ended.ok()).expect("JSON");
    assert_eq!(told["acknowledged"].as_u64(), Some(count), "{told}");
}

/// Checks that no record is missing from the books, and that there are so many.
fn books(place: &Workplace, table: &str, records: u64) -> Value {
    let status = status(place);
    let counts = &status["ledger"]["sources"][table]["counts"];
    assert_eq!(counts["records"].as_u64(), Some(records), "{status}");
    assert_eq!(counts["accepted"].as_u64().zip(counts["dead"].as_u64()).map(|(a, d)| a + d), Some(records), "{status}");
    status
}

/// The rows of a view as `status` counts them.
fn rows(status: &Value, view: &str) -> u64 {
    let views = status["views"].as_array().expect("a list");
    let found = views.iter().find(|known| known["name"] == view).expect("the view is there");
    found["rows"].as_u64().expect("a number")
}
