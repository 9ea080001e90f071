//! The short way through a record: plain JSON, as nearly all records are.
//!
//! It takes an object whose members are numbers, `true`, `false`, `null` and strings without escapes. Whatever else it meets, be it
//! an escape, a nested value, a member that occurs twice or anything that is not JSON, it leaves to the long way
//! ([`Reader::read`]), which alone decides what is refused and why. So both ways accept the same values; the tests compare them.

use super::{
    record::{Reader, Row},
    value::{Slot, read_number, read_string},
};
use crate::types::DataType;

impl Reader {
    /// Reads `text` into `row`; `None` if it is not plain, and then `row` holds rubbish.
    #[inline]
    pub(super) fn read_plain<'a>(&self, text: &'a str, row: &mut Row<'a>) -> Option<()> {
        Scanner { text, bytes: text.as_bytes(), at: 0 }.object(self, row)
    }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    #[inline]
    fn object(&mut self, reader: &Reader, row: &mut Row<'a>) -> Option<()> {
        self.skip_space();
        self.take(b'{')?;
        // Records of one producer have their members in one order: the next one is likely the next column.
        let mut guess = 0;
        loop {
            self.skip_space();
            let found = self.name(reader, guess)?;
            self.skip_space();
            self.take(b':')?;
            self.skip_space();
            match found {
                Some(index) => {
                    let slot = row.slots.get_mut(index)?;
                    if !matches!(slot, Slot::Missing) {
                        return None;
                    }
                    self.value(reader.data_type(index)?, slot)?;
                    guess = index + 1;
                }
                // Of no column: of any type.
                None => self.value(DataType::Json, &mut Slot::Missing)?,
            }
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        self.skip_space();
        (self.at == self.bytes.len()).then_some(())
    }

    /// A member's name: the column that it is, if any.
    #[inline]
    fn name(&mut self, reader: &Reader, guess: usize) -> Option<Option<usize>> {
        if let Some(quoted) = reader.quoted(guess)
            && self.bytes[self.at..].starts_with(quoted)
        {
            self.at += quoted.len();
            return Some(Some(guess));
        }
        Some(reader.index_of(self.string()?))
    }

    /// Reads a value into `slot`: handing it back instead would copy it twice, and wait for each copy.
    #[inline]
    fn value(&mut self, data_type: DataType, slot: &mut Slot<'a>) -> Option<()> {
        let start = self.at;
        *slot = match (self.bytes.get(start)?, data_type) {
            (b'"', DataType::Text) => Slot::Text(self.string()?),
            (b'"', _) => {
                let inner = self.string()?;
                read_string(data_type, inner, &self.text[start..self.at]).ok()?
            }
            (b'-' | b'0'..=b'9', _) => {
                self.number()?;
                read_number(data_type, &self.text[start..self.at]).ok()?
            }
            (b'n', _) => self.word("null").map(|_| Slot::Null)?,
            (b't', _) => truth(data_type, true, self.word("true")?)?,
            (b'f', _) => truth(data_type, false, self.word("false")?)?,
            _ => return None,
        };
        Some(())
    }

    /// A string without escapes: what is between the quotes.
    #[inline]
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let start = self.at;
        self.at += special(&self.bytes[start..])?;
        let end = self.at;
        self.take(b'"')?;
        Some(&self.text[start..end])
    }

    #[inline]
    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.bytes[self.at] == b'-');
        let whole = self.at;
        let digits = self.digits()?;
        if digits > 1 && self.bytes[whole] == b'0' {
            return None;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    /// Skips digits; how many, if there are any.
    #[inline]
    fn digits(&mut self) -> Option<usize> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(count)
    }

    #[inline]
    fn word(&mut self, word: &'static str) -> Option<&'a str> {
        let start = self.at;
        self.at += word.len();
        (self.bytes.get(start..self.at)? == word.as_bytes()).then(|| &self.text[start..self.at])
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
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

/// Where the first quote, backslash or control character is.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special_bytes(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let in_rest = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    Some(words.len() * 8 + in_rest)
}

/// The highest bit of each byte that is a quote, a backslash or a control character; above the lowest such byte there may be more.
/// (H. S. Warren, Hacker's Delight, section 6-1.)
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word & HIGH;
    below(word, 0x20) | below(word ^ (ONES * b'"' as u64), 1) | below(word ^ (ONES * b'\\' as u64), 1)
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
                Slot::Text(_) | Slot::Unescaped { .. } => format!("text {}", slot.text(&row.unescaped)),
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

    #[test]
    fn special_characters_are_found_at_every_place() {
        for length in 0..40 {
            for at in 0..length {
                for byte in [b'"', b'\\', 0, 0x1f] {
                    let mut text = vec![b'!'; length];
                    text[at] = byte;
                    text.iter_mut().skip(at + 1).for_each(|b| *b = 0xff);
                    assert_eq!(special(&text), Some(at));
                }
            }
            for byte in [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
                assert_eq!(special(&vec![byte; length]), None);
            }
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
