//! The producers of one source: which of their numbers the log has, and which append comes next.
//!
//! Each producer numbers its records 0, 1, 2, …. All below `next` have been taken; what is sent again from there is answered,
//! not appended. An append that a crash cut short may have left some numbers above `next` in some partitions: they are known one by
//! one, so that the rest can be sent again, to whichever partition it belongs by then.
//!
//! Invariant: nothing here is true that a crash can make untrue: what goes into batches and segments ([`Producers::complete`],
//! [`Producers::known`]) is taken from what has been synced in every partition.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::forgotten::Forgotten;
use crate::known::{Known, KnownProducer};
use crate::ranges::Ranges;
use crate::{LogError, Numbering, ProducerId, Result};

/// What is known of one producer.
#[derive(Debug, Default)]
struct Producer {
    /// Every number below it is in the log or on its way there.
    next: u64,
    /// The numbers of finished appends.
    written: Ranges,
    /// Every number below it is durable.
    complete: u64,
    /// `None` until a record of it has been written.
    last_time_micros: Option<i64>,
    /// Appends that are not finished.
    under_way: u32,
}

impl Producer {
    /// Producers are forgotten in this order. One that has written nothing yet comes last.
    fn age<'a>(&self, id: &'a ProducerId) -> (i64, &'a ProducerId) {
        (self.last_time_micros.unwrap_or(i64::MAX), id)
    }
}

/// The producers of one source.
#[derive(Debug)]
pub(crate) struct Producers {
    source: String,
    producers_max: usize,
    remembered: BTreeMap<ProducerId, Producer>,
    forgotten: Option<Forgotten>,
    /// Producers with finished appends that may not have been synced.
    unsynced: BTreeSet<ProducerId>,
}

impl Producers {
    pub fn new(source: &str, producers_max: usize) -> Self {
        let source = source.to_owned();
        Self { source, producers_max, remembered: BTreeMap::new(), forgotten: None, unsynced: BTreeSet::new() }
    }

    /// The producers of a source of whose partitions this is known.
    pub fn recovered(source: &str, producers_max: usize, known: Known) -> Self {
        let mut producers = Self { forgotten: known.forgotten, ..Self::new(source, producers_max) };
        for (id, KnownProducer { numbers: written, last_time_micros }) in known.producers {
            // One partition may remember what another one knows to have been forgotten since, and then not all of it.
            if !producers.forgotten.as_ref().is_some_and(|forgotten| forgotten.covers(last_time_micros, &id)) {
                let (next, last_time_micros) = (written.gap_at(0), Some(last_time_micros));
                let producer = Producer { next, written, complete: next, last_time_micros, under_way: 0 };
                producers.remembered.insert(id, producer);
            }
        }
        while producers.remembered.len() > producers_max {
            producers.forget_oldest();
        }
        producers
    }

    /// Takes an append of `count` records. Returns which of its numbers the log does not have: those are to be appended, and
    /// [`Producers::finished`] is to be called once all of them have been written.
    pub fn take(&mut self, numbering: &Numbering, count: u64) -> Result<Vec<Range<u64>>> {
        let Numbering { producer: id, first } = numbering;
        let (first, end) = (*first, numbering.end(count)?);
        let named = || (self.source.clone(), id.clone());
        let expected = match self.remembered.get(id) {
            Some(known) => known.next,
            None if self.forgotten.as_ref().is_some_and(|forgotten| forgotten.holds(id)) => {
                let (name, producer) = named();
                return Err(LogError::ProducerForgotten { name, producer });
            }
            None => 0,
        };
        if first > expected {
            let (name, producer) = named();
            return Err(LogError::NumberGap { name, producer, number: first, expected });
        }
        if !self.remembered.contains_key(id) {
            self.make_room()?;
        }
        let known = self.remembered.entry(id.clone()).or_default();
        let missing = known.written.missing(first.max(known.next)..end);
        known.next = known.written.gap_at(known.next.max(end));
        known.under_way += 1;
        Ok(missing)
    }

