//! Ranking window functions. Within a partition rows have a total order: `ORDER BY`, then the whole row.

use std::ops::Range;

use polars::prelude::{Column, DataFrame, IdxCa, IdxSize, Int64Chunked, IntoColumn as _, NewChunkedArray as _};

use super::{
    RankFunction, WindowFunction,
    budget::Budget,
    evaluate::Exprs,
    sort::{OrderBytes, SortKeys},
};
use crate::{
    canonical::{encode_columns, encode_rows},
    error::PipelineError,
    key::EncodedKeys,
    registry::Registry,
    types::Schema,
};

/// A window function, compiled.
#[derive(Clone, Debug)]
pub(super) struct Ranking {
    name: String,
    kind: Kind,
    partition_by: Exprs,
    order_by: SortKeys,
}

#[derive(Clone, Debug)]
enum Kind {
    RowNumber,
    Rank,
    DenseRank,
    NTile(u64),
    /// The value `by` rows before (negative) or after.
    Shift {
        value: Exprs,
        by: i64,
    },
}

impl Ranking {
    pub(super) fn compile(
        function: &WindowFunction,
        name: &str,
        input: &Schema,
        registry: &Registry,
    ) -> Result<Ranking, PipelineError> {
        let shift = |value, by: u64, sign: i64| -> Result<Kind, PipelineError> {
            let by = i64::try_from(by).unwrap_or(i64::MAX) * sign;
            Ok(Kind::Shift { value: Exprs::compile([(name, value)], input, registry)?, by })
        };
        let kind = match &function.function {
            RankFunction::RowNumber => Kind::RowNumber,
            RankFunction::Rank => Kind::Rank,
            RankFunction::DenseRank => Kind::DenseRank,
            RankFunction::NTile(0) => {
                return Err(PipelineError::Definition("NTILE takes a number of at least 1".into()));
            }
            RankFunction::NTile(tiles) => Kind::NTile(*tiles),
            RankFunction::Lag { value, by } => shift(value, *by, -1)?,
            RankFunction::Lead { value, by } => shift(value, *by, 1)?,
        };
        let partition_by = function.partition_by.iter().map(|expr| ("PARTITION BY", expr));
        Ok(Ranking {
            name: name.to_owned(),
            kind,
            partition_by: Exprs::compile(partition_by, input, registry)?,
            order_by: SortKeys::compile(&function.order_by, input, registry)?,
        })
    }

    /// The function's column, in the frame's row order.
    pub(super) fn column(&self, frame: &DataFrame, budget: &Budget<'_>) -> Result<Column, PipelineError> {
        let _taken = (budget.take_encoded(frame)?, budget.take_encoded(frame)?);
        let partitions = encode_columns(&self.partition_by.columns(frame, budget)?, frame.height())?;
        let orders = self.order_by.encode(frame, budget)?;
        budget.check()?;
        let rows = encode_rows(frame)?;
        let mut order: Vec<IdxSize> = (0..frame.height() as IdxSize).collect();
        order.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            (partitions.get(a).cmp(partitions.get(b)))
                .then_with(|| orders.get(a).cmp(orders.get(b)))
                .then_with(|| rows.get(a).cmp(rows.get(b)))
        });
        let ranges = runs(&order, &partitions);
        if let Kind::Shift { value, by } = &self.kind {
            let values = value.columns(frame, budget)?;
            return self.shifted(values, *by, &order, &ranges);
        }
        let mut ranks = vec![0i64; frame.height()];
        for range in ranges {
            self.rank(&order[range], &orders, &mut ranks);
        }
        Ok(Int64Chunked::from_vec(self.name.as_str().into(), ranks).into_column())
    }

    /// Ranks the rows of one partition, given in order.
    fn rank(&self, partition: &[IdxSize], orders: &OrderBytes, ranks: &mut [i64]) {
        let (mut rank, mut dense) = (1, 1);
        for (index, row) in partition.iter().enumerate() {
            let row = *row as usize;
            let position = index as i64 + 1;
            if index > 0 && orders.get(partition[index - 1] as usize) != orders.get(row) {
                rank = position;
                dense += 1;
            }
            ranks[row] = match &self.kind {
                Kind::RowNumber => position,
                Kind::Rank => rank,
                Kind::DenseRank => dense,
                Kind::NTile(tiles) => tile(index as u64, partition.len() as u64, *tiles),
                Kind::Shift { .. } => unreachable!("shifts have no rank"),
            };
        }
    }

    fn shifted(
        &self,
        values: Vec<Column>,
        by: i64,
        order: &[IdxSize],
        ranges: &[Range<usize>],
    ) -> Result<Column, PipelineError> {
        let mut sources: Vec<Option<IdxSize>> = vec![None; order.len()];
        for range in ranges {
            let partition = &order[range.clone()];
            for (index, row) in partition.iter().enumerate() {
                let source = (index as i64).checked_add(by).and_then(|i| usize::try_from(i).ok());
                sources[*row as usize] = source.and_then(|i| partition.get(i)).copied();
            }
        }
        let sources = IdxCa::from_iter_options("sources".into(), sources.into_iter());
        let frame = DataFrame::new(order.len(), values)?.take(&sources)?;
        Ok(frame.columns()[0].clone().with_name(self.name.as_str().into()))
    }
}

/// Ranges of `order` with equal keys.
fn runs(order: &[IdxSize], keys: &EncodedKeys) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut begin = 0;
    for end in 1..=order.len() {
        if end == order.len() || keys.get(order[end - 1] as usize) != keys.get(order[end] as usize) {
            runs.push(begin..end);
            begin = end;
        }
    }
    runs
}

/// SQL's `NTILE`: the first `rows % tiles` tiles have one row more than the others.
fn tile(index: u64, rows: u64, tiles: u64) -> i64 {
    let (small, larger) = (rows / tiles, rows % tiles);
    let in_larger = larger * (small + 1);
    let tile = if index < in_larger { index / (small + 1) } else { larger + (index - in_larger) / small.max(1) };
    tile as i64 + 1
}

#[cfg(test)]
mod tests {
    use super::tile;

    #[test]
    fn tiles_differ_by_one_row_at_most() {
        let tiles = |rows, tiles| (0..rows).map(|i| tile(i, rows, tiles)).collect::<Vec<_>>();
        assert_eq!(tiles(5, 2), [1, 1, 1, 2, 2]);
        assert_eq!(tiles(3, 5), [1, 2, 3]);
        assert_eq!(tiles(6, 3), [1, 1, 2, 2, 3, 3]);
    }
}
