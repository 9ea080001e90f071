//! A [`KeyFilter`] over encoded keys: which stretches of sorted keys it can match, and whether one key matches.

use std::ops::Range;

use crate::{
    key::{EncodedKeys, KeyBound, KeyFilter, cell_len, encode_value},
    types::{DataType, Value},
};

/// Above this many combinations of leading values, later columns are compared key by key.
const PREFIXES_MAX: usize = 4096;

#[derive(Clone, Debug)]
enum CellBound {
    Any,
    /// Sorted encodings.
    In(Vec<Vec<u8>>),
    /// Encodings and whether they are included.
    Range {
        lower: Option<(Vec<u8>, bool)>,
        upper: Option<(Vec<u8>, bool)>,
    },
}

impl CellBound {
    /// A bound that this column type cannot express lets everything through: rows inside are never left out.
    fn new(bound: &KeyBound, data_type: DataType) -> CellBound {
        let cell = |value: &Value| {
            let mut bytes = Vec::new();
            encode_value(value, data_type, &mut bytes)?;
            Some(bytes)
        };
        let side = |side: &Option<(Value, bool)>| match side {
            None => Some(None),
            Some((value, inclusive)) => cell(value).map(|bytes| Some((bytes, *inclusive))),
        };
        match bound {
            KeyBound::Any => CellBound::Any,
            KeyBound::In(values) => match values.iter().map(cell).collect::<Option<Vec<_>>>() {
                Some(mut cells) => {
                    cells.sort_unstable();
                    cells.dedup();
                    CellBound::In(cells)
                }
                None => CellBound::Any,
            },
            KeyBound::Range { lower: None, upper: None } => CellBound::Any,
            KeyBound::Range { lower, upper } => match (side(lower), side(upper)) {
                (Some(lower), Some(upper)) => CellBound::Range { lower, upper },
                _ => CellBound::Any,
            },
        }
    }

    /// NULL is in no bound but `Any`.
    fn contains(&self, cell: &[u8]) -> bool {
        match self {
            CellBound::Any => true,
            CellBound::In(cells) => cells.binary_search_by(|c| c.as_slice().cmp(cell)).is_ok(),
            CellBound::Range { lower, upper } => {
                cell != [0]
                    && lower.as_ref().is_none_or(|(l, inclusive)| cell > l.as_slice() || (*inclusive && cell == l))
                    && upper.as_ref().is_none_or(|(u, inclusive)| cell < u.as_slice() || (*inclusive && cell == u))
            }
        }
    }
}

/// A key filter made ready for encoded keys.
#[derive(Clone, Debug)]
pub(crate) struct ByteFilter {
    columns: Vec<(DataType, CellBound)>,
    /// Ascending and disjoint: outside no key is inside.
    stretches: Vec<Stretch>,
}

/// From a key on, up to another (exclusive).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Stretch {
    /// `None`: there is no key so great.
    first: Option<Vec<u8>>,
    /// `None`: up to the last one.
    end: Option<Vec<u8>>,
}

impl ByteFilter {
    /// `types`: the key columns' types.
    pub(crate) fn new(filter: &KeyFilter, types: &[DataType]) -> ByteFilter {
        let any = KeyBound::Any;
        let mut columns: Vec<_> = types
            .iter()
            .enumerate()
            .map(|(i, t)| (*t, CellBound::new(filter.columns.get(i).unwrap_or(&any), *t)))
            .collect();
        while matches!(columns.last(), Some((_, CellBound::Any))) {
            columns.pop();
        }
        let stretches = stretches(&columns);
        ByteFilter { columns, stretches }
    }

    /// Whether the key (or a longer one that begins with it) is inside.
    pub(crate) fn contains(&self, mut key: &[u8]) -> bool {
        self.columns.iter().all(|(data_type, bound)| {
            let Some(len) = cell_len(key, *data_type) else { return false };
            let (cell, rest) = key.split_at(len);
            key = rest;
            bound.contains(cell)
        })
    }

    /// The indices of the keys inside, ascending; `keys` must be sorted.
    pub(crate) fn rows(&self, keys: &EncodedKeys) -> Vec<u32> {
        let mut rows = Vec::new();
        for stretch in &self.stretches {
            let inside = stretch.within(keys).filter(|row| self.contains(keys.get(*row)));
            rows.extend(inside.map(|row| row as u32));
        }
        rows
    }
}

/// The stretches of keys that the leading columns' bounds leave.
fn stretches(columns: &[(DataType, CellBound)]) -> Vec<Stretch> {
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    for (_, bound) in columns {
        match bound {
            CellBound::In(cells) if prefixes.len().saturating_mul(cells.len()) <= PREFIXES_MAX => {
                prefixes = prefixes
                    .iter()
                    .flat_map(|prefix| cells.iter().map(move |cell| [prefix.as_slice(), cell].concat()))
                    .collect();
            }
            CellBound::Range { lower, upper } => {
                return prefixes.iter().map(|prefix| Stretch::new(prefix, lower.as_ref(), upper.as_ref())).collect();
            }
            _ => break,
        }
    }
    prefixes.iter().map(|prefix| Stretch::new(prefix, None, None)).collect()
}

impl Stretch {
    fn new(prefix: &[u8], lower: Option<&(Vec<u8>, bool)>, upper: Option<&(Vec<u8>, bool)>) -> Stretch {
        let bound = |cell: &[u8], after: bool| {
            let bound = [prefix, cell].concat();
            if after { after_prefix(bound) } else { Some(bound) }
        };
        Stretch {
            first: lower.map_or_else(|| bound(&[], false), |(cell, inclusive)| bound(cell, !inclusive)),
            end: upper.map_or_else(|| bound(&[], true), |(cell, inclusive)| bound(cell, *inclusive)),
        }
    }

    /// Which of the keys it has, found by binary search.
    fn within(&self, keys: &EncodedKeys) -> Range<usize> {
        let start = self.first.as_ref().map_or(keys.len(), |bound| keys.lower_bound(bound));
        // A lookup's stretch is short: its end lies near its beginning.
        start..self.end.as_ref().map_or(keys.len(), |bound| keys.gallop(start, bound))
    }
}

/// The least key above all keys that begin with `prefix`, if there can be one.
fn after_prefix(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return Some(prefix);
        }
    }
    None
}
