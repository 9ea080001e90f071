//! Integers of thousands of bits to which doubles are added: the small superaccumulator of R. M. Neal, "Fast exact summation using
//! small and large superaccumulators" (2015), section 2.

use num_bigint::BigUint;

/// A wide digit can take so many additions before it is carried over.
const ADDITIONS_MAX: u32 = 1 << 30;

/// A signed integer of 32-bit digits, lowest first; digits are carried over late.
#[derive(Clone, Debug)]
pub(super) struct Wide<const DIGITS: usize> {
    digits: [i64; DIGITS],
    additions: u32,
}

/// Holds sums of doubles, in units of 2^-1074: 2098 bits and 64 for the number of values.
pub(super) type WideSum = Wide<70>;
/// Holds sums of their squares, in units of 2^-2148.
pub(super) type WideSquares = Wide<138>;

impl<const DIGITS: usize> Wide<DIGITS> {
    pub(super) fn new() -> Box<Self> {
        Box::new(Wide { digits: [0; DIGITS], additions: 0 })
    }

    pub(super) fn add(&mut self, magnitude: u64, position: u32, negative: bool) {
        if self.additions >= ADDITIONS_MAX {
            self.carry();
        }
        self.additions += 1;
        let (digit, shift) = ((position / 32) as usize, position % 32);
        let shifted = u128::from(magnitude) << shift;
        for (i, digit) in self.digits[digit..].iter_mut().take(3).enumerate() {
            let part = i64::from((shifted >> (32 * i)) as u32);
            *digit += if negative { -part } else { part };
        }
    }

    pub(super) fn add_wide(&mut self, magnitude: u128, position: u32, negative: bool) {
        self.add(magnitude as u64, position, negative);
        self.add((magnitude >> 64) as u64, position + 64, negative);
    }

    /// Leaves every digit but the highest within 0..2³².
    fn carry(&mut self) {
        let mut carry = 0;
        let highest = DIGITS - 1;
        for digit in &mut self.digits[..highest] {
            let sum = *digit + carry;
            *digit = sum & 0xffff_ffff;
            carry = sum >> 32;
        }
        self.digits[highest] += carry;
        self.additions = 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if self.additions + other.additions > ADDITIONS_MAX {
            self.carry();
        }
        if other.additions > ADDITIONS_MAX - self.additions {
            let mut other = other.clone();
            other.carry();
            return self.merge(&other);
        }
        self.digits.iter_mut().zip(&other.digits).for_each(|(ours, theirs)| *ours += theirs);
        self.additions += other.additions;
    }

    pub(super) fn total(&self) -> (bool, BigUint) {
        let mut this = self.clone();
        this.carry();
        let negative = this.digits[DIGITS - 1] < 0;
        if negative {
            this.digits.iter_mut().for_each(|digit| *digit = -*digit);
            this.carry();
        }
        let mut digits: Vec<u32> = this.digits.iter().map(|digit| *digit as u32).collect();
        digits.push((this.digits[DIGITS - 1] >> 32) as u32);
        (negative, BigUint::new(digits))
    }

    /// `None` if it does not fit.
    pub(super) fn of(negative: bool, total: &BigUint) -> Option<Box<Self>> {
        let mut wide = Self::new();
        if total.bits() > (DIGITS as u64 - 1) * 32 {
            return None;
        }
        for (digit, value) in wide.digits.iter_mut().zip(total.iter_u32_digits()) {
            *digit = if negative { -i64::from(value) } else { i64::from(value) };
        }
        wide.additions = 1;
        Some(wide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_carried_over_before_they_overflow() {
        let mut wide = WideSum::new();
        (0..3).for_each(|_| {
            wide.additions = ADDITIONS_MAX;
            wide.add(u64::MAX, 5, true);
        });
        assert_eq!(wide.total(), (true, (BigUint::from(u64::MAX) * 3u8) << 5));
    }
}
