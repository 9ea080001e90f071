//! Our own kernels: functions that can fail, and those whose meaning in SQL is not polars'.

pub(crate) mod arithmetic;
pub(crate) mod cast;
pub(crate) mod choose;
pub(crate) mod decimal;
pub(crate) mod json;
pub(crate) mod math;
pub(crate) mod pattern;
pub(crate) mod temporal;
pub(crate) mod text;
pub(crate) mod user;

use polars::prelude as pl;

use super::{DateField, Evaluated, Failures, Function, Interval, TimeUnit, compile::Active};
use crate::{
    error::PipelineError,
    registry::Registry,
    time::{WindowClock, Zone},
    types::DataType,
};

/// A function with everything prepared that does not depend on the row.
pub(crate) enum Kernel {
    Arithmetic { operator: arithmetic::Operator, data_type: DataType },
    Math(Function),
    DecimalMath { function: Function, from: u8, data_type: DataType },
    Identity,
    Cast { from: DataType, to: DataType, safe: bool },
    In { data_type: DataType },
    Extreme { greatest: bool, data_type: DataType },
    Pattern(pattern::Pattern),
    Text(Function),
    Json { path: Vec<String> },
    DateTrunc { unit: TimeUnit, zone: Zone },
    Extract { field: DateField, zone: Zone },
    AddInterval { interval: Interval, from: DataType },
    DateDiff { unit: TimeUnit },
    ToTimestamp { from: DataType },
    EpochMicros,
    WindowStart(WindowClock),
    WindowEnd(WindowClock),
    User(user::UserCall),
}

impl Kernel {
    /// The kernel of a built-in function over arguments of these types.
    pub(crate) fn function(function: &Function, types: &[DataType], to: DataType) -> Result<Kernel, PipelineError> {
        use Function as F;
        let wrong = || {
            let types: Vec<String> = types.iter().map(DataType::to_string).collect();
            PipelineError::Definition(format!("{function:?} is not defined for ({})", types.join(", ")))
        };
        let first = types.first().copied().ok_or_else(wrong)?;
        if types.len() < minimum_arguments(function) {
            return Err(wrong());
        }
        Ok(match function {
            F::Add | F::Subtract | F::Multiply | F::Divide | F::Modulo | F::Negate | F::Abs => Kernel::Arithmetic {
                operator: arithmetic::Operator::of(function).ok_or_else(wrong)?,
                data_type: if first.is_numeric() { to } else { return Err(wrong()) },
            },
            F::Sign | F::Floor | F::Ceil | F::Round { .. } => match first {
                DataType::Decimal { scale, .. } => {
                    Kernel::DecimalMath { function: function.clone(), from: scale, data_type: to }
                }
                DataType::Double => Kernel::Math(function.clone()),
                DataType::Int | DataType::BigInt if *function == F::Sign => Kernel::Math(F::Sign),
                DataType::Int | DataType::BigInt if first == to => Kernel::Identity,
                _ => return Err(wrong()),
            },
            F::Sqrt | F::Ln | F::Log10 | F::Exp | F::Power => {
                if types.iter().any(|t| *t != DataType::Double) {
                    return Err(wrong());
                }
                Kernel::Math(function.clone())
            }
            F::In => Kernel::In { data_type: first },
            F::Greatest | F::Least => Kernel::Extreme { greatest: *function == F::Greatest, data_type: to },
            F::Like { .. } | F::RegexpLike { .. } | F::RegexpReplace { .. } | F::RegexpExtract { .. } => {
                Kernel::Pattern(pattern::Pattern::new(function)?)
            }
            F::Lower
            | F::Upper
            | F::Length
            | F::Trim
            | F::TrimStart
            | F::TrimEnd
            | F::Substring
            | F::Replace
            | F::StartsWith
            | F::EndsWith
            | F::Contains
            | F::Position
            | F::Left
            | F::Right
            | F::SplitPart
            | F::Concat => Kernel::Text(function.clone()),
            F::JsonValue { path } => Kernel::Json { path: path.clone() },
            F::DateTrunc { unit, time_zone } => {
                Kernel::DateTrunc { unit: *unit, zone: Zone::named(time_zone.as_deref())? }
            }
            F::Extract { field, time_zone } => {
                Kernel::Extract { field: *field, zone: Zone::named(time_zone.as_deref())? }
            }
            F::AddInterval { interval } => Kernel::AddInterval { interval: *interval, from: first },
            F::DateDiff { unit } => Kernel::DateDiff { unit: *unit },
            F::ToTimestamp => Kernel::ToTimestamp { from: first },
            F::EpochMicros => Kernel::EpochMicros,
            F::WindowStart { window } => Kernel::WindowStart(WindowClock::new(window)?),
            F::WindowEnd { window } => Kernel::WindowEnd(WindowClock::new(window)?),
            _ => return Err(wrong()),
        })
    }

