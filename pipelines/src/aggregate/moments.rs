//! `AVG`, `VAR_POP`, `VAR_SAMP`, `STDDEV_POP` and `STDDEV_SAMP`: exact sums, one rounding.

use num_bigint::BigUint;
use polars::prelude::Column;

use crate::{
    aggregate::{
        accumulator::{Aggregate, Cell, Rows, Stored, take_bytes, wrong_argument},
        exact_double::ExactDouble,
        integer_sum::{ExactInteger, SquareSum},
        rounding::{Dyadic, decode_integer, encode_integer, round_ratio, round_ratio_small, round_sqrt},
        sum::add_integers,
        wide_double::DoubleSquares,
    },
    columns::{self, TypedColumn, Values},
    error::PipelineError,
};

/// Values of one kind, with exact sums of them and of their squares.
pub(super) trait Moments: Clone + Default + std::fmt::Debug + Send + Sync + 'static {
    type Squares: Clone + Default + std::fmt::Debug + Send + Sync + 'static;
    /// Calls `add` for the rows with a value.
    fn each(rows: &Rows, column: &TypedColumn, add: impl FnMut(usize, Self::Value)) -> Result<(), PipelineError>;
    type Value: Copy;
    fn add(&mut self, value: Self::Value);
    fn merge(&mut self, other: &Self);
    fn encode(&self, into: &mut Vec<u8>);
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
    /// The sum if it is not finite.
    fn special(&self) -> Option<f64>;
    fn small(&self) -> Option<(i128, i32)>;
    fn total(&self) -> Dyadic;
    fn add_square(squares: &mut Self::Squares, value: Self::Value);
    fn merge_squares(squares: &mut Self::Squares, other: &Self::Squares);
    fn total_of_squares(squares: &Self::Squares) -> Dyadic;
    fn encode_squares(squares: &Self::Squares, into: &mut Vec<u8>);
    fn decode_squares(bytes: &mut &[u8]) -> Option<Self::Squares>;
    fn heap_bytes(&self) -> usize;
    fn squares_heap_bytes(squares: &Self::Squares) -> usize;
}

impl Moments for ExactInteger {
    type Squares = SquareSum;
    type Value = i128;

    fn each(rows: &Rows, column: &TypedColumn, add: impl FnMut(usize, i128)) -> Result<(), PipelineError> {
        add_integers(rows, column, add)
    }

    fn add(&mut self, value: i128) {
        ExactInteger::add(self, value);
    }

    fn merge(&mut self, other: &Self) {
        Cell::merge(self, other);
    }

    fn encode(&self, into: &mut Vec<u8>) {
        Cell::encode(self, into);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        ExactInteger::decode_front(bytes)
    }

    fn special(&self) -> Option<f64> {
        None
    }

    fn small(&self) -> Option<(i128, i32)> {
        ExactInteger::small(self).map(|sum| (sum, 0))
    }

    fn total(&self) -> Dyadic {
        ExactInteger::total(self)
    }

    fn add_square(squares: &mut SquareSum, value: i128) {
        squares.add(value);
    }

    fn merge_squares(squares: &mut SquareSum, other: &SquareSum) {
        squares.merge(other);
    }

    fn total_of_squares(squares: &SquareSum) -> Dyadic {
        Dyadic { negative: false, magnitude: squares.total(), exponent: 0 }
    }

    fn encode_squares(squares: &SquareSum, into: &mut Vec<u8>) {
        encode_integer(false, &squares.total().to_bytes_be(), into);
    }

    fn decode_squares(bytes: &mut &[u8]) -> Option<SquareSum> {
        let (negative, total) = decode_integer(bytes)?;
        if negative { None } else { SquareSum::of(&total) }
    }

    fn heap_bytes(&self) -> usize {
        Cell::heap_bytes(self)
    }

    fn squares_heap_bytes(_: &SquareSum) -> usize {
        0
    }
}

impl Moments for ExactDouble {
    type Squares = DoubleSquares;
    type Value = f64;

