//! Hopping windows from panes.
//!
//! Partials have one row per key and pane; a window is a run of panes. Merging every window's panes would cost size/slide merges
//! per pane. Instead, panes are cut into blocks as long as a window, and each block's running merges are kept from the left
//! (prefixes) and from the right (suffixes): every window is a suffix of one block and a prefix of the next, so that a pane
//! costs two merges and a window two more. (M. van Herk 1992, J. Gil and M. Werman 1993, for minima; it is the two-stacks algorithm
//! of K. Tangwongsan et al., "Low-latency sliding-window aggregation in worst-case constant time", laid out in columns.)

use polars::prelude::DataFrame;

use crate::{
    columns,
    core::{WINDOW_END_COLUMN, Window},
    decode::ColumnSet,
    error::PipelineError,
    key::{EncodedKeys, bigint_of, cell_len},
    partial::{
        Partials,
        finish::{frame, outside_calendar, take_rows},
        reduction::Plan,
        table::Table,
    },
    tail::Budget,
    types::{DataType, Value},
    window::WindowClock,
};

/// The pane rows of one key, and the window rows that come of them.
struct Entity {
    panes: std::ops::Range<usize>,
    windows: std::ops::Range<usize>,
}

/// Panes in order of (key without the window, pane).
struct Panes {
    /// Keys without the window's cell, one per pane row.
    entities: EncodedKeys,
    /// Pane numbers.
    numbers: Vec<i64>,
    /// Rows of the groups' table.
    rows: Vec<u32>,
}

/// A window row: its number, and the pane rows whose suffix and prefix it is.
struct WindowRow {
    entity: u32,
    number: i64,
    suffix: Option<u32>,
    prefix: Option<u32>,
}

/// Windows as runs of panes: window k has the panes k·step .. k·step + span.
#[derive(Clone, Copy)]
struct Shape {
    span: i64,
    step: i64,
}

impl Shape {
    /// Number of the first window that has pane `p`.
    fn first(self, p: i64) -> i64 {
        (p - self.span).div_euclid(self.step) + 1
    }

    /// Number of the last window that has pane `p`.
    fn last(self, p: i64) -> i64 {
        p.div_euclid(self.step)
    }

    fn block(self, p: i64) -> i64 {
        p.div_euclid(self.span)
    }
}

/// The finished rows of a hopping view, with those aggregates that are needed.
pub(super) fn finish(
    plan: &Plan,
    partials: &Partials,
    window: &Window,
    (clock, window_key): (&WindowClock, usize),
    needed: &ColumnSet,
    budget: &Budget<'_>,
) -> Result<DataFrame, PipelineError> {
    let shape = Shape { span: window.size / window.pane(), step: window.slide / window.pane() };
    let groups = &partials.tables[0];
    let panes = Panes::new(plan, groups, window, clock, window_key)?;
    let mut taken = budget.take(0)?;
    let width = window_row_bytes(plan, &panes);
    let (entities, windows) = windows_of(&panes, shape, &mut |windows| {
        budget.check()?;
        taken.grow_to(windows as u64 * width)
    })?;
    let states = window_states(plan, groups, &panes, &windows, shape);

    // Keys with the window's start where the pane's was.
    let mut keys = EncodedKeys::with_capacity(windows.len(), 0);
    let (mut key, mut ends) = (Vec::new(), Vec::with_capacity(windows.len()));
    let instant = |unit: i64| clock.start_of_unit(unit).map_err(outside_calendar);
    for row in &windows {
        let pane = entities[row.entity as usize].panes.start;
        let (start, end) = (instant(row.number * window.slide)?, instant(row.number * window.slide + window.size)?);
        let entity = panes.entities.get(pane);
        let head = prefix_len(plan, entity, window_key)?;
        key.clear();
        key.extend_from_slice(&entity[..head]);
        let encoded = crate::key::encode_value(&Value::Timestamp(start), DataType::Timestamp, &mut key);
        debug_assert!(encoded.is_some());
        key.extend_from_slice(&entity[head..]);
        keys.push(&key);
        ends.push(end);
    }
    let mut columns = plan.key_columns(&keys)?;
    columns.push(columns::bigint_column(WINDOW_END_COLUMN, DataType::Timestamp, ends, None));
    let mut aggregates = Vec::with_capacity(plan.calls.len());
    for (_, (call, state)) in plan.calls.iter().zip(&states).enumerate().filter(|(i, _)| needed.contains(*i)) {
        aggregates.push(match call.distinct {
            Some(table) => {
                let counts = distinct_counts(groups, &partials.tables[table], &panes, &entities, &windows, shape);
                columns::bigint_column(&call.name, DataType::BigInt, counts, None)
            }
            None => state.finish(&call.name)?,
        });
    }
    let rows = frame(windows.len(), columns, aggregates)?;
    if keys.is_strictly_sorted() { Ok(rows) } else { take_rows(&rows, &keys.sorted_order()) }
}

