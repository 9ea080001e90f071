//! Numbers as text: exact decimals, and the one canonical text of a double.

use std::fmt::Write;

/// 10 to the power of 0..=38.
pub(crate) const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut i = 1;
    while i < 39 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// The least absolute value that has more than `precision` digits.
pub(crate) fn decimal_limit(precision: u8) -> i128 {
    POWERS[usize::from(precision).min(38)]
}

/// Why a text is not a decimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DecimalError {
    /// It is not a number.
    Syntax,
    /// It has more digits after the point than the type.
    Fraction,
    /// It has more digits than the type.
    Range,
}

/// Reads a decimal number (`-1.25`, `1e3`, `.5`, `+7.`) as an integer of `scale` digits after the point. Digits beyond the scale, zeros
/// aside, are an error, or are rounded half away from zero if `round`.
#[inline]
pub(crate) fn parse_decimal(text: &str, precision: u8, scale: u8, round: bool) -> Result<i128, DecimalError> {
    match short_decimal(text.as_bytes(), precision, scale) {
        Some((value, length)) if length == text.len() => Ok(i128::from(value)),
        _ => parse_any_decimal(text.as_bytes(), precision, scale, round),
    }
}

/// Reads the JSON number, of up to 18 digits in all and without exponent, that `bytes` begins with, if it fits its type. Returns it and
/// its length in bytes. `None` for all others, and for what is none.
#[inline(never)]
pub(crate) fn short_decimal(bytes: &[u8], precision: u8, scale: u8) -> Option<(i64, usize)> {
    let negative = usize::from(bytes.first() == Some(&b'-'));
    let (value, whole) = some_digits(0, bytes.get(negative..)?);
    if whole == 0 || (whole > 1 && bytes[negative] == b'0') {
        return None;
    }
    let (mut value, mut fraction, mut at) = (value, 0, negative + whole);
    if bytes.get(at) == Some(&b'.') {
        (value, fraction) = some_digits(value, &bytes[at + 1..]);
        at += 1 + fraction;
        if fraction == 0 {
            return None;
        }
    }
    let scale = usize::from(scale);
    if fraction > scale || whole + scale > 18 || matches!(bytes.get(at), Some(b'e' | b'E')) {
        return None;
    }
    value *= POWERS[scale - fraction] as i64;
    let fits = value < POWERS[usize::from(precision).min(18)] as i64;
    fits.then_some((if negative == 1 { -value } else { value }, at))
}

/// Appends the digits that `bytes` begins with to `value`, and counts them. (More than 18 overflow.)
#[inline(always)]
fn some_digits(mut value: i64, bytes: &[u8]) -> (i64, usize) {
    let mut count = 0;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        count += 1;
    }
    (value, count)
}

fn parse_any_decimal(bytes: &[u8], precision: u8, scale: u8, round: bool) -> Result<i128, DecimalError> {
    let (negative, mut at) = match bytes.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let whole_start = at;
    while at < bytes.len() && bytes[at].is_ascii_digit() {
        at += 1;
    }
    let whole = &bytes[whole_start..at];
    let mut fraction: &[u8] = &[];
    if bytes.get(at) == Some(&b'.') {
        let start = at + 1;
        at = start;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        fraction = &bytes[start..at];
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(DecimalError::Syntax);
    }
    let mut exponent = 0i64;
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        let sign = match bytes.get(at) {
            Some(b'-') => -1,
            Some(b'+') => 1,
            _ => 0,
        };
        at += usize::from(sign != 0);
        let start = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            exponent = (exponent * 10 + i64::from(bytes[at] - b'0')).min(1_000_000_000);
            at += 1;
        }
        if start == at {
            return Err(DecimalError::Syntax);
        }
        if sign < 0 {
            exponent = -exponent;
        }
    }
    if at != bytes.len() {
        return Err(DecimalError::Syntax);
    }
    // The value is 0.d1d2d3… × 10^point; its integer of `scale` digits ends after `keep` of the digits.
    let keep = whole.len() as i64 + exponent + i64::from(scale);
    let most = decimal_limit(precision) - 1;
    let mut value = 0i128;
    let mut rest = 0u8;
    let mut cut_off = false;
    for (index, digit) in whole.iter().chain(fraction).map(|b| b - b'0').enumerate() {
        let index = index as i64;
        if index < keep {
            if value > most / 10 {
                return Err(DecimalError::Range);
            }
            value = value * 10 + i128::from(digit);
        } else {
            cut_off |= digit != 0;
            if index == keep {
                rest = digit;
            }
        }
    }
    let digits = (whole.len() + fraction.len()) as i64;
    if value != 0 {
        for _ in digits..keep {
            if value > most / 10 {
                return Err(DecimalError::Range);
            }
            value *= 10;
        }
    }
    if cut_off {
        if !round {
            return Err(DecimalError::Fraction);
        }
        value += i128::from(rest >= 5);
    }
    if value > most {
        return Err(DecimalError::Range);
    }
    Ok(if negative { -value } else { value })
}

