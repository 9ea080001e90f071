//! Random tables, and what they declare in both dialects.

use rand::{Rng, rngs::StdRng};
use watershed::{DataType, Value};

use super::{
    language::{Expr, quoted},
    types::{any_type, chance, pick},
    values::{column_name, sample},
};

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// `NOT NULL`.
    pub not_null: bool,
    /// Values that many records share.
    pub pool: Vec<Value>,
}

/// One table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Index of the event time.
    pub event_time: Option<usize>,
    /// Partitions of the log.
    pub partitions: u32,
    /// Index of the column that decides the partition.
    pub partition_by: Option<usize>,
    /// Options as written.
    pub lateness: (&'static str, i64),
    /// Options as written.
    pub max_ahead: (&'static str, i64),
}

const LATENESS: &[(&str, i64)] =
    &[("0 seconds", 0), ("10 seconds", 10_000_000), ("1 hour", 3_600_000_000), ("2 days", 172_800_000_000)];
const MAX_AHEAD: &[(&str, i64)] =
    &[("1 hour", 3_600_000_000), ("10 minutes", 600_000_000), ("4000000 days", 345_600_000_000_000_000)];

/// The columns that every table has besides.
pub const PLACE: [(&str, DataType); 3] =
    [("_partition", DataType::Int), ("_offset", DataType::BigInt), ("_append_time", DataType::Timestamp)];

impl Table {
    /// A random one.
    pub fn random(rng: &mut StdRng, number: usize) -> Table {
        let mut columns: Vec<Column> = (0..rng.random_range(2..9)).map(|i| Column::random(rng, i)).collect();
        let event_time = chance(rng, 80).then(|| {
            let at = rng.random_range(0..=columns.len());
            let pool = (0..6).map(|_| sample(rng, DataType::Timestamp)).collect();
            let name = format!("at{number}");
            columns.insert(at, Column { name, data_type: DataType::Timestamp, not_null: true, pool });
            at
        });
        let partition_by = chance(rng, 60).then(|| rng.random_range(0..columns.len()));
        Table {
            name: format!("t{number}"),
            event_time,
            partitions: *pick(rng, &[1, 1, 2, 3, 4, 7]),
            partition_by,
            lateness: *pick(rng, LATENESS),
            max_ahead: *pick(rng, MAX_AHEAD),
            columns,
        }
    }

    /// Watershed's statement; with one of the columns NULL or not as it is not, if `other` says so.
    pub fn statement(&self, other: Option<usize>) -> String {
        let not_null = |index: usize| (self.columns[index].not_null != (other == Some(index))).then_some(" NOT NULL");
        let column = |(index, c): (usize, &Column)| {
            format!("  {} {}{}", quoted(&c.name), c.data_type, not_null(index).unwrap_or_default())
        };
        let columns: Vec<String> = self.columns.iter().enumerate().map(column).collect();
        let name_of = |index: usize| super::language::text(&self.columns[index].name);
        let mut options = vec![format!("partitions = {}", self.partitions)];
        options.extend(self.event_time.map(|index| format!("event_time = {}", name_of(index))));
        options.extend(self.partition_by.map(|index| format!("partition_by = {}", name_of(index))));
        options.push(format!("lateness = '{}'", self.lateness.0));
        options.push(format!("max_ahead = '{}'", self.max_ahead.0));
        format!("CREATE TABLE {} (\n{}\n) WITH ({});", self.name, columns.join(",\n"), options.join(", "))
    }

    /// What expressions over its records can name.
    pub fn names(&self) -> Vec<Expr> {
        let declared = self.columns.iter().map(|c| Expr::column(&c.name, c.data_type));
        declared.chain(PLACE.iter().map(|(name, data_type)| Expr::column(name, *data_type))).collect()
    }

    /// Name of the column that event time is in.
    pub fn event_time_name(&self) -> &str {
        self.event_time.map_or("_append_time", |index| &self.columns[index].name)
    }
}

impl Column {
    fn random(rng: &mut StdRng, number: usize) -> Column {
        let data_type = any_type(rng);
        let pool = (0..rng.random_range(1..6)).map(|_| sample(rng, data_type)).collect();
        Column { name: column_name(rng, number), data_type, not_null: chance(rng, 20), pool }
    }
}
