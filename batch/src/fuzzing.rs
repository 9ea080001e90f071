//! Entries for fuzzing: functions that take any bytes, and fail (by a panic) only where a promise of this crate is broken. Not part of
//! the public interface.

use std::{fmt::Debug, sync::LazyLock};

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use serde::{Serialize, de::DeserializeOwned};
pub use watershed_pipelines::fuzzing::Target;
use watershed_pipelines::source::{SourceCounts, ViewCounts};

use crate::{
    columns,
    epoch::{self, Epoch},
    manifest::{self, ArchiveFile, Manifest, PartitionState, Previous, SourceState, StoredFile, ViewState},
    schedule::Schedule,
    store::{
        WriterId,
        sealed::{seal, unseal},
    },
    table::{
        read,
        write::{EncodedTable, TableSpec},
    },
};

/// The entries of this crate.
pub const TARGETS: &[Target] = &[
    ("epoch", epoch, epochs),
    ("manifest", manifest, manifests),
    ("table", table, tables),
    ("schedule", schedule, schedules),
];

/// A sealed object is read as what was written, or refused; so is its body alone, sealed anew.
fn sealed<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8], format: &'static str) {
    if let Ok(body) = unseal::<T>("fuzzed", format, bytes) {
        again(&body, format);
    }
    if let Ok(body) = serde_json::from_slice::<&serde_json::value::RawValue>(bytes) {
        let bytes = seal("fuzzed", format, &body).expect("JSON is JSON");
        if let Ok(body) = unseal::<T>("fuzzed", format, &bytes) {
            again(&body, format);
        }
    }
}

fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &T, format: &'static str) {
    let bytes = seal("fuzzed", format, body).expect("it was JSON");
    assert_eq!(&unseal::<T>("fuzzed", format, &bytes).expect("what was sealed"), body);
}

/// An object with `body`, and its body alone.
fn object<T: Serialize>(body: &T, format: &'static str) -> Vec<Vec<u8>> {
    let sealed = seal("seed", format, body).expect("it can be written");
    vec![sealed, serde_json::to_vec(body).expect("it can be written")]
}

/// Takes any bytes as an epoch.
pub fn epoch(bytes: &[u8]) {
    sealed::<Epoch>(bytes, epoch::FORMAT);
}

fn epochs() -> Vec<Vec<u8>> {
    let position = [("payments".to_owned(), vec![3, 0, 17]), ("clicks".to_owned(), vec![1])].into_iter().collect();
    let writer = WriterId::from_u64(7);
    object(&Epoch { number: 2, position, created_at_micros: 1_700_000_000_000_000, writer }, epoch::FORMAT)
}

/// Takes any bytes as a manifest.
pub fn manifest(bytes: &[u8]) {
    sealed::<Manifest>(bytes, manifest::FORMAT);
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes)
        && manifest.check().is_ok()
    {
        let _ = (manifest.files().count(), manifest.archived());
        let sums = manifest.views.values().map(|view| view.rows().max(view.bytes()));
        assert!(sums.max() < Some(u64::MAX));
    }
}

fn manifests() -> Vec<Vec<u8>> {
    let (file, _) = &*TABLE;
    let partition = PartitionState { files: vec![file.clone()], digest: "d".to_owned(), rows: file.rows };
    let view = ViewState {
        fingerprint: "f".to_owned(),
        source: "payments".to_owned(),
        partitions: [("2026-01".to_owned(), partition)].into(),
        counts: ViewCounts { accepted: 40, counted: 40, ..ViewCounts::default() },
        rejected: vec![file.clone()],
    };
    let source = SourceState {
        declaration: "e".to_owned(),
        partitions: 2,
        counts: SourceCounts {
            records: 41,
            accepted: 40,
            dead: 1,
            late: 2,
            event_time_min: Some(-1),
            event_time_max: None,
        },
        archive: [(0, vec![ArchiveFile { start: 0, end: 41, file: file.clone() }])].into(),
    };
    let manifest = Manifest {
        number: 2,
        previous: Some(Previous { number: 1, writer: WriterId::from_u64(1) }),
        writer: WriterId::from_u64(2),
        created_at_micros: 1_700_000_000_000_000,
        epoch: 3,
        cut: [("payments".to_owned(), vec![41, 0])].into_iter().collect(),
        views: [("v".to_owned(), view)].into(),
        sources: [("payments".to_owned(), source)].into(),
    };
    object(&manifest, manifest::FORMAT)
}

/// A small table, as it is written.
static TABLE: LazyLock<(StoredFile, Vec<u8>)> = LazyLock::new(|| {
    let schema = Schema::new(vec![Field::new("k", DataType::Utf8, false), Field::new("n", DataType::Int64, true)]);
    let keys = StringArray::from_iter_values((0..40).map(|i| format!("key-{i:03}")));
    let numbers = Int64Array::from_iter((0..40).map(|i| (i % 7 > 0).then_some(i)));
    let batch = RecordBatch::try_new(schema.into(), vec![std::sync::Arc::new(keys), std::sync::Arc::new(numbers)]);
    let spec = TableSpec { name: "groups".to_owned(), fingerprint: "f".to_owned(), key_columns: 1 };
    let table = EncodedTable::encode(&spec, &batch.expect("columns of one height")).expect("it can be written");
    let file = table.describe("fuzzed".to_owned());
    (file, table.bytes.to_vec())
});

/// Takes any bytes as a stored table whose checksum fits: the reader, which is another project's, gives rows or an error. (A table
/// whose checksum does not fit is not looked at.)
pub fn table(bytes: &[u8]) {
    let (file, _) = &*TABLE;
    let Ok(batches) = read::batches(file, Bytes::copy_from_slice(bytes), None) else { return };
    // What a damaged header says of rows is not believed: as many as the file could hold, and one error at most.
    let mut rows = 0;
    for batch in batches {
        let Ok(batch) = batch else { return };
        rows += batch.num_rows();
        if rows > 1 << 20 {
            return;
        }
        let _ = columns::from_arrow(&[batch]);
    }
}

fn tables() -> Vec<Vec<u8>> {
    let (_, bytes) = &*TABLE;
    vec![bytes.clone()]
}

/// Takes any text as a cron expression, and behind a line break a time zone.
pub fn schedule(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (cron, zone) = text.split_once('\n').unwrap_or((&text, "Europe/Berlin"));
    let Ok(schedule) = Schedule::parse(cron, zone) else { return };
    let mut at = DateTime::from_timestamp(1_774_742_399, 0).expect("in range");
    for _ in 0..3 {
        let Some(next) = schedule.next_after(at) else { return };
        assert!(next > at, "{schedule} fires at {next}, not after {at}");
        assert!(schedule.is_due(at, next) && !schedule.is_due(at, next - TimeDelta::milliseconds(1)));
        at = next;
    }
    let again = Schedule::parse(&schedule.to_string().replace(&format!(" ({zone})"), ""), zone);
    assert_eq!(again.ok().and_then(|again| again.next_after(at)), schedule.next_after(at), "{schedule}");
}

fn schedules() -> Vec<Vec<u8>> {
    let texts = [
        "0 3 * * *",
        "*/15 * * * *",
        "30 2 * * *\nAmerica/New_York",
        "0 0 29 2 *",
        "0 0 31 2 *",
        "@daily\nAsia/Tokyo",
        "0 0 L * *",
        "0 0 * * 5#2",
        "59 23 31 12 SUN",
        "1-59/7 0-23 * JAN,FEB MON-FRI\nPacific/Apia",
        "* * * * *\nNowhere",
        "",
        "a b c d e",
        "0 0 15W * *",
        "0,0,0 1 1 1 1",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
