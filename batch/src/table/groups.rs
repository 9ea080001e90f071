//! Reading all rows of a table, some columns of them, row group by row group.

use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    file::{metadata::RowGroupMetaData, reader::ChunkReader},
};
use polars::prelude::DataFrame;
use rayon::prelude::*;

use super::{
    prune,
    read::{BATCH_ROWS, WHOLE_BYTES, check_format, fetch, guarded, of_length, places, reading, tail},
    verified::VerifiedParts,
};
use crate::{columns, error::Result, manifest::StoredFile, store::Store};

/// The columns that are needed of a row group.
#[derive(Clone, Debug)]
pub(crate) struct Needed {
    /// Of rows that are taken as they are.
    pub rows: Vec<String>,
    /// Those of them that must not have a NULL for that.
    pub doubts: Vec<String>,
    /// Of rows of which some may be merged with others.
    pub partials: Vec<String>,
    /// Whether there are others.
    pub merging: bool,
}

impl Needed {
    /// Where the columns are that are needed of a row group.
    fn of(&self, metadata: &ArrowReaderMetadata, group: &RowGroupMetaData) -> Vec<usize> {
        let may_be_null = |column: usize| {
            let statistics = group.columns().get(column).and_then(|column| column.statistics());
            statistics.and_then(|statistics| statistics.null_count_opt()) != Some(0)
        };
        let doubtful = || places(metadata, &self.doubts).into_iter().any(may_be_null);
        places(metadata, if self.merging || doubtful() { &self.partials } else { &self.rows })
    }
}

/// What `of` makes of the needed columns of each row group of the table, on the threads of the current pool.
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
    let groups = metadata.metadata().row_groups().par_iter().enumerate();
    let map = |(number, group): (usize, &RowGroupMetaData)| {
        let columns = needed.of(metadata, group);
        if columns.is_empty() {
            // How many rows there are is known.
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            return of(columns::without_columns(rows)?);
        }
        let parts = read(&prune::ranges(metadata, &[number], Some(&columns), None))?;
        let batches = guarded(file, || {
            let mask = ProjectionMask::leaves(metadata.parquet_schema(), columns);
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(parts, metadata.clone());
            let builder = builder.with_row_groups(vec![number]).with_projection(mask).with_batch_size(BATCH_ROWS);
            let read = builder.build().and_then(|reader| Ok(reader.collect::<std::result::Result<Vec<_>, _>>()?));
            read.map_err(|error| reading(file, error))
        })?;
        of(columns::from_arrow(&batches)?)
    };
    groups.map(map).collect()
}
