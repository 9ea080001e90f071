//! The keyed reduction that the core and the tail share.
#![allow(unused_variables)]

use polars::prelude::DataFrame;

use crate::{
    aggregate::AggregateCall,
    error::{Failure, PipelineError},
    expr::Expr,
    registry::Registry,
    types::Schema,
};

/// A compiled `GROUP BY`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reduction {}

/// What a reduction gives.
#[derive(Clone, Debug)]
pub enum Reduced {
    /// The groups, sorted by key: the columns of the output schema. Without keys: one row, even of nothing.
    Rows(DataFrame),
    /// An expression failed for these rows (of the input frame; one entry per row, the first failing column's).
    Failed(Vec<(u32, String, Failure)>),
}

impl Reduction {
    /// `output`: the columns of the result, keys then aggregates (their names and types).
    pub fn compile(
        keys: &[Expr],
        aggregates: &[AggregateCall],
        input: &Schema,
        output: &Schema,
        registry: &Registry,
    ) -> Result<Reduction, PipelineError> {
        todo!()
    }

    /// Reduces one frame.
    pub fn reduce(&self, frame: &DataFrame) -> Result<Reduced, PipelineError> {
        todo!()
    }
}
