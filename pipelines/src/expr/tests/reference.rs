//! The reference: evaluates an expression for one row, as plainly as it can be said.

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike,
};
use chrono_tz::Tz;

use crate::{
    core::{Window, WindowUnit},
    error::Failure,
    expr::{DateField, Expr, Function, Interval, TimeUnit},
    number::{decimal_to_double, double_to_decimal, parse_decimal, write_decimal, write_double},
    time::{MAX_DATE, MAX_TIMESTAMP, MIN_DATE, MIN_TIMESTAMP},
    types::{DataType, Value},
};

type Outcome = Result<Value, Failure>;

pub(super) fn evaluate(expr: &Expr, row: &[Value]) -> Outcome {
    let value = match expr {
        Expr::Column { index, .. } => row[*index].clone(),
        Expr::Literal { value, .. } => value.clone(),
        Expr::Call { function, args, data_type } => call(function, args, *data_type, row)?,
        Expr::Case { branches, otherwise, .. } => {
            for (condition, value) in branches {
                if evaluate(condition, row)? == Value::Boolean(true) {
                    return evaluate(value, row);
                }
            }
            match otherwise {
                Some(value) => evaluate(value, row)?,
                None => Value::Null,
            }
        }
        Expr::Cast { input, to, safe } => {
            let value = evaluate(input, row)?;
            match cast(value, input.data_type(), *to) {
                Err(_) if *safe => Value::Null,
                outcome => outcome?,
            }
        }
        Expr::User { args, .. } => match evaluate(&args[0], row)? {
            Value::Int(v) if v % 2 == 0 => Value::Int(v / 2),
            Value::Int(_) => return Err(Failure::User),
            _ => Value::Int(-1),
        },
    };
    Ok(match value {
        Value::Double(v) if v.is_nan() => Value::Double(f64::NAN),
        Value::Double(0.0) => Value::Double(0.0),
        value => value,
    })
}

/// SQL's order; NaN is equal to itself and last.
fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        _ => panic!("{a:?} and {b:?} are not of one type"),
    }
}

fn call(function: &Function, args: &[Expr], to: DataType, row: &[Value]) -> Outcome {
    use Function as F;
    match function {
        F::And | F::Or => {
            let decides = Value::Boolean(*function == F::Or);
            let mut result = Value::Boolean(*function == F::And);
            for arg in args {
                let value = evaluate(arg, row)?;
                if value == decides {
                    return Ok(value);
                }
                if value == Value::Null {
                    result = Value::Null;
                }
            }
            return Ok(result);
        }
        F::Coalesce => {
            for arg in args {
                let value = evaluate(arg, row)?;
                if value != Value::Null {
                    return Ok(value);
                }
            }
            return Ok(Value::Null);
        }
        _ => {}
    }
    // The leftmost failure counts.
    let values = args.iter().map(|a| evaluate(a, row)).collect::<Result<Vec<_>, _>>()?;
    let null = |v: &Value| *v == Value::Null;
    let equal = |a: &Value, b: &Value| compare(a, b).is_eq();
    let a = &values[0];
    match function {
        F::IsNull => return Ok(Value::Boolean(null(a))),
        F::IsNotNull => return Ok(Value::Boolean(!null(a))),
        F::IsTrue => return Ok(Value::Boolean(*a == Value::Boolean(true))),
        F::IsDistinctFrom | F::IsNotDistinctFrom => {
            let b = &values[1];
            let same = if null(a) || null(b) { null(a) && null(b) } else { equal(a, b) };
            return Ok(Value::Boolean(same == (*function == F::IsNotDistinctFrom)));
        }
        F::NullIf => {
            let same = !null(a) && !null(&values[1]) && equal(a, &values[1]);
            return Ok(if same { Value::Null } else { a.clone() });
        }
        F::In => {
            if null(a) {
                return Ok(Value::Null);
            }
            if values[1..].iter().any(|v| !null(v) && equal(a, v)) {
                return Ok(Value::Boolean(true));
            }
            return Ok(if values[1..].iter().any(null) { Value::Null } else { Value::Boolean(false) });
        }
        F::Greatest | F::Least => {
            let there = values.iter().filter(|v| !null(v));
            let best = if *function == F::Greatest {
                there.max_by(|a, b| compare(a, b))
            } else {
                there.min_by(|a, b| compare(a, b))
            };
            return Ok(best.cloned().unwrap_or(Value::Null));
        }
        _ => {}
    }
    if values.iter().any(null) {
        return Ok(Value::Null);
    }
    use std::cmp::Ordering as O;
    let test = |wanted: &[O]| Ok(Value::Boolean(wanted.contains(&compare(a, &values[1]))));
    match function {
        F::Equal => test(&[O::Equal]),
        F::NotEqual => test(&[O::Less, O::Greater]),
        F::Less => test(&[O::Less]),
        F::LessOrEqual => test(&[O::Less, O::Equal]),
        F::Greater => test(&[O::Greater]),
        F::GreaterOrEqual => test(&[O::Greater, O::Equal]),
        F::Not => Ok(Value::Boolean(*a == Value::Boolean(false))),
        F::Add | F::Subtract | F::Multiply | F::Divide | F::Modulo | F::Negate | F::Abs => {
            arithmetic(function, &values, to)
        }
        F::Sign | F::Floor | F::Ceil | F::Round { .. } | F::Sqrt | F::Ln | F::Log10 | F::Exp | F::Power => {
            math(function, &values, args[0].data_type(), to)
        }
        F::DateTrunc { .. }
        | F::Extract { .. }
        | F::AddInterval { .. }
        | F::DateDiff { .. }
        | F::ToTimestamp
        | F::EpochMicros
        | F::WindowStart { .. } => temporal(function, &values),
        _ => text(function, &values),
    }
}

