//! Scalar expressions: from syntax to typed expressions.

use std::cell::RefCell;

use sqlparser::{
    ast::{self, BinaryOperator, CastKind, CeilFloorKind, Spanned, TrimWhereField, UnaryOperator},
    tokenizer::Span,
};

use super::{
    aggregate, coerce,
    coerce::Typed,
    datetime, ddl,
    diagnostic::{Mistake, Planned, all},
    function, literal,
    name::fold,
    operator,
    ranking::Ranking,
    reduction::{Reduction, null},
    scope::Scope,
};
use crate::{
    expr::{Expr, Function},
    registry::Registry,
    types::{DataType, Value},
};

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The user's functions.
    pub(crate) registry: &'a Registry,
    /// The columns that can be named: the input's, also above a reduction.
    pub(crate) scope: &'a Scope,
    /// The clause, for messages.
    pub(crate) clause: &'static str,
    /// Set above a reduction: only grouping expressions and aggregates can be used.
    pub(crate) reduction: Option<&'a RefCell<Reduction>>,
    /// Set where window functions (`OVER`) can be used.
    pub(crate) ranking: Option<&'a RefCell<Ranking>>,
    /// Names of the `SELECT` list, where they can be used (`HAVING`, `QUALIFY`, `ORDER BY`).
    pub(crate) aliases: &'a [(String, &'a ast::Expr)],
}

