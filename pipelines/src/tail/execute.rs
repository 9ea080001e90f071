//! Compiled tails and their execution over finished rows.
//!
//! A result is a function of the *set* of rows scanned: orderings are completed by the whole row, aggregates are exact, and a
//! result without `ORDER BY` comes in canonical order (that of all its columns, [`crate::canonical`]). So it does not depend on
//! the order in which rows were scanned, nor on where the cut lay.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use polars::prelude::{DataFrame, IdxCa, IdxSize};

use super::{
    Rel,
    aggregate::Grouping,
    budget::{Budget, Held, frame_bytes},
    conform::{conform, widened},
    evaluate::Exprs,
    join::Join,
    needed::{self, Needed},
    parts::{Parts, Step},
    sort::{self, SortKeys},
    window::Ranking,
};
use crate::{
    canonical::{encode_rows, sort_canonical},
    decode::ColumnSet,
    error::PipelineError,
    expr::{Expr, fallible},
    key::KeyFilter,
    registry::Registry,
    types::Schema,
};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where a tail finds the finished core rows of materialized views.
pub trait Relations {
    /// The rows of `view` ([`crate::core::Core::output_schema`]) whose keys lie in `keys`, in any order. Exactly those: an
    /// expression could fail for a row that should not be there. Only the columns in `columns` (by their place) are needed: either
    /// those are given, in order, or all.
    fn scan(&self, view: &str, keys: &KeyFilter, columns: &ColumnSet) -> Result<DataFrame, BoxError>;

    /// The same rows in parts, from whatever threads they are read on. Ends with an error of `take`, if there is one.
    fn scan_parts(&self, view: &str, keys: &KeyFilter, columns: &ColumnSet, take: Take<'_>) -> Result<(), BoxError> {
        Ok(take(self.scan(view, keys, columns)?)?)
    }
}

/// Takes a part of the rows scanned.
pub type Take<'a> = &'a (dyn Fn(DataFrame) -> Result<(), PipelineError> + Sync);

/// A derived tail, compiled.
#[derive(Clone, Debug)]
pub struct TailPlan {
    root: Node,
    schema: Arc<Schema>,
}

impl TailPlan {
    /// Compiles a plan.
    pub fn compile(rel: &Rel, registry: &Registry) -> Result<TailPlan, PipelineError> {
        let mut root = Node::compile(rel, &needed::all(rel), registry)?;
        if !root.ordered() {
            root = Node::Canonical(Box::new(root));
        }
        Ok(TailPlan { root, schema: rel.schema().clone() })
    }

    /// Columns of the result.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Runs it: in the order asked for, otherwise in canonical order. Takes what it likes.
    pub fn execute(&self, relations: &dyn Relations) -> Result<DataFrame, PipelineError> {
        self.execute_within(relations, &Budget::unlimited())
    }

    /// Runs it, and ends it with [`PipelineError::Exceeded`] where it would take more than the budget.
    pub fn execute_within(&self, relations: &dyn Relations, budget: &Budget<'_>) -> Result<DataFrame, PipelineError> {
        let held = self.root.execute(Run { relations, budget })?;
        budget.check_rows(held.frame.height())?;
        let mut frame = conform(held.frame, &self.schema)?;
        frame.rechunk_mut();
        Ok(frame)
    }
}

/// What a run has: where rows are, and what it may take.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) relations: &'a dyn Relations,
    pub(super) budget: &'a Budget<'a>,
}

#[derive(Clone, Debug)]
enum Node {
    Scan { view: String, keys: KeyFilter, schema: Arc<Schema>, columns: ColumnSet },
    Values { rows: Vec<Exprs>, schema: Arc<Schema> },
    Filter { input: Box<Node>, predicate: Exprs },
    Project { input: Box<Node>, exprs: Exprs },
    Aggregate { input: Box<Node>, grouping: Grouping },
    Join { left: Box<Node>, right: Box<Node>, join: Join },
    Window { input: Box<Node>, rankings: Vec<Ranking> },
    Sort { input: Box<Node>, keys: SortKeys, top: Option<usize> },
    Canonical(Box<Node>),
    Limit { input: Box<Node>, offset: usize, limit: usize },
    Distinct(Box<Node>),
    Union { inputs: Vec<Node>, schema: Arc<Schema> },
}

