//! The keyed reduction that the core and the tail share.

use std::sync::Arc;

use polars::prelude::{Column, DataFrame};
use rayon::prelude::*;

use crate::{
    aggregate::{Accumulator, AggregateCall, AggregateFunction, Order, Rows, accumulator},
    columns::{self, TypedColumn},
    error::{Failure, PipelineError},
    expr::{CompiledExpr, Expr},
    key::{EncodedKeys, decode_keys, encode_cell, encode_typed},
    partial::{grouping::Groups, inputs::Inputs, table::Table},
    registry::Registry,
    types::{DataType, Schema},
    window::WindowClock,
};

/// One key column.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    pub(super) source: KeySource,
}

#[derive(Clone, Debug)]
pub(super) enum KeySource {
    /// Index of a compiled expression.
    Expr(usize),
    /// The start of the pane around the time in the named column.
    Window { column: String, clock: WindowClock },
}

/// One aggregate.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// `COUNT(DISTINCT)`: the number of its table.
    pub(crate) distinct: Option<usize>,
    /// Type of the argument.
    pub(crate) argument_type: Option<DataType>,
    pub(super) argument: Option<usize>,
    pub(super) filter: Option<usize>,
}

/// What a reduction does; compiled once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) keys: Vec<KeyColumn>,
    pub(crate) calls: Vec<Call>,
    /// Empty accumulators, one per aggregate.
    pub(crate) prototypes: Vec<Box<dyn Accumulator>>,
    /// Every expression once.
    pub(super) exprs: Vec<(Expr, CompiledExpr)>,
    /// Event time, partition and offset columns, if `FIRST` or `LAST` needs them.
    pub(super) order: Option<[String; 3]>,
}

/// A row for which an expression failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowFailure {
    /// Row of the input.
    pub row: u32,
    /// Output column whose expression failed.
    pub column: String,
    /// Why.
    pub failure: Failure,
}

impl Plan {
    fn expr(&mut self, expr: &Expr, input: &Schema, registry: &Registry) -> Result<usize, PipelineError> {
        if let Some(known) = self.exprs.iter().position(|(e, _)| e == expr) {
            return Ok(known);
        }
        self.exprs.push((expr.clone(), CompiledExpr::compile(expr, input, registry)?));
        Ok(self.exprs.len() - 1)
    }

    pub(crate) fn key(
        &mut self,
        name: &str,
        expr: &Expr,
        input: &Schema,
        registry: &Registry,
    ) -> Result<(), PipelineError> {
        let source = KeySource::Expr(self.expr(expr, input, registry)?);
        self.keys.push(KeyColumn { name: name.to_owned(), data_type: expr.data_type(), source });
        Ok(())
    }

    pub(crate) fn window_key(&mut self, name: &str, column: &str, clock: WindowClock) {
        let source = KeySource::Window { column: column.to_owned(), clock };
        self.keys.push(KeyColumn { name: name.to_owned(), data_type: DataType::Timestamp, source });
    }

    pub(crate) fn call(
        &mut self,
        call: &AggregateCall,
        input: &Schema,
        registry: &Registry,
    ) -> Result<(), PipelineError> {
        let argument = call.argument.as_ref().map(|e| self.expr(e, input, registry)).transpose()?;
        let filter = call.filter.as_ref().map(|e| self.expr(e, input, registry)).transpose()?;
        let tables = 1 + self.calls.iter().filter(|c| c.distinct.is_some()).count();
        self.prototypes.push(accumulator(call)?);
        self.calls.push(Call {
            name: call.name.clone(),
            distinct: (call.function == AggregateFunction::CountDistinct).then_some(tables),
            argument_type: call.argument.as_ref().map(Expr::data_type),
            argument,
            filter,
        });
        Ok(())
    }

    /// Names the columns that order records, if there is a `FIRST` or `LAST`.
    pub(crate) fn order_by(&mut self, event_time: &str, partition: &str, offset: &str) {
        self.order = Some([event_time.to_owned(), partition.to_owned(), offset.to_owned()]);
    }

    pub(crate) fn key_types(&self) -> Vec<DataType> {
        self.keys.iter().map(|k| k.data_type).collect()
    }

    /// How many tables there are: the groups, and one for each `COUNT(DISTINCT)`.
    pub(crate) fn tables(&self) -> usize {
        1 + self.calls.iter().filter(|c| c.distinct.is_some()).count()
    }

    pub(crate) fn empty_tables(&self) -> Vec<Table> {
        let mut tables = vec![Table::default(); self.tables()];
        tables[0] = Table::empty(&self.prototypes);
        tables
    }

    /// The key columns of encoded keys.
    pub(crate) fn key_columns(&self, keys: &EncodedKeys) -> Result<Vec<Column>, PipelineError> {
        let fields: Vec<_> = self.keys.iter().map(|k| (k.name.as_str(), k.data_type)).collect();
        decode_keys(keys, &fields)
    }

