//! What was sent, what was acknowledged, what is in the log, and what must therefore be answered.

use std::collections::{BTreeMap, BTreeSet};

use watershed_log::{Append, Appended, EventLog, Position};

/// The partitions of the one table.
pub const PARTITIONS: u32 = 2;

/// One record; without a number, one that the schema refuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    id: usize,
    card: usize,
    n: Option<i64>,
}

impl Event {
    fn new(id: usize) -> Event {
        Event { id, card: id % 3, n: (id % 7 != 6).then_some((id as i64 * 5) % 11 - 2) }
    }

    fn payload(&self) -> String {
        match self.n {
            Some(n) => format!(r#"{{"id": "event {}", "card": "card {}", "n": {n}}}"#, self.id, self.card),
            None => format!(r#"{{"id": "event {}", "card""#, self.id),
        }
    }
}

/// The rows of each view, as JSON objects in order.
pub type Answers = BTreeMap<&'static str, Vec<serde_json::Value>>;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    sent: Vec<Event>,
    /// By partition and offset.
    known: BTreeMap<(u32, u64), Event>,
}

impl Model {
    /// Records to append, unlike all others.
    pub fn send(&mut self, count: usize) -> Vec<Append> {
        let first = self.sent.len();
        self.sent.extend((first..first + count).map(Event::new));
        self.sent[first..].iter().map(|event| Append::new(event.id as u32 % PARTITIONS, event.payload())).collect()
    }

    /// The last so many sent were acknowledged.
    pub fn acknowledged(&mut self, appended: &Appended) {
        let first = self.sent.len() - appended.records.len();
        for (event, &place) in self.sent[first..].iter().zip(&appended.records) {
            assert_eq!(self.known.insert(place, event.clone()), None, "two records at {place:?}");
        }
    }

    /// Learns from the log what became of appends that were not answered. All that was acknowledged must be there, and nothing
    /// that was not sent, and nothing twice.
    pub fn learn(&mut self, log: &dyn EventLog) {
        if !log.sources().expect("sources").contains(&"pays".to_owned()) {
            assert!(self.known.is_empty(), "the table's records are gone");
            return;
        }
        let (start, head) = (log.start().expect("a start"), log.head().expect("a head"));
        for partition in 0..PARTITIONS {
            let from = start.partition("pays", partition);
            for (offset, _, _, payload) in watershed_log::contract::read_all(log, "pays", partition, from, 1 << 20) {
                let found = self.sent.iter().find(|event| event.payload().as_bytes() == payload);
                let found = found.unwrap_or_else(|| panic!("{payload:?} was not sent")).clone();
                let known = self.known.entry((partition, offset)).or_insert_with(|| found.clone());
                assert_eq!(*known, found, "at {partition}/{offset}");
            }
            let known = self.known.range((partition, 0)..(partition + 1, 0)).map(|((_, offset), _)| *offset);
            assert!(
                known.eq(0..head.partition("pays", partition)),
                "{partition}: the head is {head:?}: {:?}",
                self.known
            );
        }
        let ids: BTreeSet<usize> = self.known.values().map(|event| event.id).collect();
        assert_eq!(ids.len(), self.known.len(), "a record is there twice");
    }

    /// What the views must answer over the records below a position.
    pub fn answers(&self, head: &Position) -> Answers {
        let below = |&(&(partition, offset), _): &(&(u32, u64), &Event)| offset < head.partition("pays", partition);
        let events = || self.known.iter().filter(below).filter_map(|(_, event)| Some((event, event.n?)));
        let mut totals = BTreeMap::<String, (i64, i64)>::new();
        for (event, n) in events() {
            let total = totals.entry(format!("card {}", event.card)).or_default();
            *total = (total.0 + 1, total.1 + n);
        }
        let totals = totals.iter().map(|(card, (c, s))| serde_json::json!({"card": card, "c": c, "s": s})).collect();
        let mut large: Vec<_> = events().filter(|&(_, n)| n > 5).collect();
        large.sort_by_key(|(event, _)| event.id);
        let large =
            large.into_iter().map(|(event, n)| serde_json::json!({"id": format!("event {}", event.id), "n": n}));
        [("totals", sorted(totals)), ("large", sorted(large.collect()))].into()
    }
}

/// In one order, whatever the rows' order was.
pub fn sorted(mut rows: Vec<serde_json::Value>) -> Vec<serde_json::Value> {
    rows.sort_by_key(ToString::to_string);
    rows
}
