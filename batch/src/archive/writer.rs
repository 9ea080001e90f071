//! Appending to the archive.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
    builder::{LargeBinaryBuilder, StringBuilder},
};
use arrow_schema::{Field, Schema};
use polars::prelude::{DataFrame, IdxCa, IdxSize, NewChunkedArray};
use watershed_pipelines::source::{APPEND_TIME_COLUMN, OFFSET_COLUMN, PARTITION_COLUMN};

use super::{DEAD_LETTER_COLUMN, KEY_COLUMN, PAYLOAD_COLUMN, reader::ArchivedRecord};
use crate::{
    columns,
    error::{BatchError, Result},
    manifest::{ArchiveFile, SourceState, StoredFile},
    store::{Store, layout::segment},
    table::{
        read,
        write::{TableSpec, TableWriter},
    },
};

/// A file that has grown to this is ended.
const FILE_BYTES: u64 = 64 << 20;
/// How many items may wait for one before them.
const WAITING_ITEMS: usize = 16;

/// Records of one chunk as a batch for the archive. `accepted` has the rows of the accepted ones with the source's columns
/// and `_offset`, ascending; `dead` the others' offsets, ascending, with the reasons.
pub(crate) fn batch(
    partition: u32,
    records: &[ArchivedRecord<'_>],
    accepted: &DataFrame,
    declared: &[String],
    dead: &[(u64, &str)],
) -> Result<RecordBatch> {
    let wrong = |reason: String| BatchError::table("archive")(reason);
    let payload_bytes = records.iter().map(|record| record.payload.len()).sum();
    let mut keys = LargeBinaryBuilder::new();
    let mut payloads = LargeBinaryBuilder::with_capacity(records.len(), payload_bytes);
    let mut reasons = StringBuilder::new();
    let mut rows: Vec<Option<IdxSize>> = Vec::with_capacity(records.len());
    let (mut dead, mut next) = (dead.iter().peekable(), 0);
    for record in records {
        keys.append_option(record.key);
        payloads.append_value(record.payload);
        let reason = dead.next_if(|(offset, _)| *offset == record.offset).map(|(_, reason)| *reason);
        reasons.append_option(reason);
        rows.push(reason.is_none().then_some(next));
        next += IdxSize::from(reason.is_none());
    }
    if next as usize != accepted.height() || dead.next().is_some() {
        return Err(wrong(format!("{} records gave {} rows and {next} accepted", records.len(), accepted.height())));
    }
    let frame = accepted.select(declared.iter().map(String::as_str)).map_err(|error| wrong(error.to_string()))?;
    let frame = if next as usize == records.len() {
        frame
    } else {
        frame.take(&IdxCa::from_slice_options("".into(), &rows)).map_err(|error| wrong(error.to_string()))?
    };
    let typed = columns::to_arrow(&frame)?;
    let fixed: [(&str, ArrayRef); 6] = [
        (PARTITION_COLUMN, Arc::new(Int32Array::from_value(partition as i32, records.len()))),
        (OFFSET_COLUMN, Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.offset as i64)))),
        (
            APPEND_TIME_COLUMN,
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(records.iter().map(|r| r.append_time_micros))
                    .with_timezone("UTC"),
            ),
        ),
        (KEY_COLUMN, Arc::new(keys.finish())),
        (PAYLOAD_COLUMN, Arc::new(payloads.finish())),
        (DEAD_LETTER_COLUMN, Arc::new(reasons.finish())),
    ];
    let mut fields: Vec<Arc<Field>> = Vec::with_capacity(fixed.len() + typed.num_columns());
    let mut arrays = Vec::with_capacity(fixed.len() + typed.num_columns());
    for (name, array) in fixed {
        fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
        arrays.push(array);
    }
    fields.extend(typed.schema().fields().iter().cloned());
    arrays.extend(typed.columns().iter().cloned());
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| wrong(error.to_string()))
}

/// What one partition's writer left.
#[derive(Debug)]
pub(crate) struct Archived {
    /// All files of the partition, the previous ones included.
    pub files: Vec<ArchiveFile>,
    /// Those written.
    pub written: Vec<StoredFile>,
}

/// Appends to one partition of a source. Items may come from many threads in any order; they are written in theirs.
pub(crate) struct ArchiveWriter {
    store: Store,
    folder: String,
    spec: TableSpec,
    state: Mutex<State>,
    turn: Condvar,
    aborted: AtomicBool,
}

struct State {
    /// The item whose turn it is.
    next: usize,
    waiting: BTreeMap<usize, Vec<RecordBatch>>,
    files: Vec<ArchiveFile>,
    /// Rows that are to come: small files before them are rewritten with them.
    expected: u64,
    open: Option<Open>,
    begun: bool,
    written: Vec<StoredFile>,
}

struct Open {
    writer: TableWriter,
    start: u64,
    end: u64,
}

