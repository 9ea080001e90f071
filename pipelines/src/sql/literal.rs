//! Constants: numbers, timestamps, dates and intervals as they stand in the text.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use sqlparser::{
    ast::{self, DateTimeField, Spanned},
    tokenizer::Span,
};

use super::diagnostic::{Mistake, Planned};
use crate::{
    expr::Interval,
    types::{DataType, Value},
};

/// A number: whole ones are `INT`, else `BIGINT`, else `DECIMAL`; with a point `DECIMAL`; with an exponent `DOUBLE`.
pub(crate) fn number(text: &str, negative: bool, span: Span) -> Planned<(Value, DataType)> {
    let text = text.replace('_', "");
    let sign = if negative { "-" } else { "" };
    if text.contains(['e', 'E']) {
        return match format!("{sign}{text}").parse::<f64>() {
            Ok(value) if value.is_finite() => Ok((Value::Double(value + 0.0), DataType::Double)),
            _ => Err(Mistake::new(span, format!("{text} is out of DOUBLE's range")).label("too large")),
        };
    }
    if let Ok(value) = format!("{sign}{text}").parse::<i64>() {
        let data_type = if i32::try_from(value).is_ok() { DataType::Int } else { DataType::BigInt };
        return Ok((Value::Int(value), data_type));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.trim_start_matches('0');
    let precision = (whole.len() + fraction.len()).max(1);
    match (format!("{sign}{whole}{fraction}").parse::<i128>(), u8::try_from(precision), u8::try_from(fraction.len())) {
        (Ok(unscaled), Ok(precision @ 1..=38), Ok(scale)) => {
            Ok((Value::Decimal(unscaled), DataType::Decimal { precision, scale }))
        }
        _ => Err(Mistake::new(span, format!("{text} has more than 38 digits"))
            .label("too many digits for DECIMAL")
            .help(format!("for a DOUBLE write {text}e0"))),
    }
}

/// `2026-01-31`, years 1 to 9999, as days since 1970.
pub(crate) fn date(text: &str) -> Option<i32> {
    let text = text.trim();
    let digits = text.split('-').map(str::len).collect::<Vec<_>>();
    if digits != [4, 2, 2] {
        return None;
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    (date >= NaiveDate::from_ymd_opt(1, 1, 1)?).then(|| i32::try_from(days).ok()).flatten()
}

/// `2026-01-31[ 12:30[:15[.123456]]][Z|±hh[:mm]]`, as microseconds since 1970 UTC.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    let day = date(text.get(..10)?)?;
    let rest = text.get(10..)?;
    let midnight = i64::from(day) * 86_400_000_000;
    if rest.is_empty() {
        return Some(midnight);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?.trim_start();
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (rest[..at].trim_end(), zone_offset(&rest[at..])?),
        None => (rest, 0),
    };
    let fraction = clock.split_once('.').map_or(0, |(_, digits)| digits.len());
    if fraction > 9 || clock.len() < 5 {
        return None;
    }
    let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|format| NaiveTime::parse_from_str(clock, format).ok())?;
    let micros = NaiveDateTime::new(NaiveDate::default(), time).and_utc().timestamp_micros();
    midnight.checked_add(micros)?.checked_sub(offset)
}