    /// Makes room for one more producer.
    fn make_room(&mut self) -> Result<()> {
        if self.remembered.len() < self.producers_max {
            return Ok(());
        }
        let oldest = self.remembered.iter().min_by_key(|(id, producer)| producer.age(id));
        if oldest.is_some_and(|(_, oldest)| oldest.under_way > 0 || oldest.last_time_micros.is_none()) {
            return Err(LogError::TooManyProducers { name: self.source.clone(), producers_max: self.producers_max });
        }
        self.forget_oldest();
        Ok(())
    }

    fn forget_oldest(&mut self) {
        let Some((id, producer)) = self.remembered.iter().min_by_key(|(id, producer)| producer.age(id)) else { return };
        let (id, last_time_micros) = (id.clone(), producer.age(id).0);
        self.remembered.remove(&id);
        match &mut self.forgotten {
            Some(forgotten) => forgotten.add(last_time_micros, id),
            none => *none = Some(Forgotten::first(last_time_micros, id)),
        }
    }

    /// Takes note that records of a producer were written with this append time.
    pub fn wrote(&mut self, id: &ProducerId, append_time_micros: i64) {
        if let Some(producer) = self.remembered.get_mut(id) {
            producer.last_time_micros = producer.last_time_micros.max(Some(append_time_micros));
        }
    }

    /// Takes note that all that [`Producers::take`] returned has been written.
    pub fn finished(&mut self, id: &ProducerId, taken: &[Range<u64>]) {
        if let Some(producer) = self.remembered.get_mut(id) {
            producer.under_way -= 1;
            taken.iter().for_each(|range| producer.written.insert(range.clone()));
            self.unsynced.insert(id.clone());
        }
    }

    /// Takes note that all that has been written is durable, in every partition.
    pub fn synced(&mut self) {
        for id in std::mem::take(&mut self.unsynced) {
            if let Some(producer) = self.remembered.get_mut(&id) {
                producer.complete = producer.written.gap_at(0);
            }
        }
    }

    /// Every record of a producer with a number below this one is durable.
    pub fn complete(&self, id: &ProducerId) -> u64 {
        self.remembered.get(id).map_or(0, |producer| producer.complete)
    }

