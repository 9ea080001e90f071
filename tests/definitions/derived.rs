//! Random derived views: queries over other views, in both dialects.
//!
//! Their expressions never fail, so that DuckDB may evaluate them where it likes. Orders are completed by the whole row here too, with
//! NULL first, as docs/sql.md says.

use std::collections::BTreeMap;

use rand::{Rng, rngs::StdRng};
use watershed::DataType;

use super::{
    aggregates::Aggregate,
    expressions::Expressions,
    functions::Function,
    language::{Expr, Fails, quoted},
    types::{any_type, chance, pick},
    values::literal,
};

/// A derived view.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// Its name.
    pub name: String,
    /// Its query.
    pub query: Query,
}

/// A query, perhaps with others below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// `FROM`.
    pub from: Input,
    /// `WHERE`.
    pub filter: Option<Expr>,
    /// `GROUP BY` expressions, and aggregates, which stand in items as `ws0`, `ws1` ….
    pub groups: Option<(Vec<Expr>, Vec<Aggregate>)>,
    /// `HAVING`.
    pub having: Option<Expr>,
    /// Ranking functions, which stand in items.
    pub rankings: Vec<Ranking>,
    /// `QUALIFY`: a ranking, and the most that it may be.
    pub qualify: Option<u32>,
    /// The columns.
    pub items: Vec<(String, Expr)>,
    /// `DISTINCT`.
    pub distinct: bool,
    /// `UNION` with another query over the same types; whether `ALL`.
    pub union: Option<(bool, Box<Query>)>,
    /// `ORDER BY` columns: number, descending, where NULL goes.
    pub order: Vec<(usize, bool, Option<bool>)>,
    /// `LIMIT` and `OFFSET`.
    pub limit: Option<(u32, u32)>,
}

/// What a query reads. Columns are named with their alias.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A view.
    View(String, Vec<Expr>),
    /// A subquery, or a `WITH` table.
    Query(Box<Query>, bool),
    /// Constants.
    Values(Vec<DataType>, Vec<Vec<Expr>>),
    /// Two of them: kind, and equal columns. With `USING` their name is one.
    Join(Box<Input>, Box<Input>, &'static str, Vec<(Expr, Expr)>, bool),
}

/// A window function.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    call: String,
    what: &'static str,
    data_type: DataType,
    partition: Vec<Expr>,
    order: Vec<(Expr, bool)>,
}

/// `alias."name"`.
fn under(alias: &str, name: &str, data_type: DataType) -> Expr {
    Expr::same(data_type, "column", &format!("{alias}.{}", quoted(name)), Vec::new())
}

/// The name within `alias."name"`.
fn bare(column: &Expr) -> String {
    column.ours.split_once('.').expect("an alias").1.trim_matches('"').replace("\"\"", "\"")
}

const JOINS: &[&str] = &["INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"];

impl Derived {
    /// A random one over some of the views, given with their columns.
    pub fn random(rng: &mut StdRng, functions: &[Function], views: &[(String, Vec<Expr>)], number: usize) -> Derived {
        Derived { name: format!("d{number}"), query: Query::random(rng, functions, views, 2) }
    }

    /// Names and types of its columns.
    pub fn columns(&self) -> Vec<Expr> {
        self.query.items.iter().map(|(name, expr)| Expr::column(name, expr.data_type)).collect()
    }

    /// Watershed's statement.
    pub fn statement(&self) -> String {
        format!("CREATE VIEW {} AS\n{};", self.name, self.query.text(true))
    }
}

impl Input {
    fn random(
        rng: &mut StdRng,
        functions: &[Function],
        views: &[(String, Vec<Expr>)],
        depth: u32,
        alias: &str,
    ) -> Input {
        if depth > 0 && chance(rng, 25) {
            let query = Query::random(rng, functions, views, depth - 1);
            return Input::Query(Box::new(query), rng.random());
        }
        if depth > 0 && chance(rng, 6) {
            let types: Vec<DataType> = (0..rng.random_range(1..4)).map(|_| any_type(rng)).collect();
            let rows = (0..rng.random_range(1..4)).map(|_| types.iter().map(|t| literal(rng, *t)).collect()).collect();
            return Input::Values(types, rows);
        }
        let (name, columns) = pick(rng, views);
        let columns = columns.iter().map(|c| under(alias, c.ours.trim_matches('"'), c.data_type)).collect();
        Input::View(name.clone(), columns)
    }

