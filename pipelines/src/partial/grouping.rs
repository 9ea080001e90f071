//! Numbers for keys: hash grouping.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::{error::PipelineError, key::EncodedKeys};

/// Keys that are looked up side by side.
const BLOCK: usize = 32;
/// No key has this number.
const NO_NUMBER: u32 = u32::MAX;
/// A place that no key has. (Written when a table is made: a page that the system is to fill with zeros is a fault each.)
const FREE: Place = Place { hash: 0, number: NO_NUMBER };
/// Places of the smallest table.
const LEAST_PLACES: usize = 16;

/// Distinct keys, numbered in the order in which they came.
///
/// A hash table with linear probing, whose places take 8 bytes: a look-up mostly reads one line of it, and which one is known before anything is
/// read. (Where a table has its control bytes elsewhere, as hashbrown's, it is two, one after the other.)
#[derive(Clone, Default)]
pub(crate) struct Groups {
    keys: EncodedKeys,
    /// A power of two of them, or none yet. A key has the first free one from that on which its hash says.
    places: Vec<Place>,
    // The numbers never leave a builder, so this hash need not be stable.
    hasher: FixedState,
}

/// What the table holds of a key. With the hash beside the number the table grows without a look at anything else.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    number: u32,
}

impl Place {
    fn is_free(&self) -> bool {
        self.number == NO_NUMBER
    }
}

impl Groups {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn keys(&self) -> &EncodedKeys {
        &self.keys
    }

    /// The number of a key.
    #[inline]
    pub(crate) fn number(&mut self, key: &[u8]) -> u32 {
        self.number_hashed(key, self.hash(key))
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// Adds the numbers of keys, one after the other.
    ///
    /// The table is larger than the caches, so that a look-up is a chain of loads from memory: table, place of the key, key. For a block
    /// of keys they are done step by step, and the processor waits for many at a time.
    pub(crate) fn number_all(&mut self, keys: &EncodedKeys, into: &mut Vec<u32>) {
        let (mut hashes, mut candidates) = ([0; BLOCK], [FREE; BLOCK]);
        self.make_room();
        for begin in (0..keys.len()).step_by(BLOCK) {
            let block = begin..(begin + BLOCK).min(keys.len());
            for (hash, index) in hashes.iter_mut().zip(block.clone()) {
                *hash = self.hash(keys.get(index));
            }
            for (candidate, hash) in candidates.iter_mut().zip(&hashes[..block.len()]) {
                *candidate = self.places[self.first(*hash)];
            }
            for (candidate, hash) in candidates.iter_mut().zip(&hashes[..block.len()]) {
                let mut at = self.first(*hash);
                while !candidate.is_free() && candidate.hash != *hash {
                    at = self.next(at);
                    *candidate = self.places[at];
                }
            }
            for ((candidate, hash), index) in candidates.iter().zip(&hashes).zip(block) {
                let key = keys.get(index);
                // Nearly always the one, or there is none.
                let is_it = !candidate.is_free() && self.keys.get(candidate.number as usize) == key;
                into.push(if is_it { candidate.number } else { self.number_hashed(key, *hash) });
            }
        }
    }

    fn number_hashed(&mut self, key: &[u8], hash: u32) -> u32 {
        self.make_room();
        let mut at = self.first(hash);
        while let place = self.places[at]
            && !place.is_free()
        {
            if place.hash == hash && self.keys.get(place.number as usize) == key {
                return place.number;
            }
            at = self.next(at);
        }
        let number = self.keys.len() as u32;
        self.places[at] = Place { hash, number };
        self.keys.push(key);
        number
    }

    /// Where a key with this hash is looked for first.
    #[inline]
    fn first(&self, hash: u32) -> usize {
        hash as usize & (self.places.len() - 1)
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    /// Makes the table larger where one more key would take over two thirds of it.
    #[inline]
    fn make_room(&mut self) {
        if (self.keys.len() + 1) * 3 > self.places.len() * 2 {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let places = vec![FREE; (self.places.len() * 2).max(LEAST_PLACES)];
        for place in std::mem::replace(&mut self.places, places).into_iter().filter(|place| !place.is_free()) {
            let mut at = self.first(place.hash);
            while !self.places[at].is_free() {
                at = self.next(at);
            }
            self.places[at] = place;
        }
    }

    /// Fails if so many more keys could not be numbered.
    pub(crate) fn check_room(&self, more: usize) -> Result<(), PipelineError> {
        match u32::try_from(self.len() + more) {
            Ok(numbers) if numbers < NO_NUMBER => Ok(()),
            _ => Err(PipelineError::Definition("a batch run has more than 4 billion groups in one part".to_owned())),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes() + self.places.capacity() * size_of::<Place>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few different keys, many of them, so that one comes again within a block and long after.
        #[test]
        fn keys_are_numbered_as_they_come(calls in prop::collection::vec(prop::collection::vec(0u16..300, 0..200), 0..8)) {
            let (mut groups, mut expected) = (Groups::default(), HashMap::new());
            for call in calls {
                let mut keys = EncodedKeys::default();
                call.iter().for_each(|key| keys.push(&key.to_be_bytes()[usize::from(*key < 256)..]));
                let mut numbers = Vec::new();
                groups.number_all(&keys, &mut numbers);
                for (key, number) in keys.iter().zip(&numbers) {
                    let next = expected.len() as u32;
                    prop_assert_eq!(*expected.entry(key.to_vec()).or_insert(next), *number);
                    prop_assert_eq!(groups.number(key), *number);
                    prop_assert_eq!(groups.keys().get(*number as usize), key);
                }
                prop_assert_eq!(numbers.len(), keys.len());
                prop_assert_eq!(groups.len(), expected.len());
            }
        }
    }

    #[test]
    fn a_table_grows_with_its_keys() {
        let mut keys = EncodedKeys::default();
        (0..100_000u32).for_each(|key| keys.push(&key.to_be_bytes()));
        let (mut groups, mut numbers) = (Groups::default(), Vec::new());
        for _ in 0..2 {
            groups.number_all(&keys, &mut numbers);
        }
        assert!(numbers.iter().copied().eq((0..100_000).chain(0..100_000)));
        assert!(groups.places.len() * 2 >= groups.len() * 3 && groups.places.len() < groups.len() * 4);
    }
}
