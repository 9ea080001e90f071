//! `APPROX_PERCENTILE`: counts in buckets of bounded relative width.
//!
//! After C. Masson et al., "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees" (VLDB 2019), with
//! the logarithm interpolated linearly: each power of two is split into 64 buckets of equal width, so that a bucket's number is the sign,
//! the exponent and the first 6 bits of the mantissa of a double, and no logarithm can differ between machines. The middle of a
//! bucket is within 1/128 (0.8 %) of all its values. (Subnormal numbers have the absolute error of the least normal bucket.) Buckets
//! are never collapsed: there are 262,083 at most. Counts add up, so order cannot matter.

use polars::prelude::Column;

use crate::{
    aggregate::{
        accumulator::{Aggregate, Cell, Rows, Stored, take_bytes, wrong_argument},
        rounding::round_ratio_small,
    },
    columns::{self, TypedColumn, Values, canonical_double},
    error::PipelineError,
};

/// Bits of a double that a bucket's number leaves out.
const DROPPED_BITS: u32 = 52 - 6;

/// Ascending with the value: 0 for zero, negative for negative values, NaN last.
fn bucket_of(x: f64) -> i32 {
    let x = canonical_double(x);
    if x == 0.0 {
        return 0;
    }
    let magnitude = (x.to_bits() & (u64::MAX >> 1)) >> DROPPED_BITS;
    let bucket = magnitude as i32 + 1;
    if x < 0.0 { -bucket } else { bucket }
}

