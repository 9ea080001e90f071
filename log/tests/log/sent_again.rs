//! Random histories of producers that lose acknowledgements and send again, on a disk that loses what was not synced.
//!
//! Several producers append at the same time, at both durabilities. Acknowledgements get lost; producers begin again from any
//! record that they know to be acknowledged, with other boundaries, several appends in flight, and now and then with other
//! partitions for their records, as after a change of definitions. The process is killed at any file operation, also while it
//! recovers; the power fails; segments are sealed and deleted; some producers come back after they were forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use watershed_log::simulation::{Fate, SimulatedDisk, SimulatedProcess};
use watershed_log::{
    Append, AppendFuture, Durability, EventLog, FileLog, LogError, ManualClock, Numbered, NumberedFuture, Numbering,
    Offset, Options, ProducerId, Result, contract,
};

use crate::seeds;

const PARTITIONS: u32 = 3;

/// A producer as it sees itself.
#[derive(Default)]
struct Producer {
    /// Every number below it was acknowledged at level `fsync`, and the producer knows.
    acknowledged: u64,
    /// The number that it sends next.
    next: u64,
    /// The log said that it was forgotten.
    forgotten: bool,
}

/// A numbered append that is not answered.
struct Sent {
    producer: usize,
    first: u64,
    durability: Durability,
    answer: NumberedFuture,
}

