//! Which keys a plan needs: conditions on key columns become bounds on the scans below them.
//!
//! A bound is a hint. It comes from a condition that is never true for NULL and that stays where it is, so that a row which
//! the bound leaves out, or which an outer join fills with NULLs because of it, is left out above in any case.

use std::cmp::Ordering;

use crate::{
    expr::{Expr, Function},
    key::{KeyBound, KeyFilter},
    tail::Rel,
    types::Value,
};

/// A bound on one output column.
#[derive(Clone, Debug)]
struct Wanted {
    column: usize,
    bound: KeyBound,
}

/// Narrows the scans of a plan. `keys_of` says how many leading columns of a view's scan are keys.
pub(crate) fn push_keys(rel: &mut Rel, keys_of: &dyn Fn(&str) -> usize) {
    push(rel, &[], keys_of);
}

fn push(rel: &mut Rel, wanted: &[Wanted], keys_of: &dyn Fn(&str) -> usize) {
    match rel {
        Rel::Scan { view, keys, .. } => {
            let count = keys_of(view);
            for Wanted { column, bound } in wanted.iter().filter(|w| w.column < count) {
                narrow(keys, *column, bound);
            }
        }
        Rel::Values { .. } => {}
        Rel::Filter { input, predicate } => {
            let mut all = wanted.to_vec();
            all.extend(of_condition(predicate));
            push(input, &all, keys_of);
        }
        Rel::Project { input, exprs, .. } => push(input, &through(wanted, exprs), keys_of),
        Rel::Aggregate { input, keys, .. } => push(input, &through(wanted, keys), keys_of),
        Rel::Join { left, right, on, residual, .. } => {
            let mut all = wanted.to_vec();
            all.extend(residual.iter().flat_map(of_condition));
            let width = left.schema().fields.len();
            let (mut of_left, mut of_right): (Vec<_>, Vec<_>) = all.into_iter().partition(|w| w.column < width);
            of_right.iter_mut().for_each(|w| w.column -= width);
            // What one side's key must be, the other side's equal key must be, too.
            let (mut more_left, mut more_right) = (Vec::new(), Vec::new());
            for pair in on.iter() {
                let (Expr::Column { index: l, data_type: a }, Expr::Column { index: r, data_type: b }) = pair else {
                    continue;
                };
                if a == b {
                    more_right
                        .extend(of_left.iter().filter(|w| w.column == *l).map(|w| Wanted { column: *r, ..w.clone() }));
                    more_left
                        .extend(of_right.iter().filter(|w| w.column == *r).map(|w| Wanted { column: *l, ..w.clone() }));
                }
            }
            of_left.extend(more_left);
            of_right.extend(more_right);
            push(left, &of_left, keys_of);
            push(right, &of_right, keys_of);
        }
        Rel::Window { input, functions, .. } => {
            // Only whole partitions may be left out.
            let in_all = |column: usize| {
                functions
                    .iter()
                    .all(|f| f.partition_by.iter().any(|e| matches!(e, Expr::Column { index, .. } if *index == column)))
            };
            let kept: Vec<Wanted> = wanted.iter().filter(|w| in_all(w.column)).cloned().collect();
            push(input, &kept, keys_of);
        }
        Rel::Sort { input, .. } | Rel::Distinct { input } => push(input, wanted, keys_of),
        Rel::Limit { input, .. } => push(input, &[], keys_of),
        Rel::Union { inputs, .. } => inputs.iter_mut().for_each(|input| push(input, wanted, keys_of)),
    }
}

/// Bounds on columns that `exprs` pass on as they are.
fn through(wanted: &[Wanted], exprs: &[Expr]) -> Vec<Wanted> {
    let passed = wanted.iter().filter_map(|w| match exprs.get(w.column) {
        Some(Expr::Column { index, .. }) => Some(Wanted { column: *index, bound: w.bound.clone() }),
        _ => None,
    });
    passed.collect()
}

