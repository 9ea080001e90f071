//! Readers that stall: one that holds an old manifest, and those that ask and never take the answer.

use std::{io::Write, os::unix::net::UnixStream, sync::Arc};

use watershed::control::{PROTOCOL_VERSION, Request};
use watershed_batch::ViewReader;
use watershed_log::lock_holder;
use watershed_pipelines::{key::KeyFilter, partial::CoreKernel};

use super::{
    append, books, down,
    memory::{Limits, files_below},
    one, up,
};
use crate::support::{command::Workplace, system::System};

const DEFINITIONS: &str = "
CREATE TABLE events (id BIGINT NOT NULL, kind TEXT) WITH (partitions = 2);

CREATE MATERIALIZED VIEW by_id AS SELECT id, kind, COUNT(*) AS n FROM events GROUP BY id, kind;
";

/// A frame as the control socket takes it.
fn frame(request: &Request) -> Vec<u8> {
    let head = serde_json::to_vec(request).expect("JSON");
    let lengths = [head.len() as u32, 0].map(u32::to_le_bytes).concat();
    [&b"WSHD"[..], &[PROTOCOL_VERSION, 0, 0, 0], &lengths, &head].concat()
}

/// So many ask for everything, again and again, and never read; others go on beside them.
fn readers_that_never_read(readers: usize, rows: u64, limits: Limits) {
    let place = Workplace::with_definitions(&[("events.sql", DEFINITIONS)]);
    place.configure(&limits.sections());
    let running = up(&place);
    append(&place, "events", rows, |i| format!("{{\"id\":{i},\"kind\":\"k\"}}"));
    let socket = lock_holder(place.file("log")).expect("a lock").expect("held").socket.expect("announced");
    let ask = frame(&Request::Scan { view: "by_id".to_owned(), keys: KeyFilter::all() });
    let stalled: Vec<UnixStream> = (0..readers)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).expect("it listens");
            (0..4).for_each(|_| stream.write_all(&ask).expect("it is taken"));
            stream
        })
        .collect();
    for round in 1..=3 {
        append(&place, "events", 100, |i| format!("{{\"id\":{i},\"kind\":\"k\"}}"));
        assert_eq!(one(&place, "SELECT SUM(n) AS n FROM by_id")["n"].as_u64(), Some(rows + 100 * round));
        place.run(["batch"]).ok();
        place.run(["gc"]).ok();
    }
    limits.check_up(&format!("{readers} readers that never read {rows} rows"), running.id());
    drop(stalled);
    down(running);
    books(&place, "events", rows + 300);
}

#[test]
fn readers_that_never_take_their_answers_keep_nobody_waiting() {
    readers_that_never_read(16, 20_000, Limits { views: 1, view: 32, step: 4, batch: 16, producers: 1 });
}

#[test]
#[ignore = "at full size: takes minutes"]
fn readers_that_never_take_their_answers_at_full_size() {
    readers_that_never_read(48, 500_000, Limits { views: 1, view: 256, step: 32, batch: 128, producers: 1 });
}

/// A reader that holds a manifest keeps no file from being collected; it is told that its files are gone, and pins anew.
#[test]
fn a_reader_that_holds_an_old_manifest_is_told_and_keeps_nothing() {
    let mut system = System::new(&[("events.sql", DEFINITIONS)], 1_773_100_800_000_000);
    system.set("batch.keep_manifests", "1");
    system.set("batch.keep_minutes", "0");
    let write = |system: &System, from: u64| {
        let events = (from..from + 500).map(|i| format!("{{\"id\":{},\"kind\":\"k\"}}", i % 700).into_bytes());
        system.append("events", events.collect());
    };
    write(&system, 0);
    system.batch();
    let store = system.project().store().expect("a store");
    let held = ViewReader::pin(&store).expect("it can be read").expect("a manifest");
    let catalog = Arc::clone(system.project().catalog());
    let (view, core) = catalog.materialized().next().expect("a view");
    let kernel = CoreKernel::compile(core, system.project().registry()).expect("it compiles");
    let read = |reader: &ViewReader| reader.read(&view.name, &view.fingerprint, &kernel, &KeyFilter::all());
    assert_eq!(read(&held).expect("its files are there").len(), 500);
    for run in 1..20 {
        write(&system, run * 500);
        system.advance(60_000_000);
        system.batch();
    }
    let gone = read(&held).expect_err("its files were collected");
    assert!(gone.is_gone(), "{gone}");
    let newest = store.latest_manifest().expect("it can be read").expect("a manifest");
    let named = newest.files().count();
    let kept =
        files_below(&system.store_directory().join("data")) + files_below(&system.store_directory().join("archive"));
    assert_eq!(kept, named, "twenty runs leave the files of one");
    assert_eq!(read(&ViewReader::new(store, Arc::new(newest))).expect("the newer ones are there").len(), 700);
    assert_eq!(system.rows("by_id").1.len(), 700);
}
