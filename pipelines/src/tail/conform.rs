//! Frames as a plan's schemas name them.

use polars::prelude::DataFrame;

use crate::{error::PipelineError, types::Schema};

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
