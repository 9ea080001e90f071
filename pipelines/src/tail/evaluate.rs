//! Expressions of a tail over one frame: a row for which one fails ends the query.

use polars::prelude::{BooleanChunked, Column, DataFrame, IdxCa, IdxSize, PlSmallStr};

use super::{
    budget::{Budget, ROWS_AT_ONCE, Taken, column_bytes},
    conform::absent,
};
use crate::{
    canonical::encode_rows,
    decode::ColumnSet,
    error::{Failure, PipelineError},
    expr::{CompiledExpr, Expr, allowance},
    registry::Registry,
    rows::describe_row,
    types::{DataType, Schema},
};

/// Expressions over one input, each with the name of its output column (or clause).
#[derive(Clone, Debug)]
pub(super) struct Exprs {
    input: Schema,
    outputs: Vec<(PlSmallStr, Output)>,
}

#[derive(Clone, Debug)]
enum Output {
    /// One of the input's columns.
    Column(usize),
    Computed(CompiledExpr),
    /// Nobody looks at it.
    Absent(DataType),
}

impl Exprs {
    pub(super) fn compile<'a>(
        exprs: impl IntoIterator<Item = (&'a str, &'a Expr)>,
        input: &Schema,
        registry: &Registry,
    ) -> Result<Exprs, PipelineError> {
        let outputs = exprs
            .into_iter()
            .map(|(name, expr)| {
                let output = match expr {
                    Expr::Column { index, .. } => Output::Column(*index),
                    expr => Output::Computed(CompiledExpr::compile(expr, input, registry)?),
                };
                Ok((name.into(), output))
            })
            .collect::<Result<_, PipelineError>>()?;
        Ok(Exprs { input: input.clone(), outputs })
    }

    /// Only the outputs in `computed` are evaluated; the others, of the types in `schema`, have no values.
    pub(super) fn only(mut self, computed: &ColumnSet, schema: &Schema) -> Exprs {
        for (i, ((_, output), field)) in self.outputs.iter_mut().zip(&schema.fields).enumerate() {
            if !computed.contains(i) {
                *output = Output::Absent(field.data_type);
            }
        }
        self
    }

    /// One column per expression, under its name. The first expression with a failure decides the error.
    pub(super) fn columns(&self, frame: &DataFrame, budget: &Budget<'_>) -> Result<Vec<Column>, PipelineError> {
        let mut taken = budget.take(0)?;
        let column = |(name, output): &(PlSmallStr, Output)| match output {
            Output::Column(index) => Ok(frame.columns()[*index].clone().with_name(name.clone())),
            Output::Computed(expr) => self.column(name, expr, frame, (budget, &mut taken)),
            Output::Absent(data_type) => Ok(absent(name.as_str(), *data_type, frame.height())),
        };
        self.outputs.iter().map(column).collect()
    }

    /// The column of one expression, made of stretches of rows.
    fn column(
        &self,
        name: &PlSmallStr,
        expr: &CompiledExpr,
        frame: &DataFrame,
        (budget, taken): (&Budget<'_>, &mut Taken<'_>),
    ) -> Result<Column, PipelineError> {
        let mut whole: Option<Column> = None;
        let mut failures: Vec<(u32, Failure)> = Vec::new();
        let stretches = frame.height().div_ceil(ROWS_AT_ONCE).max(1);
        for start in (0..stretches).map(|stretch| stretch * ROWS_AT_ONCE) {
            budget.check()?;
            let rows = if stretches == 1 { frame.clone() } else { frame.slice(start as i64, ROWS_AT_ONCE) };
            let (evaluated, enough) = allowance::within(budget.left(), || expr.evaluate(&rows));
            let evaluated = evaluated?;
            if !enough {
                // Takes what there is, and more.
                taken.grow(budget.left().saturating_add(1))?;
            }
            failures.extend(evaluated.failures.iter().map(|(row, failure)| (row + start as u32, *failure)));
            taken.grow(column_bytes(&evaluated.column))?;
            match &mut whole {
                Some(whole) => {
                    whole.append(&evaluated.column)?;
                }
                None => whole = Some(evaluated.column),
            }
        }
        if !failures.is_empty() {
            return Err(failure(name, frame, &self.input, &failures)?);
        }
        let column = whole.unwrap_or_default();
        let column = if stretches == 1 { column } else { column.rechunk() };
        Ok(column.with_name(name.clone()))
    }

    /// The only expression's value, a condition.
    pub(super) fn condition(&self, frame: &DataFrame, budget: &Budget<'_>) -> Result<BooleanChunked, PipelineError> {
        let columns = self.columns(frame, budget)?;
        Ok(columns[0].bool()?.clone())
    }
}

/// The error for rows of `frame` in which the expression of `column` failed. It names the one that comes first in canonical
/// order, so that it does not depend on row order.
pub(super) fn failure(
    column: &str,
    frame: &DataFrame,
    schema: &Schema,
    failures: &[(u32, Failure)],
) -> Result<PipelineError, PipelineError> {
    let rows: Vec<IdxSize> = failures.iter().map(|(row, _)| *row as IdxSize).collect();
    let failed = frame.take(&IdxCa::from_vec("rows".into(), rows))?;
    let encoded = encode_rows(&failed)?;
    let first = (0..failures.len()).min_by(|a, b| encoded.get(*a).cmp(encoded.get(*b))).unwrap_or(0);
    Ok(PipelineError::Tail {
        column: column.to_owned(),
        failure: failures[first].1,
        row: describe_row(&failed, schema, first),
    })
}
