//! The reference: evaluates an expression for one row, as plainly as it can be said.

mod cast;
mod temporal;
mod text;

use self::{cast::cast, temporal::temporal, text::text};
use crate::{
    error::Failure,
    expr::{Expr, Function},
    number::{decimal_to_double, double_to_decimal, parse_decimal, write_decimal},
    types::{DataType, Value},
};

type Outcome = Result<Value, Failure>;

pub(super) fn evaluate(expr: &Expr, row: &[Value]) -> Outcome {
    let value = match expr {
        Expr::Column { index, .. } => row[*index].clone(),
        Expr::Literal { value, .. } => value.clone(),
        Expr::Call { function, args, data_type } => call(function, args, *data_type, row)?,
        Expr::Case { branches, otherwise, .. } => {
            for (condition, value) in branches {
                if evaluate(condition, row)? == Value::Boolean(true) {
                    return evaluate(value, row);
                }
            }
            match otherwise {
                Some(value) => evaluate(value, row)?,
                None => Value::Null,
            }
        }
        Expr::Cast { input, to, safe } => {
            let value = evaluate(input, row)?;
            match cast(value, input.data_type(), *to) {
                Err(_) if *safe => Value::Null,
                outcome => outcome?,
            }
        }
        Expr::User { args, .. } => match evaluate(&args[0], row)? {
            Value::Int(v) if v % 2 == 0 => Value::Int(v / 2),
            Value::Int(_) => return Err(Failure::User),
            _ => Value::Int(-1),
        },
    };
    Ok(match value {
        Value::Double(v) if v.is_nan() => Value::Double(f64::NAN),
        Value::Double(0.0) => Value::Double(0.0),
        value => value,
    })
}

/// SQL's order; NaN is equal to itself and last.
fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        _ => panic!("{a:?} and {b:?} are not of one type"),
    }
}

fn call(function: &Function, args: &[Expr], to: DataType, row: &[Value]) -> Outcome {
    use Function as F;
    match function {
        F::And | F::Or => {
            let decides = Value::Boolean(*function == F::Or);
            let mut result = Value::Boolean(*function == F::And);
            for arg in args {
                let value = evaluate(arg, row)?;
                if value == decides {
                    return Ok(value);
                }
                if value == Value::Null {
                    result = Value::Null;
                }
            }
            return Ok(result);
        }
        F::Coalesce => {
            for arg in args {
                let value = evaluate(arg, row)?;
                if value != Value::Null {
                    return Ok(value);
                }
            }
            return Ok(Value::Null);
        }
        _ => {}
    }
    // The leftmost failure counts.
    let values = args.iter().map(|a| evaluate(a, row)).collect::<Result<Vec<_>, _>>()?;
    let null = |v: &Value| *v == Value::Null;
    let equal = |a: &Value, b: &Value| compare(a, b).is_eq();
    let a = &values[0];
    match function {
        F::IsNull => return Ok(Value::Boolean(null(a))),
        F::IsNotNull => return Ok(Value::Boolean(!null(a))),
        F::IsTrue => return Ok(Value::Boolean(*a == Value::Boolean(true))),
        F::IsDistinctFrom | F::IsNotDistinctFrom => {
            let b = &values[1];
            let same = if null(a) || null(b) { null(a) && null(b) } else { equal(a, b) };
            return Ok(Value::Boolean(same == (*function == F::IsNotDistinctFrom)));
        }
        F::NullIf => {
            let same = !null(a) && !null(&values[1]) && equal(a, &values[1]);
            return Ok(if same { Value::Null } else { a.clone() });
        }
        F::In => {
            if null(a) {
                return Ok(Value::Null);
            }
            if values[1..].iter().any(|v| !null(v) && equal(a, v)) {
                return Ok(Value::Boolean(true));
            }
            return Ok(if values[1..].iter().any(null) { Value::Null } else { Value::Boolean(false) });
        }
        F::Greatest | F::Least => {
            let there = values.iter().filter(|v| !null(v));
            let best = if *function == F::Greatest {
                there.max_by(|a, b| compare(a, b))
            } else {
                there.min_by(|a, b| compare(a, b))
            };
            return Ok(best.cloned().unwrap_or(Value::Null));
        }
        _ => {}
    }
    if values.iter().any(null) {
        return Ok(Value::Null);
    }
    use std::cmp::Ordering as O;
    let test = |wanted: &[O]| Ok(Value::Boolean(wanted.contains(&compare(a, &values[1]))));
    match function {
        F::Equal => test(&[O::Equal]),
        F::NotEqual => test(&[O::Less, O::Greater]),
        F::Less => test(&[O::Less]),
        F::LessOrEqual => test(&[O::Less, O::Equal]),
        F::Greater => test(&[O::Greater]),
        F::GreaterOrEqual => test(&[O::Greater, O::Equal]),
        F::Not => Ok(Value::Boolean(*a == Value::Boolean(false))),
        F::Add | F::Subtract | F::Multiply | F::Divide | F::Modulo | F::Negate | F::Abs => {
            arithmetic(function, &values, to)
        }
        F::Sign | F::Floor | F::Ceil | F::Round { .. } | F::Sqrt | F::Ln | F::Log10 | F::Exp | F::Power => {
            math(function, &values, args[0].data_type(), to)
        }
        F::DateTrunc { .. }
        | F::Extract { .. }
        | F::AddInterval { .. }
        | F::DateDiff { .. }
        | F::ToTimestamp
        | F::EpochMicros
        | F::WindowStart { .. } => temporal(function, &values),
        _ => text(function, &values),
    }
}