    /// The columns, under this alias; of a join, under `a` and `b`.
    fn columns(&self, alias: &str) -> Vec<Expr> {
        match self {
            Input::View(_, columns) => columns.iter().map(|c| under(alias, &bare(c), c.data_type)).collect(),
            Input::Query(query, _) => query.items.iter().map(|(name, e)| under(alias, name, e.data_type)).collect(),
            Input::Values(types, _) => {
                types.iter().enumerate().map(|(i, t)| under(alias, &format!("v{i}"), *t)).collect()
            }
            Input::Join(left, right, ..) => [left.columns("a"), right.columns("b")].concat(),
        }
    }

    /// Its text, and the `WITH` tables that it needs.
    fn text(&self, alias: &str, ours: bool, with: &mut Vec<String>) -> String {
        match self {
            Input::View(name, _) => format!("{name} AS {alias}"),
            Input::Query(query, true) => {
                let name = format!("with_{alias}");
                with.push(format!("{name} AS (\n{}\n)", query.text(ours)));
                format!("{name} AS {alias}")
            }
            Input::Query(query, false) => format!("(\n{}\n) AS {alias}", query.text(ours)),
            Input::Values(types, rows) => {
                let names: Vec<String> = (0..types.len()).map(|i| format!("v{i}")).collect();
                let text = |e: &Expr| if ours { e.ours() } else { e.value() };
                let rows: Vec<String> = rows
                    .iter()
                    .map(|row| format!("({})", row.iter().map(text).collect::<Vec<_>>().join(", ")))
                    .collect();
                format!("(VALUES {}) AS {alias} ({})", rows.join(", "), names.join(", "))
            }
            Input::Join(left, right, kind, on, using) => {
                let (left, right) = (left.text("a", ours, with), right.text("b", ours, with));
                let condition = match (on.as_slice(), using) {
                    ([], _) => String::new(),
                    (on, true) => {
                        let names: Vec<String> = on.iter().map(|(a, _)| quoted(&bare(a))).collect();
                        format!(" USING ({})", names.join(", "))
                    }
                    (on, false) => {
                        let pairs: Vec<String> =
                            on.iter().map(|(a, b)| format!("{} = {}", a.ours(), b.ours())).collect();
                        format!(" ON {}", pairs.join(" AND "))
                    }
                };
                format!("{left} {kind} {right}{condition}")
            }
        }
    }
}

impl Query {
    fn random(rng: &mut StdRng, functions: &[Function], views: &[(String, Vec<Expr>)], depth: u32) -> Query {
        let from = if chance(rng, 25) { join(rng, functions, views, depth) } else { None };
        let from = from.unwrap_or_else(|| Input::random(rng, functions, views, depth, "a"));
        let columns = from.columns("a");
        let mut query = Query {
            from,
            filter: None,
            groups: None,
            having: None,
            rankings: Vec::new(),
            qualify: None,
            items: Vec::new(),
            distinct: false,
            union: None,
            order: Vec::new(),
            limit: None,
        };
        let mut draw = Expressions { rng, columns: &columns, functions, may_fail: false };
        query.filter = chance(draw.rng, 40).then(|| draw.condition(2));
        match draw.rng.random_range(0..10) {
            0..3 => query.group(&mut draw),
            3..5 => query.rank(&mut draw, &columns),
            _ => query.project(&mut draw, &columns),
        }
        query.finish(draw.rng);
        query
    }

    fn project(&mut self, draw: &mut Expressions<'_>, columns: &[Expr]) {
        for number in 0..draw.rng.random_range(1..6) {
            let expr = if chance(draw.rng, 60) {
                pick(draw.rng, columns).clone()
            } else {
                let data_type = any_type(draw.rng);
                draw.of(data_type, 2)
            };
            self.items.push((format!("o{number}"), expr));
        }
        self.distinct = chance(draw.rng, 20);
        if chance(draw.rng, 15) {
            // The same rows once more, in part.
            let mut other = self.clone();
            other.filter = Some(draw.condition(1));
            self.union = Some((draw.rng.random(), Box::new(other)));
        }
    }