    fn each(rows: &Rows, column: &TypedColumn, mut add: impl FnMut(usize, f64)) -> Result<(), PipelineError> {
        let Values::Double(values) = &column.values else { return Err(wrong_argument()) };
        let values = values.values().as_slice();
        rows.for_each(Some(column), |group, row| add(group, values[row]));
        Ok(())
    }

    fn add(&mut self, value: f64) {
        ExactDouble::add(self, value);
    }

    fn merge(&mut self, other: &Self) {
        Cell::merge(self, other);
    }

    fn encode(&self, into: &mut Vec<u8>) {
        Cell::encode(self, into);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        ExactDouble::decode_front(bytes)
    }

    fn special(&self) -> Option<f64> {
        ExactDouble::special(self)
    }

    fn small(&self) -> Option<(i128, i32)> {
        ExactDouble::small(self)
    }

    fn total(&self) -> Dyadic {
        ExactDouble::total(self)
    }

    fn add_square(squares: &mut DoubleSquares, value: f64) {
        squares.add(value);
    }

    fn merge_squares(squares: &mut DoubleSquares, other: &DoubleSquares) {
        squares.merge(other);
    }

    fn total_of_squares(squares: &DoubleSquares) -> Dyadic {
        squares.total()
    }

    fn encode_squares(squares: &DoubleSquares, into: &mut Vec<u8>) {
        squares.total().encode(into);
    }

    fn decode_squares(bytes: &mut &[u8]) -> Option<DoubleSquares> {
        DoubleSquares::of(Dyadic::decode(bytes)?)
    }

    fn heap_bytes(&self) -> usize {
        Cell::heap_bytes(self)
    }

    fn squares_heap_bytes(squares: &DoubleSquares) -> usize {
        squares.heap_bytes()
    }
}

/// More values than any log has: counts that are read add up without overflow.
const COUNT_MAX: u64 = 1 << 56;

fn take_count(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take_bytes(bytes)?)).filter(|count| *count <= COUNT_MAX)
}

/// How many values, and their exact sum. Encoding: the count in 8 bytes, little endian; the sum as in `SUM`.
#[derive(Clone, Default, Debug)]
pub(super) struct Mean<M> {
    count: u64,
    sum: M,
}

impl<M: Moments> Cell for Mean<M> {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.merge(&other.sum);
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.count.to_le_bytes());
        self.sum.encode(into);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let cell = Mean { count: take_count(bytes)?, sum: M::decode(bytes)? };
        bytes.is_empty().then_some(cell)
    }

    fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes()
    }
}

/// `AVG`: the exact sum divided by the count, rounded once. NaN if there are NaN or infinities of both signs.
#[derive(Clone, Debug)]
pub(super) struct Average<M> {
    /// 10^scale of decimals.
    divisor: u128,
    values: std::marker::PhantomData<M>,
}

impl<M> Average<M> {
    pub(super) fn new(scale: u8) -> Self {
        Average { divisor: 10u128.pow(u32::from(scale)), values: std::marker::PhantomData }
    }
}

impl<M: Moments> Average<M> {
    fn result(&self, cell: &Mean<M>) -> f64 {
        if let Some(special) = cell.sum.special() {
            return special;
        }
        let small_divisor = u64::try_from(self.divisor).ok().and_then(|d| d.checked_mul(cell.count));
        match (cell.sum.small(), small_divisor) {
            (_, Some(0)) => 0.0,
            (Some((sum, exponent)), Some(divisor)) => round_ratio_small(sum < 0, sum.unsigned_abs(), divisor, exponent),
            _ => {
                let sum = cell.sum.total();
                let divisor = BigUint::from(self.divisor) * cell.count;
                round_ratio(sum.negative, &sum.magnitude, &divisor, sum.exponent)
            }
        }
    }
}

impl<M: Moments> Aggregate for Average<M> {
    type Cell = Mean<M>;
    const STORED: Stored = Stored::States;

    fn update(&self, cells: &mut [Mean<M>], rows: &Rows, argument: Option<&TypedColumn>) -> Result<(), PipelineError> {
        M::each(rows, argument.ok_or_else(wrong_argument)?, |group, value| {
            let cell = &mut cells[group];
            cell.count += 1;
            cell.sum.add(value);
        })
    }

