//! The built-in scalar functions, one by one.

use sqlparser::ast::Spanned;

use super::{
    coerce::{Typed, cast_to},
    datetime,
    diagnostic::{Mistake, Planned, all},
    expression::Context,
    function::{Call, check_pattern, rounding, timestamp, unified},
    operator,
};
use crate::{
    expr::{Expr, Function},
    types::DataType,
};

/// A call whose name is known.
pub(crate) fn plan(call: &Call<'_>) -> Planned<Typed> {
    use DataType::{BigInt, Boolean, Double, Int, Text, Timestamp};
    use Function as F;
    match call.name {
        "lower" => call.simple(F::Lower, 1, &[Text], Text),
        "upper" => call.simple(F::Upper, 1, &[Text], Text),
        "length" | "char_length" => call.simple(F::Length, 1, &[Text], Int),
        "trim" | "btrim" => call.simple(F::Trim, 1, &[Text], Text),
        "ltrim" => call.simple(F::TrimStart, 1, &[Text], Text),
        "rtrim" => call.simple(F::TrimEnd, 1, &[Text], Text),
        "substring" | "substr" => call.simple(F::Substring, 2, &[Text, BigInt, BigInt], Text),
        "replace" => call.simple(F::Replace, 3, &[Text, Text, Text], Text),
        "starts_with" => call.simple(F::StartsWith, 2, &[Text, Text], Boolean),
        "ends_with" => call.simple(F::EndsWith, 2, &[Text, Text], Boolean),
        "contains" => call.simple(F::Contains, 2, &[Text, Text], Boolean),
        "strpos" => call.simple(F::Position, 2, &[Text, Text], Int),
        "left" => call.simple(F::Left, 2, &[Text, BigInt], Text),
        "right" => call.simple(F::Right, 2, &[Text, BigInt], Text),
        "split_part" => call.simple(F::SplitPart, 3, &[Text, Text, BigInt], Text),
        "sqrt" => double(call, F::Sqrt, 1),
        "ln" => double(call, F::Ln, 1),
        "log10" => double(call, F::Log10, 1),
        "exp" => double(call, F::Exp, 1),
        "power" | "pow" => double(call, F::Power, 2),
        "epoch_us" => call.simple(F::EpochMicros, 1, &[Timestamp], BigInt),
        "concat" => concat(call),
        "coalesce" | "ifnull" => {
            call.arity(if call.name == "ifnull" { 2 } else { 1 }, if call.name == "ifnull" { 2 } else { usize::MAX })?;
            let (args, data_type, nullable) = unified(call)?;
            Ok(Typed { nullable, ..call.result(F::Coalesce, args, data_type) })
        }
        "nullif" => {
            call.arity(2, 2)?;
            let (args, data_type, _) = unified(call)?;
            Ok(call.result(F::NullIf, args, data_type))
        }
        "greatest" | "least" => {
            call.arity(1, usize::MAX)?;
            let (args, data_type, nullable) = unified(call)?;
            let function = if call.name == "greatest" { F::Greatest } else { F::Least };
            Ok(Typed { nullable, ..call.result(function, args, data_type) })
        }
        "if" => conditional(call),
        "mod" => {
            call.arity(2, 2)?;
            let sides = call.typed()?;
            operator::binary(&sqlparser::ast::BinaryOperator::Modulo, &sides[0], &sides[1], call.span)
        }
        "abs" | "sign" | "floor" | "ceil" | "ceiling" | "round" => numeric(call),
        "regexp_like" | "regexp_replace" | "regexp_extract" => regexp(call),
        "json_value" => json_value(call),
        "date_trunc" => {
            call.arity(2, 3)?;
            let name = call.text(0, "the unit")?;
            let unit = datetime::unit(&name, call.args[0].span())?;
            let args = vec![timestamp(&call.context.plan(call.args[1])?)?];
            Ok(call.result(F::DateTrunc { unit, time_zone: call.zone(2)? }, args, Timestamp))
        }
        "date_part" => {
            call.arity(2, 3)?;
            let field = call.text(0, "the field")?;
            datetime::extract(call.context, &field, call.args[1], call.zone(2)?, call.span)
        }
        "date_diff" => {
            call.arity(3, 3)?;
            let name = call.text(0, "the unit")?;
            let unit = datetime::unit(&name, call.args[0].span())?;
            let args = all(call.args[1..].iter().map(|arg| timestamp(&call.context.plan(arg)?)))?;
            Ok(call.result(F::DateDiff { unit }, args, BigInt))
        }
        "date" => {
            call.arity(1, 1)?;
            let args = timestamp(&call.context.plan(call.args[0])?)?;
            Ok(Typed::new(cast_to(args, DataType::Date), call.span))
        }
        "to_timestamp" => {
            call.arity(1, 1)?;
            let seconds = call.context.plan(call.args[0])?;
            operator::require_numeric(&seconds, "TO_TIMESTAMP")
                .map_err(|m| m.help("for a text write CAST(text AS TIMESTAMP)"))?;
            let to = match seconds.data_type() {
                Int | BigInt => BigInt,
                _ => Double,
            };
            Ok(call.result(F::ToTimestamp, vec![cast_to(seconds.expr, to)], Timestamp))
        }
        name => Err(Mistake::new(call.span, format!("there is no function `{name}`"))),
    }
}

