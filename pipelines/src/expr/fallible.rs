//! Which expressions can fail.

use super::{Expr, Function, kernels::cast};
use crate::types::DataType;

/// Whether evaluating `expr` can fail for a row. When in doubt, it can.
pub(crate) fn fallible(expr: &Expr) -> bool {
    super::deep(|| can_fail(expr))
}

fn can_fail(expr: &Expr) -> bool {
    match expr {
        Expr::Column { .. } | Expr::Literal { .. } => false,
        Expr::Call { function, args, data_type } => {
            function_can_fail(function, args, *data_type) || args.iter().any(fallible)
        }
        Expr::Case { branches, otherwise, .. } => {
            branches.iter().any(|(c, v)| fallible(c) || fallible(v)) || otherwise.as_deref().is_some_and(fallible)
        }
        Expr::Cast { input, to, safe } => (!safe && cast::can_fail(input.data_type(), *to)) || fallible(input),
        Expr::User { .. } => true,
    }
}

fn function_can_fail(function: &Function, args: &[Expr], data_type: DataType) -> bool {
    use Function as F;
    let argument = args.first().map(Expr::data_type);
    match function {
        F::Add | F::Subtract | F::Multiply | F::Negate | F::Abs => data_type != DataType::Double,
        F::Sign => argument == Some(DataType::Double),
        F::Floor | F::Ceil | F::Round { .. } => matches!(argument, Some(DataType::Decimal { .. })),
        F::Equal
        | F::NotEqual
        | F::Less
        | F::LessOrEqual
        | F::Greater
        | F::GreaterOrEqual
        | F::IsDistinctFrom
        | F::IsNotDistinctFrom
        | F::And
        | F::Or
        | F::Not
        | F::IsNull
        | F::IsNotNull
        | F::IsTrue
        | F::In
        | F::Coalesce
        | F::NullIf
        | F::Greatest
        | F::Least
        | F::Like { .. }
        | F::RegexpLike { .. }
        | F::RegexpExtract { .. }
        | F::Lower
        | F::Upper
        | F::Trim
        | F::TrimStart
        | F::TrimEnd
        | F::StartsWith
        | F::EndsWith
        | F::Contains
        | F::Left
        | F::Right
        | F::JsonValue { .. }
        | F::Exp
        | F::Power
        | F::Extract { .. }
        | F::DateDiff { .. }
        | F::EpochMicros => false,
        _ => true,
    }
}
