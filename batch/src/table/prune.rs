//! Which row groups and pages may hold the keys that a query wants.
//!
//! A page or row group is left out only if its statistics or bloom filter prove that no wanted key is in it. What remains is
//! narrowed to the exact keys by the kernel's `select`.

use std::{cmp::Ordering, ops::Range};

use arrow_array::{
    Array,
    cast::AsArray,
    types::{Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::{DataType, TimeUnit};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, statistics::StatisticsConverter},
    bloom_filter::Sbbf,
    errors::ParquetError,
};
use watershed_pipelines::{key::KeyBound, types::Value};

/// What is wanted of one column.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The column's name in the file.
    pub column: String,
    /// What is wanted of it; not [`KeyBound::Any`].
    pub bound: KeyBound,
}

/// Whether key columns of this type get a bloom filter: those whose encoding in the file is plain.
pub(crate) fn has_bloom_filter(data_type: &DataType) -> bool {
    use DataType::{Date32, Int32, Int64, LargeUtf8, Timestamp, Utf8, Utf8View};
    matches!(data_type, Int32 | Int64 | Date32 | Timestamp(TimeUnit::Microsecond, _) | Utf8 | LargeUtf8 | Utf8View)
}

/// The row groups whose statistics allow a wanted row.
pub(crate) fn row_groups(metadata: &ArrowReaderMetadata, wanted: &[Wanted]) -> Result<Vec<usize>, ParquetError> {
    let groups = metadata.metadata().row_groups();
    let mut kept: Vec<bool> = vec![true; groups.len()];
    for wanted in wanted {
        let converter = converter(metadata, wanted)?;
        let (mins, maxes) = (converter.row_group_mins(groups)?, converter.row_group_maxes(groups)?);
        for (i, kept) in kept.iter_mut().enumerate() {
            *kept = *kept && may_match(&wanted.bound, value(&mins, i), value(&maxes, i));
        }
    }
    Ok((0..groups.len()).filter(|&i| kept[i]).collect())
}

/// The rows, counted through the row groups `groups`, of the pages whose statistics allow a wanted row; `None` for all of
/// them.
pub(crate) fn rows(
    metadata: &ArrowReaderMetadata,
    groups: &[usize],
    wanted: &[Wanted],
) -> Result<Option<RowSelection>, ParquetError> {
    let (Some(columns), Some(offsets)) = (metadata.metadata().column_index(), metadata.metadata().offset_index())
    else {
        return Ok(None);
    };
    let mut selection: Option<RowSelection> = None;
    for wanted in wanted {
        let converter = converter(metadata, wanted)?;
        let Some(column) = converter.parquet_column_index() else { continue };
        let mins = converter.data_page_mins(columns, offsets, groups)?;
        let maxes = converter.data_page_maxes(columns, offsets, groups)?;
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let (mut before, mut page) = (0, 0);
        for &group in groups {
            let group_rows = metadata.metadata().row_group(group).num_rows() as usize;
            let pages = offsets[group][column].page_locations();
            for (i, location) in pages.iter().enumerate() {
                let end = pages.get(i + 1).map_or(group_rows, |next| next.first_row_index as usize);
                if may_match(&wanted.bound, value(&mins, page), value(&maxes, page)) {
                    ranges.push(before + location.first_row_index as usize..before + end);
                }
                page += 1;
            }
            before += group_rows;
        }
        let of_column = RowSelection::from_consecutive_ranges(ranges.into_iter(), before);
        selection = Some(match selection {
            Some(selection) => selection.intersection(&of_column),
            None => of_column,
        });
    }
    Ok(selection)
}

/// The bytes that hold the selected rows of row groups in these columns (all if `None`): their pages, and the dictionaries of those.
pub(crate) fn ranges(
    metadata: &ArrowReaderMetadata,
    groups: &[usize],
    wanted: Option<&[usize]>,
    selection: Option<&RowSelection>,
) -> Vec<Range<u64>> {
    let metadata = metadata.metadata();
    let mut left = selection.cloned();
    let mut ranges = Vec::new();
    for &group in groups {
        let of_group = metadata.row_group(group);
        let selected = left.as_mut().map(|left| left.split_off(of_group.num_rows() as usize));
        for (i, column) in of_group.columns().iter().enumerate() {
            if wanted.is_some_and(|wanted| !wanted.contains(&i)) {
                continue;
            }
            let (start, bytes) = column.byte_range();
            match (&selected, metadata.offset_index()) {
                (Some(selected), Some(offsets)) => {
                    let pages = offsets[group][i].page_locations();
                    let first = pages.first().map_or(start, |page| page.offset.unsigned_abs());
                    ranges.push(start..first.max(start));
                    ranges.extend(selected.scan_ranges(pages));
                }
                _ => ranges.push(start..start.saturating_add(bytes)),
            }
        }
    }
    ranges.retain(|range| !range.is_empty());
    ranges
}

/// The index of a wanted column in the file, if a bloom filter can help with what is wanted of it.
pub(crate) fn bloom_column(metadata: &ArrowReaderMetadata, wanted: &Wanted) -> Option<usize> {
    let (column, field) = metadata.schema().column_with_name(&wanted.column)?;
    (matches!(wanted.bound, KeyBound::In(_)) && has_bloom_filter(field.data_type())).then_some(column)
}

