//! Expressions of the builder: syntax trees, put into parentheses where they are combined.

use std::{
    fmt::{self, Display},
    ops,
};

use sqlparser::ast::{self, BinaryOperator, UnaryOperator};

use super::ident;
use crate::types::DataType;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression(ast::Expr);

/// An expression in a `SELECT` list, perhaps with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    expression: Expression,
    alias: Option<String>,
}

impl From<Expression> for Item {
    fn from(expression: Expression) -> Item {
        Item { expression, alias: None }
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.alias {
            Some(alias) => write!(f, "{} AS {}", self.expression, ident(alias)),
            None => self.expression.fmt(f),
        }
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A column.
pub fn col(name: &str) -> Expression {
    Expression(ast::Expr::Identifier(ident(name)))
}

/// A column of a named table or view.
pub fn of(table: &str, name: &str) -> Expression {
    Expression(ast::Expr::CompoundIdentifier(vec![ident(table), ident(name)]))
}

/// A constant: a text, a whole number, a `DOUBLE`, a boolean.
pub fn lit(value: impl Into<Literal>) -> Expression {
    value.into().0
}

/// A length of time, to be added to a timestamp: `col("ts") + interval("1 day")`.
pub fn interval(text: &str) -> Expression {
    Expression(ast::Expr::Interval(ast::Interval {
        value: Box::new(value(ast::Value::SingleQuotedString(text.to_owned())).0),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}

/// What [`lit`] takes.
#[derive(Clone, Debug)]
pub struct Literal(Expression);

fn value(value: ast::Value) -> Expression {
    Expression(ast::Expr::Value(value.with_empty_span()))
}

fn number(text: String, negative: bool) -> Literal {
    let number = value(ast::Value::Number(text, false));
    Literal(if negative { -number } else { number })
}

impl From<&str> for Literal {
    fn from(text: &str) -> Literal {
        Literal(value(ast::Value::SingleQuotedString(text.to_owned())))
    }
}

impl From<bool> for Literal {
    fn from(truth: bool) -> Literal {
        Literal(value(ast::Value::Boolean(truth)))
    }
}

impl From<i32> for Literal {
    fn from(whole: i32) -> Literal {
        i64::from(whole).into()
    }
}

impl From<i64> for Literal {
    fn from(whole: i64) -> Literal {
        number(whole.unsigned_abs().to_string(), whole < 0)
    }
}

impl From<f64> for Literal {
    fn from(double: f64) -> Literal {
        // With an exponent it is a DOUBLE.
        number(format!("{:e}", double.abs()), double.is_sign_negative())
    }
}

/// A call of a function or aggregate by name.
pub fn call(name: &str, args: impl IntoIterator<Item = Expression>) -> Expression {
    let args = args.into_iter().map(|arg| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg.0)));
    function(name, args.collect())
}

fn function(name: &str, args: Vec<ast::FunctionArg>) -> Expression {
    Expression(ast::Expr::Function(ast::Function {
        name: ast::Ident::new(name).into(),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        within_group: Vec::new(),
        filter: None,
        null_treatment: None,
        over: None,
    }))
}

/// `COUNT(*)`
pub fn count() -> Expression {
    function("COUNT", vec![ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)])
}

/// `COUNT(DISTINCT x)`
pub fn count_distinct(x: Expression) -> Expression {
    let mut expression = call("COUNT", [x]);
    if let ast::Expr::Function(ast::Function { args: ast::FunctionArguments::List(list), .. }) = &mut expression.0 {
        list.duplicate_treatment = Some(ast::DuplicateTreatment::Distinct);
    }
    expression
}

/// `SUM(x)`
pub fn sum(x: Expression) -> Expression {
    call("SUM", [x])
}

/// `AVG(x)`
pub fn avg(x: Expression) -> Expression {
    call("AVG", [x])
}

/// `MIN(x)`
pub fn min(x: Expression) -> Expression {
    call("MIN", [x])
}

/// `MAX(x)`
pub fn max(x: Expression) -> Expression {
    call("MAX", [x])
}

/// `FIRST(x)`, by event time.
pub fn first(x: Expression) -> Expression {
    call("FIRST", [x])
}

/// `LAST(x)`, by event time.
pub fn last(x: Expression) -> Expression {
    call("LAST", [x])
}

/// `CASE WHEN … THEN … ELSE … END`
pub fn case(branches: impl IntoIterator<Item = (Expression, Expression)>, otherwise: Option<Expression>) -> Expression {
    let conditions =
        branches.into_iter().map(|(condition, result)| ast::CaseWhen { condition: condition.0, result: result.0 });
    Expression(ast::Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: conditions.collect(),
        else_result: otherwise.map(|o| Box::new(o.0)),
    })
}

impl Expression {
    /// Names it in a `SELECT` list.
    pub fn alias(self, name: &str) -> Item {
        Item { expression: self, alias: Some(name.to_owned()) }
    }