    fn finish(&self, name: &str, cells: &[Mean<M>]) -> Result<Column, PipelineError> {
        let validity = columns::bitmap(cells.iter().map(|cell| cell.count > 0));
        Ok(columns::double_column(name, cells.iter().map(|cell| self.result(cell)).collect(), validity))
    }
}

/// As [`Mean`], with the exact sum of squares. Encoding: that of [`Mean`], then the sum of squares: of integers and decimals
/// (unscaled) as an integer, of doubles as m · 2^e (both as in `SUM`, without flags).
#[derive(Clone, Default, Debug)]
pub(super) struct Spread<M: Moments> {
    mean: Mean<M>,
    squares: M::Squares,
}

impl<M: Moments> Cell for Spread<M> {
    fn merge(&mut self, other: &Self) {
        self.mean.merge(&other.mean);
        M::merge_squares(&mut self.squares, &other.squares);
    }

    fn encode(&self, into: &mut Vec<u8>) {
        self.mean.encode(into);
        M::encode_squares(&self.squares, into);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let mean = Mean { count: take_count(bytes)?, sum: M::decode(bytes)? };
        let cell = Spread { mean, squares: M::decode_squares(bytes)? };
        bytes.is_empty().then_some(cell)
    }

    fn heap_bytes(&self) -> usize {
        self.mean.heap_bytes() + M::squares_heap_bytes(&self.squares)
    }
}

/// A variance or standard deviation: (n·Σx² − (Σx)²) / n² exactly (`SAMP`: / n·(n−1)), then one rounding (of the square root). NaN
/// if a value is NaN or infinite.
#[derive(Clone, Debug)]
pub(super) struct Variance<M> {
    pub(super) sample: bool,
    pub(super) root: bool,
    /// Digits after the point of decimals.
    pub(super) scale: u8,
    pub(super) values: std::marker::PhantomData<M>,
}

impl<M: Moments> Variance<M> {
    fn result(&self, cell: &Spread<M>) -> f64 {
        let n = cell.mean.count;
        if cell.mean.sum.special().is_some() {
            return f64::NAN;
        }
        let (sum, squares) = (cell.mean.sum.total(), M::total_of_squares(&cell.squares));
        // Both in units of 2^exponent.
        let exponent = squares.exponent.min(2 * sum.exponent);
        let scaled = |magnitude: BigUint, from: i32| magnitude << (from - exponent) as u32;
        let square_of_sum = scaled(&sum.magnitude * &sum.magnitude, 2 * sum.exponent);
        let squares = scaled(squares.magnitude * n, squares.exponent);
        // n·Σx² is never below (Σx)²: a state that says so was not made of values, and has no variance.
        if squares < square_of_sum {
            return f64::NAN;
        }
        let numerator = squares - square_of_sum;
        let divisor =
            BigUint::from(n) * (n - u64::from(self.sample)) * BigUint::from(10u8).pow(2 * u32::from(self.scale));
        if self.root {
            round_sqrt(&numerator, &divisor, exponent)
        } else {
            round_ratio(false, &numerator, &divisor, exponent)
        }
    }
}

impl<M: Moments> Aggregate for Variance<M> {
    type Cell = Spread<M>;
    const STORED: Stored = Stored::States;

    fn update(
        &self,
        cells: &mut [Spread<M>],
        rows: &Rows,
        argument: Option<&TypedColumn>,
    ) -> Result<(), PipelineError> {
        M::each(rows, argument.ok_or_else(wrong_argument)?, |group, value| {
            let cell = &mut cells[group];
            cell.mean.count += 1;
            cell.mean.sum.add(value);
            M::add_square(&mut cell.squares, value);
        })
    }

