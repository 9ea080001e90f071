//! Folding a range of the log once more: for a bound inside a run, and for views that lack a range.

use std::sync::Arc;

use watershed_log::{EventLog, LogError};

use super::{Lane, Status};
use crate::{
    error::Result,
    fold::Folded,
    run::{Offsets, Run, Span, max, min},
};

/// A slice's runs on both sides of a bound.
#[derive(Default)]
pub(crate) struct Divided {
    below: Vec<Arc<Run>>,
    above: Vec<Arc<Run>>,
}

/// The same records with a span that differs in partitions without any.
fn moved(mut run: Arc<Run>, span: Span) -> Arc<Run> {
    if run.span != span {
        Arc::make_mut(&mut run).span = span;
    }
    run
}

impl Lane {
    /// The runs of a slice, divided by a bound; a run that the bound goes through is folded again in two parts. Changes
    /// nothing yet.
    pub fn divide(&mut self, log: &dyn EventLog, slice: usize, bound: &Offsets) -> Result<Divided> {
        let mut divided = Divided::default();
        for run in self.slices[slice].clone() {
            let below = Span { low: min(&run.span.low, bound), high: min(&run.span.high, bound) };
            let above = Span { low: max(&run.span.low, bound), high: max(&run.span.high, bound) };
            if above.is_empty() {
                divided.below.push(moved(run, below));
            } else if below.is_empty() {
                divided.above.push(moved(run, above));
            } else {
                let wanted: Vec<bool> = run.views.iter().map(Option::is_some).collect();
                divided.below.push(Arc::new(self.fold_span(log, below, &wanted)?));
                divided.above.push(Arc::new(self.fold_span(log, above, &wanted)?));
            }
        }
        Ok(divided)
    }

    /// Puts a bound where [`Lane::divide`] divided.
    pub fn split(&mut self, slice: usize, bound: Offsets, divided: Divided) {
        self.bounds.insert(slice, bound);
        self.slices[slice] = divided.below;
        self.slices.insert(slice + 1, divided.above);
    }

    /// Does one step of what views still lack: the log below the cut for views without a batch part, or a run from before a
    /// view was kept again. Returns whether there was something to do.
    pub fn rebuild(&mut self, log: &dyn EventLog) -> Result<bool> {
        if self.damaged.is_some() {
            return Ok(false);
        }
        if !self.base.todo.is_empty() {
            return match self.backfill(log) {
                Err(crate::SpeedError::Log(LogError::BelowStart { .. })) => {
                    self.give_up_unbuilt();
                    Ok(true)
                }
                done => done.map(|()| true),
            };
        }
        let kept = self.kept();
        let of_base: Vec<bool> = kept.iter().zip(&self.views).map(|(kept, view)| *kept && !view.built).collect();
        let lacks = |run: &Run, kept: &[bool]| run.views.iter().zip(kept).any(|(view, kept)| *kept && view.is_none());
        if let Some(index) = self.base.runs.iter().position(|run| lacks(run, &of_base)) {
            let run = self.base.runs[index].clone();
            match self.complete(log, &run, &of_base) {
                Ok(run) => self.base.runs[index] = Arc::new(run),
                Err(crate::SpeedError::Log(LogError::BelowStart { .. })) => self.give_up_unbuilt(),
                Err(error) => return Err(error),
            }
            return Ok(true);
        }
        for slice in 0..self.slices.len() {
            if let Some(index) = self.slices[slice].iter().position(|run| lacks(run, &kept)) {
                let run = self.slices[slice][index].clone();
                self.slices[slice][index] = Arc::new(self.complete(log, &run, &kept)?);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn backfill(&mut self, log: &dyn EventLog) -> Result<()> {
        let Some(span) = self.base.todo.front().cloned() else { return Ok(()) };
        let wanted: Vec<bool> = self.views.iter().map(|view| !view.built && view.status == Status::Kept).collect();
        let (taken, folded) = self.fold_some(log, &span, &wanted)?;
        let left = Span { low: taken.high.clone(), high: span.high };
        let run = self.run(taken, folded);
        let mut runs = std::mem::take(&mut self.base.runs);
        runs.push(Arc::new(run));
        self.compact(&mut runs);
        self.base.runs = runs;
        if left.is_empty() {
            self.base.todo.pop_front();
        } else {
            self.base.todo[0] = left;
        }
        Ok(())
    }

    /// The log does not reach back far enough for views without a batch part.
    pub fn give_up_unbuilt(&mut self) {
        for view in self.views.iter_mut().filter(|view| !view.built && view.status == Status::Kept) {
            tracing::warn!(view = view.name, "the log no longer has all records of a view without a batch part");
            view.status = Status::NotBuilt;
        }
        self.base.todo.clear();
        self.base.runs.clear();
    }

    /// The run with the views that it lacks of those in `wanted`.
    fn complete(&mut self, log: &dyn EventLog, run: &Run, wanted: &[bool]) -> Result<Run> {
        let missing: Vec<bool> = run.views.iter().zip(wanted).map(|(view, wanted)| *wanted && view.is_none()).collect();
        let mut folded = self.fold_span(log, run.span.clone(), &missing)?;
        for (view, old) in folded.views.iter_mut().zip(&run.views) {
            if let Some(old) = old {
                *view = Some(old.clone());
            }
        }
        Ok(folded)
    }

    /// Folds a whole span into one run, step by step.
    fn fold_span(&mut self, log: &dyn EventLog, span: Span, wanted: &[bool]) -> Result<Run> {
        let mut runs: Vec<Arc<Run>> = Vec::new();
        let mut left = span.clone();
        while !left.is_empty() {
            let (taken, folded) = self.fold_some(log, &left, wanted)?;
            left.low.clone_from(&taken.high);
            let run = self.run(taken, folded);
            runs.push(Arc::new(run));
            self.compact(&mut runs);
        }
        Ok(match runs.as_slice() {
            [] => self.run(span, Folded { views: wanted.iter().map(|_| None).collect(), ..Folded::default() }),
            [run] => Run::clone(run),
            runs => self.merge(runs),
        })
    }
}
