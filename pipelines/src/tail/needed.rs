//! Which columns of a step's input are needed: those that its expressions read, and those that are needed of its result.
//!
//! Where an expression can fail, the error describes the whole row, and names the first one in canonical order: then all of the
//! input's columns are needed.

use super::Rel;
use crate::{
    aggregate::AggregateCall,
    decode::ColumnSet,
    expr::{Expr, fallible},
};

/// What is needed of the two sides of a join.
pub(super) struct Needed {
    pub(super) left: ColumnSet,
    pub(super) right: ColumnSet,
}

/// All columns.
pub(super) fn all(rel: &Rel) -> ColumnSet {
    (0..rel.schema().fields.len()).collect()
}

/// `wanted`, and what the expressions over `input` need.
pub(super) fn of<'a>(input: &Rel, wanted: ColumnSet, exprs: impl IntoIterator<Item = &'a Expr>) -> ColumnSet {
    let mut needed = wanted;
    for expr in exprs {
        if fallible(expr) {
            return all(input);
        }
        expr.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                needed.insert(*index);
            }
        });
    }
    needed
}

/// What a `GROUP BY` needs.
pub(super) fn by_aggregates(input: &Rel, keys: &[Expr], aggregates: &[AggregateCall]) -> ColumnSet {
    let calls = aggregates.iter().flat_map(|call| call.argument.iter().chain(&call.filter));
    of(input, ColumnSet::none(), keys.iter().chain(calls))
}

/// What a join of which `wanted` is needed needs.
pub(super) fn by_join(
    left: &Rel,
    right: &Rel,
    on: &[(Expr, Expr)],
    residual: Option<&Expr>,
    wanted: &ColumnSet,
) -> Needed {
    let width = left.schema().fields.len();
    let mut both = wanted.clone();
    match residual {
        Some(residual) if fallible(residual) => both = (0..width + right.schema().fields.len()).collect(),
        Some(residual) => residual.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                both.insert(*index);
            }
        }),
        None => {}
    }
    let of_left = both.iter().filter(|i| *i < width).collect();
    let of_right = both.iter().filter(|i| *i >= width).map(|i| i - width).collect();
    Needed {
        left: of(left, of_left, on.iter().map(|(left, _)| left)),
        right: of(right, of_right, on.iter().map(|(_, right)| right)),
    }
}