    /// As an operand: in parentheses, unless it stands on its own anyway.
    fn operand(self) -> Box<ast::Expr> {
        Box::new(match self.0 {
            alone @ (ast::Expr::Identifier(_)
            | ast::Expr::CompoundIdentifier(_)
            | ast::Expr::Value(_)
            | ast::Expr::Function(_)
            | ast::Expr::Cast { .. }
            | ast::Expr::Interval(_)
            | ast::Expr::Nested(_)) => alone,
            other => ast::Expr::Nested(Box::new(other)),
        })
    }

    fn binary(self, op: BinaryOperator, right: Expression) -> Expression {
        Expression(ast::Expr::BinaryOp { left: self.operand(), op, right: right.operand() })
    }

    /// `self = other`
    pub fn eq(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Eq, other)
    }

    /// `self <> other`
    pub fn not_eq(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::NotEq, other)
    }

    /// `self < other`
    pub fn lt(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Lt, other)
    }

    /// `self <= other`
    pub fn lt_eq(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::LtEq, other)
    }

    /// `self > other`
    pub fn gt(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Gt, other)
    }

    /// `self >= other`
    pub fn gt_eq(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::GtEq, other)
    }

    /// `self AND other`
    pub fn and(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::And, other)
    }

    /// `self OR other`
    pub fn or(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Or, other)
    }

    /// `self || other`
    pub fn concat(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::StringConcat, other)
    }

    /// `self IS NULL`
    pub fn is_null(self) -> Expression {
        Expression(ast::Expr::IsNull(self.operand()))
    }

    /// `self IS NOT NULL`
    pub fn is_not_null(self) -> Expression {
        Expression(ast::Expr::IsNotNull(self.operand()))
    }

    /// `self IN (…)`
    pub fn in_list(self, list: impl IntoIterator<Item = Expression>) -> Expression {
        let list = list.into_iter().map(|item| item.0).collect();
        Expression(ast::Expr::InList { expr: self.operand(), list, negated: false })
    }

    /// `self BETWEEN low AND high`, both included.
    pub fn between(self, low: Expression, high: Expression) -> Expression {
        let (low, high) = (low.operand(), high.operand());
        Expression(ast::Expr::Between { expr: self.operand(), negated: false, low, high })
    }

    /// `self LIKE 'pattern'`
    pub fn like(self, pattern: &str) -> Expression {
        let pattern = Box::new(lit(pattern).0);
        Expression(ast::Expr::Like { negated: false, any: false, expr: self.operand(), pattern, escape_char: None })
    }

    /// `CAST(self AS data_type)`
    pub fn cast(self, data_type: DataType) -> Expression {
        self.cast_as(ast::CastKind::Cast, data_type)
    }

    /// `TRY_CAST(self AS data_type)`
    pub fn try_cast(self, data_type: DataType) -> Expression {
        self.cast_as(ast::CastKind::TryCast, data_type)
    }

    fn cast_as(self, kind: ast::CastKind, to: DataType) -> Expression {
        let data_type = match to {
            DataType::Boolean => ast::DataType::Boolean,
            DataType::Int => ast::DataType::Int(None),
            DataType::BigInt => ast::DataType::BigInt(None),
            DataType::Double => ast::DataType::Double(ast::ExactNumberInfo::None),
            DataType::Decimal { precision, scale } => {
                ast::DataType::Decimal(ast::ExactNumberInfo::PrecisionAndScale(precision.into(), scale.into()))
            }
            DataType::Text => ast::DataType::Text,
            DataType::Timestamp => ast::DataType::Timestamp(None, ast::TimezoneInfo::None),
            DataType::Date => ast::DataType::Date,
            DataType::Json => ast::DataType::JSON,
        };
        Expression(ast::Expr::Cast { kind, expr: Box::new(self.0), data_type, format: None })
    }

    /// `FILTER (WHERE condition)` on an aggregate; of no effect on anything else.
    pub fn filter(mut self, condition: Expression) -> Expression {
        if let ast::Expr::Function(call) = &mut self.0 {
            call.filter = Some(Box::new(condition.0));
        }
        self
    }
}

impl ops::Add for Expression {
    type Output = Expression;

    fn add(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Plus, other)
    }
}

impl ops::Sub for Expression {
    type Output = Expression;

    fn sub(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Minus, other)
    }
}

impl ops::Mul for Expression {
    type Output = Expression;

    fn mul(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Multiply, other)
    }
}

impl ops::Div for Expression {
    type Output = Expression;

    fn div(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Divide, other)
    }
}

impl ops::Rem for Expression {
    type Output = Expression;

    fn rem(self, other: Expression) -> Expression {
        self.binary(BinaryOperator::Modulo, other)
    }
}

impl ops::Neg for Expression {
    type Output = Expression;

    fn neg(self) -> Expression {
        Expression(ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr: self.operand() })
    }
}

impl ops::Not for Expression {
    type Output = Expression;

    fn not(self) -> Expression {
        Expression(ast::Expr::UnaryOp { op: UnaryOperator::Not, expr: self.operand() })
    }
}
