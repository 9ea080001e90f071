//! What a partition knows about producers by itself: from where its active segment begins, and from the batches in it.
//!
//! A segment begins with all that was known of the source's producers when it was begun, so that no earlier one is needed: it
//! may be archived and deleted. From there on each batch says which of a producer's records it holds. What is torn off the end
//! is forgotten with its records. What partitions know together is what the source knows.
//!
//! | byte | size | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | `WSPR` |
//! | 4 | 4 | bytes of the whole block |
//! | 8 | 4 | CRC of what follows this header |
//! | 12 | 4 | CRC of bytes 0–11, continued from the segment's salt |
//! | 16 | 4 | number of producers |
//! | 20 | – | for each, ascending by name: its name (`u16` of length, bytes), its last append time (`i64`), the number of ranges (`u32`), and each range of numbers that the log has: the first (`u64`) and the one after the last (`u64`) |
//! | – | 4 | 1 if producers were forgotten, else 0 |
//! | – | – | if so, which (see `forgotten.rs`) |
//!
//! A segment that was begun when no producer was known has no such block.

use std::collections::BTreeMap;

use crate::ProducerId;
use crate::attribution::Attribution;
use crate::fields::Fields;
use crate::forgotten::Forgotten;
use crate::format::u32_at;
use crate::ranges::Ranges;

pub(crate) const BLOCK_MAGIC: &[u8; 4] = b"WSPR";
pub(crate) const BLOCK_HEADER_BYTES: usize = 16;

/// What is durable of one producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownProducer {
    /// Numbers of the records that the log has, or had.
    pub numbers: Ranges,
    pub last_time_micros: i64,
}

/// What is known about producers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub producers: BTreeMap<ProducerId, KnownProducer>,
    pub forgotten: Option<Forgotten>,
}

impl Known {
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.forgotten.is_none()
    }

    fn producer(&mut self, id: &ProducerId) -> &mut KnownProducer {
        let new = || KnownProducer { numbers: Ranges::default(), last_time_micros: i64::MIN };
        self.producers.entry(id.clone()).or_insert_with(new)
    }

    /// Takes note of a batch's records.
    pub fn note(&mut self, attribution: &Attribution, append_time_micros: i64) {
        let known = self.producer(&attribution.producer);
        known.last_time_micros = known.last_time_micros.max(append_time_micros);
        known.numbers.insert(0..attribution.complete);
        for &number in &*attribution.numbers {
            known.numbers.insert(number..number + 1);
        }
    }

    /// Adds what another partition knows.
    pub fn merge(&mut self, other: Self) {
        for (id, theirs) in other.producers {
            let mine = self.producer(&id);
            mine.last_time_micros = mine.last_time_micros.max(theirs.last_time_micros);
            theirs.numbers.iter().for_each(|range| mine.numbers.insert(range));
        }
        match (&mut self.forgotten, other.forgotten) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
    }

    /// The block that a segment with this salt begins with: nothing if nothing is known.
    pub fn encode(&self, salt: u32) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut bytes = vec![0; BLOCK_HEADER_BYTES];
        bytes.extend_from_slice(&(self.producers.len() as u32).to_le_bytes());
        for (id, known) in &self.producers {
            id.encode(&mut bytes);
            bytes.extend_from_slice(&known.last_time_micros.to_le_bytes());
            bytes.extend_from_slice(&(known.numbers.len() as u32).to_le_bytes());
            for range in known.numbers.iter() {
                bytes.extend_from_slice(&range.start.to_le_bytes());
                bytes.extend_from_slice(&range.end.to_le_bytes());
            }
        }
        bytes.extend_from_slice(&u32::from(self.forgotten.is_some()).to_le_bytes());
        if let Some(forgotten) = &self.forgotten {
            forgotten.encode(&mut bytes);
        }
        let (block_bytes, body_crc) = (bytes.len() as u32, crc32c::crc32c(&bytes[BLOCK_HEADER_BYTES..]));
        bytes[..4].copy_from_slice(BLOCK_MAGIC);
        bytes[4..8].copy_from_slice(&block_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&body_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a whole block, or says what is wrong with it.
    pub fn decode(block: &[u8], salt: u32) -> Result<Self, &'static str> {
        if block.len() < BLOCK_HEADER_BYTES || block_bytes(block, salt)? != block.len() as u64 {
            return Err("the list of producers is cut off");
        }
        let body = &block[BLOCK_HEADER_BYTES..];
        if crc32c::crc32c(body) != u32_at(block, 8) {
            return Err("the checksum of the list of producers does not match");
        }
        Self::decode_body(&mut Fields::new(body)).ok_or("the list of producers contradicts itself")
    }

    fn decode_body(fields: &mut Fields<'_>) -> Option<Self> {
        let mut known = Self::default();
        for _ in 0..fields.u32()? {
            let id = ProducerId::decode(fields)?;
            let mut producer = KnownProducer { numbers: Ranges::default(), last_time_micros: fields.i64()? };
            for _ in 0..fields.u32()? {
                let range = fields.u64()?..fields.u64()?;
                producer.numbers.insert(range);
            }
            known.producers.insert(id, producer);
        }
        known.forgotten = match fields.u32()? {
            0 => None,
            _ => Some(Forgotten::decode(fields)?),
        };
        fields.is_at_end().then_some(known)
    }
}

