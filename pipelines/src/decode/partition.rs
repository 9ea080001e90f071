//! Which partition a record belongs to.

use std::fmt::Write;

use super::{
    record::{Reader, Row},
    value::Slot,
};
use crate::{
    number::{write_decimal, write_double},
    time::{write_date, write_timestamp},
    types::DataType,
};

/// The FNV-1a hash of 64 bits. It decides where records are: it must never change.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The canonical text of the one column that `reader` reads; `None` if it is NULL or the payload cannot be read.
pub(super) fn key(reader: &Reader, payload: &[u8]) -> Option<String> {
    let mut row = Row::new(reader);
    reader.read(payload, &mut row).ok()?;
    let data_type = reader.data_type(0)?;
    let mut text = String::new();
    match (row.slots.first()?, data_type) {
        (Slot::Missing | Slot::Null, _) => return None,
        (Slot::Boolean(value), _) => text.push_str(if *value { "true" } else { "false" }),
        (Slot::Integer(value), DataType::Timestamp) => write_timestamp(&mut text, *value),
        (Slot::Integer(value), DataType::Date) => write_date(&mut text, *value),
        (Slot::Integer(value), _) => write!(text, "{value}").ok()?,
        (Slot::Double(value), _) => write_double(&mut text, *value),
        (Slot::Decimal(value), DataType::Decimal { scale, .. }) => write_decimal(&mut text, *value, scale),
        (Slot::Decimal(_), _) => return None,
        (slot @ (Slot::Text(_) | Slot::Plain { .. } | Slot::Unescaped { .. }), _) => text.push_str(row.text(slot)),
    }
    Some(text)
}
