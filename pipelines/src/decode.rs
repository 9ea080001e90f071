//! Records to column batches: JSON payloads, checked one by one against the source's schema.
//!
//! A record is accepted whole or refused whole: a refused one (a *dead letter*) leaves nothing in the batch and comes back with the reason.
//! Whether a record is accepted depends on the record and the schema alone, not on the columns that are asked for or on other records.
//!
//! What a payload must be:
//!
//! * One JSON object in UTF-8, nothing after it. Members that the schema does not declare are skipped, whatever they are; a declared
//!   one that occurs twice is refused, since readers disagree on which one counts.
//! * An absent member and `null` are NULL, which a `NOT NULL` column refuses.
//! * `BOOLEAN`: `true` or `false`. `TEXT`: a string. `JSON`: anything but `null`, kept as the text that came.
//! * `INT`, `BIGINT`: an integer in range, written without point or exponent (`1.0` is refused).
//! * `DOUBLE`: a number, rounded correctly, or `"NaN"`, `"Infinity"`, `"-Infinity"`. A number beyond the range of a double is refused.
//! * `DECIMAL`: a number, or a string with one, taken from its text. It is never rounded: more digits after the point than the scale
//!   (zeros aside) are refused, as are more digits than the precision.
//! * `TIMESTAMP`: a string, RFC 3339 or `YYYY-MM-DD[(T| )HH:MM[:SS[.digits]][zone]]` (no zone: UTC; digits after the sixth are cut
//!   off), or an integer: milliseconds since 1970-01-01 UTC. `DATE`: a string `YYYY-MM-DD`. Both lie in the years 1 to 9999.
//! * The event time must be there, and at most `max_ahead_micros` after the append time.

mod columns;
mod partition;
mod plain;
mod record;
mod special;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use polars::prelude as pl;

use self::{
    columns::Columns,
    record::{Reader, Row},
    value::Slot,
};
use crate::{
    source::{Source, SourceCounts},
    time::in_range,
    types::DataType,
};

/// One record as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Its offset in its partition.
    pub offset: u64,
    /// When it was appended, microseconds since 1970-01-01 UTC.
    pub append_time_micros: i64,
    /// The payload as it came.
    pub payload: &'a [u8],
}

/// Accepted records as columns.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The columns that were asked for, under their names, then `_partition`, `_offset` and `_append_time`.
    pub frame: pl::DataFrame,
}

/// A record that the schema refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// When it was appended.
    pub append_time_micros: i64,
    /// Why it is refused.
    pub reason: String,
}

/// What became of some records.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The accepted ones, in order.
    pub batch: Batch,
    /// The refused ones, in order.
    pub dead: Vec<DeadRecord>,
    /// How many of which.
    pub counts: SourceCounts,
}

/// Columns of a source, by index. (The pseudo-columns are always there; they need not be in the set.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnSet {
    columns: Vec<bool>,
}

impl ColumnSet {
    /// No columns.
    pub fn none() -> ColumnSet {
        ColumnSet::default()
    }

    /// All declared columns of `source`.
    pub fn all(source: &Source) -> ColumnSet {
        ColumnSet { columns: vec![true; source.schema.fields.len()] }
    }

    /// Adds a column.
    pub fn insert(&mut self, index: usize) {
        if self.columns.len() <= index {
            self.columns.resize(index + 1, false);
        }
        self.columns[index] = true;
    }

    /// Adds the columns of another set.
    pub fn union(&mut self, other: &ColumnSet) {
        other.iter().for_each(|index| self.insert(index));
    }

    /// Whether a column is in it.
    pub fn contains(&self, index: usize) -> bool {
        self.columns.get(index).copied().unwrap_or(false)
    }

    /// The columns' indexes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.columns.iter().enumerate().filter(|(_, there)| **there).map(|(index, _)| index)
    }
}

impl FromIterator<usize> for ColumnSet {
    fn from_iter<I: IntoIterator<Item = usize>>(indexes: I) -> ColumnSet {
        let mut set = ColumnSet::none();
        indexes.into_iter().for_each(|index| set.insert(index));
        set
    }
}

