//! Choosing among columns row by row, `GREATEST`, `LEAST` and long `IN` lists.

use std::hash::Hash;

use hashbrown::HashSet;
use polars::prelude as pl;
use polars_arrow::array::{Array, MutableBooleanArray};

use crate::{
    error::PipelineError,
    expr::{
        Evaluated,
        lanes::{Build, Lane, Lanes, Numbers, TextBuilder, rows},
    },
    types::DataType,
};

/// The choice that gives NULL.
pub(crate) const NOTHING: u32 = u32::MAX;

/// Runs `$body` with `$lane` as the physical type of `$data_type` and `$build` as its builder (text has its own arm).
macro_rules! by_type {
    ($data_type:expr, |$lane:ident, $build:ident| $body:expr, text => $text:expr) => {
        match $data_type {
            DataType::Boolean => {
                type $lane = bool;
                type $build = MutableBooleanArray;
                $body
            }
            DataType::Int | DataType::Date => {
                type $lane = i32;
                type $build = Numbers<i32>;
                $body
            }
            DataType::BigInt | DataType::Timestamp => {
                type $lane = i64;
                type $build = Numbers<i64>;
                $body
            }
            DataType::Double => {
                type $lane = f64;
                type $build = Numbers<f64>;
                $body
            }
            DataType::Decimal { .. } => {
                type $lane = i128;
                type $build = Numbers<i128>;
                $body
            }
            DataType::Text | DataType::Json => $text,
        }
    };
}

fn lanes_of<L: Lane + ?Sized>(columns: &[pl::Column]) -> Result<Vec<Lanes<L>>, PipelineError> {
    columns.iter().map(Lanes::new).collect()
}

/// A text column of values that `row` borrows.
fn texts<'a>(height: usize, mut row: impl FnMut(usize) -> Option<&'a str>) -> pl::Column {
    let mut builder = <TextBuilder as Build>::with_capacity(height);
    for index in 0..height {
        match row(index) {
            Some(text) => builder.push_value(text),
            None => builder.push_null(),
        }
    }
    builder.finish(DataType::Text)
}

/// For each row the value of the column that `choice` names.
pub(crate) fn choose(columns: &[pl::Column], choice: &[u32], data_type: DataType) -> Result<pl::Column, PipelineError> {
    let height = choice.len();
    by_type!(
        data_type,
        |L, B| {
            let lanes = lanes_of::<L>(columns)?;
            Ok(rows::<B>(height, data_type, |i| Ok(lanes.get(choice[i] as usize).and_then(|l| l.get(i)))).column)
        },
        text => {
            let lanes = lanes_of::<str>(columns)?;
            Ok(texts(height, |i| lanes.get(choice[i] as usize).and_then(|l| l.get(i))))
        }
    )
}

/// A total order; NaN is the greatest double.
trait Order: Copy {
    fn precedes(self, other: Self) -> bool;
}

macro_rules! order {
    ($($native:ty),*) => {$(
        impl Order for $native {
            #[inline(always)]
            fn precedes(self, other: Self) -> bool {
                self < other
            }
        }
    )*};
}
order!(bool, i32, i64, i128, &str);

impl Order for f64 {
    #[inline(always)]
    fn precedes(self, other: f64) -> bool {
        self < other || (other.is_nan() && !self.is_nan())
    }
}

fn best<T: Order>(greatest: bool, values: impl Iterator<Item = Option<T>>) -> Option<T> {
    let better = |a: T, b: T| if greatest { b.precedes(a) } else { a.precedes(b) };
    values.flatten().reduce(|best, next| if better(next, best) { next } else { best })
}

/// `GREATEST` or `LEAST` of the arguments that are not NULL.
pub(crate) fn extreme(
    greatest: bool,
    data_type: DataType,
    arguments: &[pl::Column],
    height: usize,
) -> Result<Evaluated, PipelineError> {
    by_type!(
        data_type,
        |L, B| {
            let lanes = lanes_of::<L>(arguments)?;
            Ok(rows::<B>(height, data_type, |i| Ok(best(greatest, lanes.iter().map(|l| l.get(i))))))
        },
        text => {
            let lanes = lanes_of::<str>(arguments)?;
            Ok(Evaluated::infallible(texts(height, |i| best(greatest, lanes.iter().map(|l| l.get(i))))))
        }
    )
}

/// Values that are looked up; doubles by their canonical bits.
trait Lookup {
    type Key: Hash + Eq;
    fn key(self) -> Self::Key;
}

macro_rules! lookup {
    ($($native:ty),*) => {$(
        impl Lookup for $native {
            type Key = $native;
            fn key(self) -> $native {
                self
            }
        }
    )*};
}
lookup!(bool, i32, i64, i128);

impl<'a> Lookup for &'a str {
    type Key = &'a str;
    fn key(self) -> &'a str {
        self
    }
}

impl Lookup for f64 {
    type Key = u64;
    fn key(self) -> u64 {
        crate::expr::lanes::canonical(self).to_bits()
    }
}

/// `a IN (b, c, …)`: true if one is equal; else NULL if `a` or one of the list is NULL; else false.
pub(crate) fn is_in(data_type: DataType, arguments: &[pl::Column], height: usize) -> Result<Evaluated, PipelineError> {
    by_type!(data_type, |L, _B| is_in_lanes::<L>(arguments, height), text => is_in_lanes::<str>(arguments, height))
}

fn is_in_lanes<L>(arguments: &[pl::Column], height: usize) -> Result<Evaluated, PipelineError>
where
    L: Lane + ?Sized,
    for<'a> L::Item<'a>: Lookup,
{
    let lanes = lanes_of::<L>(arguments)?;
    let (value, list) =
        lanes.split_first().ok_or_else(|| PipelineError::Definition("IN without arguments".to_owned()))?;
    // What is constant is looked up; the rest is compared row by row.
    let (constants, others): (Vec<_>, Vec<_>) = list.iter().partition(|l| height != 1 && l.array().len() == 1);
    let mut set = HashSet::new();
    let mut null = false;
    for constant in constants {
        match constant.get(0) {
            Some(item) => {
                set.insert(item.key());
            }
            None => null = true,
        }
    }
    Ok(rows::<MutableBooleanArray>(height, DataType::Boolean, |i| {
        let Some(value) = value.get(i).map(Lookup::key) else { return Ok(None) };
        if set.contains(&value) {
            return Ok(Some(true));
        }
        let mut null = null;
        for other in &others {
            match other.get(i).map(Lookup::key) {
                Some(item) if item == value => return Ok(Some(true)),
                Some(_) => {}
                None => null = true,
            }
        }
        Ok(if null { None } else { Some(false) })
    }))
}
