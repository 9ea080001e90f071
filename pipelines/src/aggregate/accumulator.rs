//! What all accumulators can do.

use std::{any::Any, fmt::Debug};

use polars::prelude::Column;
use polars_arrow::bitmap::Bitmap;

use crate::{
    columns::{self, TypedColumn, Values},
    error::PipelineError,
};

/// The records that are added at once.
pub(crate) struct Rows<'a> {
    /// Each record's group.
    pub(crate) groups: &'a [u32],
    /// Records for which the aggregate's `FILTER` is true; `None`: all.
    pub(crate) selected: Option<&'a Bitmap>,
    /// Each record's place in the order of `FIRST` and `LAST`; only there if the reduction has one of them.
    pub(crate) order: Option<&'a Order>,
}

/// Event times and places of records, for `FIRST` and `LAST`.
pub(crate) struct Order {
    pub(crate) event_time: TypedColumn,
    pub(crate) partition: TypedColumn,
    pub(crate) offset: TypedColumn,
}

impl Rows<'_> {
    /// Calls `each` with (group, row) for the selected records for which `argument` is not NULL.
    #[inline]
    pub(crate) fn for_each(&self, argument: Option<&TypedColumn>, mut each: impl FnMut(usize, usize)) {
        let mask = columns::and_masks(self.selected, argument.and_then(|a| a.validity.as_ref()));
        columns::for_each_row(self.groups.len(), mask.as_ref(), |row| each(self.groups[row] as usize, row));
    }
}

/// One aggregate's state for a list of groups.
pub(crate) trait Accumulator: Send + Sync + Debug {
    /// Makes room for `groups` groups; new ones are empty.
    fn resize(&mut self, groups: usize);
    /// Adds records.
    fn update(&mut self, rows: &Rows, argument: Option<&TypedColumn>) -> Result<(), PipelineError>;
    /// Merges groups of another accumulator of the same aggregate into this one's: pairs (theirs, ours).
    fn merge_from(&mut self, other: &dyn Accumulator, pairs: &[(u32, u32)]);
    /// Merges groups into groups: pairs (from, into), one after the other.
    fn merge_within(&mut self, pairs: &[(u32, u32)]);
    /// The groups at `rows`.
    fn take(&self, rows: &[u32]) -> Box<dyn Accumulator>;
    /// Appends the canonical encoding of a group's cell.
    fn encode(&self, group: usize, into: &mut Vec<u8>);
    /// The result for every group.
    fn finish(&self, name: &str) -> Result<Column, PipelineError>;
    /// For storage.
    fn store(&self, name: &str) -> Result<StoredCells<Column>, PipelineError>;
    /// Reads back what [`Accumulator::store`] gave. Where only overflow is not told, and no result is NULL, the states may be absent.
    fn restore(&mut self, stored: StoredCells<&Column>) -> Result<(), PipelineError>;
    /// What the results in [`Accumulator::store`] tell.
    fn stored(&self) -> Stored;
    /// Memory it takes, about.
    fn memory_bytes(&self) -> usize;
    /// A copy.
    fn boxed_clone(&self) -> Box<dyn Accumulator>;
    /// For [`Accumulator::merge_from`].
    fn as_any(&self) -> &dyn Any;
}

impl Clone for Box<dyn Accumulator> {
    fn clone(&self) -> Self {
        self.boxed_clone()
    }
}

/// One group's state.
pub(crate) trait Cell: Clone + Default + Debug + Send + Sync + 'static {
    fn merge(&mut self, other: &Self);
    fn encode(&self, into: &mut Vec<u8>);
    /// Reads an encoding; `None` if the bytes are not exactly the encoding of a cell.
    fn decode(bytes: &[u8]) -> Option<Self>;
    /// Memory beyond the cell itself.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Cells as they are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredCells<C> {
    /// The results; NULL where a result does not fit.
    pub(crate) finished: C,
    /// What is to be added to a result, NULL for nothing; with [`Stored::FinishedAndRest`] only.
    pub(crate) rests: Option<C>,
    /// Encoded cells, NULL for those of which the others tell everything; not with [`Stored::Finished`].
    pub(crate) states: Option<C>,
}