fn arithmetic(function: &Function, values: &[Value], to: DataType) -> Outcome {
    use Function as F;
    if let Value::Double(a) = values[0] {
        let b = match values.get(1) {
            Some(Value::Double(b)) => *b,
            _ => 0.0,
        };
        return Ok(Value::Double(match function {
            F::Add => a + b,
            F::Subtract => a - b,
            F::Multiply => a * b,
            F::Divide | F::Modulo if b == 0.0 => return Err(Failure::DivisionByZero),
            F::Divide => a / b,
            F::Modulo => a % b,
            F::Negate => -a,
            _ => a.abs(),
        }));
    }
    let whole = |v: &Value| match v {
        Value::Int(v) => i128::from(*v),
        Value::Decimal(v) => *v,
        _ => panic!("{v:?} is not a number"),
    };
    let a = whole(&values[0]);
    let b = values.get(1).map_or(0, whole);
    let result = match function {
        F::Add => a.checked_add(b),
        F::Subtract => a.checked_sub(b),
        F::Multiply => a.checked_mul(b),
        F::Divide | F::Modulo if b == 0 => return Err(Failure::DivisionByZero),
        F::Divide => Some(a / b),
        F::Modulo => Some(a % b),
        F::Negate => Some(-a),
        _ => Some(a.abs()),
    };
    fit(result, to).ok_or(Failure::OutOfRange)
}

/// The number as a value of an integer or decimal type.
fn fit(value: Option<i128>, to: DataType) -> Option<Value> {
    let value = value?;
    match to {
        DataType::Int => i32::try_from(value).ok().map(|v| Value::Int(i64::from(v))),
        DataType::BigInt => i64::try_from(value).ok().map(Value::Int),
        DataType::Decimal { precision, .. } => {
            (value.unsigned_abs().to_string().len() <= usize::from(precision)).then_some(Value::Decimal(value))
        }
        _ => panic!("{to} is not exact"),
    }
}

/// A decimal's text with the point moved: the reference of changing scales.
fn decimal_text(value: i128, scale: u8) -> String {
    let mut text = String::new();
    write_decimal(&mut text, value, scale);
    text
}

