//! Files with the records that a view rejected.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use watershed_pipelines::partial::Rejected;

use crate::{
    error::{BatchError, Result},
    manifest::StoredFile,
    store::Store,
    table::{
        read,
        write::{TableSpec, TableWriter},
    },
};

/// Rejected records are few; a file that has grown to this is left as it is.
const FILE_BYTES: u64 = 16 << 20;

/// Columns of the files.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("_partition", DataType::Int32, true),
        Field::new("_offset", DataType::Int64, true),
        Field::new("column", DataType::Utf8, true),
        Field::new("reason", DataType::Utf8, true),
    ]))
}

/// The previous files and one with `rejected`. Small previous files go into the new one, so that there are never many.
pub(super) fn append(
    store: &Store,
    attempt: &str,
    view: &str,
    fingerprint: &str,
    previous: &[StoredFile],
    mut rejected: Vec<Rejected>,
) -> Result<Vec<StoredFile>> {
    let mut files = previous.to_vec();
    if rejected.is_empty() {
        return Ok(files);
    }
    rejected.sort_unstable();
    let spec = TableSpec { name: format!("{view}/rejected"), fingerprint: fingerprint.to_owned(), key_columns: 0 };
    let mut writer = TableWriter::new(&spec, schema())?;
    let mut absorbed = Vec::new();
    let mut rows = rejected.len() as u64;
    while let Some(last) = files.last()
        && last.rows <= rows
        && last.bytes < FILE_BYTES
    {
        rows += last.rows;
        absorbed.extend(files.pop());
    }
    for file in absorbed.iter().rev() {
        for batch in read::batches(file, read::fetch(store, file)?, None)? {
            writer.write(&batch?)?;
        }
    }
    writer.write(&batch(&rejected)?)?;
    let path = format!("{attempt}/{view}/rejected/{:06}.parquet", files.len());
    files.push(writer.finish()?.put(store, path)?);
    Ok(files)
}

fn batch(rejected: &[Rejected]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rejected.iter().map(|r| r.partition as i32))),
        Arc::new(Int64Array::from_iter_values(rejected.iter().map(|r| r.offset as i64))),
        Arc::new(StringArray::from_iter_values(rejected.iter().map(|r| r.column.as_str()))),
        Arc::new(StringArray::from_iter_values(rejected.iter().map(|r| r.failure.to_string()))),
    ];
    RecordBatch::try_new(schema(), columns).map_err(|error| BatchError::table("rejected")(error.to_string()))
}
