//! What each view means: worked out from a plain list of records, one at a time, with nothing of the product's.

use std::collections::{BTreeMap, BTreeSet};

use watershed_pipelines::{
    source::{Source, SourceCounts, ViewCounts},
    types::Value,
};

use super::model::Record;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A row of `pays`.
    Pay {
        /// Its name, which no other record has.
        id: String,
        /// Event time, microseconds.
        at: i64,
        /// The card.
        card: &'static str,
        /// The amount, in cents.
        cents: Option<i64>,
        /// The score, in quarters: so that a sum of doubles has one right answer, whatever the order.
        quarters: Option<i64>,
        /// A number.
        n: Option<i64>,
    },
    /// A row of `taps`.
    Tap {
        /// A number.
        n: Option<i64>,
    },
    /// What no table accepts.
    Refused,
}

/// What a view means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Sums per card and minute of positive amounts.
    Minutes,
    /// The least amount per card and minute.
    MinutesChanged,
    /// A quotient per number, which zero has none of.
    Quotients,
    /// Large payments, one by one.
    Large,
    /// The last payment of each card.
    Latest,
    /// How many per window of three minutes, one beginning each minute.
    Hops,
    /// How many taps, and the append time of the last one.
    Tapped,
    /// Of the minutes, those with more than one payment.
    Busy,
}

/// The rows of a view, as texts, in order; and what happened to the records that its table accepted.
pub type Rows = Vec<String>;

const MINUTE: i64 = 60_000_000;

/// Whether the table accepts a record.
fn is_accepted(source: &Source, record: &Record) -> bool {
    match &record.content {
        Content::Pay { at, .. } => source.name == "pays" && at - record.append_time_micros <= source.max_ahead_micros,
        Content::Tap { .. } => source.name == "taps",
        Content::Refused => false,
    }
}

/// The books of a table.
pub fn source_counts<'a>(source: &Source, records: impl Iterator<Item = &'a Record>) -> SourceCounts {
    let mut counts = SourceCounts::default();
    for record in records {
        counts.records += 1;
        if !is_accepted(source, record) {
            counts.dead += 1;
            continue;
        }
        counts.accepted += 1;
        let at = match &record.content {
            Content::Pay { at, .. } => *at,
            _ => record.append_time_micros,
        };
        counts.late += u64::from(record.append_time_micros - at > source.lateness_micros);
        counts.event_time_min = Some(counts.event_time_min.map_or(at, |least| least.min(at)));
        counts.event_time_max = Some(counts.event_time_max.map_or(at, |most| most.max(at)));
    }
    counts
}

/// The rows of a view of these records, in the order of texts, and the view's books.
pub fn answer<'a>(meaning: Meaning, source: &Source, records: impl Iterator<Item = &'a Record>) -> (Rows, ViewCounts) {
    let mut fold = Fold::default();
    for record in records.filter(|record| is_accepted(source, record)) {
        fold.counts.accepted += 1;
        fold.add(meaning, record);
    }
    let mut rows: Rows = fold.rows(meaning).iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    (rows, fold.counts)
}

type Pay<'a> = (&'a str, i64, &'static str, Option<i64>, Option<i64>, Option<i64>);

#[derive(Default)]
struct Fold {
    counts: ViewCounts,
    minutes: BTreeMap<(&'static str, i64), Group>,
    numbers: BTreeMap<Option<i64>, Group>,
    cards: BTreeMap<&'static str, (Last, BTreeSet<i64>)>,
    windows: BTreeMap<i64, i64>,
    rows: Vec<Vec<Value>>,
}

/// Event time, partition, offset, name: the greatest is the last one.
type Last = (i64, u32, u64, String);

#[derive(Default)]
struct Group {
    n: i64,
    cents: Option<i128>,
    quarters: Option<i128>,
    largest: Option<i64>,
    least: Option<i64>,
    quotients: Option<i64>,
    latest: i64,
}

fn plus(sum: &mut Option<i128>, value: Option<i64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0) + i128::from(value));
    }
}

impl Fold {
    fn add(&mut self, meaning: Meaning, record: &Record) {
        match (&record.content, meaning) {
            (Content::Pay { id, at, card, cents, quarters, n }, _) => {
                self.pay(meaning, record, (id, *at, *card, *cents, *quarters, *n));
            }
            (Content::Tap { n }, Meaning::Tapped) => {
                self.counts.counted += 1;
                let group = self.numbers.entry(*n).or_default();
                group.latest =
                    if group.n == 0 { record.append_time_micros } else { group.latest.max(record.append_time_micros) };
                group.n += 1;
            }
            (content, meaning) => unreachable!("{meaning:?} is not of {content:?}"),
        }
    }

