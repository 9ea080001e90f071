//! Invariant: damage is detected, never served; only a bad last batch is a torn tail.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watershed_log::{Append, Durability, EventLog, FileLog, LogError, ManualClock, Options, Result};

use crate::{append, files, open, payloads};

const SEGMENT_HEADER: u64 = 40;
const BATCH_HEADER: u64 = 48;
const FRAME_PREFIX: u64 = 8;

fn reopen(dir: &Path) -> Result<FileLog> {
    FileLog::open_writer(dir, Options::default(), Arc::new(ManualClock::new(2_000)))
}

/// A closed log with three batches of 10-byte payloads in one partition, and where each batch begins.
fn three_batches(dir: &Path) -> (PathBuf, [u64; 4]) {
    let log = open(dir, Options::default(), 1);
    for payload in ["0123456789", "abcdefghij", "ABCDEFGHIJ"] {
        append(&log, 0, payload);
    }
    log.close().unwrap();
    let batch = BATCH_HEADER + FRAME_PREFIX + 10;
    (files(dir, 0, "segment").remove(0), [0, 1, 2, 3].map(|at| SEGMENT_HEADER + at * batch))
}

fn head_file(dir: &Path) -> PathBuf {
    dir.join("s/0/head")
}

#[test]
fn a_torn_tail_is_set_aside_and_reported() {
    for cut in [1, BATCH_HEADER - 1, BATCH_HEADER, BATCH_HEADER + FRAME_PREFIX + 9] {
        let dir = tempfile::tempdir().unwrap();
        let (segment, begins) = three_batches(dir.path());
        // As after a power failure: nothing says that the last batch was durable.
        fs::remove_file(head_file(dir.path())).unwrap();
        let bytes = fs::read(&segment).unwrap();
        let torn_bytes = &bytes[begins[2] as usize..(begins[2] + cut) as usize];
        fs::write(&segment, &bytes[..(begins[2] + cut) as usize]).unwrap();

        let log = reopen(dir.path()).unwrap();
        let report = log.recovery();
        let [torn] = &report.torn[..] else { panic!("{report:?}") };
        assert_eq!((torn.source.as_str(), torn.partition, torn.offset), ("s", 0, 2));
        assert_eq!((torn.byte_offset, torn.bytes, &torn.segment), (begins[2], cut, &segment));
        assert_eq!(fs::read(&torn.kept_in).unwrap(), torn_bytes);
        assert_eq!(files(dir.path(), 0, "torn"), std::slice::from_ref(&torn.kept_in));
        assert_eq!(log.head().unwrap().partition("s", 0), 2);
        assert_eq!(append(&log, 0, "again"), 2);
        assert_eq!(payloads(&log, 0, 0), [&b"0123456789"[..], b"abcdefghij", b"again"]);
        drop(log);
        assert_eq!(reopen(dir.path()).unwrap().recovery(), Default::default(), "once mended, it stays so");
    }
}

#[test]
fn tails_torn_twice_at_one_place_are_both_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, begins) = three_batches(dir.path());
    for garbage in [&b"first"[..], b"second"] {
        let good = fs::read(&segment).unwrap();
        fs::write(&segment, [&good[..begins[3] as usize], garbage].concat()).unwrap();
        assert_eq!(reopen(dir.path()).unwrap().recovery().torn[0].bytes, garbage.len() as u64);
    }
    let kept: Vec<_> = files(dir.path(), 0, "torn").iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.contains(&b"first".to_vec()) && kept.contains(&b"second".to_vec()));
}

#[test]
fn zeros_after_the_records_are_cut_off_and_what_is_in_them_is_a_torn_tail() {
    for (zeros, written) in [(3_000_000, None), (1, None), (3_000_000, Some(2_000_000)), (60, Some(50))] {
        let dir = tempfile::tempdir().unwrap();
        let (segment, begins) = three_batches(dir.path());
        let file = fs::File::options().write(true).open(&segment).unwrap();
        file.set_len(begins[3] + zeros).unwrap();
        if let Some(at) = written {
            std::os::unix::fs::FileExt::write_all_at(&file, b"x", begins[3] + at).unwrap();
        }
        let reader = FileLog::open_reader(dir.path()).unwrap();
        assert_eq!(payloads(&reader, 0, 0).len(), 3);
        let log = reopen(dir.path()).unwrap();
        let torn: Vec<u64> = log.recovery().torn.iter().map(|torn| torn.bytes).collect();
        assert_eq!(torn, written.map(|at| at + 1).as_slice());
        assert_eq!(fs::metadata(&segment).unwrap().len(), begins[3]);
        assert_eq!(payloads(&log, 0, 0).len(), 3);
    }
}

