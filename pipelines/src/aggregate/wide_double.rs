//! Exact sums of doubles and of their squares, of any size.
//!
//! Most values are multiples of 2⁻⁷⁴ below 2⁵² and go into 128-bit fixed point. What does not fit goes into a wide accumulator
//! as in R. M. Neal, "Fast exact summation using small and large superaccumulators" (2015), section 2: 32-bit digits in 64-bit
//! integers, carried over only when they could overflow. The sum is the exact total of both parts, so that neither the way a
//! value took nor the order can be seen in it.

use num_traits::{ToPrimitive, Zero};

use crate::aggregate::{
    accumulator::{Cell, take_bytes},
    integer_sum::SquareSum,
    rounding::{Dyadic, encode_small},
    wide::{Wide, WideSquares, WideSum},
};

/// Steps of the fixed-point part are 2^-FRACTION.
pub(super) const FRACTION: i32 = 74;
/// Exponent of the least bit of a double.
const LEAST: i32 = -1074;

/// A flag: there were values.
pub(super) const SOME: u8 = 1;
const POSITIVE_INFINITY: u8 = 2;
const NEGATIVE_INFINITY: u8 = 4;
const NAN: u8 = 8;

/// `x` in steps of 2^-FRACTION, if that is exact and below 2¹²⁵.
#[inline]
pub(super) fn to_fixed(x: f64) -> Option<i128> {
    let bits = x.to_bits();
    let power = (bits >> 52 & 0x7ff) as i32;
    let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    let shift = power - 1075 + FRACTION;
    let magnitude = if power == 0 {
        return (x == 0.0).then_some(0);
    } else if (0..=72).contains(&shift) {
        i128::from(mantissa) << shift
    } else if (-52..0).contains(&shift) && mantissa & ((1 << -shift) - 1) == 0 {
        i128::from(mantissa >> -shift)
    } else {
        return None;
    };
    Some(if x < 0.0 { -magnitude } else { magnitude })
}

/// A sum in steps of 2^-FRACTION, rounded once. The conversion rounds to nearest even; no such result is subnormal.
#[inline]
pub(super) fn round_fixed(fixed: i128) -> f64 {
    fixed as f64 * 2f64.powi(-FRACTION)
}

/// A sum in steps of 2^-FRACTION, rounded as by [`round_fixed`], and what that took away, if a double can say it.
#[inline]
pub(super) fn round_fixed_with_rest(fixed: i128) -> (f64, Option<f64>) {
    if fixed == 0 {
        return (0.0, Some(0.0));
    }
    // The highest of 128 bits is set: 53 are kept, 75 are below them.
    let zeros = fixed.unsigned_abs().leading_zeros();
    let magnitude = fixed.unsigned_abs() << zeros;
    let (kept, below) = ((magnitude >> 75) as u64, magnitude & ((1 << 75) - 1));
    let up = below > 1 << 74 || (below == 1 << 74 && kept & 1 == 1);
    let rest = below as i128 - (i128::from(up) << 75);
    let signed = |x: f64| if fixed < 0 { 0.0 - x } else { x };
    let step = -FRACTION - zeros as i32;
    let rounded = (kept + u64::from(up)) as f64 * power_of_two(step + 75);
    // Nearly all rests are short, and all but their highest 53 bits are zeros.
    let rest = match below as u64 & ((1 << 22) - 1) {
        0 => Some((rest >> 22) as i64 as f64 * power_of_two(step + 22)),
        _ => exactly(rest).map(|rest| rest * power_of_two(step)),
    };
    (signed(rounded), rest.map(signed))
}

/// 2^exponent, of those of normal doubles.
#[inline(always)]
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// A number that is not 0 as a double, if there is one.
#[cold]
fn exactly(number: i128) -> Option<f64> {
    let magnitude = number.unsigned_abs();
    let is_exact = 128 - magnitude.leading_zeros() - magnitude.trailing_zeros() <= 53;
    is_exact.then_some(number as f64)
}

/// Mantissa and exponent above [`LEAST`] of a finite double.
fn parts(x: f64) -> (u64, u32) {
    let power = (x.to_bits() >> 52 & 0x7ff) as u32;
    let fraction = x.to_bits() & ((1 << 52) - 1);
    if power == 0 { (fraction, 0) } else { (fraction | 1 << 52, power - 1) }
}

/// An exact sum of doubles. Encoding: `00` if no value was added; else a byte of flags (1, and 2 for +infinity, 4 for −infinity, 8
/// for NaN among the values), then the sum of the finite ones, m · 2^e with odd m (zero: m = e = 0): e in 16 bits, little
/// endian; 16 bits, little endian: number of magnitude bytes of m, highest bit for negative; the magnitude, big endian.
#[derive(Clone, Default, Debug)]
pub(super) struct WideDouble {
    fixed: i128,
    wide: Option<Box<WideSum>>,
    flags: u8,
}