/// Decodes the records of one source. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Decoder {
    source: Arc<Source>,
    reader: Arc<Reader>,
    /// Reads `partition_by` alone.
    key_reader: Option<Arc<Reader>>,
}

impl Decoder {
    /// A decoder for records of `source`.
    pub fn new(source: &Source) -> Decoder {
        let key = source.partition_by.and_then(|index| source.schema.fields.get(index));
        Decoder {
            reader: Arc::new(Reader::new(&source.schema.fields)),
            key_reader: key.map(|field| Arc::new(Reader::new(std::slice::from_ref(field)))),
            source: Arc::new(source.clone()),
        }
    }

    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Decodes records of one partition. All columns are checked, those in `needed` are built.
    pub fn decode<'a>(
        &self,
        partition: u32,
        records: impl Iterator<Item = RawRecord<'a>>,
        needed: &ColumnSet,
    ) -> Decoded {
        let mut columns = Columns::new(&self.source, needed, records.size_hint().0);
        let mut dead = Vec::new();
        let mut counts = SourceCounts::default();
        let mut row = Row::new(&self.reader);
        for record in records {
            counts.records += 1;
            let accepted = self.reader.read(record.payload, &mut row).and_then(|()| self.event_time(&record, &row));
            match accepted {
                Ok(event_time) => {
                    counts.accepted += 1;
                    let late = record.append_time_micros.saturating_sub(event_time) > self.source.lateness_micros;
                    counts.late += u64::from(late);
                    counts.event_time_min = Some(counts.event_time_min.map_or(event_time, |t| t.min(event_time)));
                    counts.event_time_max = Some(counts.event_time_max.map_or(event_time, |t| t.max(event_time)));
                    columns.push(&row, &record);
                }
                Err(reason) => {
                    counts.dead += 1;
                    dead.push(DeadRecord {
                        partition,
                        offset: record.offset,
                        append_time_micros: record.append_time_micros,
                        reason,
                    });
                }
            }
        }
        Decoded { batch: Batch { frame: columns.finish(partition) }, dead, counts }
    }

    /// The event time of a record, if it is acceptable.
    fn event_time(&self, record: &RawRecord<'_>, row: &Row<'_>) -> Result<i64, String> {
        let Some(index) = self.source.event_time else {
            return in_range(record.append_time_micros).map_err(|_| "the append time is out of range".to_owned());
        };
        let field = &self.source.schema.fields[index];
        let event_time = match (row.slots.get(index), field.data_type) {
            (Some(Slot::Integer(days)), DataType::Date) => days * crate::time::DAY,
            (Some(Slot::Integer(micros)), _) => *micros,
            _ => return Err(format!("the event time (column \"{}\") is missing", field.name)),
        };
        let ahead = event_time.saturating_sub(record.append_time_micros);
        if ahead > self.source.max_ahead_micros {
            return Err(format!(
                "the event time (column \"{}\") is {} ahead of the append time; at most {} is accepted",
                field.name,
                seconds(ahead),
                seconds(self.source.max_ahead_micros)
            ));
        }
        Ok(event_time)
    }

    /// For fuzzing: checks that what the short way through a record accepts, the long way reads with the same values.
    pub(crate) fn check_both_ways(&self, payload: &[u8]) {
        if let Ok(text) = std::str::from_utf8(payload) {
            self.reader.check_both_ways(text);
        }
    }

    /// The partition that a payload belongs to, and the key that decided it: the canonical text (that of a `CAST` to `TEXT`) of the
    /// `partition_by` column. Without one, where it is NULL, and where the payload cannot be read, the payload itself decides.
    ///
    /// The partition is the FNV-1a hash (64 bits) of the deciding bytes, modulo the number of partitions. This never changes.
    pub fn partition_of(&self, payload: &[u8]) -> (u32, Option<String>) {
        let key = self.key_reader.as_ref().and_then(|reader| partition::key(reader, payload));
        let hash = partition::fnv1a(key.as_deref().map_or(payload, str::as_bytes));
        let partitions = u64::from(self.source.partitions.max(1));
        ((hash % partitions) as u32, key)
    }
}

fn seconds(micros: i64) -> String {
    format!("{} s", micros as f64 / 1e6)
}
