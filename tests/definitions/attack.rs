//! A case, run: batch = speed = merged, the books add up, dead letters are those foreseen, and DuckDB agrees.

use std::{
    any::Any,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
};

use watershed::{Catalog, Registry, SqlFile, Value};

use super::{
    case::{Case, Step},
    derived::Derived,
    materialized::Materialized,
    oracle::{Oracle, Request},
    records::Record,
    tables::{PLACE, Table},
    types::theirs,
    values::{cell, date_text, decimal_text, timestamp_text},
};
use crate::support::{log, records::BEGIN_MICROS, system::System};

/// Why a case fails.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind of failure it is; a smaller case must fail in the same way.
    pub kind: String,
    /// The difference.
    pub message: String,
}

/// What one case took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Records appended.
    pub records: u64,
    /// Dead letters among them.
    pub dead: u64,
    /// Records that views rejected.
    pub rejected: u64,
    /// Rows of all answers.
    pub rows: u64,
    /// Answers that were errors.
    pub failed: u64,
    /// Values compared with DuckDB's.
    pub compared: u64,
}

type Rows = Result<Vec<Vec<Option<String>>>, String>;
type Answers = BTreeMap<String, Rows>;

/// Runs a case. A panic is a failure, too.
pub fn attack(case: &Case, oracle: &RefCell<Oracle>) -> Result<Figures, Failure> {
    let run = || Attack { case, figures: Figures::default() }.run(&mut oracle.borrow_mut());
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(Failure { kind: "panic".into(), message: said(&*panic) }))
}

fn said(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn differ(kind: impl Into<String>, message: String) -> Result<(), Failure> {
    Err(Failure { kind: kind.into(), message })
}

struct Attack<'a> {
    case: &'a Case,
    figures: Figures,
}

impl<'a> Attack<'a> {
    fn run(mut self, oracle: &mut Oracle) -> Result<Figures, Failure> {
        self.validate()?;
        let mut system = self.steps();
        let merged = self.answers(&system);
        let speed = self.answers(&system.copy_of_log(self.case.step_bytes));
        same("speed only", &speed, "merged", &merged)?;
        let seen = self.records(&system)?;
        let mut request = self.request(&seen, &merged, &system)?;
        self.books(&system, &seen, &mut request)?;
        system.verify();
        system.batch();
        let uncounted = self.books(&system, &seen, &mut request)?;
        if !uncounted.is_empty() {
            differ("books", format!("{uncounted:?} are not in them after a batch run"))?;
        }
        same("batch", &self.answers(&system), "merged", &merged)?;
        system.restart();
        system.batch_in_full();
        same("batch in full", &self.answers(&system), "merged", &merged)?;
        system.numbers_add_up();
        match oracle.ask(&request) {
            Ok(compared) => self.figures.compared = compared,
            Err(differences) => differ("DuckDB", differences.join("\n"))?,
        }
        Ok(self.figures)
    }

    /// The definitions are valid, and the columns have the types that docs/sql.md gives them.
    fn validate(&self) -> Result<(), Failure> {
        for changed in [false, true] {
            let file = SqlFile::new("all.sql", self.case.definitions(changed));
            let catalog = Catalog::from_sql(&[file], &Registry::new()).map_err(|mistakes| Failure {
                kind: format!("refused: {}", mistakes[0].message),
                message: format!("{mistakes:#?}"),
            })?;
            if !changed {
                continue;
            }
            let columns = self.case.views.iter().map(|v| (&v.name, v.columns()));
            for (name, columns) in columns.chain(self.case.derived.iter().map(|v| (&v.name, v.columns()))) {
                let schema = &catalog.view(name).expect("it was defined").schema;
                let types: Vec<_> = schema.fields.iter().map(|field| field.data_type).collect();
                let foreseen: Vec<_> = columns.iter().map(|column| column.data_type).collect();
                if types != foreseen {
                    differ("types", format!("{name} has {types:?}, docs/sql.md says {foreseen:?}"))?;
                }
            }
        }
        Ok(())
    }