impl<'a> Context<'a> {
    /// A context over plain rows.
    pub(crate) fn rows(registry: &'a Registry, scope: &'a Scope, clause: &'static str) -> Context<'a> {
        Context { registry, scope, clause, reduction: None, ranking: None, aliases: &[] }
    }

    /// The same below the reduction: arguments of aggregates, grouping expressions.
    pub(crate) fn below(&self, clause: &'static str) -> Context<'a> {
        Context { clause, reduction: None, ranking: None, aliases: &[], ..*self }
    }

    /// Plans an expression of any type.
    pub(crate) fn plan(&self, ast: &ast::Expr) -> Planned<Typed> {
        if let Some(reduction) = self.reduction
            && let Some(typed) = self.reduced(ast, reduction)?
        {
            return Ok(typed);
        }
        self.plan_node(ast).map_err(|m| m.at(ast.span()))
    }

    /// Plans an expression and coerces it.
    pub(crate) fn plan_as(&self, ast: &ast::Expr, to: DataType) -> Planned<Expr> {
        coerce::coerce(&self.plan(ast)?, to)
    }

    /// Plans a condition.
    pub(crate) fn condition(&self, ast: &ast::Expr) -> Planned<Expr> {
        let typed = self.plan(ast)?;
        if !typed.free && typed.data_type() != DataType::Boolean {
            let found = typed.data_type();
            return Err(Mistake::new(typed.span, format!("a condition is BOOLEAN, this is {found}"))
                .label(format!("this is {found}"))
                .help("compare it with something, as in `x > 0` or `x IS NOT NULL`"));
        }
        coerce::coerce(&typed, DataType::Boolean)
    }

    /// Above a reduction: aggregates and grouping expressions are columns of its output.
    fn reduced(&self, ast: &ast::Expr, reduction: &RefCell<Reduction>) -> Planned<Option<Typed>> {
        if let ast::Expr::Function(call) = ast
            && call.over.is_none()
            && aggregate::is_aggregate(call)
        {
            let in_core = reduction.borrow().in_core;
            let call = aggregate::plan(&self.below("an aggregate"), call, in_core)?;
            let nullable = !matches!(
                call.function,
                crate::aggregate::AggregateFunction::CountStar
                    | crate::aggregate::AggregateFunction::Count
                    | crate::aggregate::AggregateFunction::CountDistinct
            );
            let expr = reduction.borrow_mut().aggregate(call);
            return Ok(Some(Typed { expr, free: false, nullable, span: ast.span() }));
        }
        let names_column = matches!(ast, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_));
        match self.below(self.clause).plan(ast) {
            Ok(below) => {
                if let Some((expr, nullable)) = reduction.borrow().key(&below.expr) {
                    return Ok(Some(Typed { expr, free: false, nullable, span: ast.span() }));
                }
                if names_column {
                    return Err(Mistake::new(ast.span(), format!("`{ast}` is neither grouped nor in an aggregate"))
                        .label("has many values in a group")
                        .help(format!("add it to GROUP BY, or write an aggregate such as MAX({ast})")));
                }
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    fn plan_node(&self, ast: &ast::Expr) -> Planned<Typed> {
        use ast::Expr as A;
        let span = ast.span();
        let call = |function, args, data_type| Typed::new(Expr::Call { function, args, data_type }, span);
        match ast {
            A::Identifier(ident) => self.identifier(ident, span),
            A::CompoundIdentifier(idents) => Ok(self.scope.resolve(idents, span)?.typed(span)),
            A::Nested(inner) => self.plan(inner),
            A::Value(value) => constant(value),
            A::TypedString(typed) => {
                let to = ddl::data_type(&typed.data_type, span)?;
                let text = constant(&typed.value)?;
                Ok(Typed { nullable: false, ..Typed::new(coerce::coerce(&text, to)?, span) })
            }
            A::UnaryOp { op, expr } => self.unary(*op, expr, span),
            A::BinaryOp { left, op, right } => self.binary(left, op, right, span),
            A::IsNull(x) | A::IsUnknown(x) => self.test(Function::IsNull, x, span),
            A::IsNotNull(x) | A::IsNotUnknown(x) => self.test(Function::IsNotNull, x, span),
            A::IsTrue(x) => Ok(is_true(self.condition(x)?, false, false, span)),
            A::IsNotTrue(x) => Ok(is_true(self.condition(x)?, false, true, span)),
            A::IsFalse(x) => Ok(is_true(self.condition(x)?, true, false, span)),
            A::IsNotFalse(x) => Ok(is_true(self.condition(x)?, true, true, span)),
            A::IsDistinctFrom(a, b) | A::IsNotDistinctFrom(a, b) => {
                let function = match ast {
                    A::IsDistinctFrom(..) => Function::IsDistinctFrom,
                    _ => Function::IsNotDistinctFrom,
                };
                Ok(Typed { nullable: false, ..operator::compare(function, &self.plan(a)?, &self.plan(b)?, span)? })
            }
            A::Between { expr, negated, low, high } => {
                let (x, low, high) = (self.plan(expr)?, self.plan(low)?, self.plan(high)?);
                let args = vec![
                    operator::compare(Function::GreaterOrEqual, &x, &low, span)?.expr,
                    operator::compare(Function::LessOrEqual, &x, &high, span)?.expr,
                ];
                Ok(negate_if(*negated, call(Function::And, args, DataType::Boolean)))
            }
            A::InList { expr, list, negated } => {
                let items = all(std::iter::once(&**expr).chain(list).map(|item| self.plan(item)))?;
                let args = operator::unify(&items, "IN compares values of one type")?;
                Ok(negate_if(*negated, call(Function::In, args, DataType::Boolean)))
            }
            A::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_deref(), false, *negated, span)
            }
            A::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_deref(), true, *negated, span)
            }
            A::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), span)
            }
            A::Cast { kind, expr, data_type, format: None } => {
                let to = ddl::data_type(data_type, span)?;
                let safe = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
                explicit_cast(self.plan(expr)?, to, safe, span)
            }
            A::Extract { field, expr, .. } => datetime::extract(self, &field.to_string(), expr, None, span),
            A::Ceil { expr, field: CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                function::rounding(Function::Ceil, &self.plan(expr)?, span)
            }
            A::Floor { expr, field: CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                function::rounding(Function::Floor, &self.plan(expr)?, span)
            }
            A::Position { expr, r#in } => {
                let args = vec![self.plan_as(r#in, DataType::Text)?, self.plan_as(expr, DataType::Text)?];
                Ok(call(Function::Position, args, DataType::Int))
            }
            A::Substring { expr, substring_from, substring_for, .. } => {
                let from = match substring_from {
                    Some(from) => self.plan_as(from, DataType::BigInt)?,
                    None => Expr::Literal { value: Value::Int(1), data_type: DataType::BigInt },
                };
                let mut args = vec![self.plan_as(expr, DataType::Text)?, from];
                if let Some(count) = substring_for {
                    args.push(self.plan_as(count, DataType::BigInt)?);
                }
                Ok(call(Function::Substring, args, DataType::Text))
            }
            A::Trim { trim_where, trim_what, expr, trim_characters: None } if removes_spaces(trim_what.as_deref()) => {
                let function = match trim_where {
                    None | Some(TrimWhereField::Both) => Function::Trim,
                    Some(TrimWhereField::Leading) => Function::TrimStart,
                    Some(TrimWhereField::Trailing) => Function::TrimEnd,
                };
                Ok(call(function, vec![self.plan_as(expr, DataType::Text)?], DataType::Text))
            }
            A::Trim { .. } => Err(Mistake::new(span, "TRIM removes spaces only")
                .help("for other characters write REGEXP_REPLACE(x, '^[0]+', '')")),
            A::Function(call) => function::plan(self, call, span),
            A::Interval(interval) => Err(Mistake::new(interval.value.span(), "an INTERVAL cannot stand here")
                .label("not a value")
                .help("add it to a TIMESTAMP or DATE, as in `ts + INTERVAL '1 day'`")),
            A::InSubquery { .. } | A::Exists { .. } | A::Subquery(_) => {
                Err(Mistake::new(span, "subqueries in expressions are not supported")
                    .label("a query within an expression")
                    .help("in a CREATE VIEW or a query, write it as a JOIN"))
            }
            A::AtTimeZone { .. } => Err(Mistake::new(span, "AT TIME ZONE is not supported: every TIMESTAMP is UTC")
                .help("name the zone where it matters: DATE_TRUNC('day', ts, 'Europe/Berlin'), DATE_PART('hour', ts, 'Europe/Berlin')")),
            A::SimilarTo { .. } | A::RLike { .. } => {
                Err(Mistake::new(span, "this way of matching is not supported").help("write REGEXP_LIKE(text, 'pattern')"))
            }
            A::CompoundFieldAccess { .. } | A::JsonAccess { .. } => {
                Err(Mistake::new(span, "fields of JSON are not reached this way")
                    .help("write JSON_VALUE(column, '$.a.b[0]')"))
            }
            A::Tuple(_) | A::Array(_) | A::Struct { .. } | A::Map(_) | A::Dictionary(_) => {
                Err(Mistake::new(span, "rows, arrays, structs and maps are not supported")
                    .help("compare columns one by one: `a = 1 AND b = 2`"))
            }
            other => Err(Mistake::new(span, format!("`{other}` is not supported")).label("not supported")),
        }
    }

    fn identifier(&self, ident: &ast::Ident, span: Span) -> Planned<Typed> {
        if !self.scope.has(ident) {
            let name = fold(ident);
            if let Some((_, ast)) = self.aliases.iter().find(|(alias, _)| *alias == name) {
                return Context { aliases: &[], ..*self }.plan(ast);
            }
            if ident.quote_style.is_none() && function::is_volatile(&name) {
                return Err(function::volatile(&name, span));
            }
        }
        let mistake = |m: Box<Mistake>| {
            // Above a reduction a mistyped name of the SELECT list is as likely as a column's.
            let aliases = self.aliases.iter().map(|(name, _)| name.as_str());
            match super::name::did_you_mean(&fold(ident), aliases) {
                Some(help) => m.help(help),
                None => m,
            }
        };
        Ok(self.scope.resolve(std::slice::from_ref(ident), span).map_err(mistake)?.typed(span))
    }

    fn unary(&self, op: UnaryOperator, operand: &ast::Expr, span: Span) -> Planned<Typed> {
        match op {
            UnaryOperator::Not => {
                let args = vec![self.condition(operand)?];
                Ok(Typed::new(Expr::Call { function: Function::Not, args, data_type: DataType::Boolean }, span))
            }
            UnaryOperator::Minus | UnaryOperator::Plus => {
                let minus = op == UnaryOperator::Minus;
                if let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(text, _), .. }) = operand {
                    let (value, data_type) = literal::number(text, minus, span)?;
                    return Ok(Typed { nullable: false, ..Typed::new(Expr::Literal { value, data_type }, span) });
                }
                let typed = self.plan(operand)?;
                operator::require_numeric(&typed, if minus { "-" } else { "+" })?;
                let data_type = typed.data_type();
                if !minus {
                    return Ok(typed);
                }
                Ok(Typed::new(Expr::Call { function: Function::Negate, args: vec![typed.expr], data_type }, span))
            }
            other => Err(Mistake::new(span, format!("the operator `{other}` is not supported"))),
        }
    }

    fn binary(&self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr, span: Span) -> Planned<Typed> {
        if let (BinaryOperator::Plus | BinaryOperator::Minus, Some(result)) =
            (op, datetime::add_interval(self, left, op, right, span))
        {
            return result;
        }
        if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
            let function = if *op == BinaryOperator::And { Function::And } else { Function::Or };
            let args = all([self.condition(left), self.condition(right)])?;
            return Ok(Typed::new(Expr::Call { function, args, data_type: DataType::Boolean }, span));
        }
        let sides = all([self.plan(left), self.plan(right)])?;
        operator::binary(op, &sides[0], &sides[1], span)
    }

    fn test(&self, function: Function, operand: &ast::Expr, span: Span) -> Planned<Typed> {
        let args = vec![self.plan(operand)?.expr];
        let expr = Expr::Call { function, args, data_type: DataType::Boolean };
        Ok(Typed { nullable: false, ..Typed::new(expr, span) })
    }

    fn like(
        &self,
        text: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        case_insensitive: bool,
        negated: bool,
        span: Span,
    ) -> Planned<Typed> {
        let args = vec![self.plan_as(text, DataType::Text)?];
        let pattern = function::constant_text(
            pattern,
            "the pattern of LIKE",
            "for patterns in columns write CONTAINS, STARTS_WITH or ENDS_WITH",
        )?;
        let escape = match escape {
            None => None,
            Some(ast) => {
                let text = function::constant_text(ast, "the escape of LIKE", "write ESCAPE '\\'")?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (escape, None) => escape,
                    _ => return Err(Mistake::new(ast.span(), "ESCAPE takes one character").help("write ESCAPE '\\'")),
                }
            }
        };
        let function = Function::Like { pattern, escape, case_insensitive };
        let typed = Typed::new(Expr::Call { function, args, data_type: DataType::Boolean }, span);
        Ok(negate_if(negated, typed))
    }

    fn case(
        &self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        span: Span,
    ) -> Planned<Typed> {
        let operand = operand.map(|o| self.plan(o)).transpose()?;
        let tests = all(conditions.iter().map(|when| match &operand {
            None => self.condition(&when.condition),
            Some(operand) => {
                let value = self.plan(&when.condition)?;
                Ok(operator::compare(Function::Equal, operand, &value, value.span)?.expr)
            }
        }))?;
        let values = all(conditions.iter().map(|when| &when.result).chain(otherwise).map(|v| self.plan(v)))?;
        let nullable = otherwise.is_none() || values.iter().any(|v| v.nullable);
        let mut values = operator::unify(&values, "the branches of CASE have one type")?;
        let otherwise = otherwise.and_then(|_| values.pop()).map(Box::new);
        let data_type = operator::type_of(&values, otherwise.as_deref());
        let branches = tests.into_iter().zip(values).collect();
        Ok(Typed { nullable, ..Typed::new(Expr::Case { branches, otherwise, data_type }, span) })
    }
}

