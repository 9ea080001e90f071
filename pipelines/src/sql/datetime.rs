//! Dates and times: units, zones, intervals.

use sqlparser::{
    ast::{self, BinaryOperator, Spanned},
    tokenizer::Span,
};

use super::{
    coerce::{self, Typed},
    diagnostic::{Mistake, Planned},
    expression::Context,
    literal,
    name::did_you_mean,
};
use crate::{
    expr::{DateField, Expr, Function, Interval, TimeUnit},
    types::DataType,
};

const UNITS: &[(&str, TimeUnit)] = &[
    ("microsecond", TimeUnit::Microsecond),
    ("millisecond", TimeUnit::Millisecond),
    ("second", TimeUnit::Second),
    ("minute", TimeUnit::Minute),
    ("hour", TimeUnit::Hour),
    ("day", TimeUnit::Day),
    ("week", TimeUnit::Week),
    ("month", TimeUnit::Month),
    ("quarter", TimeUnit::Quarter),
    ("year", TimeUnit::Year),
];

const FIELDS: &[(&str, DateField)] = &[
    ("microsecond", DateField::Microsecond),
    ("millisecond", DateField::Millisecond),
    ("second", DateField::Second),
    ("minute", DateField::Minute),
    ("hour", DateField::Hour),
    ("day", DateField::Day),
    ("week", DateField::Week),
    ("month", DateField::Month),
    ("quarter", DateField::Quarter),
    ("year", DateField::Year),
    ("dow", DateField::Dow),
    ("isodow", DateField::IsoDow),
    ("doy", DateField::Doy),
    ("epoch", DateField::Epoch),
];

/// A unit by name, singular or plural.
pub(crate) fn unit(name: &str, span: Span) -> Planned<TimeUnit> {
    lookup(UNITS, name).ok_or_else(|| unknown("a unit of time", name, UNITS.iter().map(|(n, _)| *n), span))
}

fn lookup<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let name = name.to_lowercase();
    table.iter().find(|(n, _)| *n == name || format!("{n}s") == name).map(|(_, value)| *value)
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone, span: Span) -> Box<Mistake> {
    let listed = known.clone().collect::<Vec<_>>().join(", ");
    Mistake::new(span, format!("'{name}' is not {what}"))
        .help(did_you_mean(name, known).unwrap_or_else(|| format!("there are: {listed}")))
}

/// An IANA time zone. UTC is none: one plan for one meaning.
pub(crate) fn time_zone(name: &str, span: Span) -> Planned<Option<String>> {
    match name.parse::<chrono_tz::Tz>() {
        Ok(chrono_tz::UTC) => Ok(None),
        Ok(zone) => Ok(Some(zone.name().to_owned())),
        Err(_) => {
            let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            Err(Mistake::new(span, format!("there is no time zone '{name}'")).label("unknown time zone").help(
                did_you_mean(name, known)
                    .unwrap_or_else(|| "write an IANA name, such as 'Europe/Berlin' or 'UTC'".to_owned()),
            ))
        }
    }
}

/// `EXTRACT(field FROM x)` and `DATE_PART('field', x[, zone])`.
pub(crate) fn extract(
    context: &Context<'_>,
    field: &str,
    operand: &ast::Expr,
    time_zone: Option<String>,
    span: Span,
) -> Planned<Typed> {
    let operand = context.plan_as(operand, DataType::Timestamp)?;
    let field = lookup(FIELDS, field)
        .ok_or_else(|| unknown("a field of a timestamp", field, FIELDS.iter().map(|(n, _)| *n), span))?;
    let function = Function::Extract { field, time_zone };
    Ok(Typed::new(Expr::Call { function, args: vec![operand], data_type: DataType::BigInt }, span))
}

/// `x + INTERVAL …`, `x - INTERVAL …`, `INTERVAL … + x`; nothing if no side is an interval.
pub(crate) fn add_interval(
    context: &Context<'_>,
    left: &ast::Expr,
    op: &BinaryOperator,
    right: &ast::Expr,
    span: Span,
) -> Option<Planned<Typed>> {
    let minus = *op == BinaryOperator::Minus;
    let (operand, interval) = match (as_interval(left), as_interval(right)) {
        (Some(_), Some(_)) => {
            let m = Mistake::new(span, "intervals cannot be added to each other here");
            return Some(Err(m.help("write one interval, such as INTERVAL '1 day 12 hours'")));
        }
        (None, Some(interval)) => (left, interval),
        (Some(interval), None) if !minus => (right, interval),
        (Some(_), None) => {
            let m = Mistake::new(span, "an interval minus something is not defined");
            return Some(Err(m.help("write `ts - INTERVAL '…'`")));
        }
        (None, None) => return None,
    };
    Some(plan_add(context, operand, interval, minus, span))
}

fn plan_add(
    context: &Context<'_>,
    operand: &ast::Expr,
    interval: &ast::Interval,
    minus: bool,
    span: Span,
) -> Planned<Typed> {
    let operand = context.plan(operand)?;
    let interval = literal::interval(interval)?;
    let interval = if minus { negate(interval, span)? } else { interval };
    if !matches!(operand.data_type(), DataType::Timestamp | DataType::Date) && !operand.free {
        let found = operand.data_type();
        return Err(Mistake::new(
            operand.span,
            format!("an INTERVAL is added to a TIMESTAMP or DATE, this is {found}"),
        )
        .label(format!("this is {found}"))
        .maybe_help(found.is_numeric().then(|| "for epoch seconds write TO_TIMESTAMP(seconds)".to_owned())));
    }
    let nullable = operand.nullable;
    let args = vec![coerce::coerce(&operand, DataType::Timestamp)?];
    let function = Function::AddInterval { interval };
    Ok(Typed { nullable, ..Typed::new(Expr::Call { function, args, data_type: DataType::Timestamp }, span) })
}

fn as_interval(ast: &ast::Expr) -> Option<&ast::Interval> {
    match ast {
        ast::Expr::Interval(interval) => Some(interval),
        ast::Expr::Nested(inner) => as_interval(inner),
        _ => None,
    }
}

fn negate(interval: Interval, span: Span) -> Planned<Interval> {
    let negated = (|| {
        Some(Interval {
            months: interval.months.checked_neg()?,
            days: interval.days.checked_neg()?,
            micros: interval.micros.checked_neg()?,
        })
    })();
    negated.ok_or_else(|| Mistake::new(span, "the interval is too long"))
}

/// `DATE_TRUNC`, `DATE_PART` and `DATE_DIFF`: the argument at `at` as a constant text.
pub(crate) fn zone_argument(args: &[&ast::Expr], at: usize) -> Planned<Option<String>> {
    let Some(ast) = args.get(at) else { return Ok(None) };
    let name = super::function::constant_text(ast, "the time zone", "write an IANA name, such as 'Europe/Berlin'")?;
    time_zone(&name, ast.span())
}
