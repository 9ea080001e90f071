//! Typed scalar expressions.
//!
//! The planner resolves names, checks types and inserts every [`Expr::Cast`], so that what stands here needs no further
//! coercion: the arguments of a comparison have one type; arithmetic has both sides of the result's kind (see [`Function`]).

pub(crate) mod allowance;
mod check;
mod compile;
mod fallible;
pub(crate) mod kernels;
pub(crate) mod lanes;
mod lazy;
mod polars;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::compile::{CompiledExpr, Evaluated, Failures};
pub(crate) use self::fallible::fallible;
use crate::types::{DataType, Schema, Value};

/// Runs one level of a recursion over expressions, on a new piece of stack where the current one ends: a definition may nest deeply.
pub(crate) fn deep<T>(level: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, level)
}

/// A typed scalar expression over the columns of one input schema.
///
/// A row's value, or the failure in its place, depends on that row alone. Arguments are evaluated from left to right; if several fail,
/// the leftmost failure counts. Only `AND`, `OR`, `COALESCE` and `CASE` leave out what they do not need; all other functions,
/// `NULLIF` and `IN` too, need all their arguments.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Expr {
    /// A column of the input, by index.
    Column {
        /// Index in the input's schema.
        index: usize,
        /// Its type.
        data_type: DataType,
    },
    /// A constant.
    Literal {
        /// The value.
        value: Value,
        /// Its type (a NULL has one, too).
        data_type: DataType,
    },
    /// A built-in function.
    Call {
        /// Which.
        function: Function,
        /// Arguments, already coerced.
        args: Vec<Expr>,
        /// Result type.
        data_type: DataType,
    },
    /// Searched `CASE`; only the branch that is taken can fail.
    Case {
        /// (condition, value) pairs in order.
        branches: Vec<(Expr, Expr)>,
        /// `ELSE`; NULL when absent.
        otherwise: Option<Box<Expr>>,
        /// Result type of every branch.
        data_type: DataType,
    },
    /// `CAST` (a value that does not fit fails) or `TRY_CAST` (it is NULL; a failure of the input stays one).
    ///
    /// * Double to integer rounds half to even, decimal to integer or to a smaller scale half away from zero (both as
    ///   PostgreSQL), double to decimal by the double's shortest decimal text, half away from zero. NaN and infinities fail.
    /// * Text to number, timestamp, date or Boolean: the whole text, white space around it aside. Digits beyond a decimal's scale are
    ///   rounded half away from zero. Text to timestamp: RFC 3339, or `YYYY-MM-DD[(T| )HH:MM[:SS[.digits]][Z|±HH[[:]MM]]]`; no zone
    ///   means UTC; digits after the sixth are cut off. Booleans are PostgreSQL's words (`true`, `t`, `yes`, `y`, `on`, `1` …).
    /// * Double to text: the shortest text that reads back as the same double, with an exponent (`1.5e-7`) below 1e-4 and from 1e16
    ///   up; `NaN`, `Infinity`, `-Infinity`. Decimals have all digits of their scale. Timestamps are
    ///   `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`, dates `YYYY-MM-DD`.
    Cast {
        /// What is cast.
        input: Box<Expr>,
        /// To which type.
        to: DataType,
        /// `TRY_CAST`.
        safe: bool,
    },
    /// A user's function, from the registry.
    User {
        /// Registered name.
        name: String,
        /// Registered version: part of the fingerprint.
        version: u32,
        /// Arguments, already coerced to the declared types.
        args: Vec<Expr>,
        /// Declared result type.
        data_type: DataType,
    },
}

impl Expr {
    /// The type of its value.
    pub fn data_type(&self) -> DataType {
        match self {
            Expr::Column { data_type, .. }
            | Expr::Literal { data_type, .. }
            | Expr::Call { data_type, .. }
            | Expr::Case { data_type, .. }
            | Expr::User { data_type, .. } => *data_type,
            Expr::Cast { to, .. } => *to,
        }
    }

    /// A reference to the column at `index` of `schema`.
    pub fn column(schema: &Schema, index: usize) -> Expr {
        Expr::Column { index, data_type: schema.fields[index].data_type }
    }

