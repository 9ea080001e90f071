//! The types that an expression must have: what the planner ensures, checked once more before kernels rely on it.

use super::{Expr, Function};
use crate::{error::PipelineError, types::DataType};

/// Checks the types of an expression's direct arguments.
pub(crate) fn check_types(expr: &Expr) -> Result<(), PipelineError> {
    let right = match expr {
        Expr::Call { function, args, data_type } => {
            let types: Vec<DataType> = args.iter().map(Expr::data_type).collect();
            !types.is_empty() && call(function, &types, *data_type)
        }
        Expr::Case { branches, otherwise, data_type } => {
            let values = branches.iter().map(|(_, value)| value).chain(otherwise.as_deref());
            branches.iter().all(|(condition, _)| condition.data_type() == DataType::Boolean)
                && values.into_iter().all(|v| same(v.data_type(), *data_type))
        }
        _ => true,
    };
    if right { Ok(()) } else { Err(PipelineError::Definition(format!("an expression has the wrong types: {expr:?}"))) }
}

/// Whether columns of these types look the same: a decimal's precision does not show.
fn same(a: DataType, b: DataType) -> bool {
    a.to_polars() == b.to_polars()
}

fn call(function: &Function, types: &[DataType], to: DataType) -> bool {
    use Function as F;
    let all = |wanted: DataType| types.iter().all(|t| same(*t, wanted));
    let scale = |t: &DataType| if let DataType::Decimal { scale, .. } = t { Some(*scale) } else { None };
    match function {
        F::Multiply if scale(&to).is_some() => {
            let scales: Option<Vec<u8>> = types.iter().map(scale).collect();
            scales.is_some_and(|s| Some(s.iter().map(|s| u32::from(*s)).sum()) == scale(&to).map(u32::from))
        }
        F::Divide => all(to) && scale(&to).is_none() && to.is_numeric(),
        F::Add | F::Subtract | F::Multiply | F::Modulo | F::Negate | F::Abs => all(to) && to.is_numeric(),
        F::Equal
        | F::NotEqual
        | F::Less
        | F::LessOrEqual
        | F::Greater
        | F::GreaterOrEqual
        | F::IsDistinctFrom
        | F::IsNotDistinctFrom
        | F::In => all(types[0]),
        F::And | F::Or | F::Not | F::IsTrue => all(DataType::Boolean),
        F::Coalesce | F::NullIf | F::Greatest | F::Least => all(to),
        _ => true,
    }
}
