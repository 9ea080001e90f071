//! What producers sent and were told: kept outside of the processes that are killed.

use std::collections::BTreeMap;

use rand::{Rng, rngs::StdRng};

use super::payments;
use crate::support::{command::Workplace, log};

/// Ids of one producer lie below those of the next.
const IDS: u64 = 10_000_000;

/// A producer whose records are numbered, or not.
#[derive(Debug)]
pub struct Producer {
    number: u64,
    /// Whether it numbers its records, and so may send them again.
    pub is_numbered: bool,
    /// Records that it has sent; the first ones.
    pub sent: u64,
    /// Of a numbered producer: how many of the first ones were acknowledged.
    pub acknowledged: u64,
    /// Of one that is not: from which to which record was acknowledged, for each process that it had.
    stretches: Vec<(u64, u64)>,
}

impl Producer {
    pub fn new(number: u64, is_numbered: bool) -> Producer {
        Producer { number, is_numbered, sent: 0, acknowledged: 0, stretches: Vec::new() }
    }

    /// Its name, for `--producer`.
    pub fn name(&self) -> String {
        format!("producer {}", self.number)
    }

    /// The lines of its records from `first` up to `end`.
    pub fn lines(&self, first: u64, end: u64) -> String {
        (first..end).map(|record| payments::line(self.number * IDS + record)).collect()
    }

    /// Where its next process begins: with what was not acknowledged or before, if it may send again.
    pub fn begin(&self, random: &mut StdRng) -> u64 {
        match (self.is_numbered, random.random_bool(0.5)) {
            (false, _) => self.sent,
            (true, true) => self.acknowledged,
            (true, false) => random.random_range(0..=self.acknowledged),
        }
    }

    /// The command that appends from `first` on.
    pub fn arguments(&self, first: u64) -> Vec<String> {
        let mut arguments = ["append", "payments", "-", "--ack", "--format", "json"].map(str::to_owned).to_vec();
        if self.is_numbered {
            arguments.extend(["--producer".to_owned(), self.name(), "--sequence".to_owned(), first.to_string()]);
        }
        arguments
    }

    /// Takes note of what a process that sent from `first` to `end` acknowledged.
    pub fn note(&mut self, first: u64, end: u64, acknowledged: u64) {
        assert!(first + acknowledged <= end, "{} acknowledges what it was not sent", self.name());
        self.sent = self.sent.max(end);
        if self.is_numbered {
            self.acknowledged = self.acknowledged.max(first + acknowledged);
        } else {
            self.stretches.push((first, first + acknowledged));
        }
    }

    pub fn acknowledged_records(&self) -> u64 {
        let stretches: u64 = self.stretches.iter().map(|(first, end)| end - first).sum();
        if self.is_numbered { self.acknowledged } else { stretches }
    }

    /// Sends all again from the beginning, to the end.
    pub fn send_all(&mut self, place: &Workplace) {
        if self.is_numbered && self.sent > 0 {
            let out = place.run_with(self.arguments(0), self.lines(0, self.sent).as_bytes()).ok();
            let report: serde_json::Value =
                serde_json::from_str(out.lines().last().expect("a report")).expect("the report is JSON");
            assert_eq!(report["acknowledged"].as_u64(), Some(self.sent));
            assert!(
                report["repeated"].as_u64() >= Some(self.acknowledged),
                "what was acknowledged is not appended again"
            );
            self.acknowledged = self.sent;
        }
    }
}

impl Producer {
    /// Sends its next record.
    pub fn send_one(&mut self, place: &Workplace) {
        let (first, end) = (self.sent, self.sent + 1);
        place.run_with(self.arguments(first), self.lines(first, end).as_bytes()).ok();
        self.note(first, end, 1);
    }
}

/// Checks the log against what producers know, and returns all ids in it.
pub fn check(place: &Workplace, producers: &[Producer]) -> Vec<u64> {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for record in log::records(&place.file("log"), "payments") {
        let value: serde_json::Value = serde_json::from_slice(&record.payload).expect("every record is whole");
        let id = value["id"].as_u64().expect("an id");
        *times.entry(id).or_default() += 1;
        let before = last.insert((record.partition, id / IDS), id);
        assert!(before < Some(id), "record {id} is out of order in partition {}", record.partition);
    }
    assert!(times.values().all(|&times| times == 1), "a record is there twice");
    for producer in producers {
        let (begin, end) = (producer.number * IDS, producer.number * IDS + producer.sent);
        assert!(times.range(end..begin + IDS).next().is_none(), "{} has more than it sent", producer.name());
        if producer.is_numbered {
            assert!(times.range(begin..end).map(|(&id, _)| id).eq(begin..end), "{}: each once", producer.name());
        }
        for &(first, end) in &producer.stretches {
            let missing = (begin + first..begin + end).find(|id| !times.contains_key(id));
            assert_eq!(missing, None, "{}: it was acknowledged", producer.name());
        }
    }
    times.into_keys().collect()
}
