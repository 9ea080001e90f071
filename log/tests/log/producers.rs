//! Numbered appends across restarts, lost acknowledgements, crashes, sealed and deleted segments, and a bounded memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::files;
use watershed_log::{
    Append, EventLog, FileLog, LogError, ManualClock, Numbered, Numbering, Options, ProducerId, Result, contract,
};

const PARTITIONS: u32 = 3;

fn numbering(producer: u32, first: u64) -> Numbering {
    Numbering { producer: ProducerId::new(format!("p{producer}")).unwrap(), first }
}

/// A producer's record: its number decides the partition, unless the definitions change, which `routing` stands for.
fn record(producer: u32, number: u64, routing: u64) -> Append {
    let partition = (number * 5 + routing * number / 2) % u64::from(PARTITIONS);
    Append::new(partition as u32, format!("{producer}:{number}:{}", "x".repeat((number % 40) as usize)))
}

fn records(producer: u32, first: u64, count: u64, routing: u64) -> Vec<Append> {
    (first..first + count).map(|number| record(producer, number, routing)).collect()
}

fn send(log: &dyn EventLog, producer: u32, first: u64, count: u64) -> Result<Numbered> {
    log.append_numbered("s", numbering(producer, first), records(producer, first, count, 0))
}

fn options() -> Options {
    Options {
        segment_bytes_max: 1_500,
        batch_bytes_max: 300,
        queue_bytes_max: 6_000,
        sync_threads: 2,
        ..Options::default()
    }
}

fn open(dir: &Path, options: Options) -> FileLog {
    let log = FileLog::open_writer(dir, options, Arc::new(ManualClock::new(1_000))).unwrap();
    log.create_source("s", PARTITIONS).unwrap();
    log
}

/// The numbers of each producer in the log, by partition, in order.
fn stored(log: &dyn EventLog) -> BTreeMap<u32, Vec<Vec<u64>>> {
    let mut stored: BTreeMap<u32, Vec<Vec<u64>>> = BTreeMap::new();
    let start = log.start().unwrap();
    for partition in 0..PARTITIONS {
        for (_, _, _, payload) in contract::read_all(log, "s", partition, start.partition("s", partition), 1 << 16) {
            let text = std::str::from_utf8(&payload).unwrap();
            let mut fields = text.split(':').map(|field| field.parse::<u64>().unwrap_or(0));
            let (producer, number) = (fields.next().unwrap() as u32, fields.next().unwrap());
            let partitions = stored.entry(producer).or_insert_with(|| vec![vec![]; PARTITIONS as usize]);
            partitions[partition as usize].push(number);
        }
    }
    stored
}

/// Every number below `next` is there once, and those of a partition are in order.
fn check_once(partitions: &[Vec<u64>], next: u64) {
    assert!(partitions.iter().all(|numbers| numbers.is_sorted()), "in the order of the numbers: {partitions:?}");
    let mut all = partitions.concat();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..next), "0..{next} each once, not {all:?}");
}

#[test]
fn a_restart_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut places = Vec::new();
    for round in 0..6 {
        let log = open(dir.path(), options());
        let sent = send(&log, 1, 0, 40 * (round + 1)).unwrap().records;
        for (number, place) in sent.iter().enumerate() {
            assert_eq!(place.repeated, number < places.len());
            match places.get(number) {
                // Places are remembered as far as the segments being written reach.
                Some(known) => assert!(place.at.is_none_or(|at| at == *known)),
                None => places.push(place.at.unwrap()),
            }
        }
        assert!(matches!(send(&log, 1, 40 * (round + 1) + 1, 1), Err(LogError::NumberGap { .. })));
        assert_eq!(log.stats().repeated, 40 * round);
        drop(log);
    }
    check_once(&stored(&open(dir.path(), options()))[&1], 240);
}

#[test]
fn what_is_deleted_is_not_appended_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), options());
    send(&log, 1, 0, 100).unwrap();
    log.seal("s").unwrap();
    let gone = log.head().unwrap();
    log.delete_sealed_below(&gone).unwrap();
    assert_eq!(log.start().unwrap(), gone, "no record is left");
    let mut log = log;
    for _ in 0..3 {
        let again = send(&log, 1, 0, 100).unwrap();
        assert!(again.records.iter().all(|place| place.repeated));
        assert_eq!(log.head().unwrap(), gone);
        log.close().unwrap();
        log = open(dir.path(), options());
    }
    let more = send(&log, 1, 90, 20).unwrap();
    assert_eq!(more.records.iter().filter(|place| place.repeated).count(), 10);
}

#[test]
fn a_table_that_routes_differently_gets_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), options());
    send(&log, 1, 0, 50).unwrap();
    let again = log.append_numbered("s", numbering(1, 0), records(1, 0, 60, 1)).unwrap();
    assert!((0..).zip(&again.records).all(|(number, place)| place.repeated == (number < 50)));
    check_once(&stored(&log)[&1], 60);
}

