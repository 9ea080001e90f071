//! `APPROX_COUNT_DISTINCT`: HyperLogLog with 2¹² registers.
//!
//! A value's hash is XXH3 (64 bits, seed 0) of its key encoding. Its first 12 bits name a register, which keeps the greatest rank: 1 +
//! the number of leading zeros of the other 52 bits. Registers are a function of the set of values, so order cannot matter.
//! The estimate is the improved raw estimator of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017),
//! algorithm 6: no bias tables, and only +, ×, ÷ and √ of doubles, which are the same everywhere. Standard error 1.04/√4096 = 1.6 %.

use polars::prelude::Column;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    aggregate::accumulator::{Aggregate, Cell, Rows, Stored, wrong_argument},
    columns::{self, TypedColumn},
    error::PipelineError,
    key::encode_cell,
    types::DataType,
};

const INDEX_BITS: u32 = 12;
const REGISTERS: usize = 1 << INDEX_BITS;
const RANK_MAX: u8 = (64 - INDEX_BITS) as u8 + 1;
/// More registers than these are kept (and encoded) densely.
const SPARSE_MAX: usize = 512;

/// Registers. Encoding: nothing for no value; `00` and, for up to 512 registers that are not zero, their numbers (16 bits, little
/// endian) and ranks (8 bits) in order; for more `01` and all 4096 ranks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Registers {
    /// Sorted by register; no rank is zero.
    Sparse(Vec<(u16, u8)>),
    Dense(Box<[u8; REGISTERS]>),
}

impl Default for Registers {
    fn default() -> Self {
        Registers::Sparse(Vec::new())
    }
}

impl Registers {
    fn add_hash(&mut self, hash: u64) {
        let register = (hash >> (64 - INDEX_BITS)) as u16;
        // The bit below the hash's last one bounds the rank.
        let rank = (hash << INDEX_BITS | 1 << (INDEX_BITS - 1)).leading_zeros() as u8 + 1;
        self.raise(register, rank);
    }

    fn raise(&mut self, register: u16, rank: u8) {
        match self {
            Registers::Dense(ranks) => {
                let held = &mut ranks[usize::from(register)];
                *held = rank.max(*held);
            }
            Registers::Sparse(entries) => match entries.binary_search_by_key(&register, |(r, _)| *r) {
                Ok(at) => entries[at].1 = rank.max(entries[at].1),
                Err(at) if entries.len() < SPARSE_MAX => entries.insert(at, (register, rank)),
                Err(_) => {
                    let mut ranks = Box::new([0; REGISTERS]);
                    entries.iter().for_each(|(r, rank)| ranks[usize::from(*r)] = *rank);
                    ranks[usize::from(register)] = rank;
                    *self = Registers::Dense(ranks);
                }
            },
        }
    }

    fn estimate(&self) -> f64 {
        let mut counts = [0u32; RANK_MAX as usize + 1];
        match self {
            Registers::Dense(ranks) => ranks.iter().for_each(|rank| counts[usize::from(*rank)] += 1),
            Registers::Sparse(entries) => {
                counts[0] = (REGISTERS - entries.len()) as u32;
                entries.iter().for_each(|(_, rank)| counts[usize::from(*rank)] += 1);
            }
        }
        let m = REGISTERS as f64;
        let saturated = f64::from(counts[usize::from(RANK_MAX)]);
        let mut z = m * tau((m - saturated) / m);
        for rank in (1..usize::from(RANK_MAX)).rev() {
            z = 0.5 * (z + f64::from(counts[rank]));
        }
        z += m * sigma(f64::from(counts[0]) / m);
        0.5 / std::f64::consts::LN_2 * m * m / z
    }
}

/// x + Σ 2^(k−1) · x^(2^k)
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// (1 − x − Σ (1 − x^(2^−k))² · 2^−k) / 3
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

