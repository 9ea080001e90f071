//! The calendar: timestamps in UTC microseconds, dates in days, time zones, windows.
//!
//! The Gregorian calendar is extended to all years; timestamps and dates lie in the years 1 to 9999.

use std::fmt::Write;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::error::{Failure, PipelineError};
pub use crate::window::WindowClock;

/// Microseconds of one second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds of one day of 24 hours.
pub(crate) const DAY: i64 = 86_400 * SECOND;
/// 0001-01-01T00:00:00Z.
pub const MIN_TIMESTAMP: i64 = -62_135_596_800 * SECOND;
/// 9999-12-31T23:59:59.999999Z.
pub const MAX_TIMESTAMP: i64 = 253_402_300_800 * SECOND - 1;
/// 0001-01-01.
pub const MIN_DATE: i32 = -719_162;
/// 9999-12-31.
pub const MAX_DATE: i32 = 2_932_896;

/// A timestamp that was worked out: also the end of the year 9999, where its last windows end.
pub(crate) fn in_range_or_end(micros: i64) -> Result<i64, Failure> {
    if micros == MAX_TIMESTAMP + 1 { Ok(micros) } else { in_range(micros) }
}

/// The timestamp, if it lies in the years 1 to 9999.
pub(crate) fn in_range(micros: i64) -> Result<i64, Failure> {
    if (MIN_TIMESTAMP..=MAX_TIMESTAMP).contains(&micros) { Ok(micros) } else { Err(Failure::TimestampOutOfRange) }
}

/// Days since 1970-01-01 of a year, a month (1–12) and a day, after Howard Hinnant's `days_from_civil`.
#[inline]
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month (1–12) and day of days since 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The number of days in a month.
#[inline]
pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Months since January 1970 of a day.
pub(crate) fn month_index(days: i64) -> i64 {
    let (year, month, _) = civil_from_days(days);
    (year - 1970) * 12 + month - 1
}

/// The first day of a month since January 1970.
pub(crate) fn month_start(index: i64) -> i64 {
    days_from_civil(1970 + index.div_euclid(12), index.rem_euclid(12) + 1, 1)
}

/// A number of `digits.len()` ASCII digits.
#[inline(always)]
fn digits(bytes: &[u8]) -> Option<i64> {
    let mut value = 0i64;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

/// Reads `YYYY-MM-DD` of the years 1 to 9999 as days.
#[inline]
pub(crate) fn parse_date(text: &[u8]) -> Option<i64> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *text else { return None };
    let year = digits(&[y0, y1, y2, y3])?;
    let month = digits(&[m0, m1])?;
    let day = digits(&[d0, d1])?;
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

/// Reads `YYYY-MM-DD[(T| )HH:MM[:SS[.digits]][Z|±HH[[:]MM]]]` as microseconds: RFC 3339 and its usual relatives. Without a zone it is
/// UTC; digits after the sixth are cut off; a date alone is its midnight. The year must lie in 1 to 9999, in UTC too.
///
/// The second 60 is a leap second. It is read where RFC 3339 (section 5.7) lets one be, as the last second of a month in UTC. It has
/// no number of its own among the microseconds since 1970: it becomes the second after it, 00:00:00 of the next day, as in POSIX
/// and PostgreSQL.
#[inline]
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    match usual_timestamp(text.as_bytes(), &mut Minute::default()) {
        Some((micros, bytes)) if bytes == text.len() => Some(micros),
        _ => parse_any_timestamp(text.as_bytes()),
    }
}

/// A minute of an earlier timestamp, as it was written: that of the next one is likely the same.
#[derive(Clone, Copy)]
pub(crate) struct Minute {
    /// `YYYY-MM-DDTHH:MM`.
    text: [u8; 16],
    seconds: i64,
}

impl Default for Minute {
    fn default() -> Self {
        Minute { text: *b"1970-01-01T00:00", seconds: 0 }
    }
}

/// Reads the `YYYY-MM-DDTHH:MM:SS[.digits]Z`, with up to six digits, that `bytes` begins with. Returns it in microseconds and its length in
/// bytes. `None` for all others, and for what is none.
#[inline(always)]
pub(crate) fn usual_timestamp(bytes: &[u8], minute: &mut Minute) -> Option<(i64, usize)> {
    let (head, rest) = bytes.split_first_chunk()?;
    if *head != minute.text {
        *minute = Minute { text: *head, seconds: usual_minute(head)? };
    }
    let [b':', tens @ b'0'..=b'5', ones @ b'0'..=b'9', rest @ ..] = rest else { return None };
    let seconds = minute.seconds + i64::from((tens - b'0') * 10 + ones - b'0');
    let (micros, fraction_bytes) = usual_fraction(rest)?;
    Some((seconds * SECOND + i64::from(micros), 16 + 3 + fraction_bytes))
}