    fn steps(&mut self) -> System {
        let define = |changed| self.case.definitions(changed);
        let mut changed = !self.case.changes();
        let mut system = System::new(&[("all.sql", &define(changed))], BEGIN_MICROS);
        for step in &self.case.steps {
            match step {
                Step::Append(table, records, micros) => {
                    system.advance(*micros);
                    self.figures.records += records.len() as u64;
                    let payloads = records.iter().map(|record| record.payload.clone()).collect();
                    system.append(&self.case.tables[*table].name, payloads);
                }
                Step::Epoch => drop(system.epoch()),
                Step::Batch => drop(system.batch()),
                Step::Full => drop(system.batch_in_full()),
                Step::Restart => system.restart(),
                Step::Change => {
                    changed = true;
                    system.define(&[("all.sql", &define(true))]);
                }
            }
        }
        if !changed {
            system.define(&[("all.sql", &define(true))]);
        }
        system
    }

    /// The answers of all views, each in its order.
    fn answers(&mut self, system: &System) -> Answers {
        let names = self.case.views.iter().map(|v| &v.name).chain(self.case.derived.iter().map(|v| &v.name));
        let mut answers = Answers::new();
        let (mut rows, mut failed) = (0, 0);
        for name in names {
            let answer = system.answer(&format!("SELECT * FROM {name}"));
            let cells = answer.map(|answer| answer.rows().map(|row| row.iter().map(cell).collect()).collect());
            let cells: Rows = cells.map_err(|error| error.to_string());
            match &cells {
                Ok(cells) => rows += cells.len() as u64,
                Err(_) => failed += 1,
            }
            answers.insert(name.clone(), cells);
        }
        (self.figures.rows, self.figures.failed) = (rows, failed);
        answers
    }