fn math(function: &Function, values: &[Value], from: DataType, to: DataType) -> Outcome {
    use Function as F;
    match (&values[0], function) {
        (Value::Int(v), F::Sign) => Ok(Value::Int(v.signum())),
        (Value::Decimal(v), F::Sign) => Ok(Value::Int(v.signum() as i64)),
        (Value::Double(v), F::Sign) if v.is_nan() => Err(Failure::Domain),
        (Value::Double(v), F::Sign) => Ok(Value::Int(if *v > 0.0 {
            1
        } else if *v < 0.0 {
            -1
        } else {
            0
        })),
        (Value::Decimal(v), _) => {
            let (DataType::Decimal { scale, .. }, DataType::Decimal { precision, scale: wanted }) = (from, to) else {
                panic!()
            };
            let power = 10i128.pow(u32::from(scale));
            let rounded = match function {
                F::Floor => v.div_euclid(power) * power,
                F::Ceil => (v + power - 1).div_euclid(power) * power,
                F::Round { digits } => {
                    let text = decimal_text(*v, scale);
                    let kept = (*digits).min(scale);
                    let rounded = parse_decimal(&text, 38, kept, true).unwrap();
                    return parse_decimal(&decimal_text(rounded, kept), precision, wanted, true)
                        .map(Value::Decimal)
                        .map_err(|_| Failure::OutOfRange);
                }
                _ => panic!(),
            };
            fit(Some(rounded / power * 10i128.pow(u32::from(wanted))), to).ok_or(Failure::OutOfRange)
        }
        (Value::Double(v), _) => {
            let b = match values.get(1) {
                Some(Value::Double(b)) => *b,
                _ => 0.0,
            };
            Ok(Value::Double(match function {
                F::Floor => v.floor(),
                F::Ceil => v.ceil(),
                F::Round { digits: 0 } => v.round(),
                F::Round { digits } if v.is_finite() && v.abs() < 4_503_599_627_370_496.0 => {
                    decimal_to_double(double_to_decimal(*v, 38, *digits).unwrap(), *digits)
                }
                F::Round { .. } => *v,
                F::Sqrt if *v < 0.0 => return Err(Failure::Domain),
                F::Sqrt => v.sqrt(),
                F::Ln | F::Log10 if *v <= 0.0 => return Err(Failure::Domain),
                F::Ln => v.ln(),
                F::Log10 => v.log10(),
                F::Exp => v.exp(),
                F::Power => v.powf(b),
                _ => panic!(),
            }))
        }
        _ => panic!(),
    }
}

fn text(function: &Function, values: &[Value]) -> Outcome {
    use Function as F;
    let s = |i: usize| match &values[i] {
        Value::Text(text) => text.as_str(),
        other => panic!("{other:?} is not text"),
    };
    let n = |i: usize| match values[i] {
        Value::Int(n) => i128::from(n),
        _ => panic!(),
    };
    let chars: Vec<char> = s(0).chars().collect();
    let regex = |pattern: &str| regex::Regex::new(pattern).unwrap();
    let some = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    // Characters at 1-based positions from ≤ p < to.
    let between = |from: i128, to: i128| {
        (1..).zip(&chars).filter(|(p, _)| from <= *p && *p < to).map(|(_, c)| *c).collect::<String>()
    };
    let count = chars.len() as i128;
    Ok(match function {
        F::Concat => Value::Text(s(0).to_owned() + s(1)),
        F::Like { pattern, escape, case_insensitive } => {
            let tokens = like_tokens(pattern, *escape);
            Value::Boolean(like(&tokens, &chars, *case_insensitive))
        }
        F::RegexpLike { pattern } => Value::Boolean(regex(pattern).is_match(s(0))),
        F::RegexpReplace { pattern, replacement } => {
            Value::Text(regex(pattern).replace_all(s(0), replacement.as_str()).into_owned())
        }
        F::RegexpExtract { pattern, group } => {
            some(regex(pattern).captures(s(0)).and_then(|c| c.get(*group).map(|m| m.as_str().to_owned())))
        }
        F::Lower => Value::Text(s(0).to_lowercase()),
        F::Upper => Value::Text(s(0).to_uppercase()),
        F::Length => Value::Int(chars.len() as i64),
        F::Trim => Value::Text(s(0).trim_start_matches(' ').trim_end_matches(' ').to_owned()),
        F::TrimStart => Value::Text(s(0).trim_start_matches(' ').to_owned()),
        F::TrimEnd => Value::Text(s(0).trim_end_matches(' ').to_owned()),
        F::Substring => {
            if values.len() < 3 {
                return Ok(Value::Text(between(n(1), i128::MAX)));
            }
            if n(2) < 0 {
                return Err(Failure::Domain);
            }
            Value::Text(between(n(1), n(1) + n(2)))
        }
        F::Left => Value::Text(between(1, if n(1) >= 0 { n(1) + 1 } else { count + n(1) + 1 })),
        F::Right => Value::Text(between(if n(1) >= 0 { count - n(1) + 1 } else { 1 - n(1) }, i128::MAX)),
        F::Replace if s(1).is_empty() => Value::Text(s(0).to_owned()),
        F::Replace => Value::Text(s(0).replace(s(1), s(2))),
        F::StartsWith => Value::Boolean(s(0).starts_with(s(1))),
        F::EndsWith => Value::Boolean(s(0).ends_with(s(1))),
        F::Contains => Value::Boolean(s(0).contains(s(1))),
        F::Position => {
            let part: Vec<char> = s(1).chars().collect();
            let at = (0..=chars.len()).find(|at| chars[*at..].starts_with(&part));
            Value::Int(at.map_or(0, |at| at as i64 + 1))
        }
        F::SplitPart => {
            if n(2) == 0 {
                return Err(Failure::Domain);
            }
            let parts: Vec<&str> = if s(1).is_empty() { vec![s(0)] } else { s(0).split(s(1)).collect() };
            let index = if n(2) > 0 { n(2) - 1 } else { parts.len() as i128 + n(2) };
            let part = usize::try_from(index).ok().and_then(|i| parts.get(i).copied());
            Value::Text(part.unwrap_or("").to_owned())
        }
        F::JsonValue { path } => some(json(s(0), path)),
        _ => panic!("{function:?} is not in the reference"),
    })
}

