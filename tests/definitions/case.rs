//! One case: definitions, records, and what happens to the project. All of it follows from a seed.

use std::{collections::BTreeMap, fmt::Write as _};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    derived::Derived,
    functions::Function,
    materialized::Materialized,
    records::Record,
    tables::Table,
    types::{chance, family, pick},
};

/// What happens to a project.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Time goes on by so many microseconds, then a producer appends these to a table, in one call.
    Append(usize, Vec<Record>, i64),
    /// An epoch is recorded.
    Epoch,
    /// A batch run moves the cut.
    Batch,
    /// A batch run recomputes everything, and compares.
    Full,
    /// The process ends, another begins.
    Restart,
    /// The changed definitions take the place of those before.
    Change,
}

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The tables.
    pub tables: Vec<Table>,
    /// The materialized views.
    pub views: Vec<Materialized>,
    /// What one of them was before it was changed.
    pub before: Option<(usize, Materialized)>,
    /// A column (of a table) that was `NOT NULL` before, or is now and was not.
    pub other: Option<(usize, usize)>,
    /// The derived views.
    pub derived: Vec<Derived>,
    /// What happens.
    pub steps: Vec<Step>,
    /// Bytes of a micro-batch where all is replayed.
    pub step_bytes: usize,
}

impl Case {
    /// The case of a seed.
    pub fn random(seed: u64, functions: &[Function]) -> Case {
        let rng = &mut StdRng::seed_from_u64(seed);
        let tables: Vec<Table> = (0..if chance(rng, 75) { 1 } else { 2 }).map(|n| Table::random(rng, n)).collect();
        let mut views: Vec<Materialized> =
            (0..rng.random_range(1..5)).map(|n| Materialized::random(rng, functions, &tables, n)).collect();
        let turn = usize::try_from(seed).expect("a seed");
        views[0].in_turn(rng, functions, &tables, turn);
        let before = chance(rng, 30).then(|| {
            let changed = rng.random_range(0..views.len());
            (changed, Materialized::random(rng, functions, &tables, changed))
        });
        let other = chance(rng, 20).then(|| {
            let table = rng.random_range(0..tables.len());
            let columns = 0..tables[table].columns.len();
            // The event time is there always.
            let fitting: Vec<usize> = columns.filter(|index| Some(*index) != tables[table].event_time).collect();
            (table, *pick(rng, &fitting))
        });
        let mut known: Vec<_> = views.iter().map(|view| (view.name.clone(), view.columns())).collect();
        let mut derived = Vec::new();
        for number in 0..rng.random_range(0..4) {
            let view = Derived::random(rng, functions, &known, number);
            known.push((view.name.clone(), view.columns()));
            derived.push(view);
        }
        let mut case = Case {
            tables,
            views,
            before,
            other,
            derived,
            steps: Vec::new(),
            step_bytes: rng.random_range(4096..30_000),
        };
        case.steps(rng);
        case
    }

    fn steps(&mut self, rng: &mut StdRng) {
        let mut earlier: Vec<Vec<Record>> = vec![Vec::new(); self.tables.len()];
        let count = rng.random_range(2..9);
        let change_at = rng.random_range(0..count);
        for number in 0..count {
            let table = rng.random_range(0..self.tables.len());
            let mut records = Vec::new();
            for _ in 0..rng.random_range(1..25) {
                // Producers send again what they have sent.
                let again = chance(rng, 6) && !earlier[table].is_empty();
                let mut record =
                    if again { pick(rng, &earlier[table]).clone() } else { Record::random(rng, &self.tables[table]) };
                if again {
                    record.kinds.push("sent again".to_owned());
                }
                earlier[table].push(record.clone());
                records.push(record);
            }
            let micros = *pick(rng, &[0, 1, 1_000_000, 59_000_000, 3_600_000_000]);
            self.steps.push(Step::Append(table, records, micros));
            match rng.random_range(0..12) {
                0 => self.steps.push(Step::Epoch),
                1..5 => self.steps.push(Step::Batch),
                5 => self.steps.push(Step::Full),
                6 => self.steps.push(Step::Restart),
                _ => {}
            }
            if number == change_at && self.changes() {
                self.steps.push(Step::Change);
            }
        }
    }

    /// Whether definitions change.
    pub fn changes(&self) -> bool {
        self.before.is_some() || self.other.is_some()
    }

    /// The definitions, those before the change or those after it.
    pub fn definitions(&self, changed: bool) -> String {
        let other =
            |number: usize| self.other.filter(|(table, _)| *table == number && !changed).map(|(_, column)| column);
        let mut statements: Vec<String> =
            self.tables.iter().enumerate().map(|(number, table)| table.statement(other(number))).collect();
        for (number, view) in self.views.iter().enumerate() {
            let view = match &self.before {
                Some((at, before)) if *at == number && !changed => before,
                _ => view,
            };
            statements.push(view.statement(&self.tables));
        }
        // Before the change, the derived views' columns may not be there.
        if changed || self.before.is_none() {
            statements.extend(self.derived.iter().map(Derived::statement));
        }
        statements.join("\n\n")
    }

    /// The records in the order in which they are appended, with their table.
    pub fn records(&self) -> impl Iterator<Item = (usize, &Record)> {
        self.steps.iter().flat_map(|step| {
            let (table, records): (usize, &[Record]) = match step {
                Step::Append(table, records, _) => (*table, records),
                _ => (0, &[]),
            };
            records.iter().map(move |record| (table, record))
        })
    }

    /// Counts what of the grammar it is made of.
    pub fn count(&self, counts: &mut BTreeMap<String, u64>) {
        let mut one = |what: String| *counts.entry(what).or_default() += 1;
        for table in &self.tables {
            table.columns.iter().for_each(|c| one(format!("column {}", family(c.data_type))));
            let options = [
                (table.columns.iter().any(|c| c.not_null), "NOT NULL"),
                (table.event_time.is_some(), "event_time"),
                (table.partition_by.is_some(), "partition_by"),
                (table.partitions > 1, "partitions"),
            ];
            options.iter().filter(|(there, _)| *there).for_each(|(_, what)| one((*what).to_owned()));
        }
        for (_, record) in self.records() {
            record.kinds.iter().for_each(|kind| one(format!("record {kind}")));
        }
        for step in &self.steps {
            one(match step {
                Step::Append(..) => "step append".to_owned(),
                other => format!("step {other:?}").to_lowercase(),
            });
        }
        if self.other.is_some() {
            one("changed table".to_owned());
        }
        if self.before.is_some() {
            one("changed view".to_owned());
        }
        self.views.iter().chain(self.before.iter().map(|(_, view)| view)).for_each(|view| view.count(counts));
        self.derived.iter().for_each(|view| view.query.count(counts));
    }

    /// SQL, JSON lines and steps that a person can paste.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        if self.changes() {
            let _ = writeln!(shown, "-- definitions/all.sql, before the change\n{}\n", self.definitions(false));
        }
        let _ = writeln!(shown, "-- definitions/all.sql\n{}\n", self.definitions(true));
        for (number, step) in self.steps.iter().enumerate() {
            let _ = match step {
                Step::Append(table, records, micros) => {
                    let lines: String = records.iter().map(|r| format!("{}\n", r.payload.escape_ascii())).collect();
                    writeln!(
                        shown,
                        "step {number}: {micros} µs later, append to {}:\n{lines}",
                        self.tables[*table].name
                    )
                }
                other => writeln!(shown, "step {number}: {other:?}"),
            };
        }
        shown
    }
}
