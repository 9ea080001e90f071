//! Operators: comparison, arithmetic, text; and bringing values to one type.

use sqlparser::{ast::BinaryOperator, tokenizer::Span};

use super::{
    coerce::{self, Typed, cast_to, coerce, common_of, common_type, decimal_parts},
    diagnostic::{Mistake, Planned, all},
};
use crate::{
    expr::{Expr, Function},
    types::DataType,
};

/// A binary operator over planned sides (all but `AND`, `OR` and intervals).
pub(crate) fn binary(op: &BinaryOperator, left: &Typed, right: &Typed, span: Span) -> Planned<Typed> {
    use BinaryOperator as B;
    let comparison = match op {
        B::Eq => Some(Function::Equal),
        B::NotEq => Some(Function::NotEqual),
        B::Lt => Some(Function::Less),
        B::LtEq => Some(Function::LessOrEqual),
        B::Gt => Some(Function::Greater),
        B::GtEq => Some(Function::GreaterOrEqual),
        _ => None,
    };
    if let Some(function) = comparison {
        if left.is_null() || right.is_null() {
            return Err(Mistake::new(span, format!("`{op} NULL` is never true"))
                .label("always NULL")
                .help("write `IS NULL` or `IS NOT NULL`"));
        }
        return compare(function, left, right, span);
    }
    match op {
        B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo => arithmetic(op, left, right, span),
        B::StringConcat => {
            let args = all([as_text(left), as_text(right)])?;
            Ok(call(Function::Concat, args, DataType::Text, span))
        }
        B::PGRegexMatch | B::PGRegexIMatch | B::PGRegexNotMatch | B::PGRegexNotIMatch => {
            let Expr::Literal { value: crate::types::Value::Text(pattern), .. } = &right.expr else {
                return Err(Mistake::new(right.span, "the pattern of a regular expression is a constant text"));
            };
            let ignore_case = matches!(op, B::PGRegexIMatch | B::PGRegexNotIMatch);
            let pattern = if ignore_case { format!("(?i){pattern}") } else { pattern.clone() };
            super::function::check_pattern(&pattern, right.span)?;
            let args = vec![coerce(left, DataType::Text)?];
            let matched = call(Function::RegexpLike { pattern }, args, DataType::Boolean, span);
            if matches!(op, B::PGRegexMatch | B::PGRegexIMatch) {
                return Ok(matched);
            }
            Ok(call(Function::Not, vec![matched.expr], DataType::Boolean, span))
        }
        B::Arrow | B::LongArrow | B::HashArrow | B::HashLongArrow => {
            Err(Mistake::new(span, format!("the operator `{op}` is not supported"))
                .help("for a field within JSON write JSON_VALUE(column, '$.a.b[0]')"))
        }
        B::PGExp => Err(Mistake::new(span, "the operator `^` is not supported").help("write POWER(x, y)")),
        other => Err(Mistake::new(span, format!("the operator `{other}` is not supported"))),
    }
}

fn call(function: Function, args: Vec<Expr>, data_type: DataType, span: Span) -> Typed {
    Typed::new(Expr::Call { function, args, data_type }, span)
}

/// A comparison, both sides brought to one type.
pub(crate) fn compare(function: Function, left: &Typed, right: &Typed, span: Span) -> Planned<Typed> {
    let Some(to) = common_of(&[left, right]) else {
        let (a, b) = (left.data_type(), right.data_type());
        return Err(Mistake::new(span, format!("cannot compare {a} with {b}"))
            .label(format!("{a} and {b}"))
            .maybe_help(quote_help(left, right).or_else(|| cast_help(a, b))));
    };
    let args = all([coerce(left, to), coerce(right, to)])?;
    Ok(Typed { nullable: left.nullable || right.nullable, ..call(function, args, DataType::Boolean, span) })
}

/// `card = 5`, where `card` is a text: the constant lacks its quotes.
fn quote_help(left: &Typed, right: &Typed) -> Option<String> {
    let (text, number) = if left.data_type() == DataType::Text { (left, right) } else { (right, left) };
    match &number.expr {
        Expr::Literal { value: crate::types::Value::Int(v), .. } if text.data_type() == DataType::Text => {
            Some(format!("write the constant as a text: '{v}'"))
        }
        _ => None,
    }
}

fn cast_help(a: DataType, b: DataType) -> Option<String> {
    let (from, to) = if a == DataType::Text { (a, b) } else { (b, a) };
    coerce::cast_allowed(from, to).then(|| format!("write CAST(… AS {to}) around the {from}"))
}

/// Values of one type: `CASE`, `COALESCE`, `IN`.
pub(crate) fn unify(items: &[Typed], rule: &str) -> Planned<Vec<Expr>> {
    let Some(to) = common_of(&items.iter().collect::<Vec<_>>()) else {
        let mut so_far: Option<DataType> = None;
        for item in items.iter().filter(|i| !i.free) {
            let found = item.data_type();
            let Some(before) = so_far else {
                so_far = Some(found);
                continue;
            };
            match common_type(before, found) {
                Some(common) => so_far = Some(common),
                None => {
                    return Err(Mistake::new(item.span, format!("{rule}: here {before} meets {found}"))
                        .label(format!("this is {found}"))
                        .maybe_help(cast_help(before, found)));
                }
            }
        }
        return Err(Mistake::new(items.first().map_or(Span::empty(), |i| i.span), rule));
    };
    all(items.iter().map(|item| coerce(item, to)))
}

