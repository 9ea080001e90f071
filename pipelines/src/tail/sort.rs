//! `ORDER BY`: sort keys as bytes, and the order of rows by them.

use polars::prelude::{Column, DataFrame, IdxCa, IdxSize};

use super::{SortKey, budget::Budget, evaluate::Exprs};
use crate::{
    canonical::{encode_columns, encode_rows},
    error::PipelineError,
    registry::Registry,
    types::Schema,
};

const NULL_FIRST: u8 = 0;
const NOT_NULL: u8 = 1;
const NULL_LAST: u8 = 2;

/// `ORDER BY` items, compiled.
#[derive(Clone, Debug)]
pub(super) struct SortKeys {
    exprs: Exprs,
    directions: Vec<Direction>,
}

#[derive(Clone, Copy, Debug)]
struct Direction {
    descending: bool,
    nulls_first: bool,
}

impl SortKeys {
    pub(super) fn compile(by: &[SortKey], input: &Schema, registry: &Registry) -> Result<SortKeys, PipelineError> {
        let exprs = Exprs::compile(by.iter().map(|key| ("ORDER BY", &key.expr)), input, registry)?;
        let directions =
            by.iter().map(|k| Direction { descending: k.descending, nulls_first: k.nulls_first }).collect();
        Ok(SortKeys { exprs, directions })
    }

    /// For each row the bytes whose order is the order asked for.
    pub(super) fn encode(&self, frame: &DataFrame, budget: &Budget<'_>) -> Result<OrderBytes, PipelineError> {
        let columns = self.exprs.columns(frame, budget)?;
        let mut bytes = OrderBytes::default();
        let encoded = columns
            .iter()
            .map(|column| encode_columns(std::slice::from_ref(column), frame.height()))
            .collect::<Result<Vec<_>, PipelineError>>()?;
        let nulls: Vec<_> = columns.iter().map(Column::is_null).collect();
        for row in 0..frame.height() {
            for ((keys, nulls), direction) in encoded.iter().zip(&nulls).zip(&self.directions) {
                if nulls.get(row) == Some(true) {
                    bytes.arena.push(if direction.nulls_first { NULL_FIRST } else { NULL_LAST });
                    continue;
                }
                bytes.arena.push(NOT_NULL);
                // Every key is self-delimiting, so no one is a prefix of another and inverting its bytes inverts its order.
                let invert = if direction.descending { 0xff } else { 0 };
                bytes.arena.extend(keys.get(row).iter().map(|byte| byte ^ invert));
            }
            bytes.ends.push(bytes.arena.len());
        }
        Ok(bytes)
    }
}

/// One byte string per row.
#[derive(Clone, Debug, Default)]
pub(super) struct OrderBytes {
    arena: Vec<u8>,
    ends: Vec<usize>,
}

impl OrderBytes {
    pub(super) fn get(&self, row: usize) -> &[u8] {
        let begin = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.arena[begin..self.ends[row]]
    }
}

/// The first `top` rows (all if `None`) in the order of `keys`; ties in canonical order of the whole row.
pub(super) fn sort(
    frame: &DataFrame,
    keys: &SortKeys,
    top: Option<usize>,
    budget: &Budget<'_>,
) -> Result<DataFrame, PipelineError> {
    // The keys, and the whole rows for ties.
    let _taken = (budget.take_encoded(frame)?, budget.take_encoded(frame)?);
    let order_bytes = keys.encode(frame, budget)?;
    budget.check()?;
    let rows = encode_rows(frame)?;
    let compare = |a: &IdxSize, b: &IdxSize| {
        let (a, b) = (*a as usize, *b as usize);
        order_bytes.get(a).cmp(order_bytes.get(b)).then_with(|| rows.get(a).cmp(rows.get(b)))
    };
    let mut order: Vec<IdxSize> = (0..frame.height() as IdxSize).collect();
    if let Some(top) = top
        && top < order.len()
    {
        if top > 0 {
            order.select_nth_unstable_by(top - 1, compare);
        }
        order.truncate(top);
    }
    order.sort_unstable_by(compare);
    Ok(frame.take(&IdxCa::from_vec("order".into(), order))?)
}
