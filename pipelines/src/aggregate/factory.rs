//! Which accumulator an aggregate has.

use std::marker::PhantomData;

use crate::{
    aggregate::{
        AggregateCall, AggregateFunction,
        accumulator::{Accumulator, Cells, wrong_argument},
        count::{Count, CountDistinct},
        exact_double::ExactDouble,
        extreme::ExtremeOf,
        hyperloglog::ApproxCountDistinct,
        integer_sum::ExactInteger,
        moments::{Average, Variance},
        ordered::PlacedOf,
        quantile_sketch::ApproxPercentile,
        scalar::ShortDecimal,
        sum::{DoubleSum, IntegerSum},
    },
    error::PipelineError,
    types::DataType,
};

/// The accumulator `$of::<T, $flag>::new(type)` for T by the argument's type.
macro_rules! by_type {
    ($of:ident, $flag:literal, $data_type:expr) => {
        match $data_type {
            DataType::Boolean => Cells::boxed($of::<bool, $flag>::new($data_type)),
            DataType::Int | DataType::Date => Cells::boxed($of::<i32, $flag>::new($data_type)),
            DataType::BigInt | DataType::Timestamp => Cells::boxed($of::<i64, $flag>::new($data_type)),
            DataType::Double => Cells::boxed($of::<f64, $flag>::new($data_type)),
            DataType::Decimal { precision: ..=ShortDecimal::DIGITS, .. } => {
                Cells::boxed($of::<ShortDecimal, $flag>::new($data_type))
            }
            DataType::Decimal { .. } => Cells::boxed($of::<i128, $flag>::new($data_type)),
            DataType::Text | DataType::Json => Cells::boxed($of::<Box<str>, $flag>::new($data_type)),
        }
    };
}

/// An empty accumulator for an aggregate.
pub(crate) fn accumulator(call: &AggregateCall) -> Result<Box<dyn Accumulator>, PipelineError> {
    use AggregateFunction as F;
    let argument = call.argument.as_ref().map(|a| a.data_type());
    let scale = if let Some(DataType::Decimal { scale, .. }) = argument { scale } else { 0 };
    let number = || argument.filter(|t| t.is_numeric()).ok_or_else(wrong_argument);
    let any = || argument.ok_or_else(wrong_argument);
    let variance = |sample, root| -> Result<Box<dyn Accumulator>, PipelineError> {
        Ok(match number()? {
            DataType::Double => Cells::boxed(Variance::<ExactDouble> { sample, root, scale, values: PhantomData }),
            _ => Cells::boxed(Variance::<ExactInteger> { sample, root, scale, values: PhantomData }),
        })
    };
    Ok(match &call.function {
        F::CountStar | F::Count => Cells::boxed(Count),
        F::CountDistinct => Cells::boxed(CountDistinct),
        F::Sum => match number()? {
            DataType::Double => Cells::boxed(DoubleSum),
            _ => Cells::boxed(IntegerSum { data_type: call.data_type }),
        },
        F::Avg => match number()? {
            DataType::Double => Cells::boxed(Average::<ExactDouble>::new(0)),
            _ => Cells::boxed(Average::<ExactInteger>::new(scale)),
        },
        F::VarPop => variance(false, false)?,
        F::VarSamp => variance(true, false)?,
        F::StddevPop => variance(false, true)?,
        F::StddevSamp => variance(true, true)?,
        F::Min | F::BoolAnd => by_type!(ExtremeOf, false, any()?),
        F::Max | F::BoolOr | F::Only => by_type!(ExtremeOf, true, any()?),
        F::First => by_type!(PlacedOf, false, any()?),
        F::Last => by_type!(PlacedOf, true, any()?),
        F::ApproxCountDistinct => Cells::boxed(ApproxCountDistinct),
        F::ApproxPercentile { fraction } => {
            number()?;
            Cells::boxed(ApproxPercentile { fraction: *fraction, divisor: 10u128.pow(u32::from(scale)) })
        }
    })
}
