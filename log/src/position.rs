//! Positions: for each partition of each source, the next offset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Offset;

/// For each partition of each source, the next offset: every record with a smaller offset lies *below* the position.
///
/// A source or partition that a position does not name stands at 0, so a position taken before a source was created
/// compares correctly with one taken after. Serialises as a map from source to list of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(BTreeMap<String, Vec<Offset>>);

impl Position {
    /// The position below which there is nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The offsets of one source, by partition, if the position names it.
    pub fn get(&self, source: &str) -> Option<&[Offset]> {
        self.0.get(source).map(Vec::as_slice)
    }

    /// The next offset of one partition; 0 if the position does not name it.
    pub fn partition(&self, source: &str, partition: u32) -> Offset {
        self.0.get(source).and_then(|offsets| offsets.get(partition as usize)).copied().unwrap_or(0)
    }

    /// Sets the next offset of one partition, adding the source and the partitions before it (at 0) where needed.
    pub fn set(&mut self, source: &str, partition: u32, offset: Offset) {
        let index = partition as usize;
        match self.0.get_mut(source) {
            Some(offsets) => {
                if offsets.len() <= index {
                    offsets.resize(index + 1, 0);
                }
                offsets[index] = offset;
            }
            None => {
                let mut offsets = vec![0; index + 1];
                offsets[index] = offset;
                self.0.insert(source.to_owned(), offsets);
            }
        }
    }

    /// Sets all offsets of one source.
    pub fn set_source(&mut self, source: impl Into<String>, offsets: Vec<Offset>) {
        self.0.insert(source.into(), offsets);
    }

    /// Whether the position lies at or below `other` in every partition. Two positions may be unordered.
    pub fn le(&self, other: &Self) -> bool {
        self.iter().all(|(source, partition, offset)| offset <= other.partition(source, partition))
    }

    /// The lowest position with everything that lies below either.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        self.zip(other, Ord::max)
    }

    /// The highest position with only what lies below both.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        self.zip(other, Ord::min)
    }

    fn zip(&self, other: &Self, choose: fn(Offset, Offset) -> Offset) -> Self {
        let mut chosen = Self::new();
        for (source, partition, _) in self.iter().chain(other.iter()) {
            let offset = choose(self.partition(source, partition), other.partition(source, partition));
            chosen.set(source, partition, offset);
        }
        chosen
    }

    /// Every partition with its next offset, in order of source and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32, Offset)> {
        self.0.iter().flat_map(|(source, offsets)| {
            (0u32..).zip(offsets).map(move |(partition, &offset)| (source.as_str(), partition, offset))
        })
    }

    /// The sources that the position names, in order.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether no record lies below the position.
    pub fn is_zero(&self) -> bool {
        self.iter().all(|(_, _, offset)| offset == 0)
    }

    /// The number of records at or above `low` and below `high`. Partitions in which `high` is lower count as none.
    pub fn records_between(low: &Self, high: &Self) -> u64 {
        high.iter().map(|(source, partition, offset)| offset.saturating_sub(low.partition(source, partition))).sum()
    }
}

impl FromIterator<(String, Vec<Offset>)> for Position {
    fn from_iter<I: IntoIterator<Item = (String, Vec<Offset>)>>(sources: I) -> Self {
        Self(sources.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(entries: &[(&str, &[Offset])]) -> Position {
        entries.iter().map(|(source, offsets)| (source.to_string(), offsets.to_vec())).collect()
    }

    #[test]
    fn what_is_not_named_stands_at_zero() {
        let some = position(&[("a", &[3])]);
        assert_eq!(some.partition("a", 0), 3);
        assert_eq!(some.partition("a", 1), 0);
        assert_eq!(some.partition("b", 0), 0);
        assert!(position(&[("b", &[0, 0])]).le(&some));
        assert!(position(&[("b", &[0, 0])]).is_zero());
    }

    #[test]
    fn order_is_partial() {
        let (low, high) = (position(&[("a", &[1, 5])]), position(&[("a", &[2, 5]), ("b", &[1])]));
        let aside = position(&[("a", &[3, 4])]);
        assert!(low.le(&high) && !high.le(&low));
        assert!(!low.le(&aside) && !aside.le(&low));
        assert_eq!(low.max(&aside), position(&[("a", &[3, 5])]));
        assert_eq!(low.min(&aside), position(&[("a", &[1, 4])]));
        assert_eq!(Position::records_between(&low, &high), 2);
        assert_eq!(Position::records_between(&aside, &low), 1);
    }

    #[test]
    fn serialises_as_a_map() {
        let some = position(&[("a", &[3, 4])]);
        let json = serde_json::to_string(&some).unwrap();
        assert_eq!(json, r#"{"a":[3,4]}"#);
        assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), some);
    }
}
