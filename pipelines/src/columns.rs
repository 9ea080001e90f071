//! Typed access to polars columns, and columns made of plain vectors.

use polars::prelude::{
    self as pl, BinaryChunked, BooleanChunked, Column, Float64Chunked, Int32Chunked, Int64Chunked, Int128Chunked,
    IntoColumn, NewChunkedArray, StringChunked,
};
use polars_arrow::{
    array::{Array, BinaryViewArray, BooleanArray, MutableBinaryViewArray, PrimitiveArray, Utf8ViewArray, View},
    bitmap::Bitmap,
    trusted_len::TrustedLen,
};

use crate::{error::PipelineError, types::DataType};

/// The values of one column in one piece; what stands in NULL places has no meaning.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    Boolean(BooleanArray),
    /// `INT` and `DATE`
    Int(PrimitiveArray<i32>),
    /// `BIGINT` and `TIMESTAMP`
    BigInt(PrimitiveArray<i64>),
    Double(PrimitiveArray<f64>),
    Decimal(PrimitiveArray<i128>),
    /// `TEXT` and `JSON`
    Text(Utf8ViewArray),
    Binary(BinaryViewArray),
}

/// One column's values, and which of them are not NULL (`None`: all).
#[derive(Clone, Debug)]
pub(crate) struct TypedColumn {
    pub(crate) values: Values,
    pub(crate) validity: Option<Bitmap>,
}

impl TypedColumn {
    pub(crate) fn new(column: &Column) -> Result<TypedColumn, PipelineError> {
        let series = column.as_materialized_series().rechunk();
        let physical = series.to_physical_repr();
        let array: &dyn Array = &*physical.chunks()[0];
        let any = array.as_any();
        let values = match physical.dtype() {
            pl::DataType::Boolean => any.downcast_ref::<BooleanArray>().cloned().map(Values::Boolean),
            pl::DataType::Int32 => any.downcast_ref::<PrimitiveArray<i32>>().cloned().map(Values::Int),
            pl::DataType::Int64 => any.downcast_ref::<PrimitiveArray<i64>>().cloned().map(Values::BigInt),
            pl::DataType::Float64 => any.downcast_ref::<PrimitiveArray<f64>>().cloned().map(Values::Double),
            pl::DataType::Int128 => any.downcast_ref::<PrimitiveArray<i128>>().cloned().map(Values::Decimal),
            pl::DataType::String => any.downcast_ref::<Utf8ViewArray>().cloned().map(Values::Text),
            pl::DataType::Binary => any.downcast_ref::<BinaryViewArray>().cloned().map(Values::Binary),
            _ => None,
        };
        let values = values.ok_or_else(|| {
            PipelineError::Stored(format!("column \"{}\" has the type {}", column.name(), column.dtype()))
        })?;
        let validity = array.validity().filter(|v| v.unset_bits() > 0).cloned();
        Ok(TypedColumn { values, validity })
    }

    pub(crate) fn is_valid(&self, row: usize) -> bool {
        self.validity.as_ref().is_none_or(|v| v.get_bit(row))
    }
}

/// The rows for which a condition is true; `None`: all.
pub(crate) fn mask_of(column: &Column) -> Result<Option<Bitmap>, PipelineError> {
    let TypedColumn { values: Values::Boolean(values), validity } = TypedColumn::new(column)? else {
        return Err(PipelineError::Stored(format!("column \"{}\" is not a condition", column.name())));
    };
    let mask = match validity {
        Some(validity) => values.values() & &validity,
        None => values.values().clone(),
    };
    Ok((mask.unset_bits() > 0).then_some(mask))
}

/// The rows that are in both.
pub(crate) fn and_masks(a: Option<&Bitmap>, b: Option<&Bitmap>) -> Option<Bitmap> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a & b),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

/// Calls `each` with the rows of the mask, ascending.
#[inline]
pub(crate) fn for_each_row(rows: usize, mask: Option<&Bitmap>, mut each: impl FnMut(usize)) {
    match mask {
        None => (0..rows).for_each(each),
        Some(mask) => mask.true_idx_iter().for_each(&mut each),
    }
}

/// A bitmap from booleans; `None` if all are true.
pub(crate) fn bitmap(bits: impl TrustedLen<Item = bool>) -> Option<Bitmap> {
    let bitmap = Bitmap::from_trusted_len_iter(bits);
    (bitmap.unset_bits() > 0).then_some(bitmap)
}

