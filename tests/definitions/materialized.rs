//! Random materialized views, and their meaning in DuckDB.

use std::{collections::BTreeMap, fmt::Write as _};

use rand::{Rng, rngs::StdRng};
use watershed::DataType;

use super::{
    aggregates::{Aggregate, How},
    expressions::Expressions,
    functions::Function,
    language::{Expr, Fails, quoted},
    tables::Table,
    types::{any_type, chance, ordered_type},
    windows::Window,
};

/// One column of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Over records, or over keys and aggregates, which stand in it as `§0§`, `§1§` ….
    pub expr: Expr,
    /// How it is compared.
    pub how: How,
}

/// A materialized view.
#[derive(Clone, Debug, PartialEq)]
pub struct Materialized {
    /// Its name.
    pub name: String,
    /// Its table.
    pub table: usize,
    /// Its window.
    pub window: Option<Window>,
    /// `WHERE`.
    pub filter: Option<Expr>,
    /// `GROUP BY` expressions (`window_start` aside) and aggregates; `None`: a view of rows.
    pub groups: Option<(Vec<Expr>, Vec<Aggregate>)>,
    /// The columns.
    pub items: Vec<Item>,
    /// `HAVING`.
    pub having: Option<Expr>,
    /// `WITH (buckets = …)`.
    pub buckets: Option<u32>,
}

/// What stands for the `number`th key or aggregate in an expression above them.
fn reference(number: usize, data_type: DataType) -> Expr {
    let name = format!("§{number}§");
    Expr::new(data_type, "column", &name, &name, Fails::Never, Vec::new())
}

impl Materialized {
    /// A random one over one of the tables.
    pub fn random(rng: &mut StdRng, functions: &[Function], tables: &[Table], number: usize) -> Materialized {
        let table = rng.random_range(0..tables.len());
        let columns = tables[table].names();
        let times: Vec<String> = tables[table]
            .columns
            .iter()
            .filter(|c| c.data_type == DataType::Timestamp)
            .map(|c| c.name.clone())
            .chain(["_append_time".to_owned()])
            .collect();
        let is_rows = chance(rng, 20);
        let tumbling = is_rows || rng.random();
        let window = chance(rng, 50).then(|| Window::random(rng, &times, tumbling));
        let mut view = Materialized {
            name: format!("m{number}"),
            table,
            window,
            filter: None,
            groups: None,
            items: Vec::new(),
            having: None,
            buckets: None,
        };
        let mut draw = Expressions { rng, columns: &columns, functions, may_fail: true };
        view.filter = chance(draw.rng, 45).then(|| {
            let depth = draw.rng.random_range(0..4);
            draw.condition(depth)
        });
        if is_rows {
            view.of_rows(&mut draw);
        } else {
            view.of_groups(&mut draw);
        }
        view
    }

    fn of_rows(&mut self, draw: &mut Expressions<'_>) {
        if let Some(window) = &self.window {
            for (name, expr) in ["ws", "we"].into_iter().zip(window.of_rows()) {
                self.items.push(Item { name: name.to_owned(), expr, how: How::Exact });
            }
        }
        for number in 0..draw.rng.random_range(1..7) {
            let data_type = any_type(draw.rng);
            let depth = draw.rng.random_range(0..5);
            let expr = draw.of(data_type, depth);
            self.items.push(Item { name: format!("o{number}"), expr, how: How::Exact });
        }
    }

    fn of_groups(&mut self, draw: &mut Expressions<'_>) {
        let mut keys: Vec<Expr> = Vec::new();
        for _ in 0..draw.rng.random_range(0..3) {
            let data_type = any_type(draw.rng);
            let depth = draw.rng.random_range(0..3);
            let key = draw.of(data_type, depth);
            // A constant in GROUP BY is the number of a column.
            if key.what != "literal" && !keys.contains(&key) {
                keys.push(key);
            }
        }
        let aggregates: Vec<Aggregate> =
            (0..draw.rng.random_range(1..6)).map(|_| Aggregate::random(draw, true)).collect();
        self.buckets = (self.window.is_none() && chance(draw.rng, 30)).then(|| draw.rng.random_range(1..20));
        let mut names: Vec<Expr> = keys.iter().enumerate().map(|(i, key)| reference(i, key.data_type)).collect();
        let first = names.len();
        names.extend(aggregates.iter().enumerate().map(|(i, a)| reference(first + i, a.data_type)));
        if self.window.is_some() {
            for name in ["window_start", "window_end"] {
                names.push(Expr::new(DataType::Timestamp, "column", name, name, Fails::Never, Vec::new()));
            }
        }
        for (number, name) in names.iter().enumerate() {
            let how = aggregates.get(number.wrapping_sub(first)).map_or(How::Exact, |a| a.how.clone());
            self.items.push(Item { name: format!("o{number}"), expr: name.clone(), how });
        }
        // Above the aggregates: exact ones only, since what is made of an estimate cannot be compared.
        let is_exact = |number: usize| self.items[number].how == How::Exact;
        let columns: Vec<Expr> = (0..names.len()).filter(|n| is_exact(*n)).map(|n| names[n].clone()).collect();
        let may_fail = chance(draw.rng, 40);
        let mut above = Expressions { rng: &mut *draw.rng, columns: &columns, functions: draw.functions, may_fail };
        for number in 0..above.rng.random_range(0..3) {
            let data_type = ordered_type(above.rng);
            let expr = above.of(data_type, 2);
            self.items.push(Item { name: format!("p{number}"), expr, how: How::Exact });
        }
        self.having = chance(above.rng, 25).then(|| above.condition(2));
        self.groups = Some((keys, aggregates));
    }

