//! Reading and building columns row by row: what the kernels are written with.

use polars::prelude as pl;
use polars::prelude::{ChunkApply, IntoSeries, NamedFrom, NewChunkedArray};
use polars_arrow::array::{
    Array, BooleanArray, MutableBinaryViewArray, MutableBooleanArray, MutablePrimitiveArray, PrimitiveArray,
    Utf8ViewArray,
};

use super::{Evaluated, Failures, allowance};
use crate::{
    error::{Failure, PipelineError},
    types::{DataType, Value},
};

/// The name that evaluated columns have until their owner names them.
pub(crate) const VALUE: &str = "value";

/// A physical type that columns are read as.
pub(crate) trait Lane {
    /// The arrow array behind a column of this type.
    type Array: Array + Clone + 'static;
    /// One value.
    type Item<'a>: Copy;
    /// The value at `index`, which is in bounds and not NULL.
    fn value(array: &Self::Array, index: usize) -> Self::Item<'_>;
}

macro_rules! primitive_lane {
    ($($native:ty),*) => {$(
        impl Lane for $native {
            type Array = PrimitiveArray<$native>;
            type Item<'a> = $native;
            #[inline(always)]
            fn value(array: &Self::Array, index: usize) -> $native {
                array.values()[index]
            }
        }
    )*};
}
primitive_lane!(i32, i64, i128, f64);

impl Lane for bool {
    type Array = BooleanArray;
    type Item<'a> = bool;
    #[inline(always)]
    fn value(array: &Self::Array, index: usize) -> bool {
        array.value(index)
    }
}

impl Lane for str {
    type Array = Utf8ViewArray;
    type Item<'a> = &'a str;
    #[inline(always)]
    fn value(array: &Self::Array, index: usize) -> &str {
        array.value(index)
    }
}

/// A column read as `L`. A column of one row stands for a constant of any height.
pub(crate) struct Lanes<L: Lane + ?Sized> {
    array: L::Array,
    /// All ones, or zero for a constant: `index & mask` is where the value lies.
    mask: usize,
    has_nulls: bool,
}

impl<L: Lane + ?Sized> Lanes<L> {
    /// Reads `column` by its physical type, which must be `L`.
    pub(crate) fn new(column: &pl::Column) -> Result<Lanes<L>, PipelineError> {
        // A scalar column of any length is one value: only that is materialised.
        let one = match column {
            pl::Column::Scalar(scalar) if column.len() > 1 => Some(scalar.resize(1).to_series()),
            _ => None,
        };
        let series = one.as_ref().unwrap_or_else(|| column.as_materialized_series());
        let physical = series.to_physical_repr().rechunk();
        let array = physical.chunks().first().and_then(|chunk| chunk.as_any().downcast_ref::<L::Array>());
        let Some(array) = array.cloned() else {
            return Err(PipelineError::Definition(format!(
                "a column of type {} is read as another type",
                series.dtype()
            )));
        };
        let mask = if array.len() == 1 { 0 } else { usize::MAX };
        Ok(Lanes { has_nulls: array.null_count() > 0, array, mask })
    }

    /// The value of row `row`; `None` for NULL.
    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> Option<L::Item<'_>> {
        let index = row & self.mask;
        if self.has_nulls && self.array.is_null(index) { None } else { Some(L::value(&self.array, index)) }
    }

    /// The array, of full height or of one row.
    pub(crate) fn array(&self) -> &L::Array {
        &self.array
    }
}

/// Reads an `INT` or `BIGINT` column as 64 bits.
pub(crate) fn integers(column: &pl::Column) -> Result<Lanes<i64>, PipelineError> {
    match column.dtype() {
        pl::DataType::Int32 => Lanes::new(&column.cast(&pl::DataType::Int64)?),
        _ => Lanes::new(column),
    }
}

/// Builds a column.
pub(crate) trait Build {
    /// What is pushed.
    type Item;
    /// An empty builder.
    fn with_capacity(rows: usize) -> Self;
    /// Appends a value or NULL.
    fn push(&mut self, value: Option<Self::Item>);
    /// The column, as `data_type`.
    fn finish(self, data_type: DataType) -> pl::Column;
}

fn named<T>(array: T::Array) -> pl::ChunkedArray<T>
where
    T: pl::PolarsDataType,
    pl::ChunkedArray<T>: From<T::Array>,
{
    let mut chunked = pl::ChunkedArray::<T>::from(array);
    chunked.rename(VALUE.into());
    chunked
}

macro_rules! primitive_build {
    ($($native:ty => |$chunked:ident: $polars:ty, $data_type:ident| $finish:expr;)*) => {$(
        impl Build for MutablePrimitiveArray<$native> {
            type Item = $native;
            fn with_capacity(rows: usize) -> Self {
                MutablePrimitiveArray::with_capacity(rows)
            }
            #[inline(always)]
            fn push(&mut self, value: Option<$native>) {
                match value {
                    Some(value) => self.push_value(value),
                    None => self.push(None),
                }
            }
            fn finish(self, $data_type: DataType) -> pl::Column {
                let $chunked = named::<$polars>(PrimitiveArray::from(self));
                let series: pl::Series = $finish;
                series.into()
            }
        }
    )*};
}
primitive_build! {
    i32 => |chunked: pl::Int32Type, data_type| match data_type {
        DataType::Date => chunked.into_date().into_series(),
        _ => chunked.into_series(),
    };
    i64 => |chunked: pl::Int64Type, data_type| match data_type {
        DataType::Timestamp => chunked.into_datetime(pl::TimeUnit::Microseconds, None).into_series(),
        _ => chunked.into_series(),
    };
    i128 => |chunked: pl::Int128Type, data_type| match data_type {
        DataType::Decimal { scale, .. } => chunked.into_decimal_unchecked(38, usize::from(scale)).into_series(),
        _ => chunked.into_decimal_unchecked(38, 0).into_series(),
    };
    f64 => |chunked: pl::Float64Type, _data_type| chunked.into_series();
}

