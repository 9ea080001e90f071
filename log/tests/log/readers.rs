//! Readers: while writing goes on, across handles, tailing, retention under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use watershed_log::{Append, EventLog, FileLog, LogError, ManualClock, Options};

use crate::{append, files, open, payloads};

#[test]
fn a_tailing_reader_is_woken_by_the_append() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(open(dir.path(), Options::default(), 1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // No timer and no I/O driver: nothing but the log can wake this.
    runtime.block_on(async {
        let mut heads = log.watch();
        for number in 0..100u64 {
            let appended = tokio::spawn(log.append_async("s", vec![Append::new(0, format!("{number}"))]));
            heads.changed().await.unwrap();
            assert_eq!(heads.borrow_and_update().partition("s", 0), number + 1);
            assert_eq!(payloads(&*log, 0, number), [number.to_string().into_bytes()]);
            appended.await.unwrap().unwrap();
        }
    });
}

#[test]
fn another_handle_follows_the_writer_through_rolls_and_reopenings() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 2_000, ..Options::default() };
    drop(open(dir.path(), options.clone(), 1));
    let reader = FileLog::open_reader(dir.path()).unwrap();
    let mut heads = reader.watch();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..5u64 {
                let log = open(dir.path(), options.clone(), 1);
                for number in 0..100 {
                    assert_eq!(append(&log, 0, (round * 100 + number).to_string()), round * 100 + number);
                }
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut next = 0;
        while next < 500 {
            runtime.block_on(heads.wait_for(|head| head.partition("s", 0) > next)).unwrap();
            for payload in payloads(&reader, 0, next) {
                assert_eq!(payload, next.to_string().into_bytes());
                next += 1;
            }
        }
    });
    assert!(files(dir.path(), 0, "segment").len() > 5);
}

#[test]
fn readers_meet_retention_as_a_clear_error_and_never_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 1_000, ..Options::default() };
    let log = open(dir.path(), options, 1);
    append(&log, 0, "0");
    let (elsewhere, of_it) = (FileLog::open_reader(dir.path()).unwrap(), log.reader().unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in [&log, &elsewhere, &of_it] {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let (start, head) = (reader.start().unwrap(), reader.head().unwrap());
                    let (start, head) = (start.partition("s", 0), head.partition("s", 0));
                    for from in [start, start.saturating_sub(1), (start + head) / 2, head - 1] {
                        match reader.read("s", 0, from, head, 300) {
                            Ok(chunk) => chunk.iter().for_each(|record| {
                                assert_eq!(record.payload, record.offset.to_string().as_bytes());
                            }),
                            Err(LogError::BelowStart { offset, start, .. }) => assert!(offset < start),
                            Err(other) => panic!("{other}"),
                        }
                        assert!(reader.offset_at_time("s", 0, 0).unwrap() >= start);
                    }
                }
            });
        }
        for number in 1..600u64 {
            append(&log, 0, number.to_string());
            if number.is_multiple_of(20) {
                log.delete_sealed_below(&log.head().unwrap()).unwrap();
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(log.start().unwrap().partition("s", 0) > 500);
    assert_eq!(elsewhere.start().unwrap(), log.start().unwrap());
    assert_eq!(of_it.start().unwrap(), log.start().unwrap());
}

#[test]
fn a_reader_of_a_handle_goes_on_when_that_is_closed_and_another_writes() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 500, ..Options::default() };
    let write = |log: &FileLog, numbers: std::ops::Range<u64>| {
        numbers.for_each(|number| assert_eq!(append(log, 0, number.to_string()), number));
    };
    let read = |log: &FileLog, from: u64, to: u64| {
        let head = log.head().unwrap().partition("s", 0);
        assert_eq!(head, to);
        let all = payloads(log, 0, from);
        assert_eq!(all, (from..to).map(|number| number.to_string().into_bytes()).collect::<Vec<_>>());
    };
    let first = open(dir.path(), options.clone(), 1);
    write(&first, 0..50);
    let reader = first.reader().unwrap();
    read(&reader, 0, 50);
    write(&first, 50..53);
    first.close().unwrap();
    // In the segment that was open, then in later ones.
    read(&reader, 40, 53);
    let second = open(dir.path(), options, 1);
    for to in [54, 60, 200] {
        write(&second, second.head().unwrap().partition("s", 0)..to);
        read(&reader, 45, to);
        read(&first.reader().unwrap(), 45, to);
    }
    // A reader cannot tell what it is a reader of.
    read(&reader.reader().unwrap(), 45, 200);
    assert!(matches!(reader.create_source("t", 1), Err(LogError::ReadOnly { .. })));
    second.delete_sealed_below(&second.head().unwrap()).unwrap();
    let start = second.start().unwrap();
    assert!(start.partition("s", 0) > 100);
    assert_eq!((reader.start().unwrap(), first.reader().unwrap().start().unwrap()), (start.clone(), start.clone()));
    read(&reader, start.partition("s", 0), 200);
    assert!(matches!(reader.read("s", 0, 45, 200, 1), Err(LogError::BelowStart { .. })));
}

#[test]
fn start_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 300, ..Options::default() };
    let log = open(dir.path(), options.clone(), 1);
    for number in 0..20u64 {
        append(&log, 0, number.to_string());
    }
    let deleted = log.delete_sealed_below(&log.head().unwrap()).unwrap();
    let start = log.start().unwrap();
    assert_eq!(start.partition("s", 0), deleted[0].to);
    drop(log);
    let log = FileLog::open_writer(dir.path(), options, Arc::new(ManualClock::new(0))).unwrap();
    assert_eq!(log.start().unwrap(), start);
    assert_eq!(append(&log, 0, "20"), 20);
}
