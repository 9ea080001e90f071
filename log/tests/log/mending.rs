//! What a check finds is mended; what cannot be is marked, and the rest goes on.

#![expect(clippy::print_stderr, reason = "how much was tried is told on standard error")]

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use watershed_log::check::{
    CopiedRecord, Copies, Expected, LogCheck, LogDamage, LogFinding, MendOptions, NoCopies, check, mend,
};
use watershed_log::{Append, EventLog, FileLog, LogError, ManualClock, Offset};

use crate::specimen::{Contents, Specimen, damages, files_in, options, read_all, specimen, write_files};

/// Copies of all that was in a log.
struct All<'a>(&'a Contents);

impl Copies for All<'_> {
    fn read(&self, source: &str, partition: u32, range: Range<Offset>) -> Vec<CopiedRecord> {
        if source == "t" {
            // Of the records that retention has deleted.
            let record = |offset| CopiedRecord { offset, append_time_micros: 1_070, key: None, payload: "gone".into() };
            return range.map(record).collect();
        }
        let records = self.0[&(source.to_owned(), partition)].iter().filter(|record| range.contains(&record.0));
        let copied = records.map(|(offset, micros, key, payload)| CopiedRecord {
            offset: *offset,
            append_time_micros: *micros,
            key: key.clone().map(Into::into),
            payload: payload.clone().into(),
        });
        // In pieces, as from files.
        copied.take(3).collect()
    }
}

/// What epochs and manifests would say.
fn expected(of: &Specimen) -> Expected {
    let partitions = [("s".to_owned(), 2), ("t".to_owned(), 1)].into();
    Expected { partitions, durable: of.head.clone(), kept_from: Some(of.start.clone()) }
}

fn damage(check: &LogCheck) -> Vec<&LogFinding> {
    check.findings.iter().filter(|finding| finding.damage != LogDamage::Leftover).collect()
}

fn contents(dir: &Path, of: &Specimen) -> Result<Contents, LogError> {
    read_all(&FileLog::open_reader(dir)?, &of.start, &of.head)
}

/// Appends behind what was there.
fn appends(dir: &Path, source: &str, partition: u32, next: Offset) {
    let log = FileLog::open_writer(dir, options(), Arc::new(ManualClock::new(5_000))).unwrap();
    assert_eq!(log.append(source, vec![Append::new(partition, "next")]).unwrap().records, [(partition, next)]);
    log.close().unwrap();
}

#[test]
fn a_sound_log_is_found_sound_beside_its_writer_and_at_rest() {
    let of = specimen();
    let found = check(of.path(), &expected(&of)).unwrap();
    assert_eq!(damage(&found), Vec::<&LogFinding>::new());
    assert_eq!(found.records, of.contents.values().map(|records| records.len() as u64).sum::<u64>());
    assert!(found.segments >= 5 && found.bytes > 500, "{found:?}");
    let log = FileLog::open_writer(of.path(), options(), Arc::new(ManualClock::new(5_000))).unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for n in 0..200 {
                log.append("s", vec![Append::new(n % 2, format!("beside {n}"))]).unwrap();
            }
        });
        while !writing.is_finished() {
            let found = check(of.path(), &expected(&of)).unwrap();
            assert_eq!(damage(&found), Vec::<&LogFinding>::new());
        }
    });
    let refused = mend(of.path(), &expected(&of), &NoCopies, MendOptions::default()).unwrap_err();
    assert!(matches!(refused, LogError::Locked { .. }), "{refused}");
}

#[test]
fn every_damage_of_every_file_is_named_and_mended() {
    let of = specimen();
    let copy = of.copy();
    let dir = copy.path();
    let (all, expected) = (of.files(), expected(&of));
    let (mut tried, mut harmless, mut mended) = (0, 0, 0);
    for (file, good) in all.iter().filter(|(file, _)| !file.ends_with("lock")) {
        // Each byte of the small files, some of the larger ones.
        let step = if good.len() > 200 { 7 } else { 1 };
        for (what, bad) in damages(good, &[0x40]).into_iter().enumerate().filter(|(n, _)| n % step == 0).map(|(_, d)| d)
        {
            tried += 1;
            let what = format!("{} {what}", file.display());
            match &bad {
                Some(bad) => fs::write(dir.join(file), bad).unwrap(),
                None => fs::remove_file(dir.join(file)).unwrap(),
            }
            let found = check(dir, &expected).unwrap();
            if damage(&found).is_empty() {
                // Nothing that counts is damaged: then all of it can be read, and written behind.
                assert_eq!(contents(dir, &of).unwrap(), of.contents, "{what}");
                harmless += 1;
            } else {
                let names = |finding: &&LogFinding| finding.path == dir.join(file);
                assert!(damage(&found).iter().any(names), "{what}: {found:?}");
                let done = mend(dir, &expected, &All(&of.contents), MendOptions::default()).unwrap();
                assert!(!done.is_empty(), "{what}");
                mended += 1;
                let left = check(dir, &expected).unwrap();
                assert_eq!(damage(&left), Vec::<&LogFinding>::new(), "{what}");
                assert_eq!(contents(dir, &of).unwrap(), of.contents, "{what}");
                if let Some(bad) = &bad {
                    let kept = files_in(dir).into_values().any(|bytes| bytes == *bad);
                    assert!(kept, "{what}: the damaged original is gone");
                }
                // Once more: nothing to do.
                let before = files_in(dir);
                mend(dir, &expected, &All(&of.contents), MendOptions::default()).unwrap();
                assert_eq!(files_in(dir), before, "{what}");
            }
            let ((source, partition), _) = of.contents.iter().next().unwrap();
            appends(dir, source, *partition, of.head.partition(source, *partition));
            write_files(dir, &all);
        }
    }
    eprintln!("mending a log: {tried} damages: {mended} named, mended and read again, {harmless} harmless");
    assert!(mended > 500 && tried == mended + harmless);
}