fn double(call: &Call<'_>, function: Function, count: usize) -> Planned<Typed> {
    call.arity(count, count)?;
    let args = all(call.args.iter().map(|arg| {
        let typed = call.context.plan(arg)?;
        operator::require_numeric(&typed, &call.name.to_uppercase())?;
        Ok(cast_to(typed.expr, DataType::Double))
    }))?;
    Ok(call.result(function, args, DataType::Double))
}

/// `CONCAT` is `||` of all arguments, NULLs taken as nothing (as in PostgreSQL).
fn concat(call: &Call<'_>) -> Planned<Typed> {
    call.arity(1, 64)?;
    let empty = || Expr::Literal { value: crate::types::Value::Text(String::new()), data_type: DataType::Text };
    let args = all(call.typed()?.iter().map(|typed| {
        let text = operator::as_text(typed)?;
        if !typed.nullable {
            return Ok(text);
        }
        let args = vec![text, empty()];
        Ok(Expr::Call { function: Function::Coalesce, args, data_type: DataType::Text })
    }))?;
    let joined = args.into_iter().reduce(|left, right| Expr::Call {
        function: Function::Concat,
        args: vec![left, right],
        data_type: DataType::Text,
    });
    Ok(Typed { nullable: false, ..Typed::new(joined.unwrap_or_else(empty), call.span) })
}

fn conditional(call: &Call<'_>) -> Planned<Typed> {
    call.arity(3, 3)?;
    let condition = call.context.condition(call.args[0])?;
    let values = all(call.args[1..].iter().map(|arg| call.context.plan(arg)))?;
    let mut values = operator::unify(&values, "the branches of IF have one type")?;
    let data_type = operator::type_of(&values, None);
    let otherwise = values.pop().map(Box::new);
    let branches = values.into_iter().map(|value| (condition.clone(), value)).collect();
    Ok(Typed::new(Expr::Case { branches, otherwise, data_type }, call.span))
}

fn numeric(call: &Call<'_>) -> Planned<Typed> {
    call.arity(1, if call.name == "round" { 2 } else { 1 })?;
    let typed = call.context.plan(call.args[0])?;
    operator::require_numeric(&typed, &call.name.to_uppercase())?;
    let data_type = typed.data_type();
    match call.name {
        "abs" => Ok(call.result(Function::Abs, vec![typed.expr], data_type)),
        "sign" => Ok(call.result(Function::Sign, vec![typed.expr], DataType::Int)),
        "floor" => rounding(Function::Floor, &typed, call.span),
        "ceil" | "ceiling" => rounding(Function::Ceil, &typed, call.span),
        _ => {
            let digits = if call.args.len() == 2 { call.whole(1, "the number of digits", 38)? } else { 0 };
            let digits = u8::try_from(digits).unwrap_or(38);
            match data_type {
                DataType::Int | DataType::BigInt => Ok(typed),
                DataType::Decimal { scale, .. } if scale <= digits => Ok(typed),
                DataType::Decimal { precision, scale } => {
                    let result =
                        DataType::Decimal { precision: (precision - scale + digits + 1).min(38), scale: digits };
                    Ok(call.result(Function::Round { digits }, vec![typed.expr], result))
                }
                _ => Ok(call.result(Function::Round { digits }, vec![typed.expr], data_type)),
            }
        }
    }
}

