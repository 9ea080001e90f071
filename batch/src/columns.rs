//! Columns cross between polars and arrow without copying, through the Arrow C data interface.
//!
//! polars has an Arrow of its own, and `parquet` is written for arrow-rs. Both implement the [C data interface][spec], whose
//! two structs have the same `repr(C)` layout in every implementation: that is what it is for. Buffers are shared; the
//! exporter frees them when the importer calls `release`.
//!
//! Types differ in one place: Watershed's timestamps are instants, polars keeps them without a zone, and Parquet files say
//! so with `isAdjustedToUTC`, which arrow-rs writes for the zone `UTC`. The values are the same.
//!
//! [spec]: https://arrow.apache.org/docs/format/CDataInterface.html
//!
//! This is the crate's one module with `unsafe`; each use says why it is sound.

use std::{mem, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryViewArray, RecordBatch, RecordBatchOptions, cast::AsArray, ffi::FFI_ArrowArray,
    ffi::FFI_ArrowSchema, make_array, types::TimestampMicrosecondType,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use polars::prelude::{Column, CompatLevel, DataFrame, DataType as Type, PlSmallStr, PolarsError, Series};
use polars_arrow::ffi as polars_ffi;

use crate::error::{BatchError, Result};

// The two structs of the interface; a layout that differs in size or alignment would be another interface.
const _: () = assert!(size_of::<polars_ffi::ArrowArray>() == size_of::<FFI_ArrowArray>());
const _: () = assert!(align_of::<polars_ffi::ArrowArray>() == align_of::<FFI_ArrowArray>());
const _: () = assert!(size_of::<polars_ffi::ArrowSchema>() == size_of::<FFI_ArrowSchema>());
const _: () = assert!(align_of::<polars_ffi::ArrowSchema>() == align_of::<FFI_ArrowSchema>());

/// A frame as an arrow batch of one chunk, timestamps as instants. Every column is nullable.
pub fn to_arrow(frame: &DataFrame) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(frame.width());
    let mut columns = Vec::with_capacity(frame.width());
    for column in frame.columns() {
        let name = column.name().as_str();
        let array = export(column).map_err(BatchError::table(name))?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        columns.push(array);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(frame.height()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
        .map_err(|error| BatchError::table("batch")(error.to_string()))
}

/// Arrow batches of one schema as a frame; an empty slice gives no columns.
pub fn from_arrow(batches: &[RecordBatch]) -> Result<DataFrame> {
    let Some(first) = batches.first() else { return Ok(DataFrame::default()) };
    let mut columns = Vec::with_capacity(first.num_columns());
    for (i, field) in first.schema().fields().iter().enumerate() {
        let arrays: Result<Vec<_>, String> = batches.iter().map(|batch| import(batch.column(i))).collect();
        let arrays = arrays.map_err(BatchError::table(field.name()))?;
        let name: PlSmallStr = field.name().as_str().into();
        let series = Series::try_from((name, arrays))
            .map_err(|error: PolarsError| BatchError::table(field.name())(error.to_string()))?;
        columns.push(Column::from(series));
    }
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    DataFrame::new(rows, columns).map_err(|error| BatchError::table("batch")(error.to_string()))
}

/// A frame of so many rows without columns.
pub fn without_columns(rows: usize) -> Result<DataFrame> {
    DataFrame::new(rows, Vec::new()).map_err(|error| BatchError::table("batch")(error.to_string()))
}

/// One column, as one chunk.
fn export(column: &Column) -> Result<ArrayRef, String> {
    if let (Column::Scalar(of_one_value), Type::Binary) = (column, column.dtype())
        && of_one_value.scalar().is_null()
    {
        // States of which there are none. Both Arrows have a general way to make such a column that first sets memory to zero, 8 MiB or more;
        // this leaves it untouched.
        return Ok(Arc::new(BinaryViewArray::new_null(column.len())));
    }
    let field = column.field().to_arrow(CompatLevel::newest());
    let array = column.clone().rechunk_to_arrow(CompatLevel::newest());
    let field = field_of_type(&field, array.as_ref());
    let schema = polars_ffi::export_field_to_c(&field);
    let array = polars_ffi::export_array_to_c(array);
    // SAFETY: both types are the interface's `struct ArrowArray` and `struct ArrowSchema`, `repr(C)`, of the same fields in
    // the same order. `transmute` moves the ownership with the bytes, and the target's `Drop` calls `release` once.
    let (array, schema) = unsafe {
        let array: FFI_ArrowArray = mem::transmute::<polars_ffi::ArrowArray, FFI_ArrowArray>(array);
        let schema: FFI_ArrowSchema = mem::transmute::<polars_ffi::ArrowSchema, FFI_ArrowSchema>(schema);
        (array, schema)
    };
    // SAFETY: polars exported both just now, from one array, as the interface asks.
    let data = unsafe { arrow_array::ffi::from_ffi(array, &schema) }.map_err(|error| error.to_string())?;
    let array = make_array(data);
    Ok(match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC"))
        }
        _ => array,
    })
}

/// The field with the type that the exported array really has.
fn field_of_type(
    field: &polars_arrow::datatypes::Field,
    array: &dyn polars_arrow::array::Array,
) -> polars_arrow::datatypes::Field {
    polars_arrow::datatypes::Field::new(field.name.clone(), array.dtype().clone(), true)
}

