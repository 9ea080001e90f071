//! Definitions from Rust: a typed builder that renders to SQL and goes through the same planner.
//!
//! ```
//! use watershed_pipelines::{
//!     builder::{Definitions, Table, View, col, count, lit, sum, tumble},
//!     registry::Registry,
//!     types::DataType,
//! };
//!
//! let definitions = Definitions::new()
//!     .table(
//!         Table::new("payments")
//!             .required("ts", DataType::Timestamp)
//!             .required("card", DataType::Text)
//!             .column("amount", DataType::Decimal { precision: 12, scale: 2 })
//!             .column("status", DataType::Text)
//!             .event_time("ts")
//!             .partitions(4)
//!             .partition_by("card"),
//!     )
//!     .materialized(
//!         View::from(tumble("payments", "ts", "1 minute"))
//!             .named("card_minute")
//!             .filter(col("status").eq(lit("approved")))
//!             .select([
//!                 col("card").into(),
//!                 col("window_start").into(),
//!                 count().alias("n"),
//!                 sum(col("amount")).alias("total"),
//!             ])
//!             .group_by([col("card"), col("window_start")]),
//!     )
//!     .view(View::from("card_minute").named("hot_cards").filter(col("n").gt_eq(lit(10))));
//! let catalog = definitions.catalog(&Registry::new()).expect("no mistakes");
//! assert_eq!(catalog.view("hot_cards").expect("is there").schema.fields.len(), 4);
//! ```

mod expression;

use std::fmt::{self, Display, Write};

pub use expression::{
    Expression, Item, avg, call, case, col, count, count_distinct, first, interval, last, lit, max, min, of, sum,
};

use crate::{
    catalog::Catalog,
    error::Diagnostic,
    registry::Registry,
    sql::SqlFile,
    types::{DataType, Field},
};

/// A set of definitions in the making.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    statements: Vec<String>,
}

impl Definitions {
    /// None yet.
    pub fn new() -> Definitions {
        Definitions::default()
    }

    /// Adds a table.
    pub fn table(mut self, table: Table) -> Definitions {
        self.statements.push(table.to_string());
        self
    }

    /// Adds a materialized view, kept by both layers.
    pub fn materialized(mut self, view: View) -> Definitions {
        self.statements.push(view.render("MATERIALIZED VIEW"));
        self
    }

    /// Adds a derived view, run on the merged views at query time.
    pub fn view(mut self, view: View) -> Definitions {
        self.statements.push(view.render("VIEW"));
        self
    }

    /// Adds definitions written in SQL.
    pub fn sql(mut self, text: &str) -> Definitions {
        self.statements.push(text.trim().trim_end_matches(';').to_owned());
        self
    }

    /// All of them as SQL. Planning this text gives the same plans and fingerprints.
    pub fn to_sql(&self) -> String {
        self.statements.iter().fold(String::new(), |mut text, statement| {
            let _ = writeln!(text, "{statement};");
            text
        })
    }

    /// Plans them. Mistakes have their places in [`Definitions::to_sql`].
    pub fn catalog(&self, registry: &Registry) -> Result<Catalog, Vec<Diagnostic>> {
        Catalog::from_sql(&[SqlFile::new("builder", self.to_sql())], registry)
    }
}

/// A name as it stands in SQL: in quotes where it needs them.
fn ident(name: &str) -> sqlparser::ast::Ident {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let keyword = || sqlparser::keywords::ALL_KEYWORDS.binary_search(&name.to_uppercase().as_str()).is_ok();
    if plain && !keyword() { sqlparser::ast::Ident::new(name) } else { sqlparser::ast::Ident::with_quote('"', name) }
}

/// A text as it stands in SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// A table: the schema of a source.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    columns: Vec<Field>,
    options: Vec<(&'static str, String)>,
}

impl Table {
    /// A table without columns yet.
    pub fn new(name: &str) -> Table {
        Table { name: name.to_owned(), columns: Vec::new(), options: Vec::new() }
    }

    /// Adds a column that may be NULL.
    pub fn column(mut self, name: &str, data_type: DataType) -> Table {
        self.columns.push(Field { name: name.to_owned(), data_type, nullable: true });
        self
    }

    /// Adds a column that is `NOT NULL`: records without it are dead letters.
    pub fn required(mut self, name: &str, data_type: DataType) -> Table {
        self.columns.push(Field { name: name.to_owned(), data_type, nullable: false });
        self
    }

    /// The column with a record's event time; without one it is the append time.
    pub fn event_time(self, column: &str) -> Table {
        self.option("event_time", column)
    }

    /// The number of log partitions.
    pub fn partitions(self, count: u32) -> Table {
        self.option("partitions", &count.to_string())
    }

    /// The column whose values decide on a record's partition.
    pub fn partition_by(self, column: &str) -> Table {
        self.option("partition_by", column)
    }

    /// How much later than its event time a record may be appended without being late, such as `10 seconds`.
    pub fn lateness(self, duration: &str) -> Table {
        self.option("lateness", duration)
    }

    /// How far ahead of its append time a record's event time may be, such as `1 hour`.
    pub fn max_ahead(self, duration: &str) -> Table {
        self.option("max_ahead", duration)
    }

