//! Dividing a view's partials into partitions, by the group's key alone.
//!
//! A partition's name is, by [`Partitioning`]: the UTC day, month or year of the window's (pane's) start (`2024-01-31`, `2024-01`,
//! `2024`); the remainder of [`key_hash`] by the number of buckets (`hash-00007`); the log partition and the number of the stretch of
//! offsets (`rows-00003-00000000000000000012`). Within a view names sort as what they stand for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    core::{Partitioning, TimeBucket},
    error::PipelineError,
    key::{KeyBound, KeyFilter, bigint_of, cell_len, decode_value, encode_value, key_hash},
    partial::{CoreKernel, Partials},
    source::ViewCounts,
    time::{DAY, civil_from_days},
    types::Value,
};

/// More keys than these are not hashed one by one to find their partitions.
const KEYS_MAX: usize = 1024;

/// A partition, before it has a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Partition {
    Time(i64),
    Hash(u64),
    Rows(i64, u64),
}

/// The number of the bucket that an instant lies in: days since 1970, or months or years of the common era.
fn bucket_of(bucket: TimeBucket, micros: i64) -> i64 {
    let days = micros.div_euclid(DAY);
    let (year, month, _) = match bucket {
        TimeBucket::Day => return days,
        TimeBucket::Month | TimeBucket::Year => civil_from_days(days),
    };
    if bucket == TimeBucket::Year { year } else { year * 12 + month - 1 }
}

fn name_of(partition: Partition, partitioning: Partitioning) -> String {
    match (partition, partitioning) {
        (Partition::Time(days), Partitioning::Time(TimeBucket::Day)) => {
            let (year, month, day) = civil_from_days(days);
            format!("{year:04}-{month:02}-{day:02}")
        }
        (Partition::Time(months), Partitioning::Time(TimeBucket::Month)) => {
            format!("{:04}-{:02}", months.div_euclid(12), months.rem_euclid(12) + 1)
        }
        (Partition::Time(year), _) => format!("{year:04}"),
        (Partition::Hash(bucket), _) => format!("hash-{bucket:05}"),
        (Partition::Rows(partition, stretch), _) => format!("rows-{partition:05}-{stretch:020}"),
    }
}

/// Which partitions of a view can hold the keys of a filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionFilter {
    /// Ranges of names, both ends included; `None`: all.
    ranges: Option<Vec<(String, String)>>,
}

impl PartitionFilter {
    /// Whether the partition `name` can.
    pub fn matches(&self, name: &str) -> bool {
        self.ranges.as_ref().is_none_or(|ranges| ranges.iter().any(|(low, high)| (low.as_str()..=high).contains(&name)))
    }
}

/// The rows of some partials that lie in one partition of the view.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PartitionRows(Vec<Vec<u32>>);

impl Partials {
    /// These rows, without counts and rejected records. `rows` must have been made of these very partials.
    pub fn rows(&self, rows: &PartitionRows) -> Partials {
        let tables = self.tables.iter().zip(&rows.0).map(|(table, rows)| table.take(rows)).collect();
        Partials { counts: ViewCounts::default(), rejected: Vec::new(), tables }
    }
}

impl CoreKernel {
    /// Divides partials by the name of the view's partition. The parts have no counts and rejected records, which belong to no
    /// group: take them before.
    pub fn split(&self, partials: Partials) -> Result<BTreeMap<String, Partials>, PipelineError> {
        if let Some(partition) = self.only_partition(&partials)? {
            let whole = Partials { counts: ViewCounts::default(), rejected: Vec::new(), ..partials };
            return Ok(BTreeMap::from([(name_of(partition, self.core().partitioning), whole)]));
        }
        let parts = self.rows_by_partition(&partials)?;
        Ok(parts.into_iter().map(|(name, rows)| (name, partials.rows(&rows))).collect())
    }