#[test]
fn zeros_where_durable_records_were_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, begins) = three_batches(dir.path());
    let mut bytes = fs::read(&segment).unwrap();
    bytes[begins[2] as usize..].fill(0);
    fs::write(&segment, &bytes).unwrap();
    let LogError::Damaged { byte_offset, .. } = reopen(dir.path()).unwrap_err() else { panic!("it is damaged") };
    assert_eq!(byte_offset, begins[2]);
    let reader = FileLog::open_reader(dir.path()).unwrap();
    let error = reader.read("s", 0, 2, 3, 1 << 20).unwrap_err();
    assert!(error.to_string().contains("but 2 was durable"), "{error}");
    let found = watershed_log::check::check(dir.path(), &Default::default()).unwrap();
    let gone: std::ops::Range<u64> = 2..3;
    let lost = watershed_log::check::LogDamage::Records { unreadable: vec![gone] };
    assert!(found.findings.iter().any(|finding| finding.damage == lost), "{found:?}");
}

/// The bytes of all segments of a log with small ones, while it is written to and at rest.
fn segments_with(reserve_bytes_max: u64, durability: Durability) -> [Vec<Vec<u8>>; 2] {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { reserve_bytes_max, durability, segment_bytes_max: 20_000, ..Options::default() };
    let log = open(dir.path(), options, 1);
    let reader = FileLog::open_reader(dir.path()).unwrap();
    for number in 0..700 {
        let payload = format!("{number:050}");
        assert_eq!(append(&log, 0, payload.clone()), number);
        if durability == Durability::Fsync {
            assert_eq!(payloads(&reader, 0, number), [payload.into_bytes()]);
        }
    }
    let all = || files(dir.path(), 0, "segment").iter().map(|path| fs::read(path).unwrap()).collect();
    let written = all();
    // As a killed process leaves it.
    let killed = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(dir.path().join(".")).arg(killed.path()).status();
    assert!(copied.unwrap().success());
    let _ = fs::remove_file(killed.path().join("lock"));
    let found = watershed_log::check::check(killed.path(), &Default::default()).unwrap();
    assert_eq!(found.findings, []);
    let reopened = reopen(killed.path()).unwrap();
    assert_eq!(reopened.recovery(), Default::default());
    assert_eq!(payloads(&reopened, 0, 0).len() as u64, append(&reopened, 0, "after"));
    log.close().unwrap();
    [written, all()]
}

#[test]
fn zeros_ahead_of_the_records_are_seen_by_nobody() {
    let [without, at_rest_without] = segments_with(0, Durability::Fsync);
    let [with, at_rest] = segments_with(1 << 20, Durability::Fsync);
    assert!(without == at_rest_without && at_rest == at_rest_without);
    let (active, sealed) = with.split_last().unwrap();
    assert!(sealed.len() > 2);
    assert!(sealed == &at_rest[..sealed.len()], "sealed segments end with their records");
    let records = &at_rest[sealed.len()];
    assert!(active.len() > records.len() && active.len() <= 20_000 + 4096, "{}", active.len());
    assert!(active.starts_with(records) && active[records.len()..].iter().all(|byte| *byte == 0));
    let [written, at_rest] = segments_with(1 << 20, Durability::Os);
    assert!(written == at_rest, "what is not synced at once needs none");
}

#[test]
fn a_bad_batch_with_a_good_one_behind_it_is_damage() {
    for bad in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        let (segment, begins) = three_batches(dir.path());
        fs::remove_file(head_file(dir.path())).unwrap();
        let good = fs::read(&segment).unwrap();
        for at in begins[bad]..begins[bad + 1] {
            let mut bytes = good.clone();
            bytes[at as usize] ^= 0x10;
            fs::write(&segment, &bytes).unwrap();
            let error = reopen(dir.path()).unwrap_err();
            let LogError::Damaged { path, byte_offset, .. } = &error else { panic!("{error}") };
            assert_eq!((path, *byte_offset), (&segment, begins[bad]), "byte {at}");
            assert_eq!(fs::read(&segment).unwrap(), bytes, "a damaged segment is not touched");
        }
    }
}