/// The middle of a bucket.
fn value_of(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let lowest = f64::from_bits(u64::from(bucket.unsigned_abs() - 1) << DROPPED_BITS);
    let magnitude =
        if lowest.is_finite() { f64::from_bits(lowest.to_bits() | 1 << (DROPPED_BITS - 1)) } else { lowest };
    if magnitude.is_nan() {
        f64::NAN
    } else if bucket < 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// Buckets and how many values are in them. Encoding: in order, each bucket's number (32 bits) and count (64 bits), little endian.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Buckets(Vec<(i32, u64)>);

impl Buckets {
    fn add(&mut self, bucket: i32, count: u64) {
        match self.0.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    /// The value of rank ⌊fraction · (n − 1)⌋, counted from 0.
    fn percentile(&self, fraction: f64) -> Option<f64> {
        let n: u64 = self.0.iter().map(|(_, count)| count).sum();
        let rank = (fraction * n.checked_sub(1)? as f64).floor() as u64;
        let mut below = 0;
        let bucket = self.0.iter().find(|(_, count)| {
            below += count;
            below > rank
        });
        bucket.or(self.0.last()).map(|(bucket, _)| value_of(*bucket))
    }
}

impl Cell for Buckets {
    fn merge(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        if other.0.len() * 8 < self.0.len() {
            return other.0.iter().for_each(|(bucket, count)| self.add(*bucket, *count));
        }
        let mut merged = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            match a.0.cmp(&b.0) {
                std::cmp::Ordering::Less => merged.extend(ours.next()),
                std::cmp::Ordering::Greater => merged.extend(theirs.next()),
                std::cmp::Ordering::Equal => {
                    merged.push((a.0, a.1 + b.1));
                    ours.next();
                    theirs.next();
                }
            }
        }
        merged.extend(ours.chain(theirs));
        self.0 = merged;
    }

    fn encode(&self, into: &mut Vec<u8>) {
        for (bucket, count) in &self.0 {
            into.extend_from_slice(&bucket.to_le_bytes());
            into.extend_from_slice(&count.to_le_bytes());
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut buckets = Vec::with_capacity(bytes.len() / 12);
        while !bytes.is_empty() {
            let bucket = i32::from_le_bytes(take_bytes(&mut bytes)?);
            buckets.push((bucket, u64::from_le_bytes(take_bytes(&mut bytes)?)));
        }
        let nan = bucket_of(f64::NAN);
        let valid = buckets.is_sorted_by(|a, b| a.0 < b.0)
            && buckets.iter().all(|(bucket, count)| *count > 0 && (-nan..=nan).contains(bucket));
        // More values than any log has: counts that are read add up without overflow.
        let all = buckets.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
        (valid && all <= 1 << 56).then_some(Buckets(buckets))
    }

    fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(i32, u64)>()
    }
}

/// `APPROX_PERCENTILE`.
#[derive(Clone, Debug)]
pub(super) struct ApproxPercentile {
    /// 0 to 1.
    pub(super) fraction: f64,
    /// 10^scale of decimals.
    pub(super) divisor: u128,
}

impl Aggregate for ApproxPercentile {
    type Cell = Buckets;
    const STORED: Stored = Stored::States;

    fn update(&self, cells: &mut [Buckets], rows: &Rows, argument: Option<&TypedColumn>) -> Result<(), PipelineError> {
        let column = argument.ok_or_else(wrong_argument)?;
        let mut add = |group: usize, x: f64| cells[group].add(bucket_of(x), 1);
        match &column.values {
            Values::Double(values) => rows.for_each(argument, |group, row| add(group, values.value(row))),
            Values::Int(values) => rows.for_each(argument, |group, row| add(group, f64::from(values.value(row)))),
            Values::BigInt(values) => rows.for_each(argument, |group, row| add(group, values.value(row) as f64)),
            Values::Decimal(values) => rows.for_each(argument, |group, row| {
                let unscaled = values.value(row);
                let x = match u64::try_from(self.divisor) {
                    Ok(divisor) => round_ratio_small(unscaled < 0, unscaled.unsigned_abs(), divisor, 0),
                    Err(_) => unscaled as f64 / self.divisor as f64,
                };
                add(group, x);
            }),
            _ => return Err(wrong_argument()),
        }
        Ok(())
    }

    fn finish(&self, name: &str, cells: &[Buckets]) -> Result<Column, PipelineError> {
        let results: Vec<Option<f64>> = cells.iter().map(|cell| cell.percentile(self.fraction)).collect();
        let validity = columns::bitmap(results.iter().map(Option::is_some));
        Ok(columns::double_column(name, results.into_iter().map(Option::unwrap_or_default).collect(), validity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buckets(values: &[f64]) -> Buckets {
        let mut buckets = Buckets::default();
        values.iter().for_each(|x| buckets.add(bucket_of(*x), 1));
        buckets
    }

    #[test]
    fn buckets_never_change() {
        for (x, bucket) in [
            (0.0, 0),
            (-0.0, 0),
            (1.0, 65_473),
            (1.015, 65_473),
            (1.016, 65_474),
            (-2.0, -65_537),
            (f64::INFINITY, 131_009),
            (f64::NAN, 131_041),
            (-f64::NAN, 131_041),
        ] {
            assert_eq!(bucket_of(x), bucket, "{x}");
        }
        assert!(value_of(131_041).is_nan());
        assert_eq!(value_of(-131_009), f64::NEG_INFINITY);
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_one_percent(mut values in prop::collection::vec(any::<f64>(), 1..50), fraction in 0.0..=1.0) {
            let estimate = buckets(&values).percentile(fraction).unwrap();
            values.iter_mut().for_each(|x| *x = canonical_double(*x));
            values.sort_by(f64::total_cmp);
            let exact = values[(fraction * (values.len() - 1) as f64).floor() as usize];
            let close = (estimate - exact).abs() <= exact.abs() / 128.0 || exact.abs() < f64::MIN_POSITIVE;
            prop_assert!(close || estimate == exact || (estimate.is_nan() && exact.is_nan()), "{} {}", estimate, exact);
        }

        #[test]
        fn merging_adds_up(values in prop::collection::vec(any::<f64>(), 0..200), at in 0usize..200) {
            let (left, right) = values.split_at(at.min(values.len()));
            let mut merged = buckets(left);
            merged.merge(&buckets(right));
            prop_assert_eq!(&merged, &buckets(&values));
            let mut bytes = Vec::new();
            merged.encode(&mut bytes);
            prop_assert_eq!(Buckets::decode(&bytes), Some(merged));
        }
    }
}
