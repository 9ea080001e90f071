//! From partials to finished rows.

use polars::prelude::{BooleanChunked, Column, DataFrame, DataType as PolarsType, IdxCa, IdxSize};

use crate::{
    columns::{self, TypedColumn, Values},
    core::WINDOW_END_COLUMN,
    decode::ColumnSet,
    error::{Failure, PipelineError},
    key::{ByteFilter, KeyBound, KeyFilter, encode_keys},
    partial::{
        CoreKernel, Partials, panes,
        reduction::{Plan, one_row_of_nothing},
    },
    tail::Budget,
    types::{DataType, Value},
    window::WindowClock,
};

impl CoreKernel {
    /// The finished rows ([`Core::output_schema`](crate::core::Core::output_schema)), sorted by key. A hopping window has a row if a pane
    /// in it has one. Without keys there is one row, even of nothing. Fails if an aggregate's result does not fit its type.
    pub fn finish(&self, partials: &Partials) -> Result<DataFrame, PipelineError> {
        self.finish_within(partials, &KeyFilter::all())
    }

    /// All columns of the finished rows.
    pub fn all_columns(&self) -> ColumnSet {
        (0..self.first_aggregate() + self.inner.plan.calls.len()).collect()
    }

    /// Where the aggregates begin among the columns of the finished rows.
    pub(super) fn first_aggregate(&self) -> usize {
        self.inner.plan.keys.len() + usize::from(self.core().window.is_some())
    }

    /// The aggregates among those columns of the finished rows.
    pub(super) fn aggregates_in(&self, columns: &ColumnSet) -> ColumnSet {
        let first = self.first_aggregate();
        columns.iter().filter_map(|column| column.checked_sub(first)).collect()
    }

    /// Key columns, the window's end, and those aggregates that are needed.
    fn finish_in(
        &self,
        partials: &Partials,
        aggregates: &ColumnSet,
        budget: &Budget<'_>,
    ) -> Result<DataFrame, PipelineError> {
        match (&self.inner.clock, &self.inner.core().window, self.inner.window_key) {
            (Some(clock), Some(window), Some(key)) if window.is_hopping() => {
                panes::finish(&self.inner.plan, partials, window, (clock, key), aggregates, budget)
            }
            (Some(clock), Some(_), Some(key)) => {
                let (mut columns, values) = self.groups(partials, aggregates)?;
                let end = window_ends(&columns[key], clock)?;
                columns.push(end);
                frame(partials.len(), columns, values)
            }
            _ if self.inner.plan.keys.is_empty() && partials.is_empty() => {
                let mut one = partials.clone();
                one_row_of_nothing(&self.inner.plan, &mut one.tables);
                let (columns, values) = self.groups(&one, aggregates)?;
                frame(1, columns, values)
            }
            _ => {
                let (columns, values) = self.groups(partials, aggregates)?;
                frame(partials.len(), columns, values)
            }
        }
    }

    /// [`CoreKernel::finish`] without the rows outside a filter of finished keys. `partials` may lack what
    /// [`CoreKernel::partials_filter`] of that filter leaves out.
    pub fn finish_within(&self, partials: &Partials, filter: &KeyFilter) -> Result<DataFrame, PipelineError> {
        self.finish_within_budget(partials, filter, &self.all_columns(), &Budget::unlimited())
    }

    /// Those columns of [`CoreKernel::finish_within`] that are needed, in order; ended with [`PipelineError::Exceeded`] where it would
    /// take more than the budget: few partials can be of very many windows that overlap. An aggregate that is not needed may be
    /// out of its type's range.
    pub fn finish_within_budget(
        &self,
        partials: &Partials,
        filter: &KeyFilter,
        columns: &ColumnSet,
        budget: &Budget<'_>,
    ) -> Result<DataFrame, PipelineError> {
        let mut frame = self.finish_in(partials, &self.aggregates_in(columns), budget)?;
        if !filter.is_all() {
            let keys = self.inner.plan.keys.len();
            let encoded = encode_keys(&frame.columns()[..keys], frame.height())?;
            let bytes = ByteFilter::new(filter, &self.inner.plan.key_types());
            let mask: BooleanChunked = encoded.iter().map(|key| bytes.contains(key)).collect();
            frame = frame.filter(&mask)?;
        }
        // Of keys and the window's end, too, only what is needed.
        if (0..self.first_aggregate()).all(|column| columns.contains(column)) {
            return Ok(frame);
        }
        let height = frame.height();
        let mut needed = frame.into_columns();
        let mut place = 0..self.first_aggregate();
        needed.retain(|_| place.next().is_none_or(|column| columns.contains(column)));
        Ok(DataFrame::new(height, needed)?)
    }

