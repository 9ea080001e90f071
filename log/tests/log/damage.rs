//! Invariant: damage is detected, never served. Every byte of every kind of file is flipped, every length cut, files are swapped.

#![expect(clippy::print_stderr, reason = "how much was tried is told on standard error")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watershed_log::{Append, EventLog, FileLog, LogError, ManualClock};

use crate::specimen::{
    Contents, NUMBERED, PRODUCERS, Specimen, damages, numbered_specimen, options, read_all, send, specimen, write_files,
};

const EVERY_BIT: [u8; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
const SOME_BITS: [u8; 3] = [0x01, 0x80, 0xff];

/// What became of damage.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    tried: u64,
    detected: u64,
    harmless: u64,
}

impl Tally {
    /// Counts an outcome; panics on a wrong answer, or an error that does not name the file.
    fn count(&mut self, of: &Specimen, what: &str, file: &Path, outcome: Result<Contents, LogError>) {
        self.tried += 1;
        match outcome {
            Ok(contents) => {
                assert!(contents == of.contents, "{what}: WRONG: other records were read");
                self.harmless += 1;
            }
            Err(error) => {
                let text = error.to_string();
                let place = file.parent().unwrap().to_str().unwrap();
                let names = text.contains(place) || names_partition(&error, place);
                assert!(names, "{what}: the error does not name the place: {text}");
                self.detected += 1;
            }
        }
    }
}

/// Errors about offsets name source and partition.
fn names_partition(error: &LogError, place: &str) -> bool {
    match error {
        LogError::BelowStart { name, partition, .. } | LogError::AboveHead { name, partition, .. } => {
            place == format!("{name}/{partition}")
        }
        LogError::UnknownSource { name } => place == name,
        _ => false,
    }
}

/// A reader in another process.
fn reader(dir: &Path, of: &Specimen) -> Result<Contents, LogError> {
    let log = FileLog::open_reader(dir)?;
    // Times: the first record at or after each.
    let start = log.start()?;
    for ((source, partition), records) in &of.contents {
        for micros in [0, 1_015, 1_045, 9_999] {
            let found = log.offset_at_time(source, *partition, micros)?;
            let (start, head) = (start.partition(source, *partition), of.head.partition(source, *partition));
            // A log without its first segment begins later, as if retention had deleted it.
            let is_there = |record: &&crate::specimen::Whole| record.0 >= start && record.1 >= micros;
            let expected = records.iter().find(is_there).map_or(head, |record| record.0);
            assert_eq!(found, expected, "WRONG: {source}/{partition} at {micros}");
        }
    }
    read_all(&log, &of.start, &of.head)
}

/// The next writer: what was there is there, and what it appends comes behind, no earlier.
fn writer(dir: &Path, of: &Specimen) -> Result<Contents, LogError> {
    let log = FileLog::open_writer(dir, options(), Arc::new(ManualClock::new(0)))?;
    let contents = read_all(&log, &of.start, &of.head)?;
    for ((source, partition), records) in &of.contents {
        let next = of.head.partition(source, *partition);
        let appended = log.append(source, vec![Append::new(*partition, "next")])?;
        assert_eq!(appended.records, [(*partition, next)], "WRONG: {source}/{partition}");
        let chunk = log.read(source, *partition, next, next + 1, 1)?;
        let (last, time) =
            (records.last().map_or(1_070, |record| record.1), chunk.iter().next().unwrap().append_time_micros);
        assert!(time >= last, "WRONG: {source}/{partition} appended at {time} after {last}");
    }
    log.close()?;
    Ok(contents)
}

/// The next writer, to whom all producers send everything again: it has all of it, and appends what is new and nothing else.
fn numbered_writer(dir: &Path, of: &Specimen) -> Result<Contents, LogError> {
    let log = FileLog::open_writer(dir, options(), Arc::new(ManualClock::new(0)))?;
    for producer in PRODUCERS {
        let answer = send(&log, producer, 0..NUMBERED)?;
        let repeated = answer.records.iter().filter(|place| place.repeated).count() as u64;
        assert_eq!(repeated, NUMBERED, "WRONG: records of {producer} were appended twice");
    }
    assert_eq!(log.head()?, of.head, "WRONG: something was appended");
    for producer in PRODUCERS {
        let answer = send(&log, producer, NUMBERED..NUMBERED + 2)?;
        assert!(answer.records.iter().all(|place| !place.repeated), "WRONG: records of {producer} are taken for known");
    }
    let contents = read_all(&log, &of.start, &of.head)?;
    log.close()?;
    // What was appended just now is not the specimen's.
    let below = |((source, partition), mut records): ((String, u32), Vec<crate::specimen::Whole>)| {
        records.retain(|record| record.0 < of.head.partition(&source, partition));
        ((source, partition), records)
    };
    Ok(contents.into_iter().map(below).collect())
}