    /// The partition of all rows, if there are any and they have one. Further tables have rows of groups in the first.
    fn only_partition(&self, partials: &Partials) -> Result<Option<Partition>, PipelineError> {
        let groups = &partials.tables[0].keys;
        let keys = self.inner.plan.keys.len();
        if let (Partitioning::Time(bucket), Some(column)) = (self.core().partitioning, self.inner.window_key)
            && column + 1 == keys
        {
            // A group's key ends with the window's start, whose order is that of its bytes.
            let starts = || groups.iter().filter_map(|key| key.last_chunk::<8>());
            let bucket = |start: Option<&[u8; 8]>| start.map(|start| bucket_of(bucket, bigint_of(start)));
            let (first, last) = (bucket(starts().min()), bucket(starts().max()));
            return Ok(if first == last { first.map(Partition::Time) } else { None });
        }
        let mut only = None;
        for key in groups.iter() {
            let partition = self.partition_of(key)?;
            if *only.get_or_insert(partition) != partition {
                return Ok(None);
            }
        }
        Ok(only)
    }

    /// Which rows lie in which of the view's partitions, by the partition's name: what [`CoreKernel::split`] divides by, without
    /// the memory of the parts. [`Partials::rows`] takes one.
    pub fn rows_by_partition(&self, partials: &Partials) -> Result<BTreeMap<String, PartitionRows>, PipelineError> {
        let partitioning = self.core().partitioning;
        let mut numbers: BTreeMap<Partition, usize> = BTreeMap::new();
        let mut parts: Vec<Vec<Vec<u32>>> = Vec::new();
        for (number, table) in partials.tables.iter().enumerate() {
            // Neighbours are often of one partition.
            let mut last = None;
            for (row, key) in table.keys.iter().enumerate() {
                let partition = self.partition_of(key)?;
                let part = match last {
                    Some((of, part)) if of == partition => part,
                    _ => *numbers.entry(partition).or_insert_with(|| {
                        parts.push(vec![Vec::new(); partials.tables.len()]);
                        parts.len() - 1
                    }),
                };
                last = Some((partition, part));
                parts[part][number].push(row as u32);
            }
        }
        let named = numbers.into_iter().map(|(partition, part)| {
            (name_of(partition, partitioning), PartitionRows(std::mem::take(&mut parts[part])))
        });
        Ok(named.collect())
    }

    /// Which partitions can hold keys inside `filter` (of partials' keys: [`CoreKernel::partials_filter`]).
    pub fn partitions_of(&self, filter: &KeyFilter) -> PartitionFilter {
        let partitioning = self.core().partitioning;
        let bound = |column: usize| filter.columns.get(column).unwrap_or(&KeyBound::Any);
        let ranges = match partitioning {
            Partitioning::Time(bucket) => self.inner.window_key.and_then(|key| time_ranges(bound(key), bucket)),
            Partitioning::Hash { buckets } => self.hashed_names(filter, buckets),
            Partitioning::Offset { records } => row_ranges(bound(0), bound(1), records),
        };
        PartitionFilter { ranges }
    }

    fn partition_of(&self, key: &[u8]) -> Result<Partition, PipelineError> {
        let damaged = || PipelineError::Stored("a key does not say in which partition it belongs".to_owned());
        let keys = &self.inner.plan.keys;
        let mut rest = key;
        Ok(match self.core().partitioning {
            Partitioning::Time(bucket) => {
                let column = self.inner.window_key.ok_or_else(damaged)?;
                for key in &keys[..column] {
                    rest = &rest[cell_len(rest, key.data_type).ok_or_else(damaged)?..];
                }
                let Value::Timestamp(at) = decode_value(&mut rest, keys[column].data_type)? else {
                    return Err(damaged());
                };
                Partition::Time(bucket_of(bucket, at))
            }
            Partitioning::Hash { buckets } => {
                // Rows of COUNT(DISTINCT) are where their group is.
                for key in keys {
                    rest = &rest[cell_len(rest, key.data_type).ok_or_else(damaged)?..];
                }
                Partition::Hash(key_hash(&key[..key.len() - rest.len()]) % u64::from(buckets.max(1)))
            }
            Partitioning::Offset { records } => {
                let partition = decode_value(&mut rest, keys[0].data_type)?;
                match (partition, decode_value(&mut rest, keys[1].data_type)?) {
                    (Value::Int(partition), Value::Int(offset)) => Partition::Rows(partition, stretch(offset, records)),
                    _ => return Err(damaged()),
                }
            }
        })
    }

