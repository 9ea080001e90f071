//! `COUNT(*)`, `COUNT(x)`, and the place of `COUNT(DISTINCT x)`.

use polars::prelude::Column;

use crate::{
    aggregate::accumulator::{Aggregate, Cell, Rows, Stored, take_bytes, wrong_argument},
    columns::{self, TypedColumn, Values},
    error::PipelineError,
    types::DataType,
};

/// How many records. Encoding: 8 bytes, little endian.
impl Cell for u64 {
    fn merge(&mut self, other: &Self) {
        *self += other;
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.to_le_bytes());
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let count = u64::from_le_bytes(take_bytes(&mut bytes)?);
        bytes.is_empty().then_some(count)
    }
}

/// `COUNT`: of records for which the argument, if there is one, is not NULL.
#[derive(Clone, Debug)]
pub(super) struct Count;

impl Aggregate for Count {
    type Cell = u64;
    const STORED: Stored = Stored::Finished;

    fn update(&self, cells: &mut [u64], rows: &Rows, argument: Option<&TypedColumn>) -> Result<(), PipelineError> {
        rows.for_each(argument, |group, _| cells[group] += 1);
        Ok(())
    }

    fn finish(&self, name: &str, cells: &[u64]) -> Result<Column, PipelineError> {
        let counts = cells.iter().map(|n| i64::try_from(*n).unwrap_or(i64::MAX)).collect();
        Ok(columns::bigint_column(name, DataType::BigInt, counts, None))
    }

    fn restore(&self, finished: &TypedColumn, cells: &mut [u64]) -> Result<(), PipelineError> {
        let Values::BigInt(counts) = &finished.values else { return Err(wrong_argument()) };
        for (cell, count) in cells.iter_mut().zip(counts.values().iter()) {
            *cell = u64::try_from(*count).map_err(|_| PipelineError::Stored("a count is negative".to_owned()))?;
        }
        Ok(())
    }
}

/// Nothing: the state of `COUNT(DISTINCT x)` is in a table of its own. Encoding: no bytes.
#[derive(Clone, Default, Debug)]
pub(super) struct Elsewhere;

impl Cell for Elsewhere {
    fn merge(&mut self, _other: &Self) {}

    fn encode(&self, _into: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(Elsewhere)
    }
}

/// Holds the place of `COUNT(DISTINCT x)` among the aggregates; who finishes the groups fills in the counts.
#[derive(Clone, Debug)]
pub(super) struct CountDistinct;

impl Aggregate for CountDistinct {
    type Cell = Elsewhere;
    const STORED: Stored = Stored::Finished;

    fn update(&self, _: &mut [Elsewhere], _: &Rows, _: Option<&TypedColumn>) -> Result<(), PipelineError> {
        Ok(())
    }

    fn finish(&self, name: &str, cells: &[Elsewhere]) -> Result<Column, PipelineError> {
        Ok(columns::bigint_column(name, DataType::BigInt, vec![0; cells.len()], None))
    }
}
