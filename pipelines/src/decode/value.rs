//! One value: from the JSON text of a member to the column's type.

use crate::{
    number::{DecimalError, parse_decimal, parse_double},
    time::{in_range, parse_date, parse_timestamp},
    types::DataType,
};

/// A column's value in the record being read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot<'a> {
    /// The member is absent.
    Missing,
    /// `null`
    Null,
    /// `BOOLEAN`
    Boolean(bool),
    /// `INT`, `BIGINT`, microseconds, or days.
    Integer(i64),
    /// `DOUBLE`
    Double(f64),
    /// `DECIMAL`, unscaled.
    Decimal(i128),
    /// Text as it stands in the payload.
    Text(&'a str),
    /// The same, as its place in the row's `text`.
    Plain { start: usize, end: usize },
    /// Text that had escapes, as bytes of the row's `unescaped`.
    Unescaped { start: usize, end: usize },
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Another kind of JSON value is expected.
    Kind,
    /// The text is not one of the type.
    Text,
    /// An integer is expected, written as one.
    NotInteger,
    /// Outside the type's range.
    Range,
    /// More digits after the point than the type has.
    Fraction,
    /// An escape that is not a character.
    Escape,
}

impl Problem {
    /// The reason that is listed with the dead letter.
    pub(super) fn reason(self, column: &str, data_type: DataType, raw: &str) -> String {
        const LONGEST: usize = 60;
        let shown = match raw.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{}…", &raw[..at]),
            None => raw.to_owned(),
        };
        let why = match self {
            Problem::Kind => format!("expected {}, got {} {shown}", expected(data_type), kind(raw)),
            Problem::Text => format!("expected {}, got {shown}", expected(data_type)),
            Problem::NotInteger => format!("expected an integer without point or exponent, got {shown}"),
            Problem::Range => format!("{shown} is out of the range of {data_type}"),
            Problem::Fraction => format!("{shown} has more digits after the point than {data_type}"),
            Problem::Escape => format!("the text has an escape that is not a Unicode character: {shown}"),
        };
        format!("column \"{column}\": {why}")
    }
}

fn expected(data_type: DataType) -> String {
    match data_type {
        DataType::Boolean => "true or false (BOOLEAN)".to_owned(),
        DataType::Int | DataType::BigInt => format!("an integer ({data_type})"),
        DataType::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\" (DOUBLE)".to_owned(),
        DataType::Decimal { .. } => format!("a number, or a string with one ({data_type})"),
        DataType::Text => "a string (TEXT)".to_owned(),
        DataType::Timestamp => "an RFC 3339 string or epoch milliseconds (TIMESTAMP)".to_owned(),
        DataType::Date => "a string 'YYYY-MM-DD' (DATE)".to_owned(),
        DataType::Json => "JSON".to_owned(),
    }
}

fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'"') => "the string",
        Some(b't' | b'f') => "the boolean",
        Some(b'{') => "the object",
        Some(b'[') => "the array",
        Some(b'n') => "",
        _ => "the number",
    }
}

/// Reads the text of one JSON value (its syntax is checked already) as a value of `data_type`.
#[inline]
pub(super) fn read_value<'a>(data_type: DataType, raw: &'a str, unescaped: &mut String) -> Result<Slot<'a>, Problem> {
    match (data_type, raw.as_bytes().first().copied().unwrap_or(b'n')) {
        (_, b'n') => Ok(Slot::Null),
        (DataType::Json, _) => Ok(Slot::Text(raw)),
        (_, b'"') => match text(raw, unescaped)? {
            Slot::Text(inner) => read_string(data_type, inner, raw),
            Slot::Unescaped { start, end } if data_type != DataType::Text => {
                read_escaped(data_type, unescaped.get(start..end).unwrap_or(""))
            }
            slot => Ok(slot),
        },
        (_, b'-' | b'0'..=b'9') => read_number(data_type, raw),
        (DataType::Boolean, b't') => Ok(Slot::Boolean(true)),
        (DataType::Boolean, b'f') => Ok(Slot::Boolean(false)),
        _ => Err(Problem::Kind),
    }
}