#[derive(Clone, Copy)]
enum Token {
    Any,
    One,
    Char(char),
}

fn like_tokens(pattern: &str, escape: Option<char>) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            c if Some(c) == escape => Token::Char(chars.next().unwrap()),
            '%' => Token::Any,
            '_' => Token::One,
            c => Token::Char(c),
        });
    }
    tokens
}

fn like(tokens: &[Token], text: &[char], fold: bool) -> bool {
    match (tokens.first(), text.first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(Token::Any), _) => (0..=text.len()).any(|at| like(&tokens[1..], &text[at..], fold)),
        (Some(_), None) => false,
        (Some(Token::One), Some(_)) => like(&tokens[1..], &text[1..], fold),
        (Some(Token::Char(a)), Some(b)) => {
            // Simple case folding suffices for the characters of these tests.
            let lower = |c: char| c.to_lowercase().next().unwrap();
            let sigma = |c: char| if c == 'ς' { 'σ' } else { c };
            let equal = if fold { sigma(lower(*a)) == sigma(lower(*b)) } else { a == b };
            equal && like(&tokens[1..], &text[1..], fold)
        }
    }
}

/// Walks raw JSON texts, so that numbers keep theirs.
fn json(text: &str, path: &[String]) -> Option<String> {
    use std::collections::HashMap;
    let mut raw: Box<serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
    for step in path {
        raw = match raw.get().as_bytes()[0] {
            b'{' => {
                let mut members: HashMap<String, Box<serde_json::value::RawValue>> =
                    serde_json::from_str(raw.get()).ok()?;
                members.remove(step)?
            }
            b'[' => {
                let mut items: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(raw.get()).ok()?;
                let index: usize = step.parse().ok()?;
                if index >= items.len() {
                    return None;
                }
                items.swap_remove(index)
            }
            _ => return None,
        };
    }
    match raw.get().as_bytes()[0] {
        b'{' | b'[' | b'n' => None,
        b'"' => serde_json::from_str(raw.get()).ok(),
        _ => Some(raw.get().to_owned()),
    }
}

fn naive(micros: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(micros).unwrap().naive_utc()
}

fn micros(naive: NaiveDateTime) -> i64 {
    naive.and_utc().timestamp_micros()
}

fn checked(micros: i64) -> Result<i64, Failure> {
    if (MIN_TIMESTAMP..=MAX_TIMESTAMP).contains(&micros) { Ok(micros) } else { Err(Failure::TimestampOutOfRange) }
}

fn tz(name: &Option<String>) -> Tz {
    name.as_deref().unwrap_or("UTC").parse().unwrap()
}

