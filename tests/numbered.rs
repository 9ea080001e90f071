//! `append --producer`: the same command may be run again, whatever befell it, its machine or the process that writes the log.

use serde_json::Value;

use crate::support::{
    command::{Ended, Running, Workplace},
    wait,
};

const DEFINITIONS: &str = "
CREATE TABLE clicks (at TIMESTAMP NOT NULL, page TEXT NOT NULL) WITH (event_time = 'at', partitions = 3, partition_by = 'page');

CREATE MATERIALIZED VIEW pages AS SELECT page, COUNT(*) AS n FROM clicks GROUP BY page;
";

fn clicks(count: usize) -> String {
    (0..count).map(|i| format!("{{\"at\":\"2026-03-01T00:00:{:02}Z\",\"page\":\"{}\"}}\n\n", i % 60, i % 7)).collect()
}

/// Appends a file of so many clicks as the producer `export`, with further arguments.
fn export(place: &Workplace, clicks: &str, more: &[&str]) -> Ended {
    std::fs::write(place.file("export.jsonl"), clicks).expect("a file");
    let arguments = ["append", "clicks", "export.jsonl", "--producer", "export", "--format", "json"];
    place.run(arguments.into_iter().chain(more.iter().copied()))
}

/// Records acknowledged, and how many of them were there before.
fn report(ended: Ended) -> (u64, u64) {
    let report = ended.json();
    (report["acknowledged"].as_u64().expect("a number"), report["repeated"].as_u64().expect("a number"))
}

fn count(place: &Workplace) -> u64 {
    let row: Value = place.run(["query", "SELECT SUM(n) AS n FROM pages", "--format", "json"]).json();
    row["n"].as_u64().unwrap_or(0)
}

fn up(place: &Workplace) -> Running {
    let mut up = place.start(["up"]);
    wait::until("up to answer", || {
        assert!(up.is_running(), "{}", up.errors());
        place.run(["status", "--format", "json"]).json()["pid"].as_u64()
    });
    up
}

#[test]
fn a_file_that_is_appended_again_appends_what_is_missing() {
    let place = Workplace::with_definitions(&[("clicks.sql", DEFINITIONS)]);
    let whole = clicks(100);
    let part: String = whole.split_inclusive("\n\n").take(60).collect();
    assert_eq!(report(export(&place, &part, &[])), (60, 0), "as if it had been stopped half-way");
    assert_eq!(report(export(&place, &whole, &[])), (100, 60));
    assert_eq!(report(export(&place, &whole, &[])), (100, 100));
    assert_eq!(count(&place), 100);
    // The next part of the sequence, then one that leaves a gap.
    assert_eq!(report(export(&place, &part, &["--sequence", "100"])), (60, 0));
    let message = export(&place, &part, &["--sequence", "161"]).fails(2);
    assert!(message.contains("its next one is 160"), "{message}");
    let table = place.run(["append", "clicks", "export.jsonl", "--producer", "export"]).ok();
    assert!(table.contains("60 records acknowledged in clicks, 60 of them were there before"), "{table}");
    // Also when the log no longer has the records.
    place.run(["batch"]).ok();
    assert_eq!(report(export(&place, &whole, &[])), (100, 100));
    assert_eq!(count(&place), 160);
    place.run(["append", "clicks", "export.jsonl", "--producer", "line\nbreak"]).fails(2);
    place.run(["append", "clicks", "export.jsonl", "--sequence", "5"]).fails(2);
    assert_eq!(count(&place), 160);
}

#[test]
fn a_running_up_keeps_the_numbers_and_so_does_the_next() {
    let place = Workplace::with_definitions(&[("clicks.sql", DEFINITIONS)]);
    let first = up(&place);
    assert_eq!(report(export(&place, &clicks(500), &[])), (500, 0));
    assert_eq!(report(export(&place, &clicks(500), &[])), (500, 500));
    let message = export(&place, &clicks(1), &["--sequence", "501"]).fails(2);
    assert!(message.contains("its next one is 500"), "{message}");
    drop(first.kill());
    assert_eq!(report(export(&place, &clicks(600), &[])), (600, 500), "without it");
    let second = up(&place);
    assert_eq!(report(export(&place, &clicks(700), &[])), (700, 600));
    assert_eq!(count(&place), 700);
    second.signal("TERM");
    assert_eq!(second.wait().status.code(), Some(0));
}