impl Node {
    /// `wanted`: the columns of its result that are needed. The others keep their places, without values.
    fn compile(rel: &Rel, wanted: &ColumnSet, registry: &Registry) -> Result<Node, PipelineError> {
        let compile = |rel: &Rel, wanted: &ColumnSet| Node::compile(rel, wanted, registry).map(Box::new);
        Ok(match rel {
            Rel::Scan { view, keys, schema } => {
                Node::Scan { view: view.clone(), keys: keys.clone(), schema: schema.clone(), columns: wanted.clone() }
            }
            Rel::Values { rows, schema } => Node::Values {
                rows: rows
                    .iter()
                    .map(|row| project(row, schema, &Schema::default(), registry))
                    .collect::<Result<_, PipelineError>>()?,
                schema: schema.clone(),
            },
            Rel::Filter { input, predicate } => Node::Filter {
                predicate: Exprs::compile([("WHERE", predicate)], input.schema(), registry)?,
                input: compile(input, &needed::of(input, wanted.clone(), [predicate]))?,
            },
            Rel::Project { input, exprs, schema } => {
                // What can fail is evaluated in any case: whether a query fails must not depend on what is above.
                let is_computed = |(i, expr): &(usize, &Expr)| wanted.contains(*i) || fallible(expr);
                let computed: ColumnSet = exprs.iter().enumerate().filter(is_computed).map(|(i, _)| i).collect();
                let read = needed::of(input, ColumnSet::none(), computed.iter().map(|i| &exprs[i]));
                let exprs = project(exprs, schema, input.schema(), registry)?.only(&computed, schema);
                Node::Project { exprs, input: compile(input, &read)? }
            }
            Rel::Aggregate { input, keys, aggregates, schema } => Node::Aggregate {
                grouping: Grouping::compile(keys, aggregates, input.schema(), schema, registry)?,
                input: compile(input, &needed::by_aggregates(input, keys, aggregates))?,
            },
            Rel::Join { left, right, kind, on, residual, schema } => {
                let Needed { left: of_left, right: of_right } =
                    needed::by_join(left, right, on, residual.as_ref(), wanted);
                Node::Join {
                    join: Join::compile(
                        *kind,
                        (left.schema(), right.schema(), schema),
                        on,
                        residual.as_ref(),
                        registry,
                    )?,
                    left: compile(left, &of_left)?,
                    right: compile(right, &of_right)?,
                }
            }
            Rel::Window { input, functions, schema } => {
                let names = schema.fields.iter().skip(input.schema().fields.len()).map(|field| &field.name);
                Node::Window {
                    rankings: (functions.iter().zip(names))
                        .map(|(function, name)| Ranking::compile(function, name, input.schema(), registry))
                        .collect::<Result<_, PipelineError>>()?,
                    input: compile(input, &needed::all(input))?,
                }
            }
            // Where whole rows are compared, all of their columns are needed.
            Rel::Sort { input, by } => Node::Sort {
                keys: SortKeys::compile(by, input.schema(), registry)?,
                input: compile(input, &needed::all(input))?,
                top: None,
            },
            Rel::Limit { input, offset, limit } => {
                let rows = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                let input = Node::compile(input, &needed::all(input), registry)?;
                Node::limit(input, rows(*offset), limit.map_or(usize::MAX, rows))
            }
            Rel::Distinct { input } => Node::Distinct(compile(input, &needed::all(input))?),
            Rel::Union { inputs, schema } => Node::Union {
                inputs: inputs
                    .iter()
                    .map(|rel| Node::compile(rel, wanted, registry))
                    .collect::<Result<_, PipelineError>>()?,
                schema: schema.clone(),
            },
        })
    }

    /// A limit counts rows in the order asked for, otherwise in canonical order. A sort below keeps only the rows it needs.
    fn limit(mut input: Node, offset: usize, limit: usize) -> Node {
        if !input.ordered() {
            input = Node::Canonical(Box::new(input));
        }
        input.keep_top(offset.saturating_add(limit));
        Node::Limit { input: Box::new(input), offset, limit }
    }

    /// Only the first rows are needed.
    fn keep_top(&mut self, rows: usize) {
        match self {
            Node::Sort { top, .. } => *top = Some(top.map_or(rows, |top| top.min(rows))),
            Node::Project { input, .. } => input.keep_top(rows),
            _ => {}
        }
    }

    /// Whether its rows come in an order that is a function of the set of rows scanned.
    fn ordered(&self) -> bool {
        match self {
            Node::Sort { .. } | Node::Canonical(_) | Node::Values { .. } => true,
            Node::Filter { input, .. }
            | Node::Project { input, .. }
            | Node::Window { input, .. }
            | Node::Limit { input, .. } => input.ordered(),
            Node::Scan { .. } | Node::Aggregate { .. } | Node::Join { .. } | Node::Distinct(_) | Node::Union { .. } => {
                false
            }
        }
    }

