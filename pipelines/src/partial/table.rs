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
        let stretches = stretches(&keys);
        let rows = merged_rows(&stretches);
        let merge = |i: usize, places: &[Vec<(u32, u32)>]| {
            let mut state = prototypes[i].clone();
            state.resize(rows);
            inputs.iter().zip(places).for_each(|(input, pairs)| state.merge_from(&*input.states[i], pairs));
            state
        };
        let (keys, states) = match rows < WORTH_THREADS {
            true => {
                let places = places(&keys, &stretches);
                (union(&keys, &stretches), (0..prototypes.len()).map(|i| merge(i, &places)).collect())
            }
            false => rayon::join(
                || union(&keys, &stretches),
                || {
                    let places = places(&keys, &stretches);
                    (0..prototypes.len()).into_par_iter().map(|i| merge(i, &places)).collect()
                },
            ),
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
    input: u32,
    /// The first of them.
    from: u32,
    rows: u32,
    /// Where the first of them goes.
    at: u32,
}

/// How sorted keys are merged: in the order of the keys. A row whose key was there before is a stretch of its own.
fn stretches(inputs: &[&EncodedKeys]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut next = vec![0; inputs.len()];
    let mut heads: BinaryHeap<Reverse<(&[u8], usize)>> =
        inputs.iter().enumerate().map(|(i, keys)| Reverse((keys.get(0), i))).collect();
    let (mut last, mut merged): (Option<&[u8]>, usize) = (None, 0);
    let mut add = |input: usize, from: usize, rows: usize, at: usize| {
        stretches.push(Stretch { input: input as u32, from: from as u32, rows: rows as u32, at: at as u32 });
    };
    let mut least = heads.pop();
    while let Some(Reverse((head, input))) = least {
        // Everything below the next smallest head comes from this input.
        let mut start = next[input];
        let end = match heads.peek() {
            None => inputs[input].len(),
            Some(Reverse((other, _))) if *other == head => start + 1,
            Some(Reverse((other, _))) => inputs[input].gallop(start + 1, other),
        };
        if last == Some(head) {
            add(input, start, 1, merged - 1);
            start += 1;
        }
        if start < end {
            add(input, start, end - start, merged);
            merged += end - start;
            last = Some(inputs[input].get(end - 1));
        }
        next[input] = end;
        least = match end < inputs[input].len() {
            true => {
                let head = Reverse((inputs[input].get(end), input));
                // One step in the heap instead of two: the head takes the place of the one that is below it.
                let other = heads.peek_mut().filter(|other| **other > head);
                Some(other.map_or(head, |mut other| std::mem::replace(&mut *other, head)))
            }
            false => heads.pop(),
        };
    }
    stretches
}

/// How many rows there are when all are merged.
fn merged_rows(stretches: &[Stretch]) -> usize {
    stretches.last().map_or(0, |last| (last.at + last.rows) as usize)
}

/// The keys of all inputs, each once.
fn union(inputs: &[&EncodedKeys], stretches: &[Stretch]) -> EncodedKeys {
    let longest = |length: fn(&EncodedKeys) -> usize| inputs.iter().map(|keys| length(keys)).max().unwrap_or(0);
    let rows = merged_rows(stretches);
    // About as long each as those of the longest input.
    let bytes = longest(EncodedKeys::byte_len) as u64 * rows as u64 / longest(EncodedKeys::len).max(1) as u64;
    let mut union = EncodedKeys::with_capacity(rows, bytes as usize);
    for Stretch { input, from, rows, at } in stretches {
        if *at as usize == union.len() {
            union.extend_from(inputs[*input as usize], *from as usize..(*from + *rows) as usize);
        }
    }
    union
}

/// For each input (its row, the row of the union).
fn places(inputs: &[&EncodedKeys], stretches: &[Stretch]) -> Vec<Vec<(u32, u32)>> {
    let mut places: Vec<Vec<(u32, u32)>> = inputs.iter().map(|keys| Vec::with_capacity(keys.len())).collect();
    for Stretch { input, from, rows, at } in stretches {
        places[*input as usize].extend((0..*rows).map(|row| (from + row, at + row)));
    }
    places
}