impl ArchiveWriter {
    /// A writer below the attempt's folder, for `expected` new records.
    pub(crate) fn new(
        store: &Store,
        attempt: &str,
        source: &str,
        partition: u32,
        previous: &SourceState,
        expected: u64,
    ) -> ArchiveWriter {
        ArchiveWriter {
            store: store.clone(),
            folder: format!("{attempt}/{}/{partition}", segment(source)),
            spec: TableSpec { name: format!("archive/{source}"), fingerprint: String::new(), key_columns: 0 },
            state: Mutex::new(State {
                next: 0,
                waiting: BTreeMap::new(),
                files: previous.archive.get(&partition).cloned().unwrap_or_default(),
                expected,
                open: None,
                begun: false,
                written: Vec::new(),
            }),
            turn: Condvar::new(),
            aborted: AtomicBool::new(false),
        }
    }

    /// Adds the batches of the item `number`; waits if it is far ahead of the others.
    pub(crate) fn add(&self, number: usize, batches: Vec<RecordBatch>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Items are handed out in order and the one whose turn it is never waits, so this ends.
        while number > state.next + WAITING_ITEMS {
            if self.aborted.load(Ordering::SeqCst) {
                return Err(BatchError::Stopped);
            }
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.insert(number, batches);
        loop {
            let next = state.next;
            let Some(batches) = state.waiting.remove(&next) else { break };
            for batch in batches {
                self.write(&mut state, &batch)?;
            }
            state.next += 1;
        }
        self.turn.notify_all();
        Ok(())
    }

    /// Adds some batches of the item `number` at once, before it is whole: large records are not kept until then. Waits until it is
    /// the item's turn. [`ArchiveWriter::add`] adds its last ones.
    pub(crate) fn add_some(&self, number: usize, batches: Vec<RecordBatch>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The items before it are with other threads, the first of which never waits, so this ends.
        while number > state.next {
            if self.aborted.load(Ordering::SeqCst) {
                return Err(BatchError::Stopped);
            }
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        batches.iter().try_for_each(|batch| self.write(&mut state, batch))
    }

    /// Wakes whoever waits: the run has failed.
    pub(crate) fn abort(&self) {
        let _state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.aborted.store(true, Ordering::SeqCst);
        self.turn.notify_all();
    }

    /// Ends the last file.
    pub(crate) fn finish(self) -> Result<Archived> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = state.open.take() {
            end(&self.store, &self.folder, &mut state, open)?;
        }
        Ok(Archived { files: state.files, written: state.written })
    }

    fn write(&self, state: &mut State, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if !state.begun {
            state.begun = true;
            self.absorb(state, batch)?;
        }
        let (first, last) = bounds(batch);
        let mut open = match state.open.take() {
            Some(open) => open,
            None => Open { writer: TableWriter::new(&self.spec, batch.schema())?, start: first, end: first },
        };
        if first != open.end {
            return Err(BatchError::table(&self.spec.name)(format!("offset {first} follows {}", open.end)));
        }
        open.writer.write(batch)?;
        open.end = last + 1;
        if open.writer.bytes() as u64 >= FILE_BYTES {
            return end(&self.store, &self.folder, state, open);
        }
        state.open = Some(open);
        Ok(())
    }

    /// Begins the first new file with the small files before it: each record is rewritten a logarithmic number of times, and
    /// the number of files stays small however often the batch runs.
    fn absorb(&self, state: &mut State, batch: &RecordBatch) -> Result<()> {
        let mut absorbed: Vec<(ArchiveFile, Vec<RecordBatch>)> = Vec::new();
        let mut rows = state.expected;
        while let Some(last) = state.files.last()
            && last.file.rows <= rows
            && last.file.bytes < FILE_BYTES / 2
        {
            let bytes = read::fetch(&self.store, &last.file)?;
            let batches: Vec<RecordBatch> = read::batches(&last.file, bytes, None)?.collect::<Result<_>>()?;
            // Of another declaration: it stays as it is.
            if batches.iter().any(|old| old.schema().fields() != batch.schema().fields()) {
                break;
            }
            rows += last.file.rows;
            if let Some(last) = state.files.pop() {
                absorbed.push((last, batches));
            }
        }
        for (file, batches) in absorbed.into_iter().rev() {
            let mut open = match state.open.take() {
                Some(open) => open,
                None => {
                    Open { writer: TableWriter::new(&self.spec, batch.schema())?, start: file.start, end: file.start }
                }
            };
            for old in batches {
                // The schema that was read back has other metadata.
                let old = RecordBatch::try_new(Arc::clone(open.writer.schema()), old.columns().to_vec())
                    .map_err(|error| BatchError::table(&self.spec.name)(error.to_string()))?;
                open.writer.write(&old)?;
            }
            open.end = file.end;
            state.open = Some(open);
        }
        Ok(())
    }
}

/// Ends a file and puts it into the store.
fn end(store: &Store, folder: &str, state: &mut State, open: Open) -> Result<()> {
    let path = format!("{folder}/{:020}.parquet", open.start);
    let file = open.writer.finish()?.put(store, path)?;
    state.written.push(file.clone());
    state.files.push(ArchiveFile { start: open.start, end: open.end, file });
    Ok(())
}

/// The first and last offset of a batch of [`batch`], which has rows.
fn bounds(batch: &RecordBatch) -> (u64, u64) {
    use arrow_array::{cast::AsArray, types::Int64Type};
    let offsets = batch.column(1).as_primitive::<Int64Type>();
    (offsets.value(0) as u64, offsets.value(offsets.len() - 1) as u64)
}