/// Results with what rounding took away from them.
pub(crate) struct Rounded {
    pub(crate) finished: Column,
    /// NULL for nothing, and where a double cannot say it.
    pub(crate) rests: Column,
    /// Whether doubles say it of all.
    pub(crate) tell_all: bool,
}

/// What a finished column tells of its cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stored {
    /// Everything, always.
    Finished,
    /// Everything, but for cells for which [`Aggregate::overflows`].
    FinishedUnlessOverflow,
    /// Everything but what rounding took away, which a second number tells, of nearly all cells.
    FinishedAndRest,
    /// Not everything.
    States,
}

/// An aggregate over cells of one kind.
pub(crate) trait Aggregate: Clone + Debug + Send + Sync + 'static {
    type Cell: Cell;
    const STORED: Stored;
    fn update(
        &self,
        cells: &mut [Self::Cell],
        rows: &Rows,
        argument: Option<&TypedColumn>,
    ) -> Result<(), PipelineError>;
    /// Results; NULL for those that overflow.
    fn finish(&self, name: &str, cells: &[Self::Cell]) -> Result<Column, PipelineError>;
    /// Whether the result does not fit its type.
    fn overflows(&self, _cell: &Self::Cell) -> bool {
        false
    }
    /// Whether the result, with its rest if it has one, tells everything of a cell.
    fn tells_all(&self, cell: &Self::Cell) -> bool {
        !self.overflows(cell)
    }
    /// Results and rests; with [`Stored::FinishedAndRest`] only.
    fn finish_with_rests(&self, name: &str, cells: &[Self::Cell]) -> Result<Rounded, PipelineError> {
        let rests = Column::full_null(name.into(), cells.len(), &polars::prelude::DataType::Float64);
        Ok(Rounded { finished: self.finish(name, cells)?, rests, tell_all: false })
    }
    /// Adds its rest to a cell that was restored from its result; `None` if it is not the rest of such a cell.
    fn restore_rest(&self, _cell: &mut Self::Cell, _rest: f64) -> Option<()> {
        None
    }
    /// Replaces a cell that was restored from its result; `None` if a cell with that state would have another result.
    fn restore_state(&self, cell: &mut Self::Cell, state: Self::Cell) -> Option<()> {
        *cell = state;
        Some(())
    }
    /// The error for it.
    fn overflow(&self, name: &str) -> PipelineError {
        PipelineError::Stored(format!("the state of \"{name}\" is out of range"))
    }
    /// The cells that these finished values tell of, so far as they do; not for [`Stored::States`].
    fn restore(&self, _finished: &TypedColumn, _cells: &mut [Self::Cell]) -> Result<(), PipelineError> {
        Ok(())
    }
}

/// The accumulator of an aggregate over cells.
#[derive(Clone, Debug)]
pub(crate) struct Cells<A: Aggregate> {
    aggregate: A,
    cells: Vec<A::Cell>,
}

impl<A: Aggregate> Cells<A> {
    pub(crate) fn boxed(aggregate: A) -> Box<dyn Accumulator> {
        Box::new(Cells { aggregate, cells: Vec::new() })
    }
}

impl<A: Aggregate> Accumulator for Cells<A> {
    fn resize(&mut self, groups: usize) {
        self.cells.resize_with(groups, Default::default);
    }

    fn update(&mut self, rows: &Rows, argument: Option<&TypedColumn>) -> Result<(), PipelineError> {
        self.aggregate.update(&mut self.cells, rows, argument)
    }

    fn merge_from(&mut self, other: &dyn Accumulator, pairs: &[(u32, u32)]) {
        let other = other.as_any().downcast_ref::<Cells<A>>().expect("accumulators of one aggregate");
        for (theirs, ours) in pairs {
            self.cells[*ours as usize].merge(&other.cells[*theirs as usize]);
        }
    }

    fn merge_within(&mut self, pairs: &[(u32, u32)]) {
        for (from, into) in pairs {
            if let Ok([from, into]) = self.cells.get_disjoint_mut([*from as usize, *into as usize]) {
                into.merge(from);
            }
        }
    }

