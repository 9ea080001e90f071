//! What must be in the log: a plain list of records per partition, what producers sent, and what they were promised.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use watershed_log::{EventLog, Position};

use super::reference::Content;

/// A record that is in the log for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// When the log took it.
    pub append_time_micros: i64,
    /// Its payload.
    pub payload: Bytes,
    /// What it says.
    pub content: Content,
}

/// A record on its way, as its producer knows it.
#[derive(Clone, Debug)]
struct Sent {
    source: String,
    partition: u32,
    key: Option<String>,
    content: Content,
    /// Whose it is and its number, if its producer numbers its records.
    numbered: Option<(usize, u64)>,
}

/// An acknowledgement that a producer was given.
#[derive(Clone, Debug)]
struct Promise {
    payload: Bytes,
    /// Whether it survives the machine.
    lasting: bool,
}

/// The model.
#[derive(Default)]
pub struct Model {
    /// By source and partition; a record's place is its offset.
    lists: BTreeMap<String, Vec<Vec<Record>>>,
    /// Payloads are all different.
    sent: HashMap<Bytes, Sent>,
    there: HashSet<Bytes>,
    promises: BTreeMap<(String, u32, u64), Promise>,
    /// What was acknowledged without its place, and whether that survives the machine.
    somewhere: HashMap<Bytes, bool>,
    /// By producer and partition: the number of the last record.
    last_numbers: HashMap<(usize, u32), u64>,
}

impl Model {
    /// A producer sends a record.
    pub fn send(&mut self, source: &str, partition: u32, key: Option<String>, payload: &Bytes, content: Content) {
        let sent = Sent { source: source.to_owned(), partition, key, content, numbered: None };
        assert!(self.sent.insert(payload.clone(), sent).is_none(), "every record is sent once");
    }

    /// A record that was sent is a producer's, and this is its number.
    pub fn number(&mut self, payload: &Bytes, producer: usize, number: u64) {
        self.sent.get_mut(payload).expect("it was sent").numbered = Some((producer, number));
    }

    /// How many records were sent.
    pub fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    /// A producer is told that a record is in the log.
    pub fn promise(&mut self, source: &str, partition: u32, offset: u64, payload: &Bytes, lasting: bool) {
        let promise = Promise { payload: payload.clone(), lasting };
        let place = (source.to_owned(), partition, offset);
        if let Some(record) = self.record(source, partition, offset) {
            assert_eq!(record.payload, payload, "what was acknowledged for {place:?} is not what is there");
        }
        // Of a record that was sent again, the place may be told again.
        let known = self.promises.entry(place.clone()).or_insert_with(|| promise.clone());
        assert_eq!(known.payload, promise.payload, "{place:?} was given to two records");
        known.lasting |= lasting;
    }

    /// A producer is told that a record is in the log, and not where.
    pub fn promise_somewhere(&mut self, payload: &Bytes, lasting: bool) {
        *self.somewhere.entry(payload.clone()).or_default() |= lasting;
    }

    /// Whether a record is in the log.
    pub fn is_there(&self, payload: &Bytes) -> bool {
        self.there.contains(payload)
    }

    /// What was promised to survive the death of a process only, is no longer: the machine lost its power, or could not sync.
    pub fn forget_promises_of_the_machine(&mut self) {
        self.promises.retain(|_, promise| promise.lasting);
        self.somewhere.retain(|_, lasting| *lasting);
    }

    fn record(&self, source: &str, partition: u32, offset: u64) -> Option<&Record> {
        self.lists.get(source)?.get(partition as usize)?.get(offset as usize)
    }

    /// The offset after the last record of each partition.
    pub fn head(&self) -> Position {
        let ends = |lists: &Vec<Vec<Record>>| lists.iter().map(|list| list.len() as u64).collect();
        self.lists.iter().map(|(source, lists)| (source.clone(), ends(lists))).collect()
    }

    /// The records of a source below a position, by partition and offset.
    pub fn below<'a>(&'a self, source: &str, position: &'a Position) -> impl Iterator<Item = &'a Record> {
        let lists = self.lists.get(source).map_or(&[][..], Vec::as_slice);
        let source = source.to_owned();
        (0..).zip(lists).flat_map(move |(partition, list)| {
            let end = position.partition(&source, partition);
            list.iter().take_while(move |record| record.offset < end)
        })
    }

