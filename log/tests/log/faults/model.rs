//! What must be in the log: a plain list of what was sent, of what was acknowledged and of what was seen.

use std::collections::{BTreeMap, BTreeSet};

use watershed_log::{Append, Appended, Durability, EventLog, Offset, contract};

/// A partition, by source and number.
pub type Place = (&'static str, u32);

#[derive(Clone, Debug, Default)]
struct Partition {
    /// Payloads in the order in which they were sent.
    sent: Vec<String>,
    /// What must be at these offsets, unless retention has taken it: durable and acknowledged, or seen.
    kept: BTreeMap<Offset, String>,
    /// Append times of what was seen.
    times: BTreeMap<Offset, i64>,
    /// Acknowledged at level `os`: there as long as the machine is and its disk takes what is written.
    volatile: BTreeMap<Offset, String>,
    /// The highest head that was seen.
    head: Offset,
    /// Up to where retention may have deleted.
    deletable: Offset,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    partitions: BTreeMap<Place, Partition>,
}

impl Model {
    /// A new record of this size at least, unlike all others.
    pub fn send(&mut self, source: &'static str, partition: u32, bytes: usize) -> Append {
        let sent = &mut self.partitions.entry((source, partition)).or_default().sent;
        let payload = format!("{source}/{partition}/{:<bytes$}", sent.len());
        sent.push(payload.clone());
        Append::new(partition, payload)
    }

    pub fn acknowledged(
        &mut self,
        source: &'static str,
        records: &[Append],
        answer: &Appended,
        durability: Durability,
    ) {
        assert_eq!(records.len(), answer.records.len());
        for (record, &(partition, offset)) in records.iter().zip(&answer.records) {
            assert_eq!(record.partition, partition);
            let payload = String::from_utf8(record.payload.to_vec()).unwrap();
            let of = self.partitions.entry((source, partition)).or_default();
            let level = if durability == Durability::Fsync { &mut of.kept } else { &mut of.volatile };
            level.insert(offset, payload);
        }
    }

    /// Retention may delete what lies below what was seen.
    pub fn allow_deletion(&mut self, source: &'static str) {
        for (_, of) in self.partitions.iter_mut().filter(|((name, _), _)| *name == source) {
            of.deletable = of.head;
        }
    }

    /// What only the operating system had may be gone.
    pub fn forget_volatile(&mut self) {
        for of in self.partitions.values_mut() {
            of.volatile.clear();
        }
    }

    /// Compares the log with the model, which learns what was seen. Sources that do not exist have no acknowledged records.
    pub fn check(&mut self, log: &dyn EventLog) {
        let (start, head) = (log.start().unwrap(), log.head().unwrap());
        for (&(source, partition), of) in &mut self.partitions {
            let Some(_) = head.get(source) else {
                assert!(of.kept.is_empty() && of.volatile.is_empty(), "source {source:?} is gone");
                continue;
            };
            let (start, head) = (start.partition(source, partition), head.partition(source, partition));
            let name = format!("{source}/{partition}");
            assert!(head >= of.head, "the head of {name} went back from {} to {head}", of.head);
            assert!(start <= of.deletable, "{name} begins at {start}, and {} may be deleted", of.deletable);
            of.see(&name, start, head, log, source, partition);
        }
    }

    /// Compares a log that has just been opened for writing: all that was acknowledged is visible.
    pub fn check_opened(&mut self, log: &dyn EventLog) {
        self.check(log);
        for (place, of) in &self.partitions {
            assert!(of.volatile.is_empty(), "lost, though the machine was up: {place:?} {:?}", of.volatile);
        }
    }
}

impl Partition {
    fn see(&mut self, name: &str, start: Offset, head: Offset, log: &dyn EventLog, source: &str, partition: u32) {
        let order: BTreeMap<&String, usize> = self.sent.iter().zip(0..).collect();
        let (mut last, mut last_time) = (None, i64::MIN);
        let mut there = BTreeSet::new();
        for (offset, time, _, payload) in contract::read_all(log, source, partition, start, 1 << 20) {
            let payload = String::from_utf8(payload.to_vec()).unwrap();
            let at = order.get(&payload).copied();
            assert!(at.is_some(), "{name} has {payload:?} at {offset}, which was not sent");
            assert!(at > last, "{name} has {payload:?} at {offset} twice, or before what was sent earlier");
            assert!(time >= last_time, "append times of {name} go back at {offset}");
            let expected = self.kept.get(&offset).or(self.volatile.get(&offset));
            assert!(expected.is_none_or(|expected| *expected == payload), "{name} {offset}: {payload:?}, {expected:?}");
            assert_eq!(*self.times.entry(offset).or_insert(time), time, "the append time of {name} {offset}");
            (last, last_time) = (at, time);
            there.insert(offset);
            self.kept.insert(offset, payload);
        }
        assert!(there.iter().copied().eq(start..head), "{name} is read from {start} to {head}");
        for (offset, payload) in self.kept.range(start..) {
            assert!(there.contains(offset), "{payload:?} is lost, {name} {offset}; the head is {head}");
        }
        self.volatile.retain(|&offset, _| offset >= head);
        self.head = head;
    }
}
