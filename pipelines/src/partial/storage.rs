//! Partials as frames for storage, and back.
//!
//! The frame of the groups has the key columns, every aggregate's finished value under its name (so that other tools can read
//! it); for a sum of doubles `_rest_<name>`, what rounding took away, NULL for nothing; then `_state_<name>`, where those do not say all
//! of the state: its canonical encoding. (A `SUM` that does not fit its type is NULL with a state: it may fit again when merged. Two
//! doubles do not say all of 1e300 + 1 + 1e-300, nor of infinity.) The frame of a `COUNT(DISTINCT)` has the key columns and `_value`.

use std::fmt::Write as _;

use polars::prelude::{Column, DataFrame, DataType as PolarsType};
use rayon::prelude::*;

use crate::{
    aggregate::{Stored, StoredCells},
    columns::{self, TypedColumn},
    decode::ColumnSet,
    error::PipelineError,
    key::{EncodedKeys, decode_keys, encode_typed},
    partial::{
        CoreKernel, Partials,
        reduction::Plan,
        table::{Table, WORTH_THREADS},
    },
    source::ViewCounts,
    types::{DataType, Field, Schema},
};

/// Name of the column with the values of a `COUNT(DISTINCT)`.
const VALUE_COLUMN: &str = "_value";
/// What the name of a column with what rounding took away begins with.
const REST_PREFIX: &str = "_rest_";
/// What the name of a column with states begins with.
const STATE_PREFIX: &str = "_state_";
/// What names begin with that stored columns of values cannot have.
pub(crate) const RESERVED_PREFIXES: [&str; 2] = [REST_PREFIX, STATE_PREFIX];

/// The columns that a table of partials is stored with, sorted by the key columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableLayout {
    /// `groups`, or `distinct_<i>` for the aggregate `i`.
    pub name: String,
    /// Key columns, then finished aggregates (or the value).
    pub schema: Schema,
    /// How many leading columns of the schema make a row's key.
    pub key_columns: usize,
    /// Names of the columns with what rounding took away from aggregates, which follow.
    pub rests: Vec<String>,
    /// Names of the binary columns with states, which follow those.
    pub states: Vec<String>,
}

impl TableLayout {
    /// All columns in order.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        let beside = self.rests.iter().chain(&self.states).map(String::as_str);
        self.schema.fields.iter().map(|f| f.name.as_str()).chain(beside)
    }
}

impl CoreKernel {
    /// The tables of this view's partials: the groups, then one for each `COUNT(DISTINCT)`.
    pub fn tables(&self) -> Vec<TableLayout> {
        let plan = &self.inner.plan;
        let nullable = |i: usize| Some(i) != self.inner.window_key;
        let keys = || {
            plan.keys.iter().enumerate().map(move |(i, key)| Field {
                name: key.name.clone(),
                data_type: key.data_type,
                nullable: nullable(i),
            })
        };
        let field = |name: &str, data_type| Field { name: name.to_owned(), data_type, nullable: true };
        let aggregates = &self.core().aggregates;
        let names = |of: fn(&str) -> String, which: fn(Stored) -> bool| -> Vec<String> {
            let chosen = aggregates.iter().zip(&plan.prototypes).filter(|(_, state)| which(state.stored()));
            chosen.map(|(aggregate, _)| of(&aggregate.name)).collect()
        };
        let mut tables = vec![TableLayout {
            name: "groups".to_owned(),
            schema: Schema { fields: keys().chain(aggregates.iter().map(|a| field(&a.name, a.data_type))).collect() },
            key_columns: plan.keys.len(),
            rests: names(rest_column, |stored| stored == Stored::FinishedAndRest),
            states: names(state_column, |stored| stored != Stored::Finished),
        }];
        for (i, call) in plan.calls.iter().enumerate() {
            if let (Some(_), Some(data_type)) = (call.distinct, call.argument_type) {
                let mut name = "distinct_".to_owned();
                // Writing to a `String` cannot fail.
                let _ = write!(name, "{i}");
                let value = Field { nullable: false, ..field(VALUE_COLUMN, data_type) };
                let schema = Schema { fields: keys().chain([value]).collect() };
                let key_columns = plan.keys.len() + 1;
                tables.push(TableLayout { name, schema, key_columns, rests: Vec::new(), states: Vec::new() });
            }
        }
        tables
    }

    /// A table's rows as a frame for storage.
    pub fn to_frame(&self, table: usize, partials: &Partials) -> Result<DataFrame, PipelineError> {
        let rows = partials.tables.get(table).ok_or_else(|| no_table(table))?;
        let layout = self.tables().into_iter().nth(table).ok_or_else(|| no_table(table))?;
        let fields: Vec<_> =
            layout.schema.fields[..layout.key_columns].iter().map(|f| (f.name.as_str(), f.data_type)).collect();
        let keys = || decode_keys(&rows.keys, &fields);
        let values = || self.stored_values(rows, partials);
        let (keys, values) = match rows.keys.len() < WORTH_THREADS {
            true => (keys(), values()),
            false => rayon::join(keys, values),
        };
        let mut columns = keys?;
        columns.extend(values?);
        Ok(DataFrame::new(rows.keys.len(), columns)?)
    }

