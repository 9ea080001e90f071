//! Where the latest numbered records of a partition are, for producers that ask again.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::{Offset, Place, ProducerId};

/// How many records' places are remembered: of a source, and of a partition at least. 8 bytes each.
const RECORDS_MAX: usize = 128 * 1024;
const RECORDS_MIN: usize = 512;

/// Numbered records that got consecutive offsets.
#[derive(Clone, Debug)]
pub(crate) struct PlacedRun {
    pub partition: u32,
    /// The offset of the first one.
    pub base_offset: Offset,
    /// Ascending.
    pub numbers: Arc<Vec<u64>>,
    /// Whether they were there before the append that is answered with them.
    pub repeated: bool,
}

/// The latest numbered records of a partition, within a bound of memory.
#[derive(Debug)]
pub(crate) struct RecentPlaces {
    runs: VecDeque<(ProducerId, PlacedRun)>,
    records: usize,
    records_max: usize,
}

impl RecentPlaces {
    /// What one of so many partitions remembers: about 130,000 records all together, but at least 512 each.
    pub fn of(partitions: u32) -> Self {
        Self::new((RECORDS_MAX / partitions.max(1) as usize).max(RECORDS_MIN))
    }

    fn new(records_max: usize) -> Self {
        Self { runs: VecDeque::new(), records: 0, records_max }
    }

    pub fn push(&mut self, producer: ProducerId, run: PlacedRun) {
        self.records += run.numbers.len();
        self.runs.push_back((producer, PlacedRun { repeated: true, ..run }));
        while self.records > self.records_max
            && let Some((_, oldest)) = self.runs.pop_front()
        {
            self.records -= oldest.numbers.len();
        }
    }

    /// What is remembered of a producer's records with these numbers, and of some beside them.
    pub fn find(&self, producer: &ProducerId, numbers: &Range<u64>) -> impl Iterator<Item = PlacedRun> {
        let overlaps =
            |run: &PlacedRun| run.numbers.first() < Some(&numbers.end) && run.numbers.last() >= Some(&numbers.start);
        let found = self.runs.iter().filter(move |(id, run)| id == producer && overlaps(run));
        found.map(|(_, run)| run.clone())
    }
}

/// Gives each of `count` numbers from `first` on its place. What `runs` do not hold was there before.
pub(crate) fn place(first: u64, count: usize, runs: &[PlacedRun]) -> Vec<Place> {
    let mut places = vec![Place { at: None, repeated: true }; count];
    for run in runs {
        let from = run.numbers.partition_point(|&number| number < first);
        for (offset, &number) in (run.base_offset..).zip(&*run.numbers).skip(from) {
            let Some(place) = places.get_mut((number - first) as usize) else { break };
            *place = Place { at: Some((run.partition, offset)), repeated: run.repeated };
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(partition: u32, base_offset: Offset, numbers: &[u64]) -> PlacedRun {
        PlacedRun { partition, base_offset, numbers: Arc::new(numbers.to_vec()), repeated: false }
    }

    #[test]
    fn the_latest_places_are_remembered() {
        let (a, b) = (ProducerId::new("a").unwrap(), ProducerId::new("b").unwrap());
        let mut recent = RecentPlaces::new(5);
        recent.push(a.clone(), run(3, 10, &[0, 2]));
        recent.push(b.clone(), run(3, 12, &[0, 1]));
        recent.push(a.clone(), run(3, 14, &[5]));
        let found = |recent: &RecentPlaces, range: Range<u64>| {
            let runs: Vec<_> = recent.find(&a, &range).collect();
            place(range.start, (range.end - range.start) as usize, &runs)
                .iter()
                .map(|place| place.at)
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&recent, 1..6), [None, Some((3, 11)), None, None, Some((3, 14))]);
        recent.push(b, run(3, 15, &[2]));
        assert_eq!(found(&recent, 1..6), [None, None, None, None, Some((3, 14))], "the oldest is gone");
    }
}