/// Appends a decimal with all digits of its scale: `-0.50`.
pub(crate) fn write_decimal(out: &mut String, value: i128, scale: u8) {
    let scale = usize::from(scale);
    let magnitude = value.unsigned_abs();
    if value < 0 {
        out.push('-');
    }
    let power = POWERS[scale.min(38)].unsigned_abs();
    let _ = write!(out, "{}", magnitude / power);
    if scale > 0 {
        let _ = write!(out, ".{:0scale$}", magnitude % power);
    }
}

/// Appends the canonical text of a double: the shortest digits that read back as the same double, with an exponent below 1e-4 and
/// from 1e16 up (`1.5e-7`); `NaN`, `Infinity`, `-Infinity`; zero has no sign.
pub(crate) fn write_double(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if value == 0.0 {
        out.push('0');
    } else if (1e-4..1e16).contains(&value.abs()) {
        let _ = write!(out, "{value}");
    } else {
        let _ = write!(out, "{value:e}");
    }
}

/// Reads a double, rounded correctly. A number too large for a double is an error, not infinity.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    // Infinity is only what is written so, not what overflows.
    if value.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(if value.is_nan() { f64::NAN } else { value + 0.0 })
}

/// A decimal as the nearest double.
pub(crate) fn decimal_to_double(value: i128, scale: u8) -> f64 {
    // Both exact, so that the one division rounds correctly.
    if value.unsigned_abs() < 1 << 53 && scale <= 22 {
        return value as f64 / POWERS[usize::from(scale)] as f64;
    }
    let mut text = String::new();
    write_decimal(&mut text, value, scale);
    text.parse().unwrap_or(f64::NAN)
}

/// A double's shortest decimal text as a decimal, rounded half away from zero. `None` if it does not fit.
pub(crate) fn double_to_decimal(value: f64, precision: u8, scale: u8) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    parse_decimal(&format!("{value:e}"), precision, scale, true).ok()
}

/// Divides and rounds half away from zero.
pub(crate) fn divide_rounding(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    let rest = value % by;
    if rest.unsigned_abs() >= by.unsigned_abs() - rest.unsigned_abs() {
        quotient + if (value < 0) == (by < 0) { 1 } else { -1 }
    } else {
        quotient
    }
}