struct History {
    random: StdRng,
    disk: SimulatedDisk,
    process: Arc<SimulatedProcess>,
    clock: Arc<ManualClock>,
    log: Option<FileLog>,
    options: Options,
    producers: Vec<Producer>,
    in_flight: Vec<Sent>,
    unnumbered: Vec<AppendFuture>,
    /// Changes where records go; how often it may.
    routing: u64,
    reroutings_left: u32,
    rerouted: bool,
    /// Every durable record ever seen, by partition and offset.
    seen: BTreeMap<(u32, Offset), Vec<u8>>,
    crashes: u64,
    repeated: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = SimulatedDisk::new();
        let options = Options {
            segment_bytes_max: random.random_range(500..4_000),
            batch_bytes_max: random.random_range(60..600),
            queue_bytes_max: random.random_range(1_000..20_000),
            producers_max: if random.random_bool(0.3) { 2 } else { 10 },
            ..Options::default()
        };
        let process = disk.process();
        let reroutings_left = if random.random_bool(0.4) { 2 } else { 0 };
        let producers = (0..random.random_range(1..5)).map(|_| Producer::default()).collect();
        let mut history = Self {
            random,
            disk,
            process,
            clock: Arc::new(ManualClock::new(1_000)),
            log: None,
            options,
            producers,
            in_flight: Vec::new(),
            unnumbered: Vec::new(),
            routing: 0,
            reroutings_left,
            rerouted: false,
            seen: BTreeMap::new(),
            crashes: 0,
            repeated: 0,
        };
        history.open();
        history
    }

    fn id(producer: usize) -> ProducerId {
        ProducerId::new(format!("p{producer}")).unwrap()
    }

    /// Opens the log, however often the process is killed while it does.
    fn open(&mut self) {
        self.log = None;
        loop {
            self.process = self.disk.process();
            if self.random.random_bool(0.3) {
                self.kill_soon(60);
            }
            let options = Options { files: self.process.clone(), ..self.options.clone() };
            let opened = FileLog::open_stepped("/log", options, self.clock.clone())
                .and_then(|log| log.create_source("s", PARTITIONS).map(|()| log));
            if let (Ok(log), true) = (opened, self.process.is_running()) {
                self.process.set_fates(|_| Fate::DONE);
                self.log = Some(log);
                return;
            }
            assert!(!self.process.is_running(), "only a killed process cannot open the log");
            self.lose_power_or_not();
        }
    }

    fn lose_power_or_not(&mut self) {
        self.crashes += 1;
        if self.random.random_bool(0.6) {
            self.disk.power_cut(self.random.random());
        } else {
            self.disk.kill_all();
        }
    }

    /// The process will be killed at one of its next operations: before it, in the middle of it or after it.
    fn kill_soon(&mut self, operations_max: u64) {
        let fate = [Fate::KILLED_BEFORE, Fate::KILLED_WITHIN, Fate::KILLED_AFTER][self.random.random_range(0..3)];
        let left = AtomicU64::new(self.random.random_range(0..operations_max));
        self.process.set_fates(move |_| match left.fetch_sub(1, Ordering::SeqCst) {
            0 => fate,
            _ => Fate::DONE,
        });
    }

    fn crash(&mut self) {
        self.lose_power_or_not();
        self.in_flight.clear();
        self.unnumbered.clear();
        self.open();
        for producer in 0..self.producers.len() {
            self.begin_again(producer);
        }
    }

    /// A producer goes back to any record of which it knows that all before are acknowledged.
    fn begin_again(&mut self, producer: usize) {
        self.in_flight.retain(|sent| sent.producer != producer);
        let Producer { acknowledged, next, .. } = &mut self.producers[producer];
        *next = if self.random.random_bool(0.5) { *acknowledged } else { self.random.random_range(0..=*acknowledged) };
    }

    fn send(&mut self, producer: usize, count: u64) {
        let first = self.producers[producer].next;
        let records = (first..first + count)
            .map(|number| {
                let partition = (number * 5 + self.routing * number / 2) % u64::from(PARTITIONS);
                Append::new(partition as u32, format!("{producer}:{number}:{}", "x".repeat((number % 30) as usize)))
            })
            .collect();
        let durability = if self.random.random_bool(0.3) { Durability::Os } else { Durability::Fsync };
        let numbering = Numbering { producer: Self::id(producer), first };
        let Some(log) = &self.log else { return };
        let answer = log.submit_numbered("s", numbering, records, Some(durability));
        self.in_flight.push(Sent { producer, first, durability, answer });
        self.producers[producer].next += count;
    }

    /// Does one round and hears the answers.
    fn step(&mut self) {
        let Some(log) = &self.log else { return };
        log.step();
        let mut context = Context::from_waker(Waker::noop());
        self.unnumbered.retain_mut(|append| append.as_mut().poll(&mut context).is_pending());
        let mut at = 0;
        while at < self.in_flight.len() {
            match self.in_flight[at].answer.as_mut().poll(&mut context) {
                Poll::Pending => at += 1,
                Poll::Ready(answer) => {
                    let sent = self.in_flight.remove(at);
                    self.hear(&sent, answer);
                }
            }
        }
        if !self.process.is_running() {
            self.crash();
        }
    }

    fn hear(&mut self, sent: &Sent, answer: Result<Numbered>) {
        let producer = &mut self.producers[sent.producer];
        match answer {
            Ok(answer) => {
                // What was forgotten but not yet written down, a crash brings back whole.
                producer.forgotten = false;
                let end = sent.first + answer.records.len() as u64;
                self.repeated += answer.records.iter().filter(|place| place.repeated).count() as u64;
                if sent.durability == Durability::Os {
                    return;
                }
                self.look();
                for (number, place) in (sent.first..).zip(&answer.records) {
                    let prefix = format!("{}:{number}:", sent.producer);
                    // What is acknowledged is there, where the answer says.
                    let found = place.at.map(|at| self.seen.get(&at).is_some_and(|p| p.starts_with(prefix.as_bytes())));
                    assert_ne!(found, Some(false), "{prefix} is not at {:?}", place.at);
                    assert!(place.at.is_some() || place.repeated);
                }
                let producer = &mut self.producers[sent.producer];
                let is_heard = self.random.random_bool(0.8);
                if is_heard && sent.first <= producer.acknowledged {
                    producer.acknowledged = producer.acknowledged.max(end);
                } else {
                    self.begin_again(sent.producer);
                }
            }
            Err(LogError::NumberGap { expected, .. }) => {
                assert!(expected >= producer.acknowledged, "{expected} is missing, which was acknowledged");
                self.begin_again(sent.producer);
            }
            Err(LogError::ProducerForgotten { .. }) => {
                producer.forgotten = true;
                assert!(self.options.producers_max < self.producers.len(), "there was room");
                self.begin_again(sent.producer);
            }
            Err(LogError::TooManyProducers { .. }) => self.begin_again(sent.producer),
            Err(error) => assert!(!self.process.is_running(), "{error}"),
        }
    }

    /// Takes note of all durable records, none of which ever changes.
    fn look(&mut self) {
        // Another process reads: the one that writes may be about to be killed.
        let log = FileLog::open_reader_on(self.disk.process(), "/log").unwrap();
        let start = log.start().unwrap();
        for partition in 0..PARTITIONS {
            let known =
                self.seen.range((partition, 0)..(partition + 1, 0)).next_back().map_or(0, |((_, at), _)| at + 1);
            let from = known.max(start.partition("s", partition));
            for (offset, _, _, payload) in contract::read_all(&log, "s", partition, from, 1 << 16) {
                self.seen.insert((partition, offset), payload.to_vec());
            }
        }
    }

    fn do_something(&mut self) {
        let producer = self.random.random_range(0..self.producers.len());
        match self.random.random_range(0..100) {
            0..45 => {
                let count = self.random.random_range(1..25);
                self.send(producer, count);
            }
            45..50 => {
                let record = Append::new(self.random.random_range(0..PARTITIONS), "unnumbered");
                if let Some(log) = &self.log {
                    self.unnumbered.push(log.append_async("s", vec![record]));
                }
            }
            50..80 => self.step(),
            80..84 => self.begin_again(producer),
            84..87 => self.clock.advance(self.random.random_range(-50_000..100_000)),
            87..89 if self.reroutings_left > 0 => {
                (self.reroutings_left, self.rerouted) = (self.reroutings_left - 1, true);
                self.routing += 1;
            }
            87..94 => self.kill_soon(40),
            94..96 => self.crash(),
            _ => {
                self.look();
                let Some(log) = &self.log else { return };
                let head = log.head().unwrap();
                let done = log.seal("s").and_then(|()| log.delete_sealed_below(&head));
                assert!(done.is_ok() || !self.process.is_running(), "{done:?}");
                self.step();
            }
        }
    }

    /// Every producer sends everything, and nothing goes wrong any more.
    fn finish(&mut self) -> Vec<u64> {
        self.process.set_fates(|_| Fate::DONE);
        self.in_flight.clear();
        // A crash may have brought some back.
        self.producers.iter_mut().for_each(|producer| producer.forgotten = false);
        let ends: Vec<u64> =
            self.producers.iter().map(|producer| producer.next.max(producer.acknowledged) + 5).collect();
        for (producer, &end) in ends.iter().enumerate() {
            while !self.producers[producer].forgotten && self.producers[producer].acknowledged < end {
                let next = self.producers[producer].acknowledged;
                self.producers[producer].next = next;
                self.send(producer, end - next);
                while !self.in_flight.is_empty() {
                    self.step();
                }
            }
        }
        self.look();
        ends
    }

    fn check(&self, ends: &[u64]) {
        let mut numbers: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); self.producers.len()];
        let mut last: BTreeMap<(u32, usize), u64> = BTreeMap::new();
        for (&(partition, _), payload) in &self.seen {
            let text = std::str::from_utf8(payload).unwrap();
            let mut fields = text.split(':').map(str::parse::<u64>);
            let (Some(Ok(producer)), Some(Ok(number))) = (fields.next(), fields.next()) else { continue };
            assert!(numbers[producer as usize].insert(number), "record {number} of producer {producer} is there twice");
            let before = last.insert((partition, producer as usize), number);
            // What a crash left out of the middle goes to another partition after its definition has changed.
            assert!(self.rerouted || before < Some(number), "out of order in partition {partition}");
        }
        for ((producer, numbers), &end) in self.producers.iter().zip(numbers).zip(ends) {
            // A forgotten producer could not finish.
            let end = if producer.forgotten { producer.acknowledged } else { end };
            let least: Vec<u64> = numbers.into_iter().take_while(|&number| number < end).collect();
            assert!(least.iter().copied().eq(0..end), "all of 0..{end}, each once: {least:?}");
        }
    }
}

fn run(seed: u64, counts: &[AtomicU64; 5]) {
    let mut history = History::new(seed);
    for _ in 0..history.random.random_range(20..120) {
        history.do_something();
    }
    let ends = history.finish();
    history.check(&ends);
    let forgotten = history.producers.iter().filter(|producer| producer.forgotten).count() as u64;
    let numbers = [1, history.crashes, history.repeated, history.seen.len() as u64, forgotten];
    for (count, number) in counts.iter().zip(numbers) {
        count.fetch_add(number, Ordering::SeqCst);
    }
}

#[test]
fn each_record_is_there_once_whatever_is_lost() {
    let counts: [AtomicU64; 5] = Default::default();
    seeds::each(2_000, |seed| run(seed, &counts));
    let [histories, crashes, repeated, records, forgotten] = counts.map(AtomicU64::into_inner);
    eprintln!(
        "{histories} histories: {crashes} crashes, {repeated} records sent again, {records} records there, {forgotten} \
         producers forgotten"
    );
    let is_rich = crashes > histories && repeated > histories && forgotten > 0;
    assert!(histories < 100 || is_rich, "too little happens");
}
