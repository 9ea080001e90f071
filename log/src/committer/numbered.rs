//! Appends of producers that number their records.
//!
//! Which numbers are new is decided when an append is taken, in the order of the queue; that they are durable, when it is
//! acknowledged. An append that repeats what an earlier one is still writing waits behind it.

use std::ops::Range;

use super::{Committer, Rounds};
use crate::append_queue::{Placed, Request};
use crate::known::Known;
use crate::options::Counters;
use crate::partition_writer::Pending;
use crate::places::PlacedRun;
use crate::producers::Producers;
use crate::{Numbering, Result};

/// How many of an append's records the log had, given which of its numbers it did not have.
fn repeated_in(request: &Request, taken: &[Range<u64>]) -> u64 {
    let new: u64 = taken.iter().map(|range| range.end - range.start).sum();
    if request.numbering.is_some() { request.record_count - new } else { 0 }
}

impl Rounds {
    /// Finds out which of an append's numbers the log does not have, and leaves the other records out.
    pub(super) fn take_numbers(&mut self, request: &mut Request) -> Result<Vec<Range<u64>>> {
        let Some(numbering) = &request.numbering else { return Ok(Vec::new()) };
        let source = &self.log.writers[request.slots.start].shared.source;
        let new = || Producers::new(source, self.log.options.producers_max);
        let producers = self.log.producers.entry(source.clone()).or_insert_with(new);
        let taken = producers.take(numbering, request.record_count)?;
        let repeated = repeated_in(request, &taken);
        if repeated > 0 {
            Counters::add(&self.log.counters.repeated, repeated);
            for run in &mut request.runs {
                run.frames.iter_mut().for_each(|frames| frames.keep(&taken));
                run.frames.retain(|frames| frames.record_count > 0);
            }
            request.runs.retain(|run| !run.frames.is_empty());
        }
        Ok(taken)
    }

    /// Lets an append that repeats something wait until all that is queued for its source has been written: what it repeats may
    /// be among that. Returns for how many partitions it waits.
    pub(super) fn wait_behind_repeated(&mut self, id: u64, request: &Request, taken: &[Range<u64>]) -> usize {
        if repeated_in(request, taken) == 0 {
            return 0;
        }
        let writers = self.log.writers[request.slots.clone()].iter_mut();
        let mut waits = 0;
        for writer in writers.filter(|writer| !writer.pending.is_empty()) {
            let (durability, frames) = (request.durability, Default::default());
            writer.pending.push_back(Pending { request: id, producer: None, durability, frames });
            waits += 1;
        }
        waits
    }

    /// Takes note that all new records of an append have been written, if they are numbered.
    pub(super) fn finish_numbers(&mut self, id: u64) {
        let Some(append) = self.in_flight.get(&id) else { return };
        let Committer { writers, producers, .. } = &mut self.log;
        if let Some(Numbering { producer, .. }) = &append.request.numbering
            && let Some(producers) = producers.get_mut(&writers[append.request.slots.start].shared.source)
        {
            producers.finished(producer, &append.taken);
        }
    }

    /// Adds to the answer where the repeated records are, as far as that is remembered.
    pub(super) fn add_repeated_places(&self, request: &Request, taken: &[Range<u64>], placed: &mut Placed) {
        let Some(Numbering { producer, first }) = &request.numbering else { return };
        if repeated_in(request, taken) == 0 {
            return;
        }
        let numbers = *first..*first + request.record_count;
        let writers = self.log.writers[request.slots.clone()].iter();
        let remembered: Vec<PlacedRun> = writers.flat_map(|writer| writer.recent.find(producer, &numbers)).collect();
        // What was appended just now is remembered, too: what is said of it last counts.
        placed.runs.splice(0..0, remembered);
    }

    /// What a new segment of a partition is to say about producers: only what is durable in every partition of the source.
    pub(super) fn known(&mut self, slot: usize) -> Result<Known> {
        if !self.log.producers.contains_key(&self.log.writers[slot].shared.source) {
            return Ok(Known::default());
        }
        self.sync_dirty()?;
        let Committer { producers, writers, .. } = &self.log;
        let source = &writers[slot].shared.source;
        let Some(producers) = producers.get(source) else { return Ok(Known::default()) };
        let of_source = self.in_flight.values().filter(|append| append.request.slots.contains(&slot));
        let written = of_source.filter_map(|append| Some((append.request.numbering.as_ref()?, &append.placed.runs)));
        let written = written.flat_map(|(numbering, runs)| runs.iter().map(move |run| (&numbering.producer, run)));
        Ok(producers.known(written.map(|(producer, run)| (producer, run.numbers.as_slice()))))
    }
}