/// What a window's row takes while it is made, about: its key, its panes, its accumulators and their results.
fn window_row_bytes(plan: &Plan, panes: &Panes) -> u64 {
    const STATE_BYTES: usize = 48;
    let key = panes.entities.byte_len() / panes.numbers.len().max(1);
    (size_of::<WindowRow>() + 2 * key + STATE_BYTES * (1 + plan.calls.len())) as u64
}

/// Length of the encodings of the first `columns` key columns.
fn prefix_len(plan: &Plan, key: &[u8], columns: usize) -> Result<usize, PipelineError> {
    let damaged = || PipelineError::Stored("a key ends within a value".to_owned());
    plan.keys[..columns]
        .iter()
        .try_fold(0, |at, column| cell_len(&key[at..], column.data_type).map(|len| at + len).ok_or_else(damaged))
}

impl Panes {
    fn new(
        plan: &Plan,
        groups: &Table,
        window: &Window,
        clock: &WindowClock,
        window_key: usize,
    ) -> Result<Panes, PipelineError> {
        let damaged = || PipelineError::Stored("a key has no pane".to_owned());
        let mut entities = EncodedKeys::with_capacity(groups.keys.len(), groups.keys.byte_len());
        let mut numbers = Vec::with_capacity(groups.keys.len());
        let mut last = None;
        for key in groups.keys.iter() {
            let at = prefix_len(plan, key, window_key)?;
            let cell = key.get(at + 1..at + 9).filter(|_| key[at] == 1).ok_or_else(damaged)?;
            let start = bigint_of(cell);
            let number = match last {
                Some((known, number)) if known == start => number,
                _ => clock.unit_of(start).map_err(outside_calendar)?.div_euclid(window.pane()),
            };
            last = Some((start, number));
            numbers.push(number);
            entities.push_joined(&key[..at], &key[at + 9..]);
        }
        let panes = Panes { entities, numbers, rows: (0..groups.keys.len() as u32).collect() };
        Ok(panes.sorted())
    }

    fn place(&self, row: usize) -> (&[u8], i64) {
        (self.entities.get(row), self.numbers[row])
    }

    fn sorted(mut self) -> Panes {
        if (1..self.numbers.len()).all(|row| self.place(row - 1) < self.place(row)) {
            return self;
        }
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|a, b| self.place(*a as usize).cmp(&self.place(*b as usize)));
        Panes {
            entities: self.entities.take(rows.iter().map(|row| *row as usize)),
            numbers: rows.iter().map(|row| self.numbers[*row as usize]).collect(),
            rows,
        }
    }

    fn same_entity(&self, a: usize, b: usize) -> bool {
        self.entities.get(a) == self.entities.get(b)
    }
}

/// Told how many windows there are; says whether to go on.
type Look<'a> = &'a mut dyn FnMut(usize) -> Result<(), PipelineError>;

/// Windows between two looks.
const WINDOWS_PER_LOOK: usize = 1 << 14;

/// Every entity's windows, in order.
fn windows_of(panes: &Panes, shape: Shape, look: Look<'_>) -> Result<(Vec<Entity>, Vec<WindowRow>), PipelineError> {
    let (mut entities, mut windows) = (Vec::new(), Vec::new());
    let mut start = 0;
    while start < panes.numbers.len() {
        let mut end = start + 1;
        while end < panes.numbers.len() && panes.same_entity(start, end) {
            end += 1;
        }
        let first_window = windows.len();
        entity_windows(&panes.numbers[start..end], (start, entities.len() as u32), shape, &mut windows, look)?;
        entities.push(Entity { panes: start..end, windows: first_window..windows.len() });
        start = end;
    }
    look(windows.len())?;
    Ok((entities, windows))
}

