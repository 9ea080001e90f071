//! The archive: the master dataset, every record of every source, in files that other tools read too.
//!
//! | column | is |
//! | --- | --- |
//! | `_partition`, `_offset` | the record's place |
//! | `_append_time` | when the log took it |
//! | `_key`, `_payload` | the bytes as they came |
//! | `_dead_letter` | why the source's schema refuses the record; NULL if it accepts it |
//! | the source's columns | as declared when the record was archived; NULL for a dead letter |
//!
//! The truth is in `_payload`: when a declaration changes, records are decoded from it anew, while the typed columns of files
//! that exist stay what they were.

mod reader;
mod writer;

pub use self::reader::{ArchiveReader, ArchivedRecord, ArchivedRecords};
pub(crate) use self::{
    reader::{records_in, records_of},
    writer::{ArchiveWriter, Archived, batch},
};

/// Column with the record's key.
pub(crate) const KEY_COLUMN: &str = "_key";
/// Column with the record's payload.
pub(crate) const PAYLOAD_COLUMN: &str = "_payload";
/// Column with the reason of a dead letter.
pub(crate) const DEAD_LETTER_COLUMN: &str = "_dead_letter";