/// One array.
fn import(array: &ArrayRef) -> Result<Box<dyn polars_arrow::array::Array>, String> {
    let array: ArrayRef = match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt::<Arc<str>>(None))
        }
        _ => Arc::clone(array),
    };
    let (array, schema) = arrow_array::ffi::to_ffi(&array.to_data()).map_err(|error| error.to_string())?;
    // SAFETY: as in `export`, the other way round: same structs, and the ownership moves.
    let (array, schema) = unsafe {
        let array: polars_ffi::ArrowArray = mem::transmute::<FFI_ArrowArray, polars_ffi::ArrowArray>(array);
        let schema: polars_ffi::ArrowSchema = mem::transmute::<FFI_ArrowSchema, polars_ffi::ArrowSchema>(schema);
        (array, schema)
    };
    // SAFETY: arrow-rs exported both just now, from one array, as the interface asks.
    unsafe {
        let field = polars_ffi::import_field_from_c(&schema).map_err(|error| error.to_string())?;
        polars_ffi::import_array_from_c(array, field.dtype).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{
        BinaryChunked, BooleanChunked, Float64Chunked, Int32Chunked, Int64Chunked, IntoSeries, NewChunkedArray,
        StringChunked, TimeUnit as Unit,
    };

    use super::*;

    /// Every type that views have, and states; with NULLs, long and short texts.
    fn frame() -> DataFrame {
        let name = |name: &str| PlSmallStr::from(name);
        let ints =
            Int64Chunked::from_slice_options(name("bigint"), &[Some(i64::MIN), None, Some(i64::MAX)]).into_series();
        let days = Int32Chunked::from_slice_options(name("date"), &[Some(-1), None, Some(20_000)]).into_series();
        let cents = Int64Chunked::from_slice_options(name("decimal"), &[Some(-5), None, Some(123_456)]).into_series();
        let named = |series: &Series, name: &str, to: &Type| {
            let mut series = series.cast(to).unwrap();
            series.rename(name.into());
            Column::from(series)
        };
        let texts = [Some("short"), None, Some("a text that is too long to be kept inside a view")];
        let bytes: [Option<&[u8]>; 3] = [Some(&[0, 255]), None, Some(&[7; 40])];
        let columns = vec![
            BooleanChunked::from_slice_options(name("boolean"), &[Some(true), None, Some(false)]).into_series().into(),
            Int32Chunked::from_slice_options(name("int"), &[Some(i32::MIN), None, Some(3)]).into_series().into(),
            Float64Chunked::from_slice_options(name("double"), &[Some(f64::NAN), None, Some(-1.5)])
                .into_series()
                .into(),
            StringChunked::from_slice_options(name("text"), &texts).into_series().into(),
            BinaryChunked::from_slice_options(name("state"), &bytes).into_series().into(),
            named(&ints, "timestamp", &Type::Datetime(Unit::Microseconds, None)),
            named(&days, "date", &Type::Date),
            named(&cents, "decimal", &Type::Decimal(38, 4)),
            ints.into(),
        ];
        DataFrame::new(3, columns).unwrap()
    }

    #[test]
    fn every_type_comes_back() {
        let frame = frame();
        let batch = to_arrow(&frame).unwrap();
        let types: Vec<String> = batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
        let expected = [
            "Boolean",
            "Int32",
            "Float64",
            "Utf8View",
            "BinaryView",
            "Timestamp(µs, \"UTC\")",
            "Date32",
            "Decimal128(38, 4)",
            "Int64",
        ];
        assert_eq!(types, expected);
        let back = from_arrow(&[batch]).unwrap();
        assert_eq!(back.schema(), frame.schema());
        assert!(back.equals_missing(&frame), "{back}\n{frame}");
    }

    #[test]
    fn parts_empty_frames_and_several_chunks_come_back() {
        let frame = frame();
        let mut twice = frame.slice(1, 2);
        twice.vstack_mut(&frame).unwrap();
        let batch = to_arrow(&twice).unwrap();
        assert!(from_arrow(std::slice::from_ref(&batch)).unwrap().equals_missing(&twice));
        // Arrow's slices keep their parents' buffers, and an offset.
        let parts = [batch.slice(0, 1), batch.slice(1, 0), batch.slice(1, 4)];
        assert!(from_arrow(&parts).unwrap().equals_missing(&twice));
        let none = frame.slice(0, 0);
        let back = from_arrow(&[to_arrow(&none).unwrap()]).unwrap();
        assert_eq!((back.height(), back.schema()), (0, none.schema()));
    }

    #[test]
    fn buffers_are_shared() {
        let frame = frame();
        let batch = to_arrow(&frame).unwrap();
        let ours = frame.column("bigint").unwrap().i64().unwrap().downcast_iter().next().unwrap().values().as_ptr();
        let theirs = batch.column(8).as_primitive::<arrow_array::types::Int64Type>().values().as_ptr();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn what_was_shared_outlives_where_it_came_from() {
        let batch = to_arrow(&frame()).unwrap();
        let back = from_arrow(&[batch.clone(), batch]).unwrap();
        assert_eq!(back.height(), 6);
        assert_eq!(back.column("text").unwrap().str().unwrap().get(5).unwrap().len(), 48);
    }
}