fn local(micros: i64, tz: Tz) -> NaiveDateTime {
    tz.from_utc_datetime(&naive(micros)).naive_local()
}

/// The first instant of a local day, found by looking.
fn midnight(day: NaiveDate, tz: Tz) -> Result<i64, Failure> {
    let wanted = day.and_time(NaiveTime::MIN);
    let result = match tz.from_local_datetime(&wanted) {
        chrono::LocalResult::Single(t) => t.timestamp_micros(),
        chrono::LocalResult::Ambiguous(a, b) => a.timestamp_micros().min(b.timestamp_micros()),
        chrono::LocalResult::None => {
            // Offsets change at whole seconds, here at whole minutes.
            let mut at = micros(wanted) - 26 * 3_600_000_000;
            while local(at, tz) < wanted {
                at += 60_000_000;
            }
            at
        }
    };
    checked(result)
}

fn temporal(function: &Function, values: &[Value]) -> Outcome {
    use Function as F;
    let at = match values[0] {
        Value::Timestamp(at) => at,
        Value::Double(seconds) => {
            let micros = (seconds * 1e6).round_ties_even();
            let inside = micros >= MIN_TIMESTAMP as f64 && micros <= MAX_TIMESTAMP as f64;
            return if inside {
                checked(micros as i64).map(Value::Timestamp)
            } else {
                Err(Failure::TimestampOutOfRange)
            };
        }
        Value::Int(seconds) => {
            let micros = i64::try_from(i128::from(seconds) * 1_000_000).map_err(|_| Failure::TimestampOutOfRange)?;
            return checked(micros).map(Value::Timestamp);
        }
        _ => panic!(),
    };
    match function {
        F::DateTrunc { unit, time_zone } => truncate(at, *unit, tz(time_zone)).map(Value::Timestamp),
        F::Extract { field, time_zone } => Ok(Value::Int(extract(at, *field, tz(time_zone)))),
        F::AddInterval { interval } => add(at, *interval).map(Value::Timestamp),
        F::DateDiff { unit } => {
            let Value::Timestamp(end) = values[1] else { panic!() };
            Ok(Value::Int(boundaries(end, *unit) - boundaries(at, *unit)))
        }
        F::EpochMicros => Ok(Value::Int(at)),
        F::WindowStart { window } => window_start(at, window).map(Value::Timestamp),
        _ => panic!(),
    }
}

fn monday(day: NaiveDate) -> NaiveDate {
    day - TimeDelta::days(i64::from(day.weekday().num_days_from_monday()))
}

fn truncate(at: i64, unit: TimeUnit, tz: Tz) -> Result<i64, Failure> {
    let here = local(at, tz);
    let day = here.date();
    let first = |month: u32| NaiveDate::from_ymd_opt(day.year(), month, 1).unwrap();
    let step = match unit {
        TimeUnit::Microsecond => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Second => 1_000_000,
        TimeUnit::Minute => 60_000_000,
        TimeUnit::Hour => 3_600_000_000,
        TimeUnit::Day => return midnight(day, tz),
        TimeUnit::Week => return midnight(monday(day), tz),
        TimeUnit::Month => return midnight(first(day.month()), tz),
        TimeUnit::Quarter => return midnight(first((day.month() - 1) / 3 * 3 + 1), tz),
        TimeUnit::Year => return midnight(first(1), tz),
    };
    let offset = i64::from(tz.offset_from_utc_datetime(&naive(at)).fix().local_minus_utc()) * 1_000_000;
    checked((at + offset).div_euclid(step) * step - offset)
}

fn extract(at: i64, field: DateField, tz: Tz) -> i64 {
    let here = local(at, tz);
    let micros = i64::from(here.nanosecond()) / 1_000;
    i64::from(match field {
        DateField::Microsecond => return i64::from(here.second()) * 1_000_000 + micros,
        DateField::Millisecond => return i64::from(here.second()) * 1_000 + micros / 1_000,
        DateField::Epoch => return at.div_euclid(1_000_000),
        DateField::Year => return i64::from(here.year()),
        DateField::Second => here.second(),
        DateField::Minute => here.minute(),
        DateField::Hour => here.hour(),
        DateField::Day => here.day(),
        DateField::Week => here.iso_week().week(),
        DateField::Month => here.month(),
        DateField::Quarter => here.month().div_ceil(3),
        DateField::Dow => here.weekday().num_days_from_sunday(),
        DateField::IsoDow => here.weekday().number_from_monday(),
        DateField::Doy => here.ordinal(),
    })
}

