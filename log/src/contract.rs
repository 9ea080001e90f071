//! What every [`EventLog`] must keep, as checks that each implementation's tests run.
//!
//! ```
//! use watershed_log::{MemoryLog, contract};
//!
//! contract::check(|clock| MemoryLog::new(clock));
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::event_log::block_on;
use crate::{
    Append, Durability, EventLog, LogError, ManualClock, Numbered, Numbering, Offset, Position, ProducerId, Result,
};

/// One promise: its name, and a function that panics if a fresh log does not keep it.
pub type Check = (&'static str, fn(&dyn EventLog, &ManualClock));

/// All promises.
pub const CHECKS: &[Check] = &[
    ("sources are created once", sources_are_created_once),
    ("offsets are dense and acknowledged in order", offsets_are_dense_and_acknowledged_in_order),
    ("bytes are kept as they came", bytes_are_kept_as_they_came),
    ("append times never decrease", append_times_never_decrease),
    ("reads take any range and always progress", reads_take_any_range_and_always_progress),
    ("reads can be divided anywhere", reads_can_be_divided_anywhere),
    ("what does not exist is an error", what_does_not_exist_is_an_error),
    ("time finds the first record", time_finds_the_first_record),
    ("concurrent appends keep their acknowledgements", concurrent_appends_keep_their_acknowledgements),
    ("appends in flight keep their order", appends_in_flight_keep_their_order),
    ("readers follow while writing goes on", readers_follow_while_writing_goes_on),
    ("every durability becomes visible", every_durability_becomes_visible),
    ("retention takes only what it may", retention_takes_only_what_it_may),
    ("numbered records are appended once", numbered_records_are_appended_once),
    ("numbers that leave a gap are refused", numbers_that_leave_a_gap_are_refused),
    ("producers do not disturb one another", producers_do_not_disturb_one_another),
    ("repeats wait for what they repeat", repeats_wait_for_what_they_repeat),
];

/// Runs every check, each on a fresh log with a clock of its own.
pub fn check<L: EventLog>(open: impl Fn(Arc<ManualClock>) -> L) {
    for (name, check) in CHECKS {
        let clock = Arc::new(ManualClock::new(1_000));
        let log = open(clock.clone());
        tracing::info!(name, "checking");
        check(&log, &clock);
    }
}

/// Every record of a partition from `from` to the head: offset, append time, key, payload.
pub fn read_all(log: &dyn EventLog, source: &str, partition: u32, from: Offset, bytes_max: usize) -> Vec<OwnedRecord> {
    let mut records = Vec::new();
    let mut next = from;
    loop {
        let chunk = log.read(source, partition, next, Offset::MAX, bytes_max).expect("reading succeeds");
        assert_eq!(chunk.first_offset(), next);
        assert_eq!(chunk.iter().len(), chunk.len());
        if chunk.is_empty() {
            assert_eq!(chunk.next_offset(), next, "an empty chunk stands where it was asked for");
            return records;
        }
        for record in &chunk {
            assert_eq!((record.partition, record.offset), (partition, next), "offsets are dense");
            let key = record.key.map(|key| chunk.share(key));
            records.push((record.offset, record.append_time_micros, key, chunk.share(record.payload)));
            next += 1;
        }
        assert_eq!(chunk.next_offset(), next);
    }
}

/// Offset, append time, key, payload.
pub type OwnedRecord = (Offset, i64, Option<Bytes>, Bytes);

fn append(log: &dyn EventLog, partition: u32, payload: impl Into<Bytes>) -> Offset {
    let appended = log.append("s", vec![Append::new(partition, payload)]).expect("appending succeeds");
    assert_eq!(appended.records.len(), 1);
    assert_eq!(appended.records[0].0, partition);
    appended.records[0].1
}

fn create(log: &dyn EventLog, partitions: u32) {
    log.create_source("s", partitions).expect("creating a source succeeds");
}

fn head(log: &dyn EventLog, partition: u32) -> Offset {
    log.head().expect("the head can be read").partition("s", partition)
}

fn sources_are_created_once(log: &dyn EventLog, _: &ManualClock) {
    assert_eq!(log.sources().expect("listing succeeds"), [""; 0]);
    create(log, 3);
    create(log, 3);
    let changed = log.create_source("s", 4).expect_err("the number of partitions is fixed");
    assert!(matches!(changed, LogError::PartitionsFixed { partitions: 3, asked: 4, .. }), "{changed}");
    log.create_source("a", 1).expect("a second source can be created");
    assert_eq!(log.sources().expect("listing succeeds"), ["a", "s"]);
    assert_eq!(log.partitions("s").expect("the source exists"), 3);
    let zero: Position = [("a".to_owned(), vec![0]), ("s".to_owned(), vec![0; 3])].into_iter().collect();
    assert_eq!(log.head().expect("the head can be read"), zero);
    assert_eq!(log.start().expect("the start can be read"), zero);
    for bad in ["", "..", "a/b", "../s", "a b"] {
        let refused = log.create_source(bad, 1).expect_err("the name is refused");
        assert!(matches!(refused, LogError::Invalid { .. }), "{bad:?}: {refused}");
    }
    assert!(matches!(log.create_source("none", 0), Err(LogError::Invalid { .. })));
}

fn offsets_are_dense_and_acknowledged_in_order(log: &dyn EventLog, _: &ManualClock) {
    create(log, 3);
    assert_eq!(log.append("s", vec![]).expect("an empty append succeeds").records, []);
    let mut next = [0; 3];
    for round in 0..20u32 {
        let partitions: Vec<u32> = (0..round % 7).map(|at| (at * round + at) % 3).collect();
        let records = partitions.iter().map(|&partition| Append::new(partition, format!("{round}"))).collect();
        let expected: Vec<(u32, Offset)> = partitions
            .iter()
            .map(|&partition| {
                next[partition as usize] += 1;
                (partition, next[partition as usize] - 1)
            })
            .collect();
        assert_eq!(log.append("s", records).expect("appending succeeds").records, expected);
        for partition in 0..3 {
            assert_eq!(head(log, partition), next[partition as usize], "acknowledged is below the head");
        }
    }
}

fn bytes_are_kept_as_they_came(log: &dyn EventLog, _: &ManualClock) {
    create(log, 1);
    let payloads = [vec![], vec![0], vec![0xff; 300], (0..=255).collect(), vec![b'W'; 100_000], b"WSB1".to_vec()];
    let keys = [None, Some(vec![]), Some(vec![0]), Some(vec![7; 5_000])];
    let mut expected = Vec::new();
    for payload in &payloads {
        for key in &keys {
            expected.push((key.clone().map(Bytes::from), Bytes::from(payload.clone())));
        }
    }
    for one_by_one in [true, false] {
        let records =
            expected.iter().map(|(key, payload)| Append { partition: 0, key: key.clone(), payload: payload.clone() });
        if one_by_one {
            records.for_each(|record| drop(log.append("s", vec![record]).expect("appending succeeds")));
        } else {
            log.append("s", records.collect()).expect("appending succeeds");
        }
    }
    for bytes_max in [0, 1_000, 1 << 20] {
        let read = read_all(log, "s", 0, 0, bytes_max).into_iter().map(|(_, _, key, payload)| (key, payload));
        assert!(read.eq(expected.iter().chain(&expected).cloned()), "bytes_max {bytes_max}");
    }
}

fn append_times_never_decrease(log: &dyn EventLog, clock: &ManualClock) {
    create(log, 2);
    for (time, expected) in [(50, 50), (70, 70), (60, 70), (70, 70), (71, 71), (-5, 71)] {
        clock.set(time);
        let offset = append(log, 0, "x");
        assert_eq!(read_all(log, "s", 0, offset, 100)[0].1, expected, "at {time}");
    }
    clock.set(10);
    append(log, 1, "x");
    assert_eq!(read_all(log, "s", 1, 0, 100)[0].1, 10, "each partition has its own time");
}

fn reads_take_any_range_and_always_progress(log: &dyn EventLog, _: &ManualClock) {
    create(log, 1);
    // Appends of 1, 2, … records, so that ranges begin and end inside of what was written together.
    let mut total: u64 = 0;
    for count in 1..=7u64 {
        let records = (0..count).map(|at| Append::new(0, format!("{}", total + at))).collect();
        log.append("s", records).expect("appending succeeds");
        total += count;
    }
    for from in 0..=total {
        for to in 0..=total + 1 {
            for bytes_max in [0, 60, 1 << 20] {
                let chunk = log.read("s", 0, from, to, bytes_max).expect("reading succeeds");
                let read: Vec<_> = chunk.iter().map(|record| (record.offset, record.payload.to_vec())).collect();
                let expected: Vec<_> =
                    (from..chunk.next_offset()).map(|offset| (offset, offset.to_string().into_bytes())).collect();
                assert_eq!(read, expected, "{from}..{to}");
                assert_eq!(chunk.is_empty(), from >= to.min(total), "{from}..{to}");
                assert!(chunk.next_offset() <= to.min(total).max(from), "{from}..{to}");
            }
        }
    }
}

fn reads_can_be_divided_anywhere(log: &dyn EventLog, _: &ManualClock) {
    create(log, 2);
    for count in 1..=20u64 {
        log.append("s", (0..count).map(|_| Append::new(0, vec![b'x'; 40])).collect()).expect("appending succeeds");
    }
    let head = head(log, 0);
    for offset in 0..=head {
        let place = log.divide("s", 0, offset).expect("any place in the log can be asked for");
        assert!(place <= offset, "{place} for {offset}");
        let chunk = log.read("s", 0, place, head, 1).expect("reading succeeds");
        assert_eq!((chunk.first_offset(), chunk.is_empty()), (place, place == head));
    }
    assert!(matches!(log.divide("s", 2, 0), Err(LogError::UnknownPartition { .. }) | Ok(0)));
}

fn what_does_not_exist_is_an_error(log: &dyn EventLog, _: &ManualClock) {
    create(log, 2);
    append(log, 0, "x");
    assert!(matches!(log.partitions("t"), Err(LogError::UnknownSource { .. })));
    assert!(matches!(log.read("t", 0, 0, 1, 1), Err(LogError::UnknownSource { .. })));
    assert!(matches!(log.offset_at_time("t", 0, 0), Err(LogError::UnknownSource { .. })));
    assert!(matches!(log.append("t", vec![Append::new(0, "x")]), Err(LogError::UnknownSource { .. })));
    assert!(matches!(log.read("s", 2, 0, 1, 1), Err(LogError::UnknownPartition { partitions: 2, .. })));
    assert!(matches!(log.offset_at_time("s", 2, 0), Err(LogError::UnknownPartition { .. })));
    assert!(matches!(log.read("s", 0, 2, 3, 1), Err(LogError::AboveHead { offset: 2, head: 1, .. })));
    let half_good = vec![Append::new(0, "good"), Append::new(2, "bad")];
    assert!(matches!(log.append("s", half_good), Err(LogError::UnknownPartition { partition: 2, .. })));
    assert_eq!(head(log, 0), 1, "nothing of a refused append is written");
}

fn time_finds_the_first_record(log: &dyn EventLog, clock: &ManualClock) {
    create(log, 2);
    assert_eq!(log.offset_at_time("s", 0, 0).expect("time lookup succeeds"), 0);
    let mut times = Vec::new();
    for step in 0..60i64 {
        clock.set(100 + (step / 3) * 10);
        append(log, 0, vec![b'x'; 1 + (step as usize * 37) % 400]);
        times.push(clock_time(step));
    }
    for micros in 90..310 {
        let expected = times.partition_point(|&time| time < micros) as u64;
        assert_eq!(log.offset_at_time("s", 0, micros).expect("time lookup succeeds"), expected, "at {micros}");
    }
    assert_eq!(log.offset_at_time("s", 0, i64::MIN).expect("time lookup succeeds"), 0);
    assert_eq!(log.offset_at_time("s", 0, i64::MAX).expect("time lookup succeeds"), 60);
    assert_eq!(log.offset_at_time("s", 1, 0).expect("time lookup succeeds"), 0);
}

fn clock_time(step: i64) -> i64 {
    100 + (step / 3) * 10
}

fn concurrent_appends_keep_their_acknowledgements(log: &dyn EventLog, _: &ManualClock) {
    create(log, 4);
    let producers = 8;
    let acknowledged: Vec<Vec<((u32, Offset), String)>> = std::thread::scope(|scope| {
        let produce = |producer: u32| {
            let mut own = Vec::new();
            for number in 0..40u32 {
                let payloads: Vec<String> = (0..1 + number % 3).map(|at| format!("{producer}:{number}:{at}")).collect();
                let partition = |at: usize| (producer + number + at as u32) % 4;
                let records =
                    payloads.iter().enumerate().map(|(at, payload)| Append::new(partition(at), payload.clone()));
                let appended = log.append("s", records.collect()).expect("appending succeeds");
                own.extend(appended.records.into_iter().zip(payloads));
            }
            own
        };
        let threads: Vec<_> = (0..producers).map(|producer| scope.spawn(move || produce(producer))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no producer panics")).collect()
    });
    let stored: BTreeMap<(u32, Offset), Bytes> = (0..4)
        .flat_map(|partition| read_all(log, "s", partition, 0, 500).into_iter().map(move |record| (partition, record)))
        .map(|(partition, (offset, _, _, payload))| ((partition, offset), payload))
        .collect();
    let count: usize = acknowledged.iter().map(Vec::len).sum();
    assert_eq!(stored.len(), count, "each record is stored once");
    for own in &acknowledged {
        for (place, payload) in own {
            assert_eq!(stored[place], payload.as_bytes(), "at {place:?}");
        }
        for partition in 0..4 {
            let offsets: Vec<_> =
                own.iter().filter(|((at, _), _)| *at == partition).map(|((_, offset), _)| offset).collect();
            assert!(offsets.is_sorted(), "a producer's appends keep their order in a partition");
        }
    }
}

// Few and small enough to fit any reasonable queue: when it is full, appends take their turn as they are polled.
fn appends_in_flight_keep_their_order(log: &dyn EventLog, _: &ManualClock) {
    create(log, 1);
    let in_flight: Vec<_> =
        (0..100).map(|number| log.append_async("s", vec![Append::new(0, format!("{number}"))])).collect();
    for (number, append) in (0..).zip(in_flight) {
        assert_eq!(block_on(append).expect("appending succeeds").records, [(0, number)]);
    }
}

fn readers_follow_while_writing_goes_on(log: &dyn EventLog, _: &ManualClock) {
    create(log, 2);
    let total = 300u64;
    std::thread::scope(|scope| {
        for reader in 0..3usize {
            scope.spawn(move || {
                let mut heads = log.watch();
                let mut next = [0u64; 2];
                while next[0] + next[1] < 2 * total {
                    for partition in 0..2u32 {
                        let at = &mut next[partition as usize];
                        for (offset, _, _, payload) in read_all(log, "s", partition, *at, 200 * reader) {
                            assert_eq!(payload, format!("{partition}/{offset}").as_bytes());
                            *at = offset + 1;
                        }
                    }
                    let seen = heads.borrow_and_update().clone();
                    if (0..2).all(|partition| seen.partition("s", partition) <= next[partition as usize])
                        && next[0] + next[1] < 2 * total
                    {
                        block_on(heads.changed()).expect("the log is open");
                    }
                }
            });
        }
        for offset in 0..total {
            let records = (0..2).map(|partition| Append::new(partition, format!("{partition}/{offset}"))).collect();
            log.append("s", records).expect("appending succeeds");
        }
    });
}

fn every_durability_becomes_visible(log: &dyn EventLog, _: &ManualClock) {
    create(log, 1);
    let mut heads = log.watch();
    for (number, durability) in (1..).zip([None, Some(Durability::Os), Some(Durability::Fsync), Some(Durability::Os)]) {
        let appended = block_on(log.submit("s", vec![Append::new(0, "x")], durability)).expect("appending succeeds");
        assert_eq!(appended.records, [(0, number - 1)]);
        block_on(heads.wait_for(|head| head.partition("s", 0) == number)).expect("the log is open");
        assert_eq!(read_all(log, "s", 0, 0, 100).len() as u64, number);
    }
}

fn retention_takes_only_what_it_may(log: &dyn EventLog, clock: &ManualClock) {
    create(log, 2);
    for step in 0..100 {
        clock.set(step * 10);
        append(log, 0, format!("{step:>200}"));
    }
    let before = read_all(log, "s", 0, 0, 1000);
    assert_eq!(log.delete_sealed_below(&Position::new()).expect("retention succeeds"), []);
    let mut deleted_to = BTreeSet::from([0]);
    let everything = log.head().expect("the head can be read");
    let mut half = everything.clone();
    half.set("s", 0, 50);
    for (below, time) in [(&half, 300), (&half, i64::MAX), (&everything, 700), (&everything, i64::MAX)] {
        for deleted in log.retain(below, time).expect("retention succeeds") {
            assert_eq!((deleted.source.as_str(), deleted.partition), ("s", 0));
            assert_eq!(Some(&deleted.from), deleted_to.last(), "oldest first, without gaps");
            assert!(deleted.to <= below.partition("s", 0) && deleted.to > deleted.from && deleted.bytes > 0);
            assert!(before[..deleted.to as usize].iter().all(|record| record.1 < time), "nothing too young is deleted");
            deleted_to.insert(deleted.to);
        }
        let start = log.start().expect("the start can be read").partition("s", 0);
        assert_eq!(Some(&start), deleted_to.last());
        assert_eq!(read_all(log, "s", 0, start, 1000), before[start as usize..]);
        assert_eq!(log.offset_at_time("s", 0, 0).expect("time lookup succeeds"), start);
        if let Some(gone) = start.checked_sub(1) {
            let refused = log.read("s", 0, gone, 100, 100).expect_err("deleted records are an error");
            assert!(
                matches!(refused, LogError::BelowStart { offset, start: from, .. } if offset == gone && from == start)
            );
        }
    }
    assert_eq!(append(log, 0, "after"), 100, "offsets go on");
    assert_eq!(head(log, 1), 0);
}

/// A numbering of the producer `name` from `first` on.
fn numbering(name: &str, first: u64) -> Numbering {
    Numbering { producer: ProducerId::new(name).expect("the name is good"), first }
}

/// Records of a producer: number `n` goes to the partition `n * n / 3 % partitions`, so that an append spans several.
fn records(name: &str, numbers: std::ops::Range<u64>, partitions: u64) -> Vec<Append> {
    let record = |number: u64| Append::new((number * number / 3 % partitions) as u32, format!("{name}:{number}"));
    numbers.map(record).collect()
}

fn send(log: &dyn EventLog, name: &str, numbers: std::ops::Range<u64>, partitions: u64) -> Result<Numbered> {
    let first = numbers.start;
    log.append_numbered("s", numbering(name, first), records(name, numbers, partitions))
}

/// What is in the log of a producer, by partition: offset and number.
fn numbers_of(log: &dyn EventLog, name: &str, partitions: u32) -> Vec<Vec<(Offset, u64)>> {
    let number = |payload: &[u8]| {
        let text = std::str::from_utf8(payload).ok()?;
        text.strip_prefix(name)?.strip_prefix(':')?.parse().ok()
    };
    let of = |partition| {
        let all = read_all(log, "s", partition, 0, 1 << 16).into_iter();
        all.filter_map(|(offset, _, _, payload)| Some((offset, number(&payload)?))).collect()
    };
    (0..partitions).map(of).collect()
}

fn numbered_records_are_appended_once(log: &dyn EventLog, _: &ManualClock) {
    create(log, 3);
    assert_eq!(log.append_numbered("s", numbering("a", 9), vec![]).expect("nothing to append").records, []);
    let mut places: Vec<(u32, Offset)> = Vec::new();
    // Sent once, sent again, with other boundaries, wholly and in part.
    for numbers in [0..10, 0..10, 3..8, 5..25, 0..1, 24..26, 0..26, 26..60, 0..70] {
        let known = places.len() as u64;
        let sent = send(log, "a", numbers.clone(), 3).expect("appending succeeds");
        assert_eq!(sent.records.len() as u64, numbers.end - numbers.start);
        for (number, place) in numbers.zip(sent.records) {
            assert_eq!(place.repeated, number < known, "number {number}");
            let at = place.at.expect("so few places are remembered");
            if number >= known {
                places.push(at);
            }
            assert_eq!(at, places[number as usize], "number {number} is where it was");
        }
    }
    for (partition, found) in (0..).zip(numbers_of(log, "a", 3)) {
        let expected: Vec<(Offset, u64)> = (places.iter().zip(0..))
            .filter(|&(&(of, _), _)| of == partition)
            .map(|(&(_, offset), number)| (offset, number))
            .collect();
        assert_eq!(found, expected, "partition {partition}: each once, in the order of the numbers");
    }
}

fn numbers_that_leave_a_gap_are_refused(log: &dyn EventLog, _: &ManualClock) {
    create(log, 2);
    let refused = |numbers: std::ops::Range<u64>, next: u64| {
        let first = numbers.start;
        match send(log, "a", numbers, 2).expect_err("there is a gap") {
            LogError::NumberGap { name, number, expected, .. } => {
                assert_eq!((name.as_str(), number, expected), ("s", first, next));
            }
            other => panic!("{other}"),
        }
    };
    refused(1..3, 0);
    send(log, "a", 0..5, 2).expect("appending succeeds");
    refused(6..9, 5);
    refused(1_000_000..1_000_001, 5);
    let beyond = log.append_numbered("s", numbering("a", u64::MAX - 1), records("a", 0..3, 2));
    assert!(matches!(beyond, Err(LogError::Invalid { .. })));
    let unknown = log.append_numbered("s", numbering("b", 0), vec![Append::new(2, "x")]);
    assert!(matches!(unknown, Err(LogError::UnknownPartition { .. })));
    assert!(matches!(send(log, "b", 1..2, 2), Err(LogError::NumberGap { expected: 0, .. })), "nothing was taken");
    assert_eq!(head(log, 0) + head(log, 1), 5, "nothing of a refused append is written");
    send(log, "a", 5..6, 2).expect("the next one succeeds");
    for bad in ["", "a\nb", "\0", &"x".repeat(129)] {
        assert!(matches!(ProducerId::new(bad), Err(LogError::Invalid { .. })), "{bad:?}");
    }
}

fn producers_do_not_disturb_one_another(log: &dyn EventLog, _: &ManualClock) {
    create(log, 3);
    log.create_source("t", 1).expect("a second source can be created");
    std::thread::scope(|scope| {
        for producer in 0..4u64 {
            scope.spawn(move || {
                let name = format!("p{producer}");
                let mut first = 0;
                while first < 120 {
                    let next = first + 1 + (first * 7 + producer) % 9;
                    // Every append begins again with some records of the one before.
                    let from = first.saturating_sub(producer * 3);
                    send(log, &name, from..next, 3).expect("appending succeeds");
                    append(log, (next % 3) as u32, format!("{name}/unnumbered/{next}"));
                    first = next;
                }
            });
        }
    });
    for producer in 0..4 {
        let mut all: Vec<u64> = Vec::new();
        for partition in numbers_of(log, &format!("p{producer}"), 3) {
            assert!(partition.is_sorted_by(|one, other| one.1 < other.1), "in the order of the numbers");
            all.extend(partition.iter().map(|&(_, number)| number));
        }
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..all.len() as u64) && all.len() >= 120, "each once: {all:?}");
    }
    let elsewhere = log.append_numbered("t", numbering("p0", 0), vec![Append::new(0, "x")]).expect("another source");
    assert!(!elsewhere.records[0].repeated, "a producer numbers its records of each source");
}

