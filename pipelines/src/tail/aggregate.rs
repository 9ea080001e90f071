//! `GROUP BY` of a tail, through the same accumulators as a core's.

use polars::prelude::DataFrame;

use super::{
    budget::{Budget, ROWS_AT_ONCE},
    evaluate::failure,
};
use crate::{
    aggregate::AggregateCall,
    error::{Failure, PipelineError},
    expr::Expr,
    partial::{Reduced, Reduction},
    registry::Registry,
    types::Schema,
};

/// A grouping, compiled.
#[derive(Clone, Debug)]
pub(super) struct Grouping {
    reduction: Reduction,
    input: Schema,
}

impl Grouping {
    pub(super) fn compile(
        keys: &[Expr],
        aggregates: &[AggregateCall],
        input: &Schema,
        output: &Schema,
        registry: &Registry,
    ) -> Result<Grouping, PipelineError> {
        let reduction = Reduction::compile(keys, aggregates, input, output, registry)?;
        Ok(Grouping { reduction, input: input.clone() })
    }

    pub(super) fn reduction(&self) -> &Reduction {
        &self.reduction
    }

    /// One row per group.
    pub(super) fn execute(&self, frame: &DataFrame, budget: &Budget<'_>) -> Result<DataFrame, PipelineError> {
        let mut taken = budget.take(0)?;
        let reduced = self.reduction.reduce_in_stretches(frame, ROWS_AT_ONCE, |bytes| {
            budget.check()?;
            taken.grow_to(bytes as u64)
        })?;
        let mut failed = match reduced {
            Reduced::Rows(rows) => return Ok(rows),
            Reduced::Failed(failed) => failed,
        };
        // Rows may fail in different columns; report one column, whichever rows there are.
        failed.sort_by(|a, b| a.column.cmp(&b.column));
        let column = failed.first().map(|first| first.column.clone()).unwrap_or_default();
        let rows: Vec<(u32, Failure)> =
            failed.iter().filter(|f| f.column == column).map(|f| (f.row, f.failure)).collect();
        Err(failure(&column, frame, &self.input, &rows)?)
    }
}
