//! Types: how they are declared in either dialect, which ones are drawn, and how they meet.

use rand::{Rng, rngs::StdRng};
use watershed::DataType;

use super::language::{Expr, Fails};

/// A decimal type.
pub const fn decimal(precision: u8, scale: u8) -> DataType {
    DataType::Decimal { precision, scale }
}

/// Decimals of columns.
pub const DECIMALS: &[(u8, u8)] =
    &[(1, 0), (1, 1), (4, 0), (5, 2), (12, 2), (18, 4), (20, 0), (29, 9), (38, 0), (38, 10), (38, 38)];

/// One of some things.
pub fn pick<'a, T>(rng: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

/// Whether something happens `percent` times in a hundred.
pub fn chance(rng: &mut StdRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

/// A type that a column may have.
pub fn any_type(rng: &mut StdRng) -> DataType {
    match rng.random_range(0..13) {
        0 => DataType::Boolean,
        1 => DataType::Int,
        2 => DataType::BigInt,
        3 | 4 => DataType::Double,
        5 | 6 => any_decimal(rng),
        7 | 8 => DataType::Text,
        9 | 10 => DataType::Timestamp,
        11 => DataType::Date,
        _ => DataType::Json,
    }
}

/// A decimal type that a column may have.
pub fn any_decimal(rng: &mut StdRng) -> DataType {
    let (precision, scale) = *pick(rng, DECIMALS);
    decimal(precision, scale)
}

/// A type that has an order.
pub fn ordered_type(rng: &mut StdRng) -> DataType {
    loop {
        let data_type = any_type(rng);
        if data_type != DataType::Json {
            return data_type;
        }
    }
}

/// A type of numbers.
pub fn numeric_type(rng: &mut StdRng) -> DataType {
    match rng.random_range(0..4) {
        0 => DataType::Int,
        1 => DataType::BigInt,
        2 => DataType::Double,
        _ => any_decimal(rng),
    }
}

/// Without the digits, for the list of what was drawn.
pub fn family(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int => "INT",
        DataType::BigInt => "BIGINT",
        DataType::Double => "DOUBLE",
        DataType::Decimal { .. } => "DECIMAL",
        DataType::Text => "TEXT",
        DataType::Timestamp => "TIMESTAMP",
        DataType::Date => "DATE",
        DataType::Json => "JSON",
    }
}

/// DuckDB's name of a type. JSON is compared as the text that it is.
pub fn theirs(data_type: DataType) -> String {
    match data_type {
        DataType::Int => "INTEGER".to_owned(),
        DataType::Text | DataType::Json => "VARCHAR".to_owned(),
        other => other.to_string(),
    }
}

/// Precision and scale of a number as a decimal.
pub fn digits(data_type: DataType) -> (u8, u8) {
    match data_type {
        DataType::Int => (10, 0),
        DataType::BigInt => (19, 0),
        DataType::Decimal { precision, scale } => (precision, scale),
        other => panic!("{other} is not exact"),
    }
}

/// The type in which two numbers meet.
pub fn common(a: DataType, b: DataType) -> DataType {
    match (a, b) {
        (a, b) if a == b => a,
        (DataType::Double, _) | (_, DataType::Double) => DataType::Double,
        (DataType::Int | DataType::BigInt, DataType::Int | DataType::BigInt) => DataType::BigInt,
        _ => {
            let ((p1, s1), (p2, s2)) = (digits(a), digits(b));
            let scale = s1.max(s2);
            decimal(((p1 - s1).max(p2 - s2) + scale).min(38), scale)
        }
    }
}

/// What Watershed does by itself and DuckDB must be told: a value in a wider type.
pub fn coerced(expr: Expr, to: DataType) -> Expr {
    let from = expr.data_type;
    if from == to {
        return expr;
    }
    let same_scale =
        matches!((from, to), (DataType::Decimal { scale: a, .. }, DataType::Decimal { scale: b, .. }) if a == b);
    let fails = match (from, to) {
        _ if same_scale => Fails::Never,
        (_, DataType::Decimal { .. }) => Fails::WithoutValue,
        _ => Fails::Never,
    };
    let theirs = match (from, to) {
        (DataType::Decimal { .. }, DataType::Double) => NEAREST_DOUBLE.to_owned(),
        _ => cast_text(to),
    };
    Expr::new(to, "coercion", "«0»", &theirs, fails, vec![expr])
}