fn arithmetic(function: &Function, values: &[Value], to: DataType) -> Outcome {
    use Function as F;
    if let Value::Double(a) = values[0] {
        let b = match values.get(1) {
            Some(Value::Double(b)) => *b,
            _ => 0.0,
        };
        return Ok(Value::Double(match function {
            F::Add => a + b,
            F::Subtract => a - b,
            F::Multiply => a * b,
            F::Divide | F::Modulo if b == 0.0 => return Err(Failure::DivisionByZero),
            F::Divide => a / b,
            F::Modulo => a % b,
            F::Negate => -a,
            _ => a.abs(),
        }));
    }
    let whole = |v: &Value| match v {
        Value::Int(v) => i128::from(*v),
        Value::Decimal(v) => *v,
        _ => panic!("{v:?} is not a number"),
    };
    let a = whole(&values[0]);
    let b = values.get(1).map_or(0, whole);
    let result = match function {
        F::Add => a.checked_add(b),
        F::Subtract => a.checked_sub(b),
        F::Multiply => a.checked_mul(b),
        F::Divide | F::Modulo if b == 0 => return Err(Failure::DivisionByZero),
        F::Divide => Some(a / b),
        F::Modulo => Some(a % b),
        F::Negate => Some(-a),
        _ => Some(a.abs()),
    };
    fit(result, to).ok_or(Failure::OutOfRange)
}

/// The number as a value of an integer or decimal type.
fn fit(value: Option<i128>, to: DataType) -> Option<Value> {
    let value = value?;
    match to {
        DataType::Int => i32::try_from(value).ok().map(|v| Value::Int(i64::from(v))),
        DataType::BigInt => i64::try_from(value).ok().map(Value::Int),
        DataType::Decimal { precision, .. } => {
            (value.unsigned_abs().to_string().len() <= usize::from(precision)).then_some(Value::Decimal(value))
        }
        _ => panic!("{to} is not exact"),
    }
}

/// A decimal's text with the point moved: the reference of changing scales.
fn decimal_text(value: i128, scale: u8) -> String {
    let mut text = String::new();
    write_decimal(&mut text, value, scale);
    text
}

fn math(function: &Function, values: &[Value], from: DataType, to: DataType) -> Outcome {
    use Function as F;
    match (&values[0], function) {
        (Value::Int(v), F::Sign) => Ok(Value::Int(v.signum())),
        (Value::Decimal(v), F::Sign) => Ok(Value::Int(v.signum() as i64)),
        (Value::Double(v), F::Sign) if v.is_nan() => Err(Failure::Domain),
        (Value::Double(v), F::Sign) => Ok(Value::Int(if *v > 0.0 {
            1
        } else if *v < 0.0 {
            -1
        } else {
            0
        })),
        (Value::Decimal(v), _) => {
            let (DataType::Decimal { scale, .. }, DataType::Decimal { precision, scale: wanted }) = (from, to) else {
                panic!()
            };
            let power = 10i128.pow(u32::from(scale));
            let rounded = match function {
                F::Floor => v.div_euclid(power) * power,
                F::Ceil => (v + power - 1).div_euclid(power) * power,
                F::Round { digits } => {
                    let text = decimal_text(*v, scale);
                    let kept = (*digits).min(scale);
                    let rounded = parse_decimal(&text, 38, kept, true).unwrap();
                    return parse_decimal(&decimal_text(rounded, kept), precision, wanted, true)
                        .map(Value::Decimal)
                        .map_err(|_| Failure::OutOfRange);
                }
                _ => panic!(),
            };
            fit(Some(rounded / power * 10i128.pow(u32::from(wanted))), to).ok_or(Failure::OutOfRange)
        }
        (Value::Double(v), _) => {
            let b = match values.get(1) {
                Some(Value::Double(b)) => *b,
                _ => 0.0,
            };
            Ok(Value::Double(match function {
                F::Floor => v.floor(),
                F::Ceil => v.ceil(),
                F::Round { digits: 0 } => v.round(),
                F::Round { digits } if v.is_finite() && v.abs() < 4_503_599_627_370_496.0 => {
                    decimal_to_double(double_to_decimal(*v, 38, *digits).unwrap(), *digits)
                }
                F::Round { .. } => *v,
                F::Sqrt if *v < 0.0 => return Err(Failure::Domain),
                F::Sqrt => v.sqrt(),
                F::Ln | F::Log10 if *v <= 0.0 => return Err(Failure::Domain),
                F::Ln => v.ln(),
                F::Log10 => v.log10(),
                F::Exp => v.exp(),
                F::Power => v.powf(b),
                _ => panic!(),
            }))
        }
        _ => panic!(),
    }
}
