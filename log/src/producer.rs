//! Producers that number their records, so that sending one again appends nothing twice.

use std::sync::Arc;

use crate::fields::Fields;
use crate::{LogError, Offset, Result};

const ID_BYTES_MAX: usize = 128;

/// The name that a producer gives itself: 1 to 128 bytes of text without control characters.
///
/// It names one sequence of records, not a process: whoever sends that sequence, or a part of it again, uses the same name, and
/// nobody else does. A producer has one sequence in each source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(Arc<str>);

impl ProducerId {
    /// Checks a name.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        if (1..=ID_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control) {
            return Ok(Self(id.into()));
        }
        let reason = format!("{id:?}: use 1 to {ID_BYTES_MAX} bytes of text without control characters");
        Err(LogError::Invalid { what: "the producer's name", reason })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length (`u16`), then itself.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.0.len() as u16).to_le_bytes());
        out.extend_from_slice(self.0.as_bytes());
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let bytes = usize::from(fields.u16()?);
        let text = std::str::from_utf8(fields.bytes(bytes)?).ok()?;
        Self::new(text).ok()
    }
}

impl std::fmt::Display for ProducerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who appends, and which of its records these are.
///
/// A producer numbers its records of a source 0, 1, 2, …. An append carries consecutive ones. A number that the log has is not
/// appended again, whatever the bytes that come with it; one that leaves a gap is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// The producer.
    pub producer: ProducerId,
    /// The number of the append's first record.
    pub first: u64,
}

impl Numbering {
    /// The number after the last one of `count` records.
    pub(crate) fn end(&self, count: u64) -> Result<u64> {
        self.first.checked_add(count).ok_or_else(|| {
            let reason = format!("{} and {count} records from there on do not fit 64 bits", self.first);
            LogError::Invalid { what: "a record's number", reason }
        })
    }
}

/// Where a numbered record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its partition and offset. `None` if it was there before and its place is no longer remembered: it lies below the head.
    pub at: Option<(u32, Offset)>,
    /// Whether it was there before this append, which then did not append it.
    pub repeated: bool,
}

/// The acknowledgement of a numbered append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbered {
    /// For each record, in the order given, where it is.
    pub records: Vec<Place>,
}