pub(crate) fn boolean_column(name: &str, values: impl Iterator<Item = Option<bool>>) -> Column {
    BooleanChunked::from_iter_options(name.into(), values).into_column()
}

/// What is between `start` and `end` as a view, if it is short and not at the very end of `around`: made of one load, where copying its
/// few bytes one way and the view another would make the processor wait.
#[inline(always)]
fn short_view(around: &[u8], start: usize, end: usize) -> Option<View> {
    let bytes = end.checked_sub(start)?;
    if bytes > View::MAX_INLINE_SIZE as usize || cfg!(target_endian = "big") {
        return None;
    }
    let block = around.get(start..start + size_of::<View>())?.first_chunk()?;
    let text = u128::from_le_bytes(*block) & !(u128::MAX << (8 * bytes));
    Some(View::from(text << 32 | bytes as u128))
}

/// Appends the text between `start` and `end`, which `text` gives if it is long.
#[inline(always)]
pub(crate) fn push_text<'a>(
    texts: &mut MutableBinaryViewArray<str>,
    around: &[u8],
    start: usize,
    end: usize,
    text: impl FnOnce() -> &'a str,
) {
    match short_view(around, start, end) {
        Some(view) => texts.push_view(view, &[]),
        None => texts.push_value(text()),
    }
}

pub(crate) fn text_column<T: AsRef<str>>(name: &str, values: impl Iterator<Item = Option<T>>) -> Column {
    let mut array = MutableBinaryViewArray::<str>::with_capacity(values.size_hint().0);
    values.for_each(|value| array.push(value));
    finished_texts(name, array)
}

pub(crate) fn finished_texts(name: &str, texts: MutableBinaryViewArray<str>) -> Column {
    StringChunked::with_chunk(name.into(), texts.into()).into_column()
}

/// A column of bytes: `append` appends those of a row, and says whether it has any or is NULL. Quick where all rows are NULL.
pub(crate) fn binary_rows(name: &str, rows: usize, mut append: impl FnMut(usize, &mut Vec<u8>) -> bool) -> Column {
    let mut bytes = Vec::new();
    let Some(first) = (0..rows).find(|row| append(*row, &mut bytes)) else {
        return Column::full_null(name.into(), rows, &pl::DataType::Binary);
    };
    let mut array = MutableBinaryViewArray::<[u8]>::with_capacity(rows);
    array.extend_null(first);
    array.push_value(&bytes);
    for row in first + 1..rows {
        bytes.clear();
        match append(row, &mut bytes) {
            true => array.push_value(&bytes),
            false => array.push_null(),
        }
    }
    BinaryChunked::with_chunk(name.into(), array.into()).into_column()
}

pub(crate) fn double_column(name: &str, values: Vec<f64>, validity: Option<Bitmap>) -> Column {
    Float64Chunked::from_vec_validity(name.into(), values, validity).into_column()
}

/// A column of `INT` or `DATE`.
pub(crate) fn int_column(name: &str, data_type: DataType, values: Vec<i32>, validity: Option<Bitmap>) -> Column {
    let column = Int32Chunked::from_vec_validity(name.into(), values, validity);
    match data_type {
        DataType::Date => column.into_date().into_column(),
        _ => column.into_column(),
    }
}

/// A column of `BIGINT` or `TIMESTAMP`.
pub(crate) fn bigint_column(name: &str, data_type: DataType, values: Vec<i64>, validity: Option<Bitmap>) -> Column {
    let column = Int64Chunked::from_vec_validity(name.into(), values, validity);
    match data_type {
        DataType::Timestamp => column.into_datetime(pl::TimeUnit::Microseconds, None).into_column(),
        _ => column.into_column(),
    }
}

/// A column of `DECIMAL`.
pub(crate) fn decimal_column(name: &str, data_type: DataType, values: Vec<i128>, validity: Option<Bitmap>) -> Column {
    let scale = if let DataType::Decimal { scale, .. } = data_type { usize::from(scale) } else { 0 };
    Int128Chunked::from_vec_validity(name.into(), values, validity).into_decimal_unchecked(38, scale).into_column()
}

/// The one NaN and the one zero.
#[inline]
pub(crate) fn canonical_double(x: f64) -> f64 {
    if x.is_nan() { f64::NAN } else { x + 0.0 }
}