fn add(at: i64, interval: Interval) -> Result<i64, Failure> {
    // Steps may leave the range of the years 1 to 9999 as long as the result is inside; chrono's range is wider.
    let out = Failure::TimestampOutOfRange;
    let here = naive(at);
    let months = Months::new(interval.months.unsigned_abs());
    let here = if interval.months >= 0 { here.checked_add_months(months) } else { here.checked_sub_months(months) };
    let days = Days::new(u64::from(interval.days.unsigned_abs()));
    let here = here.and_then(|h| if interval.days >= 0 { h.checked_add_days(days) } else { h.checked_sub_days(days) });
    let micros = i128::from(here.ok_or(out)?.and_utc().timestamp_micros()) + i128::from(interval.micros);
    checked(i64::try_from(micros).map_err(|_| out)?)
}

fn boundaries(at: i64, unit: TimeUnit) -> i64 {
    let day = naive(at).date();
    let year = i64::from(day.year());
    match unit {
        TimeUnit::Microsecond => at,
        TimeUnit::Millisecond => at.div_euclid(1_000),
        TimeUnit::Second => at.div_euclid(1_000_000),
        TimeUnit::Minute => at.div_euclid(60_000_000),
        TimeUnit::Hour => at.div_euclid(3_600_000_000),
        TimeUnit::Day => at.div_euclid(86_400_000_000),
        TimeUnit::Week => i64::from(monday(day).num_days_from_ce() - 1) / 7,
        TimeUnit::Month => year * 12 + i64::from(day.month0()),
        TimeUnit::Quarter => year * 4 + i64::from(day.month0() / 3),
        TimeUnit::Year => year,
    }
}

fn window_start(at: i64, window: &Window) -> Result<i64, Failure> {
    let zone = tz(&window.time_zone);
    let day = local(at, zone).date();
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    match window.unit {
        WindowUnit::Micros => {
            let mut start = at - window.offset_micros;
            start = start.div_euclid(window.size) * window.size;
            checked(start + window.offset_micros)
        }
        WindowUnit::Days => {
            let days = (day - epoch).num_days().div_euclid(window.size) * window.size;
            midnight(epoch + TimeDelta::days(days), zone)
        }
        WindowUnit::Months => {
            let months = (i64::from(day.year()) - 1970) * 12 + i64::from(day.month0());
            let months = months.div_euclid(window.size) * window.size;
            let year = 1970 + months.div_euclid(12) as i32;
            midnight(NaiveDate::from_ymd_opt(year, months.rem_euclid(12) as u32 + 1, 1).unwrap(), zone)
        }
    }
}