/// The bounds that hold wherever the condition is true.
fn of_condition(condition: &Expr) -> Vec<Wanted> {
    let Expr::Call { function, args, .. } = condition else { return Vec::new() };
    match (function, args.as_slice()) {
        (Function::And, [a, b]) => {
            let mut all = of_condition(a);
            all.extend(of_condition(b));
            all
        }
        (Function::Or, [a, b]) => either(&of_condition(a), &of_condition(b)),
        (Function::In, [Expr::Column { index, .. }, values @ ..]) => {
            let literals: Option<Vec<Value>> = values.iter().map(literal).collect();
            match literals {
                // NULL in the list matches nothing.
                Some(values) => {
                    let values = values.into_iter().filter(|v| *v != Value::Null).collect();
                    vec![Wanted { column: *index, bound: KeyBound::In(values) }]
                }
                None => Vec::new(),
            }
        }
        (function, [Expr::Column { index, .. }, value]) => comparison(function, *index, value, false),
        (function, [value, Expr::Column { index, .. }]) => comparison(function, *index, value, true),
        _ => Vec::new(),
    }
}

fn literal(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Literal { value, .. } => Some(value.clone()),
        _ => None,
    }
}

fn comparison(function: &Function, column: usize, value: &Expr, swapped: bool) -> Vec<Wanted> {
    let Some(value) = literal(value) else { return Vec::new() };
    let some = |inclusive| Some((value.clone(), inclusive));
    let (lower, upper) = match function {
        Function::Equal if value == Value::Null => (None, None),
        Function::Equal => return vec![Wanted { column, bound: KeyBound::In(vec![value]) }],
        Function::Less => (None, some(false)),
        Function::LessOrEqual => (None, some(true)),
        Function::Greater => (some(false), None),
        Function::GreaterOrEqual => (some(true), None),
        _ => return Vec::new(),
    };
    if value == Value::Null {
        // A comparison with NULL is never true.
        return vec![Wanted { column, bound: KeyBound::In(Vec::new()) }];
    }
    let (lower, upper) = if swapped { (upper, lower) } else { (lower, upper) };
    vec![Wanted { column, bound: KeyBound::Range { lower, upper } }]
}

/// `a OR b`: a column with values on both sides has one of them.
fn either(a: &[Wanted], b: &[Wanted]) -> Vec<Wanted> {
    let mut all = Vec::new();
    if let ([a], [b]) = (a, b)
        && a.column == b.column
        && let (KeyBound::In(left), KeyBound::In(right)) = (&a.bound, &b.bound)
    {
        let values = left.iter().chain(right).cloned().collect();
        all.push(Wanted { column: a.column, bound: KeyBound::In(values) });
    }
    all
}

fn narrow(keys: &mut KeyFilter, column: usize, bound: &KeyBound) {
    if keys.columns.len() <= column {
        keys.columns.resize(column + 1, KeyBound::Any);
    }
    let before = std::mem::take(&mut keys.columns[column]);
    keys.columns[column] = intersect(before, bound.clone());
}

fn intersect(a: KeyBound, b: KeyBound) -> KeyBound {
    match (a, b) {
        (KeyBound::Any, other) | (other, KeyBound::Any) => other,
        (KeyBound::In(mut a), KeyBound::In(b)) => {
            a.retain(|v| b.contains(v));
            KeyBound::In(a)
        }
        (KeyBound::In(mut values), KeyBound::Range { lower, upper })
        | (KeyBound::Range { lower, upper }, KeyBound::In(mut values)) => {
            values.retain(|v| within(v, lower.as_ref(), true) && within(v, upper.as_ref(), false));
            KeyBound::In(values)
        }
        (KeyBound::Range { lower: a, upper: b }, KeyBound::Range { lower: c, upper: d }) => {
            KeyBound::Range { lower: tighter(a, c, Ordering::Greater), upper: tighter(b, d, Ordering::Less) }
        }
    }
}

/// Whether a value may be within a bound; values without a known order may.
fn within(value: &Value, bound: Option<&(Value, bool)>, lower: bool) -> bool {
    let Some((limit, inclusive)) = bound else { return true };
    match compare(value, limit) {
        Some(Ordering::Equal) => *inclusive,
        Some(order) => (order == Ordering::Greater) == lower,
        None => true,
    }
}

type Limit = Option<(Value, bool)>;

fn tighter(a: Limit, b: Limit, wins: Ordering) -> Limit {
    match (a, b) {
        (None, other) | (other, None) => other,
        (Some(a), Some(b)) => Some(match compare(&b.0, &a.0) {
            Some(Ordering::Equal) => (a.0, a.1 && b.1),
            Some(order) if order == wins => b,
            _ => a,
        }),
    }
}

/// The order of two values of one type.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    Some(match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b)?,
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        _ => return None,
    })
}
