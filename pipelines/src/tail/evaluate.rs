//! Expressions of a tail over one frame: a row for which one fails ends the query.

use polars::prelude::{BooleanChunked, Column, DataFrame, IdxCa, IdxSize, PlSmallStr};

use crate::{
    canonical::encode_rows,
    error::{Failure, PipelineError},
    expr::{CompiledExpr, Expr},
    registry::Registry,
    rows::describe_row,
    types::Schema,
};

/// Expressions over one input, each with the name of its output column (or clause).
#[derive(Clone, Debug)]
pub(super) struct Exprs {
    input: Schema,
    outputs: Vec<(PlSmallStr, CompiledExpr)>,
}

impl Exprs {
    pub(super) fn compile<'a>(
        exprs: impl IntoIterator<Item = (&'a str, &'a Expr)>,
        input: &Schema,
        registry: &Registry,
    ) -> Result<Exprs, PipelineError> {
        let outputs = exprs
            .into_iter()
            .map(|(name, expr)| Ok((name.into(), CompiledExpr::compile(expr, input, registry)?)))
            .collect::<Result<_, PipelineError>>()?;
        Ok(Exprs { input: input.clone(), outputs })
    }

    /// One column per expression, under its name. The first expression with a failure decides the error.
    pub(super) fn columns(&self, frame: &DataFrame) -> Result<Vec<Column>, PipelineError> {
        self.outputs
            .iter()
            .map(|(name, expr)| {
                let evaluated = expr.evaluate(frame)?;
                if !evaluated.failures.is_empty() {
                    return Err(failure(name, frame, &self.input, &evaluated.failures)?);
                }
                Ok(evaluated.column.with_name(name.clone()))
            })
            .collect()
    }

    /// The only expression's value, a condition.
    pub(super) fn condition(&self, frame: &DataFrame) -> Result<BooleanChunked, PipelineError> {
        let columns = self.columns(frame)?;
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
