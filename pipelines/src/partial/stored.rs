//! Finished rows straight from what is stored, where it says all: without making partials of it and finishing those again.

use polars::prelude::{BooleanChunked, Column, DataFrame, NewChunkedArray};

use super::{
    CoreKernel, Partials,
    finish::{self, window_ends},
    storage::{TableLayout, column, keys_of, state_column},
};
use crate::{error::PipelineError, source::ViewCounts};

impl CoreKernel {
    /// Whether what is stored has the finished rows as they are in [`CoreKernel::finish`]. Overlapping windows are each of several stored
    /// rows, without keys there is a row even of nothing, and a `COUNT(DISTINCT)` has a table of its own.
    pub fn stores_finished(&self) -> bool {
        let inner = &self.inner;
        let overlap = inner.core().window.as_ref().is_some_and(|window| window.is_hopping());
        let distinct = inner.plan.calls.iter().any(|call| call.distinct.is_some());
        !overlap && !distinct && !inner.plan.keys.is_empty()
    }

    /// Divides stored rows, if [`CoreKernel::stores_finished`]: into finished rows, and partials of those whose keys are in `others` or
    /// whose stored values do not say all (a sum that does not fit its type).
    pub fn divide_stored(&self, frame: DataFrame, others: &Partials) -> Result<(DataFrame, Partials), PipelineError> {
        let layout = &self.tables()[0];
        let mut apart = self.unsaid(layout, &frame)?;
        if !others.is_empty() && frame.height() > 0 {
            let keys = keys_of(layout, &frame)?;
            let mut at = 0;
            for key in others.tables[0].keys.iter() {
                at = keys.gallop(at, key);
                if at == keys.len() {
                    break;
                }
                if keys.get(at) == key {
                    apart.get_or_insert_with(|| vec![false; frame.height()])[at] = true;
                }
            }
        }
        let Some(apart) = apart else { return Ok((self.finished_rows(layout, &frame)?, self.empty())) };
        let apart = BooleanChunked::from_slice("apart".into(), &apart);
        let partials = self.from_frames(vec![frame.filter(&apart)?], ViewCounts::default())?;
        Ok((self.finished_rows(layout, &frame.filter(&!&apart)?)?, partials))
    }

    /// The rows of which a finished value is NULL beside a state, if there are any.
    fn unsaid(&self, layout: &TableLayout, frame: &DataFrame) -> Result<Option<Vec<bool>>, PipelineError> {
        let mut apart: Option<Vec<bool>> = None;
        for call in &self.core().aggregates {
            let finished = column(layout, frame, &call.name)?;
            let Ok(states) = frame.column(&state_column(&call.name)) else { continue };
            if finished.null_count() == 0 || states.null_count() == frame.height() {
                continue;
            }
            let unsaid = &finished.is_null() & &states.is_not_null();
            let apart = apart.get_or_insert_with(|| vec![false; frame.height()]);
            apart.iter_mut().zip(unsaid.iter()).for_each(|(apart, unsaid)| *apart |= unsaid.unwrap_or(false));
        }
        Ok(apart)
    }

    fn finished_rows(&self, layout: &TableLayout, frame: &DataFrame) -> Result<DataFrame, PipelineError> {
        // The file may know a decimal's own precision.
        let stored = |field: &crate::types::Field| -> Result<Column, PipelineError> {
            let (column, wanted) = (column(layout, frame, &field.name)?, field.data_type.to_polars());
            Ok(if *column.dtype() == wanted { column.clone() } else { column.cast(&wanted)? })
        };
        let columns = layout.schema.fields.iter().map(stored);
        let mut columns = columns.collect::<Result<Vec<Column>, PipelineError>>()?;
        let aggregates = columns.split_off(layout.key_columns);
        let inner = &self.inner;
        if let (Some(clock), Some(window), Some(key)) = (&inner.clock, &inner.core().window, inner.window_key) {
            columns.push(window_ends(&columns[key], clock)?);
        }
        finish::frame(frame.height(), columns, aggregates)
    }
}