fn regexp(call: &Call<'_>) -> Planned<Typed> {
    let (least, most) = match call.name {
        "regexp_like" => (2, 2),
        "regexp_replace" => (3, 3),
        _ => (2, 3),
    };
    call.arity(least, most)?;
    let text = context_text(call.context, call.args[0])?;
    let pattern = call.text(1, "the pattern")?;
    let regex = check_pattern(&pattern, call.args[1].span())?;
    match call.name {
        "regexp_like" => Ok(call.result(Function::RegexpLike { pattern }, vec![text], DataType::Boolean)),
        "regexp_replace" => {
            let replacement = call.text(2, "the replacement")?;
            Ok(call.result(Function::RegexpReplace { pattern, replacement }, vec![text], DataType::Text))
        }
        _ => {
            let groups = u64::try_from(regex.captures_len()).unwrap_or(1) - 1;
            let group = if call.args.len() == 3 { call.whole(2, "the group", groups)? } else { 0 };
            let group = usize::try_from(group).unwrap_or(0);
            Ok(call.result(Function::RegexpExtract { pattern, group }, vec![text], DataType::Text))
        }
    }
}

fn context_text(context: &Context<'_>, ast: &sqlparser::ast::Expr) -> Planned<Expr> {
    context.plan_as(ast, DataType::Text)
}

fn json_value(call: &Call<'_>) -> Planned<Typed> {
    call.arity(2, 2)?;
    let json = call.context.plan(call.args[0])?;
    if !json.free && !matches!(json.data_type(), DataType::Json | DataType::Text) {
        let found = json.data_type();
        return Err(Mistake::new(json.span, format!("JSON_VALUE needs JSON or TEXT, this is {found}"))
            .label(format!("this is {found}")));
    }
    let text = call.text(1, "the path")?;
    let path = json_path(&text).ok_or_else(|| {
        Mistake::new(call.args[1].span(), format!("'{text}' is not a path"))
            .label("not a path")
            .help("write '$.name', '$.name[0]' or '$.\"a name\".b'")
    })?;
    Ok(call.result(Function::JsonValue { path }, vec![json.expr], DataType::Text))
}

/// `$.a.b[0]."c d"` as its steps.
fn json_path(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('$')?;
    let mut path = Vec::new();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = inside.split_once(']')?;
            let quoted = ['\'', '"'].iter().find_map(|q| step.strip_prefix(*q)?.strip_suffix(*q));
            if quoted.is_none() && (step.is_empty() || !step.bytes().all(|b| b.is_ascii_digit())) {
                return None;
            }
            path.push(quoted.unwrap_or(step).to_owned());
            rest = after;
        } else {
            let name = rest.strip_prefix('.')?;
            let (step, after) = match name.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => name.split_at(name.find(['.', '[']).unwrap_or(name.len())),
            };
            if step.is_empty() {
                return None;
            }
            path.push(step.to_owned());
            rest = after;
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::json_path;

    #[test]
    fn json_paths() {
        let path = |steps: &[&str]| Some(steps.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(json_path("$.a.b[0]"), path(&["a", "b", "0"]));
        assert_eq!(json_path("$.\"a b\"['c']"), path(&["a b", "c"]));
        assert_eq!(json_path("$"), path(&[]));
        for wrong in ["a.b", "$.", "$[x]", "$.a[", "$a"] {
            assert_eq!(json_path(wrong), None, "{wrong}");
        }
    }
}