#[test]
fn every_flipped_byte_below_the_head_is_damage_to_readers_and_in_headers_to_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, begins) = three_batches(dir.path());
    let good = fs::read(&segment).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&segment, &bytes).unwrap();
        let begin = begins.iter().rev().find(|&&begin| begin <= at as u64).copied().unwrap_or(0);
        let is_noticed = |log: &FileLog| {
            let read = |offset| log.read("s", 0, offset, offset + 1, 0).map(|chunk| chunk.len());
            let damaged = (0..3).filter(|&offset| match read(offset) {
                Ok(records) => records != 1,
                Err(LogError::Damaged { path, byte_offset, .. }) => path == segment && byte_offset == begin,
                Err(other) => panic!("{other}"),
            });
            damaged.count() >= 1
        };
        match reopen(dir.path()) {
            // Bodies below the head were durable once: who reads them checks them.
            Ok(log) if begin > 0 && at as u64 >= begin + BATCH_HEADER => {
                assert!(is_noticed(&log), "byte {at}");
                log.close().unwrap();
            }
            Ok(_) => panic!("byte {at} of a header is passed over"),
            Err(error) => {
                let LogError::Damaged { path, byte_offset, .. } = &error else { panic!("{error}") };
                assert_eq!((path, *byte_offset), (&segment, begin), "byte {at}");
                assert!(error.to_string().contains("segment"), "{error}");
            }
        }
        assert!(is_noticed(&FileLog::open_reader(dir.path()).unwrap()), "byte {at}");
        assert_eq!(fs::read(&segment).unwrap(), bytes, "a damaged segment is not touched");
    }
}

#[test]
fn every_flipped_byte_of_the_other_files_is_harmless_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    three_batches(dir.path());
    for file in ["s/0/head", "s/source"] {
        let path = dir.path().join(file);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            match reopen(dir.path()) {
                Ok(log) => assert_eq!(payloads(&log, 0, 0).len(), 3, "{file} byte {at}"),
                Err(LogError::Damaged { path: named, .. }) => assert_eq!((named, file), (path.clone(), "s/source")),
                Err(other) => panic!("{other}"),
            }
            fs::write(&path, &good).unwrap();
        }
    }
}

#[test]
fn what_the_head_file_knew_to_be_durable_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, begins) = three_batches(dir.path());
    let good = fs::read(&segment).unwrap();
    for (bytes, at) in
        [(begins[2], begins[2]), (begins[2] + 5, begins[2]), (begins[3] - 1, begins[2]), (begins[1], begins[1])]
    {
        fs::write(&segment, &good[..bytes as usize]).unwrap();
        let error = reopen(dir.path()).unwrap_err();
        assert!(matches!(&error, LogError::Damaged { byte_offset, .. } if *byte_offset == at), "{error}");
        assert!(matches!(
            FileLog::open_reader(dir.path()).unwrap().read("s", 0, 2, 3, 100),
            Err(LogError::Damaged { .. })
        ));
    }
}

#[test]
fn batches_cannot_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options::default(), 2);
    for partition in 0..2 {
        append(&log, partition, "0123456789");
        append(&log, partition, "0123456789");
    }
    log.close().unwrap();
    let (left, right) = (files(dir.path(), 0, "segment").remove(0), files(dir.path(), 1, "segment").remove(0));
    let (good_left, good_right) = (fs::read(&left).unwrap(), fs::read(&right).unwrap());
    let batch = (BATCH_HEADER + FRAME_PREFIX + 10) as usize;
    let first = SEGMENT_HEADER as usize;
    // A batch of another partition, batches exchanged, a whole segment of another partition.
    let swapped = [&good_left[..first], &good_left[first + batch..], &good_left[first..first + batch]].concat();
    let foreign = [&good_left[..first], &good_right[first..]].concat();
    for bytes in [swapped, foreign, good_right] {
        fs::write(&left, bytes).unwrap();
        assert!(matches!(reopen(dir.path()), Err(LogError::Damaged { .. })));
    }
}