    /// The partitions of all keys inside, if the filter lists few keys.
    fn hashed_names(&self, filter: &KeyFilter, buckets: u32) -> Option<Vec<(String, String)>> {
        let mut keys = vec![Vec::new()];
        for (i, column) in self.inner.plan.keys.iter().enumerate() {
            let Some(KeyBound::In(values)) = filter.columns.get(i) else { return None };
            if keys.len().saturating_mul(values.len()) > KEYS_MAX {
                return None;
            }
            let mut longer = Vec::with_capacity(keys.len() * values.len());
            for (key, value) in keys.iter().flat_map(|key| values.iter().map(move |value| (key, value))) {
                let mut key: Vec<u8> = Vec::clone(key);
                encode_value(value, column.data_type, &mut key)?;
                longer.push(key);
            }
            keys = longer;
        }
        let buckets = u64::from(buckets.max(1));
        let partitions: BTreeSet<_> = keys.iter().map(|key| Partition::Hash(key_hash(key) % buckets)).collect();
        Some(partitions.into_iter().map(|p| name_of(p, self.core().partitioning)).map(|n| (n.clone(), n)).collect())
    }
}

fn stretch(offset: i64, records: u64) -> u64 {
    offset.unsigned_abs() / records.max(1)
}

/// After all names.
const END: &str = "~";

/// `None`: all, also if a bound is not of the column's type.
fn time_ranges(bound: &KeyBound, bucket: TimeBucket) -> Option<Vec<(String, String)>> {
    let name = |value: &Value| match value {
        Value::Timestamp(at) => Some(name_of(Partition::Time(bucket_of(bucket, *at)), Partitioning::Time(bucket))),
        _ => None,
    };
    match bound {
        KeyBound::Any => None,
        KeyBound::In(values) => values.iter().map(|value| name(value).map(|n| (n.clone(), n))).collect(),
        KeyBound::Range { lower, upper } => {
            let low = lower.as_ref().map_or(Some(String::new()), |(value, _)| name(value))?;
            let high = upper.as_ref().map_or(Some(END.to_owned()), |(value, _)| name(value))?;
            Some(vec![(low, high)])
        }
    }
}

fn row_ranges(partition: &KeyBound, offset: &KeyBound, records: u64) -> Option<Vec<(String, String)>> {
    let KeyBound::In(partitions) = partition else { return None };
    let stretch_of =
        |value: &Value| if let Value::Int(offset) = value { Some(stretch(*offset, records)) } else { None };
    let (low, high) = match offset {
        KeyBound::Any => (0, u64::MAX),
        KeyBound::In(values) => {
            let stretches = values.iter().map(stretch_of).collect::<Option<Vec<_>>>()?;
            (stretches.iter().min().copied().unwrap_or(0), stretches.iter().max().copied().unwrap_or(0))
        }
        KeyBound::Range { lower, upper } => (
            // Offsets are not negative.
            lower
                .as_ref()
                .map_or(Some(0), |(v, _)| if matches!(v, Value::Int(..0)) { Some(0) } else { stretch_of(v) })?,
            upper.as_ref().map_or(Some(u64::MAX), |(v, _)| stretch_of(v))?,
        ),
    };
    partitions
        .iter()
        .map(|value| {
            let Value::Int(partition) = value else { return None };
            let name = |stretch| name_of(Partition::Rows(*partition, stretch), Partitioning::Offset { records });
            Some((name(low), name(high)))
        })
        .collect()
}