    /// For each group, how many rows of a `COUNT(DISTINCT)` table are its own.
    pub(crate) fn distinct_counts(groups: &EncodedKeys, values: &EncodedKeys) -> Vec<i64> {
        let mut at = 0;
        let count_of = |key: &[u8]| {
            at = values.gallop(at, key);
            let start = at;
            while at < values.len() && values.get(at).starts_with(key) {
                at += 1;
            }
            (at - start) as i64
        };
        groups.iter().map(count_of).collect()
    }
}

/// What became of the rows that were pushed.
#[derive(Default, Debug)]
pub(crate) struct Pushed {
    /// Rows for which an expression failed, ascending; they are left out.
    pub(crate) failures: Vec<RowFailure>,
    /// Rows whose window's time is NULL; they are left out.
    pub(crate) outside: usize,
}

/// A reduction that takes rows.
pub(crate) struct Reducing {
    plan: Arc<Plan>,
    groups: Groups,
    states: Vec<Box<dyn Accumulator>>,
    /// For each `COUNT(DISTINCT)`: group numbers (4 bytes, big endian) with values.
    distinct: Vec<Groups>,
    numbers: Vec<u32>,
}

impl Reducing {
    pub(crate) fn new(plan: &Arc<Plan>) -> Reducing {
        Reducing {
            plan: plan.clone(),
            groups: Groups::default(),
            states: plan.prototypes.clone(),
            distinct: vec![Groups::default(); plan.tables() - 1],
            numbers: Vec::new(),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.groups.memory_bytes()
            + self.states.iter().map(|s| s.memory_bytes()).sum::<usize>()
            + self.distinct.iter().map(Groups::memory_bytes).sum::<usize>()
    }

    /// Adds rows.
    pub(crate) fn push(&mut self, frame: &DataFrame) -> Result<Pushed, PipelineError> {
        let plan = self.plan.clone();
        let mut inputs = Inputs::evaluate(&plan, frame)?;
        let pushed = inputs.leave_out(&plan, frame.height())?;
        self.groups.check_room(inputs.height)?;
        let keys = inputs.keys.iter().map(TypedColumn::new).collect::<Result<Vec<_>, _>>()?;
        self.numbers.clear();
        if keys.is_empty() {
            if inputs.height > 0 {
                self.groups.number(&[]);
            }
            self.numbers.resize(inputs.height, 0);
        } else {
            let encoded = encode_typed(&keys, inputs.height);
            self.groups.number_all(&encoded, &mut self.numbers);
        }
        let order = inputs.order.as_ref().map(typed_order).transpose()?;
        let typed = inputs.exprs.iter().map(TypedColumn::new).collect::<Result<Vec<_>, _>>()?;
        for (call, state) in plan.calls.iter().zip(&mut self.states) {
            let selected = call.filter.map(|f| columns::mask_of(&inputs.exprs[f])).transpose()?.flatten();
            let rows = Rows { groups: &self.numbers, selected: selected.as_ref(), order: order.as_ref() };
            let argument = call.argument.map(|a| &typed[a]);
            match (call.distinct, argument) {
                (Some(table), Some(argument)) => add_distinct(&mut self.distinct[table - 1], &rows, argument)?,
                _ => {
                    state.resize(self.groups.len());
                    state.update(&rows, argument)?;
                }
            }
        }
        Ok(pushed)
    }

    /// The tables, sorted.
    pub(crate) fn finish(mut self) -> Vec<Table> {
        let order = self.groups.keys().sorted_order();
        self.states.iter_mut().for_each(|state| state.resize(order.len()));
        let groups = Table {
            keys: self.groups.keys().take(order.iter().map(|group| *group as usize)),
            states: self.states.iter().map(|state| state.take(&order)).collect(),
        };
        let mut tables = vec![groups];
        if self.distinct.is_empty() {
            return tables;
        }
        let mut ranks = vec![0u32; order.len()];
        order.iter().enumerate().for_each(|(rank, group)| ranks[*group as usize] = rank as u32);
        for distinct in &self.distinct {
            let keys = distinct_keys(distinct.keys(), &ranks, &tables[0].keys);
            tables.push(Table { keys, states: Vec::new() });
        }
        tables
    }
}

fn add_distinct(values: &mut Groups, rows: &Rows, argument: &TypedColumn) -> Result<(), PipelineError> {
    values.check_room(rows.groups.len())?;
    let (mut keys, mut key) = (EncodedKeys::default(), Vec::new());
    rows.for_each(Some(argument), |group, row| {
        key.clear();
        key.extend_from_slice(&(group as u32).to_be_bytes());
        encode_cell(argument, row, &mut key);
        keys.push(&key);
    });
    values.number_all(&keys, &mut Vec::with_capacity(keys.len()));
    Ok(())
}

/// (group number, value) as sorted (group key, value).
fn distinct_keys(values: &EncodedKeys, ranks: &[u32], groups: &EncodedKeys) -> EncodedKeys {
    let mut rows: Vec<(u32, &[u8])> = values
        .iter()
        .filter_map(|key| key.split_first_chunk::<4>())
        .map(|(group, value)| (ranks[u32::from_be_bytes(*group) as usize], value))
        .collect();
    rows.sort_unstable();
    let mut keys = EncodedKeys::with_capacity(rows.len(), 0);
    rows.iter().for_each(|(rank, value)| keys.push_joined(groups.get(*rank as usize), value));
    keys
}

fn typed_order([event_time, partition, offset]: &[Column; 3]) -> Result<Order, PipelineError> {
    Ok(Order {
        event_time: TypedColumn::new(event_time)?,
        partition: TypedColumn::new(partition)?,
        offset: TypedColumn::new(offset)?,
    })
}

/// A compiled `GROUP BY`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reduction {
    plan: Arc<Plan>,
}

