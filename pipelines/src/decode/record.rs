//! One record: its members, found among the declared columns.

use std::fmt;

use hashbrown::HashMap;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::value::{Slot, read_value};
use crate::{
    time::Minute,
    types::{DataType, Field},
};

/// The declared columns, as they are looked up.
#[derive(Debug)]
pub(super) struct Reader {
    columns: Vec<Column>,
    by_name: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
}

#[derive(Debug)]
pub(super) struct Column {
    name: Box<str>,
    /// How its member begins, without spaces: `"name":`. Empty for a name that needs escapes (of a quote, a backslash, a control
    /// character).
    member: Box<[u8]>,
    /// The first bytes of that, and which bits of them there are.
    first: u128,
    mask: u128,
    /// Whether they are all of it.
    is_short: bool,
    pub(super) data_type: DataType,
    nullable: bool,
}

impl Column {
    const FIRST: usize = size_of::<u128>();

    fn new(field: &Field) -> Column {
        let needs_escapes = field.name.contains(|c: char| matches!(c, '"' | '\\' | '\0'..' '));
        let member = if needs_escapes { Vec::new() } else { format!("\"{}\":", field.name).into_bytes() };
        let member_bytes = member.len();
        let (mut first, mut mask) = ([0; Column::FIRST], [0; Column::FIRST]);
        for (at, byte) in member.iter().enumerate().take(Column::FIRST) {
            (first[at], mask[at]) = (*byte, u8::MAX);
        }
        Column {
            name: field.name.as_str().into(),
            member: member.into(),
            first: u128::from_le_bytes(first),
            mask: u128::from_le_bytes(mask),
            is_short: (1..=Column::FIRST).contains(&member_bytes),
            data_type: field.data_type,
            nullable: field.nullable,
        }
    }

    /// Whether the column's member begins at byte `at` of `payload`.
    #[inline(always)]
    pub(super) fn begins(&self, payload: &[u8], at: usize) -> bool {
        match payload.get(at..at + Column::FIRST).and_then(|block| block.first_chunk()) {
            Some(block) if (u128::from_le_bytes(*block) ^ self.first) & self.mask != 0 => false,
            Some(_) if self.is_short => true,
            _ => self.begins_slowly(payload, at),
        }
    }

    #[inline(never)]
    fn begins_slowly(&self, payload: &[u8], at: usize) -> bool {
        !self.member.is_empty() && payload.get(at..).is_some_and(|rest| rest.starts_with(&self.member))
    }

    /// How long that beginning is.
    #[inline(always)]
    pub(super) fn member_bytes(&self) -> usize {
        self.member.len()
    }
}

/// What has been read of one record. It is used again for the next one.
pub(super) struct Row<'a> {
    /// The payload, if it was read the short way.
    pub(super) text: &'a str,
    /// One per column.
    pub(super) slots: Vec<Slot<'a>>,
    /// Texts that had escapes.
    pub(super) unescaped: String,
    /// Of the timestamps.
    pub(super) minute: Minute,
    /// Why the record is refused, if it is not for its syntax.
    problem: Option<String>,
}

impl<'a> Row<'a> {
    pub(super) fn new(reader: &Reader) -> Row<'a> {
        let slots = vec![Slot::Missing; reader.columns.len()];
        Row { text: "", slots, unescaped: String::new(), minute: Minute::default(), problem: None }
    }

    /// The text of a text slot of this row.
    #[inline]
    pub(super) fn text<'r>(&'r self, slot: &Slot<'r>) -> &'r str {
        match slot {
            Slot::Text(text) => text,
            Slot::Plain { start, end } => self.text.get(*start..*end).unwrap_or(""),
            Slot::Unescaped { start, end } => self.unescaped.get(*start..*end).unwrap_or(""),
            _ => "",
        }
    }
}