    fn option(mut self, name: &'static str, value: &str) -> Table {
        self.options.push((name, value.to_owned()));
        self
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.iter().map(|c| {
            let not_null = if c.nullable { "" } else { " NOT NULL" };
            format!("{} {}{not_null}", ident(&c.name), c.data_type)
        });
        write!(f, "CREATE TABLE {} ({})", ident(&self.name), list(columns))?;
        if !self.options.is_empty() {
            let options = self.options.iter().map(|(name, value)| format!("{name} = {}", quoted(value)));
            write!(f, " WITH ({})", list(options))?;
        }
        Ok(())
    }
}

/// What a view reads: a table or view by name, or a window over a table.
#[derive(Clone, Debug)]
pub struct From {
    text: String,
}

impl std::convert::From<&str> for From {
    fn from(name: &str) -> From {
        From { text: ident(name).to_string() }
    }
}

impl From {
    /// Windows of days and months begin at midnight in this IANA time zone.
    pub fn time_zone(mut self, zone: &str) -> From {
        self.text.pop();
        let _ = write!(self.text, ", {})", quoted(zone));
        self
    }
}

/// Tumbling windows over a table's time column: `tumble("payments", "ts", "1 minute")`.
pub fn tumble(table: &str, time: &str, size: &str) -> From {
    From { text: format!("TUMBLE({}, {}, INTERVAL {})", ident(table), ident(time), quoted(size)) }
}

/// Hopping windows: one of `size` starts every `slide`.
pub fn hop(table: &str, time: &str, slide: &str, size: &str) -> From {
    let (slide, size) = (quoted(slide), quoted(size));
    From { text: format!("HOP({}, {}, INTERVAL {slide}, INTERVAL {size})", ident(table), ident(time)) }
}

/// A view in the making.
#[derive(Clone, Debug)]
pub struct View {
    name: String,
    from: String,
    filter: Option<Expression>,
    select: Vec<Item>,
    group_by: Vec<Expression>,
    having: Option<Expression>,
    order_by: Vec<String>,
    limit: Option<u64>,
    buckets: Option<u32>,
}

impl View {
    /// A view of everything in `from`.
    pub fn from(from: impl Into<From>) -> View {
        View {
            name: String::new(),
            from: from.into().text,
            filter: None,
            select: Vec::new(),
            group_by: Vec::new(),
            having: None,
            order_by: Vec::new(),
            limit: None,
            buckets: None,
        }
    }

    /// Its name.
    pub fn named(mut self, name: &str) -> View {
        self.name = name.to_owned();
        self
    }

    /// Joins another view on columns of the same names (derived views only).
    pub fn join(mut self, view: &str, using: &[&str]) -> View {
        let _ = write!(self.from, " JOIN {} USING ({})", ident(view), list(using.iter().map(|c| ident(c))));
        self
    }

    /// As [`View::join`], keeping the rows that match nothing.
    pub fn left_join(mut self, view: &str, using: &[&str]) -> View {
        let _ = write!(self.from, " LEFT JOIN {} USING ({})", ident(view), list(using.iter().map(|c| ident(c))));
        self
    }

    /// `WHERE`; a second condition is joined by `AND`.
    pub fn filter(mut self, condition: Expression) -> View {
        self.filter = Some(match self.filter {
            Some(before) => before.and(condition),
            None => condition,
        });
        self
    }

    /// The columns; without them, all.
    pub fn select(mut self, items: impl IntoIterator<Item = Item>) -> View {
        self.select.extend(items);
        self
    }

    /// `GROUP BY`.
    pub fn group_by(mut self, keys: impl IntoIterator<Item = Expression>) -> View {
        self.group_by.extend(keys);
        self
    }

    /// `HAVING`.
    pub fn having(mut self, condition: Expression) -> View {
        self.having = Some(match self.having {
            Some(before) => before.and(condition),
            None => condition,
        });
        self
    }

    /// `ORDER BY` (derived views only).
    pub fn order_by(mut self, key: Expression, descending: bool) -> View {
        self.order_by.push(format!("{key}{}", if descending { " DESC" } else { "" }));
        self
    }

    /// `LIMIT` (derived views only).
    pub fn limit(mut self, rows: u64) -> View {
        self.limit = Some(rows);
        self
    }

    /// Divides the stored partials by a hash of the key into so many partitions (materialized views only).
    pub fn buckets(mut self, buckets: u32) -> View {
        self.buckets = Some(buckets);
        self
    }

    fn render(&self, kind: &str) -> String {
        let mut text = format!("CREATE {kind} {}", ident(&self.name));
        let mut clause = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(text, " {name} {value}");
            }
        };
        let some = |items: String| (!items.is_empty()).then_some(items);
        clause("WITH", self.buckets.map(|b| format!("(buckets = {b})")));
        clause("AS SELECT", some(list(&self.select)).or_else(|| Some("*".to_owned())));
        clause("FROM", Some(self.from.clone()));
        clause("WHERE", self.filter.as_ref().map(ToString::to_string));
        clause("GROUP BY", some(list(&self.group_by)));
        clause("HAVING", self.having.as_ref().map(ToString::to_string));
        clause("ORDER BY", some(list(&self.order_by)));
        clause("LIMIT", self.limit.map(|l| l.to_string()));
        text
    }
}

#[cfg(test)]
mod tests;