/// The type of values that [`unify`] brought together: decimals of one scale may differ in precision.
pub(crate) fn type_of(values: &[Expr], last: Option<&Expr>) -> DataType {
    let mut types = values.iter().chain(last).map(Expr::data_type);
    let first = types.next().unwrap_or(DataType::Text);
    types.fold(first, |a, b| common_type(a, b).unwrap_or(a))
}

/// As text, for `||` and `CONCAT`.
pub(crate) fn as_text(typed: &Typed) -> Planned<Expr> {
    Ok(cast_to(typed.expr.clone(), DataType::Text))
}

/// Refuses what is not a number.
pub(crate) fn require_numeric(typed: &Typed, what: &str) -> Planned<()> {
    let found = typed.data_type();
    if found.is_numeric() {
        return Ok(());
    }
    let help = match found {
        DataType::Text | DataType::Json => Some("write CAST(… AS DOUBLE), or another numeric type".to_owned()),
        DataType::Boolean => Some("write CASE WHEN … THEN 1 ELSE 0 END".to_owned()),
        _ => None,
    };
    Err(Mistake::new(typed.span, format!("`{what}` needs a number, this is {found}"))
        .label(format!("this is {found}"))
        .maybe_help(help))
}

fn arithmetic(op: &BinaryOperator, left: &Typed, right: &Typed, span: Span) -> Planned<Typed> {
    use DataType::{BigInt, Decimal, Double, Int};
    let (left, right) = (numeric_constant(left, right)?, numeric_constant(right, left)?);
    temporal_mistake(op, &left, &right, span)?;
    all([require_numeric(&left, &op.to_string()), require_numeric(&right, &op.to_string())])?;
    let (a, b) = (left.data_type(), right.data_type());
    let integers = matches!((a, b), (Int | BigInt, Int | BigInt));
    let wider = common_type(a, b).unwrap_or(Double);
    let nullable = left.nullable || right.nullable;
    let plan = |function, to_left, to_right, data_type| {
        let args = vec![cast_to(left.expr.clone(), to_left), cast_to(right.expr.clone(), to_right)];
        Ok(Typed { nullable, ..call(function, args, data_type, span) })
    };
    match op {
        BinaryOperator::Divide if !integers => plan(Function::Divide, Double, Double, Double),
        BinaryOperator::Divide => plan(Function::Divide, wider, wider, wider),
        BinaryOperator::Modulo => plan(Function::Modulo, wider, wider, wider),
        BinaryOperator::Multiply => match wider {
            Decimal { .. } => {
                let (Some((p1, s1)), Some((p2, s2))) = (decimal_parts(a), decimal_parts(b)) else {
                    return plan(Function::Multiply, Double, Double, Double);
                };
                if s1 + s2 > 38 {
                    return Err(Mistake::new(
                        span,
                        format!("the product has {} digits after the point; 38 are possible", s1 + s2),
                    )
                    .label(format!("{a} * {b}"))
                    .help("cast one side to DOUBLE, or to a DECIMAL of a smaller scale"));
                }
                let result = Decimal { precision: (p1 + p2).min(38), scale: s1 + s2 };
                plan(
                    Function::Multiply,
                    Decimal { precision: p1, scale: s1 },
                    Decimal { precision: p2, scale: s2 },
                    result,
                )
            }
            _ => plan(Function::Multiply, wider, wider, wider),
        },
        _ => {
            let function = if *op == BinaryOperator::Plus { Function::Add } else { Function::Subtract };
            match wider {
                Decimal { precision, scale } => {
                    let result = Decimal { precision: (precision + 1).min(38), scale };
                    plan(function, result, result, result)
                }
                _ => plan(function, wider, wider, wider),
            }
        }
    }
}

/// `NULL` and quoted constants take the other side's type.
fn numeric_constant(typed: &Typed, other: &Typed) -> Planned<Typed> {
    if !typed.free {
        return Ok(typed.clone());
    }
    let to = if other.data_type().is_numeric() { other.data_type() } else { DataType::Double };
    if !other.data_type().is_numeric() && !other.free {
        return Ok(typed.clone());
    }
    Ok(Typed { expr: coerce(typed, to)?, free: false, ..typed.clone() })
}

fn temporal_mistake(op: &BinaryOperator, left: &Typed, right: &Typed, span: Span) -> Planned<()> {
    let temporal = |t: &Typed| matches!(t.data_type(), DataType::Timestamp | DataType::Date);
    if !temporal(left) && !temporal(right) {
        return Ok(());
    }
    let (a, b) = (left.data_type(), right.data_type());
    let help = match op {
        BinaryOperator::Minus if temporal(left) && temporal(right) => {
            "write DATE_DIFF('second', start, end), with the unit that you want"
        }
        _ => "add a length of time as an INTERVAL: `ts + INTERVAL '1 day'`",
    };
    Err(Mistake::new(span, format!("`{op}` is not defined for {a} and {b}")).label(format!("{a} {op} {b}")).help(help))
}
