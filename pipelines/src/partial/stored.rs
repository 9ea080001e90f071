//! Finished rows straight from what is stored, where it says all: without making partials of it and finishing those again.

use std::iter;

use polars::prelude::{BooleanChunked, Column, DataFrame, NewChunkedArray};

use super::{
    CoreKernel, Partials,
    finish::window_ends,
    reduction::Call,
    storage::{TableLayout, column, keys_of, state_column},
};
use crate::{decode::ColumnSet, error::PipelineError, source::ViewCounts, types::Field};

impl CoreKernel {
    /// Whether what is stored has the finished rows as they are in [`CoreKernel::finish`]. Overlapping windows are each of several stored
    /// rows, without keys there is a row even of nothing, and a `COUNT(DISTINCT)` has a table of its own.
    pub fn stores_finished(&self) -> bool {
        let inner = &self.inner;
        let overlap = inner.core().window.as_ref().is_some_and(|window| window.is_hopping());
        let distinct = inner.plan.calls.iter().any(|call| call.distinct.is_some());
        !overlap && !distinct && !inner.plan.keys.is_empty()
    }

    /// Whether anything of a table is needed for these columns of the finished rows.
    pub fn needs_table(&self, table: usize, columns: &ColumnSet) -> bool {
        let aggregates = self.aggregates_in(columns);
        let needs = |(i, call): (usize, &Call)| call.distinct == Some(table) && aggregates.contains(i);
        table == 0 || self.inner.plan.calls.iter().enumerate().any(needs)
    }

    /// The columns of the groups' table that partials are made of, as far as these columns of the finished rows need them.
    pub fn stored_partials(&self, columns: &ColumnSet) -> Vec<String> {
        let keys = self.inner.plan.keys.iter().map(|key| key.name.clone());
        keys.chain(self.value_columns(columns).flat_map(|(value, state)| iter::once(value).chain(state))).collect()
    }

    /// The columns of the groups' table that have these columns of the finished rows, if every value in them says all.
    pub fn stored_rows(&self, columns: &ColumnSet) -> Vec<String> {
        let keys = self.inner.plan.keys.iter().enumerate();
        let is_needed = |i: usize| {
            let ends = self.inner.window_key == Some(i) && columns.contains(self.inner.plan.keys.len());
            columns.contains(i) || ends
        };
        let keys = keys.filter(|(i, _)| is_needed(*i)).map(|(_, key)| key.name.clone());
        keys.chain(self.value_columns(columns).map(|(value, _)| value)).collect()
    }

    /// Those of [`CoreKernel::stored_rows`] in which a NULL may not say all.
    pub fn stored_doubts(&self, columns: &ColumnSet) -> Vec<String> {
        self.value_columns(columns).filter_map(|(value, state)| state.map(|_| value)).collect()
    }

    /// The columns with values and states of the aggregates that are needed.
    fn value_columns<'a>(&'a self, columns: &ColumnSet) -> impl Iterator<Item = (String, Option<String>)> + use<'a> {
        let needed = self.aggregates_in(columns);
        let calls = self.inner.plan.calls.iter().zip(&self.inner.plan.prototypes).enumerate();
        calls
            .filter(move |(i, _)| needed.contains(*i))
            .map(|(_, (call, state))| (call.name.clone(), state.has_states().then(|| state_column(&call.name))))
    }

    /// Divides stored rows, if [`CoreKernel::stores_finished`]: into finished rows, and partials of those whose keys are in `others` or
    /// whose stored values do not say all (a sum that does not fit its type). Both have what the columns `columns` of the finished rows
    /// need, the rows those columns alone. The frame has [`CoreKernel::stored_partials`]; if `others` are empty and no column of
    /// [`CoreKernel::stored_doubts`] has a NULL, [`CoreKernel::stored_rows`] are enough.
    pub fn divide_stored(
        &self,
        frame: DataFrame,
        columns: &ColumnSet,
        others: &Partials,
    ) -> Result<(DataFrame, Partials), PipelineError> {
        let layout = &self.tables()[0];
        let mut apart = self.unsaid(layout, &frame, columns)?;
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
        let Some(apart) = apart else { return Ok((self.finished_rows(layout, &frame, columns)?, self.empty())) };
        let apart = BooleanChunked::from_slice("apart".into(), &apart);
        let partials = self.from_frames_of(vec![frame.filter(&apart)?], ViewCounts::default(), columns)?;
        Ok((self.finished_rows(layout, &frame.filter(&!&apart)?, columns)?, partials))
    }

    /// The rows of which a finished value is NULL beside a state, if there are any.
    fn unsaid(
        &self,
        layout: &TableLayout,
        frame: &DataFrame,
        columns: &ColumnSet,
    ) -> Result<Option<Vec<bool>>, PipelineError> {
        let mut apart: Option<Vec<bool>> = None;
        for (value, state) in self.value_columns(columns) {
            let finished = column(layout, frame, &value)?;
            let Some(Ok(states)) = state.map(|state| frame.column(&state)) else { continue };
            if finished.null_count() == 0 || states.null_count() == frame.height() {
                continue;
            }
            let unsaid = &finished.is_null() & &states.is_not_null();
            let apart = apart.get_or_insert_with(|| vec![false; frame.height()]);
            apart.iter_mut().zip(unsaid.iter()).for_each(|(apart, unsaid)| *apart |= unsaid.unwrap_or(false));
        }
        Ok(apart)
    }

    /// The finished rows' columns that are needed.
    fn finished_rows(
        &self,
        layout: &TableLayout,
        frame: &DataFrame,
        columns: &ColumnSet,
    ) -> Result<DataFrame, PipelineError> {
        // The file may know a decimal's own precision.
        let stored = |field: &Field| -> Result<Column, PipelineError> {
            let (column, wanted) = (column(layout, frame, &field.name)?, field.data_type.to_polars());
            Ok(if *column.dtype() == wanted { column.clone() } else { column.cast(&wanted)? })
        };
        let inner = &self.inner;
        let (keys, first) = (layout.key_columns, self.first_aggregate());
        let mut rows = Vec::new();
        for place in columns.iter() {
            rows.push(match (&inner.clock, &inner.core().window, inner.window_key) {
                (Some(clock), Some(window), Some(key)) if place == keys => {
                    window_ends(&stored(&layout.schema.fields[key])?, clock)?
                }
                _ if place < keys => stored(&layout.schema.fields[place])?,
                _ => stored(&layout.schema.fields[place - first + keys])?,
            });
        }
        Ok(DataFrame::new(frame.height(), rows)?)
    }
}
