//! Which rows of two partials are not the same, in words.

use std::{cmp::Ordering, fmt::Write as _};

use serde::{Deserialize, Serialize};

use crate::{
    error::PipelineError,
    partial::{CoreKernel, Partials, table::Table},
    source::ViewCounts,
    types::Value,
};

/// A row that is not the same in two partials.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RowDifference {
    /// Its key, decoded: `card = a, window_start = 2024-01-01T00:00:00Z`.
    pub key: String,
    /// The left one's finished values (`n = 3, total = 7.50`); `None`: it has no such row.
    pub left: Option<String>,
    /// The right one's.
    pub right: Option<String>,
}

/// The rows that are not the same in two partials.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RowDifferences {
    /// How many there are.
    pub count: u64,
    /// The first ones, by key.
    pub listed: Vec<RowDifference>,
}

/// The rows of one key in both tables; `None` where there is none.
type Pair = (Option<usize>, Option<usize>);

impl CoreKernel {
    /// Compares two partials row by row, and lists the first `listed_max` rows whose canonical bytes differ.
    pub fn differences(
        &self,
        left: &Partials,
        right: &Partials,
        listed_max: usize,
    ) -> Result<RowDifferences, PipelineError> {
        if left.tables.len() != right.tables.len() {
            return Err(PipelineError::Stored("partials of another definition".to_owned()));
        }
        let mut differences = RowDifferences::default();
        for (number, (ours, theirs)) in left.tables.iter().zip(&right.tables).enumerate() {
            for pair in differing(ours, theirs) {
                differences.count += 1;
                if differences.listed.len() < listed_max {
                    differences.listed.push(self.describe(number, (left, right), pair));
                }
            }
        }
        Ok(differences)
    }

    fn describe(&self, number: usize, (left, right): (&Partials, &Partials), pair: Pair) -> RowDifference {
        let mut key = vec![number as u8];
        match pair {
            (Some(row), _) => key.extend_from_slice(left.tables[number].keys.get(row)),
            (None, Some(row)) => key.extend_from_slice(right.tables[number].keys.get(row)),
            (None, None) => {}
        }
        let text = |partials: &Partials, row: Option<usize>| row.map(|row| self.values_text(number, partials, row));
        let (mut ours, mut theirs) = (text(left, pair.0), text(right, pair.1));
        if let (Some(ours), Some(theirs)) = (&mut ours, &mut theirs)
            && ours == theirs
        {
            // The results round to the same; the states behind them do not.
            let state = |partials: &Partials, row: Option<usize>| {
                let mut bytes = Vec::new();
                row.iter().for_each(|row| partials.tables[number].encode_row(*row, &mut bytes));
                format!(" (state {})", &blake3::hash(&bytes).to_hex()[..12])
            };
            ours.push_str(&state(left, pair.0));
            theirs.push_str(&state(right, pair.1));
        }
        RowDifference { key: self.describe_key(&key), left: ours, right: theirs }
    }

    /// A row's finished values.
    fn values_text(&self, number: usize, partials: &Partials, row: usize) -> String {
        if number > 0 {
            return "among the distinct values".to_owned();
        }
        let key = partials.tables[0].keys.get(row);
        let rows_of = |table: &Table| -> Vec<u32> {
            let first = table.keys.lower_bound(key);
            (first..table.keys.len()).take_while(|&i| table.keys.get(i).starts_with(key)).map(|i| i as u32).collect()
        };
        let mut tables = vec![partials.tables[0].take(&[row as u32])];
        tables.extend(partials.tables[1..].iter().map(|table| table.take(&rows_of(table))));
        let one = Partials { counts: ViewCounts::default(), rejected: Vec::new(), tables };
        let aggregates = match self.groups(&one, &(0..self.inner.plan.calls.len()).collect()) {
            Ok((_, aggregates)) => aggregates,
            Err(error) => return error.to_string(),
        };
        let mut text = String::new();
        for (call, column) in self.core().aggregates.iter().zip(&aggregates) {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{separator}{} = {}", call.name, Value::at(column, 0).display(call.data_type));
        }
        text
    }
}

/// The rows that differ, by key.
fn differing<'a>(left: &'a Table, right: &'a Table) -> impl Iterator<Item = Pair> + 'a {
    let (mut ours, mut theirs) = (0, 0);
    let (mut our_bytes, mut their_bytes) = (Vec::new(), Vec::new());
    std::iter::from_fn(move || {
        loop {
            let order = match (ours < left.keys.len(), theirs < right.keys.len()) {
                (false, false) => return None,
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (true, true) => left.keys.get(ours).cmp(right.keys.get(theirs)),
            };
            let pair = (order.is_le().then_some(ours), order.is_ge().then_some(theirs));
            ours += usize::from(order.is_le());
            theirs += usize::from(order.is_ge());
            if let (Some(our), Some(their)) = pair {
                our_bytes.clear();
                their_bytes.clear();
                left.encode_row(our, &mut our_bytes);
                right.encode_row(their, &mut their_bytes);
                if our_bytes == their_bytes {
                    continue;
                }
            }
            return Some(pair);
        }
    })
}