impl Build for MutableBooleanArray {
    type Item = bool;
    fn with_capacity(rows: usize) -> Self {
        MutableBooleanArray::with_capacity(rows)
    }
    #[inline(always)]
    fn push(&mut self, value: Option<bool>) {
        MutableBooleanArray::push(self, value);
    }
    fn finish(self, _: DataType) -> pl::Column {
        named::<pl::BooleanType>(BooleanArray::from(self)).into_series().into()
    }
}

/// Builds text columns.
pub(crate) type TextBuilder = MutableBinaryViewArray<str>;

impl Build for TextBuilder {
    type Item = String;
    fn with_capacity(rows: usize) -> Self {
        MutableBinaryViewArray::with_capacity(rows)
    }
    fn push(&mut self, value: Option<String>) {
        MutableBinaryViewArray::push(self, value);
    }
    fn finish(self, _: DataType) -> pl::Column {
        named::<pl::StringType>(self.freeze()).into_series().into()
    }
}

/// The builder of a physical type.
pub(crate) type Numbers<T> = MutablePrimitiveArray<T>;

/// Computes a column row by row. Where `row` fails, the value is NULL and the failure is kept.
#[inline]
pub(crate) fn rows<B: Build>(
    height: usize,
    data_type: DataType,
    mut row: impl FnMut(usize) -> Result<Option<B::Item>, Failure>,
) -> Evaluated {
    let mut builder = B::with_capacity(height);
    let mut failures = Failures::new();
    for index in 0..height {
        match row(index) {
            Ok(value) => builder.push(value),
            Err(failure) => {
                builder.push(None);
                failures.push((index as u32, failure));
            }
        }
    }
    Evaluated { column: builder.finish(data_type), failures }
}

/// The longest text that a function may make of others: as long as the largest record.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 20;

/// Adds to a text that is being made, unless it would become too long.
#[inline]
pub(crate) fn append(out: &mut String, part: &str) -> Result<(), Failure> {
    if out.len() + part.len() > TEXT_BYTES_MAX {
        return Err(Failure::TextTooLong);
    }
    out.push_str(part);
    Ok(())
}

/// Computes a text column row by row: `row` writes the value and says whether there is one.
pub(crate) fn text_rows(height: usize, mut row: impl FnMut(usize, &mut String) -> Result<bool, Failure>) -> Evaluated {
    let mut builder = TextBuilder::with_capacity(height);
    let mut failures = Failures::new();
    let mut scratch = String::new();
    for index in 0..height {
        scratch.clear();
        match row(index, &mut scratch) {
            Ok(true) if !allowance::take(scratch.len()) => {
                builder.push_null();
                failures.push((index as u32, Failure::TextTooLong));
                // One long text must not stay for the rows that fail after it.
                scratch = String::new();
            }
            Ok(true) => builder.push_value(scratch.as_str()),
            Ok(false) => builder.push_null(),
            Err(failure) => {
                builder.push_null();
                failures.push((index as u32, failure));
            }
        }
    }
    Evaluated { column: builder.finish(DataType::Text), failures }
}

/// A double with one bit pattern for NaN and one for zero.
#[inline(always)]
pub(crate) fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// A double column with canonical values. Not copied when it has them already.
pub(crate) fn canonical_doubles(column: pl::Column) -> Result<pl::Column, PipelineError> {
    let odd = |v: &f64| v.to_bits() != canonical(*v).to_bits();
    let doubles = column.f64()?;
    if !doubles.downcast_iter().any(|array| array.values().iter().any(odd)) {
        return Ok(column);
    }
    let name = column.name().clone();
    Ok(doubles.apply_values(canonical).with_name(name).into_series().into())
}

/// A column of one row with `value`.
pub(crate) fn constant(value: &Value, data_type: DataType) -> Result<pl::Column, PipelineError> {
    let wrong = || PipelineError::Definition(format!("the constant {value:?} is not of type {data_type}"));
    let name = pl::PlSmallStr::from_static(VALUE);
    let one = match (value, data_type) {
        (Value::Null, _) => return Ok(pl::Series::full_null(name, 1, &data_type.to_polars()).into()),
        (Value::Boolean(v), DataType::Boolean) => pl::Series::new(name, [*v]),
        (Value::Int(v), DataType::Int) => pl::Series::new(name, [i32::try_from(*v).map_err(|_| wrong())?]),
        (Value::Int(v), DataType::BigInt) => pl::Series::new(name, [*v]),
        (Value::Double(v), DataType::Double) => pl::Series::new(name, [canonical(*v)]),
        (Value::Text(v), DataType::Text | DataType::Json) => pl::Series::new(name, [v.as_str()]),
        (Value::Timestamp(v), DataType::Timestamp) => {
            pl::Int64Chunked::from_slice(name, &[*v]).into_datetime(pl::TimeUnit::Microseconds, None).into_series()
        }
        (Value::Date(v), DataType::Date) => pl::Int32Chunked::from_slice(name, &[*v]).into_date().into_series(),
        (Value::Decimal(v), DataType::Decimal { .. }) => {
            let mut builder = Numbers::<i128>::with_capacity(1);
            builder.push_value(*v);
            return Ok(builder.finish(data_type));
        }
        _ => return Err(wrong()),
    };
    Ok(one.into())
}
