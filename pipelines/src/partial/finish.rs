//! From partials to finished rows.

use polars::prelude::{BooleanChunked, Column, DataFrame, DataType as PolarsType, IdxCa, IdxSize};

use crate::{
    columns::{self, TypedColumn, Values},
    core::{WINDOW_END_COLUMN, Window},
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
        self.finish_in(partials, &Budget::unlimited())
    }

    fn finish_in(&self, partials: &Partials, budget: &Budget<'_>) -> Result<DataFrame, PipelineError> {
        match (&self.inner.clock, &self.inner.core().window, self.inner.window_key) {
            (Some(clock), Some(window), Some(key)) if window.is_hopping() => {
                panes::finish(&self.inner.plan, partials, window, (clock, key), budget)
            }
            (Some(clock), Some(window), Some(key)) => {
                let (mut columns, aggregates) = self.groups(partials)?;
                let end = window_ends(&columns[key], clock)?;
                columns.push(end);
                frame(partials.len(), columns, aggregates)
            }
            _ if self.inner.plan.keys.is_empty() && partials.is_empty() => {
                let mut one = partials.clone();
                one_row_of_nothing(&self.inner.plan, &mut one.tables);
                let (columns, aggregates) = self.groups(&one)?;
                frame(1, columns, aggregates)
            }
            _ => {
                let (columns, aggregates) = self.groups(partials)?;
                frame(partials.len(), columns, aggregates)
            }
        }
    }

    /// [`CoreKernel::finish`] without the rows outside a filter of finished keys. `partials` may lack what
    /// [`CoreKernel::partials_filter`] of that filter leaves out.
    pub fn finish_within(&self, partials: &Partials, filter: &KeyFilter) -> Result<DataFrame, PipelineError> {
        self.finish_within_budget(partials, filter, &Budget::unlimited())
    }

    /// [`CoreKernel::finish_within`], ended with [`PipelineError::Exceeded`] where it would take more than the budget: few partials
    /// can be of very many windows that overlap.
    pub fn finish_within_budget(
        &self,
        partials: &Partials,
        filter: &KeyFilter,
        budget: &Budget<'_>,
    ) -> Result<DataFrame, PipelineError> {
        let frame = self.finish_in(partials, budget)?;
        if filter.is_all() {
            return Ok(frame);
        }
        let keys = self.inner.plan.keys.len();
        let encoded = encode_keys(&frame.columns()[..keys], frame.height())?;
        let bytes = ByteFilter::new(filter, &self.inner.plan.key_types());
        let mask: BooleanChunked = encoded.iter().map(|key| bytes.contains(key)).collect();
        Ok(frame.filter(&mask)?)
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

    /// Key columns, and finished aggregates.
    pub(super) fn groups(&self, partials: &Partials) -> Result<(Vec<Column>, Vec<Column>), PipelineError> {
        let plan = &self.inner.plan;
        let mut columns = plan.finish(&partials.tables)?;
        let aggregates = columns.split_off(plan.keys.len());
        Ok((columns, aggregates))
    }
}

impl Plan {
    /// The rows of the groups' table: keys, then finished aggregates.
    pub(crate) fn finish(&self, tables: &[super::table::Table]) -> Result<Vec<Column>, PipelineError> {
        let groups = &tables[0];
        let mut columns = self.key_columns(&groups.keys)?;
        for (call, state) in self.calls.iter().zip(&groups.states) {
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
