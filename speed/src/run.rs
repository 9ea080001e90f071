//! Runs: consecutive records of one source, and every view's partials over them.

use std::sync::Arc;

use watershed_log::Offset;
use watershed_pipelines::{partial::Partials, source::SourceCounts};

/// Offsets by partition.
pub(crate) type Offsets = Vec<Offset>;

/// The lower offset of each partition.
pub(crate) fn min(a: &[Offset], b: &[Offset]) -> Offsets {
    a.iter().zip(b).map(|(a, b)| *a.min(b)).collect()
}

/// The higher offset of each partition.
pub(crate) fn max(a: &[Offset], b: &[Offset]) -> Offsets {
    a.iter().zip(b).map(|(a, b)| *a.max(b)).collect()
}

/// A half-open range of offsets in every partition of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub low: Offsets,
    pub high: Offsets,
}

impl Span {
    pub fn records(&self) -> u64 {
        self.low.iter().zip(&self.high).map(|(low, high)| high.saturating_sub(*low)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.records() == 0
    }
}

/// Consecutive records of one source: their counts, and every view's partials over them. Immutable.
#[derive(Clone, Debug)]
pub struct Run {
    pub(crate) span: Span,
    pub(crate) counts: SourceCounts,
    /// One per view of the source; `None` where it is not kept.
    pub(crate) views: Vec<Option<ViewRun>>,
}

/// One view's partials of a run.
#[derive(Clone, Debug)]
pub(crate) struct ViewRun {
    pub partials: Arc<Partials>,
    pub bytes: usize,
}

impl ViewRun {
    /// Keeps the first `listed_max` rejected records by place.
    pub fn new(mut partials: Partials, listed_max: usize) -> Self {
        partials.rejected.truncate(listed_max);
        ViewRun { bytes: partials.memory_bytes(), partials: Arc::new(partials) }
    }
}

impl Run {
    /// The number of records.
    pub fn records(&self) -> u64 {
        self.span.records()
    }
}

/// Where merging begins: the start of the longest suffix of `sizes` in which no run is larger than twice all that follow it
/// together. So every run that is left is larger than that, there are O(log records) runs, and each time a record is merged its run
/// becomes at least half as large again: it is merged O(log records) times. (Where runs had to be as small as what follows, those
/// of nearly equal steps, each a little smaller than the one before, were left side by side.)
pub(crate) fn merge_from(sizes: &[u64]) -> usize {
    let mut from = sizes.len().saturating_sub(1);
    let mut total = sizes.last().copied().unwrap_or(0);
    while from > 0 && sizes[from - 1] <= 2 * total {
        from -= 1;
        total += sizes[from];
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes runs of these sizes, merging after each; the most runs there were, and how many records were merged.
    fn push(steps: impl Iterator<Item = u64>) -> (usize, u64) {
        let (mut sizes, mut most, mut merged) = (Vec::new(), 0, 0);
        for size in steps {
            sizes.push(size);
            let from = merge_from(&sizes);
            if from + 1 < sizes.len() {
                let total: u64 = sizes.drain(from..).sum();
                merged += total;
                sizes.push(total);
            }
            most = most.max(sizes.len());
        }
        (most, merged)
    }

    #[test]
    fn runs_stay_few_and_each_record_is_merged_seldom() {
        let (most, merged) = push(std::iter::repeat_n(1, 10_000));
        assert!(most <= 15 && merged < 10_000 * 15, "{most} runs, {merged} merged");
    }

    #[test]
    fn steps_of_nearly_equal_sizes_do_not_pile_up() {
        let (most, merged) = push((0..32).map(|step| 200_000 - step * 1_000));
        assert!(most <= 6 && merged < 32 * 200_000 * 6, "{most} runs, {merged} merged");
    }
}
