//! Keys: their order-preserving encoding, and ranges of them.

mod encoding;
mod range;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::encoding::{EncodedKeys, decode_keys, decode_value, encode_keys, encode_value, key_hash};
pub(crate) use self::{
    encoding::{bigint_of, cell_len, encode_cell, encode_typed},
    range::ByteFilter,
};
use crate::types::Value;

/// What a query wants of one key column.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum KeyBound {
    /// Everything.
    #[default]
    Any,
    /// One of these values (none of them NULL).
    In(Vec<Value>),
    /// Between the bounds; (value, inclusive).
    Range {
        /// Lower bound.
        lower: Option<(Value, bool)>,
        /// Upper bound.
        upper: Option<(Value, bool)>,
    },
}

/// What a query wants of a view's keys: one bound per key column. Rows outside may be left out, rows inside never.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct KeyFilter {
    /// Bounds, in the order of the core's keys; missing ones are `Any`.
    pub columns: Vec<KeyBound>,
}

impl KeyFilter {
    /// Everything.
    pub fn all() -> KeyFilter {
        KeyFilter::default()
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.columns.iter().all(|c| matches!(c, KeyBound::Any))
    }
}
