//! Expressions that polars evaluates: planned once, evaluated on each batch.
//!
//! Planning a lazy query costs a third of a millisecond, which is most of the cost of a small batch. So an expression is planned
//! here once, over an empty frame, and its physical form kept. `polars-expr` and `polars-plan` are not a stable API: they are used
//! nowhere else. Only functions whose meaning in polars is SQL's, and which cannot fail, are admitted ([`is_native`]).

use std::sync::Arc;

use polars::prelude as pl;
use polars::prelude::{IntoLazy, OptFlags};
use polars_expr::{ExpressionConversionState, create_physical_expr, prelude::PhysicalExpr, state::ExecutionState};
use polars_plan::plans::{IR, LiteralValue};

use super::{Function, lanes};
use crate::{
    error::PipelineError,
    types::{DataType, Value},
};

/// `IN` lists up to this length become comparisons; longer ones are looked up in a hash table by our own kernel.
const SHORT_LIST: usize = 8;

/// Whether polars evaluates `function` of arguments of these types as SQL does. (Its comparisons order NaN last and equal to
/// itself, its `&` and `|` are three-valued.)
pub(crate) fn is_native(function: &Function, arguments: &[DataType]) -> bool {
    use Function as F;
    let doubles = arguments.iter().all(|a| *a == DataType::Double);
    match function {
        F::Add | F::Subtract | F::Multiply | F::Negate => doubles,
        F::Equal
        | F::NotEqual
        | F::Less
        | F::LessOrEqual
        | F::Greater
        | F::GreaterOrEqual
        | F::IsDistinctFrom
        | F::IsNotDistinctFrom => true,
        F::And | F::Or | F::Not | F::IsNull | F::IsNotNull | F::IsTrue => true,
        F::In => arguments.len() <= SHORT_LIST,
        F::NullIf => true,
        F::Coalesce => !arguments.is_empty(),
        _ => false,
    }
}

/// Whether polars' cast from `from` to `to` cannot fail and means what SQL's does.
pub(crate) fn is_native_cast(from: DataType, to: DataType) -> bool {
    matches!((from, to), (DataType::Int, DataType::BigInt | DataType::Double) | (DataType::BigInt, DataType::Double))
}

/// An expression for polars, over inputs that are known by number.
#[derive(Clone)]
pub(crate) struct Native(pl::Expr);

impl Native {
    /// Input number `index`.
    pub(crate) fn input(index: usize) -> Native {
        Native(pl::col(input_name(index)))
    }

    /// A typed constant.
    pub(crate) fn constant(value: &Value, data_type: DataType) -> Result<Native, PipelineError> {
        Native::constant_column(&lanes::constant(value, data_type)?)
    }

    /// The constant in a column of one row.
    pub(crate) fn constant_column(column: &pl::Column) -> Result<Native, PipelineError> {
        let scalar = pl::Scalar::new(column.dtype().clone(), column.get(0)?.into_static());
        Ok(Native(pl::Expr::Literal(LiteralValue::Scalar(scalar))))
    }

    /// A call of a function that [`is_native`].
    pub(crate) fn call(function: &Function, arguments: Vec<Native>, to: DataType) -> Result<Native, PipelineError> {
        use Function as F;
        let mut rest = arguments.into_iter().map(|Native(expr)| expr);
        let unknown =
            || PipelineError::Definition(format!("{function:?} with these arguments is not planned by polars"));
        match function {
            F::And => return balanced(rest.collect(), pl::Expr::and).map(Native).ok_or_else(unknown),
            F::Or => return balanced(rest.collect(), pl::Expr::or).map(Native).ok_or_else(unknown),
            // From the right: WHEN a IS NOT NULL THEN a ELSE (the rest).
            F::Coalesce => {
                let choose = |later: pl::Expr, value: pl::Expr| {
                    pl::when(value.clone().is_not_null()).then(value).otherwise(later)
                };
                return rest.rev().reduce(choose).map(Native).ok_or_else(unknown);
            }
            _ => {}
        }
        let first = rest.next().ok_or_else(unknown)?;
        if *function == F::In {
            let equal = rest.map(|item| first.clone().eq(item)).collect();
            return balanced(equal, pl::Expr::or).map(Native).ok_or_else(unknown);
        }
        let expr = match (function, rest.next()) {
            (F::Negate, None) => pl::lit(-1.0f64) * first,
            (F::Not, None) => first.not(),
            (F::IsNull, None) => first.is_null(),
            (F::IsNotNull, None) => first.is_not_null(),
            (F::IsTrue, None) => first.eq_missing(pl::lit(true)),
            (F::Add, Some(second)) => first + second,
            (F::Subtract, Some(second)) => first - second,
            (F::Multiply, Some(second)) => first * second,
            (F::Equal, Some(second)) => first.eq(second),
            (F::NotEqual, Some(second)) => first.neq(second),
            (F::Less, Some(second)) => first.lt(second),
            (F::LessOrEqual, Some(second)) => first.lt_eq(second),
            (F::Greater, Some(second)) => first.gt(second),
            (F::GreaterOrEqual, Some(second)) => first.gt_eq(second),
            (F::IsDistinctFrom, Some(second)) => first.neq_missing(second),
            (F::IsNotDistinctFrom, Some(second)) => first.eq_missing(second),
            (F::NullIf, Some(second)) => {
                let null = Native::constant(&Value::Null, to)?.0;
                pl::when(first.clone().eq(second)).then(null).otherwise(first)
            }
            _ => return Err(unknown()),
        };
        Ok(Native(expr))
    }