    /// The arguments of a chain of calls of one associative function: `a AND b AND c`, however it nests.
    pub(crate) fn chain<'a>(&'a self, wanted: &Function) -> Vec<&'a Expr> {
        let mut arguments = Vec::new();
        let mut rest = vec![self];
        while let Some(expr) = rest.pop() {
            match expr {
                Expr::Call { function, args, .. } if function == wanted => rest.extend(args.iter().rev()),
                _ => arguments.push(expr),
            }
        }
        arguments
    }

    /// Calls `visit` for this expression and all below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        match self {
            Expr::Column { .. } | Expr::Literal { .. } => {}
            Expr::Call { args, .. } | Expr::User { args, .. } => args.iter().for_each(|a| a.walk(visit)),
            Expr::Cast { input, .. } => input.walk(visit),
            Expr::Case { branches, otherwise, .. } => {
                for (condition, value) in branches {
                    condition.walk(visit);
                    value.walk(visit);
                }
                if let Some(otherwise) = otherwise {
                    otherwise.walk(visit);
                }
            }
        }
    }
}

/// Built-in scalar functions. Unless said otherwise a NULL argument gives NULL. "Fails" means: the record is rejected (in a
/// core) or the query ends with an error (in a tail).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Function {
    /// `a + b`. Both sides have the result's type (decimals: the result's scale). Integers and decimals fail on overflow;
    /// doubles follow IEEE 754.
    Add,
    /// `a - b`, as [`Function::Add`].
    Subtract,
    /// `a * b`, as [`Function::Add`], but decimal scales add up: `scale(result) = scale(a) + scale(b)`.
    Multiply,
    /// `a / b`. Integers (same type both sides) truncate toward zero; everything else is planned as doubles. A zero divisor
    /// fails, for doubles too (as in PostgreSQL).
    Divide,
    /// `a % b`: the sign of the dividend; integers, doubles and same-scale decimals; a zero divisor fails.
    Modulo,
    /// `-a`.
    Negate,
    /// `=`; both sides of one type (decimals of one scale), here and in all comparisons. NaN = NaN; NaN is greatest.
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IS DISTINCT FROM`; never NULL.
    IsDistinctFrom,
    /// `IS NOT DISTINCT FROM`; never NULL.
    IsNotDistinctFrom,
    /// `AND` in SQL's three-valued logic. The right side can only fail where the left one is not false.
    And,
    /// `OR` in SQL's three-valued logic. The right side can only fail where the left one is not true.
    Or,
    /// `NOT`
    Not,
    /// `IS NULL`
    IsNull,
    /// `IS NOT NULL`
    IsNotNull,
    /// `IS TRUE`; never NULL (`IS FALSE` is `IS TRUE` of `NOT`).
    IsTrue,
    /// `a IN (b, c, …)`: `args[0]` is `a`. SQL's NULL rules. Fails if any argument does.
    In,
    /// First argument that is not NULL; later ones can only fail where earlier ones are NULL.
    Coalesce,
    /// `NULLIF(a, b)`; fails if either fails.
    NullIf,
    /// Greatest of the arguments that are not NULL.
    Greatest,
    /// Least of the arguments that are not NULL.
    Least,
    /// `a || b`: NULL if either is.
    Concat,
    /// `LIKE` with a constant pattern and `%`, `_`.
    Like {
        /// The pattern.
        pattern: String,
        /// The escape character; without one nothing is escaped.
        escape: Option<char>,
        /// `ILIKE`.
        case_insensitive: bool,
    },
    /// `REGEXP_LIKE(text, pattern)` or `~`; syntax of the `regex` crate.
    RegexpLike {
        /// The pattern.
        pattern: String,
    },
    /// `REGEXP_REPLACE(text, pattern, replacement)`: every match; `$1` names a group.
    RegexpReplace {
        /// The pattern.
        pattern: String,
        /// The replacement.
        replacement: String,
    },
    /// `REGEXP_EXTRACT(text, pattern[, group])`: NULL without a match.
    RegexpExtract {
        /// The pattern.
        pattern: String,
        /// Capture group, 0 for the whole match.
        group: usize,
    },
    /// `LOWER`, by Unicode.
    Lower,
    /// `UPPER`, by Unicode.
    Upper,
    /// `LENGTH`: characters (`INT`).
    Length,
    /// `TRIM(text)` of spaces on both sides.
    Trim,
    /// `LTRIM`
    TrimStart,
    /// `RTRIM`
    TrimEnd,
    /// `SUBSTRING(text, from[, count])`, 1-based characters, PostgreSQL's rules: positions before the first count, but are
    /// empty; a negative count fails.
    Substring,
    /// `REPLACE(text, from, to)`; an empty `from` replaces nothing.
    Replace,
    /// `STARTS_WITH(text, prefix)`
    StartsWith,
    /// `ENDS_WITH(text, suffix)`
    EndsWith,
    /// `CONTAINS(text, part)`
    Contains,
    /// `STRPOS(text, part)`: 1-based, 0 if absent (`INT`).
    Position,
    /// `LEFT(text, n)` characters; a negative `n`: all but the last `-n`.
    Left,
    /// `RIGHT(text, n)` characters; a negative `n`: all but the first `-n`.
    Right,
    /// `SPLIT_PART(text, separator, n)`, 1-based, from the end if negative; the empty text beyond the end; 0 fails. An empty
    /// separator does not separate.
    SplitPart,
    /// `JSON_VALUE(json, '$.a.b[0]')`: the scalar there as TEXT; NULL if absent or not a scalar or not JSON.
    /// Numbers keep their text. Of members with one name the last counts.
    JsonValue {
        /// The path, split: names and indexes.
        path: Vec<String>,
    },
    /// `ABS`; the most negative integer fails.
    Abs,
    /// `SIGN` (`INT`); NaN fails.
    Sign,
    /// `FLOOR`: doubles and decimals (decimal result has scale 0).
    Floor,
    /// `CEIL`
    Ceil,
    /// `ROUND(x)`: half away from zero; doubles and decimals. With digits, a double is rounded by its shortest decimal text
    /// (`ROUND(1.005, 2)` is 1.01), as the decimal it reads as.
    Round {
        /// Digits after the point that stay.
        digits: u8,
    },
    /// `SQRT` (double); a negative argument fails.
    Sqrt,
    /// `LN` (double); zero and below fail.
    Ln,
    /// `LOG10` (double); zero and below fail.
    Log10,
    /// `EXP` (double)
    Exp,
    /// `POWER` (double), as IEEE 754: a negative base with a fraction as exponent is NaN.
    Power,
    /// `DATE_TRUNC(unit, timestamp[, zone])` → `TIMESTAMP` (a `DATE` argument is cast first). From days up: the first instant of
    /// the local day; below: local time is cut off with the offset that holds at the timestamp. Fails before the year 1.
    DateTrunc {
        /// Unit.
        unit: TimeUnit,
        /// IANA time zone in which days begin; UTC when absent.
        time_zone: Option<String>,
    },
    /// `EXTRACT(field FROM timestamp)` / `DATE_PART`, in UTC or a zone → `BIGINT`. Seconds are whole; milliseconds and microseconds are
    /// those of the minute, as in PostgreSQL; weeks are ISO 8601's.
    Extract {
        /// Field.
        field: DateField,
        /// IANA time zone.
        time_zone: Option<String>,
    },
    /// `timestamp ± INTERVAL`: months first (clamped to the month's end), then days, then microseconds; fails out of range. In UTC.
    AddInterval {
        /// The interval, already negated for minus.
        interval: Interval,
    },
    /// `DATE_DIFF(unit, start, end)`: unit boundaries crossed, in UTC → `BIGINT`.
    DateDiff {
        /// Unit.
        unit: TimeUnit,
    },
    /// `TO_TIMESTAMP(seconds)`: from epoch seconds (double, to the nearest microsecond, or integer); fails out of range.
    ToTimestamp,
    /// `EPOCH_US(timestamp)` → `BIGINT`
    EpochMicros,
    /// The start of the tumbling window that a timestamp lies in (of a hopping window: of the pane).
    WindowStart {
        /// The window.
        window: crate::core::Window,
    },
    /// The end of the tumbling window that a timestamp lies in: the first instant after it, at the latest the one after the year 9999.
    WindowEnd {
        /// The window.
        window: crate::core::Window,
    },
}

/// An interval constant. Months and days are calendar units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Interval {
    /// Calendar months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// Units of `DATE_TRUNC` and `DATE_DIFF`. Weeks begin on Monday.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TimeUnit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// Fields of `EXTRACT`. `Dow`: 0 = Sunday; `IsoDow`: 1 = Monday; `Epoch`: whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum DateField {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Dow,
    IsoDow,
    Doy,
    Epoch,
}