#[test]
fn the_producers_that_appended_last_are_remembered_and_others_refused() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let options = Options { producers_max: 3, ..options() };
    let reopen = || {
        let log = FileLog::open_writer(dir.path(), options.clone(), clock.clone()).unwrap();
        log.create_source("s", PARTITIONS).unwrap();
        log
    };
    let mut log = reopen();
    for producer in 0..6 {
        clock.advance(10);
        send(&log, producer, 0, 10).unwrap();
        if producer == 3 {
            // Producer 1 would be the next to be forgotten, had it not come back.
            clock.advance(10);
            assert!(send(&log, 1, 0, 12).unwrap().records[0].repeated);
        }
        if producer % 2 == 1 {
            drop(log);
            log = reopen();
        }
    }
    for _ in 0..2 {
        for producer in [0, 2, 3] {
            for first in [0, 10] {
                let refused = send(&log, producer, first, 5).unwrap_err();
                assert!(matches!(refused, LogError::ProducerForgotten { .. }), "producer {producer}: {refused}");
            }
        }
        for producer in [1, 4, 5] {
            assert!(send(&log, producer, 0, 10).unwrap().records.iter().all(|place| place.repeated), "{producer}");
        }
        log.seal("s").unwrap();
        drop(log);
        log = reopen();
    }
    for (producer, partitions) in stored(&log) {
        check_once(&partitions, if producer == 1 { 12 } else { 10 });
    }
}

#[test]
fn what_is_remembered_has_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let options = Options { producers_max: 50, durability: watershed_log::Durability::Os, ..Options::default() };
    let log = FileLog::open_writer(dir.path(), options, clock.clone()).unwrap();
    log.create_source("s", 1).unwrap();
    let begin_of_next = || {
        log.seal("s").unwrap();
        std::fs::metadata(files(dir.path(), 0, "segment").pop().unwrap()).unwrap().len()
    };
    let mut sizes = Vec::new();
    for producer in 0..2_000u32 {
        clock.advance(1);
        match log.append_numbered("s", numbering(producer + 10_000, 0), vec![Append::new(0, "x")]) {
            Ok(_) | Err(LogError::ProducerForgotten { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        if producer % 500 == 499 {
            sizes.push(begin_of_next());
        }
    }
    assert!(sizes.iter().all(|&size| size == sizes[0]) && sizes[0] < 20_000, "{sizes:?}");
}

#[test]
fn a_segment_of_the_first_version_is_read_sealed_and_followed_by_one_of_the_second() {
    for empty in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), options());
        if !empty {
            log.append("s", records(9, 0, 30, 0)).unwrap();
        }
        log.close().unwrap();
        let heads = log.head().unwrap();
        // The first version is the same but for its number, from which the batches' checksums go on.
        for partition in 0..PARTITIONS {
            files(dir.path(), partition, "segment").iter().for_each(|path| make_first_version(path));
        }
        let reader = FileLog::open_reader(dir.path()).unwrap();
        let before = stored(&reader);
        let log = open(dir.path(), options());
        assert_eq!((stored(&log), log.head().unwrap()), (before, heads));
        assert_eq!(log.recovery(), Default::default());
        send(&log, 1, 0, 40).unwrap();
        for log in [&log, &reader] {
            check_once(&stored(log)[&1], 40);
        }
        log.close().unwrap();
        let log = open(dir.path(), options());
        assert!(send(&log, 1, 0, 40).unwrap().records.iter().all(|place| place.repeated));
    }
}

/// Rewrites a segment without producers as the first version wrote it.
fn make_first_version(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let u32_at = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(u32_at(&bytes, 8), 2);
    bytes[8] = 1;
    let salt = crc32c::crc32c(&bytes[..36]);
    bytes[36..40].copy_from_slice(&salt.to_le_bytes());
    let mut at = 40;
    while at < bytes.len() {
        let crc = crc32c::crc32c_append(salt, &bytes[at..at + 44]);
        bytes[at + 44..at + 48].copy_from_slice(&crc.to_le_bytes());
        at += u32_at(&bytes, at + 4) as usize;
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_append_that_a_crash_cut_short_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default());
    send(&log, 1, 0, 10).unwrap();
    send(&log, 1, 10, 300).unwrap();
    drop(log);
    // The last batch of one partition loses its end, as if the machine had died before it was synced.
    let segment = files(dir.path(), 1, "segment").pop().unwrap();
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 30]).unwrap();
    std::fs::remove_file(dir.path().join("s/1/head")).unwrap();
    let log = open(dir.path(), Options::default());
    assert_eq!(log.recovery().torn.len(), 1);
    let first_gone = match send(&log, 1, 310, 1) {
        Err(LogError::NumberGap { expected, .. }) => expected,
        other => panic!("{other:?}"),
    };
    assert!((10..20).contains(&first_gone), "{first_gone}");
    let again = send(&log, 1, 0, 310).unwrap();
    let appended = again.records.iter().filter(|place| !place.repeated).count();
    assert!((90..110).contains(&appended), "a third of the records went there: {appended}");
    check_once(&stored(&log)[&1], 310);
}