impl WideDouble {
    /// A sum of values that were there, in steps of 2^-FRACTION.
    pub(super) fn of_fixed(fixed: i128) -> WideDouble {
        WideDouble { fixed, wide: None, flags: SOME }
    }

    /// The sum in steps of 2^-FRACTION, if there were values and that says all.
    pub(super) fn only_fixed(&self) -> Option<i128> {
        (self.flags == SOME && self.wide.is_none()).then_some(self.fixed)
    }

    #[inline]
    pub(super) fn add(&mut self, x: f64) {
        self.flags |= SOME;
        match to_fixed(x) {
            Some(fixed) => self.add_fixed(fixed),
            None => self.add_wide(x),
        }
    }

    #[inline]
    fn add_fixed(&mut self, fixed: i128) {
        match self.fixed.checked_add(fixed) {
            Some(sum) => self.fixed = sum,
            None => {
                self.spill();
                self.fixed = fixed;
            }
        }
    }

    #[cold]
    fn add_wide(&mut self, x: f64) {
        if x.is_finite() {
            let (mantissa, position) = parts(x);
            self.wide.get_or_insert_with(Wide::new).add(mantissa, position, x < 0.0);
        } else {
            self.flags |= if x.is_nan() {
                NAN
            } else if x > 0.0 {
                POSITIVE_INFINITY
            } else {
                NEGATIVE_INFINITY
            };
        }
    }

    /// Moves the fixed-point part into the wide one.
    #[cold]
    fn spill(&mut self) {
        let position = (-FRACTION - LEAST) as u32;
        let wide = self.wide.get_or_insert_with(Wide::new);
        wide.add_wide(self.fixed.unsigned_abs(), position, self.fixed < 0);
        self.fixed = 0;
    }

    pub(super) fn is_some(&self) -> bool {
        self.flags & SOME != 0
    }

