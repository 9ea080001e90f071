//! Type rules: common types, and casts that the planner inserts.

use sqlparser::tokenizer::Span;

use super::{
    diagnostic::{Mistake, Planned},
    literal,
};
use crate::{
    expr::Expr,
    types::{DataType, Value},
};

/// A planned expression, before its context has decided on its type.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// The expression.
    pub(crate) expr: Expr,
    /// A constant whose type follows its context: `NULL` or a quoted text.
    pub(crate) free: bool,
    /// Whether it may be NULL.
    pub(crate) nullable: bool,
    /// Its place.
    pub(crate) span: Span,
}

impl Typed {
    pub(crate) fn new(expr: Expr, span: Span) -> Typed {
        Typed { expr, free: false, nullable: true, span }
    }

    pub(crate) fn data_type(&self) -> DataType {
        self.expr.data_type()
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.expr, Expr::Literal { value: Value::Null, .. })
    }
}

/// The type that values of both types have without loss (but for `DOUBLE`), if there is one.
pub(crate) fn common_type(a: DataType, b: DataType) -> Option<DataType> {
    use DataType::{BigInt, Date, Decimal, Double, Int, Json, Text, Timestamp};
    Some(match (a, b) {
        (a, b) if a == b => a,
        (Double, n) | (n, Double) if n.is_numeric() => Double,
        (Int, BigInt) | (BigInt, Int) => BigInt,
        (Decimal { .. }, _) | (_, Decimal { .. }) => {
            let ((p1, s1), (p2, s2)) = (decimal_parts(a)?, decimal_parts(b)?);
            let scale = s1.max(s2);
            Decimal { precision: ((p1 - s1).max(p2 - s2) + scale).min(38), scale }
        }
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        (Text, Json) | (Json, Text) => Text,
        _ => return None,
    })
}

/// Precision and scale of a number as a decimal.
pub(crate) fn decimal_parts(data_type: DataType) -> Option<(u8, u8)> {
    match data_type {
        DataType::Int => Some((10, 0)),
        DataType::BigInt => Some((19, 0)),
        DataType::Decimal { precision, scale } => Some((precision, scale)),
        _ => None,
    }
}

/// As [`common_type`], for planned expressions: a free constant takes the other's type.
pub(crate) fn common_of(items: &[&Typed]) -> Option<DataType> {
    let mut fixed = items.iter().filter(|t| !t.free).map(|t| t.data_type());
    match fixed.next() {
        Some(first) => fixed.try_fold(first, common_type),
        None => Some(DataType::Text),
    }
}

/// Casts to `to` where SQL does so by itself: toward wider numbers, dates to timestamps, JSON to text, quoted constants.
pub(crate) fn coerce(typed: &Typed, to: DataType) -> Planned<Expr> {
    let from = typed.data_type();
    if typed.free && !typed.is_null() {
        return free_text(typed, to);
    }
    if typed.free || from == to || common_type(from, to) == Some(to) || same_scale(from, to) {
        return Ok(cast_to(typed.expr.clone(), to));
    }
    Err(Mistake::new(typed.span, format!("expected {to}, found {from}"))
        .label(format!("this is {from}"))
        .maybe_help(cast_allowed(from, to).then(|| format!("write CAST(… AS {to}) if that is what is meant"))))
}

fn same_scale(a: DataType, b: DataType) -> bool {
    matches!((a, b), (DataType::Decimal { scale: a, .. }, DataType::Decimal { scale: b, .. }) if a == b)
}

fn free_text(typed: &Typed, to: DataType) -> Planned<Expr> {
    let Expr::Literal { value: Value::Text(text), .. } = &typed.expr else { return Ok(typed.expr.clone()) };
    match text_value(text, to) {
        Some(value) => Ok(Expr::Literal { value, data_type: to }),
        None => Err(Mistake::new(typed.span, format!("'{text}' is not {}", a(to)))
            .label(format!("{} is needed here", a(to)))
            .maybe_help(example(to).map(|e| format!("write it as {e}")))),
    }
}

/// The type with its article.
fn a(data_type: DataType) -> String {
    let article = if data_type == DataType::Int { "an" } else { "a" };
    format!("{article} {data_type}")
}

/// How a constant of the type is written.
fn example(data_type: DataType) -> Option<&'static str> {
    match data_type {
        DataType::Timestamp => Some("'2026-01-31 12:30:00' (UTC)"),
        DataType::Date => Some("'2026-01-31'"),
        DataType::Boolean => Some("TRUE or FALSE"),
        _ => None,
    }
}

/// The value that a text stands for, if it is one of that type exactly.
pub(crate) fn text_value(text: &str, to: DataType) -> Option<Value> {
    let trimmed = text.trim();
    match to {
        DataType::Text | DataType::Json => Some(Value::Text(text.to_owned())),
        DataType::Timestamp => literal::timestamp(text).map(Value::Timestamp),
        DataType::Date => literal::date(text).map(Value::Date),
        DataType::Boolean => match trimmed.to_lowercase().as_str() {
            "true" | "t" => Some(Value::Boolean(true)),
            "false" | "f" => Some(Value::Boolean(false)),
            _ => None,
        },
        _ => {
            let (negative, digits) = match trimmed.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, trimmed),
            };
            if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
                || !digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
            {
                return None;
            }
            let (value, from) = literal::number(digits, negative, Span::empty()).ok()?;
            literal_cast(&value, from, to)
        }
    }
}

