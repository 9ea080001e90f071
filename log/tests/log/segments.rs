//! Segments: rolling, their indexes, limits, sources on disk.

use std::sync::Arc;

use bytes::Bytes;
use watershed_log::{Append, EventLog, FileLog, LogError, ManualClock, Options, Position, lock_holder};

use crate::{append, files, open, payloads};

#[test]
fn a_segment_is_sealed_when_it_would_grow_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { segment_bytes_max: 500, ..Options::default() }, 1);
    for _ in 0..10 {
        append(&log, 0, vec![b'x'; 100]);
    }
    // 40 bytes of header, and 48 + 8 + 100 per batch of one record: two batches do not reach 500, three do.
    assert_eq!(files(dir.path(), 0, "segment").len(), 5);
    assert_eq!(files(dir.path(), 0, "index").len(), 4);
    assert_eq!(files(dir.path(), 0, "timeindex").len(), 4);
    assert_eq!(log.stats().sealed, 4);
    append(&log, 0, vec![b'x'; 5_000]);
    append(&log, 0, "small");
    assert_eq!(
        payloads(&log, 0, 10),
        [vec![b'x'; 5_000], b"small".to_vec()],
        "a larger batch has a segment of its own"
    );
}

#[test]
fn a_segment_is_sealed_when_it_is_old_or_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let options = Options { segment_age_max_micros: 100, ..Options::default() };
    let log = FileLog::open_writer(dir.path(), options, clock.clone()).unwrap();
    log.create_source("s", 1).unwrap();
    let segments = || files(dir.path(), 0, "segment").len();
    for (time, expected) in [(500, 1), (599, 1), (600, 2), (650, 2), (800, 3)] {
        clock.set(time);
        append(&log, 0, "x");
        assert_eq!(segments(), expected, "at {time}");
    }
    log.seal("s").unwrap();
    assert_eq!(segments(), 4);
    log.seal("s").unwrap();
    assert_eq!(segments(), 4, "an empty segment is not sealed");
    append(&log, 0, "x");
    clock.set(900);
    let deleted = log.delete_sealed_below(&log.head().unwrap()).unwrap();
    assert_eq!((deleted[0].from, deleted[0].to), (0, 6), "retention seals what is old, even if nothing is appended");
    assert_eq!(log.start().unwrap(), log.head().unwrap());
    assert_eq!(append(&log, 0, "x"), 6);
}

#[test]
fn indexes_are_rebuilt_by_the_writer_and_ignored_by_readers() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 60_000, ..Options::default() };
    let log = open(dir.path(), options.clone(), 1);
    for number in 0..500 {
        append(&log, 0, format!("{number:>400}"));
    }
    log.close().unwrap();
    let expected = payloads(&log, 0, 0);
    let indexes = || [files(dir.path(), 0, "index"), files(dir.path(), 0, "timeindex")].concat();
    let originals: Vec<Vec<u8>> = indexes().iter().map(|path| std::fs::read(path).unwrap()).collect();
    type Spoil = fn(&std::path::Path, &[u8]);
    let spoils: [Spoil; 4] = [
        |path, _| std::fs::remove_file(path).unwrap(),
        |path, bytes| std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        |path, bytes| std::fs::write(path, [&bytes[..20], &[0xee], &bytes[21..]].concat()).unwrap(),
        |path, _| std::fs::write(path, b"").unwrap(),
    ];
    for spoil in spoils {
        indexes().iter().zip(&originals).for_each(|(path, bytes)| spoil(path, bytes));
        let reader = FileLog::open_reader(dir.path()).unwrap();
        for from in [0, 1, 137, 250, 499] {
            assert_eq!(payloads(&reader, 0, from), expected[from as usize..]);
        }
        assert_eq!(reader.offset_at_time("s", 0, 1_000).unwrap(), 0);
        assert_eq!(reader.offset_at_time("s", 0, 1_001).unwrap(), 500);
        let log = FileLog::open_writer(dir.path(), options.clone(), Arc::new(ManualClock::new(0))).unwrap();
        assert_eq!(log.recovery().rebuilt.len(), originals.len());
        log.close().unwrap();
        let rebuilt: Vec<Vec<u8>> = indexes().iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(rebuilt, originals);
    }
}