    /// The sum if it is not a finite number.
    pub(super) fn special(&self) -> Option<f64> {
        match self.flags & !SOME {
            0 => None,
            POSITIVE_INFINITY => Some(f64::INFINITY),
            NEGATIVE_INFINITY => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// The sum of the finite values in steps of 2^exponent, if 128 bits hold it.
    pub(super) fn small(&self) -> Option<(i128, i32)> {
        self.wide.is_none().then_some((self.fixed, -FRACTION))
    }

    /// The sum of the finite values.
    pub(super) fn total(&self) -> Dyadic {
        if let Some((fixed, exponent)) = self.small() {
            return Dyadic { negative: fixed < 0, magnitude: fixed.unsigned_abs().into(), exponent };
        }
        let mut all = self.clone();
        all.spill();
        let (negative, magnitude) = all.wide.map_or_else(Default::default, |wide| wide.total());
        Dyadic { negative, magnitude, exponent: LEAST }
    }

    /// The sum, rounded once; ±infinity beyond the range of doubles.
    pub(super) fn round(&self) -> f64 {
        self.special().unwrap_or_else(|| match self.small() {
            Some((fixed, _)) => round_fixed(fixed),
            None => self.total().round(),
        })
    }

    /// The sum, rounded once, and what that took away, if a double can say it: their sum is this one.
    /// It is what [`round_fixed_with_rest`] says where that can be asked.
    pub(super) fn round_with_rest(&self) -> (f64, Option<f64>) {
        let rounded = self.round();
        if !rounded.is_finite() {
            return (rounded, None);
        }
        let mut left = self.clone();
        left.add(-rounded);
        let rest = left.round();
        left.add(-rest);
        (rounded, left.total().magnitude.is_zero().then_some(rest))
    }

    pub(super) fn decode_front(bytes: &mut &[u8]) -> Option<WideDouble> {
        let [flags] = take_bytes(bytes)?;
        if flags == 0 {
            return Some(WideDouble::default());
        }
        if flags & SOME == 0 || flags > 15 {
            return None;
        }
        let total = Dyadic::decode(bytes)?;
        let mut sum = WideDouble { flags, ..WideDouble::default() };
        let shift = total.exponent + FRACTION;
        if shift >= 0 && total.magnitude.bits() + shift as u64 <= 126 {
            let magnitude = (total.magnitude << shift).to_i128()?;
            sum.fixed = if total.negative { -magnitude } else { magnitude };
        } else {
            let shift = u64::try_from(total.exponent - LEAST).ok()?;
            sum.wide = Some(Wide::of(total.negative, &(total.magnitude << shift))?);
        }
        Some(sum)
    }
}

impl Cell for WideDouble {
    fn merge(&mut self, other: &Self) {
        self.flags |= other.flags;
        self.add_fixed(other.fixed);
        if let Some(theirs) = &other.wide {
            match &mut self.wide {
                Some(ours) => ours.merge(theirs),
                ours => *ours = Some(theirs.clone()),
            }
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.push(self.flags);
        if self.is_some() {
            match self.small() {
                Some((fixed, exponent)) => encode_small(fixed, exponent, into),
                None => self.total().encode(into),
            }
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let sum = WideDouble::decode_front(&mut bytes)?;
        bytes.is_empty().then_some(sum)
    }

    fn heap_bytes(&self) -> usize {
        self.wide.as_ref().map_or(0, |_| size_of::<WideSum>())
    }
}

/// An exact sum of squares of finite doubles.
#[derive(Clone, Default, Debug)]
pub(super) struct DoubleSquares {
    /// In steps of 2^(-2 · FRACTION).
    fixed: SquareSum,
    wide: Option<Box<WideSquares>>,
}

impl DoubleSquares {
    #[inline]
    pub(super) fn add(&mut self, x: f64) {
        match to_fixed(x) {
            Some(fixed) => self.fixed.add(fixed),
            None if x.is_finite() => {
                let (mantissa, position) = parts(x);
                let square = u128::from(mantissa) * u128::from(mantissa);
                self.wide.get_or_insert_with(Wide::new).add_wide(square, 2 * position, false);
            }
            None => {}
        }
    }

    pub(super) fn merge(&mut self, other: &DoubleSquares) {
        self.fixed.merge(&other.fixed);
        if let Some(theirs) = &other.wide {
            match &mut self.wide {
                Some(ours) => ours.merge(theirs),
                ours => *ours = Some(theirs.clone()),
            }
        }
    }

    pub(super) fn total(&self) -> Dyadic {
        let fixed = self.fixed.total();
        match &self.wide {
            None => Dyadic { negative: false, magnitude: fixed, exponent: -2 * FRACTION },
            Some(wide) => {
                let shift = (-2 * FRACTION - 2 * LEAST) as u64;
                Dyadic { negative: false, magnitude: (fixed << shift) + wide.total().1, exponent: 2 * LEAST }
            }
        }
    }

    pub(super) fn of(total: Dyadic) -> Option<DoubleSquares> {
        if total.negative {
            return None;
        }
        let mut squares = DoubleSquares::default();
        let shift = total.exponent + 2 * FRACTION;
        if shift >= 0 && total.magnitude.bits() + shift as u64 <= 316 {
            squares.fixed = SquareSum::of(&(total.magnitude << shift))?;
        } else {
            let shift = u64::try_from(total.exponent - 2 * LEAST).ok()?;
            squares.wide = Some(Wide::of(false, &(total.magnitude << shift))?);
        }
        Some(squares)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.wide.as_ref().map_or(0, |_| size_of::<WideSquares>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::{BigInt, BigUint, Sign};
    use proptest::{prelude::*, sample::select};

    fn doubles() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()),
            -1000.0..1000.0,
            select(vec![
                0.1,
                -0.1,
                1e308,
                -1e308,
                f64::MAX,
                5e-324,
                -5e-324,
                0.0,
                -0.0,
                1e15,
                1e22,
                2f64.powi(52),
                1e-8
            ]),
        ]
    }

    /// In units of 2^LEAST.
    fn big(x: f64) -> BigInt {
        let (mantissa, position) = parts(x);
        BigInt::from_biguint(if x < 0.0 { Sign::Minus } else { Sign::Plus }, BigUint::from(mantissa) << position)
    }

    fn value(total: &Dyadic, least: i32) -> BigInt {
        let sign = if total.negative { Sign::Minus } else { Sign::Plus };
        if total.magnitude.is_zero() {
            return BigInt::zero();
        }
        let total = total.clone().normalised();
        BigInt::from_biguint(sign, total.magnitude << (total.exponent - least) as u32)
    }

    fn encoded(sum: &WideDouble) -> Vec<u8> {
        let mut bytes = Vec::new();
        sum.encode(&mut bytes);
        bytes
    }

    fn sum(values: &[f64]) -> WideDouble {
        let mut sum = WideDouble::default();
        values.iter().for_each(|x| sum.add(*x));
        sum
    }

    proptest! {
        #[test]
        fn sums_are_exact(values in prop::collection::vec(doubles(), 0..60), at in 0usize..60) {
            let expected: BigInt = values.iter().map(|x| big(*x)).sum();
            let all = sum(&values);
            prop_assert_eq!(value(&all.total(), LEAST), expected);
            prop_assert_eq!(all.round().to_bits(), all.total().round().to_bits());
            // Neither the order nor the way taken shows.
            let (left, right) = values.split_at(at.min(values.len()));
            let mut merged = sum(right);
            merged.merge(&sum(left));
            prop_assert_eq!(encoded(&merged), encoded(&all));
            let mut wide = WideDouble::default();
            values.iter().rev().for_each(|x| {
                wide.flags |= SOME;
                wide.add_wide(*x);
            });
            prop_assert_eq!(encoded(&wide), encoded(&all));
            let back = WideDouble::decode(&encoded(&all)).unwrap();
            prop_assert_eq!(encoded(&back), encoded(&all));
        }

        #[test]
        fn squares_are_exact(values in prop::collection::vec(doubles(), 0..60)) {
            let expected: BigInt = values.iter().map(|x| big(*x) * big(*x)).sum();
            let mut squares = DoubleSquares::default();
            values.iter().for_each(|x| squares.add(*x));
            prop_assert_eq!(value(&squares.total(), 2 * LEAST), expected);
            let back = DoubleSquares::of(squares.total().normalised()).unwrap();
            prop_assert_eq!(back.total().normalised(), squares.total().normalised());
        }

        #[test]
        fn rests_are_what_rounding_takes_away(sum in any::<i128>(), shift in 3u32..128, zeros in 0u32..128) {
            let sum = sum >> shift >> zeros << zeros;
            let (rounded, rest) = round_fixed_with_rest(sum);
            prop_assert_eq!(rounded.to_bits(), round_fixed(sum).to_bits());
            // Those that round to less than 2¹²⁵ steps, and `to_fixed` takes.
            if sum.unsigned_abs() < (1 << 125) - (1 << 71) {
                let away = sum - to_fixed(rounded).unwrap();
                let as_double = round_fixed(away);
                prop_assert_eq!(rest, (to_fixed(as_double) == Some(away)).then_some(as_double));
                prop_assert_eq!((rounded, rest), WideDouble::of_fixed(sum).round_with_rest());
            } else {
                prop_assert_eq!(to_fixed(rounded), None);
            }
        }

        #[test]
        fn a_sum_is_what_it_is_rounded_to_and_its_rest(values in prop::collection::vec(doubles(), 0..12)) {
            let whole = sum(&values);
            let (rounded, rest) = whole.round_with_rest();
            prop_assert_eq!(rounded.to_bits(), whole.round().to_bits());
            if let Some(rest) = rest {
                prop_assert_eq!(big(rounded) + big(rest), value(&whole.total(), LEAST));
            }
            // The way taken does not show.
            let mut wide = WideDouble { flags: whole.flags, ..WideDouble::default() };
            values.iter().for_each(|x| wide.add_wide(*x));
            prop_assert_eq!(wide.round_with_rest(), (rounded, rest));
        }

        #[test]
        fn fixed_point_is_exact(x in doubles()) {
            if let Some(fixed) = to_fixed(x) {
                prop_assert_eq!(fixed as f64 * 2f64.powi(-FRACTION), x);
            }
        }
    }

    #[test]
    fn bytes_never_change() {
        for (values, bytes) in [
            (vec![], "00"),
            (vec![0.0], "0100000000"),
            (vec![0.5, 1.0], "01ffff010003"),
            (vec![-3.0], "010000018003"),
            (vec![f64::INFINITY, f64::NAN, 4.0], "0b0200010001"),
            (vec![1e308, -1e308], "0100000000"),
            (vec![5e-324], "01cefb010001"),
        ] {
            let hex: String = encoded(&sum(&values)).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, bytes, "{values:?}");
        }
    }

    #[test]
    fn rests_never_change() {
        for (values, rest) in [
            (vec![], Some(0.0)),
            (vec![0.1], Some(0.0)),
            (vec![0.1, 0.2], Some(-(2f64.powi(-55)))),
            (vec![2f64.powi(40), 2f64.powi(-20)], Some(2f64.powi(-20))),
            (vec![2f64.powi(40), 2f64.powi(-20), 2f64.powi(-74)], None),
            (vec![1e16, 1.0], Some(1.0)),
            (vec![5e-324], Some(0.0)),
            (vec![1e300, -1e-300], Some(-1e-300)),
            (vec![1e300, 1.0, 1e-300], None),
            (vec![f64::MAX, f64::MAX], None),
            (vec![f64::INFINITY, 4.0], None),
        ] {
            assert_eq!(sum(&values).round_with_rest().1, rest, "{values:?}");
        }
    }

    #[test]
    fn edges_of_the_range() {
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).round(), f64::MAX);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).round(), f64::INFINITY);
        assert_eq!(sum(&[1e16, 1.0, -1e16]).round(), 1.0);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).round().is_nan());
        assert_eq!(sum(&[-0.0]).round().to_bits(), 0);
    }
}
