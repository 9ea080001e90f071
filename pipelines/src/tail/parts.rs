//! Rows that are worked on part by part while they are scanned: they need never be all in memory, and several threads take part.

use std::sync::{Mutex, PoisonError};

use polars::prelude::DataFrame;

use super::{
    aggregate::Grouping,
    budget::{Budget, Exceeded, ROWS_AT_ONCE, Taken, frame_bytes},
    conform::widened,
    evaluate::Exprs,
    execute::Run,
};
use crate::{decode::ColumnSet, error::PipelineError, key::KeyFilter, partial::ReductionPart, types::Schema};

/// What is done to each row alone.
#[derive(Clone, Copy)]
pub(super) enum Step<'n> {
    Filter(&'n Exprs),
    Project(&'n Exprs),
}

impl Step<'_> {
    pub(super) fn of(self, rows: &DataFrame, budget: &Budget<'_>) -> Result<DataFrame, PipelineError> {
        Ok(match self {
            Step::Filter(predicate) => rows.filter_seq(&predicate.condition(rows, budget)?)?,
            Step::Project(exprs) => DataFrame::new(rows.height(), exprs.columns(rows, budget)?)?,
        })
    }
}

/// A scan, and the steps above it.
pub(super) struct Parts<'n> {
    pub(super) view: &'n str,
    pub(super) keys: &'n KeyFilter,
    pub(super) schema: &'n Schema,
    pub(super) columns: &'n ColumnSet,
    pub(super) steps: Vec<Step<'n>>,
}

impl<'n> Parts<'n> {
    pub(super) fn then(mut self, step: Step<'n>) -> Parts<'n> {
        self.steps.push(step);
        self
    }

    /// What becomes of a part of the rows scanned.
    fn of<'b>(&self, part: DataFrame, budget: &'b Budget<'_>) -> Result<(DataFrame, Taken<'b>), PipelineError> {
        let mut rows = widened(part, self.schema, self.columns)?;
        let mut taken = budget.take(frame_bytes(&rows))?;
        for step in &self.steps {
            budget.check()?;
            rows = step.of(&rows, budget)?;
            // The rows before are given back only with these.
            taken.grow(frame_bytes(&rows))?;
        }
        Ok((rows, taken))
    }
}

/// The groups of the rows that one thread at a time has taken.
struct Groups<'b> {
    part: ReductionPart,
    taken: Taken<'b>,
}

impl Groups<'_> {
    /// Adds rows; whether no expression failed.
    fn push(&mut self, rows: &DataFrame, budget: &Budget<'_>) -> Result<bool, PipelineError> {
        for start in (0..rows.height()).step_by(ROWS_AT_ONCE) {
            budget.check()?;
            if !self.part.push(&rows.slice(start as i64, ROWS_AT_ONCE))? {
                return Ok(false);
            }
            self.taken.grow_to(self.part.memory_bytes() as u64)?;
        }
        Ok(true)
    }
}

/// Why taking parts was given up.
enum Given {
    /// The run may not go on.
    Exceeded(PipelineError),
    /// Something failed for a row. Which one is told depends on all rows.
    Failed,
}

impl Grouping {
    /// One row per group of the rows in parts; `None` if something failed for one of them.
    pub(super) fn execute_parts(&self, parts: &Parts<'_>, run: Run<'_>) -> Result<Option<DataFrame>, PipelineError> {
        let budget = run.budget;
        let idle: Mutex<Vec<Groups<'_>>> = Mutex::default();
        let given_up: Mutex<Option<Given>> = Mutex::default();
        let add = |part: DataFrame| {
            let (rows, _taken) = parts.of(part, budget)?;
            let waiting = lock(&idle).pop();
            let mut groups = match waiting {
                Some(groups) => groups,
                None => Groups { part: self.reduction().part(), taken: budget.take(0)? },
            };
            let all_good = groups.push(&rows, budget)?;
            lock(&idle).push(groups);
            Ok(all_good)
        };
        let take = |part: DataFrame| {
            let why = match add(part) {
                Ok(true) => return Ok(()),
                Err(error @ PipelineError::Exceeded(_)) => Given::Exceeded(error),
                Ok(false) | Err(_) => Given::Failed,
            };
            lock(&given_up).get_or_insert(why);
            // Whatever reads ends here; this says nothing to anyone.
            Err(PipelineError::Exceeded(Exceeded::Stopped))
        };
        let scanned = run.relations.scan_parts(parts.view, parts.keys, parts.columns, &take);
        match given_up.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Given::Exceeded(error)) => return Err(error),
            Some(Given::Failed) => return Ok(None),
            None => scanned.map_err(PipelineError::Relation)?,
        }
        let groups = idle.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Sorting and merging the groups takes as much again.
        let bytes = groups.iter().map(|groups| groups.part.memory_bytes() as u64).sum();
        let _taken = budget.take(bytes)?;
        let (parts, _held): (Vec<ReductionPart>, Vec<Taken<'_>>) =
            groups.into_iter().map(|groups| (groups.part, groups.taken)).unzip();
        Ok(Some(self.reduction().end(parts)?))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
