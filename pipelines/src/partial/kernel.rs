//! The compiled core: building, merging and selecting partials.

use std::{collections::BTreeSet, sync::Arc};

use polars::prelude::{BooleanChunked, DataFrame};

use crate::{
    aggregate::AggregateFunction,
    core::{Core, Key, Partitioning, WINDOW_START_COLUMN},
    decode::{Batch, ColumnSet},
    error::PipelineError,
    expr::{CompiledExpr, Expr},
    key::{ByteFilter, KeyFilter},
    partial::{
        Partials, Rejected,
        reduction::{Plan, Reducing, RowFailure},
        table::Table,
    },
    registry::Registry,
    source::{OFFSET_COLUMN, PARTITION_COLUMN, ViewCounts},
    types::{DataType, Schema},
    window::WindowClock,
};

/// A compiled core. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CoreKernel {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    core: Core,
    filter: Option<CompiledExpr>,
    /// The columns that what comes after the filter names.
    filtered: Vec<String>,
    needed: ColumnSet,
    pub(super) plan: Arc<Plan>,
    pub(super) clock: Option<WindowClock>,
    /// Index of the window's start among the keys.
    pub(super) window_key: Option<usize>,
}

/// A clause, for rejected records.
const WHERE: &str = "WHERE";

impl Inner {
    pub(super) fn core(&self) -> &Core {
        &self.core
    }
}

impl CoreKernel {
    /// Compiles a core. Fails if a time zone or user function is unknown, or the core contradicts itself.
    pub fn compile(core: &Core, registry: &Registry) -> Result<CoreKernel, PipelineError> {
        let input = core.source.row_schema();
        let clock = core.window.as_ref().map(WindowClock::new).transpose()?;
        let window_key = core.keys.iter().position(|key| matches!(key, Key::WindowStart));
        let contradiction =
            |what: &str| PipelineError::Definition(format!("the core of a view contradicts itself: {what}"));
        let mut plan = Plan::default();
        for key in &core.keys {
            match (key, &core.window, &clock) {
                (Key::Expr { name, expr }, ..) => plan.key(name, expr, &input, registry)?,
                (Key::WindowStart, Some(window), Some(clock)) => {
                    let time = input.fields.get(window.time).ok_or_else(|| contradiction("the window's column"))?;
                    plan.window_key(WINDOW_START_COLUMN, &time.name, clock.clone());
                }
                (Key::WindowStart, ..) => return Err(contradiction("a window's start without a window")),
            }
        }
        if core.window.is_some() && window_key.is_none() {
            return Err(contradiction("a window that is not a key"));
        }
        for call in &core.aggregates {
            plan.call(call, &input, registry)?;
        }
        if core.aggregates.iter().any(|c| matches!(c.function, AggregateFunction::First | AggregateFunction::Last)) {
            plan.order_by(core.source.event_time_column(), PARTITION_COLUMN, OFFSET_COLUMN);
        }
        let place = [Some(DataType::Int), Some(DataType::BigInt)];
        let types = plan.key_types();
        match core.partitioning {
            Partitioning::Time(_) if window_key.is_none() => {
                return Err(contradiction("partitions by a time it has not"));
            }
            Partitioning::Offset { .. } if [types.first().copied(), types.get(1).copied()] != place => {
                return Err(contradiction("partitions by offset without offsets"));
            }
            _ => {}
        }
        let filter = core.filter.as_ref().map(|f| CompiledExpr::compile(f, &input, registry)).transpose()?;
        let needed = columns_needed(core);
        let filtered = columns_after_filter(core, &plan, &input);
        let inner = Inner { core: core.clone(), filter, filtered, needed, plan: Arc::new(plan), clock, window_key };
        Ok(CoreKernel { inner: Arc::new(inner) })
    }

    /// What was compiled.
    pub fn core(&self) -> &Core {
        &self.inner.core
    }

    /// The source columns that records must be decoded with.
    pub fn columns_needed(&self) -> ColumnSet {
        self.inner.needed.clone()
    }

    /// A builder without records.
    pub fn builder(&self) -> PartialsBuilder {
        PartialsBuilder {
            reducing: Reducing::new(&self.inner.plan),
            kernel: self.clone(),
            counts: ViewCounts::default(),
            rejected: Vec::new(),
        }
    }

