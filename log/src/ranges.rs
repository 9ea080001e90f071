//! Sets of numbers that are nearly without gaps.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of numbers below `u64::MAX`, as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds all numbers of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        if let Some((&before, &before_end)) = self.0.range(..=start).next_back()
            && before_end >= start
        {
            (start, end) = (before, end.max(before_end));
        }
        while let Some((&next, &next_end)) = self.0.range(start..=end).next() {
            end = end.max(next_end);
            self.0.remove(&next);
        }
        self.0.insert(start, end);
    }

    /// The first number that is not in the set and not below `number`.
    pub fn gap_at(&self, number: u64) -> u64 {
        self.0.range(..=number).next_back().map_or(number, |(_, &end)| end.max(number))
    }

    /// The ranges of numbers in `range` that are not in the set.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut at = self.gap_at(range.start);
        for (&start, &end) in self.0.range(at..) {
            if start >= range.end {
                break;
            }
            missing.push(at..start);
            at = end;
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set_of_numbers(inserted in proptest::collection::vec((0..60u64, 0..12u64), 0..20), from in 0..70u64, len in 0..20u64) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (start, len) in inserted {
                ranges.insert(start..start + len);
                model.extend(start..start + len);
            }
            let numbers: Vec<u64> = ranges.iter().flatten().collect();
            prop_assert!(numbers.iter().eq(&model));
            let pairs: Vec<_> = ranges.iter().collect();
            prop_assert!(pairs.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(ranges.gap_at(from), (from..).find(|number| !model.contains(number)).unwrap());
            let missing = ranges.missing(from..from + len);
            prop_assert!(missing.iter().all(|range| !range.is_empty()));
            let expected: Vec<u64> = (from..from + len).filter(|number| !model.contains(number)).collect();
            prop_assert_eq!(missing.into_iter().flatten().collect::<Vec<_>>(), expected);
        }
    }
}
