//! The short way through a record: plain JSON, as nearly all records are.
//!
//! It takes an object whose members are numbers, `true`, `false`, `null` and strings without escapes. Whatever else it meets, be it
//! an escape, a nested value, a member that occurs twice or anything that is not JSON, it leaves to the long way
//! ([`Reader::read`]), which alone decides what is refused and why. So both ways accept the same values; the tests compare them.

use super::{
    record::{Column, Reader, Row},
    special,
    value::{Slot, read_number, read_string},
};
use crate::{
    number::short_decimal,
    time::{Minute, usual_timestamp},
    types::DataType,
};

impl Reader {
    /// Reads `text` into `row`; `None` if it is not plain, and then `row` holds rubbish.
    #[inline(never)]
    pub(super) fn read_plain<'a>(&self, text: &'a str, row: &mut Row<'a>) -> Option<()> {
        let mut scanner = Scanner { text, at: 0 };
        row.text = text;
        scanner.skip_space();
        scanner.take(b'{')?;
        if !scanner.members_in_order(self, &mut row.slots, &mut row.minute)? {
            scanner = scanner.members(self, row)?;
        }
        scanner.skip_space();
        (scanner.at == text.len()).then_some(())
    }
}

/// Where the reading of a payload is. What is not inlined takes and returns it by value, so that it stays in registers.
#[derive(Clone, Copy)]
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    #[inline(always)]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Reads members as long as they are columns in the order of the schema, as producers write them, some of them left out;
    /// sets the slots of the columns that it does not find to [`Slot::Missing`]. Returns whether the object has ended.
    #[inline(always)]
    fn members_in_order(&mut self, reader: &Reader, slots: &mut [Slot<'a>], minute: &mut Minute) -> Option<bool> {
        let mut ended = false;
        for (column, slot) in reader.columns().iter().zip(slots) {
            if ended || !self.begins(column) {
                *slot = Slot::Missing;
                continue;
            }
            self.at += column.member_bytes();
            self.value(column.data_type, slot, minute)?;
            ended = self.ends()?;
        }
        if !ended {
            self.skip_space();
        }
        Some(ended)
    }

    #[inline(always)]
    fn begins(&mut self, column: &Column) -> bool {
        column.begins(self.bytes(), self.at) || {
            let at = self.at;
            self.skip_space();
            at < self.at && column.begins(self.bytes(), self.at)
        }
    }

    /// Reads members in any order, up to the end of the object.
    #[inline(never)]
    fn members(mut self, reader: &Reader, row: &mut Row<'a>) -> Option<Scanner<'a>> {
        loop {
            if self.bytes().get(self.at) != Some(&b'"') {
                return None;
            }
            let (start, end) = self.within_quotes()?;
            let found = reader.index_of(self.text.get(start..end)?);
            self.skip_space();
            self.take(b':')?;
            match found {
                Some(index) => {
                    let slot = row.slots.get_mut(index)?;
                    if !matches!(slot, Slot::Missing) {
                        return None;
                    }
                    self.value(reader.columns().get(index)?.data_type, slot, &mut row.minute)?;
                }
                // Of no column: of any type.
                None => self.value(DataType::Json, &mut Slot::Missing, &mut row.minute)?,
            }
            if self.ends()? {
                return Some(self);
            }
            self.skip_space();
        }
    }

    /// What follows a value: the end of the object, or another member, which is then next.
    #[inline(always)]
    fn ends(&mut self) -> Option<bool> {
        match self.next()? {
            b',' => Some(false),
            b'}' => Some(true),
            b' ' | b'\t' | b'\n' | b'\r' => {
                self.skip_space();
                match self.next()? {
                    b',' => Some(false),
                    b'}' => Some(true),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Reads a value into `slot`: handing it back instead would copy it twice, and wait for each copy.
    #[inline(always)]
    fn value(&mut self, data_type: DataType, slot: &mut Slot<'a>, minute: &mut Minute) -> Option<()> {
        while let Some(b' ') = self.bytes().get(self.at) {
            self.at += 1;
        }
        match (self.bytes().get(self.at)?, data_type) {
            (b'"', DataType::Text) => {
                let (start, end) = self.within_quotes()?;
                *slot = Slot::Plain { start, end };
            }
            (b'"', DataType::Timestamp) if self.usual_timestamp(slot, minute) => {}
            (b'-' | b'0'..=b'9', DataType::Decimal { precision, scale })
                if self.short_decimal(precision, scale, slot) => {}
            _ => *self = self.any_value(data_type, slot)?,
        }
        Some(())
    }

    #[inline(always)]
    fn usual_timestamp(&mut self, slot: &mut Slot<'a>, minute: &mut Minute) -> bool {
        match usual_timestamp(&self.bytes()[self.at + 1..], minute) {
            Some((micros, bytes)) if self.bytes().get(self.at + 1 + bytes) == Some(&b'"') => {
                *slot = Slot::Integer(micros);
                self.at += bytes + 2;
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    fn short_decimal(&mut self, precision: u8, scale: u8, slot: &mut Slot<'a>) -> bool {
        let found = short_decimal(&self.bytes()[self.at..], precision, scale);
        if let Some((value, bytes)) = found {
            *slot = Slot::Decimal(i128::from(value));
            self.at += bytes;
        }
        found.is_some()
    }

    /// Any value that [`Scanner::value`] has no shorter way for.
    #[inline(never)]
    fn any_value(mut self, data_type: DataType, slot: &mut Slot<'a>) -> Option<Scanner<'a>> {
        self.skip_space();
        let start = self.at;
        match self.bytes().get(start)? {
            b'"' => {
                let (start, end) = self.within_quotes()?;
                let inner = self.text.get(start..end)?;
                let raw = self.text.get(start - 1..end + 1)?;
                *slot = read_string(data_type, inner, raw).ok()?;
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                *slot = read_number(data_type, self.text.get(start..self.at)?).ok()?;
            }
            b'n' => {
                self.word("null")?;
                *slot = Slot::Null;
            }
            b't' => *slot = truth(data_type, true, self.word("true")?)?,
            b'f' => *slot = truth(data_type, false, self.word("false")?)?,
            _ => return None,
        }
        Some(self)
    }

    /// Skips a string without escapes, whose first quote is next: where what is between the quotes begins and ends.
    #[inline(always)]
    fn within_quotes(&mut self) -> Option<(usize, usize)> {
        let start = self.at + 1;
        let end = special::first(self.bytes(), start)?;
        self.at = end + 1;
        (self.bytes()[end] == b'"').then_some((start, end))
    }

    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.bytes().get(self.at) == Some(&b'-'));
        let whole = self.at;
        if self.digits()? > 1 && self.bytes()[whole] == b'0' {
            return None;
        }
        if self.bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes().get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes().get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    /// Skips digits; how many, if there are any.
    fn digits(&mut self) -> Option<usize> {
        let count = self.bytes().get(self.at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(count)
    }

    fn word(&mut self, word: &'static str) -> Option<&'static str> {
        let found = self.bytes().get(self.at..)?.starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(word)
    }

    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline(always)]
    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    #[inline(always)]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes().get(self.at) {
            self.at += 1;
        }
    }
}

fn truth<'a>(data_type: DataType, value: bool, word: &'a str) -> Option<Slot<'a>> {
    match data_type {
        DataType::Boolean => Some(Slot::Boolean(value)),
        DataType::Json => Some(Slot::Text(word)),
        _ => None,
    }
}

impl Reader {
    /// Reads a payload both ways, if the short way takes it; whether it does.
    ///
    /// # Panics
    /// If the long way refuses it, or reads other values.
    pub(super) fn check_both_ways(&self, payload: &str) -> bool {
        let (mut short, mut long) = (Row::new(self), Row::new(self));
        if self.read_plain(payload, &mut short).is_none() {
            return false;
        }
        self.read_thoroughly(payload, &mut long).unwrap_or_else(|reason| panic!("{payload}: {reason}"));
        let shown = |row: &Row<'_>| -> Vec<String> {
            let text = |slot: &Slot<'_>| match slot {
                Slot::Text(_) | Slot::Plain { .. } | Slot::Unescaped { .. } => format!("text {}", row.text(slot)),
                other => format!("{other:?}"),
            };
            row.slots.iter().map(text).collect()
        };
        assert_eq!(shown(&short), shown(&long), "{payload}");
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Field;

    fn reader() -> Reader {
        let types = [
            DataType::Text,
            DataType::Timestamp,
            DataType::Decimal { precision: 6, scale: 2 },
            DataType::BigInt,
            DataType::Double,
            DataType::Boolean,
            DataType::Date,
            DataType::Json,
        ];
        let field = |(i, data_type)| Field { name: format!("c{i}"), data_type, nullable: true };
        Reader::new(&types.into_iter().enumerate().map(field).collect::<Vec<_>>())
    }

    fn check(reader: &Reader, payload: &str) -> bool {
        reader.check_both_ways(payload)
    }

    #[test]
    fn the_usual_is_plain() {
        let reader = reader();
        for payload in [
            r#"{"c0":"a","c1":"2026-01-01T00:00:00.5Z","c2":-12.50,"c3":9223372036854775807,"c4":1e-3,"c5":true,"c6":"2024-02-29","c7":"x"}"#,
            " { \"c7\" : null , \"other\" : false ,\t\"c0\":\"é, thirty-two bytes and some more\" } \r\n",
            r#"{"c2":"12.5","c4":"NaN","c7":-0.0E+1,"other":"x"}"#,
        ] {
            assert!(check(&reader, payload), "{payload}");
        }
        for payload in [
            "",
            "{",
            "{}",
            "[]",
            "1",
            r#"{"c0":"a"}}"#,
            r#"{"c0":"a",}"#,
            r#"{"c0":"a" "c1":1}"#,
            r#"{"c0":"\n"}"#,
            "{\"c0\":\"\n\"}",
            "{\"c0\":\"\u{0}\"}",
            r#"{"c0":"a","c0":"b"}"#,
            r#"{"c3":01}"#,
            r#"{"c3":1.}"#,
            r#"{"c3":-}"#,
            r#"{"c4":1e}"#,
            r#"{"c4":.5}"#,
            r#"{"c4":+5}"#,
            r#"{"c5":"true"}"#,
            r#"{"c5":truer}"#,
            r#"{"c7":{}}"#,
            r#"{"c2":12345.67}"#,
            r#"{"c3":1.0}"#,
            r#"{"c1":"soon"}"#,
            r#"{"c0":nul}"#,
            r#"{"c0":1}"#,
        ] {
            assert!(!check(&reader, payload), "{payload}");
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "{",
                "}",
                "\"",
                ":",
                ",",
                " ",
                "\\",
                "[",
                "]",
                "\"c0\":",
                "\"c1\":",
                "\"c2\":",
                "\"c3\":",
                "\"c4\":",
                "\"c5\":",
                "\"c6\":",
                "\"c7\":",
                "\"c9\":",
                "true",
                "false",
                "null",
                "-",
                "0",
                "1.5",
                "12",
                "1e9",
                "E+2",
                "\"a\"",
                "\"2026-01-01T10:00:00Z\"",
                "\"2026-01-01\"",
                "\"NaN\"",
                "\"é\"",
                "\\n",
                "\u{1}",
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?[0-9]{1,4}(\\.[0-9]{1,3})?([eE][+-]?[0-9])?",
            "\"[ -~é]{0,20}\"",
            prop::sample::select(vec![
                "true",
                "false",
                "null",
                "\"2026-02-28T01:02:03.456Z\"",
                "\"2026-02-28\"",
                "{}",
                "[1]"
            ])
            .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #[test]
        fn both_ways_agree_on_pieces(pieces in prop::collection::vec(piece(), 0..20)) {
            check(&reader(), &pieces.concat());
        }

        #[test]
        fn both_ways_agree_on_objects(members in prop::collection::vec((0..10, value()), 0..9)) {
            let members: Vec<String> = members.iter().map(|(n, value)| format!("\"c{n}\":{value}")).collect();
            check(&reader(), &format!("{{{}}}", members.join(",")));
        }
    }
}