    fn take(&self, rows: &[u32]) -> Box<dyn Accumulator> {
        let cells = rows.iter().map(|row| self.cells[*row as usize].clone()).collect();
        Box::new(Cells { aggregate: self.aggregate.clone(), cells })
    }

    fn encode(&self, group: usize, into: &mut Vec<u8>) {
        self.cells[group].encode(into);
    }

    fn finish(&self, name: &str) -> Result<Column, PipelineError> {
        if A::STORED == Stored::FinishedUnlessOverflow && self.cells.iter().any(|c| self.aggregate.overflows(c)) {
            return Err(self.aggregate.overflow(name));
        }
        self.aggregate.finish(name, &self.cells)
    }

    fn store(&self, name: &str) -> Result<StoredCells<Column>, PipelineError> {
        let (finished, rests, tell_all) = match A::STORED {
            Stored::FinishedAndRest => {
                let Rounded { finished, rests, tell_all } = self.aggregate.finish_with_rests(name, &self.cells)?;
                (finished, Some(rests), tell_all)
            }
            stored => (self.aggregate.finish(name, &self.cells)?, None, stored == Stored::Finished),
        };
        let states = match A::STORED {
            Stored::Finished => None,
            _ if tell_all => Some(Column::full_null(name.into(), self.cells.len(), &polars::prelude::DataType::Binary)),
            stored => Some(columns::binary_rows(name, self.cells.len(), |row, into| {
                let cell = &self.cells[row];
                let untold = stored == Stored::States || !self.aggregate.tells_all(cell);
                if untold {
                    cell.encode(into);
                }
                untold
            })),
        };
        Ok(StoredCells { finished, rests, states })
    }

    fn restore(&mut self, stored: StoredCells<&Column>) -> Result<(), PipelineError> {
        let StoredCells { finished, rests, states } = stored;
        let name = finished.name();
        self.cells = vec![A::Cell::default(); finished.len()];
        if A::STORED != Stored::States {
            self.aggregate.restore(&TypedColumn::new(finished)?, &mut self.cells)?;
        }
        let says_all = A::STORED == Stored::FinishedUnlessOverflow && states.is_none() && finished.null_count() == 0;
        if A::STORED == Stored::Finished || says_all {
            return Ok(());
        }
        let missing = || PipelineError::Stored(format!("the state of the column \"{name}\" is missing"));
        let damaged =
            |row| PipelineError::Stored(format!("the state of the column \"{name}\" in row {row} is damaged"));
        if A::STORED == Stored::FinishedAndRest {
            let rests = TypedColumn::new(rests.ok_or_else(missing)?)?;
            let Values::Double(values) = &rests.values else { return Err(missing()) };
            for (row, cell) in self.cells.iter_mut().enumerate().filter(|(row, _)| rests.is_valid(*row)) {
                self.aggregate.restore_rest(cell, values.value(row)).ok_or_else(|| damaged(row))?;
            }
        }
        let states = TypedColumn::new(states.ok_or_else(missing)?)?;
        let Values::Binary(bytes) = &states.values else { return Err(missing()) };
        for (row, cell) in self.cells.iter_mut().enumerate() {
            if states.is_valid(row) {
                let state = A::Cell::decode(bytes.value(row));
                state.and_then(|state| self.aggregate.restore_state(cell, state)).ok_or_else(|| damaged(row))?;
            } else if A::STORED == Stored::States {
                return Err(missing());
            }
        }
        Ok(())
    }

    fn stored(&self) -> Stored {
        A::STORED
    }

    fn memory_bytes(&self) -> usize {
        // A sample is enough for a bound on memory, and cheap.
        let step = (self.cells.len() / 256).max(1);
        let sampled = self.cells.iter().step_by(step);
        let heap: usize = sampled.map(Cell::heap_bytes).sum::<usize>() * step;
        self.cells.capacity() * size_of::<A::Cell>() + heap
    }

    fn boxed_clone(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An argument of a type that the planner does not admit.
pub(crate) fn wrong_argument() -> PipelineError {
    PipelineError::Definition("an aggregate's argument has a type that the aggregate does not take".to_owned())
}

/// Takes `N` bytes off the front.
pub(crate) fn take_bytes<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