/// Tries readers and the writer on a log in which some files are others.
fn attempt(
    of: &Specimen,
    dir: &Path,
    what: &str,
    changed: &[(&Path, Option<&[u8]>)],
    by_writer: bool,
    tally: &mut Tally,
) {
    for (file, bytes) in changed {
        match bytes {
            Some(bytes) => fs::write(dir.join(file), bytes).unwrap(),
            None => fs::remove_file(dir.join(file)).unwrap(),
        }
    }
    let file = changed[0].0;
    tally.count(of, &format!("{} {what}, read", file.display()), file, reader(dir, of));
    if by_writer {
        let what = format!("{} {what}, opened for writing", file.display());
        let outcome = writer(dir, of);
        if outcome.is_err() && has(file, "segment") {
            let left = fs::read(dir.join(file)).ok();
            assert_eq!(left.as_deref(), changed[0].1, "{what}: who refuses a segment leaves it as it is");
        }
        tally.count(of, &what, file, outcome);
        // What a reader of the mended log sees, if it was mended.
        write_files(dir, &of.files());
    } else {
        for (file, _) in changed {
            fs::write(dir.join(file), fs::read(of.path().join(file)).unwrap()).unwrap();
        }
    }
}

fn sweep(kind: &str, of: &Specimen, files: &[&str]) {
    sweep_with(kind, of, files, &SOME_BITS);
}

/// Every bit for readers; `flips` for the writer, which starts threads each time.
fn sweep_with(kind: &str, of: &Specimen, files: &[&str], flips: &[u8]) {
    let copy = of.copy();
    let all = of.files();
    let mut tally = Tally::default();
    let mut bytes = 0;
    for file in files {
        let file = Path::new(file);
        let good = &all[file];
        bytes += good.len();
        for (what, bad) in damages(good, &EVERY_BIT) {
            attempt(of, copy.path(), &what, &[(file, bad.as_deref())], false, &mut tally);
        }
        for (what, bad) in damages(good, flips) {
            attempt(of, copy.path(), &what, &[(file, bad.as_deref())], true, &mut tally);
        }
    }
    let Tally { tried, detected, harmless } = tally;
    eprintln!("{kind}: {bytes} bytes, {tried} damages × readers: {detected} detected, {harmless} harmless");
    assert_eq!(tried, detected + harmless);
}

#[test]
fn no_damage_of_a_sealed_segment_is_served() {
    sweep("sealed segment", &specimen(), &["s/0/00000000000000000000.segment"]);
}

#[test]
fn no_damage_of_the_active_segment_is_served() {
    let of = specimen();
    let active = of.files().into_keys().rfind(|path| path.starts_with("s/1") && has(path, "segment")).unwrap();
    sweep("active segment", &of, &[active.to_str().unwrap(), "t/0/00000000000000000002.segment"]);
}

#[test]
fn no_damage_of_an_index_is_served() {
    sweep("offset index", &specimen(), &["s/0/00000000000000000000.index"]);
    sweep("time index", &specimen(), &["s/0/00000000000000000000.timeindex"]);
}

#[test]
fn no_damage_of_a_head_is_served() {
    sweep_with("head", &specimen(), &["s/0/head"], &[0xff]);
}

#[test]
fn no_damage_of_the_small_files_is_served() {
    sweep("source file", &specimen(), &["s/source"]);
    sweep("last time", &specimen(), &["t/0/lasttime"]);
}