    /// The rows of a scan, if all that is done to them is done to each alone.
    fn parts(&self) -> Option<Parts<'_>> {
        match self {
            Node::Scan { view, keys, schema, columns } => {
                Some(Parts { view, keys, schema, columns, steps: Vec::new() })
            }
            Node::Filter { input, predicate } => input.parts().map(|parts| parts.then(Step::Filter(predicate))),
            Node::Project { input, exprs } => input.parts().map(|parts| parts.then(Step::Project(exprs))),
            _ => None,
        }
    }

    fn execute<'a>(&self, run: Run<'a>) -> Result<Held<'a>, PipelineError> {
        let budget = run.budget;
        budget.check()?;
        let frame = match self {
            Node::Scan { view, keys, schema, columns } => {
                widened(run.relations.scan(view, keys, columns).map_err(PipelineError::Relation)?, schema, columns)?
            }
            Node::Values { rows, schema } => values(rows, schema, budget)?,
            Node::Filter { input, predicate } => Step::Filter(predicate).of(&input.execute(run)?.frame, budget)?,
            Node::Project { input, exprs } => Step::Project(exprs).of(&input.execute(run)?.frame, budget)?,
            Node::Aggregate { input, grouping } => {
                // What fails is told of all rows.
                let of_parts = input.parts().map(|parts| grouping.execute_parts(&parts, run)).transpose()?.flatten();
                match of_parts {
                    Some(groups) => groups,
                    None => grouping.execute(&input.execute(run)?.frame, budget)?,
                }
            }
            Node::Join { left, right, join } => {
                let (left, right) = (left.execute(run)?, right.execute(run)?);
                join.execute(&left.frame, &right.frame, budget)?
            }
            Node::Window { input, rankings } => {
                let input = input.execute(run)?;
                let columns = rankings.iter().map(|ranking| ranking.column(&input.frame, budget));
                input.frame.hstack(&columns.collect::<Result<Vec<_>, PipelineError>>()?)?
            }
            Node::Sort { input, keys, top } => sort::sort(&input.execute(run)?.frame, keys, *top, budget)?,
            Node::Canonical(input) => {
                let input = input.execute(run)?;
                let _taken = budget.take_encoded(&input.frame)?;
                sort_canonical(input.frame.clone())?
            }
            Node::Limit { input, offset, limit } => {
                let frame = input.execute(run)?.frame;
                let offset = (*offset).min(frame.height());
                frame.slice(offset as i64, (*limit).min(frame.height() - offset))
            }
            Node::Distinct(input) => {
                let input = input.execute(run)?;
                let _taken = budget.take_encoded(&input.frame)?;
                distinct(&input.frame)?
            }
            Node::Union { inputs, schema } => {
                let mut all = schema.to_empty_frame();
                let mut taken = budget.take(0)?;
                for input in inputs {
                    let input = input.execute(run)?;
                    taken.grow(frame_bytes(&input.frame))?;
                    all.vstack_mut_owned(conform(input.frame, schema)?)?;
                }
                all
            }
        };
        budget.hold(frame)
    }
}

fn project(exprs: &[Expr], output: &Schema, input: &Schema, registry: &Registry) -> Result<Exprs, PipelineError> {
    Exprs::compile(output.fields.iter().map(|f| f.name.as_str()).zip(exprs), input, registry)
}

fn values(rows: &[Exprs], schema: &Schema, budget: &Budget<'_>) -> Result<DataFrame, PipelineError> {
    let mut all = schema.to_empty_frame();
    let unit = DataFrame::new(1, Vec::new())?;
    for row in rows {
        all.vstack_mut_owned(conform(DataFrame::new(1, row.columns(&unit, budget)?)?, schema)?)?;
    }
    Ok(all)
}

fn distinct(frame: &DataFrame) -> Result<DataFrame, PipelineError> {
    let rows = encode_rows(frame)?;
    let mut seen = HashSet::with_capacity_and_hasher(frame.height(), FixedState::default());
    let firsts = (0..frame.height() as IdxSize).filter(|row| seen.insert(rows.get(*row as usize))).collect::<Vec<_>>();
    Ok(frame.take(&IdxCa::from_vec("first".into(), firsts))?)
}