/// Reads a string that had escapes, but not as a text.
fn read_escaped<'a>(data_type: DataType, text: &str) -> Result<Slot<'a>, Problem> {
    match data_type {
        // The names of what is not a number are not looked for behind escapes.
        DataType::Double => Err(Problem::Text),
        _ => match read_string(data_type, text, text)? {
            Slot::Integer(value) => Ok(Slot::Integer(value)),
            Slot::Decimal(value) => Ok(Slot::Decimal(value)),
            _ => Err(Problem::Kind),
        },
    }
}

/// Reads a string without escapes: `inner`, which is `raw` without its quotes.
#[inline]
pub(super) fn read_string<'a>(data_type: DataType, inner: &'a str, raw: &'a str) -> Result<Slot<'a>, Problem> {
    match data_type {
        DataType::Text => Ok(Slot::Text(inner)),
        DataType::Json => Ok(Slot::Text(raw)),
        DataType::Double => match inner {
            "NaN" => Ok(Slot::Double(f64::NAN)),
            "Infinity" => Ok(Slot::Double(f64::INFINITY)),
            "-Infinity" => Ok(Slot::Double(f64::NEG_INFINITY)),
            _ => Err(Problem::Text),
        },
        DataType::Decimal { precision, scale } => decimal(inner, precision, scale),
        DataType::Timestamp => parse_timestamp(inner).map(Slot::Integer).ok_or(Problem::Text),
        DataType::Date => parse_date(inner.as_bytes()).map(Slot::Integer).ok_or(Problem::Text),
        DataType::Boolean | DataType::Int | DataType::BigInt => Err(Problem::Kind),
    }
}

/// Reads a number.
#[inline]
pub(super) fn read_number<'a>(data_type: DataType, raw: &'a str) -> Result<Slot<'a>, Problem> {
    match data_type {
        DataType::Int => {
            let value = integer(raw)?;
            if i32::try_from(value).is_ok() { Ok(Slot::Integer(value)) } else { Err(Problem::Range) }
        }
        DataType::BigInt => integer(raw).map(Slot::Integer),
        DataType::Double => parse_double(raw).map(Slot::Double).ok_or(Problem::Range),
        DataType::Decimal { precision, scale } => decimal(raw, precision, scale),
        DataType::Timestamp => integer(raw)?
            .checked_mul(1_000)
            .and_then(|micros| in_range(micros).ok())
            .map(Slot::Integer)
            .ok_or(Problem::Range),
        DataType::Json => Ok(Slot::Text(raw)),
        DataType::Boolean | DataType::Text | DataType::Date => Err(Problem::Kind),
    }
}

/// The text of a JSON string with its quotes.
#[inline]
fn text<'a>(raw: &'a str, unescaped: &mut String) -> Result<Slot<'a>, Problem> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
    if !inner.as_bytes().contains(&b'\\') {
        return Ok(Slot::Text(inner));
    }
    let decoded: String = serde_json::from_str(raw).map_err(|_| Problem::Escape)?;
    let start = unescaped.len();
    unescaped.push_str(&decoded);
    Ok(Slot::Unescaped { start, end: unescaped.len() })
}

fn decimal<'a>(text: &str, precision: u8, scale: u8) -> Result<Slot<'a>, Problem> {
    parse_decimal(text, precision, scale, false).map(Slot::Decimal).map_err(|e| match e {
        DecimalError::Syntax => Problem::Text,
        DecimalError::Fraction => Problem::Fraction,
        DecimalError::Range => Problem::Range,
    })
}

/// Reads an integer literal.
#[inline]
fn integer(raw: &str) -> Result<i64, Problem> {
    let bytes = raw.as_bytes();
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, bytes),
    };
    let mut value = 0i64;
    let mut in_range = true;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Problem::NotInteger);
        }
        // Counted downward, so that the least value fits.
        match value.checked_mul(10).and_then(|v| v.checked_sub(i64::from(digit))) {
            Some(next) => value = next,
            None => in_range = false,
        }
    }
    if !negative {
        match value.checked_neg() {
            Some(positive) => value = positive,
            None => in_range = false,
        }
    }
    if in_range { Ok(value) } else { Err(Problem::Range) }
}