/// Changes the scale of a decimal, half away from zero. `None` if it has more than `precision` digits then.
pub(crate) fn rescale(value: i128, from: u8, to: u8, precision: u8) -> Option<i128> {
    let result = if to >= from {
        value.checked_mul(POWERS[usize::from(to - from).min(38)])?
    } else {
        divide_rounding(value, POWERS[usize::from(from - to).min(38)])
    };
    (result.unsigned_abs() < decimal_limit(precision).unsigned_abs()).then_some(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        let nines = "9".repeat(38);
        for (text, precision, scale, expected) in [
            ("0", 1, 0, Ok(0)),
            ("-0.00", 5, 2, Ok(0)),
            (".5", 5, 2, Ok(50)),
            ("7.", 5, 2, Ok(700)),
            ("+1.25", 5, 2, Ok(125)),
            ("1.25e1", 5, 2, Ok(1_250)),
            ("125e-2", 5, 2, Ok(125)),
            ("000000000000000000000000000000000000000000001", 5, 2, Ok(100)),
            ("1.250000000000000000000000000000000000000000000", 5, 2, Ok(125)),
            ("999.99", 5, 2, Ok(99_999)),
            ("1000", 5, 2, Err(DecimalError::Range)),
            ("0.001", 5, 2, Err(DecimalError::Fraction)),
            ("1e-40", 38, 38, Err(DecimalError::Fraction)),
            ("0e9999999999999999999", 5, 2, Ok(0)),
            ("1e9999999999999999999", 5, 2, Err(DecimalError::Range)),
            ("1e-9999999999999999999", 5, 2, Err(DecimalError::Fraction)),
            (nines.as_str(), 38, 0, Ok(10i128.pow(38) - 1)),
            (nines.as_str(), 38, 1, Err(DecimalError::Range)),
            ("", 5, 2, Err(DecimalError::Syntax)),
            (".", 5, 2, Err(DecimalError::Syntax)),
            ("-", 5, 2, Err(DecimalError::Syntax)),
            ("1e", 5, 2, Err(DecimalError::Syntax)),
            ("1e+", 5, 2, Err(DecimalError::Syntax)),
            ("1 ", 5, 2, Err(DecimalError::Syntax)),
            ("0x1", 5, 2, Err(DecimalError::Syntax)),
            ("١", 5, 2, Err(DecimalError::Syntax)),
        ] {
            assert_eq!(parse_decimal(text, precision, scale, false), expected, "{text}");
        }
        for (text, expected) in [
            ("1.005", Ok(101)),
            ("1.00499999", Ok(100)),
            ("-1.005", Ok(-101)),
            ("0.00500", Ok(1)),
            ("5e-3", Ok(1)),
            ("0.0049e-5", Ok(0)),
            ("999.994", Ok(99_999)),
            ("999.995", Err(DecimalError::Range)),
        ] {
            assert_eq!(parse_decimal(text, 5, 2, true), expected, "{text}");
        }
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (value, by, expected) in
            [(5, 10, 1), (-5, 10, -1), (4, 10, 0), (14, 10, 1), (15, 10, 2), (-15, 10, -2), (7, 1, 7)]
        {
            assert_eq!(divide_rounding(value, by), expected, "{value} / {by}");
        }
        let most = POWERS[38] - 1;
        assert_eq!(rescale(most, 1, 0, 38), Some(POWERS[37]));
        assert_eq!(rescale(most, 0, 1, 38), None);
        assert_eq!(divide_rounding(most, POWERS[38]), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn short_decimals_are_read_as_any_are(text in "-?[0-9]{0,9}(\\.[0-9]{0,6})?[e,}]?", precision in 1u8..=38, scale in 0u8..=12) {
            if let Some((value, length)) = short_decimal(text.as_bytes(), precision, scale.min(precision)) {
                prop_assert_eq!(parse_decimal(&text[..length], precision, scale.min(precision), false), Ok(i128::from(value)));
                prop_assert!(serde_json::from_str::<serde_json::Number>(&text[..length]).is_ok(), "{}", text);
                prop_assert!(matches!(text.as_bytes().get(length), None | Some(b',' | b'}')), "{}", text);
            }
        }

        #[test]
        fn decimals_read_back(value in -(POWERS[38] - 1)..POWERS[38], scale in 0u8..=38, small in any::<i32>(), to in 0u8..=38) {
            for value in [value, i128::from(small)] {
                let mut text = String::new();
                write_decimal(&mut text, value, scale);
                prop_assert_eq!(parse_decimal(&text, 38, scale, false), Ok(value));
                prop_assert_eq!(parse_decimal(&text, 38, to, true).ok(), rescale(value, scale, to, 38));
                prop_assert_eq!(decimal_to_double(value, scale), text.parse::<f64>().unwrap());
            }
        }

        #[test]
        fn doubles_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let mut text = String::new();
            write_double(&mut text, value);
            let back = parse_double(&text).unwrap();
            prop_assert!(back == value || (back.is_nan() && value.is_nan()));
        }
    }
}
