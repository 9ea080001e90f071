//! Sources: what `CREATE TABLE` declares.

use serde::{Deserialize, Serialize};

use crate::types::{DataType, Field, Schema};

/// Name of the pseudo-column with a record's log partition (`INT`).
pub const PARTITION_COLUMN: &str = "_partition";
/// Name of the pseudo-column with a record's offset (`BIGINT`).
pub const OFFSET_COLUMN: &str = "_offset";
/// Name of the pseudo-column with a record's append time (`TIMESTAMP`): processing time that replays.
pub const APPEND_TIME_COLUMN: &str = "_append_time";

/// A declared source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Table name (lower case unless quoted).
    pub name: String,
    /// The declared columns, in order.
    pub schema: Schema,
    /// Index of the `event_time` column; `None`: event time is append time.
    pub event_time: Option<usize>,
    /// Log partitions, at least 1.
    pub partitions: u32,
    /// Index of the `partition_by` column; `None`: by a hash of the payload.
    pub partition_by: Option<usize>,
    /// A record is late when append time − event time is more than this, in microseconds.
    pub lateness_micros: i64,
    /// A record whose event time is more than this ahead of its append time is a dead letter, in microseconds.
    pub max_ahead_micros: i64,
}

impl Source {
    /// What expressions over a record may name: the declared columns, then `_partition`, `_offset`, `_append_time`.
    pub fn row_schema(&self) -> Schema {
        let mut fields = self.schema.fields.clone();
        for (name, data_type) in [
            (PARTITION_COLUMN, DataType::Int),
            (OFFSET_COLUMN, DataType::BigInt),
            (APPEND_TIME_COLUMN, DataType::Timestamp),
        ] {
            fields.push(Field { name: name.to_owned(), data_type, nullable: false });
        }
        Schema { fields }
    }

    /// Name of the column that holds event time in a decoded batch.
    pub fn event_time_column(&self) -> &str {
        self.event_time.map_or(APPEND_TIME_COLUMN, |i| &self.schema.fields[i].name)
    }
}

/// What happened to the records of a source; sums over disjoint sets of records. `records = accepted + dead`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SourceCounts {
    /// Records read.
    pub records: u64,
    /// Records that the schema accepts.
    pub accepted: u64,
    /// Dead letters.
    pub dead: u64,
    /// Accepted records that were late (they still count).
    pub late: u64,
    /// Earliest event time of an accepted record, microseconds.
    pub event_time_min: Option<i64>,
    /// Latest event time of an accepted record, microseconds.
    pub event_time_max: Option<i64>,
}

impl SourceCounts {
    /// Adds the counts of other records.
    pub fn merge(&mut self, other: &SourceCounts) {
        self.records += other.records;
        self.accepted += other.accepted;
        self.dead += other.dead;
        self.late += other.late;
        self.event_time_min = [self.event_time_min, other.event_time_min].into_iter().flatten().min();
        self.event_time_max = [self.event_time_max, other.event_time_max].into_iter().flatten().max();
    }
}

/// What happened to the accepted records in one view. `accepted = counted + filtered + deduplicated + rejected`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ViewCounts {
    /// Records that reached the view.
    pub accepted: u64,
    /// Records that are part of its rows.
    pub counted: u64,
    /// Records that `WHERE` left out.
    pub filtered: u64,
    /// Records dropped as duplicates.
    pub deduplicated: u64,
    /// Records for which an expression failed.
    pub rejected: u64,
}

impl ViewCounts {
    /// Adds the counts of other records.
    pub fn merge(&mut self, other: &ViewCounts) {
        self.accepted += other.accepted;
        self.counted += other.counted;
        self.filtered += other.filtered;
        self.deduplicated += other.deduplicated;
        self.rejected += other.rejected;
    }
}
