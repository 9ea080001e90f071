//! Numbers for keys: hash grouping.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table::Entry};

use crate::{error::PipelineError, key::EncodedKeys};

/// Keys that are looked up side by side.
const BLOCK: usize = 32;
/// No key has this number.
const NO_NUMBER: u32 = u32::MAX;

/// Distinct keys, numbered in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Groups {
    keys: EncodedKeys,
    table: HashTable<Place>,
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
    /// The table goes by the lowest bits and by the highest: here they are all of the kept hash's.
    fn table_hash(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
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
        let (mut hashes, mut candidates) = ([0; BLOCK], [NO_NUMBER; BLOCK]);
        for begin in (0..keys.len()).step_by(BLOCK) {
            let block = begin..(begin + BLOCK).min(keys.len());
            for (hash, index) in hashes.iter_mut().zip(block.clone()) {
                *hash = self.hash(keys.get(index));
            }
            for (candidate, hash) in candidates.iter_mut().zip(&hashes[..block.len()]) {
                // Nearly always the one, or there is none.
                let found = self.table.find(Place::table_hash(*hash), |place| place.hash == *hash);
                *candidate = found.map_or(NO_NUMBER, |place| place.number);
            }
            for ((candidate, hash), index) in candidates.iter().zip(&hashes).zip(block) {
                let key = keys.get(index);
                let is_it = *candidate != NO_NUMBER && self.keys.get(*candidate as usize) == key;
                into.push(if is_it { *candidate } else { self.number_hashed(key, *hash) });
            }
        }
    }

    fn number_hashed(&mut self, key: &[u8], hash: u32) -> u32 {
        let Groups { keys, table, .. } = self;
        let same = |place: &Place| place.hash == hash && keys.get(place.number as usize) == key;
        match table.entry(Place::table_hash(hash), same, |place| Place::table_hash(place.hash)) {
            Entry::Occupied(entry) => entry.get().number,
            Entry::Vacant(entry) => {
                let number = keys.len() as u32;
                entry.insert(Place { hash, number });
                keys.push(key);
                number
            }
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
        self.keys.memory_bytes() + self.table.capacity() * (size_of::<Place>() + 1)
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
}
