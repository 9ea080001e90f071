//! Relations of a tail: a plan and the names of its columns.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sqlparser::{ast, tokenizer::Span};

use super::{
    diagnostic::{Mistake, Planned},
    name::{did_you_mean, fold},
    scope::{Scope, Visibility},
};
use crate::{
    catalog::View,
    core::Partitioning,
    expr::Expr,
    registry::Registry,
    source::Source,
    tail::Rel,
    types::{DataType, Field, Schema, Value},
};

/// Views are written out where they are read: a plan has so many nodes at most.
const MAX_NODES: usize = 4096;
/// And so many levels.
const MAX_DEPTH: usize = 160;

/// A plan, whose first `visible` columns are those of `*`.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) rel: Rel,
    pub(crate) visible: usize,
}

impl Relation {
    pub(crate) fn new(rel: Rel) -> Relation {
        let visible = rel.schema().fields.len();
        Relation { rel, visible }
    }

    /// Its columns under a table's name.
    pub(crate) fn scope(&self, table: Option<&str>) -> Scope {
        let mut scope = Scope::of(table, self.rel.schema());
        for column in scope.columns.iter_mut().skip(self.visible) {
            column.visibility = Visibility::Hidden;
        }
        scope
    }

    /// The same with other names for its first columns: `AS t (a, b)`.
    pub(crate) fn renamed(self, names: &[&ast::Ident]) -> Planned<Relation> {
        let Some(last) = names.last() else { return Ok(self) };
        if names.len() != self.visible {
            let (given, are) = (names.len(), self.visible);
            return Err(Mistake::new(last.span, format!("{given} names are given for {are} columns"))
                .help("give a name for each column, in order"));
        }
        let mut seen = BTreeSet::new();
        let mut fields = self.rel.schema().fields[..self.visible].to_vec();
        for (field, name) in fields.iter_mut().zip(names) {
            field.name = fold(name);
            if !seen.insert(field.name.clone()) {
                return Err(Mistake::new(name.span, format!("there are two columns `{}`", field.name)).label("again"));
            }
        }
        let schema = Arc::new(Schema { fields });
        let exprs = (0..self.visible).map(|i| Expr::column(&schema, i)).collect();
        Ok(Relation::new(Rel::Project { input: Box::new(self.rel), exprs, schema }))
    }

    /// One row without a column that could be named: `SELECT` without `FROM`.
    pub(crate) fn one_row() -> Relation {
        let field = Field { name: "_row".to_owned(), data_type: DataType::Boolean, nullable: false };
        let row = vec![Expr::Literal { value: Value::Boolean(true), data_type: DataType::Boolean }];
        let rel = Rel::Values { rows: vec![row], schema: Arc::new(Schema { fields: vec![field] }) };
        Relation { rel, visible: 0 }
    }
}

/// What a tail can read.
#[derive(Clone, Copy)]
pub(crate) struct Views<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) sources: &'a BTreeMap<String, Arc<Source>>,
    pub(crate) views: &'a BTreeMap<String, Arc<View>>,
}

impl Views<'_> {
    /// The rows of a view.
    pub(crate) fn read(&self, name: &str, span: Span, others: &[&str]) -> Planned<Relation> {
        let Some(view) = self.views.get(name) else { return Err(self.unknown(name, span, others)) };
        let visible = view.schema.fields.len();
        let rel = match &view.core {
            Some(core) if matches!(core.partitioning, Partitioning::Offset { .. }) => {
                with_keys(&view.tail, core.keys.len())
            }
            _ => view.tail.clone(),
        };
        Ok(Relation { rel, visible })
    }

    fn unknown(&self, name: &str, span: Span, others: &[&str]) -> Box<Mistake> {
        if self.sources.contains_key(name) {
            return Mistake::new(
                span,
                format!("`{name}` is a table: its records are in the log, and queries read views"),
            )
            .label("a table")
            .help(format!(
                "to read records, keep a view of rows: CREATE MATERIALIZED VIEW {name}_rows AS SELECT * FROM {name}"
            ));
        }
        let known = self.views.keys().map(String::as_str).chain(others.iter().copied());
        let listed: Vec<&str> = self.views.keys().map(String::as_str).take(12).collect();
        Mistake::new(span, format!("there is no view `{name}`"))
            .label("unknown view")
            .maybe_help(did_you_mean(name, known))
            .maybe_help((listed.is_empty() && others.is_empty()).then(|| "there are no views yet".to_owned()))
            .or_help(|| format!("there are: {}", listed.join(", ")))
    }
}

/// A view of rows with its `_partition` and `_offset`, where its own columns leave these names free.
fn with_keys(tail: &Rel, keys: usize) -> Rel {
    let Rel::Project { input, exprs, schema } = tail else { return tail.clone() };
    let (mut exprs, mut schema) = (exprs.clone(), Schema::clone(schema));
    for (index, field) in input.schema().fields.iter().enumerate().take(keys) {
        if schema.index_of(&field.name).is_none() {
            exprs.push(Expr::Column { index, data_type: field.data_type });
            schema.fields.push(field.clone());
        }
    }
    Rel::Project { input: input.clone(), exprs, schema: Arc::new(schema) }
}

/// Refuses plans that have grown beyond reason by views that read views.
pub(crate) fn check_size(rel: &Rel, span: Span) -> Planned<()> {
    let (nodes, depth) = size(rel);
    if nodes <= MAX_NODES && depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(Mistake::new(span, format!("the plan has grown to {nodes} steps, {depth} of them on top of each other"))
        .label("too large")
        .help(format!("{MAX_NODES} steps and {MAX_DEPTH} levels are possible; derived views are written out wherever they are read")))
}

fn size(rel: &Rel) -> (usize, usize) {
    let inputs: Vec<&Rel> = match rel {
        Rel::Scan { .. } | Rel::Values { .. } => Vec::new(),
        Rel::Filter { input, .. }
        | Rel::Project { input, .. }
        | Rel::Aggregate { input, .. }
        | Rel::Window { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. }
        | Rel::Distinct { input } => vec![input],
        Rel::Join { left, right, .. } => vec![left, right],
        Rel::Union { inputs, .. } => inputs.iter().collect(),
    };
    inputs.into_iter().map(size).fold((1, 1), |(n, d), (nodes, depth)| (n + nodes, d.max(depth + 1)))
}