    fn finish(&self, name: &str, cells: &[Spread<M>]) -> Result<Column, PipelineError> {
        let least = if self.sample { 2 } else { 1 };
        let results = cells.iter().map(|c| if c.mean.count < least { 0.0 } else { self.result(c) }).collect();
        let validity = columns::bitmap(cells.iter().map(|cell| cell.mean.count >= least));
        Ok(columns::double_column(name, results, validity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::{prelude::*, sample::select};

    fn spread<M: Moments>(values: &[M::Value]) -> Spread<M> {
        let mut cell = Spread::<M>::default();
        for value in values {
            cell.mean.count += 1;
            cell.mean.sum.add(*value);
            M::add_square(&mut cell.squares, *value);
        }
        cell
    }

    fn variance<M: Moments>(sample: bool, root: bool, scale: u8) -> Variance<M> {
        Variance { sample, root, scale, values: std::marker::PhantomData }
    }

    /// Σ(n·x − Σx)² / (n³, or n²·(n−1)): the definition, with the mean not divided.
    fn defined(values: &[i128], sample: bool, scale: u8, exponent: i32) -> f64 {
        let n = BigInt::from(values.len());
        let sum: BigInt = values.iter().map(|x| BigInt::from(*x)).sum();
        let squares: BigInt = values.iter().map(|x| (&n * *x - &sum).pow(2)).sum();
        let divisor = &n * &n * (&n - i32::from(sample)) * BigInt::from(10).pow(2 * u32::from(scale));
        round_ratio(false, squares.magnitude(), divisor.magnitude(), 2 * exponent)
    }

    proptest! {
        #[test]
        fn integers_and_decimals(
            values in prop::collection::vec(prop_oneof![-9..9i128, any::<i128>()], 1..30),
            scale in select(vec![0u8, 2, 38]),
            sample: bool,
        ) {
            prop_assume!(values.len() > 1 || !sample);
            let cell = spread::<ExactInteger>(&values);
            let result = variance(sample, false, scale).result(&cell);
            prop_assert_eq!(result, defined(&values, sample, scale, 0));
            let sum: BigInt = values.iter().map(|x| BigInt::from(*x)).sum();
            let divisor = BigUint::from(10u8).pow(u32::from(scale)) * values.len();
            let average = Average::<ExactInteger>::new(scale).result(&cell.mean);
            prop_assert_eq!(average, round_ratio(sum < BigInt::ZERO, sum.magnitude(), &divisor, 0));
            // Two roundings are at most a unit in the last place off.
            let root = variance(sample, true, scale).result(&cell);
            prop_assert!((root - result.sqrt()).abs() <= root * f64::EPSILON);
        }

        #[test]
        fn doubles(
            values in prop::collection::vec(-1i128 << 53..1 << 53, 1..30),
            exponent in prop_oneof![-1000..900i32, -60..0i32],
            sample: bool,
        ) {
            prop_assume!(values.len() > 1 || !sample);
            let doubles: Vec<f64> = values.iter().map(|x| *x as f64 * 2f64.powi(exponent)).collect();
            let cell = spread::<ExactDouble>(&doubles);
            prop_assert_eq!(variance(sample, false, 0).result(&cell), defined(&values, sample, 0, exponent));
            let sum: BigInt = values.iter().map(|x| BigInt::from(*x)).sum();
            let average = Average::<ExactDouble>::new(0).result(&cell.mean);
            let expected = round_ratio(sum < BigInt::ZERO, sum.magnitude(), &BigUint::from(values.len()), exponent);
            prop_assert_eq!(average, expected);
            let mut bytes = Vec::new();
            cell.encode(&mut bytes);
            let mut again = Vec::new();
            Spread::<ExactDouble>::decode(&bytes).unwrap().encode(&mut again);
            prop_assert_eq!(bytes, again);
        }
    }

    #[test]
    fn what_is_not_finite() {
        let of = |values: &[f64]| spread::<ExactDouble>(values);
        assert!(variance(false, false, 0).result(&of(&[1.0, f64::INFINITY])).is_nan());
        assert_eq!(Average::new(0).result(&of(&[1.0, f64::INFINITY]).mean), f64::INFINITY);
        assert!(Average::new(0).result(&of(&[1.0, f64::NAN]).mean).is_nan());
        // The same value many times has no variance, however many digits it has.
        assert_eq!(variance(true, true, 0).result(&of(&[0.1; 1000])), 0.0);
        assert_eq!(Average::new(0).result(&of(&[0.1; 1000]).mean), 0.1);
        assert_eq!(Average::new(0).result(&of(&[f64::MAX, f64::MAX]).mean), f64::MAX);
    }
}
