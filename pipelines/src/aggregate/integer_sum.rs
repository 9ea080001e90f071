//! Exact sums of integers and decimals.

use num_bigint::BigUint;
use num_traits::ToPrimitive;

use crate::aggregate::{
    accumulator::{Cell, take_bytes},
    rounding::{Dyadic, decode_integer, encode_integer},
};

/// A sum of up to 2⁶⁴ 128-bit integers. Encoding: `00` if no value was added, else `01` and the integer
/// (16 bits, little endian: number of magnitude bytes, highest bit for negative; the magnitude, big endian).
///
/// Nearly all sums fit in 64 bits: a group's state takes 16 bytes, not 32.
#[derive(Clone, Default, Debug)]
pub(super) enum ExactInteger {
    /// No value was added.
    #[default]
    Empty,
    Short(i64),
    /// Of any size: once a sum is long, it stays so.
    Long(Box<Long>),
}

/// low + high · 2¹²⁸
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Long {
    low: i128,
    high: i64,
}

impl Long {
    fn add(&mut self, value: i128) {
        let (sum, overflowed) = self.low.overflowing_add(value);
        self.low = sum;
        if overflowed {
            self.high += if value < 0 { -1 } else { 1 };
        }
    }
}

impl ExactInteger {
    #[inline]
    pub(super) fn add(&mut self, value: i128) {
        match (&mut *self, i64::try_from(value)) {
            (ExactInteger::Short(sum), Ok(short)) => match sum.checked_add(short) {
                Some(both) => *sum = both,
                None => self.add_long(value),
            },
            (ExactInteger::Empty, Ok(short)) => *self = ExactInteger::Short(short),
            _ => self.add_long(value),
        }
    }

    #[cold]
    fn add_long(&mut self, value: i128) {
        let mut sum = self.parts().unwrap_or_default();
        sum.add(value);
        self.set(sum);
    }

    fn set(&mut self, sum: Long) {
        match self {
            ExactInteger::Long(long) => **long = sum,
            _ => *self = ExactInteger::Long(Box::new(sum)),
        }
    }

    /// The sum, if a value was added.
    fn parts(&self) -> Option<Long> {
        match self {
            ExactInteger::Empty => None,
            ExactInteger::Short(sum) => Some(Long { low: i128::from(*sum), high: 0 }),
            ExactInteger::Long(long) => Some(**long),
        }
    }

    /// For restoring: the sum of values that were there.
    pub(super) fn of(value: i128) -> ExactInteger {
        let mut sum = ExactInteger::Empty;
        sum.add(value);
        sum
    }

    pub(super) fn is_some(&self) -> bool {
        !matches!(self, ExactInteger::Empty)
    }

    /// The sum, if 128 bits hold it; 0 if no value was added.
    pub(super) fn small(&self) -> Option<i128> {
        match self {
            ExactInteger::Empty => Some(0),
            ExactInteger::Short(sum) => Some(i128::from(*sum)),
            ExactInteger::Long(long) => (long.high == 0).then_some(long.low),
        }
    }

    pub(super) fn total(&self) -> Dyadic {
        let (negative, magnitude) = self.sign_magnitude();
        Dyadic { negative, magnitude: BigUint::from_bytes_be(&magnitude), exponent: 0 }
    }

    fn sign_magnitude(&self) -> (bool, [u8; 24]) {
        let Long { low, high } = self.parts().unwrap_or_default();
        // The sum in 192 bits, two's complement: low's sign extends into the upper bits.
        let mut upper = high.wrapping_add(if low < 0 { -1 } else { 0 });
        let mut lower = low as u128;
        let negative = upper < 0;
        if negative {
            lower = lower.wrapping_neg();
            upper = (!upper).wrapping_add(i64::from(lower == 0));
        }
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&upper.to_be_bytes());
        bytes[8..].copy_from_slice(&lower.to_be_bytes());
        (negative, bytes)
    }

    pub(super) fn decode_front(bytes: &mut &[u8]) -> Option<ExactInteger> {
        match take_bytes(bytes)? {
            [0] => return Some(ExactInteger::default()),
            [1] => {}
            _ => return None,
        }
        let (negative, magnitude) = decode_integer(bytes)?;
        let upper = (&magnitude >> 128u32).to_i64()?;
        let lower = (magnitude & BigUint::from(u128::MAX)).to_u128()?;
        // low as a signed number takes what its sign bit stands for from high.
        let (lower, upper) = if negative {
            (lower.wrapping_neg(), (!upper).wrapping_add(i64::from(lower == 0)))
        } else {
            (lower, upper)
        };
        let low = lower as i128;
        match (low, upper + i64::from(low < 0)) {
            (low, 0) => Some(ExactInteger::of(low)),
            (low, high) => Some(ExactInteger::Long(Box::new(Long { low, high }))),
        }
    }
}

