//! Tiny appends to many partitions: each costs an open file, a sync and a head of its own.

use super::{
    append, books, down,
    memory::{Limits, files_below, open_files},
    one, up,
};
use crate::support::command::Workplace;

fn definitions(tables: u64, partitions: u64) -> String {
    let table = |table| {
        format!(
            "CREATE TABLE t{table} (id BIGINT NOT NULL) WITH (partitions = {partitions}, partition_by = 'id');\n\
             CREATE MATERIALIZED VIEW v{table} AS SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM t{table};\n"
        )
    };
    (0..tables).map(table).collect()
}

/// `records` records to each table, a few to each partition; a batch run after each of three rounds.
fn tiny_appends(tables: u64, partitions: u64, records: u64) {
    let limits = Limits { views: tables, view: 4, step: 4, batch: 16, producers: 1 };
    let place = Workplace::with_definitions(&[("tables.sql", &definitions(tables, partitions))]);
    place.configure(&limits.sections());
    let running = up(&place);
    for round in 1..=3 {
        for table in 0..tables {
            append(&place, &format!("t{table}"), records, move |i| format!("{{\"id\":{}}}", i * 3 + round));
        }
        place.run(["batch"]).ok();
    }
    let all = tables * partitions;
    // For each partition: the segment being written and its head.
    let open = open_files(running.id()) as u64;
    eprintln!("tiny appends to {all} partitions: up has {open} files open");
    assert!(open <= 3 * all + 300, "{open} open files for {all} partitions");
    let archived = files_below(&place.file("store/archive")) as u64;
    let logged = files_below(&place.file("log")) as u64;
    eprintln!("tiny appends to {all} partitions: {logged} files in the log, {archived} in the archive");
    // Of three kept manifests, each may name a file of its own for a partition.
    assert!(logged <= 5 * all + 100 && archived <= 4 * all, "{logged} files in the log, {archived} in the archive");
    limits.check_up(&format!("tiny appends to {all} partitions"), running.id());
    for table in 0..tables {
        let row = one(&place, &format!("SELECT n, ids FROM v{table}"));
        assert_eq!((row["n"].as_u64(), row["ids"].as_u64()), (Some(3 * records), Some(3 * records)), "{row}");
    }
    down(running);
    books(&place, "t0", 3 * records);
}

#[test]
fn tiny_appends_to_many_partitions() {
    tiny_appends(2, 100, 400);
}

/// Two projects one after the other, of 5,000 partitions each: one process of 10,000 would need more than 20,000 open files.
#[test]
#[ignore = "at full size: takes minutes"]
fn tiny_appends_to_ten_thousand_partitions() {
    tiny_appends(2, 2_500, 10_000);
    tiny_appends(2, 2_500, 10_000);
}
