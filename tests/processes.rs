//! Several processes on one project: `up` runs, others ask, append and load beside it.

use serde_json::Value;

use crate::support::{
    command::{Running, Workplace},
    wait,
};

const DEFINITIONS: &str = "
CREATE TABLE clicks (at TIMESTAMP NOT NULL, page TEXT NOT NULL) WITH (event_time = 'at', partitions = 2, partition_by = 'page');

CREATE MATERIALIZED VIEW pages AS SELECT page, COUNT(*) AS n FROM clicks GROUP BY page;
";

fn clicks(count: usize, page: &str) -> String {
    (0..count).map(|i| format!("{{\"at\":\"2026-03-01T00:00:{:02}Z\",\"page\":\"{page}\"}}\n", i % 60)).collect()
}

/// Starts `up` and waits until it answers.
fn up(place: &Workplace) -> Running {
    let mut up = place.start(["up"]);
    wait::until("up to answer", || {
        assert!(up.is_running(), "{}", up.errors());
        place.run(["status", "--format", "json"]).json()["pid"].as_u64()
    });
    up
}

fn count(place: &Workplace) -> u64 {
    let out = place.run(["query", "SELECT SUM(n) AS n FROM pages", "--format", "json"]).ok();
    let row: Value = serde_json::from_str(&out).expect("one row");
    row["n"].as_u64().unwrap_or(0)
}

#[test]
fn beside_a_running_up_others_append_ask_and_load() {
    let place = Workplace::with_definitions(&[("clicks.sql", DEFINITIONS)]);
    place.configure("[batch]\nschedule = \"\"\n");
    place.run_with(["append", "clicks", "-"], clicks(1000, "before").as_bytes()).ok();
    let up = up(&place);
    let mut expected = 1000;
    for round in 0..6 {
        place.run_with(["append", "clicks", "-"], clicks(500, "live").as_bytes()).ok();
        expected += 500;
        // An append that has been acknowledged is in the next answer, wherever the cut is.
        assert_eq!(count(&place), expected, "round {round}");
        if round % 2 == 1 {
            // As cron would, from a process of its own.
            place.run(["batch"]).ok();
            assert_eq!(count(&place), expected, "round {round}, after the batch run");
        }
    }
    let status = place.run(["status", "--format", "json"]).json();
    assert_eq!(status["manifest"], 3, "{status}");
    place.run(["verify"]).ok();
    up.signal("TERM");
    let ended = up.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    assert_eq!(count(&place), expected);
}

#[test]
fn a_second_up_is_refused_and_says_who_holds_the_log() {
    let place = Workplace::with_definitions(&[("clicks.sql", DEFINITIONS)]);
    let first = up(&place);
    let message = place.run(["up"]).fails(5);
    assert!(message.contains(&first.id().to_string()), "{message}");
    first.signal("INT");
    assert_eq!(first.wait().status.code(), Some(0));
}

#[test]
fn up_starts_again_where_it_was_killed() {
    let place = Workplace::with_definitions(&[("clicks.sql", DEFINITIONS)]);
    let first = up(&place);
    place.run_with(["append", "clicks", "-"], clicks(700, "a").as_bytes()).ok();
    drop(first.kill());
    let second = up(&place);
    assert_eq!(count(&place), 700);
    second.signal("TERM");
    assert_eq!(second.wait().status.code(), Some(0));
}
