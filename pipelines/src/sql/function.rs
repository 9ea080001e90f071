//! Scalar functions by name.

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    aggregate,
    coerce::{self, Typed, coerce},
    datetime,
    diagnostic::{Mistake, Planned, all},
    expression::Context,
    name::{did_you_mean, simple},
    operator, ranking,
};
use crate::{
    expr::{Expr, Function, kernels::pattern},
    types::{DataType, Value},
};

/// Names of the functions of [`plan`], with how they are called.
const FUNCTIONS: &[(&str, &str)] = &[
    ("abs", "ABS(x)"),
    ("btrim", "BTRIM(text)"),
    ("ceil", "CEIL(x)"),
    ("ceiling", "CEILING(x)"),
    ("char_length", "CHAR_LENGTH(text)"),
    ("coalesce", "COALESCE(a, b, …)"),
    ("concat", "CONCAT(a, b, …)"),
    ("contains", "CONTAINS(text, part)"),
    ("date", "DATE(ts)"),
    ("date_diff", "DATE_DIFF('unit', start, end)"),
    ("date_part", "DATE_PART('field', ts[, 'zone'])"),
    ("date_trunc", "DATE_TRUNC('unit', ts[, 'zone'])"),
    ("ends_with", "ENDS_WITH(text, suffix)"),
    ("epoch_us", "EPOCH_US(ts)"),
    ("exp", "EXP(x)"),
    ("floor", "FLOOR(x)"),
    ("greatest", "GREATEST(a, b, …)"),
    ("if", "IF(condition, then, else)"),
    ("ifnull", "IFNULL(a, b)"),
    ("json_value", "JSON_VALUE(json, '$.a.b[0]')"),
    ("least", "LEAST(a, b, …)"),
    ("left", "LEFT(text, n)"),
    ("length", "LENGTH(text)"),
    ("ln", "LN(x)"),
    ("log10", "LOG10(x)"),
    ("lower", "LOWER(text)"),
    ("ltrim", "LTRIM(text)"),
    ("mod", "MOD(a, b)"),
    ("nullif", "NULLIF(a, b)"),
    ("pow", "POW(x, y)"),
    ("power", "POWER(x, y)"),
    ("regexp_extract", "REGEXP_EXTRACT(text, 'pattern'[, group])"),
    ("regexp_like", "REGEXP_LIKE(text, 'pattern')"),
    ("regexp_replace", "REGEXP_REPLACE(text, 'pattern', 'replacement')"),
    ("replace", "REPLACE(text, from, to)"),
    ("right", "RIGHT(text, n)"),
    ("round", "ROUND(x[, digits])"),
    ("rtrim", "RTRIM(text)"),
    ("sign", "SIGN(x)"),
    ("split_part", "SPLIT_PART(text, separator, n)"),
    ("sqrt", "SQRT(x)"),
    ("starts_with", "STARTS_WITH(text, prefix)"),
    ("strpos", "STRPOS(text, part)"),
    ("substr", "SUBSTR(text, from[, count])"),
    ("substring", "SUBSTRING(text, from[, count])"),
    ("to_timestamp", "TO_TIMESTAMP(seconds)"),
    ("trim", "TRIM(text)"),
    ("upper", "UPPER(text)"),
];

const VOLATILE: &[&str] = &[
    "clock_timestamp",
    "current_date",
    "current_time",
    "current_timestamp",
    "gen_random_uuid",
    "getdate",
    "localtime",
    "localtimestamp",
    "now",
    "proctime",
    "rand",
    "random",
    "statement_timestamp",
    "sysdate",
    "today",
    "transaction_timestamp",
    "unix_timestamp",
    "uuid",
];

/// Whether the function gives something else each time.
pub(crate) fn is_volatile(name: &str) -> bool {
    VOLATILE.contains(&name)
}

/// Refuses a volatile function.
pub(crate) fn volatile(name: &str, span: Span) -> Box<Mistake> {
    let random = matches!(name, "rand" | "random" | "uuid" | "gen_random_uuid");
    Mistake::new(
        span,
        format!("{}() gives something else each time, so the two layers could not agree", name.to_uppercase()),
    )
    .label("volatile")
    .help(if random {
        "write it into the record when it is produced"
    } else {
        "write `_append_time`, the time at which the log took the record; in a query write the time as a constant"
    })
}

