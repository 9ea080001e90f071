//! `FIRST` and `LAST`.

use std::{cmp::Ordering, marker::PhantomData};

use polars::prelude::Column;

use crate::{
    aggregate::{
        accumulator::{Aggregate, Cell, Rows, Stored, take_bytes, wrong_argument},
        scalar::Scalar,
    },
    columns::TypedColumn,
    error::PipelineError,
    types::DataType,
};

/// A record's place: event time, partition, offset. No two records have the same.
type Place = (i64, i32, i64);

/// The value of the record with the least (`LAST`: greatest) place. Encoding: `00` for none; else the place (event time and
/// offset in 8 bytes, partition in 4 between them, little endian) after a `01`, then the value as in keys.
#[derive(Clone, Debug)]
pub(super) struct Placed<T, const LAST: bool>(Option<(Place, T)>);

impl<T, const LAST: bool> Default for Placed<T, LAST> {
    fn default() -> Self {
        Placed(None)
    }
}

impl<T: Scalar, const LAST: bool> Placed<T, LAST> {
    #[inline]
    fn add(&mut self, place: Place, value: T::View<'_>) {
        let better = if LAST { Ordering::Greater } else { Ordering::Less };
        if self.0.as_ref().is_none_or(|(held, _)| place.cmp(held) == better) {
            self.0 = Some((place, T::own(value)));
        }
    }
}

impl<T: Scalar, const LAST: bool> Cell for Placed<T, LAST> {
    fn merge(&mut self, other: &Self) {
        if let Some((place, value)) = &other.0 {
            self.add(*place, value.view());
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let Some(((event_time, partition, offset), value)) = &self.0 else { return into.push(0) };
        into.push(1);
        into.extend_from_slice(&event_time.to_le_bytes());
        into.extend_from_slice(&partition.to_le_bytes());
        into.extend_from_slice(&offset.to_le_bytes());
        value.encode(into);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes == [0] {
            return Some(Placed(None));
        }
        let bytes = &mut bytes;
        let [1] = take_bytes(bytes)? else { return None };
        let event_time = i64::from_le_bytes(take_bytes(bytes)?);
        let partition = i32::from_le_bytes(take_bytes(bytes)?);
        let offset = i64::from_le_bytes(take_bytes(bytes)?);
        let value = T::decode(bytes)??;
        bytes.is_empty().then_some(Placed(Some(((event_time, partition, offset), value))))
    }

    fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |(_, value)| value.heap_bytes())
    }
}

/// `FIRST` (`LAST`) of values of one type.
#[derive(Clone, Debug)]
pub(super) struct PlacedOf<T, const LAST: bool> {
    data_type: DataType,
    values: PhantomData<T>,
}

impl<T, const LAST: bool> PlacedOf<T, LAST> {
    pub(super) fn new(data_type: DataType) -> Self {
        PlacedOf { data_type, values: PhantomData }
    }
}

impl<T: Scalar, const LAST: bool> Aggregate for PlacedOf<T, LAST> {
    type Cell = Placed<T, LAST>;
    const STORED: Stored = Stored::States;

    fn update(
        &self,
        cells: &mut [Self::Cell],
        rows: &Rows,
        argument: Option<&TypedColumn>,
    ) -> Result<(), PipelineError> {
        let Some(column) = argument else { return Ok(()) };
        let order = rows.order.ok_or_else(wrong_argument)?;
        let value = T::reader(column)?;
        let event_time = i64::reader(&order.event_time)?;
        let partition = i32::reader(&order.partition)?;
        let offset = i64::reader(&order.offset)?;
        rows.for_each(argument, |group, row| {
            cells[group].add((event_time(row), partition(row), offset(row)), value(row));
        });
        Ok(())
    }

    fn finish(&self, name: &str, cells: &[Self::Cell]) -> Result<Column, PipelineError> {
        let values = cells.iter().map(|cell| cell.0.as_ref().map(|(_, value)| value));
        Ok(T::column(name, self.data_type, values))
    }
}
