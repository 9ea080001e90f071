//! Derived tails: what runs on finished, merged rows at query time.

mod aggregate;
mod budget;
mod conform;
mod evaluate;
mod execute;
mod join;
mod needed;
mod parts;
mod sort;
#[cfg(test)]
mod tests;
mod window;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{aggregate::AggregateCall, expr::Expr, key::KeyFilter, types::Schema};

pub use budget::{Budget, Exceeded, Taken, frame_bytes};
pub use conform::below;
pub use execute::{BoxError, Relations, TailPlan, Take};

/// A relational plan over the finished rows of materialized views' cores. Every node's `schema` is that of its output.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Rel {
    /// The core rows of a materialized view ([`crate::core::Core::output_schema`]).
    Scan {
        /// The materialized view.
        view: String,
        /// Which keys are needed (a hint: the filter above still stands).
        keys: KeyFilter,
        /// Output columns.
        schema: Arc<Schema>,
    },
    /// Constant rows (`SELECT 1`, `VALUES`).
    Values {
        /// Rows of constant expressions.
        rows: Vec<Vec<Expr>>,
        /// Output columns.
        schema: Arc<Schema>,
    },
    /// Rows for which `predicate` is true.
    Filter {
        /// Input.
        input: Box<Rel>,
        /// Condition over the input's columns.
        predicate: Expr,
    },
    /// New columns.
    Project {
        /// Input.
        input: Box<Rel>,
        /// One expression per output column.
        exprs: Vec<Expr>,
        /// Output columns.
        schema: Arc<Schema>,
    },
    /// `GROUP BY`: keys, then aggregates. Without keys: one row.
    Aggregate {
        /// Input.
        input: Box<Rel>,
        /// Grouping expressions.
        keys: Vec<Expr>,
        /// The aggregates (exact, as in the core; never `FIRST`/`LAST`).
        aggregates: Vec<AggregateCall>,
        /// Output columns.
        schema: Arc<Schema>,
    },
    /// An equi-join: left columns, then right columns. NULL keys match nothing.
    Join {
        /// Left input.
        left: Box<Rel>,
        /// Right input.
        right: Box<Rel>,
        /// Kind.
        kind: JoinKind,
        /// Pairs of (left expression, right expression) that must be equal; empty for a cross join.
        on: Vec<(Expr, Expr)>,
        /// Further condition over left ++ right columns (inner and cross joins only).
        residual: Option<Expr>,
        /// Output columns.
        schema: Arc<Schema>,
    },
    /// Window functions: the input's columns, then one column per function. Ties are ordered by the whole row.
    Window {
        /// Input.
        input: Box<Rel>,
        /// The functions.
        functions: Vec<WindowFunction>,
        /// Output columns.
        schema: Arc<Schema>,
    },
    /// `ORDER BY`; ties are ordered by the whole row.
    Sort {
        /// Input.
        input: Box<Rel>,
        /// Sort keys.
        by: Vec<SortKey>,
    },
    /// `LIMIT`/`OFFSET`; without a `Sort` below, over the rows in order of all columns.
    Limit {
        /// Input.
        input: Box<Rel>,
        /// Rows left out at the start.
        offset: u64,
        /// Rows at most.
        limit: Option<u64>,
    },
    /// `SELECT DISTINCT`
    Distinct {
        /// Input.
        input: Box<Rel>,
    },
    /// `UNION ALL` of inputs with the same column types.
    Union {
        /// Inputs.
        inputs: Vec<Rel>,
        /// Output columns.
        schema: Arc<Schema>,
    },
}

/// Kinds of joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

/// One `ORDER BY` item.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SortKey {
    /// Sort expression over the input's columns.
    pub expr: Expr,
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST` (default: last for `ASC`, first for `DESC`, as in PostgreSQL).
    pub nulls_first: bool,
}

/// One window function.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WindowFunction {
    /// Which.
    pub function: RankFunction,
    /// `PARTITION BY`.
    pub partition_by: Vec<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<SortKey>,
}

/// Ranking window functions → `BIGINT` (`Lag`/`Lead`: the argument's type).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RankFunction {
    RowNumber,
    Rank,
    DenseRank,
    NTile(u64),
    Lag { value: Expr, by: u64 },
    Lead { value: Expr, by: u64 },
}

impl Rel {
    /// Columns of the output.
    pub fn schema(&self) -> &Arc<Schema> {
        match self {
            Rel::Scan { schema, .. }
            | Rel::Values { schema, .. }
            | Rel::Project { schema, .. }
            | Rel::Aggregate { schema, .. }
            | Rel::Join { schema, .. }
            | Rel::Window { schema, .. }
            | Rel::Union { schema, .. } => schema,
            Rel::Filter { input, .. }
            | Rel::Sort { input, .. }
            | Rel::Limit { input, .. }
            | Rel::Distinct { input } => input.schema(),
        }
    }

    /// The materialized views it scans, with the keys it needs of each scan.
    pub fn scans(&self) -> BTreeMap<&str, Vec<&KeyFilter>> {
        fn collect<'a>(rel: &'a Rel, into: &mut BTreeMap<&'a str, Vec<&'a KeyFilter>>) {
            match rel {
                Rel::Scan { view, keys, .. } => into.entry(view).or_default().push(keys),
                Rel::Values { .. } => {}
                Rel::Filter { input, .. }
                | Rel::Project { input, .. }
                | Rel::Aggregate { input, .. }
                | Rel::Window { input, .. }
                | Rel::Sort { input, .. }
                | Rel::Limit { input, .. }
                | Rel::Distinct { input } => collect(input, into),
                Rel::Join { left, right, .. } => {
                    collect(left, into);
                    collect(right, into);
                }
                Rel::Union { inputs, .. } => inputs.iter().for_each(|i| collect(i, into)),
            }
        }
        let mut scans = BTreeMap::new();
        collect(self, &mut scans);
        scans
    }
}
