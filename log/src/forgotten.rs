//! Producers that are no longer remembered: enough about them to refuse one that comes back.
//!
//! A Bloom filter (Bloom, 1970) of 2¹⁷ bits with four probes per producer, taken from one 64-bit hash of its name (Kirsch and
//! Mitzenmacher, 2006). It never takes a forgotten producer for a new one. It does take a new one for a forgotten one: one in
//! 200 after 10,000 were forgotten, one in 23 after 20,000. Such a producer is refused, and must take another name.
//!
//! | byte | size | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | last append time of the producer forgotten last, microseconds since the Unix epoch |
//! | 8 | 2 | bytes of its name |
//! | 10 | – | its name |
//! | – | 16384 | the filter: bit `n` is bit `n % 8` of byte `n / 8` |

use xxhash_rust::xxh3::xxh3_64;

use crate::ProducerId;
use crate::fields::Fields;

const FILTER_BYTES: usize = 16 * 1024;
const FILTER_BITS: u64 = FILTER_BYTES as u64 * 8;
const PROBES: u64 = 4;

/// Which producers have been forgotten.
///
/// Invariant: all that were forgotten stand at or before `up_to` in the order of (last append time, name), and `filter` holds
/// them. Some that are remembered may stand there, too (append times are in order within a partition only), and `filter` may
/// hold some of those that are remembered; but few are both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    up_to: (i64, ProducerId),
    filter: Box<[u8]>,
}

fn probes(id: &ProducerId) -> impl Iterator<Item = (usize, u8)> {
    let hash = xxh3_64(id.as_str().as_bytes());
    // An odd step meets another bit each time.
    let (first, step) = (hash >> 32, (hash & u64::from(u32::MAX)) | 1);
    (0..PROBES).map(move |probe| {
        let bit = (first + probe * step) % FILTER_BITS;
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

impl Forgotten {
    /// The first producer that is forgotten, and the append time of its last record.
    pub fn first(last_time_micros: i64, id: ProducerId) -> Self {
        let mut forgotten =
            Self { up_to: (last_time_micros, id.clone()), filter: vec![0; FILTER_BYTES].into_boxed_slice() };
        forgotten.add(last_time_micros, id);
        forgotten
    }

    /// Forgets one more.
    pub fn add(&mut self, last_time_micros: i64, id: ProducerId) {
        for (byte, bit) in probes(&id) {
            self.filter[byte] |= bit;
        }
        self.up_to = self.up_to.clone().max((last_time_micros, id));
    }

    /// Whether this producer was forgotten, or may have been.
    pub fn holds(&self, id: &ProducerId) -> bool {
        probes(id).all(|(byte, bit)| self.filter[byte] & bit != 0)
    }

    /// Whether a producer of which this is the last append time known was forgotten after that.
    pub fn covers(&self, last_time_micros: i64, id: &ProducerId) -> bool {
        (last_time_micros, id) <= (self.up_to.0, &self.up_to.1) && self.holds(id)
    }

    /// Adds what another partition knows.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.filter.iter_mut().zip(&other.filter) {
            *mine |= theirs;
        }
        self.up_to = self.up_to.clone().max(other.up_to);
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.up_to.0.to_le_bytes());
        self.up_to.1.encode(out);
        out.extend_from_slice(&self.filter);
    }

    /// Reads what [`Forgotten::encode`] wrote, or nothing if it is something else.
    pub fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let up_to = (fields.i64()?, ProducerId::decode(fields)?);
        Some(Self { up_to, filter: fields.bytes(FILTER_BYTES)?.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ProducerId {
        ProducerId::new(format!("producer-{number}")).unwrap()
    }

    #[test]
    fn the_forgotten_are_known_and_few_others_are_taken_for_them() {
        let mut forgotten = Forgotten::first(0, id(0));
        for number in 1..10_000 {
            forgotten.add(i64::from(number), id(number));
        }
        assert!((0..10_000).all(|number| forgotten.holds(&id(number))));
        let mistaken = (10_000..60_000).filter(|&number| forgotten.holds(&id(number))).count();
        assert!(mistaken < 50_000 / 150, "{mistaken} of 50,000");
        assert!(forgotten.covers(9_999, &id(9_999)) && forgotten.covers(-5, &id(7_000)));
        assert!(!forgotten.covers(10_000, &id(0)), "it has appended since");
        let new = (10_000..).map(id).find(|id| !forgotten.holds(id)).unwrap();
        assert!(!forgotten.covers(-5, &new), "a clock that was set back makes nobody forgotten");
    }

    #[test]
    fn what_was_encoded_comes_back_and_nothing_shorter_does() {
        let mut forgotten = Forgotten::first(7, id(1));
        forgotten.merge(Forgotten::first(9, id(2)));
        let mut bytes = Vec::new();
        forgotten.encode(&mut bytes);
        assert_eq!(Forgotten::decode(&mut Fields::new(&bytes)), Some(forgotten));
        for cut in [0, 7, 12, bytes.len() - 1] {
            assert_eq!(Forgotten::decode(&mut Fields::new(&bytes[..cut])), None);
        }
    }
}
