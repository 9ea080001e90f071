//! `MIN`, `MAX`, `BOOL_AND` (the least boolean), `BOOL_OR` (the greatest), and the columns of views of rows: of one value, which
//! may be NULL, the greatest.

use std::{cmp::Ordering, marker::PhantomData};

use polars::prelude::Column;

use crate::{
    aggregate::{
        accumulator::{Aggregate, Cell, Rows, Stored},
        scalar::Scalar,
    },
    columns::TypedColumn,
    error::PipelineError,
    types::DataType,
};

/// The least (`MAX`: greatest) value seen. Encoding: that of keys, NULL for none.
#[derive(Clone, Debug)]
pub(super) struct Extreme<T, const MAX: bool>(Option<T>);

impl<T, const MAX: bool> Default for Extreme<T, MAX> {
    fn default() -> Self {
        Extreme(None)
    }
}

impl<T: Scalar, const MAX: bool> Extreme<T, MAX> {
    #[inline]
    fn add(&mut self, value: T::View<'_>) {
        let better = if MAX { Ordering::Greater } else { Ordering::Less };
        if self.0.as_ref().is_none_or(|held| T::compare(value, held.view()) == better) {
            self.0 = Some(T::own(value));
        }
    }
}

impl<T: Scalar, const MAX: bool> Cell for Extreme<T, MAX> {
    fn merge(&mut self, other: &Self) {
        if let Some(value) = &other.0 {
            self.add(value.view());
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        match &self.0 {
            Some(value) => value.encode(into),
            None => into.push(0),
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let value = T::decode(&mut bytes)?;
        bytes.is_empty().then_some(Extreme(value))
    }

    fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Scalar::heap_bytes)
    }
}

/// `MIN` (`MAX`) of values of one type.
#[derive(Clone, Debug)]
pub(super) struct ExtremeOf<T, const MAX: bool> {
    data_type: DataType,
    values: PhantomData<T>,
}

impl<T, const MAX: bool> ExtremeOf<T, MAX> {
    pub(super) fn new(data_type: DataType) -> Self {
        ExtremeOf { data_type, values: PhantomData }
    }
}

impl<T: Scalar, const MAX: bool> Aggregate for ExtremeOf<T, MAX> {
    type Cell = Extreme<T, MAX>;
    const STORED: Stored = Stored::Finished;

    fn update(
        &self,
        cells: &mut [Self::Cell],
        rows: &Rows,
        argument: Option<&TypedColumn>,
    ) -> Result<(), PipelineError> {
        let Some(column) = argument else { return Ok(()) };
        let value = T::reader(column)?;
        rows.for_each(argument, |group, row| cells[group].add(value(row)));
        Ok(())
    }

    fn finish(&self, name: &str, cells: &[Self::Cell]) -> Result<Column, PipelineError> {
        Ok(T::column(name, self.data_type, cells.iter().map(|cell| cell.0.as_ref())))
    }

    fn restore(&self, finished: &TypedColumn, cells: &mut [Self::Cell]) -> Result<(), PipelineError> {
        let value = T::reader(finished)?;
        for (row, cell) in cells.iter_mut().enumerate().filter(|(row, _)| finished.is_valid(*row)) {
            cell.0 = Some(T::own(value(row)));
        }
        Ok(())
    }
}
