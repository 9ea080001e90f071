//! Aggregate calls: names, arguments, result types.

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    coerce::{Typed, cast_to},
    diagnostic::{Mistake, Planned},
    expression::Context,
    name::fold,
    operator,
};
use crate::{
    aggregate::{AggregateCall, AggregateFunction},
    expr::Expr,
    types::{DataType, Value},
};

/// The names of aggregates.
pub(crate) const NAMES: &[&str] = &[
    "approx_count_distinct",
    "approx_percentile",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "first",
    "last",
    "max",
    "mean",
    "min",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
];

/// Whether a call is one of an aggregate.
pub(crate) fn is_aggregate(call: &ast::Function) -> bool {
    match call.name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] => NAMES.contains(&fold(ident).as_str()),
        _ => false,
    }
}

/// An aggregate where there can be none.
pub(crate) fn misplaced(name: &str, clause: &str, span: Span) -> Box<Mistake> {
    let name = name.to_uppercase();
    let help = match clause {
        "WHERE" => "conditions on aggregates belong in HAVING",
        "GROUP BY" => "group by columns or expressions of them",
        "an aggregate" => "aggregates cannot be nested: aggregate once more in a CREATE VIEW over this one",
        _ => "aggregates stand in SELECT, HAVING and ORDER BY",
    };
    let within = if clause == "an aggregate" { "within another aggregate".to_owned() } else { format!("in {clause}") };
    Mistake::new(span, format!("the aggregate {name} cannot stand {within}")).label("an aggregate").help(help)
}

/// Plans a call; `context` is below the reduction. Its name is a proposal, see [`proposed_name`].
pub(crate) fn plan(context: &Context<'_>, call: &ast::Function, in_core: bool) -> Planned<AggregateCall> {
    let span = call.span();
    let name = call.name.to_string().to_lowercase();
    let upper = name.to_uppercase();
    if !call.within_group.is_empty() {
        return Err(Mistake::new(span, "WITHIN GROUP is not supported").help("write APPROX_PERCENTILE(x, 0.95)"));
    }
    if call.null_treatment.is_some() {
        return Err(Mistake::new(span, "aggregates skip NULLs always").help("leave IGNORE NULLS or RESPECT NULLS out"));
    }
    let ast::FunctionArguments::List(list) = &call.args else {
        return Err(Mistake::new(span, format!("{upper} needs an argument in parentheses")));
    };
    if !list.clauses.is_empty() {
        return Err(Mistake::new(span, format!("{upper} has no order or limit of its own"))
            .help("FIRST and LAST go by event time; leave ORDER BY within the parentheses out"));
    }
    let distinct = list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
    let filter = call.filter.as_ref().map(|f| Context { clause: "FILTER", ..*context }.condition(f)).transpose()?;
    let built = |function, argument, data_type| {
        Ok(AggregateCall { name: proposed_name(&name, distinct, list), function, argument, filter, data_type })
    };
    let mut args = Vec::new();
    for arg in &list.args {
        match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => args.push(expr),
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) if name == "count" && list.args.len() == 1 => {
                if distinct {
                    return Err(Mistake::new(span, "COUNT(DISTINCT *) is not supported")
                        .help("name the column: COUNT(DISTINCT x)"));
                }
                return built(AggregateFunction::CountStar, None, DataType::BigInt);
            }
            _ => {
                return Err(
                    Mistake::new(span, format!("{upper}(*) is not defined")).help(format!("name a column: {upper}(x)"))
                );
            }
        }
    }
    let (wanted, usage) = match name.as_str() {
        "approx_percentile" => (2, "APPROX_PERCENTILE(x, 0.95)".to_owned()),
        "count" => (1, "COUNT(*), COUNT(x) or COUNT(DISTINCT x)".to_owned()),
        _ => (1, format!("{upper}(x)")),
    };
    if args.len() != wanted {
        let help = if distinct && args.len() > 1 {
            "for combinations write COUNT(DISTINCT CONCAT(a, '|', b))".to_owned()
        } else {
            format!("write {usage}")
        };
        let number = if wanted == 1 { "one argument" } else { "two arguments" };
        return Err(Mistake::new(
            span,
            format!(
                "{upper} takes {number}, {} given",
                match args.len() {
                    0 => "none is".to_owned(),
                    1 => "1 is".to_owned(),
                    n => format!("{n} are"),
                }
            ),
        )
        .help(help));
    }
    if distinct && !matches!(name.as_str(), "count" | "min" | "max") {
        return Err(Mistake::new(span, format!("{upper}(DISTINCT …) is not supported"))
            .help("COUNT(DISTINCT x) is; or group by x in one view and aggregate in a CREATE VIEW over it"));
    }
    let argument = context.plan(args[0])?;
    let (function, expr, data_type) = typed(context, &name, argument, &args, distinct, in_core, span)?;
    built(function, Some(expr), data_type)
}

