//! Decimals: integers of 128 bits with a scale, at most 38 digits.

use polars::prelude as pl;

use super::arithmetic::Operator;
use crate::{
    error::{Failure, PipelineError},
    expr::{
        Evaluated, Function,
        lanes::{Lanes, Numbers, rows},
    },
    number::{POWERS, decimal_limit, divide_rounding, rescale},
    types::DataType,
};

fn within(value: Option<i128>, precision: u8) -> Result<i128, Failure> {
    value.filter(|v| v.unsigned_abs() < decimal_limit(precision).unsigned_abs()).ok_or(Failure::OutOfRange)
}

/// `+ - * %`, negation and absolute value. The scales are right already: equal, or (of a product) adding up to the result's.
pub(crate) fn arithmetic(
    operator: Operator,
    precision: u8,
    data_type: DataType,
    arguments: &[pl::Column],
    height: usize,
) -> Result<Evaluated, PipelineError> {
    if operator == Operator::Divide {
        return Err(PipelineError::Definition("decimals are divided as doubles".to_owned()));
    }
    let a = Lanes::<i128>::new(&arguments[0])?;
    let b = arguments.get(1).map(Lanes::<i128>::new).transpose()?;
    Ok(rows::<Numbers<i128>>(height, data_type, |i| {
        let Some(x) = a.get(i) else { return Ok(None) };
        let y = match &b {
            Some(b) => match b.get(i) {
                Some(y) => y,
                None => return Ok(None),
            },
            None => 0,
        };
        let result = match operator {
            Operator::Add => x.checked_add(y),
            Operator::Subtract => x.checked_sub(y),
            Operator::Multiply => x.checked_mul(y),
            Operator::Divide | Operator::Modulo if y == 0 => return Err(Failure::DivisionByZero),
            Operator::Divide => None,
            Operator::Modulo => Some(x.wrapping_rem(y)),
            Operator::Negate => x.checked_neg(),
            Operator::Abs => x.checked_abs(),
        };
        within(result, precision).map(Some)
    }))
}

/// `SIGN`, `FLOOR`, `CEIL` and `ROUND` of decimals with `from` digits after the point.
pub(crate) fn math(
    function: &Function,
    from: u8,
    data_type: DataType,
    argument: &pl::Column,
    height: usize,
) -> Result<Evaluated, PipelineError> {
    let a = Lanes::<i128>::new(argument)?;
    let power = POWERS[usize::from(from).min(38)];
    let DataType::Decimal { precision, scale } = data_type else {
        return if *function == Function::Sign {
            Ok(rows::<Numbers<i32>>(height, data_type, |i| Ok(a.get(i).map(|v| v.signum() as i32))))
        } else {
            Err(PipelineError::Definition(format!("{function:?} of a decimal is not a {data_type}")))
        };
    };
    Ok(rows::<Numbers<i128>>(height, data_type, |i| {
        let Some(value) = a.get(i) else { return Ok(None) };
        // First to the digits that stay, then to the result's scale.
        let (value, digits) = match function {
            Function::Floor => (value.div_euclid(power), 0),
            Function::Ceil => (-(-value).div_euclid(power), 0),
            Function::Round { digits } if *digits < from => {
                (divide_rounding(value, POWERS[usize::from(from - digits).min(38)]), *digits)
            }
            Function::Round { .. } => (value, from),
            _ => (value.signum(), 0),
        };
        rescale(value, digits, scale, precision).ok_or(Failure::OutOfRange).map(Some)
    }))
}