    /// Adds a column with the `number`th of all functions and casts.
    pub fn in_turn(&mut self, rng: &mut StdRng, functions: &[Function], tables: &[Table], number: usize) {
        let columns = tables[self.table].names();
        let expr = Expressions { rng, columns: &columns, functions, may_fail: true }.in_turn(number);
        let expr = match &mut self.groups {
            None => expr,
            Some((keys, aggregates)) => {
                let what = if chance(rng, 50) { "FIRST" } else { "LAST" };
                let data_type = expr.data_type;
                aggregates.push(Aggregate { what, argument: Some(expr), filter: None, data_type, how: How::Exact });
                reference(keys.len() + aggregates.len() - 1, data_type)
            }
        };
        self.items.push(Item { name: "turn".to_owned(), expr, how: How::Exact });
    }

    /// Names and types of its columns.
    pub fn columns(&self) -> Vec<Expr> {
        self.items.iter().map(|item| Expr::column(&item.name, item.expr.data_type)).collect()
    }

    /// Watershed's statement.
    pub fn statement(&self, tables: &[Table]) -> String {
        let table = &tables[self.table];
        let (keys, aggregates) = self.groups.clone().unwrap_or_default();
        let names: Vec<String> = keys.iter().map(Expr::ours).chain(aggregates.iter().map(Aggregate::ours)).collect();
        let above = |expr: &Expr| refer(expr.ours(), &names);
        let items: Vec<String> =
            self.items.iter().map(|item| format!("  {} AS {}", above(&item.expr), quoted(&item.name))).collect();
        let buckets = self.buckets.map_or(String::new(), |buckets| format!(" WITH (buckets = {buckets})"));
        let from = self.window.as_ref().map_or(table.name.clone(), |window| window.ours(&table.name));
        let mut sql =
            format!("CREATE MATERIALIZED VIEW {}{buckets} AS\nSELECT\n{}\nFROM {from}", self.name, items.join(",\n"));
        if let Some(filter) = &self.filter {
            let _ = write!(sql, "\nWHERE {}", filter.ours());
        }
        if self.groups.is_some() {
            let mut group: Vec<String> = keys.iter().map(Expr::ours).collect();
            group.extend(self.window.is_some().then(|| "window_start".to_owned()));
            if !group.is_empty() {
                let _ = write!(sql, "\nGROUP BY {}", group.join(", "));
            }
        }
        if let Some(having) = &self.having {
            let _ = write!(sql, "\nHAVING {}", above(having));
        }
        sql + ";"
    }

    /// The name of DuckDB's table with what became of each record.
    pub fn fates(&self) -> String {
        format!("fates_{}", self.name)
    }