#[test]
fn no_damage_of_what_a_segment_says_about_producers_lets_a_record_in_twice() {
    let of = numbered_specimen();
    let copy = of.copy();
    let all = of.files();
    let segments: Vec<_> = all.iter().filter(|(path, _)| path.starts_with("s/0") && has(path, "segment")).collect();
    let mut tally = Tally::default();
    for &(file, good) in &segments {
        for (what, bad) in damages(good, &[0x11]) {
            let what = format!("{} {what}", file.display());
            match &bad {
                Some(bad) => fs::write(copy.path().join(file), bad).unwrap(),
                None => fs::remove_file(copy.path().join(file)).unwrap(),
            }
            tally.count(&of, &format!("{what}, read"), file, reader(copy.path(), &of));
            tally.count(&of, &format!("{what}, sent again"), file, numbered_writer(copy.path(), &of));
            write_files(copy.path(), &all);
        }
    }
    let Tally { tried, detected, harmless } = tally;
    let count = segments.len();
    eprintln!("{count} segments with producers: {tried} damages × readers: {detected} detected, {harmless} harmless");
    assert!(count >= 4 && detected > harmless);
}

fn has(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|is| is == extension)
}

#[test]
fn no_file_passes_for_another() {
    let of = specimen();
    let copy = of.copy();
    let all = of.files();
    let mut tally = Tally::default();
    for (file, good) in all.iter().filter(|(file, _)| !file.ends_with("lock")) {
        for (other, bytes) in all.iter().filter(|(other, bytes)| *other != file && *bytes != good) {
            // The heads of two partitions that stand at the same offset are the same.
            let what = format!("is {}", other.display());
            attempt(&of, copy.path(), &what, &[(file, Some(bytes))], true, &mut tally);
        }
    }
    let Tally { tried, detected, harmless } = tally;
    eprintln!("swapped files: {tried} swaps × readers: {detected} detected, {harmless} harmless");
}

#[test]
fn the_indexes_of_another_segment_of_the_same_size_are_not_taken() {
    let of = specimen();
    let all = of.files();
    let at = |partition: u32, extension: &str| PathBuf::from(format!("s/{partition}/00000000000000000000.{extension}"));
    let sizes: Vec<usize> = (0..2).map(|partition| all[&at(partition, "segment")].len()).collect();
    assert_eq!(sizes[0], sizes[1], "the sizes tell these two apart, so that nothing is tried");
    let copy = of.copy();
    for extension in ["index", "timeindex"] {
        fs::write(copy.path().join(at(0, extension)), &all[&at(1, extension)]).unwrap();
    }
    assert_eq!(reader(copy.path(), &of).unwrap(), of.contents);
    let log = FileLog::open_writer(copy.path(), options(), Arc::new(ManualClock::new(0))).unwrap();
    assert_eq!(log.recovery().rebuilt.len(), 2, "{:?}", log.recovery());
}

#[test]
fn an_old_head_is_noticed_by_the_reader_who_comes_to_it() {
    let of = specimen();
    let copy = of.copy();
    let head = |offset: u64| {
        // As the file was when the partition stood there.
        let dir = crate::specimen::directory();
        let log = FileLog::open_writer(dir.path(), options(), Arc::new(ManualClock::new(0))).unwrap();
        log.create_source("s", 1).unwrap();
        log.append("s", (0..offset).map(|n| Append::new(0, n.to_string())).collect()).unwrap();
        log.close().unwrap();
        fs::read(dir.path().join("s/0/head")).unwrap()
    };
    let end = of.head.partition("s", 0);
    let mut outcomes = BTreeMap::new();
    for old in 1..end {
        fs::write(copy.path().join("s/0/head"), head(old)).unwrap();
        let log = FileLog::open_reader(copy.path());
        let read = log.and_then(|log| {
            let mut at = 0;
            while at < log.head()?.partition("s", 0) {
                at = log.read("s", 0, at, u64::MAX, 1 << 16)?.next_offset();
            }
            Ok(())
        });
        outcomes.insert(old, read);
    }
    for (old, outcome) in &outcomes {
        // Two records make a batch. Of the last one no other batch knows: a head before it is what a reader may see between the
        // write and the acknowledgement.
        let is_noticed = matches!(outcome, Err(LogError::StaleHead { .. }));
        assert_eq!(is_noticed, *old < end - 2, "head {old} of {end}: {outcome:?}");
    }
}