/// The same constant in another type, if that is exact (for `DOUBLE`: the nearest).
pub(crate) fn literal_cast(value: &Value, from: DataType, to: DataType) -> Option<Value> {
    use DataType::{BigInt, Date, Decimal, Double, Int, Json, Text, Timestamp};
    match (value, to) {
        (Value::Null, _) => Some(Value::Null),
        (value, to) if from == to => Some(value.clone()),
        (Value::Int(v), Int) => i32::try_from(*v).is_ok().then_some(Value::Int(*v)),
        (Value::Int(v), BigInt) => Some(Value::Int(*v)),
        (Value::Int(v), Double) => Some(Value::Double(*v as f64)),
        (Value::Int(v), Decimal { precision, scale }) => rescale(i128::from(*v), 0, precision, scale),
        (Value::Decimal(v), Decimal { precision, scale }) => {
            rescale(*v, decimal_parts(from).map_or(0, |(_, s)| s), precision, scale)
        }
        (Value::Decimal(v), Double) => {
            let scale = decimal_parts(from).map_or(0, |(_, s)| s);
            format!("{v}e-{scale}").parse().ok().map(|v: f64| Value::Double(v + 0.0))
        }
        (Value::Date(v), Timestamp) => Some(Value::Timestamp(i64::from(*v) * 86_400_000_000)),
        (Value::Text(v), Text | Json) if matches!(from, Text | Json) => Some(Value::Text(v.clone())),
        (Value::Text(v), Timestamp | Date) => text_value(v, to),
        _ => None,
    }
}

fn rescale(unscaled: i128, from: u8, precision: u8, to: u8) -> Option<Value> {
    let value = if to >= from {
        unscaled.checked_mul(10i128.checked_pow(u32::from(to - from))?)?
    } else {
        let divisor = 10i128.checked_pow(u32::from(from - to))?;
        (unscaled % divisor == 0).then_some(unscaled / divisor)?
    };
    (value.unsigned_abs() < 10u128.checked_pow(u32::from(precision))?).then_some(Value::Decimal(value))
}

/// Casts without asking whether SQL would; constants directly, where exact.
pub(crate) fn cast_to(expr: Expr, to: DataType) -> Expr {
    let from = expr.data_type();
    if from == to {
        return expr;
    }
    if let Expr::Literal { value, .. } = &expr
        && let Some(value) = literal_cast(value, from, to)
    {
        return Expr::Literal { value, data_type: to };
    }
    match (from, to) {
        // Decimals of one scale have one representation, whatever their precision.
        (DataType::Decimal { precision: p, scale: a }, DataType::Decimal { precision: q, scale: b })
            if a == b && p <= q =>
        {
            expr
        }
        _ => Expr::Cast { input: Box::new(expr), to, safe: false },
    }
}

/// Whether `CAST` is defined.
pub(crate) fn cast_allowed(from: DataType, to: DataType) -> bool {
    use DataType::{Boolean, Date, Json, Text, Timestamp};
    match (from, to) {
        (a, b) if a == b => true,
        (Text | Json, _) | (_, Text) => true,
        (a, b) if a.is_numeric() && b.is_numeric() => true,
        (Date, Timestamp) | (Timestamp, Date) => true,
        (Boolean, DataType::Int | DataType::BigInt) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_change_type_only_exactly() {
        let decimal = |precision, scale| DataType::Decimal { precision, scale };
        assert_eq!(literal_cast(&Value::Int(5), DataType::Int, decimal(12, 2)), Some(Value::Decimal(500)));
        assert_eq!(literal_cast(&Value::Decimal(50), decimal(2, 1), decimal(2, 0)), Some(Value::Decimal(5)));
        assert_eq!(literal_cast(&Value::Decimal(55), decimal(2, 1), decimal(2, 0)), None);
        assert_eq!(literal_cast(&Value::Decimal(1), decimal(1, 1), DataType::Double), Some(Value::Double(0.1)));
        assert_eq!(literal_cast(&Value::Int(1 << 40), DataType::BigInt, DataType::Int), None);
        assert_eq!(text_value("12.50", decimal(12, 2)), Some(Value::Decimal(1250)));
        assert_eq!(text_value("1e2", DataType::Double), Some(Value::Double(100.0)));
        assert_eq!(text_value("-", DataType::Int), None);
    }

    #[test]
    fn common_types() {
        let decimal = |precision, scale| DataType::Decimal { precision, scale };
        assert_eq!(common_type(DataType::Int, DataType::BigInt), Some(DataType::BigInt));
        assert_eq!(common_type(DataType::Int, decimal(12, 2)), Some(decimal(12, 2)));
        assert_eq!(common_type(decimal(38, 0), decimal(4, 4)), Some(decimal(38, 4)));
        assert_eq!(common_type(DataType::Boolean, DataType::Int), None);
    }
}