impl Reader {
    pub(super) fn new(fields: &[Field]) -> Reader {
        let columns: Vec<Column> = fields.iter().map(Column::new).collect();
        let by_name = columns.iter().enumerate().map(|(index, c)| (c.name.clone(), index)).collect();
        Reader { columns, by_name }
    }

    pub(super) fn data_type(&self, index: usize) -> Option<DataType> {
        self.columns.get(index).map(|c| c.data_type)
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    #[inline]
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Reads a payload into `row`, or says why it is refused.
    #[inline]
    pub(super) fn read<'a>(&self, payload: &'a [u8], row: &mut Row<'a>) -> Result<(), String> {
        let text = text_of(payload)?;
        if self.read_plain(text, row).is_none() {
            self.read_thoroughly(text, row)?;
        }
        for (column, slot) in self.columns.iter().zip(&row.slots) {
            if !column.nullable && matches!(slot, Slot::Missing | Slot::Null) {
                let what = if matches!(slot, Slot::Null) { "null" } else { "missing" };
                return Err(format!("column \"{}\" is {what}, but it is NOT NULL", column.name));
            }
        }
        Ok(())
    }

    /// Reads any payload; what is missing is left to the caller.
    pub(super) fn read_thoroughly<'a>(&self, text: &'a str, row: &mut Row<'a>) -> Result<(), String> {
        row.slots.fill(Slot::Missing);
        row.unescaped.clear();
        row.problem = None;
        match text.bytes().find(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
            Some(b'{') => {}
            Some(_) => return Err("the payload is not a JSON object".to_owned()),
            None => return Err("the payload is empty".to_owned()),
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        RowSeed { reader: self, row }
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .map_err(|error| format!("the payload is not valid JSON: {error}"))?;
        row.problem.take().map_or(Ok(()), Err)
    }
}

/// The payload as text. Most are ASCII, which is found out in a third of the time that UTF-8 takes.
#[inline(always)]
fn text_of(payload: &[u8]) -> Result<&str, String> {
    if is_ascii(payload) {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { std::str::from_utf8_unchecked(payload) });
    }
    std::str::from_utf8(payload).map_err(|e| format!("the payload is not UTF-8 (at byte {})", e.valid_up_to()))
}

/// The same as the method of that name, but quicker here: without a way out, the compiler does sixteen bytes at once.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u128 = u128::from_le_bytes([0x80; 16]);
    let Some(last) = bytes.last_chunk() else { return bytes.is_ascii() };
    let (blocks, _) = bytes.as_chunks();
    let all = blocks.iter().fold(u128::from_le_bytes(*last), |all, block| all | u128::from_le_bytes(*block));
    all & HIGH == 0
}

struct RowSeed<'r, 'a> {
    reader: &'r Reader,
    row: &'r mut Row<'a>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let RowSeed { reader, row } = self;
        // Records of one producer have their members in one order: the next one is likely the next column.
        let mut guess = 0;
        while let Some(found) = map.next_key_seed(Name { reader, guess })? {
            let Some(index) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &'de RawValue = map.next_value()?;
            guess = index + 1;
            // The first problem is the reason, if the whole payload is JSON.
            if row.problem.is_some() {
                continue;
            }
            let column = &reader.columns[index];
            if !matches!(row.slots[index], Slot::Missing) {
                row.problem = Some(format!("column \"{}\" occurs twice", column.name));
                continue;
            }
            match read_value(column.data_type, raw.get(), &mut row.unescaped) {
                Ok(slot) => row.slots[index] = slot,
                Err(problem) => row.problem = Some(problem.reason(&column.name, column.data_type, raw.get())),
            }
        }
        Ok(())
    }
}

/// Finds the column that a member's name is.
struct Name<'r> {
    reader: &'r Reader,
    guess: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    #[inline]
    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        match self.reader.columns.get(self.guess) {
            Some(column) if *column.name == *name => Ok(Some(self.guess)),
            _ => Ok(self.reader.by_name.get(name).copied()),
        }
    }
}