/// `TRIM(x)` and `TRIM(' ' FROM x)`.
fn removes_spaces(what: Option<&ast::Expr>) -> bool {
    match what {
        None => true,
        Some(ast::Expr::Value(value)) => matches!(&value.value, ast::Value::SingleQuotedString(text) if text == " "),
        Some(_) => false,
    }
}

/// A constant.
pub(crate) fn constant(value: &ast::ValueWithSpan) -> Planned<Typed> {
    let span = value.span;
    let literal = |value, data_type| Typed { nullable: false, ..Typed::new(Expr::Literal { value, data_type }, span) };
    match &value.value {
        ast::Value::Number(text, _) => {
            let (value, data_type) = literal::number(text, false, span)?;
            Ok(literal(value, data_type))
        }
        ast::Value::SingleQuotedString(text)
        | ast::Value::EscapedStringLiteral(text)
        | ast::Value::UnicodeStringLiteral(text)
        | ast::Value::DollarQuotedString(ast::DollarQuotedString { value: text, .. }) => {
            Ok(Typed { free: true, ..literal(Value::Text(text.clone()), DataType::Text) })
        }
        ast::Value::Boolean(value) => Ok(literal(Value::Boolean(*value), DataType::Boolean)),
        ast::Value::Null => Ok(Typed { free: true, nullable: true, ..Typed::new(null(DataType::Text), span) }),
        ast::Value::Placeholder(name) => {
            Err(Mistake::new(span, format!("the placeholder `{name}` has no value")).help("write the value itself"))
        }
        other => Err(Mistake::new(span, format!("`{other}` is not supported")).help("write texts in single quotes")),
    }
}