impl Cell for ExactInteger {
    fn merge(&mut self, other: &Self) {
        match other {
            ExactInteger::Empty => {}
            ExactInteger::Short(sum) => self.add(i128::from(*sum)),
            ExactInteger::Long(long) => {
                let mut sum = self.parts().unwrap_or_default();
                sum.add(long.low);
                sum.high += long.high;
                self.set(sum);
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        if let ExactInteger::Long(_) = self { size_of::<Long>() } else { 0 }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.push(u8::from(self.is_some()));
        if self.is_some() {
            match self.small() {
                Some(sum) => encode_integer(sum < 0, &sum.unsigned_abs().to_be_bytes(), into),
                None => {
                    let (negative, magnitude) = self.sign_magnitude();
                    encode_integer(negative, &magnitude, into);
                }
            }
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let sum = ExactInteger::decode_front(&mut bytes)?;
        bytes.is_empty().then_some(sum)
    }
}

/// A sum of squares of 128-bit integers, in 320 bits, lowest first. (Room for 2⁶⁴ squares of up to 2²⁵⁴.)
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct SquareSum([u64; 5]);

impl SquareSum {
    #[inline]
    pub(super) fn add(&mut self, value: i128) {
        let magnitude = value.unsigned_abs();
        let (low, high) = (magnitude as u64, (magnitude >> 64) as u64);
        self.add_limbs(0, u128::from(low) * u128::from(low));
        if high != 0 {
            let cross = u128::from(low) * u128::from(high);
            // Twice the cross product: its top bit goes one limb higher.
            self.add_limbs(1, cross << 1);
            self.add_limbs(3, cross >> 127);
            self.add_limbs(2, u128::from(high) * u128::from(high));
        }
    }

    #[inline]
    fn add_limbs(&mut self, at: usize, value: u128) {
        let mut carry = value;
        for limb in &mut self.0[at..] {
            if carry == 0 {
                break;
            }
            let sum = u128::from(*limb) + u128::from(carry as u64);
            *limb = sum as u64;
            carry = (carry >> 64) + (sum >> 64);
        }
    }

    pub(super) fn merge(&mut self, other: &SquareSum) {
        for (at, limb) in other.0.iter().enumerate() {
            self.add_limbs(at, u128::from(*limb));
        }
    }

    pub(super) fn total(&self) -> BigUint {
        BigUint::from_bytes_le(&self.0.map(u64::to_le_bytes).concat())
    }

    /// `None` if it does not fit.
    pub(super) fn of(total: &BigUint) -> Option<SquareSum> {
        let mut limbs = [0; 5];
        if total.bits() > 320 {
            return None;
        }
        limbs.iter_mut().zip(total.iter_u64_digits()).for_each(|(limb, digit)| *limb = digit);
        Some(SquareSum(limbs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::{BigInt, Sign};
    use proptest::prelude::*;

    fn big(sum: &ExactInteger) -> BigInt {
        let total = sum.total();
        BigInt::from_biguint(if total.negative { Sign::Minus } else { Sign::Plus }, total.magnitude)
    }

    fn extremes() -> impl Strategy<Value = i128> {
        prop_oneof![
            any::<i128>(),
            any::<i64>().prop_map(i128::from),
            prop::sample::select(vec![i128::MIN, i128::MAX, i64::MIN.into(), i64::MAX.into(), 0, -1]),
            -5i128..5,
        ]
    }

    proptest! {
        #[test]
        fn sums_are_exact(values in prop::collection::vec(extremes(), 0..40), split in 0usize..40) {
            let split = split.min(values.len());
            let mut left = ExactInteger::default();
            let mut right = ExactInteger::default();
            values[..split].iter().for_each(|v| left.add(*v));
            values[split..].iter().rev().for_each(|v| right.add(*v));
            right.merge(&left);
            prop_assert_eq!(big(&right), values.iter().map(|v| BigInt::from(*v)).sum::<BigInt>());
            let mut bytes = Vec::new();
            right.encode(&mut bytes);
            let decoded = ExactInteger::decode(&bytes).unwrap();
            prop_assert_eq!(decoded.is_some(), right.is_some());
            prop_assert_eq!(big(&decoded), big(&right));
            let mut again = Vec::new();
            decoded.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn squares_are_exact(values in prop::collection::vec(extremes(), 0..40)) {
            let mut sum = SquareSum::default();
            values.iter().for_each(|v| sum.add(*v));
            let expected: BigInt = values.iter().map(|v| BigInt::from(*v) * BigInt::from(*v)).sum();
            prop_assert_eq!(BigInt::from(sum.total()), expected);
            prop_assert_eq!(SquareSum::of(&sum.total()).unwrap(), sum);
        }
    }
}
