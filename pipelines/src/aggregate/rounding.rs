//! Exact numbers: their canonical bytes, and rounding them to doubles, once, to the nearest, ties to even.

use num_bigint::BigUint;
use num_integer::Integer;
use num_traits::Zero;

use crate::aggregate::accumulator::take_bytes;

/// ± magnitude · 2^exponent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Dyadic {
    pub(super) negative: bool,
    pub(super) magnitude: BigUint,
    pub(super) exponent: i32,
}

impl Dyadic {
    /// The same number with an odd magnitude (zero: not negative, exponent 0). Equal numbers are equal then.
    pub(super) fn normalised(mut self) -> Dyadic {
        match self.magnitude.trailing_zeros() {
            None => Dyadic { negative: false, magnitude: BigUint::zero(), exponent: 0 },
            Some(zeros) => {
                self.magnitude >>= zeros;
                self.exponent += i32::try_from(zeros).unwrap_or(i32::MAX);
                self
            }
        }
    }

    /// The normalised exponent (16 bits, little endian), then the magnitude as [`encode_integer`].
    pub(super) fn encode(self, into: &mut Vec<u8>) {
        let this = self.normalised();
        // Exponents are those of sums of doubles or of their squares: within ±4500.
        into.extend_from_slice(&(this.exponent as i16).to_le_bytes());
        encode_integer(this.negative, &this.magnitude.to_bytes_be(), into);
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Dyadic> {
        let exponent = i32::from(i16::from_le_bytes(take_bytes(bytes)?));
        let (negative, magnitude) = decode_integer(bytes)?;
        let number = Dyadic { negative, magnitude, exponent };
        (number.clone().normalised() == number).then_some(number)
    }

    /// The nearest double; ±infinity beyond the range.
    pub(super) fn round(&self) -> f64 {
        round_ratio(self.negative, &self.magnitude, &BigUint::from(1u8), self.exponent)
    }
}

/// [`Dyadic::encode`] of `number` · 2^exponent, without allocating.
pub(super) fn encode_small(number: i128, exponent: i32, into: &mut Vec<u8>) {
    if number == 0 {
        into.extend_from_slice(&[0; 4]);
        return;
    }
    let zeros = number.trailing_zeros();
    let magnitude = number.unsigned_abs() >> zeros;
    let leading = magnitude.leading_zeros() as usize / 8;
    let exponent = (exponent + zeros as i32) as i16;
    let sign = if number < 0 { 1 << 15 } else { 0 };
    let len = (16 - leading as u16) | sign;
    let mut bytes = [0; 20];
    bytes[..2].copy_from_slice(&exponent.to_le_bytes());
    bytes[2..4].copy_from_slice(&len.to_le_bytes());
    bytes[4..].copy_from_slice(&(magnitude << (8 * leading)).to_be_bytes());
    into.extend_from_slice(&bytes[..20 - leading]);
}

/// Appends an integer: 16 bits, little endian, with the number of magnitude bytes (and the highest bit for a negative
/// integer), then the magnitude, big endian, without leading zeros.
pub(super) fn encode_integer(negative: bool, magnitude_be: &[u8], into: &mut Vec<u8>) {
    let mut leading = 0;
    while magnitude_be[leading..].starts_with(&[0; 4]) {
        leading += 4;
    }
    leading += magnitude_be[leading..].iter().take_while(|b| **b == 0).count();
    let magnitude = &magnitude_be[leading..];
    let sign = if negative && !magnitude.is_empty() { 1 << 15 } else { 0 };
    into.extend_from_slice(&(magnitude.len() as u16 | sign).to_le_bytes());
    into.extend_from_slice(magnitude);
}

/// Takes an integer off the front.
pub(super) fn decode_integer(bytes: &mut &[u8]) -> Option<(bool, BigUint)> {
    let head = u16::from_le_bytes(take_bytes(bytes)?);
    let (magnitude, rest) = bytes.split_at_checked(usize::from(head & 0x7fff))?;
    *bytes = rest;
    let negative = head >> 15 == 1;
    let canonical = if magnitude.is_empty() { !negative } else { magnitude[0] != 0 };
    canonical.then(|| (negative, BigUint::from_bytes_be(magnitude)))
}

/// numerator / denominator · 2^exponent.
pub(super) fn round_ratio(negative: bool, numerator: &BigUint, denominator: &BigUint, exponent: i32) -> f64 {
    if numerator.is_zero() {
        return 0.0;
    }
    // 66 bits of quotient, so that the rest only says "a little more".
    let shift = (66 + denominator.bits()).saturating_sub(numerator.bits());
    let (quotient, rest) = (numerator << shift).div_rem(denominator);
    signed(negative, assemble(&quotient, !rest.is_zero(), exponent - shift as i32))
}

/// numerator / denominator · 2^exponent, without allocating.
pub(super) fn round_ratio_small(negative: bool, numerator: u128, denominator: u64, exponent: i32) -> f64 {
    if numerator == 0 {
        return 0.0;
    }
    let shift = numerator.leading_zeros();
    let numerator = numerator << shift;
    let denominator = u128::from(denominator);
    // At least 64 bits.
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let excess = 64 - quotient.leading_zeros();
    let more = rest != 0 || quotient & ((1 << excess) - 1) != 0;
    signed(negative, assemble_bits((quotient >> excess) as u64, more, exponent - shift as i32 + excess as i32))
}

/// √(numerator / denominator · 2^exponent).
pub(super) fn round_sqrt(numerator: &BigUint, denominator: &BigUint, exponent: i32) -> f64 {
    if numerator.is_zero() {
        return 0.0;
    }
    let mut shift = (134 + denominator.bits()).saturating_sub(numerator.bits());
    if (exponent - shift as i32) % 2 != 0 {
        shift += 1;
    }
    let (quotient, rest) = (numerator << shift).div_rem(denominator);
    let root = quotient.sqrt();
    let more = !rest.is_zero() || &root * &root != quotient;
    assemble(&root, more, (exponent - shift as i32) / 2)
}

fn signed(negative: bool, magnitude: f64) -> f64 {
    if negative { 0.0 - magnitude } else { magnitude }
}

/// The double nearest to (integer + "a little more") · 2^exponent. "A little more" only with at least 65 bits.
fn assemble(integer: &BigUint, more: bool, exponent: i32) -> f64 {
    let excess = integer.bits().saturating_sub(64);
    let dropped = integer.trailing_zeros().is_some_and(|zeros| zeros < excess);
    let top = (integer >> excess).iter_u64_digits().next().unwrap_or(0);
    assemble_bits(top, more || dropped, exponent.saturating_add(excess as i32))
}

/// The same of 64 bits; "a little more" only if the highest one is set.
fn assemble_bits(integer: u64, more: bool, exponent: i32) -> f64 {
    if integer == 0 {
        return 0.0;
    }
    let zeros = integer.leading_zeros();
    let bits = (u128::from(integer << zeros) << 1) | u128::from(more);
    // The value is 1.… · 2^power.
    let power = exponent - zeros as i32 + 63;
    if power > 1023 {
        return f64::INFINITY;
    }
    let subnormal = (-1022 - power).max(0) as u32;
    let dropped = 12 + subnormal;
    if dropped > 66 {
        return 0.0;
    }
    let (kept, rest, half) = ((bits >> dropped) as u64, bits & ((1 << dropped) - 1), 1u128 << (dropped - 1));
    let rounded = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
    // A carry out of the mantissa raises the exponent, up to infinity.
    let base = if subnormal == 0 { ((power + 1023) as u64 - 1) << 52 } else { 0 };
    f64::from_bits(base + rounded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(x: f64) -> Dyadic {
        let bits = x.to_bits();
        let power = (bits >> 52 & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let (magnitude, exponent) = if power == 0 { (fraction, -1074) } else { (fraction | 1 << 52, power - 1075) };
        Dyadic { negative: x.is_sign_negative(), magnitude: magnitude.into(), exponent }
    }

    proptest! {
        #[test]
        fn small_numbers_have_the_same_bytes(number in any::<i128>(), shift in 0u32..128, exponent in -1200i32..1200) {
            let number = number >> shift;
            let (mut quick, mut bytes) = (Vec::new(), Vec::new());
            encode_small(number, exponent, &mut quick);
            Dyadic { negative: number < 0, magnitude: number.unsigned_abs().into(), exponent }.encode(&mut bytes);
            prop_assert_eq!(quick, bytes);
        }

        #[test]
        fn doubles_round_to_themselves(x in any::<f64>()) {
            prop_assume!(x.is_finite());
            prop_assert_eq!(exact(x).round(), x);
            let mut bytes = Vec::new();
            exact(x).encode(&mut bytes);
            prop_assert_eq!(Dyadic::decode(&mut bytes.as_slice()).unwrap(), exact(x).normalised());
        }

        #[test]
        fn quotients_of_doubles_are_ieee(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite() && b != 0.0);
            let (n, d) = (exact(a.abs()), exact(b.abs()));
            prop_assert_eq!(round_ratio(false, &n.magnitude, &d.magnitude, n.exponent - d.exponent), a.abs() / b.abs());
        }

        #[test]
        fn roots_are_ieee(a in any::<f64>()) {
            prop_assume!(a.is_finite());
            let n = exact(a.abs());
            prop_assert_eq!(round_sqrt(&n.magnitude, &BigUint::from(1u8), n.exponent), a.abs().sqrt());
        }

        #[test]
        fn small_ratios_agree(n in any::<u128>(), bits in 0u32..128, d in 1u64.., e in -1200i32..1100) {
            let n = n >> bits;
            prop_assert_eq!(round_ratio_small(true, n, d, e), round_ratio(true, &n.into(), &d.into(), e));
        }
    }

    #[test]
    fn edges() {
        assert_eq!(round_ratio(true, &BigUint::from(1u8), &BigUint::from(1u8), 1024), f64::NEG_INFINITY);
        // Halfway between zero and the least subnormal: to even. A little more: up.
        assert_eq!(round_ratio(false, &BigUint::from(1u8), &BigUint::from(1u8), -1075), 0.0);
        assert_eq!(round_ratio(false, &BigUint::from(3u8), &BigUint::from(1u8), -1076), f64::from_bits(1));
        let largest = exact(f64::MAX);
        assert_eq!(round_ratio(false, &(largest.magnitude * 2u8 + 1u8), &BigUint::from(1u8), 970), f64::INFINITY);
    }
}
