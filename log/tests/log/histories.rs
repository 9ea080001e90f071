//! Random histories of appending, reopening, rolling, deleting and tearing, against a model.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use watershed_log::{Append, EventLog, FileLog, ManualClock, MemoryLog, Offset, Options, Position, contract};

use crate::files;

const PARTITIONS: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Append records: partition, key, payload length.
    Append(Vec<(u32, Option<u8>, usize)>),
    Clock(i64),
    Seal,
    /// Delete what is sealed below this share of each partition.
    Delete(f64),
    Reopen,
    /// Close, add bytes to the end of the active segment of a partition as a crash during a write does, open.
    Tear(u32, Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..PARTITIONS, proptest::option::of(any::<u8>()), 0..200usize);
    let byte = prop_oneof![1 => Just(0), 3 => any::<u8>()];
    prop_oneof![
        6 => proptest::collection::vec(record, 1..20).prop_map(Step::Append),
        2 => (-50..200i64).prop_map(Step::Clock),
        1 => Just(Step::Seal),
        1 => (0.0..1.2f64).prop_map(Step::Delete),
        1 => Just(Step::Reopen),
        1 => (0..PARTITIONS, proptest::collection::vec(byte, 1..100)).prop_map(|(at, bytes)| Step::Tear(at, bytes)),
    ]
}

fn options() -> Options {
    Options {
        segment_bytes_max: 1_500,
        segment_age_max_micros: 300,
        batch_bytes_max: 400,
        queue_bytes_max: 4_000,
        sync_threads: 2,
        ..Options::default()
    }
}

fn open(dir: &Path, clock: &Arc<ManualClock>) -> FileLog {
    let log = FileLog::open_writer(dir, options(), clock.clone()).unwrap();
    log.create_source("s", PARTITIONS).unwrap();
    log
}

/// The model: the same trait without a disk, and from where the file log still has the records.
struct Model {
    log: MemoryLog,
    start: Vec<Offset>,
}

impl Model {
    fn compare(&self, log: &dyn EventLog) {
        let head = self.log.head().unwrap();
        assert_eq!(log.head().unwrap(), head);
        assert_eq!(log.start().unwrap().get("s").unwrap(), self.start);
        for partition in 0..PARTITIONS {
            let start = self.start[partition as usize];
            let expected = contract::read_all(&self.log, "s", partition, start, 1 << 20);
            for bytes_max in [0, 300, 1 << 20] {
                assert_eq!(contract::read_all(log, "s", partition, start, bytes_max), expected);
            }
            for micros in expected.iter().flat_map(|record| [record.1, record.1 + 1]) {
                let model = self.log.offset_at_time("s", partition, micros).unwrap().max(start);
                assert_eq!(log.offset_at_time("s", partition, micros).unwrap(), model, "at {micros}");
            }
        }
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_000));
    let mut log = open(dir.path(), &clock);
    let reader = FileLog::open_reader(dir.path()).unwrap();
    let mut model = Model { log: MemoryLog::new(clock.clone()), start: vec![0; PARTITIONS as usize] };
    model.log.create_source("s", PARTITIONS).unwrap();
    for step in steps {
        match step {
            Step::Append(records) => {
                let record = |&(partition, key, len): &(u32, Option<u8>, usize)| {
                    let record = Append::new(partition, vec![len as u8; len]);
                    key.map_or(record.clone(), |key| record.with_key(vec![key; usize::from(key % 5)]))
                };
                let records: Vec<Append> = records.iter().map(record).collect();
                assert_eq!(log.append("s", records.clone()).unwrap(), model.log.append("s", records).unwrap());
            }
            Step::Clock(micros) => clock.advance(micros),
            Step::Seal => log.seal("s").unwrap(),
            Step::Delete(share) => {
                let share = |offset: Offset| (offset as f64 * share) as Offset;
                let head = log.head().unwrap();
                let below: Position =
                    [("s".to_owned(), head.get("s").unwrap().iter().map(|&offset| share(offset)).collect())]
                        .into_iter()
                        .collect();
                for deleted in log.delete_sealed_below(&below).unwrap() {
                    let start = &mut model.start[deleted.partition as usize];
                    assert_eq!(deleted.from, *start);
                    assert!(deleted.to <= below.partition("s", deleted.partition));
                    *start = deleted.to;
                }
            }
            Step::Reopen => {
                drop(log);
                log = open(dir.path(), &clock);
                assert_eq!(log.recovery(), Default::default());
            }
            Step::Tear(partition, bytes) => {
                drop(log);
                let active = files(dir.path(), partition, "segment").pop().unwrap();
                let good = std::fs::read(&active).unwrap();
                std::fs::write(&active, [&good[..], &bytes].concat()).unwrap();
                log = open(dir.path(), &clock);
                let report = log.recovery();
                // Zeros at the end are what a writer writes ahead.
                let written = bytes.iter().rposition(|byte| *byte != 0).map(|last| &bytes[..=last]);
                let kept: Vec<_> = report.torn.iter().map(|torn| std::fs::read(&torn.kept_in).unwrap()).collect();
                assert_eq!(kept, written.as_slice());
                assert_eq!(report.rebuilt.len(), 0);
                assert_eq!(std::fs::read(&active).unwrap(), good);
            }
        }
        model.compare(&log);
    }
    model.compare(&reader);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_what_the_model_says(steps in proptest::collection::vec(step(), 1..25)) {
        run(steps);
    }
}

#[test]
fn append_times_do_not_decrease_where_no_record_is_left() {
    let append = || Step::Append(vec![(0, None, 0)]);
    run(vec![append(), Step::Clock(-1), Step::Seal, Step::Delete(1.1), Step::Reopen, append()]);
}