    /// Looks at the log: what has become durable is in it for ever, is what a producer sent, and is there once; offsets are dense,
    /// append times never decrease, the head never goes back.
    pub fn observe(&mut self, log: &dyn EventLog) {
        let head = log.head().expect("the log is there");
        for (source, partition, head) in head.iter() {
            let lists = self.lists.entry(source.to_owned()).or_default();
            lists.resize_with(lists.len().max(partition as usize + 1), Vec::new);
            let known = lists[partition as usize].len() as u64;
            assert!(known <= head, "{source}/{partition}: the head went back from {known} to {head}");
            self.learn(log, source, partition, known, head);
        }
        self.keep_promises(&head);
    }

    /// Looks at the log behind a process that died, as another process may: what it says is durable is.
    pub fn observe_remains(&mut self, log: &dyn EventLog) {
        let Ok(head) = log.head() else { return };
        for (source, partition, head) in head.iter() {
            let lists = self.lists.entry(source.to_owned()).or_default();
            lists.resize_with(lists.len().max(partition as usize + 1), Vec::new);
            let known = lists[partition as usize].len() as u64;
            self.learn(log, source, partition, known, head);
        }
    }

    fn learn(&mut self, log: &dyn EventLog, source: &str, partition: u32, from: u64, to: u64) {
        let mut at = from;
        while at < to {
            let chunk = log.read(source, partition, at, to, 1 << 20).expect("what is durable can be read");
            for record in &chunk {
                let place = format!("{source}/{partition}, offset {at}");
                assert_eq!((record.partition, record.offset), (partition, at), "offsets are dense");
                let payload = Bytes::copy_from_slice(record.payload);
                let sent = self.sent.get(&payload);
                let sent = sent.unwrap_or_else(|| panic!("{place}: nobody sent {payload:?}"));
                assert_eq!((sent.source.as_str(), sent.partition), (source, partition), "{place}: {payload:?}");
                assert_eq!(record.key, sent.key.as_deref().map(str::as_bytes), "{place}: the key");
                assert!(self.there.insert(payload.clone()), "{place}: {payload:?} is there twice");
                if let Some((producer, number)) = sent.numbered {
                    let before = self.last_numbers.insert((producer, partition), number);
                    assert!(before < Some(number), "{place}: {number} of producer {producer} follows {before:?}");
                }
                let (content, append_time_micros) = (sent.content.clone(), record.append_time_micros);
                let list = &mut self.lists.get_mut(source).expect("the list is there")[partition as usize];
                let before = list.last().map_or(i64::MIN, |before| before.append_time_micros);
                assert!(before <= append_time_micros, "{place}: time went back from {before} to {append_time_micros}");
                list.push(Record { partition, offset: at, append_time_micros, payload, content });
                at += 1;
            }
        }
    }

    /// What was acknowledged and lies below the head is what was acknowledged; what was to be durable does lie below it.
    fn keep_promises(&mut self, head: &Position) {
        for ((source, partition, offset), promise) in &self.promises {
            match self.record(source, *partition, *offset) {
                Some(record) => assert_eq!(record.payload, promise.payload, "{source}/{partition}, offset {offset}"),
                None => {
                    assert!(!promise.lasting, "{source}/{partition}: {offset} was acknowledged, the head is {head:?}");
                }
            }
        }
        self.promises.retain(|(source, partition, offset), _| *offset >= head.partition(source, *partition));
        for (payload, lasting) in &self.somewhere {
            assert!(!lasting || self.there.contains(payload), "{payload:?} was acknowledged, and is not there");
        }
        self.somewhere.retain(|payload, _| !self.there.contains(payload));
    }

    /// A log that was opened anew has everything that was ever seen or promised, as far as retention has left it.
    pub fn observe_anew(&mut self, log: &dyn EventLog) {
        self.observe(log);
        assert!(self.promises.is_empty(), "acknowledged and not there: {:?}", self.promises);
        assert!(self.somewhere.is_empty(), "acknowledged and not there: {:?}", self.somewhere);
        let start = log.start().expect("the log is there");
        for (source, lists) in &self.lists {
            for (partition, list) in (0..).zip(lists) {
                let (mut at, end) = (start.partition(source, partition), list.len() as u64);
                while at < end {
                    let chunk = log.read(source, partition, at, end, 1 << 20).expect("what is durable can be read");
                    for record in &chunk {
                        let known = &list[at as usize];
                        let found = (record.offset, record.append_time_micros, record.payload);
                        assert_eq!(found, (at, known.append_time_micros, &*known.payload), "{source}/{partition}");
                        at += 1;
                    }
                }
            }
        }
    }
}
