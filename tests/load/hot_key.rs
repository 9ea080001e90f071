//! One hot key: all records in one group of one partition.

use super::{append, books, down, memory::Limits, one, up};
use crate::support::command::Workplace;

const DEFINITIONS: &str = "
CREATE TABLE clicks (at TIMESTAMP NOT NULL, page TEXT NOT NULL, spent DOUBLE, n BIGINT)
WITH (event_time = 'at', partitions = 8, partition_by = 'page');

CREATE MATERIALIZED VIEW pages AS
SELECT page, COUNT(*) AS n, SUM(spent) AS spent, MAX(n) AS latest, APPROX_COUNT_DISTINCT(n) AS ns FROM clicks GROUP BY page;
";

fn hot_key(records: u64) {
    let limits = Limits { views: 1, view: 1, step: 4, batch: 16, producers: 1 };
    let place = Workplace::with_definitions(&[("clicks.sql", DEFINITIONS)]);
    place.configure(&limits.sections());
    let running = up(&place);
    let click =
        |i| format!("{{\"at\":\"2026-03-01T00:00:{:02}Z\",\"page\":\"front\",\"spent\":0.1,\"n\":{i}}}", i % 60);
    append(&place, "clicks", records, click);
    let ask = || one(&place, "SELECT n, spent, latest, ns FROM pages WHERE page = 'front'");
    let live = ask();
    assert_eq!((live["n"].as_u64(), live["latest"].as_u64()), (Some(records), Some(records - 1)), "{live}");
    place.run(["batch"]).ok();
    assert_eq!(ask(), live, "the cut moved, the answer did not");
    limits.check_up(&format!("{records} records of one key"), running.id());
    down(running);
    books(&place, "clicks", records);
    place.run(["verify"]).ok();
}

#[test]
fn one_hot_key() {
    hot_key(100_000);
}

#[test]
#[ignore = "at full size: takes minutes"]
fn one_hot_key_at_full_size() {
    hot_key(10_000_000);
}
