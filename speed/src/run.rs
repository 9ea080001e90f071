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

/// From which end merging begins: the start of the longest suffix of `sizes` in which every run is at most as large as all that
/// follow it together. So sizes at least double from the end to the start, there are O(log records) runs, and a
/// record is merged O(log records) times.
pub(crate) fn merge_from(sizes: &[u64]) -> usize {
    let mut from = sizes.len().saturating_sub(1);
    let mut total = sizes.last().copied().unwrap_or(0);
    while from > 0 && sizes[from - 1] <= total {
        from -= 1;
        total += sizes[from];
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stay_few_and_each_record_is_merged_seldom() {
        let mut sizes: Vec<u64> = Vec::new();
        let mut merged = 0;
        for _ in 0..10_000 {
            sizes.push(1);
            let from = merge_from(&sizes);
            if from + 1 < sizes.len() {
                let total: u64 = sizes.drain(from..).sum();
                merged += total;
                sizes.push(total);
            }
            assert!(sizes.len() <= 15);
        }
        assert_eq!(sizes.iter().sum::<u64>(), 10_000);
        assert!(merged < 10_000 * 15, "{merged}");
    }
}
