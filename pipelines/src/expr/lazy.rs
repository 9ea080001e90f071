//! `AND`, `OR`, `COALESCE` and `CASE` whose later parts can fail: a part counts only for the rows that reach it.

use polars::prelude as pl;
use polars_arrow::{
    array::MutableBooleanArray,
    bitmap::{Bitmap, MutableBitmap},
};

use super::{
    Evaluated, Failures,
    compile::{Active, Node, booleans},
    kernels::choose,
    lanes::Build,
};
use crate::{error::PipelineError, types::DataType};

/// The rows that are still undecided. Rows outside `active` are decided from the start.
struct Pending {
    rows: MutableBitmap,
    count: usize,
    failures: Failures,
}

impl Pending {
    fn new(height: usize, active: Active<'_>) -> Pending {
        let rows = match active {
            Some(active) => active.iter().collect(),
            None => MutableBitmap::from_len_set(height),
        };
        let count = height - rows.unset_bits();
        Pending { rows, count, failures: Failures::new() }
    }

    fn decide(&mut self, row: usize) {
        if self.rows.get(row) {
            self.rows.set(row, false);
            self.count -= 1;
        }
    }

    fn bitmap(&self) -> Bitmap {
        self.rows.clone().into()
    }

    /// Evaluates `node` for the pending rows; those that fail are decided.
    fn evaluate(&mut self, node: &Node, batch: &pl::DataFrame) -> Result<pl::Column, PipelineError> {
        let evaluated = node.evaluate(batch, Some(&self.bitmap()))?;
        for (row, failure) in evaluated.failures {
            if self.rows.get(row as usize) {
                self.failures.push((row, failure));
                self.decide(row as usize);
            }
        }
        Ok(evaluated.column)
    }

    fn into_failures(mut self) -> Failures {
        self.failures.sort_unstable();
        self.failures
    }
}

/// `AND` or `OR`: the first argument that is `until` decides.
pub(crate) fn logic(
    until: bool,
    arguments: &[Node],
    batch: &pl::DataFrame,
    active: Active<'_>,
) -> Result<Evaluated, PipelineError> {
    let height = batch.height();
    let mut pending = Pending::new(height, active);
    // What a row has when no argument decides it: `!until`, or NULL if an argument was NULL.
    let mut values: Vec<Option<bool>> = vec![Some(!until); height];
    for node in arguments {
        if pending.count == 0 {
            break;
        }
        let lanes = booleans(&pending.evaluate(node, batch)?)?;
        for (row, value) in values.iter_mut().enumerate() {
            if pending.rows.get(row) {
                match lanes.get(row) {
                    Some(v) if v == until => {
                        *value = Some(until);
                        pending.decide(row);
                    }
                    Some(_) => {}
                    None => *value = None,
                }
            }
        }
    }
    let failures = pending.into_failures();
    for (row, _) in &failures {
        values[*row as usize] = None;
    }
    let mut builder = <MutableBooleanArray as Build>::with_capacity(height);
    values.into_iter().for_each(|v| Build::push(&mut builder, v));
    Ok(Evaluated { column: Build::finish(builder, DataType::Boolean), failures })
}

/// `COALESCE`: the first argument that is not NULL.
pub(crate) fn coalesce(
    arguments: &[Node],
    data_type: DataType,
    batch: &pl::DataFrame,
    active: Active<'_>,
) -> Result<Evaluated, PipelineError> {
    let height = batch.height();
    let mut pending = Pending::new(height, active);
    let mut choice = vec![choose::NOTHING; height];
    let mut columns = Vec::new();
    for node in arguments {
        if pending.count == 0 {
            break;
        }
        let column = pending.evaluate(node, batch)?;
        let constant = column.len() == 1;
        let nulls = column.is_null();
        for (row, choice) in choice.iter_mut().enumerate() {
            if pending.rows.get(row) && nulls.get(if constant { 0 } else { row }) == Some(false) {
                *choice = columns.len() as u32;
                pending.decide(row);
            }
        }
        columns.push(column);
    }
    Ok(Evaluated { column: choose::choose(&columns, &choice, data_type)?, failures: pending.into_failures() })
}

/// `CASE`: the value of the first branch whose condition is true.
pub(crate) fn case(
    branches: &[(Node, Node)],
    otherwise: &Node,
    data_type: DataType,
    batch: &pl::DataFrame,
    active: Active<'_>,
) -> Result<Evaluated, PipelineError> {
    let height = batch.height();
    let mut pending = Pending::new(height, active);
    let mut choice = vec![choose::NOTHING; height];
    let mut columns = Vec::new();
    let mut failures = Failures::new();
    for (condition, value) in branches {
        if pending.count == 0 {
            break;
        }
        let lanes = booleans(&pending.evaluate(condition, batch)?)?;
        let mut taken = MutableBitmap::from_len_zeroed(height);
        for row in 0..height {
            if pending.rows.get(row) && lanes.get(row) == Some(true) {
                taken.set(row, true);
                pending.decide(row);
            }
        }
        take(value, taken.into(), &mut columns, &mut choice, &mut failures, batch)?;
    }
    let rest = pending.bitmap();
    take(otherwise, rest, &mut columns, &mut choice, &mut failures, batch)?;
    failures.extend(pending.into_failures());
    failures.sort_unstable();
    Ok(Evaluated { column: choose::choose(&columns, &choice, data_type)?, failures })
}

/// Evaluates a branch's value for the rows that take it.
fn take(
    value: &Node,
    taken: Bitmap,
    columns: &mut Vec<pl::Column>,
    choice: &mut [u32],
    failures: &mut Failures,
    batch: &pl::DataFrame,
) -> Result<(), PipelineError> {
    if taken.set_bits() == 0 {
        return Ok(());
    }
    let evaluated = value.evaluate(batch, Some(&taken))?;
    failures.extend(evaluated.failures.into_iter().filter(|(row, _)| taken.get_bit(*row as usize)));
    for row in taken.true_idx_iter() {
        choice[row] = columns.len() as u32;
    }
    columns.push(evaluated.column);
    Ok(())
}