    /// Searched `CASE`.
    pub(crate) fn case(branches: Vec<(Native, Native)>, otherwise: Native) -> Native {
        branches
            .into_iter()
            .rev()
            .fold(otherwise, |later, (condition, value)| Native(pl::when(condition.0).then(value.0).otherwise(later.0)))
    }

    /// A cast that [`is_native_cast`].
    pub(crate) fn cast(self, to: DataType) -> Native {
        Native(self.0.cast(to.to_polars()))
    }
}

/// Joins expressions by an associative operator, nesting as little as possible.
fn balanced(mut exprs: Vec<pl::Expr>, join: impl Fn(pl::Expr, pl::Expr) -> pl::Expr) -> Option<pl::Expr> {
    while exprs.len() > 1 {
        let mut pairs = exprs.into_iter();
        let mut joined = Vec::new();
        while let Some(left) = pairs.next() {
            joined.push(match pairs.next() {
                Some(right) => join(left, right),
                None => left,
            });
        }
        exprs = joined;
    }
    exprs.pop()
}

fn input_name(index: usize) -> pl::PlSmallStr {
    format!("i{index}").into()
}

/// A planned expression. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Planned {
    physical: Arc<dyn PhysicalExpr>,
    names: Arc<[pl::PlSmallStr]>,
}

impl Planned {
    /// Plans `expr` over inputs of these types.
    pub(crate) fn plan(expr: Native, inputs: &[DataType]) -> Result<Planned, PipelineError> {
        let names: Arc<[pl::PlSmallStr]> = (0..inputs.len()).map(input_name).collect();
        let schema: pl::Schema =
            inputs.iter().zip(names.iter()).map(|(t, n)| pl::Field::new(n.clone(), t.to_polars())).collect();
        let schema = Arc::new(schema);
        let plan = pl::DataFrame::empty_with_schema(&schema)
            .lazy()
            .with_optimizations(OptFlags::TYPE_COERCION | OptFlags::TYPE_CHECK | OptFlags::SIMPLIFY_EXPR)
            .select([expr.0.alias(lanes::VALUE)])
            .to_alp_optimized()?;
        let IR::Select { expr: exprs, .. } = plan.lp_arena.get(plan.lp_top) else {
            return Err(PipelineError::Definition("polars planned a projection as something else".to_owned()));
        };
        let [expr] = exprs.as_slice() else {
            return Err(PipelineError::Definition("polars planned one expression as several".to_owned()));
        };
        let mut arena = plan.expr_arena.clone();
        let mut state = ExpressionConversionState::new(false);
        let physical = create_physical_expr(expr, &mut arena, &schema, &mut state)?;
        Ok(Planned { physical, names })
    }

    /// Evaluates it over `inputs`, all `height` rows high or constants of one row.
    pub(crate) fn evaluate(&self, inputs: Vec<pl::Column>, height: usize) -> Result<pl::Column, PipelineError> {
        let mut columns = Vec::with_capacity(inputs.len());
        for (mut column, name) in inputs.into_iter().zip(self.names.iter()) {
            if column.len() != height {
                column = column.new_from_index(0, height);
            }
            column.rename(name.clone());
            columns.push(column);
        }
        let frame = pl::DataFrame::new(height, columns)?;
        let column = self.physical.evaluate(&frame, &ExecutionState::new())?;
        // Simplification may leave a constant.
        Ok(if column.len() == height { column } else { column.new_from_index(0, height) })
    }
}