fn repeats_wait_for_what_they_repeat(log: &dyn EventLog, _: &ManualClock) {
    create(log, 2);
    // As from a producer whose connection broke while its appends were under way. Few and small enough for any queue.
    for durability in [Some(Durability::Os), Some(Durability::Fsync)] {
        let begin = if durability == Some(Durability::Os) { 0 } else { 60 };
        let submit = |numbers: std::ops::Range<u64>, durability| {
            log.submit_numbered("s", numbering("a", numbers.start), records("a", numbers, 2), durability)
        };
        let first: Vec<_> = (0..20).map(|at| submit(begin + at * 3..begin + at * 3 + 3, durability)).collect();
        let again: Vec<_> =
            (0..10).map(|at| submit(begin + at * 6..begin + at * 6 + 6, Some(Durability::Fsync))).collect();
        for append in again {
            let places = block_on(append).expect("appending succeeds").records;
            assert_eq!(places.len(), 6);
            for place in places {
                let (partition, offset) = place.at.expect("so few places are remembered");
                assert!(place.repeated && offset < head(log, partition), "an acknowledged repeat is durable");
            }
        }
        for append in first {
            assert!(block_on(append).expect("appending succeeds").records.iter().all(|place| !place.repeated));
        }
    }
    assert_eq!(head(log, 0) + head(log, 1), 120);
}
