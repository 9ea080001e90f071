//! Values that accumulators keep: of any column type.

use std::{cmp::Ordering, fmt::Debug};

use polars::prelude::Column;
use polars_arrow::trusted_len::TrustedLen;

use crate::{
    aggregate::accumulator::wrong_argument,
    columns::{self, TypedColumn, Values, canonical_double},
    error::PipelineError,
    key::{decode_value, encode_value},
    types::{DataType, Value},
};

/// A value that is not NULL. Its encoding is that of keys ([`crate::key`]).
pub(super) trait Scalar: Clone + Debug + Send + Sync + 'static {
    /// A type with this encoding.
    const TYPE: DataType;
    /// The value, borrowed.
    type View<'a>: Copy;
    fn view(&self) -> Self::View<'_>;
    fn own(view: Self::View<'_>) -> Self;
    /// NaN equals itself and is greatest.
    fn compare(a: Self::View<'_>, b: Self::View<'_>) -> Ordering;
    /// Reads rows of a column.
    fn reader<'a>(column: &'a TypedColumn) -> Result<impl Fn(usize) -> Self::View<'a> + 'a, PipelineError>;
    fn to_value(&self) -> Value;
    fn from_value(value: Value) -> Option<Self>;
    fn column<'a>(name: &str, data_type: DataType, values: impl TrustedLen<Item = Option<&'a Self>> + Clone) -> Column;

    fn encode(&self, into: &mut Vec<u8>) {
        let encoded = encode_value(&self.to_value(), Self::TYPE, into);
        debug_assert!(encoded.is_some());
    }

    /// Takes an encoding off the front; `Some(None)` is NULL. A value has one encoding: others of the same value are refused.
    fn decode(bytes: &mut &[u8]) -> Option<Option<Self>> {
        let whole = *bytes;
        let value = decode_value(bytes, Self::TYPE).ok()?;
        let mut again = Vec::new();
        encode_value(&value, Self::TYPE, &mut again)?;
        if again != whole[..whole.len() - bytes.len()] {
            return None;
        }
        match value {
            Value::Null => Some(None),
            value => Self::from_value(value).map(Some),
        }
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

macro_rules! plain_scalar {
    ($type:ty, $variant:ident, $data_type:expr, $compare:expr, $canonical:expr, $to:expr, $from:pat => $value:expr, $make:expr) => {
        impl Scalar for $type {
            const TYPE: DataType = $data_type;
            type View<'a> = $type;

            #[inline]
            fn view(&self) -> $type {
                *self
            }

            #[inline]
            fn own(view: $type) -> $type {
                view
            }

            #[inline]
            fn compare(a: $type, b: $type) -> Ordering {
                $compare(&a, &b)
            }

            fn reader<'a>(column: &'a TypedColumn) -> Result<impl Fn(usize) -> $type + 'a, PipelineError> {
                let Values::$variant(values) = &column.values else { return Err(wrong_argument()) };
                let values = values.values().as_slice();
                Ok(move |row: usize| $canonical(values[row]))
            }

            fn to_value(&self) -> Value {
                $to(*self)
            }

            fn from_value(value: Value) -> Option<$type> {
                match value {
                    $from => $value,
                    _ => None,
                }
            }

            fn column<'a>(
                name: &str,
                data_type: DataType,
                values: impl TrustedLen<Item = Option<&'a Self>> + Clone,
            ) -> Column {
                let validity = columns::bitmap(values.clone().map(|v| v.is_some()));
                $make(name, data_type, values.map(|v| v.copied().unwrap_or_default()).collect(), validity)
            }
        }
    };
}

fn same<T>(x: T) -> T {
    x
}

plain_scalar!(i32, Int, DataType::Int, i32::cmp, same, |v| Value::Int(i64::from(v)),
    Value::Int(v) => i32::try_from(v).ok(), columns::int_column);
plain_scalar!(i64, BigInt, DataType::BigInt, i64::cmp, same, Value::Int, Value::Int(v) => Some(v), columns::bigint_column);
plain_scalar!(i128, Decimal, DataType::Decimal { precision: 38, scale: 0 }, i128::cmp, same, Value::Decimal,
    Value::Decimal(v) => Some(v), columns::decimal_column);