    /// The partials of no records.
    pub fn empty(&self) -> Partials {
        Partials { counts: ViewCounts::default(), rejected: Vec::new(), tables: self.inner.plan.empty_tables() }
    }

    /// The partials of all records of the inputs, which are of disjoint sets of records. Takes time in proportion to the inputs'
    /// lengths, less where long stretches of keys come from one input.
    pub fn merge(&self, inputs: &[&Partials]) -> Result<Partials, PipelineError> {
        let mut merged = self.empty();
        for input in inputs {
            merged.counts.merge(&input.counts);
            merged.rejected.extend_from_slice(&input.rejected);
        }
        merged.rejected.sort();
        for (i, table) in merged.tables.iter_mut().enumerate() {
            let tables: Vec<&Table> = inputs.iter().filter_map(|input| input.tables.get(i)).collect();
            if tables.len() < inputs.len() {
                return Err(PipelineError::Stored("partials of another definition".to_owned()));
            }
            *table = Table::merge(&tables, self.prototypes(i));
        }
        Ok(merged)
    }

    /// Merges `delta` into `base`, in place where that has all its keys already.
    pub fn merge_into(&self, base: &mut Partials, delta: &Partials) -> Result<(), PipelineError> {
        if base.tables.len() != delta.tables.len() {
            return Err(PipelineError::Stored("partials of another definition".to_owned()));
        }
        base.counts.merge(&delta.counts);
        if !delta.rejected.is_empty() {
            base.rejected.extend_from_slice(&delta.rejected);
            base.rejected.sort();
        }
        for (i, (ours, theirs)) in base.tables.iter_mut().zip(&delta.tables).enumerate() {
            if theirs.keys.len() > ours.keys.len() / 8 || !ours.merge_in_place(theirs) {
                *ours = Table::merge(&[ours, theirs], self.prototypes(i));
            }
        }
        Ok(())
    }

    /// The rows whose keys are inside the filter (of partials' keys: [`CoreKernel::partials_filter`]), with the counts and rejected
    /// records of all.
    pub fn select(&self, partials: &Partials, filter: &KeyFilter) -> Partials {
        if filter.is_all() {
            return partials.clone();
        }
        let rows = self.selection(filter).rows(partials).unwrap_or_else(|| self.empty());
        Partials { counts: partials.counts, rejected: partials.rejected.clone(), ..rows }
    }

    /// A filter (of partials' keys: [`CoreKernel::partials_filter`]) made ready, for several partials.
    pub fn selection(&self, filter: &KeyFilter) -> Selection {
        Selection { filter: ByteFilter::new(filter, &self.inner.plan.key_types()) }
    }

    /// The accumulators of a table.
    pub(super) fn prototypes(&self, table: usize) -> &[Box<dyn crate::aggregate::Accumulator>] {
        if table == 0 { &self.inner.plan.prototypes } else { &[] }
    }
}

/// The keys inside a filter.
#[derive(Clone, Debug)]
pub struct Selection {
    filter: ByteFilter,
}

impl Selection {
    /// The rows inside, without counts and rejected records; `None` if there are none.
    pub fn rows(&self, partials: &Partials) -> Option<Partials> {
        let (groups, others) = partials.tables.split_first()?;
        let rows = self.filter.rows(&groups.keys);
        if rows.is_empty() {
            // Other tables have rows of these groups.
            return None;
        }
        let others = others.iter().map(|table| table.take(&self.filter.rows(&table.keys)));
        let tables = [groups.take(&rows)].into_iter().chain(others).collect();
        Some(Partials { counts: ViewCounts::default(), rejected: Vec::new(), tables })
    }
}

/// The columns that a core's keys, aggregates, window and order name, and those that say where a record is.
fn columns_after_filter(core: &Core, plan: &Plan, input: &Schema) -> Vec<String> {
    let mut names: BTreeSet<&str> = BTreeSet::from([PARTITION_COLUMN, OFFSET_COLUMN]);
    let keys = core.keys.iter().filter_map(|key| if let Key::Expr { expr, .. } = key { Some(expr) } else { None });
    let calls = core.aggregates.iter().flat_map(|call| call.argument.iter().chain(&call.filter));
    for expr in keys.chain(calls) {
        expr.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                names.extend(input.fields.get(*index).map(|field| field.name.as_str()));
            }
        });
    }
    names
        .extend(core.window.as_ref().and_then(|window| input.fields.get(window.time)).map(|field| field.name.as_str()));
    names.extend(plan.order.iter().flatten().map(String::as_str));
    names.into_iter().map(str::to_owned).collect()
}