    fn group(&mut self, draw: &mut Expressions<'_>) {
        let mut keys: Vec<Expr> = Vec::new();
        for _ in 0..draw.rng.random_range(0..3) {
            let key = pick(draw.rng, draw.columns).clone();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut aggregates: Vec<Aggregate> = Vec::new();
        while aggregates.len() < 2 {
            let aggregate = Aggregate::random(draw, false);
            if !aggregate.what.starts_with("APPROX") {
                aggregates.push(aggregate);
            }
        }
        let types = keys.iter().map(|k| k.data_type).chain(aggregates.iter().map(|a| a.data_type));
        let names: Vec<Expr> = types
            .enumerate()
            .map(|(n, t)| Expr::new(t, "column", &format!("§{n}§"), &format!("ws{n}"), Fails::Never, Vec::new()))
            .collect();
        let mut above =
            Expressions { rng: &mut *draw.rng, columns: &names, functions: draw.functions, may_fail: false };
        self.having = chance(above.rng, 30).then(|| above.condition(1));
        self.items = names.iter().enumerate().map(|(n, name)| (format!("o{n}"), name.clone())).collect();
        if chance(above.rng, 30) {
            let data_type = any_type(above.rng);
            let expr = above.of(data_type, 2);
            self.items.push(("p".to_owned(), expr));
        }
        self.groups = Some((keys, aggregates));
    }

    fn rank(&mut self, draw: &mut Expressions<'_>, columns: &[Expr]) {
        for number in 0..draw.rng.random_range(1..3) {
            let value = pick(draw.rng, columns).clone();
            let by = draw.rng.random_range(0..3);
            // Rows of a view of rows that are equal in all columns still differ by their place, which DuckDB does not see: one function
            // at most depends on it, and none where such rows are joined, each with all that is equal to the other.
            let sees_places = number == 0 && !self.from.joins_views();
            let (what, call, data_type) = match draw.rng.random_range(0..if sees_places { 6 } else { 2 }) {
                0 => ("RANK", "RANK()".to_owned(), DataType::BigInt),
                1 => ("DENSE_RANK", "DENSE_RANK()".to_owned(), DataType::BigInt),
                2 => ("ROW_NUMBER", "ROW_NUMBER()".to_owned(), DataType::BigInt),
                3 => ("NTILE", format!("NTILE({})", by + 1), DataType::BigInt),
                4 => ("LAG", format!("LAG({}, {by})", value.ours()), value.data_type),
                _ => ("LEAD", format!("LEAD({})", value.ours()), value.data_type),
            };
            let partition = (0..draw.rng.random_range(0..2)).map(|_| pick(draw.rng, columns).clone()).collect();
            let order = (0..draw.rng.random_range(1..3)).map(|_| (pick(draw.rng, columns).clone(), draw.rng.random()));
            let order = order.collect();
            self.rankings.push(Ranking { call, what, data_type, partition, order });
        }
        for (number, ranking) in self.rankings.iter().enumerate() {
            let name = format!("«rank{number}»");
            self.items.push((format!("r{number}"), Expr::same(ranking.data_type, "column", &name, Vec::new())));
        }
        for number in 0..draw.rng.random_range(1..4) {
            self.items.push((format!("o{number}"), pick(draw.rng, columns).clone()));
        }
        let counts =
            self.rankings[0].data_type == DataType::BigInt && !["LAG", "LEAD"].contains(&self.rankings[0].what);
        self.qualify = (counts && chance(draw.rng, 60)).then(|| draw.rng.random_range(1..4));
    }

    fn finish(&mut self, rng: &mut StdRng) {
        if chance(rng, 40) {
            for _ in 0..rng.random_range(1..3) {
                let nulls = *pick(rng, &[None, Some(true), Some(false)]);
                self.order.push((rng.random_range(0..self.items.len()), rng.random(), nulls));
            }
        }
        // Without an order of its own, a limit goes by the order of what is read, if that has one.
        let is_canonical = self.groups.is_some() || self.distinct || self.union.is_some();
        if (is_canonical || !self.order.is_empty()) && chance(rng, 50) {
            self.limit = Some((rng.random_range(0..12), *pick(rng, &[0, 0, 1, 3])));
        }
    }

    /// Its text in either dialect.
    pub fn text(&self, ours: bool) -> String {
        let mut with = Vec::new();
        let mut body = self.select(ours, &mut with);
        if let Some((all, other)) = &self.union {
            let mut with_other = Vec::new();
            let other = other.select(ours, &mut with_other);
            body = format!("{body}\nUNION{}\n{other}", if *all { " ALL" } else { "" });
        }
        let mut order: Vec<String> = Vec::new();
        for (number, descending, nulls) in &self.order {
            let direction = if *descending { "DESC" } else { "ASC" };
            // NULL goes last when ascending, first when descending, unless said otherwise. DuckDB is told.
            let nulls = if ours { *nulls } else { Some(nulls.unwrap_or(*descending)) };
            let nulls = nulls.map_or("", |first| if first { " NULLS FIRST" } else { " NULLS LAST" });
            order.push(format!("{} {direction}{nulls}", quoted(&self.items[*number].0)));
        }
        if !ours && (!order.is_empty() || self.limit.is_some()) {
            order.extend(self.items.iter().map(|(name, _)| format!("{} ASC NULLS FIRST", quoted(name))));
        }
        if !ours && !order.is_empty() {
            body = format!("SELECT * FROM ({body})");
        }
        if !with.is_empty() {
            body = format!("WITH {}\n{body}", with.join(",\n"));
        }
        if !order.is_empty() {
            body += &format!("\nORDER BY {}", order.join(", "));
        }
        if let Some((limit, offset)) = self.limit {
            body += &format!("\nLIMIT {limit}");
            if offset > 0 {
                body += &format!(" OFFSET {offset}");
            }
        }
        body
    }

    fn select(&self, ours: bool, with: &mut Vec<String>) -> String {
        let text = |e: &Expr| if ours { e.ours() } else { e.value() };
        let from = self.from.text("a", ours, with);
        let filter = self.filter.as_ref().map_or(String::new(), |f| format!("\nWHERE {}", text(f)));
        let mut names: Vec<(String, String)> = Vec::new();
        let mut source = format!("{from}{filter}");
        if let Some((keys, aggregates)) = &self.groups {
            let grouped: Vec<String> = keys.iter().map(&text).collect();
            let group = if keys.is_empty() { String::new() } else { format!("\nGROUP BY {}", grouped.join(", ")) };
            if ours {
                let calls = grouped.iter().cloned().chain(aggregates.iter().map(Aggregate::ours));
                names = calls.enumerate().map(|(n, call)| (format!("§{n}§"), call)).collect();
                source += &group;
            } else {
                let calls = grouped
                    .iter()
                    .cloned()
                    .chain(aggregates.iter().map(|a| a.theirs(&format!("({})", a.taken()), "0")));
                let calls: Vec<String> = calls.enumerate().map(|(n, call)| format!("{call} AS ws{n}")).collect();
                source = format!("(SELECT {} FROM {source}{group})", calls.join(", "));
            }
        }
        for (number, ranking) in self.rankings.iter().enumerate() {
            names.push((format!("«rank{number}»"), ranking.text(ours, &self.from.columns("a"))));
        }
        let named = |mut text: String| {
            names.iter().for_each(|(place, name)| text = text.replace(place, name));
            text
        };
        if let Some(having) = &self.having {
            source += &format!("\n{} {}", if ours { "HAVING" } else { "WHERE" }, named(text(having)));
        }
        if let Some(most) = self.qualify {
            source += &format!("\nQUALIFY {} <= {most}", names[0].1);
        }
        let items: Vec<String> =
            self.items.iter().map(|(name, e)| format!("{} AS {}", named(text(e)), quoted(name))).collect();
        format!("SELECT {}{}\nFROM {source}", if self.distinct { "DISTINCT " } else { "" }, items.join(", "))
    }

    /// Counts what of the grammar it is made of.
    pub fn count(&self, counts: &mut BTreeMap<String, u64>) {
        let mut one = |what: &str| *counts.entry(what.to_owned()).or_default() += 1;
        let parts = [
            (self.groups.is_some(), "derived GROUP BY"),
            (self.having.is_some(), "derived HAVING"),
            (self.qualify.is_some(), "QUALIFY"),
            (self.distinct, "DISTINCT"),
            (!self.order.is_empty(), "ORDER BY"),
            (self.limit.is_some(), "LIMIT"),
            (self.filter.is_some(), "derived WHERE"),
        ];
        parts.iter().filter(|(there, _)| *there).for_each(|(_, what)| one(what));
        if let Some((all, _)) = &self.union {
            one(if *all { "UNION ALL" } else { "UNION" });
        }
        self.rankings.iter().for_each(|ranking| one(ranking.what));
        match &self.from {
            Input::View(..) => {}
            Input::Values(..) => one("VALUES"),
            Input::Query(_, as_with) => one(if *as_with { "WITH" } else { "subquery" }),
            Input::Join(_, _, kind, _, using) => one(if *using { "USING" } else { kind }),
        }
        let (keys, aggregates) = self.groups.clone().unwrap_or_default();
        aggregates.iter().for_each(|aggregate| one(aggregate.what));
        let expressions = self.filter.iter().chain(&keys).chain(&self.having).chain(self.items.iter().map(|(_, e)| e));
        expressions.for_each(|e| e.count(counts));
        self.from.queries(&mut |query| query.count(counts));
    }
}

impl Input {
    fn queries(&self, visit: &mut dyn FnMut(&Query)) {
        match self {
            Input::Query(query, _) => visit(query),
            Input::Join(left, right, ..) => [left, right].into_iter().for_each(|side| side.queries(visit)),
            Input::View(..) | Input::Values(..) => {}
        }
    }