    /// The kernel of a cast.
    pub(crate) fn cast(from: DataType, to: DataType, safe: bool) -> Result<Kernel, PipelineError> {
        if cast::exists(from, to) {
            Ok(Kernel::Cast { from, to, safe })
        } else {
            Err(PipelineError::Definition(format!("there is no CAST from {from} to {to}")))
        }
    }

    /// The call of a user's function.
    pub(crate) fn user(
        name: &str,
        version: u32,
        types: &[DataType],
        to: DataType,
        registry: &Registry,
    ) -> Result<Kernel, PipelineError> {
        Ok(Kernel::User(user::UserCall::new(name, version, types, to, registry)?))
    }

    /// The values for `height` rows. `failed` are rows for which an argument failed already: their arguments are NULL.
    pub(crate) fn evaluate(
        &self,
        arguments: &[pl::Column],
        height: usize,
        active: Active<'_>,
        failed: &Failures,
    ) -> Result<Evaluated, PipelineError> {
        match self {
            Kernel::Arithmetic { operator, data_type } => {
                arithmetic::evaluate(*operator, *data_type, arguments, height)
            }
            Kernel::Math(function) => math::evaluate(function, arguments, height),
            Kernel::DecimalMath { function, from, data_type } => {
                decimal::math(function, *from, *data_type, &arguments[0], height)
            }
            Kernel::Identity => Ok(Evaluated::infallible(arguments[0].clone())),
            Kernel::Cast { from, to, safe } => {
                let mut evaluated = cast::evaluate(*from, *to, &arguments[0], height)?;
                if *safe {
                    evaluated.failures.clear();
                }
                Ok(evaluated)
            }
            Kernel::In { data_type } => choose::is_in(*data_type, arguments, height),
            Kernel::Extreme { greatest, data_type } => choose::extreme(*greatest, *data_type, arguments, height),
            Kernel::Pattern(pattern) => pattern.evaluate(&arguments[0], height),
            Kernel::Text(function) => text::evaluate(function, arguments, height),
            Kernel::Json { path } => json::evaluate(path, &arguments[0], height),
            Kernel::DateTrunc { unit, zone } => temporal::date_trunc(*unit, *zone, &arguments[0], height),
            Kernel::Extract { field, zone } => temporal::extract(*field, *zone, &arguments[0], height),
            Kernel::AddInterval { interval, from } => temporal::add_interval(*interval, *from, &arguments[0], height),
            Kernel::DateDiff { unit } => temporal::date_diff(*unit, &arguments[0], &arguments[1], height),
            Kernel::ToTimestamp { from } => temporal::to_timestamp(*from, &arguments[0], height),
            Kernel::EpochMicros => temporal::epoch_micros(&arguments[0], height),
            Kernel::WindowStart(clock) => temporal::window_start(clock, &arguments[0], height),
            Kernel::WindowEnd(clock) => temporal::window_end(clock, &arguments[0], height),
            Kernel::User(call) => call.evaluate(arguments, height, active, failed),
        }
    }
}

fn minimum_arguments(function: &Function) -> usize {
    use Function as F;
    match function {
        F::Add | F::Subtract | F::Multiply | F::Divide | F::Modulo => 2,
        F::Power | F::In | F::DateDiff { .. } | F::Concat => 2,
        F::Substring | F::StartsWith | F::EndsWith | F::Contains | F::Position | F::Left | F::Right => 2,
        F::Replace | F::SplitPart => 3,
        _ => 1,
    }
}