/// `CAST` and `TRY_CAST` as written by the user.
fn explicit_cast(typed: Typed, to: DataType, safe: bool, span: Span) -> Planned<Typed> {
    let from = typed.data_type();
    let nullable = typed.nullable || safe;
    if typed.free && !safe {
        return Ok(Typed { nullable, ..Typed::new(coerce::coerce(&typed, to)?, span) });
    }
    if !coerce::cast_allowed(from, to) {
        let help = match (from, to) {
            (DataType::Timestamp | DataType::Date, n) if n.is_numeric() => {
                Some("write EPOCH_US(ts), EXTRACT(EPOCH FROM ts) or another EXTRACT")
            }
            (n, DataType::Timestamp | DataType::Date) if n.is_numeric() => Some("write TO_TIMESTAMP(seconds)"),
            (_, DataType::Boolean) => Some("write a comparison, such as `x <> 0`"),
            (DataType::Boolean, _) => Some("write CASE WHEN x THEN 1 ELSE 0 END"),
            (_, DataType::Json) => Some("cast to TEXT first"),
            _ => None,
        };
        return Err(Mistake::new(span, format!("{from} cannot be cast to {to}"))
            .label(format!("this is {from}"))
            .maybe_help(help.map(str::to_owned)));
    }
    let expr = if safe && from != to {
        Expr::Cast { input: Box::new(typed.expr), to, safe }
    } else {
        match coerce::cast_to(typed.expr, to) {
            // A narrower decimal stands for itself, but the user asked for this type.
            expr if expr.data_type() != to => Expr::Cast { input: Box::new(expr), to, safe },
            expr => expr,
        }
    };
    Ok(Typed { nullable, ..Typed::new(expr, span) })
}

fn is_true(condition: Expr, of_not: bool, negated: bool, span: Span) -> Typed {
    let call = |function, arg| Expr::Call { function, args: vec![arg], data_type: DataType::Boolean };
    let condition = if of_not { call(Function::Not, condition) } else { condition };
    let test = call(Function::IsTrue, condition);
    let expr = if negated { call(Function::Not, test) } else { test };
    Typed { nullable: false, ..Typed::new(expr, span) }
}

fn negate_if(negated: bool, typed: Typed) -> Typed {
    if !negated {
        return typed;
    }
    let expr = Expr::Call { function: Function::Not, args: vec![typed.expr], data_type: DataType::Boolean };
    Typed { expr, ..typed }
}
