//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): the same numbers from
//! the same seed on every machine and in every version of this crate.

pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is small.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Which of the changes that were not synced survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survival {
    None,
    All,
    Some,
}

impl Survival {
    /// The two extremes are drawn often enough to be tried.
    pub fn draw(random: &mut Random) -> Self {
        [Self::None, Self::All, Self::Some, Self::Some][random.below(4)]
    }

    /// Which of `count` versions survives, the newest being the last, or `None` for what was there before all of them.
    pub fn pick(self, count: usize, random: &mut Random) -> Option<usize> {
        match self {
            Self::None => None,
            Self::All => count.checked_sub(1),
            Self::Some => random.below(count + 1).checked_sub(1),
        }
    }
}
