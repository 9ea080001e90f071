//! Writing a table.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, SchemaRef};
use bytes::Bytes;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves},
    },
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};
use rayon::prelude::*;

use super::{BLOCK_BYTES, BLOCKS_KEY, FINGERPRINT_KEY, FORMAT, FORMAT_KEY, PAGE_ROWS, TABLE_KEY};
use crate::{
    error::{BatchError, Result},
    manifest::StoredFile,
    store::Store,
};

/// Rows of a row group.
const ROW_GROUP_ROWS: usize = 128 << 10;
/// From so many rows on, handing columns to other threads pays.
const ROWS_SIDE_BY_SIDE: usize = 8 << 10;
/// Bytes of a dictionary: a lookup reads it whole, for a page that uses it. Columns with more values are written plainly.
const DICTIONARY_BYTES: usize = 64 << 10;
/// Bytes of a row group, for rows that are long.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// Share of false positives of a bloom filter.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// What a table is called and how it is sorted.
#[derive(Clone, Debug)]
pub(crate) struct TableSpec {
    /// Its name, for errors and metadata.
    pub name: String,
    /// What its rows depend on.
    pub fingerprint: String,
    /// By how many leading columns it is sorted, NULLs first; all but the first get bloom filters where the type allows: statistics say
    /// as much of a column that ascends.
    pub key_columns: usize,
}

/// A table's file, encoded.
#[derive(Debug)]
pub(crate) struct EncodedTable {
    pub bytes: Bytes,
    pub rows: u64,
    pub tail_bytes: u64,
}

/// Encodes batches, one after another.
pub(crate) struct TableWriter {
    name: String,
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    rows: u64,
}

impl TableWriter {
    /// A writer for batches of `schema`.
    pub(crate) fn new(spec: &TableSpec, schema: SchemaRef) -> Result<TableWriter> {
        let properties = properties(spec, &schema);
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))
            .map_err(|error| BatchError::table(&spec.name)(error.to_string()))?;
        Ok(TableWriter { name: spec.name.clone(), writer, schema, rows: 0 })
    }

    /// The schema of the batches.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|error| BatchError::table(&self.name)(error.to_string()))
    }

    /// About how long the file would be if it ended here.
    pub(crate) fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<EncodedTable> {
        let wrong = |error: ParquetError| BatchError::table(&self.name)(error.to_string());
        // Row groups and their bloom filters are out now; page indexes and footer follow.
        self.writer.flush().map_err(wrong)?;
        self.writer.sync().map_err(|error| BatchError::table(&self.name)(error.to_string()))?;
        let body_bytes = self.writer.inner().len();
        self.writer.append_key_value_metadata(checksums(self.writer.inner()));
        Ok(EncodedTable::new(self.writer.into_inner().map_err(wrong)?, self.rows, body_bytes))
    }
}

/// The checksums of the blocks of what precedes page indexes and footer, for the footer.
fn checksums(body: &[u8]) -> KeyValue {
    let mut blocks = String::with_capacity(body.len() / BLOCK_BYTES as usize * 8 + 8);
    for block in body.chunks(BLOCK_BYTES as usize) {
        for byte in crc32c::crc32c(block).to_le_bytes() {
            blocks.push_str(&format!("{byte:02x}"));
        }
    }
    KeyValue::new(BLOCKS_KEY.to_owned(), blocks)
}

impl EncodedTable {
    fn new(bytes: Vec<u8>, rows: u64, body_bytes: usize) -> EncodedTable {
        EncodedTable { rows, tail_bytes: (bytes.len() - body_bytes) as u64, bytes: bytes.into() }
    }