fn zone_offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text.get(1..)?.chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    (hours < 16 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

const INTERVAL_HELP: &str = "write a number and a unit, such as INTERVAL '1 minute', '12 hours', '1 day' or '1 month'";

/// `INTERVAL '1 minute'`, `INTERVAL '1' MINUTE`, `INTERVAL '1 day 12 hours'`.
pub(crate) fn interval(interval: &ast::Interval) -> Planned<Interval> {
    let span = interval.value.span();
    let text = match &*interval.value {
        ast::Expr::Value(v) => match &v.value {
            ast::Value::SingleQuotedString(text) | ast::Value::Number(text, _) => text.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let refuse = || Mistake::new(span, format!("\"{text}\" is not an interval")).help(INTERVAL_HELP);
    if interval.last_field.is_some() {
        return Err(Mistake::new(span, "intervals with `TO` are not supported").help(INTERVAL_HELP));
    }
    match &interval.leading_field {
        None => interval_text(&text).ok_or_else(refuse),
        Some(field) => {
            let count: f64 = text.trim().parse().map_err(|_| refuse())?;
            let unit = date_time_unit(field).ok_or_else(|| {
                Mistake::new(span, format!("`{field}` is not a unit of intervals")).help(INTERVAL_HELP)
            })?;
            let mut total = Interval::default();
            add_unit(&mut total, count, unit).ok_or_else(refuse)?;
            Ok(total)
        }
    }
}

fn date_time_unit(field: &DateTimeField) -> Option<&'static str> {
    let name = field.to_string().to_lowercase();
    UNITS.iter().find(|(unit, ..)| *unit == name || format!("{unit}s") == name).map(|(unit, ..)| *unit)
}

/// (name, months, days, microseconds)
const UNITS: &[(&str, i32, i32, i64)] = &[
    ("microsecond", 0, 0, 1),
    ("millisecond", 0, 0, 1_000),
    ("second", 0, 0, 1_000_000),
    ("minute", 0, 0, 60_000_000),
    ("hour", 0, 0, 3_600_000_000),
    ("day", 0, 1, 0),
    ("week", 0, 7, 0),
    ("month", 1, 0, 0),
    ("quarter", 3, 0, 0),
    ("year", 12, 0, 0),
];
const SHORT: &[(&str, &str)] = &[
    ("us", "microsecond"),
    ("ms", "millisecond"),
    ("s", "second"),
    ("sec", "second"),
    ("m", "minute"),
    ("min", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mon", "month"),
    ("y", "year"),
];

fn add_unit(total: &mut Interval, count: f64, unit: &str) -> Option<()> {
    let (_, months, days, micros) = UNITS.iter().find(|(name, ..)| *name == unit)?;
    let whole = |count: f64| (count.fract() == 0.0 && count.abs() < 2e9).then_some(count as i32);
    if *months != 0 {
        total.months = total.months.checked_add(whole(count)?.checked_mul(*months)?)?;
    } else if *days != 0 {
        total.days = total.days.checked_add(whole(count)?.checked_mul(*days)?)?;
    } else {
        let product = (count * *micros as f64).round();
        if !product.is_finite() || product.abs() >= 9e18 {
            return None;
        }
        total.micros = total.micros.checked_add(product as i64)?;
    }
    Some(())
}

/// The text of an interval: numbers with units, and perhaps `hh:mm[:ss]`.
pub(crate) fn interval_text(text: &str) -> Option<Interval> {
    let mut total = Interval::default();
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        // `10s` is `10 s`.
        match word.find(|c: char| c.is_ascii_alphabetic()) {
            Some(at) if at > 0 => words.extend([&word[..at], &word[at..]]),
            _ => words.push(word),
        }
    }
    if words.is_empty() {
        return None;
    }
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word.contains(':') {
            let time =
                NaiveTime::parse_from_str(word, "%H:%M:%S%.f").or_else(|_| NaiveTime::parse_from_str(word, "%H:%M"));
            let micros = NaiveDateTime::new(NaiveDate::default(), time.ok()?).and_utc().timestamp_micros();
            total.micros = total.micros.checked_add(micros)?;
            continue;
        }
        let count: f64 = word.parse().ok()?;
        let unit = words.next()?.to_lowercase();
        let unit = SHORT.iter().find(|(short, _)| *short == unit).map_or(unit.trim_end_matches('s'), |(_, unit)| unit);
        add_unit(&mut total, count, unit)?;
    }
    Some(total)
}

/// A length of time in microseconds; a day is 24 hours, months have none.
pub(crate) fn duration_micros(interval: Interval) -> Option<i64> {
    if interval.months != 0 {
        return None;
    }
    i64::from(interval.days).checked_mul(86_400_000_000)?.checked_add(interval.micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_timestamps() {
        assert_eq!(timestamp("1970-01-01"), Some(0));
        assert_eq!(timestamp("1970-01-02 00:00:01.5"), Some(86_401_500_000));
        assert_eq!(timestamp("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(timestamp("1970-01-01T01:00Z"), Some(3_600_000_000));
        for wrong in ["", "1970", "1970-13-01", "1970-01-01 25:00", "1970-01-01x", "0000-01-01", "é970-01-01"] {
            assert_eq!(timestamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn reads_intervals() {
        let of = |months, days, micros| Some(Interval { months, days, micros });
        assert_eq!(interval_text("1 minute"), of(0, 0, 60_000_000));
        assert_eq!(interval_text("1 day 12 hours"), of(0, 1, 43_200_000_000));
        assert_eq!(interval_text("10s"), of(0, 0, 10_000_000));
        assert_eq!(interval_text("2 weeks"), of(0, 14, 0));
        assert_eq!(interval_text("-1 month"), of(-1, 0, 0));
        assert_eq!(interval_text("1 day 01:30"), of(0, 1, 5_400_000_000));
        for wrong in ["", "1", "minute", "1 fortnight", "1.5 months", "one day"] {
            assert_eq!(interval_text(wrong), None, "{wrong}");
        }
    }
}