/// Reads `YYYY-MM-DDTHH:MM`, in seconds.
#[inline(never)]
fn usual_minute(text: &[u8; 16]) -> Option<i64> {
    // All sixteen characters at once: less the template, a digit is its value and the rest is zero; with the headroom added, a byte of
    // anything else has its highest bit set.
    const TEMPLATE: u128 = u128::from_le_bytes(*b"0000-00-00T00:00");
    const HEADROOM: u128 = u128::from_le_bytes(*b"vvvv\x7fvv\x7fvv\x7fvv\x7fvv");
    const HIGH: u128 = u128::from_le_bytes([0x80; 16]);
    let digits = u128::from_le_bytes(*text) ^ TEMPLATE;
    if (digits | digits.wrapping_add(HEADROOM)) & HIGH != 0 {
        return None;
    }
    // In each byte: it times ten, plus the next one.
    let pairs = |digits: u64| digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let (low, high) = (pairs(digits as u64), pairs((digits >> 64) as u64));
    let pair = |pairs: u64, at: u32| u32::from((pairs >> (8 * at)) as u8);
    let (year, month, day) = (pair(low, 0) * 100 + pair(low, 2), pair(low, 5), pair(high, 0));
    let (hour, minute) = (pair(high, 3), pair(high, 6));
    if year < 1
        || !(1..=12).contains(&month)
        || day < 1
        || i64::from(day) > days_in_month(i64::from(year), i64::from(month))
        || hour > 23
        || minute > 59
    {
        return None;
    }
    Some(i64::from(days_of_usual_year(year, month, day)) * (DAY / SECOND) + i64::from(hour * 3600 + minute * 60))
}

/// Reads the `[.digits]Z`, with up to six digits, that `bytes` begins with. Returns microseconds and its length in bytes.
#[inline(always)]
fn usual_fraction(bytes: &[u8]) -> Option<(u32, usize)> {
    // The same as above, for six digits at once.
    const TEMPLATE: u64 = u64::from_le_bytes(*b".000000Z");
    const HEADROOM: u64 = u64::from_le_bytes(*b"\x7fvvvvvv\x7f");
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let digits = bytes.first_chunk().map_or(u64::MAX, |chunk| u64::from_le_bytes(*chunk) ^ TEMPLATE);
    if (digits | digits.wrapping_add(HEADROOM)) & HIGH == 0 {
        let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
        let pair = |at: u32| u32::from((pairs >> (8 * at)) as u8);
        return Some((pair(1) * 10_000 + pair(3) * 100 + pair(5), 8));
    }
    match bytes {
        [b'Z', ..] => Some((0, 1)),
        [b'.', fraction @ ..] => {
            let count = fraction.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
            let micros = fraction[..count].iter().fold(0, |micros, digit| micros * 10 + u32::from(digit - b'0'));
            let micros = micros * [0, 100_000, 10_000, 1_000, 100, 10, 1][count];
            (count > 0 && fraction.get(count) == Some(&b'Z')).then_some((micros, count + 2))
        }
        _ => None,
    }
}

/// [`days_from_civil`] for the years 1 to 9999, after C. Neri and L. Schneider, Euclidean affine functions and their application to
/// calendar algorithms (2022).
#[inline(always)]
fn days_of_usual_year(year: u32, month: u32, day: u32) -> i32 {
    let (year, month) = if month <= 2 { (year - 1, month + 12) } else { (year, month) };
    let century = year / 100;
    (1461 * year / 4 - century + century / 4 + (979 * month - 2919) / 32 + day) as i32 - 719_469
}

