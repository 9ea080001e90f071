//! One record: its members, found among the declared columns.

use std::fmt;

use hashbrown::HashMap;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::value::{Slot, read_value};
use crate::types::{DataType, Field};

/// The declared columns, as they are looked up.
#[derive(Debug)]
pub(super) struct Reader {
    columns: Vec<Column>,
    by_name: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
}

#[derive(Debug)]
struct Column {
    name: Box<str>,
    /// The name as it stands in a payload.
    quoted: Box<[u8]>,
    data_type: DataType,
    nullable: bool,
}

/// What has been read of one record. It is used again for the next one.
pub(super) struct Row<'a> {
    /// One per column.
    pub(super) slots: Vec<Slot<'a>>,
    /// Texts that had escapes.
    pub(super) unescaped: String,
    /// Why the record is refused, if it is not for its syntax.
    problem: Option<String>,
}

impl<'a> Row<'a> {
    pub(super) fn new(reader: &Reader) -> Row<'a> {
        Row { slots: vec![Slot::Missing; reader.columns.len()], unescaped: String::new(), problem: None }
    }
}

impl Reader {
    pub(super) fn new(fields: &[Field]) -> Reader {
        let columns: Vec<Column> = fields
            .iter()
            .map(|f| Column {
                name: f.name.as_str().into(),
                quoted: match f.name.contains(|c: char| matches!(c, '"' | '\\' | '\0'..' ')) {
                    true => Box::default(),
                    false => format!("\"{}\"", f.name).into_bytes().into(),
                },
                data_type: f.data_type,
                nullable: f.nullable,
            })
            .collect();
        let by_name = columns.iter().enumerate().map(|(index, c)| (c.name.clone(), index)).collect();
        Reader { columns, by_name }
    }

    pub(super) fn data_type(&self, index: usize) -> Option<DataType> {
        self.columns.get(index).map(|c| c.data_type)
    }

    /// A column's name in quotes, as a payload has it; never one of those (with a quote, a backslash, a control character) that a
    /// payload can only have with escapes.
    #[inline]
    pub(super) fn quoted(&self, index: usize) -> Option<&[u8]> {
        self.columns.get(index).map(|c| &*c.quoted).filter(|quoted| !quoted.is_empty())
    }

    #[inline]
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Reads a payload into `row`, or says why it is refused.
    #[inline]
    pub(super) fn read<'a>(&self, payload: &'a [u8], row: &mut Row<'a>) -> Result<(), String> {
        row.slots.fill(Slot::Missing);
        let text = std::str::from_utf8(payload)
            .map_err(|e| format!("the payload is not UTF-8 (at byte {})", e.valid_up_to()))?;
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