/// Groups of some of the rows.
pub(crate) struct ReductionPart(Reducing);

impl ReductionPart {
    /// Adds rows. Whether no expression failed; if one did, the part is of no use any more.
    pub(crate) fn push(&mut self, rows: &DataFrame) -> Result<bool, PipelineError> {
        Ok(self.0.push(rows)?.failures.is_empty())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}

/// What a reduction gives.
#[derive(Clone, Debug)]
pub enum Reduced {
    /// The groups, sorted by key: the columns of the output schema. Without keys: one row, even of nothing.
    Rows(DataFrame),
    /// An expression failed for these rows of the input, ascending; for each its first failing column.
    Failed(Vec<RowFailure>),
}

impl Reduction {
    /// `output`: the columns of the result, keys then aggregates (their names and types).
    pub fn compile(
        keys: &[Expr],
        aggregates: &[AggregateCall],
        input: &Schema,
        output: &Schema,
        registry: &Registry,
    ) -> Result<Reduction, PipelineError> {
        let mut plan = Plan::default();
        for (expr, field) in keys.iter().zip(&output.fields) {
            plan.key(&field.name, expr, input, registry)?;
        }
        for (call, field) in aggregates.iter().zip(output.fields.iter().skip(keys.len())) {
            plan.call(&AggregateCall { name: field.name.clone(), ..call.clone() }, input, registry)?;
        }
        Ok(Reduction { plan: Arc::new(plan) })
    }

    /// Reduces one frame.
    pub fn reduce(&self, frame: &DataFrame) -> Result<Reduced, PipelineError> {
        self.reduce_in_stretches(frame, usize::MAX, |_| Ok(()))
    }

    /// Reduces one frame, `rows` rows at a time; before each stretch, `look` is told how much memory the groups take and says
    /// whether to go on.
    pub(crate) fn reduce_in_stretches(
        &self,
        frame: &DataFrame,
        rows: usize,
        mut look: impl FnMut(usize) -> Result<(), PipelineError>,
    ) -> Result<Reduced, PipelineError> {
        let mut reducing = Reducing::new(&self.plan);
        let mut failed = Vec::new();
        let stretches = frame.height().div_ceil(rows).max(1);
        for start in (0..stretches).map(|stretch| stretch * rows) {
            look(reducing.memory_bytes())?;
            let pushed = match stretches {
                1 => reducing.push(frame)?,
                _ => reducing.push(&frame.slice(start as i64, rows))?,
            };
            failed.extend(pushed.failures.into_iter().map(|f| RowFailure { row: f.row + start as u32, ..f }));
        }
        if !failed.is_empty() {
            return Ok(Reduced::Failed(failed));
        }
        // Sorting the groups takes as much again.
        look(reducing.memory_bytes().saturating_mul(2))?;
        Ok(Reduced::Rows(self.rows(reducing.finish())?))
    }

    /// A part of the reduction: takes some of the rows.
    pub(crate) fn part(&self) -> ReductionPart {
        ReductionPart(Reducing::new(&self.plan))
    }

    /// What [`Reduction::reduce`] gives for the rows of all parts together.
    pub(crate) fn end(&self, parts: Vec<ReductionPart>) -> Result<DataFrame, PipelineError> {
        let tables: Vec<Vec<Table>> = parts.into_par_iter().map(|part| part.0.finish()).collect();
        let merge = |i: usize| {
            let prototypes = if i == 0 { self.plan.prototypes.as_slice() } else { &[] };
            Table::merge(&tables.iter().map(|tables| &tables[i]).collect::<Vec<_>>(), prototypes)
        };
        self.rows((0..self.plan.tables()).map(merge).collect())
    }

    fn rows(&self, mut tables: Vec<Table>) -> Result<DataFrame, PipelineError> {
        one_row_of_nothing(&self.plan, &mut tables);
        let height = tables[0].keys.len();
        let all = (0..self.plan.calls.len()).collect();
        Ok(DataFrame::new(height, self.plan.finish(&tables, &all)?)?)
    }
}

/// Without keys there is one group, even of nothing.
pub(crate) fn one_row_of_nothing(plan: &Plan, tables: &mut [Table]) {
    if plan.keys.is_empty() && tables[0].keys.is_empty() {
        tables[0].keys.push(&[]);
        tables[0].states.iter_mut().for_each(|state| state.resize(1));
    }
}