/// Whether a row group with this bloom filter may hold a wanted row.
pub(crate) fn bloom_allows(metadata: &ArrowReaderMetadata, wanted: &Wanted, filter: &Sbbf) -> bool {
    let (KeyBound::In(values), Some((_, field))) = (&wanted.bound, metadata.schema().column_with_name(&wanted.column))
    else {
        return true;
    };
    values.iter().any(|value| match (value, field.data_type()) {
        (Value::Text(text), _) => filter.check(text.as_str()),
        (Value::Int(int), DataType::Int32) => i32::try_from(*int).is_ok_and(|int| filter.check(&int)),
        (Value::Int(int), DataType::Int64) => filter.check(int),
        (Value::Timestamp(micros), DataType::Timestamp(TimeUnit::Microsecond, _)) => filter.check(micros),
        (Value::Date(days), DataType::Date32) => filter.check(days),
        _ => true,
    })
}

fn converter<'a>(metadata: &'a ArrowReaderMetadata, wanted: &Wanted) -> Result<StatisticsConverter<'a>, ParquetError> {
    StatisticsConverter::try_new(&wanted.column, metadata.schema(), metadata.parquet_schema())
}

/// A bound that statistics give; `None` if they say nothing.
fn value(statistics: &dyn Array, i: usize) -> Option<Value> {
    if statistics.is_null(i) {
        return None;
    }
    Some(match statistics.data_type() {
        DataType::Boolean => Value::Boolean(statistics.as_boolean().value(i)),
        DataType::Int32 => Value::Int(i64::from(statistics.as_primitive::<Int32Type>().value(i))),
        DataType::Int64 => Value::Int(statistics.as_primitive::<Int64Type>().value(i)),
        DataType::Float64 => Value::Double(statistics.as_primitive::<Float64Type>().value(i)),
        DataType::Decimal128(..) => Value::Decimal(statistics.as_primitive::<Decimal128Type>().value(i)),
        DataType::Utf8 => Value::Text(statistics.as_string::<i32>().value(i).to_owned()),
        DataType::LargeUtf8 => Value::Text(statistics.as_string::<i64>().value(i).to_owned()),
        DataType::Utf8View => Value::Text(statistics.as_string_view().value(i).to_owned()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Value::Timestamp(statistics.as_primitive::<TimestampMicrosecondType>().value(i))
        }
        DataType::Date32 => Value::Date(statistics.as_primitive::<Date32Type>().value(i)),
        _ => return None,
    })
}

/// Whether a value between `min` and `max` may be wanted.
fn may_match(bound: &KeyBound, min: Option<Value>, max: Option<Value>) -> bool {
    // Statistics leave out NaN, which is greater than every number: of doubles, the greatest is never known.
    let max = max.filter(|max| !matches!(max, Value::Double(_)));
    let at_least_min = |value: &Value, inclusive: bool| match min.as_ref().and_then(|min| compare(value, min)) {
        Some(Ordering::Less) => false,
        Some(Ordering::Equal) => inclusive,
        _ => true,
    };
    let at_most_max = |value: &Value, inclusive: bool| match max.as_ref().and_then(|max| compare(value, max)) {
        Some(Ordering::Greater) => false,
        Some(Ordering::Equal) => inclusive,
        _ => true,
    };
    match bound {
        KeyBound::Any => true,
        KeyBound::In(values) => values.iter().any(|value| at_least_min(value, true) && at_most_max(value, true)),
        KeyBound::Range { lower, upper } => {
            lower.as_ref().is_none_or(|(lower, inclusive)| at_most_max(lower, *inclusive))
                && upper.as_ref().is_none_or(|(upper, inclusive)| at_least_min(upper, *inclusive))
        }
    }
}

/// The order of two values of one type; `None` if they are not, which proves nothing.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => match (a.is_nan(), b.is_nan()) {
            (false, false) => a.partial_cmp(b),
            (a, b) => Some(a.cmp(&b)),
        },
        (Value::Decimal(a), Value::Decimal(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(lower: Option<(i64, bool)>, upper: Option<(i64, bool)>) -> KeyBound {
        let value = |bound: Option<(i64, bool)>| bound.map(|(value, inclusive)| (Value::Int(value), inclusive));
        KeyBound::Range { lower: value(lower), upper: value(upper) }
    }

    #[test]
    fn bounds_are_compared_with_statistics() {
        let (min, max) = (Some(Value::Int(10)), Some(Value::Int(20)));
        let check = |bound: &KeyBound| may_match(bound, min.clone(), max.clone());
        assert!(check(&KeyBound::In(vec![Value::Int(9), Value::Int(10)])));
        assert!(!check(&KeyBound::In(vec![Value::Int(9), Value::Int(21)])));
        assert!(check(&range(Some((20, true)), None)));
        assert!(!check(&range(Some((20, false)), None)));
        assert!(check(&range(None, Some((10, true)))));
        assert!(!check(&range(None, Some((10, false)))));
        assert!(check(&range(Some((11, false)), Some((12, false)))));
        // Nothing known, or another type: kept.
        assert!(may_match(&range(Some((1, true)), None), None, None));
        assert!(check(&KeyBound::In(vec![Value::Text("x".to_owned())])));
    }

    #[test]
    fn nan_may_hide_above_the_greatest_double() {
        let bound = KeyBound::Range { lower: Some((Value::Double(5.0), true)), upper: None };
        assert!(may_match(&bound, Some(Value::Double(1.0)), Some(Value::Double(2.0))));
        let bound = KeyBound::Range { lower: None, upper: Some((Value::Double(0.0), true)) };
        assert!(!may_match(&bound, Some(Value::Double(1.0)), Some(Value::Double(2.0))));
    }
}
