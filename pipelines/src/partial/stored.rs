//! Finished rows straight from what is stored, where it says all: without making partials of it and finishing those again.

use std::{cmp::Ordering, ops::Range};

use polars::prelude::{BooleanChunked, Column, DataFrame, NewChunkedArray};

use super::{
    CoreKernel, Partials,
    finish::window_ends,
    reduction::Call,
    storage::{TableLayout, column, keys_of, rest_column, state_column},
};
use crate::{
    aggregate::Stored,
    columns::TypedColumn,
    decode::ColumnSet,
    error::PipelineError,
    key::{KeyBound, KeyFilter, encode_cell, encode_value},
    source::ViewCounts,
    types::Field,
};

/// Columns of the groups' table, as it is stored.
#[derive(Clone, Debug, Default)]
pub struct StoredColumns {
    /// What finished rows are, where every value says all.
    pub rows: Vec<String>,
    /// Those of them in which a NULL may not say all.
    pub doubts: Vec<String>,
    /// What partials are made of.
    pub partials: Vec<String>,
    /// Values, and the states among [`StoredColumns::partials`] that are not needed where none of those values is NULL.
    pub of_overflow: Vec<(String, String)>,
    /// Whether all columns of the finished rows were asked for.
    pub are_all: bool,
}

/// The first number for which `holds` does, as it does for all that follow; the end if there is none.
fn first(range: Range<usize>, mut holds: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        match holds(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
}

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

    /// The columns of the groups' table that these columns of the finished rows need.
    pub fn stored_columns(&self, columns: &ColumnSet) -> StoredColumns {
        let (keys, needed) = (&self.inner.plan.keys, self.aggregates_in(columns));
        let calls = self.inner.plan.calls.iter().zip(&self.inner.plan.prototypes).enumerate();
        let mut stored =
            StoredColumns { partials: keys.iter().map(|key| key.name.clone()).collect(), ..StoredColumns::default() };
        for (i, key) in keys.iter().enumerate() {
            let ends = self.inner.window_key == Some(i) && columns.contains(keys.len());
            if columns.contains(i) || ends {
                stored.rows.push(key.name.clone());
            }
        }
        for (_, (call, state)) in calls.filter(|(i, _)| needed.contains(*i)) {
            stored.rows.push(call.name.clone());
            stored.partials.push(call.name.clone());
            let of_states = state_column(&call.name);
            match state.stored() {
                Stored::Finished => continue,
                // The sum of some doubles is never NULL.
                Stored::FinishedAndRest => stored.partials.push(rest_column(&call.name)),
                Stored::FinishedUnlessOverflow => {
                    stored.doubts.push(call.name.clone());
                    stored.of_overflow.push((call.name.clone(), of_states.clone()));
                }
                Stored::States => stored.doubts.push(call.name.clone()),
            }
            stored.partials.push(of_states);
        }
        stored.are_all = *columns == self.all_columns();
        stored
    }

    /// Of a stored table's rows, sorted by key, the stretch with the values that `filter` (of partials' keys) wants of the first key
    /// columns, as far as it wants one of each.
    pub fn stretch(&self, frame: DataFrame, filter: &KeyFilter) -> Result<DataFrame, PipelineError> {
        let mut wanted = Vec::new();
        for (key, bound) in self.inner.plan.keys.iter().zip(&filter.columns) {
            let KeyBound::In(values) = bound else { break };
            let ([value], Ok(column)) = (values.as_slice(), frame.column(&key.name)) else { break };
            let mut cell = Vec::new();
            if column.dtype() != &key.data_type.to_polars() || encode_value(value, key.data_type, &mut cell).is_none() {
                break;
            }
            wanted.push((TypedColumn::new(column)?, cell));
        }
        if wanted.is_empty() {
            return Ok(frame);
        }
        let mut cell = Vec::new();
        let mut compare = |row: usize| {
            for (column, wanted) in &wanted {
                cell.clear();
                encode_cell(column, row, &mut cell);
                match cell.cmp(wanted) {
                    Ordering::Equal => {}
                    other => return other,
                }
            }
            Ordering::Equal
        };
        let start = first(0..frame.height(), |row| compare(row) != Ordering::Less);
        let end = first(start..frame.height(), |row| compare(row) == Ordering::Greater);
        Ok(frame.slice(start as i64, end - start))
    }

    /// Divides stored rows, if [`CoreKernel::stores_finished`]: into finished rows, and partials of those whose keys are in `others` or
    /// whose stored values do not say all (a sum that does not fit its type). Both have what the columns `columns` of the finished rows
    /// need, the rows those columns alone. The frame has [`StoredColumns::partials`], or what is enough.
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
            let others = &others.tables[0].keys;
            let mut at = 0;
            for key in (others.lower_bound(keys.get(0))..others.len()).map(|i| others.get(i)) {
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
        let partials = self.from_frames_of(vec![frame.filter_seq(&apart)?], ViewCounts::default(), columns)?;
        Ok((self.finished_rows(layout, &frame.filter_seq(&!&apart)?, columns)?, partials))
    }

    /// The rows of which a finished value is NULL beside a state, if there are any.
    fn unsaid(
        &self,
        layout: &TableLayout,
        frame: &DataFrame,
        columns: &ColumnSet,
    ) -> Result<Option<Vec<bool>>, PipelineError> {
        let mut apart: Option<Vec<bool>> = None;
        for value in self.stored_columns(columns).doubts {
            let finished = column(layout, frame, &value)?;
            let Ok(states) = frame.column(&state_column(&value)) else { continue };
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
