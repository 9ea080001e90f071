//! A record as large as the log takes, and one that is larger.

use super::{books, down, memory::Limits, one, up};
use crate::support::command::Workplace;

const DEFINITIONS: &str = "
CREATE TABLE notes (id BIGINT NOT NULL, body TEXT) WITH (partitions = 2);

CREATE MATERIALIZED VIEW lengths AS SELECT COUNT(*) AS n, SUM(LENGTH(body)) AS characters FROM notes;
";

/// The largest record.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// A record of so many bytes.
fn note(bytes: usize) -> Vec<u8> {
    let (head, tail) = (&b"{\"id\":1,\"body\":\""[..], &b"\"}\n"[..]);
    let body = vec![b'x'; bytes - head.len() - (tail.len() - 1)];
    [head, &body, tail].concat()
}

#[test]
fn a_record_of_64_mib_goes_all_the_way_and_a_larger_one_is_refused() {
    // What a record passes through at once: as it came, as it is written, read and decoded, and its columns.
    let limits = Limits { views: 1, view: 1, step: 64, batch: 64, producers: 1 };
    let place = Workplace::with_definitions(&[("notes.sql", DEFINITIONS)]);
    place.configure(&limits.sections());
    let running = up(&place);
    place.run_with(["append", "notes", "-", "--no-check"], &note(RECORD_BYTES_MAX)).ok();
    let told = place.run_with(["append", "notes", "-", "--no-check"], &note(RECORD_BYTES_MAX + 1)).fails(2);
    assert!(told.contains("line 1 is longer than 67108864 bytes"), "{told}");
    let characters = RECORD_BYTES_MAX as u64 - 18;
    let ask = || one(&place, "SELECT n, characters FROM lengths");
    let live = ask();
    assert_eq!((live["n"].as_u64(), live["characters"].as_u64()), (Some(1), Some(characters)), "{live}");
    place.run(["batch"]).ok();
    assert_eq!(ask(), live);
    limits.check_up("a record of 64 MiB", running.id());
    down(running);
    // Without anyone who holds the log, too.
    let told = place.run_with(["append", "notes", "-", "--no-check"], &note(RECORD_BYTES_MAX + 1)).fails(2);
    assert!(told.contains("longer than"), "{told}");
    books(&place, "notes", 1);
}
