//! Frames as a plan's schemas name them.

use polars::prelude::{Column, DataFrame, Scalar};

use crate::{
    decode::ColumnSet,
    error::PipelineError,
    types::{DataType, Schema},
};

/// The frame with the schema's column names; an error if its types are not the schema's.
pub(super) fn conform(mut frame: DataFrame, schema: &Schema) -> Result<DataFrame, PipelineError> {
    let expected = schema.fields.iter().map(|f| f.data_type.to_polars());
    let same = frame.width() == schema.fields.len() && frame.dtypes().into_iter().eq(expected);
    if !same {
        return Err(PipelineError::Stored(format!(
            "expected the columns {:?}, found {:?}",
            schema.to_polars(),
            frame.schema()
        )));
    }
    let names: Vec<&str> = schema.fields.iter().map(|f| f.name.as_str()).collect();
    if !frame.get_column_names().iter().map(|name| name.as_str()).eq(names.iter().copied()) {
        frame.set_column_names(&names)?;
    }
    Ok(frame)
}

/// A frame of all of the schema's columns, or of those in `columns` alone: then the others are there without values.
pub(super) fn widened(frame: DataFrame, schema: &Schema, columns: &ColumnSet) -> Result<DataFrame, PipelineError> {
    if frame.width() == schema.fields.len() {
        return conform(frame, schema);
    }
    let given = Schema { fields: columns.iter().filter_map(|i| schema.fields.get(i)).cloned().collect() };
    let height = frame.height();
    let mut given = conform(frame, &given)?.into_columns().into_iter();
    let column = |(i, field): (usize, &crate::types::Field)| {
        let value = if columns.contains(i) { given.next() } else { None };
        value.unwrap_or_else(|| absent(&field.name, field.data_type, height))
    };
    Ok(DataFrame::new(height, schema.fields.iter().enumerate().map(column).collect())?)
}

/// A column that nobody looks at. It takes no memory.
pub(super) fn absent(name: &str, data_type: DataType, height: usize) -> Column {
    Column::new_scalar(name.into(), Scalar::null(data_type.to_polars()), height)
}

/// The rows of both frames, which have the same columns; without columns, as many rows.
pub fn below(mut above: DataFrame, more: DataFrame) -> Result<DataFrame, PipelineError> {
    if above.width() == 0 && more.width() == 0 {
        return Ok(DataFrame::new(above.height() + more.height(), Vec::new())?);
    }
    above.vstack_mut_owned(more)?;
    Ok(above)
}
