//! Reading pages with a decompressor that stays.
//!
//! The Parquet crate makes a compressor and a decompressor for each column that it opens, to use one of them. Making them is much of a
//! point lookup: zstd asks the processor each time what it can do, which is slow in a virtual machine. Here the crate is told that
//! the pages are not compressed, and they are decompressed on their way to it, by one decompressor per thread.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowGroups, RowSelection},
        parquet_to_arrow_field_levels,
    },
    basic::Compression,
    column::page::{Page, PageIterator, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::{
        metadata::{ParquetMetaData, RowGroupMetaData},
        reader::ChunkReader,
        serialized_reader::SerializedPageReader,
    },
};
use zstd::{bulk::Decompressor, zstd_safe::get_frame_content_size};

/// A page of the format has no more bytes.
const PAGE_BYTES_MAX: u64 = i32::MAX as u64;
/// For shorter stretches of rows than this, on average, the Parquet reader would read and mask out what is between them.
const STRETCH_ROWS_MIN: usize = 64;

/// A reader of some columns of some row groups; of the selected rows, if not of all.
///
/// The selection must be one that skips whole pages without reading them ([`skips`]).
pub(super) fn reader<R: ChunkReader + 'static>(
    input: R,
    metadata: &ArrowReaderMetadata,
    groups: Vec<usize>,
    columns: ProjectionMask,
    selection: Option<RowSelection>,
    batch_rows: usize,
) -> Result<ParquetRecordBatchReader> {
    let fields = metadata.schema().fields();
    let levels = parquet_to_arrow_field_levels(metadata.parquet_schema(), columns, Some(fields))?;
    let groups = Groups { input: Arc::new(input), metadata: Arc::clone(metadata.metadata()), groups };
    // What a batch needs is allocated before it is read.
    let rows = batch_rows.min(groups.num_rows());
    ParquetRecordBatchReader::try_new_with_row_groups(&levels, &groups, rows, selection)
}

/// Whether the Parquet reader goes by the stretches of a selection.
pub(super) fn skips(selection: &RowSelection) -> bool {
    let (rows, stretches) = selection.iter().fold((0, 0), |(rows, stretches), stretch| {
        (rows + stretch.row_count, stretches + usize::from(stretch.row_count > 0))
    });
    rows >= STRETCH_ROWS_MIN * stretches
}

struct Groups<R> {
    input: Arc<R>,
    metadata: Arc<ParquetMetaData>,
    groups: Vec<usize>,
}

impl<R: ChunkReader + 'static> RowGroups for Groups<R> {
    fn num_rows(&self) -> usize {
        self.row_groups().map(|group| usize::try_from(group.num_rows()).unwrap_or(0)).sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let groups = self.groups.clone().into_iter();
        Ok(Box::new(Chunks { input: Arc::clone(&self.input), metadata: Arc::clone(&self.metadata), groups, column }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.groups.iter().map(|group| self.metadata.row_group(*group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// One column's chunks, of one row group after the other.
struct Chunks<R> {
    input: Arc<R>,
    metadata: Arc<ParquetMetaData>,
    groups: std::vec::IntoIter<usize>,
    column: usize,
}

impl<R: ChunkReader + 'static> Chunks<R> {
    fn open(&self, number: usize) -> Result<Box<dyn PageReader>> {
        let group = self.metadata.row_group(number);
        let locations = self.metadata.offset_index().and_then(|groups| groups.get(number)?.get(self.column));
        let locations = locations.map(|column| column.page_locations.clone());
        let rows = usize::try_from(group.num_rows())?;
        let input = Arc::clone(&self.input);
        let chunk = group.column(self.column);
        if !matches!(chunk.compression(), Compression::ZSTD(_)) {
            return Ok(Box::new(SerializedPageReader::new(input, chunk, rows, locations)?));
        }
        let bare = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        Ok(Box::new(Decompressing { pages: SerializedPageReader::new(input, &bare, rows, locations)? }))
    }
}

impl<R: ChunkReader + 'static> Iterator for Chunks<R> {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.groups.next()?;
        Some(self.open(group))
    }
}

impl<R: ChunkReader + 'static> PageIterator for Chunks<R> {}

struct Decompressing<R: ChunkReader> {
    pages: SerializedPageReader<R>,
}

impl<R: ChunkReader> PageReader for Decompressing<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.pages.get_next_page()?.map(decompressed).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl<R: ChunkReader> Iterator for Decompressing<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

fn decompressed(mut page: Page) -> Result<Page> {
    match &mut page {
        Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = unpacked(buf)?,
        // Levels come first, as they are.
        Page::DataPageV2 { buf, is_compressed: true, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
            if levels > buf.len() {
                return Err(ParquetError::General("a page's levels are longer than the page".to_owned()));
            }
            let values = unpacked(&buf.slice(levels..))?;
            *buf = [&buf[..levels], &values].concat().into();
        }
        Page::DataPageV2 { .. } => {}
    }
    Ok(page)
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What a frame of zstd holds.
fn unpacked(frame: &Bytes) -> Result<Bytes> {
    if frame.is_empty() {
        return Ok(Bytes::new());
    }
    let wrong = |what: String| ParquetError::General(format!("a compressed page is damaged: {what}"));
    let length = match get_frame_content_size(frame) {
        Ok(Some(length)) if length <= PAGE_BYTES_MAX => length as usize,
        _ => return Err(wrong("it does not say how long its contents are".to_owned())),
    };
    let mut contents = Vec::with_capacity(length);
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new().map_err(|error| wrong(error.to_string()))?),
        };
        decompressor.decompress_to_buffer(frame, &mut contents).map_err(|error| wrong(error.to_string()))
    })?;
    if contents.len() != length {
        return Err(wrong(format!("{} bytes instead of {length}", contents.len())));
    }
    Ok(contents.into())
}