    /// The aggregates' columns of the groups: finished values, then rests, then states.
    fn stored_values(&self, rows: &Table, partials: &Partials) -> Result<Vec<Column>, PipelineError> {
        let calls = &self.inner.plan.calls;
        let stored = |call: usize| match calls[call].distinct {
            Some(distinct) => {
                let counts = Plan::distinct_counts(&rows.keys, &partials.tables[distinct].keys);
                let finished = columns::bigint_column(&calls[call].name, DataType::BigInt, counts, None);
                Ok(StoredCells { finished, rests: None, states: None })
            }
            None => rows.states[call].store(&calls[call].name),
        };
        let stored: Vec<_> = match rows.keys.len() < WORTH_THREADS {
            true => (0..rows.states.len()).map(stored).collect::<Result<_, PipelineError>>()?,
            false => (0..rows.states.len()).into_par_iter().map(stored).collect::<Result<_, PipelineError>>()?,
        };
        let (mut columns, mut rests, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for (call, stored) in calls.iter().zip(stored) {
            columns.push(stored.finished);
            rests.extend(stored.rests.map(|rests| rests.with_name(rest_column(&call.name).into())));
            states.extend(stored.states.map(|states| states.with_name(state_column(&call.name).into())));
        }
        columns.extend(rests);
        columns.extend(states);
        Ok(columns)
    }

    /// Reads back what [`CoreKernel::to_frame`] gave for each table (in chunks or not); rejected records are not in it. Fails if a
    /// column is missing or of another type, if keys do not ascend, or if a state is damaged.
    pub fn from_frames(&self, frames: Vec<DataFrame>, counts: ViewCounts) -> Result<Partials, PipelineError> {
        self.from_frames_of(frames, counts, &self.all_columns())
    }

    /// [`CoreKernel::from_frames`] where only these columns of the finished rows are needed: the other aggregates are empty, their columns
    /// are not looked at. Of a table that is not needed ([`CoreKernel::needs_table`]) any frame will do.
    pub fn from_frames_of(
        &self,
        frames: Vec<DataFrame>,
        counts: ViewCounts,
        columns: &ColumnSet,
    ) -> Result<Partials, PipelineError> {
        let aggregates = self.aggregates_in(columns);
        let layouts = self.tables();
        if layouts.len() != frames.len() {
            return Err(PipelineError::Stored(format!("{} tables instead of {}", frames.len(), layouts.len())));
        }
        let mut partials = Partials { counts, ..self.empty() };
        for (number, (layout, frame)) in layouts.iter().zip(&frames).enumerate() {
            if !self.needs_table(number, columns) {
                continue;
            }
            let keys = keys_of(layout, frame)?;
            let mut table = Table { keys, states: self.prototypes(number).to_vec() };
            for (i, (call, state)) in self.inner.plan.calls.iter().zip(&mut table.states).enumerate() {
                if call.distinct.is_some() || !aggregates.contains(i) {
                    state.resize(frame.height());
                    continue;
                }
                state.restore(StoredCells {
                    finished: column(layout, frame, &call.name)?,
                    rests: frame.column(&rest_column(&call.name)).ok(),
                    states: frame.column(&state_column(&call.name)).ok(),
                })?;
            }
            partials.tables[number] = table;
        }
        Ok(partials)
    }
}

/// The name of the column with what rounding took away from an aggregate.
pub(super) fn rest_column(aggregate: &str) -> String {
    format!("{REST_PREFIX}{aggregate}")
}

/// The name of the column with an aggregate's states.
pub(super) fn state_column(aggregate: &str) -> String {
    format!("{STATE_PREFIX}{aggregate}")
}

fn no_table(table: usize) -> PipelineError {
    PipelineError::Stored(format!("there is no table {table}"))
}

pub(super) fn keys_of(layout: &TableLayout, frame: &DataFrame) -> Result<EncodedKeys, PipelineError> {
    let columns = layout.schema.fields[..layout.key_columns]
        .iter()
        .map(|field| TypedColumn::new(column(layout, frame, &field.name)?))
        .collect::<Result<Vec<_>, _>>()?;
    let keys = encode_typed(&columns, frame.height());
    if !keys.is_strictly_sorted() {
        return Err(PipelineError::Stored(format!("the keys of the table \"{}\" do not ascend", layout.name)));
    }
    Ok(keys)
}

/// A column of the layout's type.
pub(super) fn column<'a>(layout: &TableLayout, frame: &'a DataFrame, name: &str) -> Result<&'a Column, PipelineError> {
    let table = &layout.name;
    let column = frame
        .column(name)
        .map_err(|_| PipelineError::Stored(format!("the table \"{table}\" has no column \"{name}\"")))?;
    let wanted = layout.schema.index_of(name).map(|i| layout.schema.fields[i].data_type.to_polars());
    let fits = match (&wanted, column.dtype()) {
        // A parquet file may know the decimal's own precision.
        (Some(PolarsType::Decimal(_, wanted)), PolarsType::Decimal(_, scale)) => wanted == scale,
        (Some(wanted), data_type) => wanted == data_type,
        (None, _) => false,
    };
    if !fits {
        let data_type = column.dtype();
        return Err(PipelineError::Stored(format!("column \"{name}\" of the table \"{table}\" has type {data_type}")));
    }
    Ok(column)
}