    /// Encodes one batch; the columns of all its row groups side by side, on the threads of the current pool.
    pub(crate) fn encode(spec: &TableSpec, batch: &RecordBatch) -> Result<EncodedTable> {
        let mut writer = TableWriter::new(spec, batch.schema())?;
        // Row groups that are cut by their bytes depend on what was encoded before: one after another.
        let groups = batch.num_rows().div_ceil(ROW_GROUP_ROWS);
        if batch.num_rows() < ROWS_SIDE_BY_SIDE || batch.get_array_memory_size() > groups * ROW_GROUP_BYTES {
            writer.write(batch)?;
            return writer.finish();
        }
        EncodedTable::side_by_side(writer.writer, batch)
            .map_err(|error| BatchError::table(&spec.name)(error.to_string()))
    }

    /// Gives the same bytes as writing the batch to the writer.
    fn side_by_side(
        writer: ArrowWriter<Vec<u8>>,
        batch: &RecordBatch,
    ) -> std::result::Result<EncodedTable, ParquetError> {
        let (mut file, columns) = writer.into_serialized_writer()?;
        let groups: Vec<Vec<ArrowColumnChunk>> = (0..batch.num_rows().div_ceil(ROW_GROUP_ROWS))
            .into_par_iter()
            .map(|group| {
                let start = group * ROW_GROUP_ROWS;
                let rows = batch.slice(start, ROW_GROUP_ROWS.min(batch.num_rows() - start));
                let fields = rows.schema_ref().fields();
                let writers = columns.create_column_writers(group)?;
                // The columns are flat, so each has one writer.
                writers.into_par_iter().enumerate().map(|(i, w)| encode_column(w, &fields[i], rows.column(i))).collect()
            })
            .collect::<std::result::Result<_, _>>()?;
        for chunks in groups {
            let mut group = file.next_row_group()?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut group)?;
            }
            group.close()?;
        }
        file.flush()?;
        let body_bytes = file.inner().len();
        file.append_key_value_metadata(checksums(file.inner()));
        Ok(EncodedTable::new(file.into_inner()?, batch.num_rows() as u64, body_bytes))
    }

    /// Writes the file into the store.
    pub(crate) fn put(&self, store: &Store, path: String) -> Result<StoredFile> {
        let file = self.describe(path);
        store.put(&file.path, self.bytes.clone())?;
        Ok(file)
    }

    /// The manifest's entry for the file at `path`.
    pub(crate) fn describe(&self, path: String) -> StoredFile {
        let tail = &self.bytes[self.bytes.len() - self.tail_bytes as usize..];
        StoredFile {
            path,
            bytes: self.bytes.len() as u64,
            rows: self.rows,
            checksum: blake3::hash(&self.bytes).to_hex().to_string(),
            tail_bytes: self.tail_bytes,
            tail_checksum: blake3::hash(tail).to_hex().to_string(),
        }
    }
}

fn encode_column(
    mut writer: ArrowColumnWriter,
    field: &Field,
    column: &ArrayRef,
) -> std::result::Result<ArrowColumnChunk, ParquetError> {
    for leaf in compute_leaves(field, column)? {
        writer.write(&leaf)?;
    }
    writer.close()
}

fn properties(spec: &TableSpec, schema: &SchemaRef) -> WriterProperties {
    let metadata = [(FORMAT_KEY, FORMAT), (FINGERPRINT_KEY, &spec.fingerprint), (TABLE_KEY, &spec.name)];
    let sorting =
        (0..spec.key_columns).map(|i| SortingColumn { column_idx: i as i32, descending: false, nulls_first: true });
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("watershed ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns((spec.key_columns > 0).then(|| sorting.collect()))
        .set_key_value_metadata(Some(
            metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned())).collect(),
        ));
    for (i, field) in schema.fields().iter().enumerate() {
        let path = ColumnPath::from(field.name().as_str());
        // States are opaque: statistics of them would only cost space.
        if matches!(field.data_type(), DataType::Binary | DataType::LargeBinary | DataType::BinaryView) {
            builder = builder
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_dictionary_enabled(path.clone(), false);
        }
        if (1..spec.key_columns).contains(&i) && super::prune::has_bloom_filter(field.data_type()) {
            builder = builder
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(path, ROW_GROUP_ROWS as u64);
        }
    }
    builder.build()
}
