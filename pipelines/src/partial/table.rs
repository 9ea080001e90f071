//! Tables of partials: keys and accumulators, and merging them.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use rayon::prelude::*;

use crate::{aggregate::Accumulator, key::EncodedKeys};

/// From so many rows on, the columns of a table are worked on by several threads.
pub(crate) const WORTH_THREADS: usize = 16_384;
/// So many rows of an input are merged at once.
const PAIRS_AT_ONCE: usize = 1024;

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
        let stretches = stretches(&keys);
        let rows = stretches.last().map_or(0, |last| last.at + last.rows.len());
        let merge = |state: usize| {
            let mut merged = prototypes[state].clone();
            merged.resize(rows);
            each_pairs(&stretches, inputs.len(), |input, pairs| merged.merge_from(&*inputs[input].states[state], pairs));
            merged
        };
        let keys = || union(&keys, &stretches);
        let (keys, states) = match rows < WORTH_THREADS {
            true => (keys(), (0..prototypes.len()).map(merge).collect()),
            false => rayon::join(keys, || (0..prototypes.len()).into_par_iter().map(merge).collect()),
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

/// Rows of an input that stand next to each other when all are merged.
struct Stretch {
    input: usize,
    rows: Range<usize>,
    /// Where the first of them goes.
    at: usize,
}

/// How sorted keys are merged: in the order of the keys. A row whose key was there before is a stretch of its own.
fn stretches(inputs: &[&EncodedKeys]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut next = vec![0; inputs.len()];
    let mut heads: BinaryHeap<Reverse<(&[u8], usize)>> =
        inputs.iter().enumerate().map(|(i, keys)| Reverse((keys.get(0), i))).collect();
    let (mut last, mut merged): (Option<&[u8]>, usize) = (None, 0);
    while let Some(Reverse((head, input))) = heads.pop() {
        // Everything below the next smallest head comes from this input.
        let start = next[input];
        let end = match heads.peek() {
            None => inputs[input].len(),
            Some(Reverse((other, _))) if *other == head => start + 1,
            Some(Reverse((other, _))) => inputs[input].gallop(start + 1, other),
        };
        let mut rows = start..end;
        if last == Some(head) {
            stretches.push(Stretch { input, rows: start..start + 1, at: merged - 1 });
            rows.start += 1;
        }
        if !rows.is_empty() {
            last = Some(inputs[input].get(end - 1));
            stretches.push(Stretch { input, rows: rows.clone(), at: merged });
            merged += rows.len();
        }
        next[input] = end;
        if end < inputs[input].len() {
            heads.push(Reverse((inputs[input].get(end), input)));
        }
    }
    stretches
}

/// The keys of all inputs, each once.
fn union(inputs: &[&EncodedKeys], stretches: &[Stretch]) -> EncodedKeys {
    let (mut keys, mut bytes) = (0, 0);
    for Stretch { input, rows, at } in stretches {
        if *at == keys {
            keys += rows.len();
            bytes += inputs[*input].byte_len_of(rows.clone());
        }
    }
    let mut union = EncodedKeys::with_capacity(keys, bytes);
    for Stretch { input, rows, at } in stretches {
        if *at == union.len() {
            union.extend_from(inputs[*input], rows.clone());
        }
    }
    union
}

/// Calls `each` with inputs and some of their rows, and where those go: all of them in the end.
fn each_pairs(stretches: &[Stretch], inputs: usize, mut each: impl FnMut(usize, &[(u32, u32)])) {
    let mut pairs: Vec<Vec<(u32, u32)>> = vec![Vec::new(); inputs];
    for Stretch { input, rows, at } in stretches {
        let of_input = &mut pairs[*input];
        of_input.extend(rows.clone().zip(*at..).map(|(from, to)| (from as u32, to as u32)));
        // Few enough to stay in the processor's cache, enough to be worth the call.
        if of_input.len() >= PAIRS_AT_ONCE {
            each(*input, of_input);
            of_input.clear();
        }
    }
    pairs.iter().enumerate().filter(|(_, pairs)| !pairs.is_empty()).for_each(|(input, pairs)| each(input, pairs));
}
