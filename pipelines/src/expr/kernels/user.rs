//! Calls of user functions.

use std::sync::Arc;

use polars::prelude as pl;
use polars_arrow::array::MutableBooleanArray;

use crate::{
    error::{Failure, PipelineError},
    expr::{
        Evaluated, Failures,
        compile::Active,
        lanes::{Lanes, Numbers, TextBuilder, canonical, rows},
    },
    number::decimal_limit,
    registry::{Registry, ScalarFunction},
    time::{MAX_DATE, MIN_DATE, in_range},
    types::{DataType, Value},
};

/// A user function with the types it is called with.
pub(crate) struct UserCall {
    function: Arc<ScalarFunction>,
    arguments: Vec<DataType>,
    returns: DataType,
}

impl UserCall {
    pub(crate) fn new(
        name: &str,
        version: u32,
        types: &[DataType],
        returns: DataType,
        registry: &Registry,
    ) -> Result<UserCall, PipelineError> {
        let function = registry.get(name).ok_or_else(|| {
            PipelineError::Definition(format!(
                "the function {name} is not registered; register it before this definition is used"
            ))
        })?;
        if function.version != version {
            return Err(PipelineError::Definition(format!(
                "the function {name} is registered with version {}, the definition was planned with version {version}",
                function.version
            )));
        }
        if function.arguments != types || function.returns != returns {
            return Err(PipelineError::Definition(format!("the function {name} is registered with other types")));
        }
        Ok(UserCall { function: function.clone(), arguments: types.to_vec(), returns })
    }

    /// Calls it for the rows that matter: active ones whose arguments did not fail.
    pub(crate) fn evaluate(
        &self,
        columns: &[pl::Column],
        height: usize,
        active: Active<'_>,
        failed: &Failures,
    ) -> Result<Evaluated, PipelineError> {
        let readers = columns.iter().zip(&self.arguments).map(|(c, t)| reader(c, *t)).collect::<Result<Vec<_>, _>>()?;
        let mut failed = failed.iter().map(|(row, _)| *row as usize).peekable();
        let mut arguments = Vec::with_capacity(readers.len());
        let mut call = |row: usize| -> Result<Value, Failure> {
            let skip = failed.next_if_eq(&row).is_some() || active.is_some_and(|a| !a.get_bit(row));
            if skip {
                return Ok(Value::Null);
            }
            arguments.clear();
            arguments.extend(readers.iter().map(|read| read(row)));
            (self.function.body)(&arguments).map_err(|_| Failure::User)
        };
        let returns = self.returns;
        // A value of another type than the declared one is the function's error, too.
        macro_rules! values {
            ($build:ty, $($pattern:pat => $value:expr),*) => {
                rows::<$build>(height, returns, |i| match call(i)? {
                    Value::Null => Ok(None),
                    $($pattern => $value.map(Some),)*
                    _ => Err(Failure::User),
                })
            };
        }
        Ok(match returns {
            DataType::Boolean => values!(MutableBooleanArray, Value::Boolean(v) => Ok(v)),
            DataType::Int => values!(Numbers<i32>, Value::Int(v) => i32::try_from(v).map_err(|_| Failure::OutOfRange)),
            DataType::BigInt => values!(Numbers<i64>, Value::Int(v) => Ok(v)),
            DataType::Double => values!(Numbers<f64>, Value::Double(v) => Ok(canonical(v))),
            DataType::Decimal { precision, .. } => values!(Numbers<i128>, Value::Decimal(v) => {
                if v.unsigned_abs() < decimal_limit(precision).unsigned_abs() { Ok(v) } else { Err(Failure::OutOfRange) }
            }),
            DataType::Text => values!(TextBuilder, Value::Text(v) => Ok(v)),
            DataType::Json => values!(TextBuilder, Value::Text(v) => {
                if serde_json::from_str::<serde::de::IgnoredAny>(&v).is_ok() { Ok(v) } else { Err(Failure::User) }
            }),
            DataType::Timestamp => values!(Numbers<i64>, Value::Timestamp(v) => in_range(v)),
            DataType::Date => values!(Numbers<i32>, Value::Date(v) => {
                if (MIN_DATE..=MAX_DATE).contains(&v) { Ok(v) } else { Err(Failure::TimestampOutOfRange) }
            }),
        })
    }
}

/// Reads a column's rows as [`Value`]s.
pub(crate) fn reader(column: &pl::Column, data_type: DataType) -> Result<Box<dyn Fn(usize) -> Value>, PipelineError> {
    macro_rules! read {
        ($lane:ty, $value:expr) => {{
            let lanes = Lanes::<$lane>::new(column)?;
            Box::new(move |row| lanes.get(row).map_or(Value::Null, $value))
        }};
    }
    Ok(match data_type {
        DataType::Boolean => read!(bool, Value::Boolean),
        DataType::Int => read!(i32, |v| Value::Int(i64::from(v))),
        DataType::BigInt => read!(i64, Value::Int),
        DataType::Double => read!(f64, |v| Value::Double(canonical(v))),
        DataType::Decimal { .. } => read!(i128, Value::Decimal),
        DataType::Text | DataType::Json => read!(str, |v| Value::Text(v.to_owned())),
        DataType::Timestamp => read!(i64, Value::Timestamp),
        DataType::Date => read!(i32, Value::Date),
    })
}