/// The windows of one entity's panes, whose rows begin at `base`.
fn entity_windows(
    numbers: &[i64],
    (base, entity): (usize, u32),
    shape: Shape,
    windows: &mut Vec<WindowRow>,
    look: Look<'_>,
) -> Result<(), PipelineError> {
    // The panes low..high are those in the window.
    let (mut low, mut high) = (0, 0);
    let mut number = shape.first(numbers[0]);
    loop {
        let start = number * shape.step;
        while low < numbers.len() && numbers[low] < start {
            low += 1;
        }
        let Some(next) = numbers.get(low) else { return Ok(()) };
        while high < numbers.len() && numbers[high] < start + shape.span {
            high += 1;
        }
        if low >= high {
            number = shape.first(*next);
            continue;
        }
        let block = shape.block(start);
        let last = numbers[high - 1];
        windows.push(WindowRow {
            entity,
            number,
            suffix: (shape.block(*next) == block).then_some((base + low) as u32),
            prefix: (shape.block(last) > block).then_some((base + high - 1) as u32),
        });
        if windows.len().is_multiple_of(WINDOWS_PER_LOOK) {
            look(windows.len())?;
        }
        number += 1;
    }
}

/// The windows' accumulators.
fn window_states(
    plan: &Plan,
    groups: &Table,
    panes: &Panes,
    windows: &[WindowRow],
    shape: Shape,
) -> Vec<Box<dyn crate::aggregate::Accumulator>> {
    let joined =
        |a: usize, b: usize| shape.block(panes.numbers[a]) == shape.block(panes.numbers[b]) && panes.same_entity(a, b);
    let rightward: Vec<(u32, u32)> =
        (1..panes.rows.len()).filter(|i| joined(i - 1, *i)).map(|i| (i as u32 - 1, i as u32)).collect();
    let leftward: Vec<(u32, u32)> = rightward.iter().rev().map(|(a, b)| (*b, *a)).collect();
    let pairs = |side: fn(&WindowRow) -> Option<u32>| -> Vec<(u32, u32)> {
        windows.iter().enumerate().filter_map(|(i, row)| side(row).map(|pane| (pane, i as u32))).collect()
    };
    let (from_suffixes, from_prefixes) = (pairs(|row| row.suffix), pairs(|row| row.prefix));
    groups
        .states
        .iter()
        .zip(&plan.prototypes)
        .map(|(state, prototype)| {
            let mut result = prototype.clone();
            result.resize(windows.len());
            for (steps, pairs) in [(&leftward, &from_suffixes), (&rightward, &from_prefixes)] {
                let mut running = state.take(&panes.rows);
                running.merge_within(steps);
                result.merge_from(&*running, pairs);
            }
            result
        })
        .collect()
}

/// For each window, how many distinct values its panes have: each value counts in the union of the windows that have a pane with it.
fn distinct_counts(
    groups: &Table,
    values: &Table,
    panes: &Panes,
    entities: &[Entity],
    windows: &[WindowRow],
    shape: Shape,
) -> Vec<i64> {
    let mut place = vec![0usize; panes.rows.len()];
    panes.rows.iter().enumerate().for_each(|(at, row)| place[*row as usize] = at);
    let mut entity_of = vec![0u32; panes.rows.len()];
    for (number, entity) in entities.iter().enumerate() {
        entity_of[entity.panes.clone()].fill(number as u32);
    }
    // (entity, value, pane), sorted.
    let mut occurrences: Vec<(u32, &[u8], i64)> = Vec::with_capacity(values.keys.len());
    let mut at = 0;
    for (row, key) in groups.keys.iter().enumerate() {
        at = values.keys.gallop(at, key);
        while at < values.keys.len() && values.keys.get(at).starts_with(key) {
            let pane = place[row];
            occurrences.push((entity_of[pane], &values.keys.get(at)[key.len()..], panes.numbers[pane]));
            at += 1;
        }
    }
    occurrences.sort_unstable();
    // Where counts change from one window row to the next.
    let mut changes = vec![0i64; windows.len() + 1];
    let mut known: Option<(u32, &[u8], i64)> = None;
    for (entity, value, pane) in occurrences {
        let counted_to = known.filter(|(e, v, _)| (*e, *v) == (entity, value)).map(|(_, _, last)| last);
        let (first, last) = (shape.first(pane), shape.last(pane));
        let first = counted_to.map_or(first, |counted| first.max(counted + 1));
        known = Some((entity, value, last));
        let rows = &entities[entity as usize].windows;
        let find = |number: i64| rows.start + windows[rows.clone()].partition_point(|row| row.number < number);
        let (from, to) = (find(first), find(last + 1));
        if from < to {
            changes[from] += 1;
            changes[to] -= 1;
        }
    }
    let mut count = 0;
    changes[..windows.len()]
        .iter()
        .map(|change| {
            count += change;
            count
        })
        .collect()
}