fn typed(
    context: &Context<'_>,
    name: &str,
    argument: Typed,
    args: &[&ast::Expr],
    distinct: bool,
    in_core: bool,
    span: Span,
) -> Planned<(AggregateFunction, Expr, DataType)> {
    use AggregateFunction as A;
    let upper = name.to_uppercase();
    let found = argument.data_type();
    let numeric = || operator::require_numeric(&argument, &upper);
    Ok(match name {
        "count" if distinct => (A::CountDistinct, argument.expr, DataType::BigInt),
        "count" => (A::Count, argument.expr, DataType::BigInt),
        "approx_count_distinct" => (A::ApproxCountDistinct, argument.expr, DataType::BigInt),
        "sum" => {
            numeric()?;
            let data_type = match found {
                DataType::Int => DataType::BigInt,
                DataType::BigInt => DataType::Decimal { precision: 38, scale: 0 },
                DataType::Decimal { scale, .. } => DataType::Decimal { precision: 38, scale },
                _ => DataType::Double,
            };
            (A::Sum, argument.expr, data_type)
        }
        "min" | "max" => {
            if matches!(found, DataType::Boolean | DataType::Json) {
                let help = match found {
                    DataType::Boolean => "write BOOL_AND(x) or BOOL_OR(x)",
                    _ => "take a value out of it: JSON_VALUE(x, '$.a')",
                };
                return Err(Mistake::new(argument.span, format!("{found} has no order"))
                    .label(format!("this is {found}"))
                    .help(help));
            }
            (if name == "min" { A::Min } else { A::Max }, argument.expr, found)
        }
        "bool_and" | "every" | "bool_or" => {
            let expr = context.condition(args[0])?;
            (if name == "bool_or" { A::BoolOr } else { A::BoolAnd }, expr, DataType::Boolean)
        }
        "first" | "last" => {
            if !in_core {
                return Err(Mistake::new(span, format!("{upper} goes by the event time of records, and here are none"))
                    .label("only in a materialized view")
                    .help(format!("take {upper}(x) in the CREATE MATERIALIZED VIEW, or rank rows with ROW_NUMBER() OVER (… ORDER BY …)")));
            }
            (if name == "first" { A::First } else { A::Last }, argument.expr, found)
        }
        "approx_percentile" => {
            numeric()?;
            (
                A::ApproxPercentile { fraction: fraction(context, args[1])? },
                cast_to(argument.expr, DataType::Double),
                DataType::Double,
            )
        }
        _ => {
            numeric()?;
            let function = match name {
                "avg" | "mean" => A::Avg,
                "var_pop" => A::VarPop,
                "var_samp" | "variance" => A::VarSamp,
                "stddev_pop" => A::StddevPop,
                _ => A::StddevSamp,
            };
            (function, argument.expr, DataType::Double)
        }
    })
}

fn fraction(context: &Context<'_>, ast: &ast::Expr) -> Planned<f64> {
    let value = match context.plan(ast).map(|t| cast_to(t.expr, DataType::Double)) {
        Ok(Expr::Literal { value: Value::Double(value), .. }) => value,
        _ => f64::NAN,
    };
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Mistake::new(ast.span(), "the fraction of APPROX_PERCENTILE is a constant from 0 to 1")
        .label("not such a number")
        .help("write 0.95 for the 95th percentile"))
}

/// The name of a call's result without an alias.
pub(crate) fn name_of(call: &ast::Function) -> String {
    let name = call.name.to_string().to_lowercase();
    match &call.args {
        ast::FunctionArguments::List(list) if is_aggregate(call) => {
            proposed_name(&name, list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct), list)
        }
        _ => name,
    }
}

/// A readable name: `count`, `sum_amount`, `count_distinct_card`.
fn proposed_name(name: &str, distinct: bool, list: &ast::FunctionArgumentList) -> String {
    let mut proposed = name.to_owned();
    if distinct {
        proposed.push_str("_distinct");
    }
    if let Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument))) = list.args.first() {
        let column = match argument {
            ast::Expr::Identifier(ident) => Some(ident),
            ast::Expr::CompoundIdentifier(idents) => idents.last(),
            _ => None,
        };
        if let Some(column) = column {
            proposed.push('_');
            proposed.push_str(&fold(column));
        }
    }
    proposed
}
