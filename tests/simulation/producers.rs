//! Producers that number their records: what they send again after a lost acknowledgement or a death is there once.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use rand::{Rng, rngs::StdRng};
use watershed_log::{
    Append, Clock, Durability, EventLog, LogError, Numbered, NumberedFuture, Numbering, Place, ProducerId,
};

use super::{
    asking::log_may_fail, definitions::ALL, machine::Holder, model::Model, records, stage::Trouble, world::World,
};

/// A producer as it sees itself. It lives as long as the history: what it forgets, it does so when it begins again.
pub struct Producer {
    id: ProducerId,
    source: &'static str,
    /// By number: partition, key and payload.
    records: Vec<(u32, Option<String>, Bytes)>,
    /// Every number below it was acknowledged as durable, and the producer knows.
    acknowledged: u64,
    /// The number that it sends next.
    next: u64,
    /// Whether it waits for an acknowledgement in vain.
    lost: bool,
}

/// A numbered append under way.
pub struct NumberedFlight {
    producer: usize,
    first: u64,
    lasting: bool,
    /// Whether its acknowledgement will reach the producer.
    heard: bool,
    future: NumberedFuture,
}

impl NumberedFlight {
    fn look(&mut self) -> Option<Result<Numbered, LogError>> {
        match Pin::new(&mut self.future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }
}

/// The producers of a history.
pub fn all() -> Vec<Producer> {
    let of = |(name, source): (&str, &'static str)| Producer {
        id: ProducerId::new(name).expect("a name"),
        source,
        records: Vec::new(),
        acknowledged: 0,
        next: 0,
        lost: false,
    };
    [("first", "pays"), ("second", "pays"), ("first", "taps")].into_iter().map(of).collect()
}

impl Producer {
    /// Goes back to any record of which it knows that all before are acknowledged.
    fn begin_again(&mut self, rng: &mut StdRng) {
        self.next = if rng.random() { self.acknowledged } else { rng.random_range(0..=self.acknowledged) };
        self.lost = false;
    }

    fn appends(&self, first: u64, end: u64) -> Vec<Append> {
        let append = |(partition, key, payload): &(u32, Option<String>, Bytes)| {
            let append = Append::new(*partition, payload.clone());
            key.iter().fold(append, |append, key| append.with_key(key.clone()))
        };
        self.records[first as usize..end as usize].iter().map(append).collect()
    }

    /// It is told that these records are in the log.
    fn promised(&self, first: u64, places: &[Place], lasting: bool, model: &mut Model) {
        for ((partition, _, payload), place) in self.records[first as usize..].iter().zip(places) {
            match place.at {
                Some((there, offset)) => {
                    assert_eq!(there, *partition, "{payload:?} is in another partition");
                    model.promise(self.source, there, offset, payload, lasting);
                }
                None => {
                    assert!(place.repeated, "it is not said where {payload:?} is");
                    model.promise_somewhere(payload, lasting);
                }
            }
        }
    }
}

impl World {
    /// Producers send what comes next, or again what they are not sure of, several calls at once.
    pub(super) fn produce(&mut self, rng: &mut StdRng) {
        for _ in 0..rng.random_range(1..4) {
            self.produce_call(rng);
        }
        if rng.random() {
            self.commit(rng);
        }
    }

    fn produce_call(&mut self, rng: &mut StdRng) {
        self.ensure_holder(rng);
        let Some(holder) = &mut self.holder else { return };
        let number = rng.random_range(0..self.producers.len());
        let producer = &mut self.producers[number];
        let Some(decoder) = ALL[holder.definitions].decoders.get(producer.source) else { return };
        if producer.lost || rng.random_ratio(1, 8) {
            producer.begin_again(rng);
            self.tally.count("producers that began again");
        }
        let (first, end) = (producer.next, producer.next + rng.random_range(1..7));
        let now_micros = self.machine.clock.now_micros();
        for own in producer.records.len() as u64..end {
            let (payload, content) = records::draw(producer.source, self.model.sent(), now_micros, rng);
            let (partition, key) = decoder.partition_of(&payload);
            self.model.send(producer.source, partition, key.clone(), &payload, content);
            self.model.number(&payload, number, own);
            producer.records.push((partition, key, payload));
        }
        producer.next = end;
        let (lasting, heard) = (rng.random_ratio(3, 4), rng.random_ratio(4, 5));
        self.stage.trace.note(format_args!("producer {number} sends {first} to {end}"));
        submit(holder, producer, number, (first, end), (lasting, heard));
    }

    /// Producers hear what became of their appends.
    pub(super) fn hear_numbered(&mut self, holder: &mut Holder) {
        for mut flight in std::mem::take(&mut holder.numbered) {
            let producer = &mut self.producers[flight.producer];
            match flight.look() {
                None => holder.numbered.push(flight),
                Some(Ok(Numbered { records })) => {
                    producer.promised(flight.first, &records, flight.lasting, &mut self.model);
                    let repeated = records.iter().filter(|place| place.repeated).count() as u64;
                    self.tally.add("numbered records acknowledged", records.len() as u64);
                    self.tally.add("of them, sent again", repeated);
                    if !flight.heard {
                        producer.lost = true;
                        self.tally.count("acknowledgements that were lost");
                    } else if flight.lasting && flight.first <= producer.acknowledged {
                        producer.acknowledged = producer.acknowledged.max(flight.first + records.len() as u64);
                    }
                }
                Some(Err(LogError::NumberGap { expected, .. })) => {
                    assert!(expected >= producer.acknowledged, "{expected} is missing, which was acknowledged");
                    producer.lost = true;
                    self.tally.count("gaps refused");
                }
                Some(Err(error)) => {
                    assert!(log_may_fail(&error), "{error}");
                    producer.lost = true;
                    holder.stopped = true;
                }
            }
        }
    }

    /// Nobody will answer these.
    pub(super) fn lose_answers(&mut self, holder: &Holder) {
        for flight in &holder.numbered {
            self.producers[flight.producer].lost = true;
        }
    }

    /// With nothing in the way, every producer sends all that it ever sent once more: each record is there, and none twice.
    pub(super) fn send_all_again(&mut self, rng: &mut StdRng) {
        self.ensure_holder(rng);
        for number in 0..self.producers.len() {
            let mut first = 0;
            while first < self.producers[number].records.len() as u64 {
                let producer = &self.producers[number];
                let end = (first + rng.random_range(1..20)).min(producer.records.len() as u64);
                let holder = self.holder.as_mut().expect("nothing kills it");
                submit(holder, producer, number, (first, end), (true, true));
                first = end;
            }
        }
        self.in_holder("again", rng, Trouble::default(), |holder| while holder.log.step() {});
        self.look();
        for producer in &self.producers {
            assert_eq!(producer.acknowledged, producer.records.len() as u64, "{} was not answered", producer.id);
            for (_, _, payload) in &producer.records {
                assert!(self.model.is_there(payload), "{payload:?} of {} is not there", producer.id);
            }
        }
    }
}

fn submit(
    holder: &mut Holder,
    producer: &Producer,
    number: usize,
    (first, end): (u64, u64),
    (lasting, heard): (bool, bool),
) {
    let numbering = Numbering { producer: producer.id.clone(), first };
    let durability = if lasting { Durability::Fsync } else { Durability::Os };
    let appends = producer.appends(first, end);
    let future = holder.log.submit_numbered(producer.source, numbering, appends, Some(durability));
    holder.numbered.push(NumberedFlight { producer: number, first, lasting, heard, future });
}
