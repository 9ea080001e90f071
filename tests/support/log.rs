//! Looking into a project's log behind its back.

use std::{fmt::Write as _, path::Path};

use watershed_log::{EventLog, FileLog};

/// One record, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Its append time.
    pub append_time_micros: i64,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Every durable record of `source` in the log in `directory`, by partition and offset.
pub fn records(directory: &Path, source: &str) -> Vec<OwnedRecord> {
    let log = FileLog::open_reader(directory).expect("the log can be read");
    let (start, head) = (log.start().expect("a start"), log.head().expect("a head"));
    let mut records = Vec::new();
    for partition in 0..log.partitions(source).expect("the source is there") {
        let mut at = start.partition(source, partition);
        let end = head.partition(source, partition);
        while at < end {
            let chunk = log.read(source, partition, at, end, 1 << 20).expect("no damage");
            records.extend(chunk.iter().map(|record| OwnedRecord {
                partition,
                offset: record.offset,
                append_time_micros: record.append_time_micros,
                payload: record.payload.to_vec(),
            }));
            at = chunk.next_offset();
        }
    }
    records
}

/// The records that are JSON objects for `keep`, one a line, with `_partition` and `_offset` in front, as `compare.py` reads them.
pub fn lines(records: &[OwnedRecord], keep: impl Fn(&serde_json::Value) -> bool) -> String {
    let mut lines = String::new();
    for record in records {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&record.payload) else { continue };
        let Ok(text) = std::str::from_utf8(&record.payload) else { continue };
        if let Some(rest) = text.trim_start().strip_prefix('{')
            && keep(&value)
        {
            let (partition, offset) = (record.partition, record.offset);
            let _ = writeln!(lines, "{{\"_partition\":{partition},\"_offset\":{offset},{rest}");
        }
    }
    lines
}