    /// The filter of partials' keys that keeps all that finished rows inside `filter` are made of: for hopping windows, bounds of
    /// the window's start become bounds of panes' starts.
    pub fn partials_filter(&self, filter: &KeyFilter) -> KeyFilter {
        let (Some(clock), Some(window), Some(key)) =
            (&self.inner.clock, &self.inner.core().window, self.inner.window_key)
        else {
            return filter.clone();
        };
        let mut filter = filter.clone();
        if !window.is_hopping() || filter.columns.len() <= key {
            return filter;
        }
        let time = |v: &Value| if let Value::Timestamp(at) = v { Some(*at) } else { None };
        let (lower, upper) = match &filter.columns[key] {
            KeyBound::Any => return filter,
            KeyBound::In(values) => {
                let times = || values.iter().filter_map(time);
                (times().min().map(|at| (at, true)), times().max())
            }
            KeyBound::Range { lower, upper } => (
                lower.as_ref().and_then(|(v, inclusive)| time(v).map(|at| (at, *inclusive))),
                upper.as_ref().and_then(|(v, _)| time(v)),
            ),
        };
        // The last window that starts at `upper` or before ends here; its panes start before.
        let end = upper.and_then(|at| {
            let unit = clock.unit_of(at).ok()?;
            clock.start_of_unit(unit - unit.rem_euclid(window.slide) + window.size).ok()
        });
        filter.columns[key] = KeyBound::Range {
            lower: lower.map(|(at, inclusive)| (Value::Timestamp(at), inclusive)),
            upper: end.map(|at| (Value::Timestamp(at), false)),
        };
        filter
    }

    /// Key columns, and those finished aggregates that are needed.
    pub(super) fn groups(
        &self,
        partials: &Partials,
        aggregates: &ColumnSet,
    ) -> Result<(Vec<Column>, Vec<Column>), PipelineError> {
        let plan = &self.inner.plan;
        let mut columns = plan.finish(&partials.tables, aggregates)?;
        let aggregates = columns.split_off(plan.keys.len());
        Ok((columns, aggregates))
    }
}

impl Plan {
    /// The rows of the groups' table: keys, then those finished aggregates that are needed.
    pub(crate) fn finish(
        &self,
        tables: &[super::table::Table],
        aggregates: &ColumnSet,
    ) -> Result<Vec<Column>, PipelineError> {
        let groups = &tables[0];
        let mut columns = self.key_columns(&groups.keys)?;
        for (_, (call, state)) in
            self.calls.iter().zip(&groups.states).enumerate().filter(|(i, _)| aggregates.contains(*i))
        {
            columns.push(match call.distinct {
                Some(table) => {
                    let counts = Plan::distinct_counts(&groups.keys, &tables[table].keys);
                    columns::bigint_column(&call.name, DataType::BigInt, counts, None)
                }
                None => state.finish(&call.name)?,
            });
        }
        Ok(columns)
    }
}

pub(super) fn frame(
    height: usize,
    mut columns: Vec<Column>,
    aggregates: Vec<Column>,
) -> Result<DataFrame, PipelineError> {
    columns.extend(aggregates);
    Ok(DataFrame::new(height, columns)?)
}

/// The rows of `frame` in another order.
pub(super) fn take_rows(frame: &DataFrame, rows: &[u32]) -> Result<DataFrame, PipelineError> {
    let rows: Vec<IdxSize> = rows.iter().map(|row| *row as IdxSize).collect();
    Ok(frame.take(&IdxCa::from_vec("rows".into(), rows))?)
}

/// A window beyond the calendar: only damaged keys have it.
pub(super) fn outside_calendar(_: Failure) -> PipelineError {
    PipelineError::Stored("a window lies outside the years 1 to 9999".to_owned())
}

pub(super) fn window_ends(starts: &Column, clock: &WindowClock) -> Result<Column, PipelineError> {
    debug_assert!(matches!(starts.dtype(), PolarsType::Datetime(..)));
    let TypedColumn { values: Values::BigInt(starts), .. } = TypedColumn::new(starts)? else {
        return Err(outside_calendar(Failure::TimestampOutOfRange));
    };
    let mut last = (0, None);
    let mut end_of = |start: i64| {
        if last.1.is_none() || last.0 != start {
            last = (start, Some(clock.window_end(start).map_err(outside_calendar)?));
        }
        Ok(last.1.unwrap_or(start))
    };
    let ends = starts.values().iter().map(|start| end_of(*start)).collect::<Result<_, PipelineError>>()?;
    Ok(columns::bigint_column(WINDOW_END_COLUMN, DataType::Timestamp, ends, None))
}