/// A function that people look for under another name.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "json_extract" | "json_extract_scalar" | "json_extract_path_text" | "get_json_object" => {
            "write JSON_VALUE(json, '$.a.b[0]')"
        }
        "datediff" | "timestampdiff" | "age" => "write DATE_DIFF('second', start, end)",
        "date_add" | "dateadd" | "timestampadd" => "write `ts + INTERVAL '1 day'`",
        "date_sub" => "write `ts - INTERVAL '1 day'`",
        "date_format" | "to_char" | "strftime" => "write EXTRACT or DATE_TRUNC, and format when showing",
        "year" | "month" | "day" | "hour" | "minute" | "second" | "dayofweek" => {
            "write EXTRACT(HOUR FROM ts) and the like"
        }
        "date_bin" | "time_bucket" => "write TUMBLE in FROM: FROM TUMBLE(table, ts, INTERVAL '1 minute')",
        "len" => "write LENGTH(text)",
        "regexp_match" | "regexp_matches" | "rlike" => "write REGEXP_LIKE or REGEXP_EXTRACT",
        "median" => "write APPROX_PERCENTILE(x, 0.5)",
        "percentile_cont" | "percentile_disc" | "approx_quantile" | "quantile" => "write APPROX_PERCENTILE(x, 0.95)",
        "approx_distinct" => "write APPROX_COUNT_DISTINCT(x)",
        "any_value" => "write MIN(x), or FIRST(x) by event time",
        "array_agg" | "string_agg" | "listagg" | "group_concat" | "collect_list" => {
            "values are not collected: write a view of rows (a plain SELECT), and read it by key"
        }
        "tumble" | "hop" | "tumble_start" | "hop_start" => {
            "windows stand in FROM: FROM TUMBLE(table, ts, INTERVAL '1 minute') … GROUP BY window_start"
        }
        "log" | "log2" => "write LN(x) or LOG10(x)",
        "nvl" | "isnull" => "write COALESCE(a, b)",
        "try_cast" => "write TRY_CAST(x AS type)",
        _ => return None,
    })
}

/// A call: a scalar function, or a mistake that says where this one can be used.
pub(crate) fn plan(context: &Context<'_>, call: &ast::Function, span: Span) -> Planned<Typed> {
    let name = simple(&call.name)?;
    if call.over.is_some() {
        return ranking::plan(context, call, &name, span);
    }
    if aggregate::is_aggregate(call) {
        return Err(aggregate::misplaced(&name, context.clause, span));
    }
    if is_volatile(&name) && context.registry.get(&name).is_none() {
        return Err(volatile(&name, span));
    }
    if ranking::is_ranking(&name) {
        return Err(Mistake::new(span, format!("{}() needs OVER", name.to_uppercase())).help(format!(
            "write {}() OVER (PARTITION BY … ORDER BY …), in a CREATE VIEW or a query",
            name.to_uppercase()
        )));
    }
    let args = plain_arguments(call, span)?;
    if let Some(user) = context.registry.get(&name) {
        if user.arguments.len() != args.len() {
            let declared: Vec<String> = user.arguments.iter().map(ToString::to_string).collect();
            let plural = if user.arguments.len() == 1 { "" } else { "s" };
            let message = format!("{name} takes {} argument{plural}, not {}", user.arguments.len(), args.len());
            return Err(Mistake::new(span, message).help(format!("write {name}({})", declared.join(", "))));
        }
        let args = all(args.iter().zip(&user.arguments).map(|(arg, to)| context.plan_as(arg, *to)))?;
        let expr = Expr::User { name: user.name.clone(), version: user.version, args, data_type: user.returns };
        return Ok(Typed::new(expr, span));
    }
    let Some((_, usage)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
        return Err(unknown(context, &name, span));
    };
    let call = Call { context, name: &name, usage, args: &args, span };
    super::builtin::plan(&call)
}

fn unknown(context: &Context<'_>, name: &str, span: Span) -> Box<Mistake> {
    let known =
        FUNCTIONS.iter().map(|(n, _)| *n).chain(aggregate::NAMES.iter().copied()).chain(context.registry.names());
    let help = elsewhere(name).map(str::to_owned).or_else(|| did_you_mean(name, known));
    Mistake::new(span, format!("there is no function `{name}`")).label("unknown function").maybe_help(help)
}

/// The arguments of a call without DISTINCT, FILTER, names or the like.
pub(crate) fn plain_arguments(call: &ast::Function, span: Span) -> Planned<Vec<&ast::Expr>> {
    if call.filter.is_some() {
        return Err(Mistake::new(span, format!("FILTER belongs to aggregates, and {} is none", call.name)));
    }
    if !call.within_group.is_empty() || call.null_treatment.is_some() {
        return Err(Mistake::new(span, "WITHIN GROUP and IGNORE NULLS are not supported"));
    }
    match &call.args {
        ast::FunctionArguments::None => Ok(Vec::new()),
        ast::FunctionArguments::Subquery(_) => Err(Mistake::new(span, "a query cannot be an argument")),
        ast::FunctionArguments::List(list) => {
            if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
                return Err(Mistake::new(span, format!("{} takes plain arguments only", call.name)));
            }
            all(list.args.iter().map(|arg| match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
                _ => Err(Mistake::new(span, format!("{} takes plain arguments only", call.name))
                    .help("write the arguments in order, without names")),
            }))
        }
    }
}

/// A call of a built-in function.
pub(crate) struct Call<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) name: &'a str,
    usage: &'a str,
    pub(crate) args: &'a [&'a ast::Expr],
    pub(crate) span: Span,
}