// Without the negative NaN and zero the total order is SQL's.
plain_scalar!(f64, Double, DataType::Double, f64::total_cmp, canonical_double, Value::Double, Value::Double(v) => Some(v),
    |name: &str, _, values: Vec<f64>, validity| columns::double_column(name, values, validity));

/// A `DECIMAL` of so few digits that 64 bits hold it: half the memory of a group's state.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortDecimal(i64);

impl ShortDecimal {
    /// Digits that always fit.
    pub(super) const DIGITS: u8 = 18;
}

impl Scalar for ShortDecimal {
    const TYPE: DataType = <i128 as Scalar>::TYPE;
    type View<'a> = i64;

    #[inline]
    fn view(&self) -> i64 {
        self.0
    }

    #[inline]
    fn own(view: i64) -> ShortDecimal {
        ShortDecimal(view)
    }

    #[inline]
    fn compare(a: i64, b: i64) -> Ordering {
        a.cmp(&b)
    }

    fn reader<'a>(column: &'a TypedColumn) -> Result<impl Fn(usize) -> i64 + 'a, PipelineError> {
        let Values::Decimal(values) = &column.values else { return Err(wrong_argument()) };
        let values = values.values().as_slice();
        let is_long = |(row, value): (usize, &i128)| i64::try_from(*value).is_err() && column.is_valid(row);
        if values.iter().enumerate().any(is_long) {
            return Err(PipelineError::Stored("a decimal has more digits than its type".to_owned()));
        }
        Ok(move |row: usize| values[row] as i64)
    }

    fn to_value(&self) -> Value {
        Value::Decimal(i128::from(self.0))
    }

    fn from_value(value: Value) -> Option<ShortDecimal> {
        if let Value::Decimal(value) = value { i64::try_from(value).ok().map(ShortDecimal) } else { None }
    }

    fn column<'a>(name: &str, data_type: DataType, values: impl TrustedLen<Item = Option<&'a Self>> + Clone) -> Column {
        let validity = columns::bitmap(values.clone().map(|v| v.is_some()));
        let values = values.map(|v| v.map_or(0, |v| i128::from(v.0)));
        columns::decimal_column(name, data_type, values.collect(), validity)
    }
}

impl Scalar for bool {
    const TYPE: DataType = DataType::Boolean;
    type View<'a> = bool;

    fn view(&self) -> bool {
        *self
    }

    fn own(view: bool) -> bool {
        view
    }

    fn compare(a: bool, b: bool) -> Ordering {
        a.cmp(&b)
    }

    fn reader<'a>(column: &'a TypedColumn) -> Result<impl Fn(usize) -> bool + 'a, PipelineError> {
        let Values::Boolean(values) = &column.values else { return Err(wrong_argument()) };
        Ok(move |row| values.value(row))
    }

    fn to_value(&self) -> Value {
        Value::Boolean(*self)
    }

    fn from_value(value: Value) -> Option<bool> {
        if let Value::Boolean(b) = value { Some(b) } else { None }
    }

    fn column<'a>(
        name: &str,
        _data_type: DataType,
        values: impl TrustedLen<Item = Option<&'a Self>> + Clone,
    ) -> Column {
        columns::boolean_column(name, values.map(|v| v.copied()))
    }
}

impl Scalar for Box<str> {
    const TYPE: DataType = DataType::Text;
    type View<'a> = &'a str;

    fn view(&self) -> &str {
        self
    }

    fn own(view: &str) -> Box<str> {
        view.into()
    }

    fn compare(a: &str, b: &str) -> Ordering {
        a.cmp(b)
    }

    fn reader<'a>(column: &'a TypedColumn) -> Result<impl Fn(usize) -> &'a str + 'a, PipelineError> {
        let Values::Text(values) = &column.values else { return Err(wrong_argument()) };
        Ok(move |row| values.value(row))
    }

    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }

    fn from_value(value: Value) -> Option<Box<str>> {
        if let Value::Text(text) = value { Some(text.into()) } else { None }
    }

    fn column<'a>(
        name: &str,
        _data_type: DataType,
        values: impl TrustedLen<Item = Option<&'a Self>> + Clone,
    ) -> Column {
        columns::text_column(name, values.map(|v| v.map(|text| &**text)))
    }

    fn heap_bytes(&self) -> usize {
        self.len() + 16
    }
}
