//! Exact sums of doubles.

use crate::aggregate::{
    accumulator::Cell,
    rounding::{Dyadic, encode_small},
    wide_double::{FRACTION, SOME, WideDouble, round_fixed, round_fixed_with_rest, to_fixed},
};

/// Sums of so many bits, the sign among them, in steps of 2^-FRACTION, are short ones: those below 2⁴⁴, to 22 decimal places.
const SHORT_BITS: u32 = 119;

/// An exact sum of doubles: that of [`WideDouble`], with its encoding.
///
/// Nearly all sums need no more than 119 bits: a group's state takes 16 bytes, not 32.
#[derive(Clone, Debug)]
pub(super) enum ExactDouble {
    /// In steps of 2^-FRACTION; in pieces, so that they lie around the enum's tag. The lowest bit of `top` says whether there were values:
    /// a variant of its own would be a branch that no processor foresees, as every other value or so is its group's first.
    Short { low: u64, middle: u32, high: u16, top: i8 },
    /// Of any size, and of values that are no numbers: once a sum is long, it stays so.
    Long(Box<WideDouble>),
}

const _: () = assert!(size_of::<ExactDouble>() == 16);

impl Default for ExactDouble {
    fn default() -> Self {
        ExactDouble::Short { low: 0, middle: 0, high: 0, top: 0 }
    }
}

/// A sum in steps of 2^-FRACTION, if it is short, and whether there were values.
#[inline(always)]
fn short(sum: i128, is_some: bool) -> Option<ExactDouble> {
    let upper = (sum >> 64) as i64;
    let (middle, high) = (upper as u32, (upper >> 32) as u16);
    let top = (upper >> 48 << 1) as i8 | i8::from(is_some);
    let fits = upper << (128 - SHORT_BITS) >> (128 - SHORT_BITS) == upper;
    fits.then_some(ExactDouble::Short { low: sum as u64, middle, high, top })
}

impl ExactDouble {
    #[inline(always)]
    pub(super) fn add(&mut self, x: f64) {
        if let (Some((sum, _)), Some(value)) = (self.short_sum(), to_fixed(x))
            // Neither has more than 126 bits.
            && let Some(sum) = short(sum + value, true)
        {
            *self = sum;
        } else {
            self.add_long(x);
        }
    }

    #[cold]
    fn add_long(&mut self, x: f64) {
        self.long().add(x);
    }

    /// The sum in steps of 2^-FRACTION, unless it is long, and whether there were values.
    #[inline(always)]
    fn short_sum(&self) -> Option<(i128, bool)> {
        match *self {
            ExactDouble::Short { low, middle, high, top } => {
                let upper = i64::from(top >> 1) << 48 | i64::from(high) << 32 | i64::from(middle);
                Some((i128::from(upper) << 64 | i128::from(low), top & 1 == 1))
            }
            ExactDouble::Long(_) => None,
        }
    }

    /// This sum, which is a long one from now on.
    #[cold]
    fn long(&mut self) -> &mut WideDouble {
        if !matches!(self, ExactDouble::Long(_)) {
            *self = ExactDouble::Long(Box::new(self.to_wide()));
        }
        match self {
            ExactDouble::Long(sum) => sum,
            _ => unreachable!("it was made long"),
        }
    }

    fn to_wide(&self) -> WideDouble {
        match self {
            ExactDouble::Long(sum) => (**sum).clone(),
            short => match short.short_sum().unwrap_or_default() {
                (sum, true) => WideDouble::of_fixed(sum),
                (_, false) => WideDouble::default(),
            },
        }
    }

    fn of(sum: WideDouble) -> ExactDouble {
        match sum.only_fixed().and_then(|sum| short(sum, true)) {
            Some(short) => short,
            None if !sum.is_some() => ExactDouble::default(),
            None => ExactDouble::Long(Box::new(sum)),
        }
    }

    pub(super) fn is_some(&self) -> bool {
        self.short_sum().is_none_or(|(_, is_some)| is_some)
    }

    /// The sum if it is not a finite number.
    pub(super) fn special(&self) -> Option<f64> {
        if let ExactDouble::Long(sum) = self { sum.special() } else { None }
    }

    /// The sum of the finite values in steps of 2^exponent, if 128 bits hold it.
    pub(super) fn small(&self) -> Option<(i128, i32)> {
        match self {
            ExactDouble::Long(sum) => sum.small(),
            short => short.short_sum().map(|(sum, _)| (sum, -FRACTION)),
        }
    }

    /// The sum of the finite values.
    pub(super) fn total(&self) -> Dyadic {
        self.to_wide().total()
    }

    /// The sum, rounded once; ±infinity beyond the range of doubles.
    pub(super) fn round(&self) -> f64 {
        match self {
            ExactDouble::Long(sum) => sum.round(),
            short => short.short_sum().map_or(0.0, |(sum, _)| round_fixed(sum)),
        }
    }

    /// The sum, rounded once, and what that took away, if a double can say it: their sum is this one.
    #[inline]
    pub(super) fn round_with_rest(&self) -> (f64, Option<f64>) {
        match self {
            ExactDouble::Long(sum) => sum.round_with_rest(),
            short => round_fixed_with_rest(short.short_sum().unwrap_or_default().0),
        }
    }