fn parse_any_timestamp(bytes: &[u8]) -> Option<i64> {
    let days = parse_date(bytes.get(..10)?)?;
    let rest = &bytes[10..];
    if rest.is_empty() {
        return Some(days * DAY);
    }
    let [b'T' | b't' | b' ', h0, h1, b':', m0, m1, rest @ ..] = rest else { return None };
    let hour = digits(&[*h0, *h1])?;
    let minute = digits(&[*m0, *m1])?;
    let mut rest = rest;
    let (mut second, mut micros) = (0, 0);
    if let [b':', s0, s1, after @ ..] = rest {
        second = digits(&[*s0, *s1])?;
        rest = after;
        if let [b'.', after @ ..] = rest {
            let count = after.iter().take_while(|b| b.is_ascii_digit()).count();
            if count == 0 {
                return None;
            }
            let given = &after[..count.min(6)];
            micros = given.iter().fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
            micros *= [SECOND, 100_000, 10_000, 1_000, 100, 10, 1][given.len()];
            rest = &after[count..];
        }
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (h, m) = match zone {
                [h0, h1] => (digits(&[*h0, *h1])?, 0),
                [h0, h1, b':', m0, m1] | [h0, h1, m0, m1] => (digits(&[*h0, *h1])?, digits(&[*m0, *m1])?),
                _ => return None,
            };
            if h > 23 || m > 59 {
                return None;
            }
            let offset = h * 3600 + m * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds = days * (DAY / SECOND) + hour * 3600 + minute * 60 + second - offset;
    if second == 60 && !begins_month(seconds) {
        return None;
    }
    in_range(seconds * SECOND + micros).ok()
}

/// Whether a month begins with this second since 1970, in UTC.
fn begins_month(seconds: i64) -> bool {
    let day = seconds.div_euclid(DAY / SECOND);
    seconds.rem_euclid(DAY / SECOND) == 0 && civil_from_days(day).2 == 1
}

/// Appends `YYYY-MM-DD`.
pub(crate) fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = civil_from_days(days);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
}

/// Appends `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`; the fraction is there, with six digits, if it is not zero.
pub(crate) fn write_timestamp(out: &mut String, micros: i64) {
    write_date(out, micros.div_euclid(DAY));
    let of_day = micros.rem_euclid(DAY);
    let seconds = of_day / SECOND;
    let _ = write!(out, "T{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = of_day % SECOND;
    if fraction != 0 {
        let _ = write!(out, ".{fraction:06}");
    }
    out.push('Z');
}

/// A time zone of the compiled-in IANA data, or UTC.
///
/// Where clocks go back, a local time that occurs twice is the earlier instant. Where they go forward, a local time that does not occur is
/// the first instant after the gap. (The compiled-in rules end in 2100; later years keep the last offset.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Option<Tz>);

impl Zone {
    /// UTC.
    pub const UTC: Zone = Zone(None);

    /// The zone named `name`, UTC if there is no name.
    pub fn named(name: Option<&str>) -> Result<Zone, PipelineError> {
        match name {
            None | Some("UTC") => Ok(Zone::UTC),
            Some(name) => name.parse().map(|tz| Zone(Some(tz))).map_err(|_| {
                PipelineError::Definition(format!(
                    "\"{name}\" is not a time zone of the IANA data, such as 'Europe/Berlin'"
                ))
            }),
        }
    }

    /// Local time minus UTC at an instant, in microseconds.
    pub fn offset_at(&self, micros: i64) -> i64 {
        match self.0 {
            None => 0,
            Some(tz) => offset_seconds(tz, micros.div_euclid(SECOND)) * SECOND,
        }
    }

    /// Local wall-clock microseconds of an instant.
    pub fn to_local(&self, micros: i64) -> i64 {
        micros.saturating_add(self.offset_at(micros))
    }

    /// The instant of local wall-clock microseconds.
    pub fn to_instant(&self, local: i64) -> i64 {
        let Some(tz) = self.0 else { return local };
        let (seconds, fraction) = (local.div_euclid(SECOND), local.rem_euclid(SECOND));
        // The instants that could have this local time: no zone was ever more than a day off.
        let (before, after) = (offset_seconds(tz, seconds - 86_400), offset_seconds(tz, seconds + 86_400));
        let earliest = seconds - before.max(after);
        let latest = seconds - before.min(after);
        for instant in [earliest, latest] {
            if instant + offset_seconds(tz, instant) == seconds {
                return instant * SECOND + fraction;
            }
        }
        // A gap: the first instant whose local time is not before the one asked for.
        let (mut low, mut high) = (earliest - 1, latest + 1);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if middle + offset_seconds(tz, middle) >= seconds {
                high = middle;
            } else {
                low = middle;
            }
        }
        high * SECOND
    }
}