    fn pay(&mut self, meaning: Meaning, record: &Record, (id, at, card, cents, quarters, n): Pay<'_>) {
        let counted = match meaning {
            Meaning::Minutes | Meaning::Busy => cents.is_some_and(|cents| cents > 0),
            Meaning::Large => cents.is_some_and(|cents| cents > 1000),
            _ => true,
        };
        if !counted {
            self.counts.filtered += 1;
            return;
        }
        if meaning == Meaning::Quotients && n == Some(0) {
            self.counts.rejected += 1;
            return;
        }
        self.counts.counted += 1;
        match meaning {
            Meaning::Minutes | Meaning::MinutesChanged | Meaning::Busy => {
                let group = self.minutes.entry((card, at.div_euclid(MINUTE) * MINUTE)).or_default();
                group.n += 1;
                plus(&mut group.cents, cents);
                plus(&mut group.quarters, quarters);
                group.largest = group.largest.max(cents);
                group.least = [group.least, cents].into_iter().flatten().min();
            }
            Meaning::Quotients => {
                let group = self.numbers.entry(n).or_default();
                group.n += 1;
                if let Some(n) = n {
                    group.quotients = Some(group.quotients.unwrap_or(0) + 100 / n);
                }
            }
            Meaning::Large => self.rows.push(vec![text(id), text(card), decimal(cents.map(i128::from))]),
            Meaning::Latest => {
                let last = (at, record.partition, record.offset, id.to_owned());
                let (known, kinds) = self.cards.entry(card).or_insert_with(|| (last.clone(), BTreeSet::new()));
                *known = last.max(known.clone());
                kinds.extend(n);
            }
            Meaning::Hops => {
                let newest = at.div_euclid(MINUTE) * MINUTE;
                for window in [newest - 2 * MINUTE, newest - MINUTE, newest] {
                    *self.windows.entry(window).or_default() += 1;
                }
            }
            Meaning::Tapped => unreachable!("taps are no payments"),
        }
    }

    fn rows(&self, meaning: Meaning) -> Vec<Vec<Value>> {
        let minute = |&(card, start): &(&'static str, i64)| vec![text(card), Value::Timestamp(start)];
        match meaning {
            Meaning::Minutes => {
                let row = |(key, group): (_, &Group)| {
                    let mut row = minute(key);
                    row.extend([Value::Int(group.n), decimal(group.cents), double(group.quarters)]);
                    row.push(decimal(group.largest.map(i128::from)));
                    row
                };
                self.minutes.iter().map(row).collect()
            }
            Meaning::MinutesChanged => {
                let row = |(key, group): (_, &Group)| {
                    let mut row = minute(key);
                    row.extend([Value::Int(group.n), decimal(group.least.map(i128::from))]);
                    row
                };
                self.minutes.iter().map(row).collect()
            }
            Meaning::Busy => {
                let busy = self.minutes.iter().filter(|(_, group)| group.n > 1);
                busy.map(|(key, group)| [minute(key), vec![Value::Int(group.n)]].concat()).collect()
            }
            Meaning::Quotients => {
                let row = |(n, group): (&Option<i64>, &Group)| vec![int(*n), Value::Int(group.n), int(group.quotients)];
                self.numbers.iter().map(row).collect()
            }
            Meaning::Large => self.rows.clone(),
            Meaning::Latest => {
                let row = |(card, (last, kinds)): (&&'static str, &(Last, BTreeSet<i64>))| {
                    vec![text(card), text(&last.3), Value::Int(kinds.len() as i64)]
                };
                self.cards.iter().map(row).collect()
            }
            Meaning::Hops => self.windows.iter().map(|(at, n)| vec![Value::Timestamp(*at), Value::Int(*n)]).collect(),
            Meaning::Tapped => {
                let row = |(n, group): (&Option<i64>, &Group)| {
                    vec![int(*n), Value::Int(group.n), Value::Timestamp(group.latest)]
                };
                self.numbers.iter().map(row).collect()
            }
        }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn int(value: Option<i64>) -> Value {
    value.map_or(Value::Null, Value::Int)
}

fn decimal(value: Option<i128>) -> Value {
    value.map_or(Value::Null, Value::Decimal)
}

/// The double nearest to so many quarters.
fn double(quarters: Option<i128>) -> Value {
    // An integer of 128 bits is rounded to the nearest double, ties to even; the quarter is exact.
    quarters.map_or(Value::Null, |quarters| Value::Double(quarters as f64 / 4.0))
}