#[test]
fn damaged_index_entries_are_noticed_when_they_are_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { segment_bytes_max: 60_000, ..Options::default() }, 1);
    for number in 0..200 {
        append(&log, 0, format!("{number:>400}"));
    }
    let expected = payloads(&log, 0, 0);
    drop(log);
    let index = &files(dir.path(), 0, "index")[0];
    let good = std::fs::read(index).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        std::fs::write(index, bad).unwrap();
        let reader = FileLog::open_reader(dir.path()).unwrap();
        assert_eq!(payloads(&reader, 0, 100), expected[100..], "byte {at}");
    }
}

#[test]
fn time_and_offset_find_their_place_in_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let options = Options { segment_bytes_max: 100_000, ..Options::default() };
    let log = FileLog::open_writer(dir.path(), options, clock.clone()).unwrap();
    log.create_source("s", 1).unwrap();
    for number in 0..2_000i64 {
        clock.set(number / 7 * 10);
        append(&log, 0, format!("{number:>300}"));
    }
    assert!(files(dir.path(), 0, "segment").len() > 5);
    let reader = FileLog::open_reader(dir.path()).unwrap();
    for log in [&log, &reader] {
        for micros in (0..2_900).step_by(3) {
            let expected = (micros + 9) / 10 * 7;
            assert_eq!(log.offset_at_time("s", 0, micros).unwrap(), expected.min(2_000) as u64, "at {micros}");
        }
        for from in (0..2_000).rev().step_by(13) {
            let chunk = log.read("s", 0, from, from + 1, 0).unwrap();
            assert_eq!(chunk.iter().next().unwrap().payload, format!("{from:>300}").as_bytes());
        }
    }
}

#[test]
fn a_record_that_is_too_large_is_refused_with_all_of_its_append() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { record_bytes_max: 10, ..Options::default() }, 1);
    let fits = Append::new(0, vec![0; 7]).with_key(vec![0; 3]);
    let too_large = Append::new(0, vec![0; 8]).with_key(vec![0; 3]);
    let error = log.append("s", vec![fits.clone(), too_large]).unwrap_err();
    assert!(matches!(error, LogError::RecordTooLarge { bytes: 11, bytes_max: 10 }), "{error}");
    assert_eq!(log.append("s", vec![fits]).unwrap().records, [(0, 0)]);
}

#[test]
fn an_append_larger_than_batches_and_queue_is_still_taken() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { queue_bytes_max: 100, batch_bytes_max: 300, ..Options::default() }, 2);
    let records: Vec<Append> = (0..100).map(|number| Append::new(number % 2, format!("{number:>50}"))).collect();
    let appended = log.append("s", records).unwrap().records;
    assert!(appended.iter().enumerate().all(|(at, &place)| place == (at as u32 % 2, at as u64 / 2)));
    assert!(log.stats().batches >= 20);
    assert_eq!(payloads(&log, 1, 49), [format!("{:>50}", 99).into_bytes()]);
}

#[test]
fn large_records_are_read_whole_and_without_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default(), 1);
    let large = Bytes::from(vec![b'L'; 5 << 20]);
    append(&log, 0, large.clone());
    append(&log, 0, "small");
    let chunk = log.read("s", 0, 0, 2, 1).unwrap();
    assert_eq!(chunk.len(), 1);
    let record = chunk.iter().next().unwrap();
    let shared = chunk.share(record.payload);
    assert_eq!(shared.as_ptr(), record.payload.as_ptr());
    assert_eq!(shared, large);
}

