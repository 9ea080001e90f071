//! Expressions in two dialects: Watershed's, and DuckDB's with the meaning of Watershed's.
//!
//! A node is a text in either dialect with places for its arguments, and a rule by which it fails. DuckDB ends a whole query where
//! an expression fails; Watershed rejects one record. So the DuckDB side of a node is a value that is NULL where it fails (`TRY`) and a
//! condition that says where that is, which together are as lazy as Watershed is: only `AND`, `OR`, `COALESCE` and `CASE` leave out what
//! they do not need.

use std::collections::BTreeMap;

use watershed::DataType;

/// Where a node fails, its arguments aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    /// Nowhere.
    Never,
    /// Where its arguments are there and its value is not.
    WithoutValue,
    /// Nowhere; the second argument is needed unless the first is false.
    And,
    /// Nowhere; the second argument is needed unless the first is true.
    Or,
    /// Nowhere; an argument is needed if all before are NULL.
    Coalesce,
    /// Nowhere. Arguments: condition, value, condition, value, …, otherwise.
    Case,
    /// Nowhere. Arguments: operand, what it may equal, value, otherwise.
    SimpleCase,
    /// Nowhere. `x BETWEEN low AND high`: the upper bound is needed unless x is below the lower one.
    Between,
}

/// A typed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Its type, by the rules of docs/sql.md.
    pub data_type: DataType,
    /// What of the grammar it is, for the list of what was drawn.
    pub what: String,
    /// Watershed's text: `UPPER(«0»)`. Without arguments it stands as it is.
    pub ours: String,
    /// DuckDB's text.
    pub theirs: String,
    /// Where it fails.
    pub fails: Fails,
    /// Its arguments.
    pub args: Vec<Expr>,
}

/// A name in double quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes.
pub fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn fill(template: &str, args: &[String]) -> String {
    if args.is_empty() {
        return template.to_owned();
    }
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('«') {
        let (number, after) = after.split_once('»').expect("a place is closed");
        filled.push_str(before);
        filled.push_str(&args[number.parse::<usize>().expect("a place is a number")]);
        rest = after;
    }
    filled + rest
}

fn any(conditions: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let conditions: Vec<String> = conditions.into_iter().flatten().collect();
    match conditions.len() {
        0 => None,
        _ => Some(format!("({})", conditions.join(" OR "))),
    }
}

fn both(first: String, second: Option<String>) -> Option<String> {
    second.map(|second| format!("({first} AND {second})"))
}

impl Expr {
    /// A node of which both dialects have the same text, and that never fails.
    pub fn same(data_type: DataType, what: &str, template: &str, args: Vec<Expr>) -> Expr {
        Expr::new(data_type, what, template, template, Fails::Never, args)
    }

    /// A node.
    pub fn new(data_type: DataType, what: &str, ours: &str, theirs: &str, fails: Fails, args: Vec<Expr>) -> Expr {
        let (what, ours, theirs) = (what.to_owned(), ours.to_owned(), theirs.to_owned());
        Expr { data_type, what, ours, theirs, fails, args }
    }

    /// A column.
    pub fn column(name: &str, data_type: DataType) -> Expr {
        Expr::same(data_type, "column", &quoted(name), Vec::new())
    }

    /// Watershed's text.
    pub fn ours(&self) -> String {
        fill(&self.ours, &self.args.iter().map(Expr::ours).collect::<Vec<_>>())
    }

    /// DuckDB's text of the value; NULL where it fails.
    pub fn value(&self) -> String {
        let filled = fill(&self.theirs, &self.args.iter().map(Expr::value).collect::<Vec<_>>());
        if self.fails == Fails::WithoutValue { format!("TRY({filled})") } else { filled }
    }

    /// DuckDB's text of the condition that it fails; nothing if it cannot.
    pub fn failed(&self) -> Option<String> {
        let value = |i: usize| self.args[i].value();
        let failed = |i: usize| self.args[i].failed();
        match self.fails {
            Fails::Never => any(self.args.iter().map(Expr::failed)),
            Fails::WithoutValue => {
                let mut alone: Vec<String> =
                    self.args.iter().map(|arg| format!("{} IS NOT NULL", arg.value())).collect();
                alone.push(format!("{} IS NULL", self.value()));
                any(self.args.iter().map(Expr::failed).chain([Some(format!("({})", alone.join(" AND ")))]))
            }
            Fails::And => any([failed(0), both(format!("{} IS DISTINCT FROM FALSE", value(0)), failed(1))]),
            Fails::Or => any([failed(0), both(format!("{} IS DISTINCT FROM TRUE", value(0)), failed(1))]),
            Fails::Coalesce => (0..self.args.len())
                .rev()
                .fold(None, |later, i| any([failed(i), both(format!("{} IS NULL", value(i)), later)])),
            Fails::Case => {
                let last = self.args.len() - 1;
                (0..last / 2).rev().fold(failed(last), |later, branch| {
                    let (condition, result) = (2 * branch, 2 * branch + 1);
                    any([failed(condition), chosen(&value(condition), failed(result), later)])
                })
            }
            Fails::SimpleCase => {
                let equal = format!("({} = {})", value(0), value(1));
                any([failed(0), failed(1), chosen(&equal, failed(2), failed(3))])
            }
            Fails::Between => {
                let above = format!("(({} >= {}) IS DISTINCT FROM FALSE)", value(0), value(1));
                any([failed(0), failed(1), both(above, failed(2))])
            }
        }
    }

    /// DuckDB's text of the value, which ends the query where it fails.
    pub fn strict(&self) -> String {
        match self.failed() {
            None => self.value(),
            Some(failed) => format!("CASE WHEN {failed} THEN error('WS_FAILS') ELSE {} END", self.value()),
        }
    }

    /// Counts what of the grammar it is made of.
    pub fn count(&self, counts: &mut BTreeMap<String, u64>) {
        *counts.entry(self.what.clone()).or_default() += 1;
        self.args.iter().for_each(|arg| arg.count(counts));
    }

    /// What may stand in its place and is smaller: its arguments of the same type, and itself with a smaller argument.
    pub fn smaller(&self) -> Vec<Expr> {
        let mut smaller: Vec<Expr> = Vec::new();
        self.descend(&mut |inner| {
            // What widens by itself does so only where it stands.
            if inner.data_type == self.data_type && inner.what != "coercion" {
                smaller.push(inner.clone());
            }
        });
        for (index, arg) in self.args.iter().enumerate() {
            for replacement in arg.smaller() {
                let mut whole = self.clone();
                whole.args[index] = replacement;
                smaller.push(whole);
            }
        }
        smaller
    }

    fn descend<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        for arg in &self.args {
            visit(arg);
            arg.descend(visit);
        }
    }
}

/// The condition that a choice fails: one side where `condition` is true, the other elsewhere.
fn chosen(condition: &str, then: Option<String>, otherwise: Option<String>) -> Option<String> {
    if then.is_none() && otherwise.is_none() {
        return None;
    }
    let or_false = |failed: Option<String>| failed.unwrap_or_else(|| "FALSE".to_owned());
    Some(format!("(CASE WHEN {condition} THEN {} ELSE {} END)", or_false(then), or_false(otherwise)))
}