#[test]
fn a_mending_that_is_killed_anywhere_is_done_again() {
    let of = specimen();
    let copy = of.copy();
    let dir = copy.path();
    let (all, expected) = (of.files(), expected(&of));
    let segments: Vec<_> = all.keys().filter(|path| path.extension().is_some_and(|is| is == "segment")).collect();
    let mut kills = 0;
    for archive in [true, false] {
        // In every file at once, and in each segment at a byte of its own.
        for which in 0..=segments.len() {
            for kill_after in 0.. {
                write_files(dir, &all);
                for (file, good) in all.iter().filter(|(file, _)| !file.ends_with("lock")) {
                    if which == segments.len() || segments[which] == file {
                        let mut bad = good.clone();
                        bad[good.len() / 2] ^= 4;
                        fs::write(dir.join(file), bad).unwrap();
                    }
                }
                let everything = All(&of.contents);
                let copies: &dyn Copies = if archive { &everything } else { &NoCopies };
                let options = MendOptions { now_micros: 7, stop_after: Some(kill_after) };
                let killed = mend(dir, &expected, copies, options).is_err();
                mend(dir, &expected, copies, MendOptions::default()).unwrap();
                let left = check(dir, &expected).unwrap();
                let lost = |finding: &&&LogFinding| matches!(finding.damage, LogDamage::Lost { .. });
                assert_eq!(
                    damage(&left).iter().filter(|f| !lost(f)).count(),
                    0,
                    "{which} after {kill_after}: {left:?}"
                );
                if archive {
                    assert_eq!(contents(dir, &of).unwrap(), of.contents, "{which} after {kill_after}");
                }
                appends(dir, "s", 1, of.head.partition("s", 1));
                if !killed {
                    break;
                }
                kills += 1;
            }
        }
    }
    eprintln!("mending a log: killed at {kills} places and done again");
    assert!(kills > 50);
}

#[test]
fn records_that_are_nowhere_are_marked_and_the_rest_goes_on() {
    let of = specimen();
    let copy = of.copy();
    let dir = copy.path();
    let expected = expected(&of);
    // The second batch of the first segment, two records.
    let segment = dir.join("s/0/00000000000000000000.segment");
    let good = fs::read(&segment).unwrap();
    let second = 40 + u32::from_le_bytes(good[44..48].try_into().unwrap()) as usize;
    let mut bad = good.clone();
    bad[second + 60] ^= 1;
    fs::write(&segment, &bad).unwrap();
    let found = check(dir, &expected).unwrap();
    let [finding] = damage(&found)[..] else { panic!("{found:?}") };
    assert_eq!((finding.byte_offset, &finding.path), (second as u64, &segment));
    assert_eq!(finding.damage, LogDamage::Records { unreadable: std::iter::once(2..4).collect() });
    assert_eq!(finding.appended_micros, (Some(1_010), Some(1_030)), "between which times the records were appended");

    mend(dir, &expected, &NoCopies, MendOptions::default()).unwrap();
    let left = check(dir, &expected).unwrap();
    let [lost] = damage(&left)[..] else { panic!("{left:?}") };
    assert_eq!(lost.damage, LogDamage::Lost { records: 2..4 });
    // The log is written again, other partitions are whole, and of this one all but the hole.
    appends(dir, "s", 0, of.head.partition("s", 0));
    let log = FileLog::open_reader(dir).unwrap();
    let read = |from, to| log.read("s", 0, from, to, 1 << 16).map(|chunk| chunk.iter().count());
    assert_eq!(read(0, 2).unwrap(), 2);
    assert!(matches!(read(2, 3), Err(LogError::Lost { from: 2, to: 4, .. })), "{:?}", read(2, 3));
    assert!(read(4, of.head.partition("s", 0)).unwrap() > 0);
    assert_eq!(log.read("s", 1, 0, 2, 1 << 16).unwrap().iter().count(), 2);

    // A copy of the segment is found and put back: nothing is lost any more.
    fs::write(&segment, &good).unwrap();
    mend(dir, &expected, &NoCopies, MendOptions::default()).unwrap();
    let found = check(dir, &expected).unwrap();
    assert_eq!(damage(&found), Vec::<&LogFinding>::new());
    let known: Vec<_> = of.contents[&("s".to_owned(), 0)].clone();
    let end = of.head.clone();
    assert_eq!(
        read_all(&FileLog::open_reader(dir).unwrap(), &of.start, &end).unwrap()[&("s".to_owned(), 0)][..known.len()],
        known
    );
}
