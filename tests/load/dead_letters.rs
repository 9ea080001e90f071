//! A flood of dead letters: records that the schema refuses, each with a reason.

use super::{append, books, down, memory::Limits, one, up};
use crate::support::command::Workplace;

const DEFINITIONS: &str = "
CREATE TABLE events (id BIGINT NOT NULL, note TEXT) WITH (partitions = 2);

CREATE MATERIALIZED VIEW totals AS SELECT COUNT(*) AS n FROM events;
";

fn flood(records: u64) {
    let limits = Limits { views: 1, view: 1, step: 1, batch: 16, producers: 1 };
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    // Many epochs, and so many slices, with nobody to move the cut.
    place.configure(&format!("{}\n[epochs]\nevery = \"50 ms\"\n", limits.sections()));
    let running = up(&place);
    let letter = |i: u64| match i % 5 {
        0 => format!("{{\"id\":{i}}}"),
        1 => format!("{{\"id\":\"{}\"}}", "not a number ".repeat(20)),
        2 => "{\"note\":\"no id\"}".to_owned(),
        3 => format!("{{\"id\":{i}.5,\"note\":[{i}]}}"),
        _ => format!("garbage {i}"),
    };
    append(&place, "events", records, letter);
    let good = records.div_ceil(5);
    assert_eq!(one(&place, "SELECT n FROM totals")["n"].as_u64(), Some(good));
    limits.check_up(&format!("{records} records, four in five dead"), running.id());
    place.run(["batch"]).ok();
    limits.check_up(&format!("{records} records, four in five dead, and a batch run"), running.id());
    down(running);
    let status = books(&place, "events", records);
    assert_eq!(status["ledger"]["sources"]["events"]["counts"]["dead"].as_u64(), Some(records - good), "{status}");
    let listed = place.run(["dead-letters", "events", "--limit", "10", "--format", "json"]).ok();
    assert_eq!(listed.lines().count(), 10);
    assert!(listed.lines().all(|line| line.len() < 2_000), "{listed}");
    place.run(["verify"]).ok();
}

#[test]
fn a_flood_of_dead_letters_is_counted_and_takes_no_memory() {
    flood(100_000);
}

#[test]
#[ignore = "at full size: takes minutes"]
fn a_flood_of_dead_letters_at_full_size() {
    flood(10_000_000);
}