    /// The records in the log, with what the tables make of them.
    fn records(&mut self, system: &System) -> Result<Vec<Seen<'a>>, Failure> {
        let mut seen = Vec::new();
        let case = self.case;
        for (number, table) in case.tables.iter().enumerate() {
            let known: HashMap<&[u8], &'a Record> =
                case.records().filter(|(n, _)| *n == number).map(|(_, r)| (&*r.payload, r)).collect();
            for found in log::records(&system.log_directory(), &table.name) {
                let Some(record) = known.get(&*found.payload) else {
                    return Err(Failure {
                        kind: "log".into(),
                        message: format!("a record that was not appended: {found:?}"),
                    });
                };
                let values = record.accepted_at(table, found.append_time_micros);
                if let Some(partition) = values.and_then(|values| partition(table, values, &found.payload))
                    && partition != found.partition
                {
                    let message = format!("{found:?} belongs to partition {partition}");
                    return Err(Failure { kind: "partition".into(), message });
                }
                seen.push(Seen { table: number, found, values });
            }
        }
        if seen.len() as u64 != self.figures.records {
            let message = format!("{} records were appended, {} are in the log", self.figures.records, seen.len());
            return Err(Failure { kind: "log".into(), message });
        }
        self.figures.dead = seen.iter().filter(|s| s.values.is_none()).count() as u64;
        Ok(seen)
    }

    /// What DuckDB is asked: every view's rows.
    fn request(&self, seen: &[Seen<'_>], answers: &Answers, system: &System) -> Result<Request, Failure> {
        let mut request = Request::default();
        for (number, table) in self.case.tables.iter().enumerate() {
            let declared = table.columns.iter().map(|c| (c.name.clone(), theirs(c.data_type)));
            let columns: Vec<(String, String)> =
                declared.chain(PLACE.iter().map(|(name, t)| ((*name).to_owned(), theirs(*t)))).collect();
            let rows: Vec<_> = seen.iter().filter(|s| s.table == number).filter_map(Seen::row).collect();
            request.table(&table.name, &columns, &rows);
        }
        for view in &self.case.views {
            request.run(&view.fates_statement(&self.case.tables));
            let columns: Vec<_> = (view.items.iter())
                .map(|item| (item.name.clone(), theirs(item.expr.data_type), item.how.name()))
                .collect();
            request.compare(&view.name, &view.theirs(), &columns, &answers[&view.name], false);
            self.rejected(view, system, &mut request)?;
        }
        let mut failed: Vec<String> =
            self.case.views.iter().map(|v| &v.name).filter(|name| answers[*name].is_err()).cloned().collect();
        for view in &self.case.derived {
            let mut read = Vec::new();
            view.query.from.views(&mut read);
            view.query.union.iter().for_each(|(_, other)| other.from.views(&mut read));
            if read.iter().any(|name| failed.contains(name)) {
                // What it reads has no answer. It may have one nevertheless, where keys keep the failing rows out.
                failed.push(view.name.clone());
                continue;
            }
            derived(view, &answers[&view.name], &mut request);
            if answers[&view.name].is_err() {
                failed.push(view.name.clone());
            }
        }
        Ok(request)
    }

    fn rejected(&self, view: &Materialized, system: &System, request: &mut Request) -> Result<(), Failure> {
        let rejected = system.run(system.project().rejected(&view.name, usize::MAX));
        let rows = rejected.iter().map(|r| vec![Some(r.partition.to_string()), Some(r.offset.to_string())]).collect();
        let sql = format!("SELECT _partition, _offset FROM {} WHERE ws_fate = 'rejected'", view.fates());
        let exact = |name: &str| (name.to_owned(), "BIGINT".to_owned(), "exact".to_owned());
        let columns = [exact("_partition"), exact("_offset")];
        request.compare(&format!("rejected by {}", view.name), &sql, &columns, &Ok(rows), false);
        Ok(())
    }

    /// The books: against what is foreseen, and against DuckDB's count of each view. Returns the tables that are not in them, since
    /// they were declared otherwise when their records were counted.
    fn books(
        &mut self,
        system: &System,
        seen: &[Seen<'_>],
        request: &mut Request,
    ) -> Result<BTreeSet<String>, Failure> {
        let ledger = system.run(system.project().status()).ledger;
        let uncounted = ledger.to_be_counted;
        if !uncounted.is_empty() && self.case.other.is_none() {
            differ("books", format!("{uncounted:?} are not in them, and were not changed"))?;
        }
        for (number, table) in self.case.tables.iter().enumerate().filter(|(_, t)| !uncounted.contains(&t.name)) {
            let of_table = || seen.iter().filter(|s| s.table == number);
            let accepted: Vec<&Seen<'_>> = of_table().filter(|s| s.values.is_some()).collect();
            let times: Vec<i64> = accepted.iter().map(|s| s.event_time(table)).collect();
            let late = accepted.iter().filter(|s| s.found.append_time_micros - s.event_time(table) > table.lateness.1);
            let counts = ledger.sources[&table.name].counts;
            let found = (
                counts.records,
                counts.accepted,
                counts.dead,
                counts.late,
                counts.event_time_min,
                counts.event_time_max,
            );
            let (all, accepted) = (of_table().count() as u64, accepted.len() as u64);
            let foreseen = (
                all,
                accepted,
                all - accepted,
                late.count() as u64,
                times.iter().min().copied(),
                times.iter().max().copied(),
            );
            if found != foreseen {
                let names = "records, accepted, dead, late, first and last event time";
                differ("books", format!("{}: {names} are {found:?}, foreseen {foreseen:?}", table.name))?;
            }
            let mut dead: Vec<_> =
                of_table().filter(|s| s.values.is_none()).map(|s| (s.found.partition, s.found.offset)).collect();
            let letters = system.run(system.project().dead_letters(&table.name, usize::MAX));
            dead.sort_unstable();
            let listed: Vec<_> = letters.iter().map(|letter| (letter.partition, letter.offset)).collect();
            if listed != dead {
                differ("dead letters", format!("{}: {letters:#?}\nforeseen {dead:?}", table.name))?;
            }
        }
        system.numbers_add_up();
        self.figures.rejected = 0;
        for view in &self.case.views {
            if uncounted.contains(&self.case.tables[view.table].name) {
                continue;
            }
            let Some(of_view) = ledger.views.get(&view.name) else {
                return Err(Failure { kind: "books".into(), message: format!("{} is not in them", view.name) });
            };
            let counts = of_view.counts;
            self.figures.rejected += counts.rejected;
            let numbers = [counts.accepted, counts.counted, counts.filtered, counts.rejected];
            let of = |fate: &str| format!("count(*) FILTER (WHERE ws_fate = '{fate}')");
            let sql = format!(
                "SELECT count(*) a, {} c, {} f, {} r FROM {}",
                of("counted"),
                of("filtered"),
                of("rejected"),
                view.fates()
            );
            let columns = ["a", "c", "f", "r"].map(|name| (name.to_owned(), "BIGINT".to_owned(), "exact".to_owned()));
            let row = numbers.iter().map(|number| Some(number.to_string())).collect();
            request.compare(&format!("books of {}", view.name), &sql, &columns, &Ok(vec![row]), false);
        }
        Ok(uncounted)
    }
}

fn derived(view: &Derived, answer: &Rows, request: &mut Request) {
    let columns: Vec<_> =
        (view.query.items.iter()).map(|(name, e)| (name.clone(), theirs(e.data_type), "exact".to_owned())).collect();
    request.compare(&view.name, &view.query.text(false), &columns, answer, !view.query.order.is_empty());
}

/// The same answers, in the same order.
fn same(one: &str, left: &Answers, other: &str, right: &Answers) -> Result<(), Failure> {
    for (name, rows) in left {
        if rows != &right[name] {
            differ("ways", format!("{name}, {one}:\n{rows:?}\n{other}:\n{:?}", right[name]))?;
        }
    }
    Ok(())
}

/// A record of the log, and the values of its table's columns if that accepts it.
struct Seen<'a> {
    table: usize,
    found: log::OwnedRecord,
    values: Option<&'a Vec<Value>>,
}