#[test]
fn damage_in_a_sealed_segment_is_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { segment_bytes_max: 200, ..Options::default() }, 1);
    for _ in 0..6 {
        append(&log, 0, "0123456789");
    }
    log.close().unwrap();
    let segment = files(dir.path(), 0, "segment").remove(0);
    let good = fs::read(&segment).unwrap();
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    fs::write(&segment, &flipped).unwrap();
    let log = reopen(dir.path()).unwrap();
    let error = log.read("s", 0, 0, 6, 1 << 20).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == segment), "{error}");
    assert_eq!(payloads(&log, 0, 2).len(), 4, "what is not damaged can be read");
    drop(log);
    fs::write(&segment, &good[..good.len() - 1]).unwrap();
    let error = reopen(dir.path()).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == segment), "{error}");
}

#[test]
fn a_missing_segment_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Options { segment_bytes_max: 200, ..Options::default() }, 1);
    for _ in 0..9 {
        append(&log, 0, "0123456789");
    }
    log.close().unwrap();
    fs::remove_file(&files(dir.path(), 0, "segment")[1]).unwrap();
    assert!(matches!(reopen(dir.path()), Err(LogError::Damaged { .. })));
    let reader = FileLog::open_reader(dir.path()).unwrap();
    assert!(matches!(reader.read("s", 0, 3, 9, 100), Err(LogError::Damaged { .. })));
}

#[test]
fn unsynced_batches_of_level_os_are_set_aside_together_when_an_earlier_one_is_bad() {
    // Three appends at level `os`, written as three batches before any sync; then the machine loses power and the disk has
    // the first and the third.
    let dir = tempfile::tempdir().unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let log = open(dir.path(), Options { durability: Durability::Os, os_sync_interval: day, ..Options::default() }, 1);
    for _ in 0..3 {
        append(&log, 0, "0123456789");
    }
    assert_eq!(log.head().unwrap().partition("s", 0), 0, "unsynced records are not visible");
    let segment = files(dir.path(), 0, "segment").remove(0);
    let unsynced = fs::read(&segment).unwrap();
    let copy = tempfile::tempdir().unwrap();
    log.close().unwrap();
    drop(open(copy.path(), Options::default(), 1));
    let target = files(copy.path(), 0, "segment").remove(0);
    let begin = (SEGMENT_HEADER + BATCH_HEADER + FRAME_PREFIX + 10) as usize;
    let mut bytes = unsynced.clone();
    bytes[begin + 60] ^= 1;
    fs::write(&target, &bytes).unwrap();
    let reopened = reopen(copy.path()).unwrap();
    assert_eq!(reopened.recovery().torn[0].byte_offset, begin as u64);
    assert_eq!(fs::read(&reopened.recovery().torn[0].kept_in).unwrap(), bytes[begin..]);
    assert_eq!(payloads(&reopened, 0, 0).len(), 1);
}

#[test]
fn appended_but_unsynced_records_survive_the_process_and_become_durable_on_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, begins) = three_batches(dir.path());
    // As if the process died between the writes and the first sync: the head file still says 0.
    fs::remove_file(head_file(dir.path())).unwrap();
    let log = reopen(dir.path()).unwrap();
    assert_eq!(log.recovery().rebuilt, [head_file(dir.path())]);
    assert_eq!(log.head().unwrap().partition("s", 0), 3);
    assert_eq!(fs::metadata(&segment).unwrap().len(), begins[3]);
    assert_eq!(FileLog::open_reader(dir.path()).unwrap().head().unwrap().partition("s", 0), 3);
}

#[test]
fn a_payload_that_looks_like_a_segment_does_not_confuse_recovery() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, begins) = three_batches(dir.path());
    let image = fs::read(&segment).unwrap();
    let log = reopen(dir.path()).unwrap();
    log.append("s", vec![Append::new(0, image)]).unwrap();
    log.close().unwrap();
    fs::remove_file(head_file(dir.path())).unwrap();
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    let log = reopen(dir.path()).unwrap();
    assert_eq!(log.recovery().torn[0].byte_offset, begins[3]);
    assert_eq!(payloads(&log, 0, 0).len(), 3);
}