impl Cell for Registers {
    fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Registers::Dense(ours), Registers::Dense(theirs)) => {
                ours.iter_mut().zip(theirs.iter()).for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
            }
            (_, Registers::Sparse(entries)) => entries.iter().for_each(|(register, rank)| self.raise(*register, *rank)),
            (Registers::Sparse(_), Registers::Dense(_)) => {
                let ours = std::mem::replace(self, other.clone());
                self.merge(&ours);
            }
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Registers::Sparse(entries) if entries.is_empty() => {}
            Registers::Sparse(entries) => {
                into.push(0);
                for (register, rank) in entries {
                    into.extend_from_slice(&register.to_le_bytes());
                    into.push(*rank);
                }
            }
            Registers::Dense(ranks) => {
                into.push(1);
                into.extend_from_slice(&**ranks);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let is_rank = |rank: u8| (1..=RANK_MAX).contains(&rank);
        match bytes.split_first() {
            None => Some(Registers::default()),
            Some((0, body)) => {
                let (entries, []) = body.as_chunks::<3>() else { return None };
                let entries: Vec<_> =
                    entries.iter().map(|[a, b, rank]| (u16::from_le_bytes([*a, *b]), *rank)).collect();
                let valid = !entries.is_empty()
                    && entries.len() <= SPARSE_MAX
                    && entries.is_sorted_by(|a, b| a.0 < b.0)
                    && entries.iter().all(|(register, rank)| usize::from(*register) < REGISTERS && is_rank(*rank));
                valid.then_some(Registers::Sparse(entries))
            }
            Some((1, body)) => {
                let ranks: Box<[u8; REGISTERS]> = Box::new(body.try_into().ok()?);
                let valid = ranks.iter().all(|rank| *rank <= RANK_MAX)
                    && ranks.iter().filter(|rank| **rank > 0).count() > SPARSE_MAX;
                valid.then_some(Registers::Dense(ranks))
            }
            _ => None,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Registers::Sparse(entries) => entries.capacity() * 4,
            Registers::Dense(_) => REGISTERS,
        }
    }
}

/// `APPROX_COUNT_DISTINCT`.
#[derive(Clone, Debug)]
pub(super) struct ApproxCountDistinct;

impl Aggregate for ApproxCountDistinct {
    type Cell = Registers;
    const STORED: Stored = Stored::States;

    fn update(
        &self,
        cells: &mut [Registers],
        rows: &Rows,
        argument: Option<&TypedColumn>,
    ) -> Result<(), PipelineError> {
        let column = argument.ok_or_else(wrong_argument)?;
        let mut bytes = Vec::new();
        rows.for_each(argument, |group, row| {
            bytes.clear();
            encode_cell(column, row, &mut bytes);
            cells[group].add_hash(xxh3_64(&bytes));
        });
        Ok(())
    }

    /// NULL over nothing would be `COUNT`'s only exception: it is 0.
    fn finish(&self, name: &str, cells: &[Registers]) -> Result<Column, PipelineError> {
        let estimates = cells.iter().map(|cell| cell.estimate().round() as i64).collect();
        Ok(columns::bigint_column(name, DataType::BigInt, estimates, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(values: std::ops::Range<u64>) -> Registers {
        let mut registers = Registers::default();
        values.for_each(|v| registers.add_hash(xxh3_64(&v.to_be_bytes())));
        registers
    }

    fn encoded(registers: &Registers) -> Vec<u8> {
        let mut bytes = Vec::new();
        registers.encode(&mut bytes);
        bytes
    }

    #[test]
    fn hash_and_encoding_never_change() {
        assert_eq!(xxh3_64(b""), 0x2d06800538d394c2);
        let mut one = Registers::default();
        one.add_hash(0xabc0_0000_0000_0001);
        one.add_hash(0x0010_0000_0000_0000);
        one.add_hash(0xffff_ffff_ffff_ffff);
        assert_eq!(encoded(&one), [0, 0x01, 0x00, 53, 0xbc, 0x0a, 52, 0xff, 0x0f, 1]);
    }

    #[test]
    fn estimates_are_close() {
        for n in [0u64, 1, 2, 10, 100, 1000, 10_000, 100_000, 1_000_000] {
            let estimate = registers(0..n).estimate();
            // Four standard errors.
            assert!((estimate - n as f64).abs() <= n as f64 * 0.066 + 0.5, "{n}: {estimate}");
        }
    }

    #[test]
    fn merging_is_that_of_the_union() {
        for (a, b, c) in [(0, 0, 0), (0, 10, 20), (0, 100, 900), (0, 400, 5000), (0, 5000, 9000)] {
            let mut left = registers(a..b);
            let right = registers(b..c);
            let mut other = right.clone();
            left.merge(&right);
            other.merge(&registers(a..b));
            assert_eq!(encoded(&left), encoded(&registers(a..c)));
            assert_eq!(left, other);
            assert_eq!(Registers::decode(&encoded(&left)).unwrap(), left);
        }
    }
}