    /// Whether it is a join of rows as a view has them.
    fn joins_views(&self) -> bool {
        let is_view = |side: &Input| matches!(side, Input::View(..));
        matches!(self, Input::Join(left, right, ..) if is_view(left) || is_view(right))
    }

    /// Names of the views that it reads.
    pub fn views(&self, names: &mut Vec<String>) {
        if let Input::View(name, _) = self {
            names.push(name.clone());
        }
        if let Input::Join(left, right, ..) = self {
            left.views(names);
            right.views(names);
        }
        self.queries(&mut |query| query.from.views(names));
    }
}

impl Ranking {
    fn text(&self, ours: bool, row: &[Expr]) -> String {
        let mut over = String::new();
        if !self.partition.is_empty() {
            let by: Vec<String> = self.partition.iter().map(Expr::ours).collect();
            over += &format!("PARTITION BY {} ", by.join(", "));
        }
        let mut order: Vec<String> = Vec::new();
        for (column, descending) in &self.order {
            let direction = match (descending, ours) {
                (true, true) => "DESC",
                (false, true) => "ASC",
                (true, false) => "DESC NULLS FIRST",
                (false, false) => "ASC NULLS LAST",
            };
            order.push(format!("{} {direction}", column.ours()));
        }
        // Ranks are equal for ties; the others are completed by the whole row.
        if !ours && !["RANK", "DENSE_RANK"].contains(&self.what) {
            order.extend(row.iter().map(|column| format!("{} ASC NULLS FIRST", column.ours())));
        }
        format!("{} OVER ({over}ORDER BY {})", self.call, order.join(", "))
    }
}

/// A join of two views on columns of one type, if they have any.
fn join(rng: &mut StdRng, functions: &[Function], views: &[(String, Vec<Expr>)], depth: u32) -> Option<Input> {
    let (left, right) =
        (Input::random(rng, functions, views, depth, "a"), Input::random(rng, functions, views, depth, "b"));
    let kind = *pick(rng, JOINS);
    let mut on = Vec::new();
    let mut using = false;
    if kind != "CROSS JOIN" {
        let mut pairs = Vec::new();
        for a in left.columns("a") {
            let same = |b: &Expr| a.data_type == b.data_type && a.data_type != DataType::Json;
            pairs.extend(right.columns("b").into_iter().filter(same).map(|b| (a.clone(), b)));
        }
        if pairs.is_empty() {
            return None;
        }
        let named: Vec<(Expr, Expr)> = pairs.iter().filter(|(a, b)| bare(a) == bare(b)).cloned().collect();
        using = !named.is_empty() && chance(rng, 40);
        let from = if using { &named } else { &pairs };
        on.push(pick(rng, from).clone());
        let more = pick(rng, from).clone();
        if chance(rng, 30) && on[0].0 != more.0 && on[0].1 != more.1 {
            on.push(more);
        }
    }
    Some(Input::Join(Box::new(left), Box::new(right), kind, on, using))
}
