//! `+ - * / %`, negation and absolute value, checked.

use polars::prelude as pl;
use polars_arrow::{array::PrimitiveArray, bitmap::Bitmap};

use super::decimal;
use crate::{
    error::{Failure, PipelineError},
    expr::{
        Evaluated, Function,
        lanes::{Lane, Lanes, Numbers, canonical, rows},
    },
    types::DataType,
};

/// An arithmetic operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    Abs,
}

impl Operator {
    pub(crate) fn of(function: &Function) -> Option<Operator> {
        Some(match function {
            Function::Add => Operator::Add,
            Function::Subtract => Operator::Subtract,
            Function::Multiply => Operator::Multiply,
            Function::Divide => Operator::Divide,
            Function::Modulo => Operator::Modulo,
            Function::Negate => Operator::Negate,
            Function::Abs => Operator::Abs,
            _ => return None,
        })
    }
}

/// An integer type with checked arithmetic.
pub(crate) trait Integer: Copy + Default {
    /// `a operator b`; unary operators ignore `b`.
    fn apply(operator: Operator, a: Self, b: Self) -> Result<Self, Failure>;
    /// The wrapped result and whether it overflowed, without a branch; for `+ - *` only.
    fn overflowing(operator: Operator, a: Self, b: Self) -> (Self, bool);
}

macro_rules! integer {
    ($($native:ty),*) => {$(
        impl Integer for $native {
            #[inline(always)]
            fn apply(operator: Operator, a: Self, b: Self) -> Result<Self, Failure> {
                let result = match operator {
                    Operator::Add => a.checked_add(b),
                    Operator::Subtract => a.checked_sub(b),
                    Operator::Multiply => a.checked_mul(b),
                    Operator::Divide | Operator::Modulo if b == 0 => return Err(Failure::DivisionByZero),
                    Operator::Divide => a.checked_div(b),
                    // MIN % -1 is 0.
                    Operator::Modulo => Some(a.wrapping_rem(b)),
                    Operator::Negate => a.checked_neg(),
                    Operator::Abs => a.checked_abs(),
                };
                result.ok_or(Failure::OutOfRange)
            }
            #[inline(always)]
            fn overflowing(operator: Operator, a: Self, b: Self) -> (Self, bool) {
                match operator {
                    Operator::Add => a.overflowing_add(b),
                    Operator::Subtract => a.overflowing_sub(b),
                    _ => a.overflowing_mul(b),
                }
            }
        }
    )*};
}
integer!(i32, i64);

pub(crate) fn evaluate(
    operator: Operator,
    data_type: DataType,
    arguments: &[pl::Column],
    height: usize,
) -> Result<Evaluated, PipelineError> {
    match data_type {
        DataType::Int => integers::<i32>(operator, data_type, arguments, height),
        DataType::BigInt => integers::<i64>(operator, data_type, arguments, height),
        DataType::Double => doubles(operator, arguments, height),
        DataType::Decimal { precision, .. } => decimal::arithmetic(operator, precision, data_type, arguments, height),
        _ => Err(PipelineError::Definition(format!("arithmetic is not defined for {data_type}"))),
    }
}

fn integers<T>(
    operator: Operator,
    data_type: DataType,
    arguments: &[pl::Column],
    height: usize,
) -> Result<Evaluated, PipelineError>
where
    T: Integer + for<'a> Lane<Array = PrimitiveArray<T>, Item<'a> = T> + polars_arrow::types::NativeType,
    Numbers<T>: crate::expr::lanes::Build<Item = T>,
{
    let a = Lanes::<T>::new(&arguments[0])?;
    let Some(second) = arguments.get(1) else {
        return Ok(rows::<Numbers<T>>(height, data_type, |i| {
            a.get(i).map(|a| T::apply(operator, a, T::default())).transpose()
        }));
    };
    let b = Lanes::<T>::new(second)?;
    if matches!(operator, Operator::Add | Operator::Subtract | Operator::Multiply)
        && let Some(evaluated) = without_overflow(operator, data_type, &a, &b, height)
    {
        return Ok(evaluated);
    }
    Ok(rows::<Numbers<T>>(height, data_type, |i| match (a.get(i), b.get(i)) {
        (Some(a), Some(b)) => T::apply(operator, a, b).map(Some),
        _ => Ok(None),
    }))
}

/// Computes all rows without looking at NULLs. `None` if any row overflows, be it a NULL one: the careful loop decides then.
fn without_overflow<T>(
    operator: Operator,
    data_type: DataType,
    a: &Lanes<T>,
    b: &Lanes<T>,
    height: usize,
) -> Option<Evaluated>
where
    T: Integer + Lane<Array = PrimitiveArray<T>> + polars_arrow::types::NativeType,
    Numbers<T>: crate::expr::lanes::Build<Item = T>,
{
    let (left, right) = (a.array(), b.array());
    let mut overflow = false;
    let mut compute = |a: T, b: T| {
        let (value, overflowed) = T::overflowing(operator, a, b);
        overflow |= overflowed;
        value
    };
    let values: Vec<T> = match (left.len() == height, right.len() == height) {
        (true, true) => left.values().iter().zip(right.values().iter()).map(|(a, b)| compute(*a, *b)).collect(),
        (true, false) => {
            let b = *right.values().first()?;
            right.validity().is_none().then_some(())?;
            left.values().iter().map(|a| compute(*a, b)).collect()
        }
        (false, true) => {
            let a = *left.values().first()?;
            left.validity().is_none().then_some(())?;
            right.values().iter().map(|b| compute(a, *b)).collect()
        }
        (false, false) => return None,
    };
    if overflow {
        return None;
    }
    let of = |array: &PrimitiveArray<T>| if array.len() == height { array.validity().cloned() } else { None };
    let validity: Option<Bitmap> = match (of(left), of(right)) {
        (Some(a), Some(b)) => Some(&a & &b),
        (a, b) => a.or(b),
    };
    let mut builder = Numbers::<T>::from_vec(values);
    builder.set_validity(validity.map(|v| v.make_mut()));
    Some(Evaluated::infallible(crate::expr::lanes::Build::finish(builder, data_type)))
}

fn doubles(operator: Operator, arguments: &[pl::Column], height: usize) -> Result<Evaluated, PipelineError> {
    let a = Lanes::<f64>::new(&arguments[0])?;
    let b = arguments.get(1).map(Lanes::<f64>::new).transpose()?;
    Ok(rows::<Numbers<f64>>(height, DataType::Double, |i| {
        let Some(x) = a.get(i) else { return Ok(None) };
        let y = match &b {
            Some(b) => match b.get(i) {
                Some(y) => y,
                None => return Ok(None),
            },
            None => 0.0,
        };
        let result = match operator {
            Operator::Add => x + y,
            Operator::Subtract => x - y,
            Operator::Multiply => x * y,
            Operator::Divide | Operator::Modulo if y == 0.0 => return Err(Failure::DivisionByZero),
            Operator::Divide => x / y,
            Operator::Modulo => x % y,
            Operator::Negate => -x,
            Operator::Abs => x.abs(),
        };
        Ok(Some(canonical(result)))
    }))
}
