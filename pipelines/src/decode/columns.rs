//! The columns that a batch is built of.

use polars::prelude as pl;
use polars_arrow::array::MutableBooleanArray;

use super::{ColumnSet, RawRecord, record::Row, value::Slot};
use crate::{
    columns,
    expr::lanes::{Build, Numbers, TextBuilder},
    source::{APPEND_TIME_COLUMN, OFFSET_COLUMN, PARTITION_COLUMN, Source},
    types::DataType,
};

/// Builders of the columns that are needed.
pub(super) struct Columns<'s> {
    source: &'s Source,
    builders: Vec<(usize, Builder)>,
    offsets: Vec<i64>,
    append_times: Vec<i64>,
}

enum Builder {
    Boolean(MutableBooleanArray),
    Int(Numbers<i32>),
    BigInt(Numbers<i64>),
    Double(Numbers<f64>),
    Decimal(Numbers<i128>),
    Text(TextBuilder),
}

impl<'s> Columns<'s> {
    pub(super) fn new(source: &'s Source, needed: &ColumnSet, rows: usize) -> Columns<'s> {
        let fields = source.schema.fields.iter().enumerate().filter(|(index, _)| needed.contains(*index));
        let builders = fields
            .map(|(index, field)| {
                let builder = match field.data_type {
                    DataType::Boolean => Builder::Boolean(Build::with_capacity(rows)),
                    DataType::Int | DataType::Date => Builder::Int(Build::with_capacity(rows)),
                    DataType::BigInt | DataType::Timestamp => Builder::BigInt(Build::with_capacity(rows)),
                    DataType::Double => Builder::Double(Build::with_capacity(rows)),
                    DataType::Decimal { .. } => Builder::Decimal(Build::with_capacity(rows)),
                    DataType::Text | DataType::Json => Builder::Text(Build::with_capacity(rows)),
                };
                (index, builder)
            })
            .collect();
        Columns { source, builders, offsets: Vec::with_capacity(rows), append_times: Vec::with_capacity(rows) }
    }

    /// Appends an accepted record.
    #[inline]
    pub(super) fn push(&mut self, row: &Row<'_>, record: &RawRecord<'_>) {
        for (index, builder) in &mut self.builders {
            let slot = &row.slots[*index];
            match (builder, slot) {
                (Builder::Text(b), Slot::Plain { start, end }) => {
                    columns::push_text(b, row.text.as_bytes(), *start, *end, || row.text(slot));
                }
                (Builder::Text(b), Slot::Text(_) | Slot::Unescaped { .. }) => b.push_value(row.text(slot)),
                (Builder::Text(b), _) => b.push_null(),
                (Builder::BigInt(b), Slot::Integer(v)) => b.push_value(*v),
                (Builder::BigInt(b), _) => Build::push(b, None),
                // It was checked to be in range.
                (Builder::Int(b), Slot::Integer(v)) => b.push_value(*v as i32),
                (Builder::Int(b), _) => Build::push(b, None),
                (Builder::Double(b), Slot::Double(v)) => b.push_value(*v),
                (Builder::Double(b), _) => Build::push(b, None),
                (Builder::Decimal(b), Slot::Decimal(v)) => b.push_value(*v),
                (Builder::Decimal(b), _) => Build::push(b, None),
                (Builder::Boolean(b), Slot::Boolean(v)) => Build::push(b, Some(*v)),
                (Builder::Boolean(b), _) => Build::push(b, None),
            }
        }
        self.offsets.push(record.offset as i64);
        self.append_times.push(record.append_time_micros);
    }

    pub(super) fn finish(self, partition: u32) -> pl::DataFrame {
        let height = self.offsets.len();
        let mut columns = Vec::with_capacity(self.builders.len() + 3);
        for (index, builder) in self.builders {
            let field = &self.source.schema.fields[index];
            let mut column = match builder {
                Builder::Boolean(b) => Build::finish(b, field.data_type),
                Builder::Int(b) => Build::finish(b, field.data_type),
                Builder::BigInt(b) => Build::finish(b, field.data_type),
                Builder::Double(b) => Build::finish(b, field.data_type),
                Builder::Decimal(b) => Build::finish(b, field.data_type),
                Builder::Text(b) => Build::finish(b, field.data_type),
            };
            column.rename(field.name.as_str().into());
            columns.push(column);
        }
        columns.push(pl::Column::new_scalar(PARTITION_COLUMN.into(), pl::Scalar::from(partition as i32), height));
        for (name, values, data_type) in [
            (OFFSET_COLUMN, self.offsets, DataType::BigInt),
            (APPEND_TIME_COLUMN, self.append_times, DataType::Timestamp),
        ] {
            let mut column = Build::finish(Numbers::<i64>::from_vec(values), data_type);
            column.rename(name.into());
            columns.push(column);
        }
        pl::DataFrame::new(height, columns).expect("columns of one height, with the distinct names of a source")
    }
}
