//! Many keys: a view larger than what memory is configured for.

use super::{
    append, books, down,
    memory::{Limits, measured},
    one, rows, up,
};
use crate::support::{command::Workplace, wait};

const DEFINITIONS: &str = "
CREATE TABLE events (id BIGINT NOT NULL, amount DECIMAL(12,2)) WITH (partitions = 4);

CREATE MATERIALIZED VIEW by_key AS SELECT id, COUNT(*) AS n, SUM(amount) AS total FROM events GROUP BY id;

CREATE MATERIALIZED VIEW totals AS SELECT COUNT(*) AS n, SUM(amount) AS total FROM events;
";

/// Beside `up`, whose live part of the view is far too small for them; then in one batch run.
fn many_keys(keys: u64, limits: Limits) {
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    place.configure(&limits.sections());
    let running = up(&place);
    append(&place, "events", keys, |i| format!("{{\"id\":{i},\"amount\":{}.25}}", i % 100));
    // The other view answers, whatever has become of the large one.
    let expected = serde_json::json!(keys);
    assert_eq!(one(&place, "SELECT n FROM totals")["n"], expected);
    limits.check_up(&format!("{keys} keys"), running.id());
    // `up` may be running one itself, early, for memory: then this one loses the race.
    let batch_peak = wait::until("a batch run that is published", || {
        let (ended, peak) = measured(&place, &["batch"]);
        assert!(matches!(ended.code(), Some(0 | 5)), "{ended}");
        ended.success().then_some(peak)
    });
    down(running);
    let status = books(&place, "events", keys);
    assert_eq!(rows(&status, "by_key"), keys, "{status}");
    let some = one(&place, &format!("SELECT n, total FROM by_key WHERE id = {}", keys - 1));
    assert_eq!((some["n"].as_u64(), some["total"].as_f64()), (Some(1), Some((keys - 1) as f64 % 100.0 + 0.25)));
    eprintln!("{keys} keys: the batch run took {batch_peak} MiB at most");
    let (verified, verify_peak) = measured(&place, &["verify", "by_key", "--memory", &format!("{} MiB", limits.batch)]);
    eprintln!("{keys} keys: a quick check with {} MiB took {verify_peak} MiB at most", limits.batch);
    assert!(verified.success());
    let stated = limits.batch_command_mib();
    assert!(
        batch_peak <= stated && verify_peak <= stated,
        "{batch_peak} and {verify_peak} of {stated} MiB, {limits:?}"
    );
}

#[test]
fn many_keys_in_little_memory() {
    many_keys(300_000, Limits { views: 2, view: 16, step: 4, batch: 16, producers: 1 });
}

#[test]
#[ignore = "at full size: takes minutes"]
fn ten_million_keys() {
    many_keys(10_000_000, Limits { views: 2, view: 512, step: 32, batch: 512, producers: 1 });
}
