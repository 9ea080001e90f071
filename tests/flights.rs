//! The whole loop on New York's flights: two nights and a day, compared with DuckDB on the same records.

use std::{fs, path::PathBuf, process::Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;
use watershed::demo::{DEFINITIONS, flights};

use crate::support::{
    log,
    system::System,
    tools::{self, Tools},
};

/// What a schema refuses, between the real records.
const BROKEN: &[&str] = &[
    "{\"scheduled\":\"2013-02-0",
    "{\"scheduled\":null,\"origin\":\"JFK\"}",
    "[]",
    "{\"scheduled\":\"2013-02-08T12:00:00Z\",\"observed\":\"noon\",\"carrier\":\"XX\",\"flight\":\"many\",\"origin\":\"JFK\",\
     \"dest\":\"XXX\",\"cancelled\":true,\"arrived\":\"2013-02-08T12:00:00Z\"}",
];

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// Appends what became known between two moments, hour by hour; some hours bring a broken record, too.
fn replay(system: &System, from: &str, to: &str) -> u64 {
    let facts = flights::facts(at(from)..at(to)).expect("the embedded data");
    let mut broken = 0;
    let mut deliveries = Vec::new();
    for (hour, delivery) in flights::deliveries(facts, TimeDelta::hours(1)).into_iter().enumerate() {
        for (table, mut payloads) in delivery.payloads {
            if hour % 5 == 0 {
                payloads.push(BROKEN[hour / 5 % BROKEN.len()].as_bytes().to_vec());
                broken += 1;
            }
            deliveries.push((delivery.at.timestamp_micros(), table, payloads));
        }
    }
    system.deliver(deliveries);
    broken
}

/// Writes the records of the log and the answers to all views where the Python scripts find them.
fn write_out(system: &System) -> TempDir {
    let directory = tempfile::tempdir().expect("a folder");
    for folder in ["records", "answers"] {
        fs::create_dir(directory.path().join(folder)).expect("a folder");
    }
    for table in ["departures", "arrivals", "weather"] {
        let records = log::records(&system.log_directory(), table);
        let lines = log::lines(&records, |value| {
            value.get("flight").is_none_or(Value::is_i64)
                && (value["scheduled"].is_string() || value["observed"].is_string())
        });
        fs::write(directory.path().join(format!("records/{table}.ndjson")), lines).expect("a file");
    }
    for view in system.views() {
        let (columns, rows) = system.rows(&view);
        let answer = json!({"columns": columns, "rows": rows});
        fs::write(directory.path().join(format!("answers/{view}.json")), answer.to_string()).expect("a file");
    }
    directory
}

fn python(tools: &Tools, script: &str, arguments: &[PathBuf]) {
    let mut command = tools.python();
    command.arg(tools::support().join(script)).args(arguments).stdin(Stdio::null());
    let output = command.output().expect("python3 runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    eprintln!("{out}");
}

/// Compares the answers to all views with DuckDB's on the records of the log.
fn compare(system: &System, tools: &Tools) {
    let directory = write_out(system);
    let [tables, views] = ["flights_tables.sql", "flights.sql"].map(|file| tools::support().join(file));
    python(tools, "compare.py", &[tables, views, directory.path().to_owned()]);
}

/// Compares the stored files, read by DuckDB, with the records of the log and the answers. Nothing may be above the cut.
fn compare_stored(system: &System, tools: &Tools) {
    let directory = write_out(system);
    let tables = tools::support().join("flights_tables.sql");
    python(tools, "stored.py", &[tables, system.store_directory(), directory.path().to_owned()]);
}

#[test]
fn two_nights_and_a_day_agree_with_duckdb() {
    let Some(tools) = Tools::for_test("two_nights_and_a_day_agree_with_duckdb") else { return };
    let mut system = System::new(DEFINITIONS, at("2013-01-01T00:00:00Z").timestamp_micros());
    // Three weeks in seconds: not a segment file per hour.
    system.set("log.segment_age", "1 day");
    // Everything before the night of 6 to 7 February in New York, which the batch layer loads.
    let mut broken = replay(&system, "2013-01-20T00:00:00Z", "2013-02-07T05:00:00Z");
    let speed = system.answers();
    compare(&system, tools);
    system.batch();
    assert_eq!(system.answers(), speed, "all above the cut, all below it");

    // A day live, with its records above the cut: late ones belong to windows that the batch layer holds.
    broken += replay(&system, "2013-02-07T05:00:00Z", "2013-02-08T05:00:00Z");
    compare(&system, tools);
    let merged = system.answers();
    let report = system.batch();
    assert_eq!(system.answers(), merged, "the cut moved, the answers did not");
    assert!(report.sources.values().all(|counts| counts.late > 0 || counts.records < 100), "{report:#?}");

    // The blizzard, not yet loaded.
    broken += replay(&system, "2013-02-08T05:00:00Z", "2013-02-10T05:00:00Z");
    compare(&system, tools);
    system.verify();
    system.restart();
    compare(&system, tools);
    system.batch_in_full();
    compare(&system, tools);
    compare_stored(&system, tools);
    system.numbers_add_up();
    assert_eq!(system.dead_letters(), broken);
}
