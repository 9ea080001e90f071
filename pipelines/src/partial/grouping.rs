//! Numbers for keys: hash grouping.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table::Entry};

use crate::{error::PipelineError, key::EncodedKeys};

/// Distinct keys, numbered in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Groups {
    keys: EncodedKeys,
    hashes: Vec<u64>,
    numbers: HashTable<u32>,
    // The numbers never leave a builder, so this hash need not be stable.
    hasher: FixedState,
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
        let hash = self.hasher.hash_one(key);
        let Groups { keys, hashes, numbers, .. } = self;
        // The table's tags have ruled out nearly all others: looking up the hash as well would only be a cache miss more.
        let same = |number: &u32| keys.get(*number as usize) == key;
        match numbers.entry(hash, same, |number| hashes[*number as usize]) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let number = keys.len() as u32;
                entry.insert(number);
                hashes.push(hash);
                keys.push(key);
                number
            }
        }
    }

    /// Fails if so many more keys could not be numbered.
    pub(crate) fn check_room(&self, more: usize) -> Result<(), PipelineError> {
        match u32::try_from(self.len() + more) {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(PipelineError::Definition("a batch run has more than 4 billion groups in one part".to_owned()))
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes() + self.hashes.capacity() * 8 + self.numbers.capacity() * 5
    }
}
