//! Which records of a batch are which of a producer's: what a batch says before its records.
//!
//! One entry for each append by a producer that has records in the batch, in the order of the records:
//!
//! | size | field |
//! | ---: | --- |
//! | 2 | bytes of the producer's name |
//! | – | its name |
//! | 4 | where in the batch the entry's first record is, from 0 |
//! | 4 | number of records, at least 1 |
//! | 8 | *complete*: every number below it was durable, in whichever partition, when the batch was written |
//! | 8 | the first record's number |
//! | – | for each further record its number minus the one before, minus 1: unsigned LEB128 |

use std::sync::Arc;

use crate::ProducerId;
use crate::fields::{Fields, push_leb128};

/// Records of one producer, consecutive in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribution {
    pub producer: ProducerId,
    /// Where in the batch the first one is.
    pub first_record: u32,
    /// Every number below this one was durable when the batch was written.
    pub complete: u64,
    /// Their numbers, ascending; at least one.
    pub numbers: Arc<Vec<u64>>,
}

impl Attribution {
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.producer.encode(out);
        out.extend_from_slice(&self.first_record.to_le_bytes());
        out.extend_from_slice(&(self.numbers.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.complete.to_le_bytes());
        out.extend_from_slice(&self.numbers[0].to_le_bytes());
        for pair in self.numbers.windows(2) {
            push_leb128(out, pair[1] - pair[0] - 1);
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let producer = ProducerId::decode(fields)?;
        let (first_record, count, complete) = (fields.u32()?, fields.u32()?, fields.u64()?);
        let mut numbers = vec![fields.u64()?];
        for _ in 1..count {
            let gap = fields.leb128()?;
            let last = *numbers.last()?;
            numbers.push(last.checked_add(1)?.checked_add(gap)?);
        }
        let counted = count > 0 && numbers.last() < Some(&u64::MAX);
        counted.then(|| Self { producer, first_record, complete, numbers: Arc::new(numbers) })
    }
}

/// What a batch of `record_count` records says before them, or nothing if it contradicts itself.
pub(crate) fn decode(bytes: &[u8], record_count: u32) -> Option<Vec<Attribution>> {
    let mut fields = Fields::new(bytes);
    let (mut found, mut next_record) = (Vec::new(), 0);
    while !fields.is_at_end() {
        let attribution = Attribution::decode(&mut fields)?;
        if attribution.first_record < next_record {
            return None;
        }
        next_record = attribution.first_record.checked_add(attribution.numbers.len() as u32)?;
        found.push(attribution);
    }
    (next_record <= record_count).then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribution(first_record: u32, numbers: Vec<u64>) -> Attribution {
        let producer = ProducerId::new(format!("é{first_record}")).unwrap();
        Attribution { producer, first_record, complete: 1 << 40, numbers: Arc::new(numbers) }
    }

    fn encoded(all: &[Attribution]) -> Vec<u8> {
        let mut bytes = Vec::new();
        all.iter().for_each(|attribution| attribution.encode(&mut bytes));
        bytes
    }

    proptest! {
        #[test]
        fn attributions_come_back(numbers in proptest::collection::btree_set(0..u64::MAX, 1..50), skip in 0..5u32) {
            let numbers: Vec<u64> = numbers.into_iter().collect();
            let all = [attribution(skip, numbers.clone()), attribution(skip + numbers.len() as u32 + 1, vec![0])];
            let (bytes, records) = (encoded(&all), skip + numbers.len() as u32 + 2);
            prop_assert_eq!(decode(&bytes, records), Some(all.to_vec()));
            prop_assert_eq!(decode(&bytes, records - 1), None, "more records than the batch has");
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut], records).is_none_or(|some| some.len() < 2));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), records in any::<u32>()) {
            let _ = decode(&bytes, records);
        }
    }

    #[test]
    fn records_have_one_producer() {
        let (first, second) = (attribution(0, vec![5, 9]), attribution(1, vec![0]));
        assert_eq!(decode(&encoded(&[first, second]), 10), None);
    }
}
