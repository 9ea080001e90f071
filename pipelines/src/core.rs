//! The core of a materialized view: source → filter → window → one keyed reduction (or rows).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    aggregate::AggregateCall,
    expr::Expr,
    source::Source,
    types::{DataType, Field, Schema},
};

/// Column with a window's first instant.
pub const WINDOW_START_COLUMN: &str = "window_start";
/// Column with a window's end (exclusive).
pub const WINDOW_END_COLUMN: &str = "window_end";

/// What both layers keep for one materialized view. Its serialised form, with the semantics version, is hashed into the
/// view's fingerprint.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Core {
    /// The source it reads.
    pub source: Arc<Source>,
    /// `WHERE`, over [`Source::row_schema`]; records for which it is not true are "filtered".
    pub filter: Option<Expr>,
    /// The window function in `FROM`, if any (reductions only; in a view of rows `TUMBLE` is a plain expression).
    pub window: Option<Window>,
    /// Key columns in order; expressions over [`Source::row_schema`]. A view of rows has `_partition`, `_offset`.
    pub keys: Vec<Key>,
    /// Aggregates, over [`Source::row_schema`]. A view of rows has [`crate::aggregate::AggregateFunction::Only`] for each column.
    pub aggregates: Vec<AggregateCall>,
    /// How stored partials are divided (design: "rewriting only the partitions of a view that changed").
    pub partitioning: Partitioning,
}

/// One key column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Key {
    /// A grouping expression.
    Expr {
        /// Output name.
        name: String,
        /// Its expression.
        expr: Expr,
    },
    /// The window's start (for a hopping window, partials have the pane's start here). At most one, exactly one if there is
    /// a window.
    WindowStart,
}

impl Key {
    /// Output column name.
    pub fn name(&self) -> &str {
        match self {
            Key::Expr { name, .. } => name,
            Key::WindowStart => WINDOW_START_COLUMN,
        }
    }

    /// Column type.
    pub fn data_type(&self) -> DataType {
        match self {
            Key::Expr { expr, .. } => expr.data_type(),
            Key::WindowStart => DataType::Timestamp,
        }
    }
}

/// A tumbling (`slide == size`) or hopping window over event-time values. Windows are half open and aligned to 1970-01-01
/// (midnight in the zone for days and months) plus `offset_micros`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// Index of the time column in [`Source::row_schema`].
    pub time: usize,
    /// Unit of `size` and `slide`.
    pub unit: WindowUnit,
    /// Length of a window, in units, at least 1.
    pub size: i64,
    /// Distance of window starts, in units, at least 1 and at most `size`.
    pub slide: i64,
    /// Shift of the alignment (0 ≤ offset < slide); only with [`WindowUnit::Micros`].
    pub offset_micros: i64,
    /// IANA zone of days and months; UTC when absent.
    pub time_zone: Option<String>,
}

/// What a window's length counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WindowUnit {
    /// Microseconds.
    Micros,
    /// Calendar days in the zone.
    Days,
    /// Calendar months in the zone.
    Months,
}

impl Window {
    /// Length of a pane, in units: the greatest common divisor of size and slide.
    pub fn pane(&self) -> i64 {
        let (mut a, mut b) = (self.size, self.slide);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    /// Whether windows overlap.
    pub fn is_hopping(&self) -> bool {
        self.slide != self.size
    }
}

/// How the stored partials of a view are divided. A partition's name is a function of the group's key alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Partitioning {
    /// By the window's (or pane's) start.
    Time(TimeBucket),
    /// By a hash of the encoded key.
    Hash {
        /// Number of partitions.
        buckets: u32,
    },
    /// A view of rows: by log partition and offset / `records`.
    Offset {
        /// Records of one log partition in one view partition.
        records: u64,
    },
}

/// Width of a time partition, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TimeBucket {
    /// One day (panes below one hour).
    Day,
    /// One month (panes below one day).
    Month,
    /// One year.
    Year,
}

impl Core {
    /// The columns of its finished rows: keys in order, `window_end` if windowed, then the aggregates.
    pub fn output_schema(&self) -> Schema {
        let mut fields: Vec<Field> = self
            .keys
            .iter()
            .map(|k| Field {
                name: k.name().to_owned(),
                data_type: k.data_type(),
                nullable: !matches!(k, Key::WindowStart),
            })
            .collect();
        if self.window.is_some() {
            fields.push(Field { name: WINDOW_END_COLUMN.to_owned(), data_type: DataType::Timestamp, nullable: false });
        }
        fields.extend(self.aggregates.iter().map(|a| Field {
            name: a.name.clone(),
            data_type: a.data_type,
            nullable: true,
        }));
        Schema { fields }
    }
}