impl Seen<'_> {
    fn event_time(&self, table: &Table) -> i64 {
        match (table.event_time, self.values) {
            (Some(index), Some(values)) => match values[index] {
                Value::Timestamp(micros) => micros,
                ref other => panic!("{other:?} is no event time"),
            },
            _ => self.found.append_time_micros,
        }
    }

    /// Its row in DuckDB's table.
    fn row(&self) -> Option<Vec<Option<String>>> {
        let mut row: Vec<Option<String>> = self.values?.iter().map(cell).collect();
        let found = &self.found;
        row.extend(
            [found.partition.to_string(), found.offset.to_string(), found.append_time_micros.to_string()].map(Some),
        );
        Some(row)
    }
}

/// The partition that an accepted record belongs to: the FNV-1a hash of the key's text, or of the payload. (Of doubles: not checked.)
fn partition(table: &Table, values: &[Value], payload: &[u8]) -> Option<u32> {
    let key = match table.partition_by.map(|index| (&values[index], table.columns[index].data_type)) {
        None | Some((Value::Null, _)) => payload.to_vec(),
        Some((Value::Double(_), _)) => return None,
        Some((Value::Decimal(value), watershed::DataType::Decimal { scale, .. })) => {
            decimal_text(*value, scale).into_bytes()
        }
        Some((Value::Timestamp(micros), _)) => timestamp_text(*micros).replace(".000000", "").into_bytes(),
        Some((Value::Date(days), _)) => date_text(*days).into_bytes(),
        Some((value, _)) => cell(value)?.into_bytes(),
    };
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    u32::try_from(hash % u64::from(table.partitions)).ok()
}

impl Figures {
    /// Adds those of another case.
    pub fn add(&mut self, other: &Figures) {
        self.records += other.records;
        self.dead += other.dead;
        self.rejected += other.rejected;
        self.rows += other.rows;
        self.failed += other.failed;
        self.compared += other.compared;
    }
}
