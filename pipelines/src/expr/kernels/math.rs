//! Functions of doubles.

use polars::prelude as pl;

use crate::{
    error::{Failure, PipelineError},
    expr::{
        Evaluated, Function,
        lanes::{Lanes, Numbers, canonical, integers, rows},
    },
    number::{decimal_to_double, double_to_decimal},
    types::DataType,
};

pub(crate) fn evaluate(
    function: &Function,
    arguments: &[pl::Column],
    height: usize,
) -> Result<Evaluated, PipelineError> {
    if *function == Function::Sign {
        return sign(&arguments[0], height);
    }
    let a = Lanes::<f64>::new(&arguments[0])?;
    let b = arguments.get(1).map(Lanes::<f64>::new).transpose()?;
    Ok(rows::<Numbers<f64>>(height, DataType::Double, |i| {
        let Some(x) = a.get(i) else { return Ok(None) };
        let result = match function {
            Function::Floor => x.floor(),
            Function::Ceil => x.ceil(),
            Function::Round { digits } => round(x, *digits),
            Function::Sqrt if x < 0.0 => return Err(Failure::Domain),
            Function::Sqrt => x.sqrt(),
            Function::Ln | Function::Log10 if x <= 0.0 => return Err(Failure::Domain),
            Function::Ln => x.ln(),
            Function::Log10 => x.log10(),
            Function::Exp => x.exp(),
            _ => match b.as_ref().and_then(|b| b.get(i)) {
                Some(y) => x.powf(y),
                None => return Ok(None),
            },
        };
        Ok(Some(canonical(result)))
    }))
}

/// `SIGN`; NaN has none.
fn sign(argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    if *argument.dtype() != pl::DataType::Float64 {
        let a = integers(argument)?;
        return Ok(rows::<Numbers<i32>>(height, DataType::Int, |i| Ok(a.get(i).map(|v| v.signum() as i32))));
    }
    let a = Lanes::<f64>::new(argument)?;
    Ok(rows::<Numbers<i32>>(height, DataType::Int, |i| match a.get(i) {
        Some(v) if v.is_nan() => Err(Failure::Domain),
        Some(v) => Ok(Some(i32::from(v > 0.0) - i32::from(v < 0.0))),
        None => Ok(None),
    }))
}

/// Rounds the shortest decimal text of a double, half away from zero: `round(1.005, 2)` is 1.01, as it reads.
pub(crate) fn round(x: f64, digits: u8) -> f64 {
    if digits == 0 {
        return x.round();
    }
    // From 2^52 up a double is a whole number.
    if !x.is_finite() || x.abs() >= (1u64 << 52) as f64 {
        return x;
    }
    let digits = digits.min(22);
    double_to_decimal(x, 38, digits).map_or(x, |d| decimal_to_double(d, digits))
}