    pub(super) fn decode_front(bytes: &mut &[u8]) -> Option<ExactDouble> {
        WideDouble::decode_front(bytes).map(ExactDouble::of)
    }
}

impl Cell for ExactDouble {
    #[inline]
    fn merge(&mut self, other: &Self) {
        if let (Some((ours, is_some)), Some((theirs, are_some))) = (self.short_sum(), other.short_sum())
            && let Some(sum) = short(ours + theirs, is_some | are_some)
        {
            *self = sum;
        } else if let ExactDouble::Long(theirs) = other {
            self.long().merge(theirs);
        } else {
            self.long().merge(&other.to_wide());
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        match self {
            ExactDouble::Long(sum) => sum.encode(into),
            short => match short.short_sum().unwrap_or_default() {
                (sum, true) => {
                    into.push(SOME);
                    encode_small(sum, -FRACTION, into);
                }
                (_, false) => into.push(0),
            },
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        WideDouble::decode(bytes).map(ExactDouble::of)
    }

    fn heap_bytes(&self) -> usize {
        if let ExactDouble::Long(sum) = self { size_of::<WideDouble>() + sum.heap_bytes() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    /// Those around the limits, too.
    fn doubles() -> impl Strategy<Value = f64> {
        let limit = 2f64.powi(SHORT_BITS as i32 - 1 - FRACTION);
        prop_oneof![
            any::<f64>(),
            -1000.0..1000.0,
            -limit..limit,
            select(vec![
                0.0,
                -0.0,
                0.1,
                2f64.powi(-FRACTION),
                -2f64.powi(-FRACTION),
                limit,
                -limit,
                limit / 2.0,
                limit - 2f64.powi(-8),
                1e16,
                5e-324,
                f64::MAX,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::NAN,
            ]),
        ]
    }

    fn sum(values: &[f64]) -> ExactDouble {
        let mut sum = ExactDouble::default();
        values.iter().for_each(|x| sum.add(*x));
        sum
    }

    fn wide(values: &[f64]) -> WideDouble {
        let mut sum = WideDouble::default();
        values.iter().for_each(|x| sum.add(*x));
        sum
    }

    fn encoded(sum: &impl Cell) -> Vec<u8> {
        let mut bytes = Vec::new();
        sum.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn it_says_what_the_wide_one_says(
            values in prop::collection::vec(doubles(), 0..12),
            at in 0usize..12,
        ) {
            let (exact, wide) = (sum(&values), wide(&values));
            let (left, right) = values.split_at(at.min(values.len()));
            let mut merged = sum(right);
            merged.merge(&sum(left));
            let decoded = ExactDouble::decode(&encoded(&exact)).unwrap();
            let mut restored = ExactDouble::default();
            if exact.is_some() {
                restored.add(exact.round());
            }
            match exact.round_with_rest() {
                (_, Some(rest)) if exact.is_some() => restored.add(rest),
                _ => restored = ExactDouble::decode(&encoded(&exact)).unwrap(),
            }
            for same in [exact, merged, decoded, restored] {
                prop_assert_eq!(encoded(&same), encoded(&wide));
                let ((rounded, rest), (of_wide, rest_of_wide)) = (same.round_with_rest(), wide.round_with_rest());
                prop_assert_eq!(rest.map(f64::to_bits), rest_of_wide.map(f64::to_bits));
                prop_assert_eq!(rounded.to_bits(), of_wide.to_bits());
                prop_assert_eq!(same.round().to_bits(), wide.round().to_bits());
                prop_assert_eq!(same.round().to_bits(), rounded.to_bits());
                prop_assert_eq!(same.special().map(f64::to_bits), wide.special().map(f64::to_bits));
                prop_assert_eq!(same.is_some(), wide.is_some());
                prop_assert_eq!(same.total().normalised(), wide.total().normalised());
                if let Some((small, exponent)) = same.small() {
                    let small = Dyadic { negative: small < 0, magnitude: small.unsigned_abs().into(), exponent };
                    prop_assert_eq!(small.normalised(), wide.total().normalised());
                }
            }
        }

        #[test]
        fn short_sums_are_those_that_fit(sum in any::<i128>(), shift in 0u32..128) {
            let sum = sum >> shift;
            let bits = 129 - (if sum < 0 { !sum } else { sum }).leading_zeros();
            for is_some in [false, true] {
                prop_assert_eq!(short(sum, is_some).is_some(), bits <= SHORT_BITS);
                if let Some(short) = short(sum, is_some) {
                    prop_assert_eq!(short.short_sum(), Some((sum, is_some)));
                    prop_assert_eq!(short.is_some(), is_some);
                }
            }
        }
    }

    #[test]
    fn amounts_are_short() {
        assert!(matches!(sum(&[12.34, -0.1, 1e13, 3e-5]), ExactDouble::Short { .. }));
        assert!(matches!(sum(&[0.0]), ExactDouble::Short { .. }));
        assert!(matches!(sum(&[1e14]), ExactDouble::Long(_)));
        assert!(matches!(sum(&[1e-30]), ExactDouble::Long(_)));
    }
}
