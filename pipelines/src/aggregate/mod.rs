//! Aggregates: what is called, and the accumulators that compute it.
//!
//! An accumulator holds one cell per group. Cells are commutative monoids: `merge` is associative and commutative, a new cell is
//! its neutral element, and adding records one by one or merging cells gives the same cell whatever the order. Every cell has
//! exactly one encoding (described at each cell), which does not depend on how the cell came to be.

mod accumulator;
mod count;
mod exact_double;
mod extreme;
mod factory;
mod hyperloglog;
mod integer_sum;
mod moments;
mod ordered;
mod quantile_sketch;
mod rounding;
mod scalar;
mod sum;
mod wide;
mod wide_double;

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    accumulator::{Accumulator, Order, Rows, Stored, StoredCells},
    factory::accumulator,
};
use crate::{expr::Expr, types::DataType};

/// One aggregate of a reduction.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Output column name.
    pub name: String,
    /// Which aggregate.
    pub function: AggregateFunction,
    /// Its argument, over the reduction's input; none for `COUNT(*)`.
    pub argument: Option<Expr>,
    /// `FILTER (WHERE …)`: only records for which this is true.
    pub filter: Option<Expr>,
    /// Result type.
    pub data_type: DataType,
}

/// The aggregates. NULL arguments are skipped; all but the counts give NULL over nothing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AggregateFunction {
    /// `COUNT(*)` → `BIGINT`
    CountStar,
    /// `COUNT(x)` → `BIGINT`
    Count,
    /// `COUNT(DISTINCT x)` → `BIGINT`; kept as rows of (group, value).
    CountDistinct,
    /// `SUM`: `INT` → `BIGINT`; `BIGINT` → `DECIMAL(38,0)`; `DECIMAL(p,s)` → `DECIMAL(38,s)`; `DOUBLE` → `DOUBLE`, exact and
    /// rounded once.
    Sum,
    /// `AVG` → `DOUBLE`: the exact sum divided by the count, rounded once.
    Avg,
    /// `MIN` of any ordered type.
    Min,
    /// `MAX` of any ordered type.
    Max,
    /// `VAR_POP` → `DOUBLE`, from exact sums of x and x².
    VarPop,
    /// `VAR_SAMP` (`VARIANCE`) → `DOUBLE`; NULL below two values.
    VarSamp,
    /// `STDDEV_POP` → `DOUBLE`
    StddevPop,
    /// `STDDEV_SAMP` (`STDDEV`) → `DOUBLE`; NULL below two values.
    StddevSamp,
    /// `BOOL_AND`
    BoolAnd,
    /// `BOOL_OR`
    BoolOr,
    /// `FIRST(x)`: x of the record with the least (event time, partition, offset) among those where x is not NULL.
    First,
    /// `LAST(x)`: x of the record with the greatest (event time, partition, offset) among those where x is not NULL.
    Last,
    /// `APPROX_COUNT_DISTINCT` → `BIGINT` (HyperLogLog, 2¹² registers, standard error 1.6 %).
    ApproxCountDistinct,
    /// `APPROX_PERCENTILE(x, fraction)` → `DOUBLE` (DDSketch-style buckets, relative error 1 %).
    ApproxPercentile {
        /// 0 to 1.
        fraction: f64,
    },
    /// The one value of a key that occurs once: columns of a view of rows. Keeps NULL.
    Only,
}