    /// DuckDB's statement that works out what becomes of each accepted record: `ws_fate`, and what keys, aggregates and columns need of it.
    pub fn fates_statement(&self, tables: &[Table]) -> String {
        let (keys, aggregates) = self.groups.clone().unwrap_or_default();
        let table = &tables[self.table];
        let mut columns = vec!["_partition".to_owned(), "_offset".to_owned()];
        columns.push(format!("{} AS ws_time", quoted(table.event_time_name())));
        let mut failures: Vec<String> = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            columns.push(format!("{} AS ws_key{number}", key.value()));
            failures.extend(key.failed());
        }
        for (number, aggregate) in aggregates.iter().enumerate() {
            columns.push(format!("{} AS ws_argument{number}", aggregate.taken()));
            // One that no column is made of is not part of the view.
            let place = format!("§{}§", keys.len() + number);
            if self.items.iter().map(|item| &item.expr).chain(&self.having).any(|e| e.ours().contains(&place)) {
                failures.extend(aggregate.failed());
            }
        }
        if self.groups.is_none() {
            for item in &self.items {
                columns.push(format!("{} AS {}", item.expr.value(), quoted(&item.name)));
                failures.extend(item.expr.failed());
            }
        }
        let mut fate = "CASE".to_owned();
        if let Some(filter) = &self.filter {
            if let Some(failed) = filter.failed() {
                let _ = write!(fate, " WHEN {failed} THEN 'rejected'");
            }
            let _ = write!(fate, " WHEN ({}) IS NOT TRUE THEN 'filtered'", filter.value());
        }
        if let (Some(window), Some(_)) = (&self.window, &self.groups) {
            let _ = write!(fate, " WHEN {} IS NULL THEN 'filtered'", quoted(&window.time));
            columns.push(format!("{} AS ws_windows", window.numbers()));
            failures.push(format!("{} IS NULL", window.numbers()));
        }
        for failed in failures {
            let _ = write!(fate, " WHEN {failed} THEN 'rejected'");
        }
        let fate = if fate == "CASE" { "'counted'".to_owned() } else { fate + " ELSE 'counted' END" };
        columns.push(format!("{fate} AS ws_fate"));
        format!("CREATE OR REPLACE TEMP TABLE {} AS SELECT {} FROM {}", self.fates(), columns.join(", "), table.name)
    }

    /// DuckDB's query for the answer.
    pub fn theirs(&self) -> String {
        let fates = self.fates();
        let Some((keys, aggregates)) = &self.groups else {
            let items: Vec<String> = self.items.iter().map(|item| quoted(&item.name)).collect();
            return format!("SELECT {} FROM {fates} WHERE ws_fate = 'counted'", items.join(", "));
        };
        let mut columns = Vec::new();
        let mut group: Vec<String> = Vec::new();
        for number in 0..keys.len() {
            columns.push(format!("ws_key{number} AS ws{number}"));
            group.push(format!("ws_key{number}"));
        }
        for (number, aggregate) in aggregates.iter().enumerate() {
            let taken = format!("ws_argument{number}");
            let aggregate = aggregate.theirs(&taken, "(ws_time, _partition, _offset)");
            columns.push(format!("{aggregate} AS ws{}", keys.len() + number));
        }
        let mut from = format!("SELECT * FROM {fates} WHERE ws_fate = 'counted'");
        if let Some(window) = &self.window {
            let [start, end] = window.bounds("ws_window");
            columns.push(format!("{start} AS window_start, {end} AS window_end"));
            group.push("ws_window".to_owned());
            from = format!("SELECT *, unnest(ws_windows) AS ws_window FROM ({from})");
        }
        let grouped = if group.is_empty() { String::new() } else { format!(" GROUP BY {}", group.join(", ")) };
        let core = format!("SELECT {} FROM ({from}){grouped}", columns.join(", "));
        let names: Vec<String> = (0..keys.len() + aggregates.len()).map(|n| format!("ws{n}")).collect();
        let items: Vec<String> = self
            .items
            .iter()
            .map(|item| format!("{} AS {}", refer(item.expr.strict(), &names), quoted(&item.name)))
            .collect();
        let having = self.having.as_ref().map_or(String::new(), |h| format!(" WHERE {}", refer(h.strict(), &names)));
        format!("SELECT {} FROM (SELECT * FROM ({core}){having})", items.join(", "))
    }

    /// Counts what of the grammar it is made of.
    pub fn count(&self, counts: &mut BTreeMap<String, u64>) {
        let mut one = |what: &str| *counts.entry(what.to_owned()).or_default() += 1;
        match (&self.groups, &self.window) {
            (None, _) => one("view of rows"),
            (Some((keys, _)), None) if keys.is_empty() => one("view of one row"),
            (Some(_), None) => one("GROUP BY"),
            (Some(_), Some(_)) => one("GROUP BY window"),
        }
        for (there, what) in
            [(self.filter.is_some(), "WHERE"), (self.having.is_some(), "HAVING"), (self.buckets.is_some(), "buckets")]
        {
            if there {
                one(what);
            }
        }
        self.window.iter().flat_map(Window::whats).for_each(|what| one(&what));
        let (keys, aggregates) = self.groups.clone().unwrap_or_default();
        for aggregate in &aggregates {
            one(aggregate.what);
            if aggregate.filter.is_some() {
                one("FILTER");
            }
        }
        let arguments = aggregates.iter().flat_map(|a| a.argument.iter().chain(&a.filter));
        let items = self.items.iter().map(|item| &item.expr);
        let all = self.filter.iter().chain(&keys).chain(arguments).chain(items).chain(&self.having);
        all.for_each(|expr| expr.count(counts));
    }
}

/// Puts names where `§0§`, `§1§` … stand.
fn refer(mut text: String, names: &[String]) -> String {
    for (number, name) in names.iter().enumerate() {
        text = text.replace(&format!("§{number}§"), name);
    }
    text
}