fn offset_seconds(tz: Tz, seconds: i64) -> i64 {
    DateTime::from_timestamp(seconds, 0)
        .map_or(0, |utc| i64::from(tz.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        parse_timestamp(text).unwrap()
    }

    fn shown(micros: i64) -> String {
        let mut text = String::new();
        write_timestamp(&mut text, micros);
        text
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        for (text, instant) in [
            ("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00Z")),
            ("2016-12-31T23:59:60.25Z", Some("2017-01-01T00:00:00.250000Z")),
            ("2015-06-30 23:59:60", Some("2015-07-01T00:00:00Z")),
            ("2017-01-01T05:29:60+05:30", Some("2017-01-01T00:00:00Z")),
            ("2016-12-31T15:59:60-08:00", Some("2017-01-01T00:00:00Z")),
            // At the end of any month, as RFC 3339 has it; before 1970 too.
            ("2024-02-29T23:59:60Z", Some("2024-03-01T00:00:00Z")),
            ("1969-12-31T23:59:60Z", Some("1970-01-01T00:00:00Z")),
            // Not where none can be, and not beyond the years.
            ("2024-02-28T23:59:60Z", None),
            ("2016-12-31T23:58:60Z", None),
            ("2016-12-31T22:59:60Z", None),
            ("2016-12-31T23:59:60+01:00", None),
            ("2016-12-31T23:59:61Z", None),
            ("9999-12-31T23:59:60Z", None),
        ] {
            assert_eq!(parse_timestamp(text).map(shown).as_deref(), instant, "{text}");
        }
    }

    #[test]
    fn local_times_that_occur_twice_or_never() {
        let cases = [
            // Ordinary, twice (the earlier), never (the first instant after).
            ("Europe/Berlin", "2024-07-01T12:00", "2024-07-01T10:00:00Z"),
            ("Europe/Berlin", "2024-10-27T02:30", "2024-10-27T00:30:00Z"),
            ("Europe/Berlin", "2024-03-31T02:30", "2024-03-31T01:00:00Z"),
            // Midnight that never was, and one before clocks went back from it.
            ("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00:00Z"),
            ("America/Sao_Paulo", "2018-02-18T00:00", "2018-02-18T03:00:00Z"),
            // Half an hour; a whole day that was left out; local mean time.
            ("Australia/Lord_Howe", "2024-10-06T02:15", "2024-10-05T15:30:00Z"),
            ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00Z"),
            ("Europe/Berlin", "0001-01-01T12:00", "0001-01-01T11:06:32Z"),
            // The data ends in 2100, at the latest; the offset stays.
            ("Asia/Tokyo", "9999-12-31T12:00", "9999-12-31T03:00:00Z"),
        ];
        for (zone, local, instant) in cases {
            let zone = Zone::named(Some(zone)).unwrap();
            assert_eq!(shown(zone.to_instant(at(local))), instant, "{zone:?} {local}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn texts_read_back(micros in MIN_TIMESTAMP..=MAX_TIMESTAMP) {
            prop_assert_eq!(parse_timestamp(&shown(micros)), Some(micros));
        }

        #[test]
        fn the_usual_form_is_read_as_any_form_is(
            micros in MIN_TIMESTAMP..=MAX_TIMESTAMP,
            digits in 0usize..=6,
            change in prop::option::of((0usize..27, any::<u8>())),
            from_before in prop_oneof![Just(0i64), -90 * SECOND..90 * SECOND, any::<i64>()],
        ) {
            // What was read before makes no difference.
            let before = shown(micros.saturating_add(from_before).clamp(MIN_TIMESTAMP, MAX_TIMESTAMP));
            let mut text = format!("{}.{:06}", shown(micros - micros.rem_euclid(SECOND)).trim_end_matches('Z'), micros.rem_euclid(SECOND));
            text.truncate(if digits == 0 { 19 } else { 20 + digits });
            let mut bytes = [text.as_bytes(), b"Z"].concat();
            if let Some((at, byte)) = change
                && let Some(changed) = bytes.get_mut(at)
            {
                *changed = byte;
            }
            let mut minute = Minute::default();
            let _ = usual_timestamp(before.as_bytes(), &mut minute);
            if let Some((read, length)) = usual_timestamp(&[&bytes, &b"\",\"0000000000"[..]].concat(), &mut minute) {
                // The change may have ended it early.
                prop_assert!(length == bytes.len() || (change.is_some() && length < bytes.len()));
                prop_assert_eq!(parse_any_timestamp(&bytes[..length]), Some(read));
            } else {
                prop_assert!(change.is_some() || parse_any_timestamp(&bytes).is_none());
            }
        }

        #[test]
        fn instants_are_at_or_after_their_local_time(
            micros in -2_000_000_000 * SECOND..5_000_000_000 * SECOND,
            zone in prop::sample::select(vec!["Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns"]),
        ) {
            let zone = Zone::named(Some(zone)).unwrap();
            let instant = zone.to_instant(zone.to_local(micros));
            // The same instant, or the earlier one of two.
            prop_assert!(instant == micros || (instant < micros && zone.to_local(instant) == zone.to_local(micros)));
        }
    }
}
