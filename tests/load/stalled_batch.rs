//! A batch layer that stalls: its store is gone for a while.

use std::fs;

use super::{append, books, down, memory::Limits, one, up};
use crate::support::{command::Workplace, wait};

const DEFINITIONS: &str = "
CREATE TABLE events (id BIGINT NOT NULL, kind TEXT) WITH (partitions = 2);

CREATE MATERIALIZED VIEW wide AS SELECT id, COUNT(*) AS n FROM events GROUP BY id;

CREATE MATERIALIZED VIEW narrow AS SELECT kind, COUNT(*) AS n FROM events GROUP BY kind;
";

/// Appends until the wide view has reached its bound, with nobody to move the cut. `wait_for_itself`: nobody helps afterwards.
fn stalled_batch(keys: u64, limits: Limits, wait_for_itself: bool) {
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    place.configure(&format!("{}\n[epochs]\nevery = \"200 ms\"\n", limits.sections()));
    let running = up(&place);
    append(&place, "events", 10, |i| format!("{{\"id\":{i},\"kind\":\"even\"}}"));
    // Everything is above the cut: what a manifest names could not be read without the store, by whichever view.
    wait::until("an epoch", || fs::read_dir(place.file("store/epochs")).ok()?.next().map(drop));
    fs::rename(place.file("store"), place.file("away")).expect("it can be moved");
    fs::write(place.file("store"), "no directory").expect("it can be written");

    append(&place, "events", keys, |i| {
        format!("{{\"id\":{i},\"kind\":\"{}\"}}", if i % 2 == 0 { "even" } else { "odd" })
    });
    let told = wait::until("the wide view to stall", || {
        let ended = place.run(["query", "SELECT COUNT(*) AS keys FROM wide"]);
        (ended.status.code() == Some(4)).then_some(ended.err)
    });
    assert!(told.contains("\"wide\" is stalled") && told.contains("run a batch"), "{told}");
    // The other view and the log go on.
    let narrow = || one(&place, "SELECT SUM(n) AS n FROM narrow")["n"].as_u64();
    assert_eq!(narrow(), Some(keys + 10));
    append(&place, "events", 100, |i| format!("{{\"id\":{i},\"kind\":\"even\"}}"));
    assert_eq!(narrow(), Some(keys + 110));
    assert!(!place.run(["batch"]).status.success(), "the store is no directory");
    limits.check_up(&format!("a stalled batch layer, {keys} keys"), running.id());

    fs::remove_file(place.file("store")).expect("it can be removed");
    fs::rename(place.file("away"), place.file("store")).expect("it can be moved back");
    if !wait_for_itself {
        place.run(["batch"]).ok();
    }
    let wide = wait::until("the wide view to return", || {
        let ended = place.run(["query", "SELECT SUM(n) AS n, COUNT(*) AS keys FROM wide", "--format", "json"]);
        ended.status.success().then_some(ended.out)
    });
    let wide: serde_json::Value = serde_json::from_str(&wide).expect("one row");
    assert_eq!((wide["n"].as_u64(), wide["keys"].as_u64()), (Some(keys + 110), Some(keys)), "{wide}");
    down(running);
    books(&place, "events", keys + 110);
    place.run(["verify"]).ok();
}

#[test]
fn a_view_stalls_at_its_bound_and_returns() {
    stalled_batch(150_000, Limits { views: 2, view: 2, step: 1, batch: 16, producers: 1 }, false);
}

#[test]
#[ignore = "at full size: takes minutes"]
fn a_view_stalls_at_its_bound_and_returns_by_itself() {
    // 25 bytes of key and count each, merged into one slice: more than the view may have.
    stalled_batch(5_000_000, Limits { views: 2, view: 96, step: 32, batch: 256, producers: 1 }, true);
}
