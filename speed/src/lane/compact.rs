//! Merging runs, so that there are few. Small merges happen at once; a large one may be left to another thread, so that new
//! records need not wait for it.

use std::sync::{
    Arc,
    mpsc::{Receiver, TryRecvError, channel},
};

use super::Lane;
use crate::{
    fold::Folded,
    run::{Run, Span, merge_from},
};

/// A merge under way on another thread.
pub(crate) struct Compaction {
    /// What is merged: stays as it is until the result is there.
    runs: Vec<Arc<Run>>,
    result: Receiver<Folded>,
}

impl Lane {
    /// Merges the newest runs where sizes ask for it.
    pub(super) fn compact(&mut self, runs: &mut Vec<Arc<Run>>) {
        let last = runs.len() - self.mergeable(runs);
        let sizes: Vec<u64> = runs[last..].iter().map(|run| run.records()).collect();
        let from = merge_from(&sizes);
        if sizes.len() - from < 2 {
            return;
        }
        let (from, records) = (last + from, sizes[from..].iter().sum::<u64>());
        if self.background && records > self.options.inline_merge_records_max {
            // With one under way, the next one waits until a later run asks for it again.
            if self.compaction.is_none() {
                self.compaction = Some(self.begin_compaction(runs[from..].to_vec()));
            }
            return;
        }
        let merged = self.merge(&runs[from..]);
        runs.truncate(from);
        runs.push(Arc::new(merged));
    }

    /// One run of several that follow each other.
    pub(super) fn merge(&mut self, runs: &[Arc<Run>]) -> Run {
        let folded = self.folder.merge_runs(runs);
        self.run(span_of(runs), folded)
    }

    fn begin_compaction(&self, runs: Vec<Arc<Run>>) -> Compaction {
        let (sender, result) = channel();
        let (folder, merging) = (self.folder.clone(), runs.clone());
        rayon::spawn(move || {
            // Nobody may be waiting any more: the lane is gone.
            let _ = sender.send(folder.merge_runs(&merging));
        });
        Compaction { runs, result }
    }

    /// Puts the result of a merge in the place of its runs, unless they have been dropped, divided or completed meanwhile.
    pub(super) fn adopt_compaction(&mut self) {
        let Some(compaction) = self.compaction.take() else { return };
        let folded = match compaction.result.try_recv() {
            Ok(folded) => folded,
            Err(TryRecvError::Empty) => {
                self.compaction = Some(compaction);
                return;
            }
            Err(TryRecvError::Disconnected) => return,
        };
        let merged = compaction.runs;
        let place = self.slices.iter().chain([&self.base.runs]).position(|runs| find(runs, &merged).is_some());
        let Some(place) = place else { return };
        let run = Arc::new(self.run(span_of(&merged), folded));
        let runs = self.slices.get_mut(place).unwrap_or(&mut self.base.runs);
        if let Some(at) = find(runs, &merged) {
            runs.splice(at..at + merged.len(), [run]);
        }
    }

    /// How many of the last runs may be merged with each other: they follow each other, keep the same views and are not being
    /// merged already.
    fn mergeable(&self, runs: &[Arc<Run>]) -> usize {
        let busy =
            |run: &Arc<Run>| self.compaction.as_ref().is_some_and(|c| c.runs.iter().any(|r| Arc::ptr_eq(r, run)));
        let same = |a: &Arc<Run>, b: &Arc<Run>| {
            let kept = a.views.iter().map(Option::is_some).eq(b.views.iter().map(Option::is_some));
            kept && a.span.high == b.span.low && !busy(a)
        };
        1 + runs.windows(2).rev().take_while(|pair| same(&pair[0], &pair[1])).count()
    }
}

/// Where `wanted` stand in `runs`, the very same and one after the other.
fn find(runs: &[Arc<Run>], wanted: &[Arc<Run>]) -> Option<usize> {
    let same = |window: &[Arc<Run>]| window.iter().zip(wanted).all(|(a, b)| Arc::ptr_eq(a, b));
    runs.windows(wanted.len()).position(same)
}

/// The span of runs that follow each other.
fn span_of(runs: &[Arc<Run>]) -> Span {
    Span { low: runs[0].span.low.clone(), high: runs[runs.len() - 1].span.high.clone() }
}