#[test]
fn one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(lock_holder(dir.path()).unwrap(), None);
    let options = Options { control_socket: Some("/run/watershed.sock".into()), ..Options::default() };
    let log = open(dir.path(), options, 1);
    let holder = lock_holder(dir.path()).unwrap().unwrap();
    assert_eq!((holder.pid, holder.socket), (std::process::id(), Some("/run/watershed.sock".into())));
    let second = FileLog::open_writer(dir.path(), Options::default(), Arc::new(ManualClock::new(0))).unwrap_err();
    assert!(second.to_string().contains(&format!("process {}", std::process::id())), "{second}");
    log.announce(None).unwrap();
    assert_eq!(lock_holder(dir.path()).unwrap().unwrap().socket, None);
    log.close().unwrap();
    assert_eq!(lock_holder(dir.path()).unwrap(), None);
    assert!(matches!(log.append("s", vec![Append::new(0, "x")]), Err(LogError::Closed)));
    log.close().unwrap();
    FileLog::open_writer(dir.path(), Options::default(), Arc::new(ManualClock::new(0))).unwrap();
}

#[test]
fn a_reader_needs_a_log_and_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(FileLog::open_reader(dir.path()), Err(LogError::NotALog { .. })));
    let log = open(dir.path(), Options::default(), 1);
    let reader = FileLog::open_reader(dir.path()).unwrap();
    assert!(matches!(reader.append("s", vec![Append::new(0, "x")]), Err(LogError::ReadOnly { .. })));
    assert!(matches!(reader.create_source("t", 1), Err(LogError::ReadOnly { .. })));
    assert!(matches!(reader.delete_sealed_below(&Position::new()), Err(LogError::ReadOnly { .. })));
    log.create_source("t", 1).unwrap();
    assert_eq!(reader.partitions("t").unwrap(), 1, "sources created later are found");
    assert_eq!(reader.sources().unwrap(), ["s", "t"]);
}

#[test]
fn a_source_that_was_being_created_is_created_again_but_lost_records_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default(), 2);
    drop(log);
    std::fs::remove_file(dir.path().join("s/source")).unwrap();
    let log = open(dir.path(), Options::default(), 3);
    append(&log, 2, "x");
    drop(log);
    std::fs::remove_file(dir.path().join("s/source")).unwrap();
    let error = FileLog::open_writer(dir.path(), Options::default(), Arc::new(ManualClock::new(0))).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if path.ends_with("s/source")), "{error}");
}

#[test]
fn options_out_of_range_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(0));
    for bad in [
        Options { record_bytes_max: 2 << 30, ..Options::default() },
        Options { batch_bytes_max: 0, ..Options::default() },
        Options { queue_bytes_max: 1 << 32, ..Options::default() },
        Options { sync_threads: 0, ..Options::default() },
        Options { segment_age_max_micros: -1, ..Options::default() },
    ] {
        assert!(matches!(FileLog::open_writer(dir.path(), bad, clock.clone()), Err(LogError::Invalid { .. })));
    }
}

#[test]
fn reads_are_divided_where_large_batches_begin() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default(), 1);
    for _ in 0..5 {
        log.append("s", (0..10).map(|_| Append::new(0, vec![b'x'; 3_000])).collect()).unwrap();
    }
    let reader = || FileLog::open_reader(dir.path()).unwrap();
    for offset in 0..50 {
        let begin = offset / 10 * 10;
        assert_eq!(log.divide("s", 0, offset).unwrap(), begin, "the writer knows its segment");
        assert_eq!(reader().divide("s", 0, offset).unwrap(), begin, "a reader looks at headers");
    }
    assert_eq!(log.divide("s", 0, 50).unwrap(), 50);
    drop(log);
    let log = open(dir.path(), Options::default(), 1);
    assert_eq!(log.divide("s", 0, 39).unwrap(), 30, "recovery has learned it");
}

#[test]
fn a_reader_does_not_read_many_small_batches_to_divide() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default(), 1);
    for _ in 0..100 {
        append(&log, 0, "x");
    }
    assert_eq!(FileLog::open_reader(dir.path()).unwrap().divide("s", 0, 70).unwrap(), 70);
}