impl Call<'_> {
    /// Refuses another number of arguments.
    pub(crate) fn arity(&self, least: usize, most: usize) -> Planned<()> {
        if (least..=most).contains(&self.args.len()) {
            return Ok(());
        }
        let wanted = match (least, most) {
            (a, b) if a == b => format!("{a} argument{}", if a == 1 { "" } else { "s" }),
            (a, usize::MAX) => format!("at least {a} argument{}", if a == 1 { "" } else { "s" }),
            (a, b) => format!("{a} to {b} arguments"),
        };
        Err(Mistake::new(
            self.span,
            format!(
                "{} takes {wanted}, {} given",
                self.name.to_uppercase(),
                match self.args.len() {
                    0 => "none is".to_owned(),
                    1 => "1 is".to_owned(),
                    n => format!("{n} are"),
                }
            ),
        )
        .help(format!("write {}", self.usage)))
    }

    /// All arguments, of any type.
    pub(crate) fn typed(&self) -> Planned<Vec<Typed>> {
        all(self.args.iter().map(|arg| self.context.plan(arg)))
    }

    /// A function with arguments of these types, as many as are given.
    pub(crate) fn simple(
        &self,
        function: Function,
        least: usize,
        types: &[DataType],
        result: DataType,
    ) -> Planned<Typed> {
        self.arity(least, types.len())?;
        let args = all(self.args.iter().zip(types).map(|(arg, to)| self.context.plan_as(arg, *to)))?;
        Ok(self.result(function, args, result))
    }

    /// The call itself.
    pub(crate) fn result(&self, function: Function, args: Vec<Expr>, data_type: DataType) -> Typed {
        Typed::new(Expr::Call { function, args, data_type }, self.span)
    }

    /// A constant text.
    pub(crate) fn text(&self, at: usize, what: &str) -> Planned<String> {
        constant_text(self.args[at], what, &format!("write {}", self.usage))
    }

    /// A constant whole number.
    pub(crate) fn whole(&self, at: usize, what: &str, most: u64) -> Planned<u64> {
        constant_whole(self.args[at], what, most)
    }

    /// A time zone, if given.
    pub(crate) fn zone(&self, at: usize) -> Planned<Option<String>> {
        datetime::zone_argument(self.args, at)
    }
}

/// A constant text, as patterns and units are.
pub(crate) fn constant_text(ast: &ast::Expr, what: &str, help: &str) -> Planned<String> {
    match ast {
        ast::Expr::Nested(inner) => return constant_text(inner, what, help),
        ast::Expr::Value(value) => {
            if let Ok(Typed { expr: Expr::Literal { value: Value::Text(text), .. }, .. }) =
                super::expression::constant(value)
            {
                return Ok(text);
            }
        }
        _ => {}
    }
    Err(Mistake::new(ast.span(), format!("{what} is a constant text")).label("not a text in quotes").help(help))
}

/// A constant whole number.
pub(crate) fn constant_whole(ast: &ast::Expr, what: &str, most: u64) -> Planned<u64> {
    let number = match ast {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(text, _), .. }) => text.parse::<u64>().ok(),
        _ => None,
    };
    number.filter(|n| *n <= most).ok_or_else(|| {
        let most = if most == u64::MAX { String::new() } else { format!(" up to {most}") };
        Mistake::new(ast.span(), format!("{what} is a constant whole number{most}")).label("not such a number")
    })
}

/// `FLOOR`, `CEIL`: whole numbers stay, decimals lose their fraction.
pub(crate) fn rounding(function: Function, typed: &Typed, span: Span) -> Planned<Typed> {
    operator::require_numeric(typed, if function == Function::Ceil { "CEIL" } else { "FLOOR" })?;
    match typed.data_type() {
        DataType::Decimal { precision, scale } if scale > 0 => {
            // One digit more than before the point: 9.5 rounds up to 10.
            let result = DataType::Decimal { precision: (precision - scale + 1).min(38), scale: 0 };
            Ok(Typed::new(Expr::Call { function, args: vec![typed.expr.clone()], data_type: result }, span))
        }
        DataType::Double => {
            Ok(Typed::new(Expr::Call { function, args: vec![typed.expr.clone()], data_type: DataType::Double }, span))
        }
        _ => Ok(Typed { span, ..typed.clone() }),
    }
}

/// A regular expression that compiles.
pub(crate) fn check_pattern(pattern: &str, span: Span) -> Planned<regex::Regex> {
    pattern::regex(pattern).map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Mistake::new(span, format!("not a regular expression: {reason}"))
            .label("does not compile")
            .help("the syntax is that of Rust's `regex` crate: no look-around, no back-references")
    })
}

/// Brings values to one type, NULLs included.
pub(crate) fn unified(call: &Call<'_>) -> Planned<(Vec<Expr>, DataType, bool)> {
    let items = call.typed()?;
    let rule = format!("the arguments of {} have one type", call.name.to_uppercase());
    let args = operator::unify(&items, &rule)?;
    let data_type = operator::type_of(&args, None);
    Ok((args, data_type, items.iter().all(|i| i.nullable)))
}

/// A timestamp from a timestamp, a date, or a quoted constant.
pub(crate) fn timestamp(typed: &Typed) -> Planned<Expr> {
    if typed.data_type() == DataType::Date && !typed.free {
        return Ok(coerce::cast_to(typed.expr.clone(), DataType::Timestamp));
    }
    coerce(typed, DataType::Timestamp)
}