fn cast(value: Value, from: DataType, to: DataType) -> Outcome {
    use DataType as D;
    let invalid = Failure::InvalidCast;
    if value == Value::Null || from == to {
        return Ok(value);
    }
    match (&value, to) {
        (Value::Text(_), D::Text) => Ok(value),
        (Value::Text(t), _) => parse(t.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']), t, to).ok_or(invalid),
        (Value::Boolean(v), D::Text) => Ok(Value::Text(v.to_string())),
        (Value::Boolean(v), _) => Ok(Value::Int(i64::from(*v))),
        (Value::Int(v), D::Boolean) => Ok(Value::Boolean(*v != 0)),
        (Value::Int(v), D::Double) => Ok(Value::Double(*v as f64)),
        (Value::Int(v), D::Text) => Ok(Value::Text(v.to_string())),
        (Value::Int(v), D::Decimal { scale, .. }) => {
            fit(i128::from(*v).checked_mul(10i128.pow(u32::from(scale))), to).ok_or(invalid)
        }
        (Value::Int(v), _) => fit(Some(i128::from(*v)), to).ok_or(invalid),
        (Value::Double(v), D::Text) => {
            let mut text = String::new();
            write_double(&mut text, *v);
            Ok(Value::Text(text))
        }
        (Value::Double(v), D::Decimal { precision, scale }) => {
            double_to_decimal(*v, precision, scale).map(Value::Decimal).ok_or(invalid)
        }
        (Value::Double(v), _) => {
            if !v.is_finite() || v.abs() > 1e19 {
                return Err(invalid);
            }
            fit(Some(v.round_ties_even() as i128), to).ok_or(invalid)
        }
        (Value::Decimal(v), _) => {
            let D::Decimal { scale, .. } = from else { panic!() };
            let text = decimal_text(*v, scale);
            match to {
                D::Text => Ok(Value::Text(text)),
                D::Double => Ok(Value::Double(text.parse().unwrap())),
                D::Decimal { precision, scale } => {
                    parse_decimal(&text, precision, scale, true).map(Value::Decimal).map_err(|_| invalid)
                }
                _ => fit(parse_decimal(&text, 38, 0, true).ok(), to).ok_or(invalid),
            }
        }
        (Value::Timestamp(v), D::Date) => Ok(Value::Date(v.div_euclid(86_400_000_000) as i32)),
        (Value::Timestamp(v), _) => {
            let format = if v % 1_000_000 == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.6fZ" };
            Ok(Value::Text(naive(*v).format(format).to_string()))
        }
        (Value::Date(v), D::Timestamp) => {
            if (MIN_DATE..=MAX_DATE).contains(v) {
                Ok(Value::Timestamp(i64::from(*v) * 86_400_000_000))
            } else {
                Err(Failure::TimestampOutOfRange)
            }
        }
        (Value::Date(v), _) => Ok(Value::Text(naive(i64::from(*v) * 86_400_000_000).format("%Y-%m-%d").to_string())),
        _ => panic!("{value:?} to {to}"),
    }
}

fn parse(text: &str, untrimmed: &str, to: DataType) -> Option<Value> {
    let regex = |pattern: &str| regex::Regex::new(pattern).unwrap();
    match to {
        DataType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Some(Value::Boolean(true)),
            "false" | "f" | "no" | "n" | "off" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        DataType::Int | DataType::BigInt => {
            if !regex(r"^[+-]?[0-9]+$").is_match(text) {
                return None;
            }
            fit(text.parse::<i128>().ok(), to)
        }
        DataType::Double => {
            let value: f64 = text.parse().ok()?;
            let named = regex("(?i)^[+-]?inf").is_match(text);
            if value.is_infinite() && !named { None } else { Some(Value::Double(value)) }
        }
        DataType::Decimal { precision, scale } => {
            if !regex(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$").is_match(text) {
                return None;
            }
            parse_decimal(text, precision, scale, true).ok().map(Value::Decimal)
        }
        DataType::Timestamp => {
            let form = regex(
                r"^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?)?$",
            );
            let parts = form.captures(text)?;
            let number = |i: usize| parts.get(i).map_or(0, |m| m.as_str().parse::<i64>().unwrap_or(0));
            let day = NaiveDate::parse_from_str(&parts[1], "%Y-%m-%d").ok().filter(|d| d.year() >= 1)?;
            let time = NaiveTime::from_hms_opt(number(2) as u32, number(3) as u32, number(4) as u32)?;
            let fraction = parts.get(5).map_or("", |m| m.as_str());
            let fraction: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
            if number(8) > 23 || number(9) > 59 {
                return None;
            }
            let offset = (number(8) * 3_600 + number(9) * 60) * 1_000_000;
            let offset = if parts.get(7).is_some_and(|m| m.as_str() == "-") { -offset } else { offset };
            checked(micros(day.and_time(time)) + fraction - offset).ok().map(Value::Timestamp)
        }
        DataType::Date => {
            if !regex(r"^\d{4}-\d\d-\d\d$").is_match(text) {
                return None;
            }
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|d| d.year() >= 1)?;
            Some(Value::Date(day.num_days_from_ce() - 719_163))
        }
        DataType::Json => {
            let raw: Box<serde_json::value::RawValue> = serde_json::from_str(untrimmed).ok()?;
            Some(Value::Text(raw.get().to_owned()))
        }
        DataType::Text => Some(Value::Text(untrimmed.to_owned())),
    }
}
