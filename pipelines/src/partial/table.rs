//! Tables of partials: keys and accumulators, and merging them.

use std::{cmp::Reverse, collections::BinaryHeap};

use rayon::prelude::*;

use crate::{aggregate::Accumulator, key::EncodedKeys};

/// From so many rows on, the columns of a table are worked on by several threads.
pub(crate) const WORTH_THREADS: usize = 16_384;

/// Rows sorted by key, each key once. Table 0 has the groups and their states; each further one has the (group, value) rows of a
/// `COUNT(DISTINCT)`, without states.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) keys: EncodedKeys,
    pub(crate) states: Vec<Box<dyn Accumulator>>,
}

impl Table {
    /// No rows, with the accumulators of `prototypes`.
    pub(crate) fn empty(prototypes: &[Box<dyn Accumulator>]) -> Table {
        Table { keys: EncodedKeys::default(), states: prototypes.to_vec() }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes() + self.states.iter().map(|s| s.memory_bytes()).sum::<usize>()
    }

    /// The rows at `rows`, which ascend.
    pub(crate) fn take(&self, rows: &[u32]) -> Table {
        Table {
            keys: self.keys.take(rows.iter().map(|row| *row as usize)),
            states: self.states.iter().map(|s| s.take(rows)).collect(),
        }
    }

    /// All rows of all inputs; rows of one key merged.
    pub(crate) fn merge(inputs: &[&Table], prototypes: &[Box<dyn Accumulator>]) -> Table {
        let inputs: Vec<&Table> = inputs.iter().copied().filter(|table| !table.keys.is_empty()).collect();
        match inputs.as_slice() {
            [] => return Table::empty(prototypes),
            [one] => return (*one).clone(),
            _ => {}
        }
        let keys: Vec<&EncodedKeys> = inputs.iter().map(|table| &table.keys).collect();
        let (keys, places) = merge_keys(&keys);
        let merge = |i: usize| {
            let mut state = prototypes[i].clone();
            state.resize(keys.len());
            inputs.iter().zip(&places).for_each(|(input, pairs)| state.merge_from(&*input.states[i], pairs));
            state
        };
        let states = match keys.len() < WORTH_THREADS {
            true => (0..prototypes.len()).map(merge).collect(),
            false => (0..prototypes.len()).into_par_iter().map(merge).collect(),
        };
        Table { keys, states }
    }

    /// Merges rows into this table in place, if all their keys are here already. Otherwise changes nothing.
    pub(crate) fn merge_in_place(&mut self, other: &Table) -> bool {
        let mut pairs = Vec::with_capacity(other.keys.len());
        for (theirs, key) in other.keys.iter().enumerate() {
            let ours = self.keys.lower_bound(key);
            if ours == self.keys.len() || self.keys.get(ours) != key {
                return false;
            }
            pairs.push((theirs as u32, ours as u32));
        }
        self.states.iter_mut().zip(&other.states).for_each(|(ours, theirs)| ours.merge_from(&**theirs, &pairs));
        true
    }
}

/// The union of sorted keys, and for each input (its row, the row in the union).
fn merge_keys(inputs: &[&EncodedKeys]) -> (EncodedKeys, Vec<Vec<(u32, u32)>>) {
    let total = inputs.iter().map(|keys| keys.len()).max().unwrap_or(0);
    let bytes = inputs.iter().map(|keys| keys.byte_len()).max().unwrap_or(0);
    let mut union = EncodedKeys::with_capacity(total, bytes);
    let mut places: Vec<Vec<(u32, u32)>> = inputs.iter().map(|keys| Vec::with_capacity(keys.len())).collect();
    let mut next = vec![0; inputs.len()];
    let mut heads: BinaryHeap<Reverse<(&[u8], usize)>> =
        inputs.iter().enumerate().map(|(i, keys)| Reverse((keys.get(0), i))).collect();
    while let Some(Reverse((head, i))) = heads.pop() {
        // Everything below the next smallest head comes from this input: a run.
        let start = next[i];
        let end = match heads.peek() {
            None => inputs[i].len(),
            Some(Reverse((other, _))) if *other == head => start + 1,
            Some(Reverse((other, _))) => inputs[i].gallop(start + 1, other),
        };
        let mut run = start..end;
        if !union.is_empty() && union.get(union.len() - 1) == head {
            places[i].push((start as u32, union.len() as u32 - 1));
            run.start += 1;
        }
        let base = union.len();
        places[i].extend(run.clone().enumerate().map(|(n, row)| (row as u32, (base + n) as u32)));
        union.extend_from(inputs[i], run);
        next[i] = end;
        if end < inputs[i].len() {
            heads.push(Reverse((inputs[i].get(end), i)));
        }
    }
    (union, places)
}