/// The double that is nearest to a decimal: DuckDB makes one of the upper half and one of the lower, and rounds once more.
const NEAREST_DOUBLE: &str = "CAST(CAST(«0» AS VARCHAR) AS DOUBLE)";

/// DuckDB's text of a cast of which both systems have one meaning.
fn cast_text(to: DataType) -> String {
    format!("CAST(«0» AS {})", theirs(to))
}

/// An explicit cast; `None` if the language has none between these types.
pub fn cast(expr: Expr, to: DataType, safe: bool) -> Option<Expr> {
    use DataType as D;
    let from = expr.data_type;
    let whole = |least: i64, most: i64| format!("ws_text_integer(«0», {least}, {most})");
    let never_fails = matches!(
        (from, to),
        (_, D::Text) | (D::Boolean, _) | (D::Int, D::BigInt | D::Double) | (D::BigInt | D::Decimal { .. }, D::Double)
    ) || from == to;
    let theirs = match (from, to) {
        (a, b) if a == b => "«0»".to_owned(),
        (D::Boolean, D::Int | D::BigInt | D::Text) => cast_text(to),
        (D::Double, D::Text) => "ws_double_text(«0»)".to_owned(),
        (D::Double, D::Decimal { precision, scale }) => {
            format!("CAST(ws_double_decimal(«0», {precision}, {scale}) AS {to})")
        }
        (D::Decimal { .. }, D::Double) => NEAREST_DOUBLE.to_owned(),
        // DuckDB leaves out the zero before the point.
        (D::Decimal { precision, scale }, D::Text) if precision == scale => {
            "ws_decimal_text(CAST(«0» AS VARCHAR))".to_owned()
        }
        (a, b) if a.is_numeric() && (b.is_numeric() || b == D::Text) => cast_text(to),
        (D::Text, D::Boolean) => "ws_text_boolean(«0»)".to_owned(),
        (D::Text, D::Int) => format!("CAST({} AS INTEGER)", whole(i64::from(i32::MIN), i64::from(i32::MAX))),
        (D::Text, D::BigInt) => "ws_text_integer(«0», -9223372036854775808, 9223372036854775807)".to_owned(),
        (D::Text, D::Double) => "CAST(ws_text_double(«0») AS DOUBLE)".to_owned(),
        (D::Text, D::Decimal { precision, scale }) => {
            format!("CAST(ws_text_decimal(«0», {precision}, {scale}) AS {to})")
        }
        (D::Text, D::Timestamp) => "make_timestamp(ws_text_timestamp(«0»))".to_owned(),
        (D::Text, D::Date) => "(DATE '1970-01-01' + CAST(ws_text_date(«0») AS INTEGER))".to_owned(),
        (D::Text, D::Json) => "ws_text_json(«0»)".to_owned(),
        (D::Json, D::Text) => "«0»".to_owned(),
        (D::Timestamp, D::Date) | (D::Date, D::Timestamp | D::Text) => cast_text(to),
        (D::Timestamp, D::Text) => "ws_timestamp_text(epoch_us(«0»))".to_owned(),
        _ => return None,
    };
    let (what, ours) = if safe { ("TRY_CAST", "TRY_CAST(«0» AS ") } else { ("CAST", "CAST(«0» AS ") };
    let theirs = if safe && !never_fails { format!("TRY({theirs})") } else { theirs };
    let fails = if safe || never_fails { Fails::Never } else { Fails::WithoutValue };
    let what = format!("{what} {} {}", family(from), family(to));
    Some(Expr::new(to, &what, &format!("{ours}{to})"), &theirs, fails, vec![expr]))
}