/// How many bytes the block that begins at `bytes` has: 0 if none begins there.
pub(crate) fn block_bytes(bytes: &[u8], salt: u32) -> Result<u64, &'static str> {
    if bytes.len() < BLOCK_HEADER_BYTES || &bytes[..4] != BLOCK_MAGIC {
        return Ok(0);
    }
    if crc32c::crc32c_append(salt, &bytes[..12]) != u32_at(bytes, 12) {
        return Err("the checksum of the header of the list of producers does not match");
    }
    match u32_at(bytes, 4) {
        least if (least as usize) < BLOCK_HEADER_BYTES => Err("the list of producers contradicts itself"),
        bytes => Ok(u64::from(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn known() -> Known {
        let (a, b) = (ProducerId::new("a").unwrap(), ProducerId::new("b").unwrap());
        let mut known = Known::default();
        for (producer, complete, numbers, time) in
            [(&a, 4, vec![4, 7, 9], 50), (&b, 0, vec![1, 2], 60), (&a, 8, vec![11], 40)]
        {
            let attribution =
                Attribution { producer: producer.clone(), first_record: 0, complete, numbers: Arc::new(numbers) };
            known.note(&attribution, time);
        }
        known
    }

    #[test]
    fn batches_add_up() {
        let known = known();
        let of = |id: &str| {
            let producer = &known.producers[&ProducerId::new(id).unwrap()];
            (producer.numbers.iter().collect::<Vec<_>>(), producer.last_time_micros)
        };
        assert_eq!(of("a"), (vec![0..8, 9..10, 11..12], 50));
        assert_eq!(of("b"), (std::iter::once(1..3).collect(), 60));
    }

    #[test]
    fn blocks_come_back_and_every_flipped_bit_is_noticed() {
        let salt = 77;
        let mut all = known();
        let gone = ProducerId::new("gone").unwrap();
        for forgotten in [None, Some(Forgotten::first(30, gone))] {
            all.forgotten = forgotten;
            let block = all.encode(salt);
            assert_eq!(block_bytes(&block, salt), Ok(block.len() as u64));
            assert_eq!(Known::decode(&block, salt).as_ref(), Ok(&all));
            for bit in (0..block.len() * 8).step_by(if block.len() > 1000 { 97 } else { 1 }) {
                let mut bad = block.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(Known::decode(&bad, salt).is_err(), "bit {bit}");
            }
            for cut in (0..block.len()).step_by(41) {
                assert!(Known::decode(&block[..cut], salt).is_err(), "cut at {cut}");
            }
        }
        assert_eq!(Known::default().encode(salt), [0; 0]);
    }

    #[test]
    fn partitions_know_more_together() {
        let (a, b) = (ProducerId::new("a").unwrap(), ProducerId::new("b").unwrap());
        let mut one = known();
        let mut other = Known { forgotten: Some(Forgotten::first(1, b.clone())), ..Known::default() };
        other.producer(&a).numbers.insert(8..9);
        one.merge(other);
        assert_eq!(one.producers[&a].numbers.iter().collect::<Vec<_>>(), [0..10, 11..12]);
        assert!(one.forgotten.is_some_and(|forgotten| forgotten.holds(&b)));
    }
}
