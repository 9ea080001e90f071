//! Reading all rows of a table, some columns of them, row group by row group.

use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    },
    file::{metadata::RowGroupMetaData, reader::ChunkReader},
};
use polars::prelude::DataFrame;
use rayon::prelude::*;
use watershed_pipelines::partial::StoredColumns;

use super::{
    pages, prune,
    read::{WHOLE_BYTES, check_format, fetch, guarded, of_length, reading, tail},
    verified::VerifiedParts,
};
use crate::{
    columns,
    error::{BatchError, Result},
    manifest::StoredFile,
    store::Store,
};

/// The columns that are needed of a row group.
#[derive(Clone, Debug)]
pub(crate) struct Needed {
    pub columns: StoredColumns,
    /// Whether some rows may be merged with others.
    pub merging: bool,
}

impl Needed {
    /// Where the columns are that are needed of a row group.
    fn of(&self, metadata: &ArrowReaderMetadata, group: usize) -> Vec<usize> {
        let doubtful = || self.columns.doubts.iter().any(|value| may_be_null(metadata, &[group], value));
        match self.merging || doubtful() {
            true => partials(metadata, &[group], &self.columns),
            false => places(metadata, self.columns.rows.iter()),
        }
    }
}

/// Where the columns are that partials of these row groups are made of.
pub(super) fn partials(metadata: &ArrowReaderMetadata, groups: &[usize], columns: &StoredColumns) -> Vec<usize> {
    let says_all = |state: &String| {
        let of_state = columns.of_overflow.iter().find(|(_, name)| name == state);
        of_state.is_some_and(|(value, _)| !may_be_null(metadata, groups, value))
    };
    places(metadata, columns.partials.iter().filter(|name| !says_all(name)))
}

/// Whether a column may have a NULL in these row groups.
fn may_be_null(metadata: &ArrowReaderMetadata, groups: &[usize], name: &str) -> bool {
    let Some((column, _)) = metadata.schema().column_with_name(name) else { return true };
    groups.iter().any(|group| {
        let statistics =
            metadata.metadata().row_groups().get(*group).and_then(|group| group.columns().get(column)?.statistics());
        statistics.and_then(|statistics| statistics.null_count_opt()) != Some(0)
    })
}

/// Where these columns are in the file: each is one leaf of its schema.
fn places<'a>(metadata: &ArrowReaderMetadata, names: impl Iterator<Item = &'a String>) -> Vec<usize> {
    names.filter_map(|name| Some(metadata.schema().column_with_name(name)?.0)).collect()
}

/// Rows that are worked on at once: few enough to be still in the processor's cache, and to have memory that was used before.
const ROWS_AT_ONCE: usize = 16 << 10;

/// What `of` makes of the needed columns of each stretch of rows of the table, on the threads of the current pool.
pub(crate) fn map<T: Send>(
    store: &Store,
    file: &StoredFile,
    needed: &Needed,
    of: impl Fn(DataFrame) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if file.bytes <= WHOLE_BYTES {
        let bytes: Bytes = fetch(store, file)?;
        let metadata = guarded(file, || {
            let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new());
            metadata.map_err(|error| reading(file, error))
        })?;
        check_format(file, metadata.metadata())?;
        return map_read(file, &metadata, needed, |_| Ok(bytes.clone()), of);
    }
    let tail = tail(store, file)?;
    let read = |ranges: &[std::ops::Range<u64>]| {
        VerifiedParts::read(store, file, &tail, ranges).map_err(|error| of_length(store, file, error))
    };
    map_read(file, &tail.metadata, needed, read, of)
}

fn map_read<T: Send, R: ChunkReader + 'static>(
    file: &StoredFile,
    metadata: &ArrowReaderMetadata,
    needed: &Needed,
    read: impl Fn(&[std::ops::Range<u64>]) -> Result<R> + Sync,
    of: impl Fn(DataFrame) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let map = |(number, group): (usize, &RowGroupMetaData)| {
        let columns = needed.of(metadata, number);
        if columns.is_empty() {
            // How many rows there are is known.
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            return Ok(vec![of(columns::without_columns(rows)?)?]);
        }
        let parts = read(&prune::ranges(metadata, &[number], Some(&columns), None))?;
        let mut reader = guarded(file, || {
            let mask = ProjectionMask::leaves(metadata.parquet_schema(), columns);
            let reader = pages::reader(parts, metadata, vec![number], mask, None, ROWS_AT_ONCE);
            reader.map_err(|error| reading(file, error))
        })?;
        let mut made = Vec::new();
        let mut next =
            || guarded(file, || reader.next().transpose().map_err(|e| BatchError::damaged(&file.path, e.to_string())));
        while let Some(batch) = next()? {
            made.push(of(columns::from_arrow(&[batch])?)?);
        }
        Ok(made)
    };
    let groups = metadata.metadata().row_groups().par_iter().enumerate();
    let made: Vec<Vec<T>> = groups.map(map).collect::<Result<_>>()?;
    Ok(made.into_iter().flatten().collect())
}
