//! Column types, scalar values and schemas.

use std::fmt;

use polars::prelude as pl;
use serde::{Deserialize, Serialize};

/// A column's type. Every type may be NULL unless its [`Field`] says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum DataType {
    /// `BOOLEAN`
    Boolean,
    /// `INT`: 32 bits, signed.
    Int,
    /// `BIGINT`: 64 bits, signed.
    BigInt,
    /// `DOUBLE`: IEEE 754 binary64; −0.0 and NaN are canonical; NaN equals itself and is greater than every number.
    Double,
    /// `DECIMAL(precision, scale)`: at most 38 digits.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// `TEXT`: UTF-8.
    Text,
    /// `TIMESTAMP`: microseconds since 1970-01-01 UTC.
    Timestamp,
    /// `DATE`: days since 1970-01-01.
    Date,
    /// `JSON`: kept as the text that came.
    Json,
}

impl DataType {
    /// The polars type that columns of this type have. Decimals carry precision 38.
    pub fn to_polars(self) -> pl::DataType {
        match self {
            DataType::Boolean => pl::DataType::Boolean,
            DataType::Int => pl::DataType::Int32,
            DataType::BigInt => pl::DataType::Int64,
            DataType::Double => pl::DataType::Float64,
            DataType::Decimal { scale, .. } => pl::DataType::Decimal(38, usize::from(scale)),
            DataType::Text | DataType::Json => pl::DataType::String,
            DataType::Timestamp => pl::DataType::Datetime(pl::TimeUnit::Microseconds, None),
            DataType::Date => pl::DataType::Date,
        }
    }

    /// Whether arithmetic is defined on it.
    pub fn is_numeric(self) -> bool {
        matches!(self, DataType::Int | DataType::BigInt | DataType::Double | DataType::Decimal { .. })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Boolean => f.write_str("BOOLEAN"),
            DataType::Int => f.write_str("INT"),
            DataType::BigInt => f.write_str("BIGINT"),
            DataType::Double => f.write_str("DOUBLE"),
            DataType::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            DataType::Text => f.write_str("TEXT"),
            DataType::Timestamp => f.write_str("TIMESTAMP"),
            DataType::Date => f.write_str("DATE"),
            DataType::Json => f.write_str("JSON"),
        }
    }
}

/// One scalar. Its SQL type is known from where it stands; `Int` serves `INT` and `BIGINT`, `Text` serves `TEXT` and `JSON`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// `BOOLEAN`
    Boolean(bool),
    /// `INT` or `BIGINT`
    Int(i64),
    /// `DOUBLE`
    Double(f64),
    /// `DECIMAL`: the unscaled integer; the scale is the type's.
    Decimal(i128),
    /// `TEXT` or `JSON`
    Text(String),
    /// Microseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
}

/// A named, typed column.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    /// Column name; unique in its schema.
    pub name: String,
    /// Column type.
    pub data_type: DataType,
    /// `false` for `NOT NULL`.
    pub nullable: bool,
}

/// Columns in order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Schema {
    /// The columns.
    pub fields: Vec<Field>,
}

impl Schema {
    /// The index of the column `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    /// An empty data frame with these columns.
    pub fn to_empty_frame(&self) -> pl::DataFrame {
        pl::DataFrame::empty_with_schema(&self.to_polars())
    }

    /// The same as a polars schema.
    pub fn to_polars(&self) -> pl::Schema {
        self.fields.iter().map(|f| pl::Field::new(f.name.as_str().into(), f.data_type.to_polars())).collect()
    }
}