/// The declared columns that a core's expressions, window and order name.
fn columns_needed(core: &Core) -> ColumnSet {
    let declared = core.source.schema.fields.len();
    let mut needed = ColumnSet::none();
    let mut insert = |index: usize| {
        if index < declared {
            needed.insert(index);
        }
    };
    let keys = core.keys.iter().filter_map(|key| if let Key::Expr { expr, .. } = key { Some(expr) } else { None });
    let calls = core.aggregates.iter().flat_map(|call| call.argument.iter().chain(&call.filter));
    for expr in core.filter.iter().chain(keys).chain(calls) {
        expr.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                insert(*index);
            }
        });
    }
    core.window.iter().for_each(|window| insert(window.time));
    if core.aggregates.iter().any(|c| matches!(c.function, AggregateFunction::First | AggregateFunction::Last)) {
        core.source.event_time.iter().for_each(|index| insert(*index));
    }
    needed
}

/// Builds partials from batches of records.
pub struct PartialsBuilder {
    kernel: CoreKernel,
    reducing: Reducing,
    counts: ViewCounts,
    rejected: Vec<Rejected>,
}

impl std::fmt::Debug for PartialsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartialsBuilder").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl PartialsBuilder {
    /// Adds decoded records. Those for which `WHERE` is not true, or whose window's time is NULL, are filtered; those for which an
    /// expression fails are rejected: for the first failure among `WHERE`, the keys, and each aggregate's filter and argument.
    /// (Only records that pass `WHERE` get to the other expressions, only those that pass an aggregate's filter to its argument.)
    pub fn push(&mut self, batch: &Batch) -> Result<(), PipelineError> {
        let frame = &batch.frame;
        self.counts.accepted += frame.height() as u64;
        let Some(filter) = &self.kernel.inner.filter else { return self.reduce(frame) };
        let evaluated = filter.evaluate(frame)?;
        let failures = evaluated.failures.iter().map(|(row, failure)| RowFailure {
            row: *row,
            column: WHERE.to_owned(),
            failure: *failure,
        });
        let rejected = self.reject(frame, failures)?;
        let mask: &BooleanChunked = evaluated.column.bool()?;
        // On this thread: those that call are as many as there are processors.
        let kept = match mask.sum() == Some(frame.height() as u32) {
            true => frame.clone(),
            false => frame.select(&self.kernel.inner.filtered)?.filter_seq(mask)?,
        };
        self.counts.filtered += (frame.height() - kept.height()) as u64 - rejected;
        self.reduce(&kept)
    }

    fn reduce(&mut self, frame: &DataFrame) -> Result<(), PipelineError> {
        if frame.height() == 0 {
            return Ok(());
        }
        let pushed = self.reducing.push(frame)?;
        let rejected = self.reject(frame, pushed.failures.into_iter())?;
        self.counts.filtered += pushed.outside as u64;
        self.counts.counted += (frame.height() - pushed.outside) as u64 - rejected;
        Ok(())
    }

    /// Lists rejected records; how many.
    fn reject(
        &mut self,
        frame: &DataFrame,
        failures: impl ExactSizeIterator<Item = RowFailure>,
    ) -> Result<u64, PipelineError> {
        let count = failures.len() as u64;
        if count == 0 {
            return Ok(0);
        }
        let (partitions, offsets) = (frame.column(PARTITION_COLUMN)?.i32()?, frame.column(OFFSET_COLUMN)?.i64()?);
        self.counts.rejected += count;
        self.rejected.extend(failures.map(|RowFailure { row, column, failure }| Rejected {
            partition: partitions.get(row as usize).unwrap_or_default() as u32,
            offset: offsets.get(row as usize).unwrap_or_default() as u64,
            failure,
            column,
        }));
        Ok(count)
    }

    /// Memory it takes, about.
    pub fn memory_bytes(&self) -> usize {
        self.reducing.memory_bytes() + self.rejected.len() * size_of::<Rejected>()
    }

    /// The partials of all records pushed.
    pub fn finish(mut self) -> Partials {
        self.rejected.sort();
        Partials { counts: self.counts, rejected: self.rejected, tables: self.reducing.finish() }
    }
}