    /// All that is known, for a segment to begin with, given the written numbers of appends that are not finished. What has
    /// been written must have been synced.
    pub fn known<'a>(&self, unfinished: impl Iterator<Item = (&'a ProducerId, &'a [u64])>) -> Known {
        let known = |producer: &Producer| {
            let last_time_micros = producer.last_time_micros?;
            Some(KnownProducer { numbers: producer.written.clone(), last_time_micros })
        };
        let producers = self.remembered.iter().filter_map(|(id, producer)| Some((id.clone(), known(producer)?)));
        let mut known = Known { producers: producers.collect(), forgotten: self.forgotten.clone() };
        for (id, numbers) in unfinished {
            if let Some(producer) = known.producers.get_mut(id) {
                numbers.iter().for_each(|&number| producer.numbers.insert(number..number + 1));
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ProducerId {
        ProducerId::new(name).unwrap()
    }

    fn numbering(name: &str, first: u64) -> Numbering {
        Numbering { producer: id(name), first }
    }

    /// Takes, writes and syncs.
    fn append(producers: &mut Producers, name: &str, first: u64, count: u64, time: i64) -> Result<Vec<Range<u64>>> {
        let taken = producers.take(&numbering(name, first), count)?;
        producers.wrote(&id(name), time);
        producers.finished(&id(name), &taken);
        producers.synced();
        Ok(taken)
    }

    #[test]
    fn what_is_sent_again_is_not_taken_again() {
        let mut producers = Producers::new("s", 10);
        assert_eq!(append(&mut producers, "a", 0, 10, 1).unwrap(), vec![0..10]);
        assert_eq!(append(&mut producers, "a", 0, 10, 1).unwrap(), vec![]);
        assert_eq!(append(&mut producers, "a", 7, 5, 1).unwrap(), vec![10..12]);
        assert_eq!(producers.complete(&id("a")), 12);
        let gap = append(&mut producers, "a", 13, 1, 1).unwrap_err();
        assert!(matches!(gap, LogError::NumberGap { number: 13, expected: 12, .. }), "{gap}");
        let gap = append(&mut producers, "b", 1, 1, 1).unwrap_err();
        assert!(matches!(gap, LogError::NumberGap { number: 1, expected: 0, .. }), "{gap}");
        assert!(matches!(append(&mut producers, "a", u64::MAX, 1, 1), Err(LogError::Invalid { .. })));
    }

    #[test]
    fn what_a_crash_left_of_an_append_is_completed() {
        let mut known = Known::default();
        let numbers = [0..4, 6..7, 9..10].into_iter().fold(Ranges::default(), |mut ranges, range| {
            ranges.insert(range);
            ranges
        });
        known.producers.insert(id("a"), KnownProducer { numbers, last_time_micros: 5 });
        let mut producers = Producers::recovered("s", 10, known);
        assert_eq!(producers.complete(&id("a")), 4);
        assert!(matches!(producers.take(&numbering("a", 5), 9), Err(LogError::NumberGap { expected: 4, .. })));
        assert_eq!(producers.take(&numbering("a", 3), 4).unwrap(), vec![4..6]);
        assert_eq!(producers.take(&numbering("a", 7), 5).unwrap(), vec![7..9, 10..12]);
        assert_eq!(producers.complete(&id("a")), 4, "not written yet");
        // The second finishes first, as it may where the first one waits in another partition.
        producers.finished(&id("a"), &[7..9, 10..12]);
        producers.synced();
        assert_eq!(producers.complete(&id("a")), 4);
        let written = |unfinished: &[u64]| {
            let known = producers.known([(&id("a"), unfinished)].into_iter());
            known.producers[&id("a")].numbers.iter().collect::<Vec<_>>()
        };
        assert_eq!(written(&[5]), [0..4, 5..12]);
        producers.finished(&id("a"), std::slice::from_ref(&(4..6)));
        producers.synced();
        assert_eq!(producers.complete(&id("a")), 12);
    }

    #[test]
    fn the_oldest_is_forgotten_and_refused_for_ever() {
        let mut producers = Producers::new("s", 2);
        append(&mut producers, "a", 0, 3, 10).unwrap();
        append(&mut producers, "b", 0, 3, 10).unwrap();
        append(&mut producers, "a", 3, 1, 20).unwrap();
        append(&mut producers, "c", 0, 1, 30).unwrap();
        for first in [0, 3] {
            let refused = producers.take(&numbering("b", first), 1).unwrap_err();
            assert!(matches!(refused, LogError::ProducerForgotten { .. }), "{refused}");
        }
        assert_eq!(append(&mut producers, "a", 4, 1, 40).unwrap(), vec![4..5]);
        // A partition that remembers `b` from before does not bring it back.
        let mut known = producers.known(std::iter::empty());
        // `d` is new, and was written while the clock was set back.
        for (name, time) in [("b", 10), ("d", 5)] {
            known.producers.insert(id(name), KnownProducer { numbers: Ranges::default(), last_time_micros: time });
        }
        let mut three = Producers::recovered("s", 3, known.clone());
        assert!(matches!(three.take(&numbering("b", 0), 1), Err(LogError::ProducerForgotten { .. })));
        assert_eq!(three.take(&numbering("c", 0), 2).unwrap(), vec![1..2]);
        assert_eq!(three.take(&numbering("d", 0), 2).unwrap(), vec![0..2]);
        let mut two = Producers::recovered("s", 2, known);
        for name in ["b", "d"] {
            assert!(matches!(two.take(&numbering(name, 0), 1), Err(LogError::ProducerForgotten { .. })), "{name}");
        }
        assert_eq!(two.take(&numbering("a", 4), 2).unwrap(), vec![5..6]);
    }

    #[test]
    fn a_producer_with_an_append_under_way_is_not_forgotten() {
        let mut producers = Producers::new("s", 1);
        let taken = producers.take(&numbering("a", 0), 1).unwrap();
        let full = producers.take(&numbering("b", 0), 1).unwrap_err();
        assert!(matches!(full, LogError::TooManyProducers { producers_max: 1, .. }), "{full}");
        producers.wrote(&id("a"), 1);
        producers.finished(&id("a"), &taken);
        assert_eq!(producers.take(&numbering("b", 0), 1).unwrap(), vec![0..1]);
    }
}
