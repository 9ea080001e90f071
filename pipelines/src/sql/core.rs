//! `CREATE MATERIALIZED VIEW`: the core that both layers keep, and the tail above it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    coerce::Typed,
    diagnostic::{Mistake, Planned, all, both},
    expression::Context,
    input::{NamedSource, input, reduction_only},
    pushdown,
    reduction::{ReducedKey, Reduction, unique},
    scope::{Scope, ScopeColumn, Visibility},
    select::{self, GroupKey, Item},
    window,
};
use crate::{
    aggregate::{AggregateCall, AggregateFunction},
    core::{Core, Key, Partitioning, WINDOW_END_COLUMN, WINDOW_START_COLUMN, Window},
    expr::Expr,
    key::KeyFilter,
    partial::RESERVED_PREFIXES,
    registry::Registry,
    source::{OFFSET_COLUMN, PARTITION_COLUMN, Source},
    tail::Rel,
    types::{DataType, Field, Schema},
};

/// Records of one log partition in one partition of a view of rows.
const ROWS_PER_PARTITION: u64 = 262_144;
/// Partitions of a view without a window.
const HASH_BUCKETS: u32 = 16;

/// What definitions there are, for a core.
pub(crate) struct Definitions<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) sources: &'a BTreeMap<String, Arc<Source>>,
    pub(crate) views: &'a BTreeSet<String>,
}

/// A planned materialized view.
pub(crate) struct Materialized {
    pub(crate) core: Core,
    pub(crate) tail: Rel,
    pub(crate) schema: Arc<Schema>,
}

/// Plans the query of a materialized view. `buckets` overrides how its partials are divided.
pub(crate) fn plan(
    definitions: &Definitions<'_>,
    name: &str,
    query: &ast::Query,
    buckets: Option<(u32, Span)>,
) -> Planned<Materialized> {
    let select = reduction_only(query, name)?;
    let (source, window) = input(definitions, select)?;
    let row_schema = source.1.row_schema();
    let mut scope = scope(&source, &row_schema);
    window_columns(&mut scope, window.as_ref(), row_schema.fields.len(), false);
    let items = select::items(select, &scope)?;
    let plan = CorePlan { definitions, name, select, source: source.1, window, row_schema, scope, items };
    if select::is_reduction(select, &plan.items, &[]) { plan.reduction(buckets) } else { plan.rows(buckets) }
}

fn scope(source: &NamedSource, row_schema: &Schema) -> Scope {
    let mut scope = Scope::of(Some(&source.0), row_schema);
    // `_partition`, `_offset` and `_append_time` are not part of `*`.
    for column in scope.columns.iter_mut().skip(source.1.schema.fields.len()) {
        column.visibility = Visibility::Hidden;
    }
    scope
}

/// Adds `window_start` and `window_end`: beyond the row (`as_expressions == false`), where only the reduction makes them, or
/// as expressions of the time.
fn window_columns(scope: &mut Scope, window: Option<&Window>, width: usize, as_expressions: bool) {
    let Some(window) = window else { return };
    let beyond = |index| Expr::Column { index, data_type: DataType::Timestamp };
    let ends = if as_expressions {
        [window::start_of(window), window::end_of(window)]
    } else {
        [beyond(width), beyond(width + 1)]
    };
    let table = scope.columns.first().and_then(|c| c.table.clone());
    for (name, expr) in [WINDOW_START_COLUMN, WINDOW_END_COLUMN].into_iter().zip(ends) {
        scope.columns.retain(|c| c.name != name);
        let visibility = Visibility::Full;
        scope.columns.push(ScopeColumn {
            table: table.clone(),
            name: name.to_owned(),
            expr,
            nullable: false,
            visibility,
        });
    }
}

struct CorePlan<'a> {
    definitions: &'a Definitions<'a>,
    name: &'a str,
    select: &'a ast::Select,
    source: Arc<Source>,
    window: Option<Window>,
    row_schema: Schema,
    scope: Scope,
    items: Vec<Item<'a>>,
}

impl CorePlan<'_> {
    fn rows_context<'b>(&'b self, scope: &'b Scope, clause: &'static str) -> Context<'b> {
        Context::rows(self.definitions.registry, scope, clause)
    }

    /// A view of rows: each accepted record that `WHERE` keeps is one row.
    fn rows(mut self, buckets: Option<(u32, Span)>) -> Planned<Materialized> {
        if let Some(window) = &self.window
            && window.is_hopping()
        {
            return Err(Mistake::new(
                self.select.from.first().map_or(Span::empty(), Spanned::span),
                "with HOP a record is in several windows, so it needs a GROUP BY",
            )
            .help("group by window_start and aggregate, or use TUMBLE"));
        }
        if let Some((_, span)) = buckets {
            return Err(Mistake::new(span, "a view of rows is divided by offset, not by `buckets`")
                .help("leave the option out"));
        }
        let window = self.window.take();
        let mut scope = std::mem::take(&mut self.scope);
        window_columns(&mut scope, window.as_ref(), self.row_schema.fields.len(), true);
        let items = select::items(self.select, &scope)?;
        let filter =
            self.select.selection.as_ref().map(|w| self.rows_context(&scope, "WHERE").condition(w)).transpose();
        let context = self.rows_context(&scope, "a materialized view");
        let (filter, typed) = both(filter, all(items.iter().map(|item| item.plan(&context))))?;
        let key = |name: &str| {
            let index = self.row_schema.index_of(name).unwrap_or_default();
            Key::Expr { name: name.to_owned(), expr: Expr::column(&self.row_schema, index) }
        };
        let keys = vec![key(PARTITION_COLUMN), key(OFFSET_COLUMN)];
        let mut aggregates: Vec<AggregateCall> = Vec::new();
        let mut output = Vec::new();
        for (item, typed) in items.iter().zip(typed) {
            let data_type = typed.data_type();
            let at_key = keys.iter().position(|k| matches!(k, Key::Expr { expr, .. } if *expr == typed.expr));
            let index = at_key.unwrap_or(keys.len() + aggregates.len());
            if at_key.is_none() {
                let taken = |name: &str| is_reserved(name, false) || aggregates.iter().any(|a| a.name == name);
                aggregates.push(AggregateCall {
                    name: unique(&unreserved(&item.name), &taken),
                    function: AggregateFunction::Only,
                    argument: Some(typed.expr),
                    filter: None,
                    data_type,
                });
            }
            output.push((item.name.clone(), Expr::Column { index, data_type }, typed.nullable));
        }
        let partitioning = Partitioning::Offset { records: ROWS_PER_PARTITION };
        let core = Core { source: self.source.clone(), filter, window: None, keys, aggregates, partitioning };
        Ok(materialized(self.name, core, None, output))
    }

    /// A keyed reduction.
    fn reduction(self, buckets: Option<(u32, Span)>) -> Planned<Materialized> {
        let width = self.row_schema.fields.len();
        let group = select::group_keys(self.definitions.registry, &self.scope, self.select, &self.items)?;
        let (keys, reduction) = self.keys(&group, width)?;
        let reduction = RefCell::new(reduction);
        let aliases: Vec<(String, &ast::Expr)> =
            self.items.iter().filter_map(|i| Some((i.name.clone(), i.ast()?))).collect();
        let above = |clause| Context { reduction: Some(&reduction), ..self.rows_context(&self.scope, clause) };

        let (filters, typed) = both(
            self.filters(width, &above("WHERE")),
            all(self.items.iter().map(|item| item.plan(&above("a materialized view")))),
        )?;
        let (filter, mut tail_filters) = filters;
        if let Some(having) = &self.select.having {
            let context = Context { aliases: &aliases, ..above("HAVING") };
            tail_filters.extend(all(select::conjuncts(having).into_iter().map(|c| context.condition(c)))?);
        }

        let reduction = reduction.into_inner();
        for aggregate in &reduction.aggregates {
            let inputs = aggregate.argument.iter().chain(&aggregate.filter);
            if inputs.into_iter().any(|e| uses_beyond(e, width)) {
                let span = self.select.select_token.0.span;
                return Err(Mistake::new(span, "a window's start and end can be grouped by, not aggregated")
                    .help("group by window_start, and aggregate windows in a CREATE VIEW over this one"));
            }
        }
        let partitioning = match (buckets, &self.window) {
            (Some((buckets, _)), _) => Partitioning::Hash { buckets },
            (None, Some(window)) => window::partitioning(window),
            (None, None) if keys.is_empty() => Partitioning::Hash { buckets: 1 },
            (None, None) => Partitioning::Hash { buckets: HASH_BUCKETS },
        };
        let mut core = Core {
            source: self.source.clone(),
            filter,
            window: self.window.clone(),
            keys,
            aggregates: reduction.aggregates,
            partitioning,
        };
        let output: Vec<(String, Expr, bool)> =
            self.items.iter().zip(typed).map(|(item, t)| (item.name.clone(), t.expr, t.nullable)).collect();
        name_core_columns(&mut core, &output);
        Ok(materialized(self.name, core, select::conjunction(tail_filters), output))
    }

    /// The core's keys, and the reduction that knows them. The window's start and end become one key.
    fn keys(&self, group: &[GroupKey], width: usize) -> Planned<(Vec<Key>, Reduction)> {
        let mut keys: Vec<Key> = Vec::new();
        let mut reduced = Vec::new();
        let mut window_at = None;
        for GroupKey { typed, name } in group {
            let Typed { expr, nullable, span, .. } = typed;
            if matches!(expr, Expr::Column { index, .. } if *index >= width) {
                if window_at.is_none() {
                    window_at = Some(keys.len());
                    keys.push(Key::WindowStart);
                }
                continue;
            }
            if uses_beyond(expr, width) {
                return Err(Mistake::new(*span, "a window's start and end can be grouped by only as they are")
                    .label("an expression of them")
                    .help("group by window_start itself; DATE_TRUNC('day', window_start) can then stand in SELECT"));
            }
            reduced.push(ReducedKey { input: expr.clone(), output: keys.len(), nullable: *nullable });
            keys.push(Key::Expr { name: name.clone(), expr: expr.clone() });
        }
        if let (Some(_), None) = (&self.window, window_at) {
            let span = match &self.select.group_by {
                ast::GroupByExpr::Expressions(list, _) if !list.is_empty() => self.select.group_by.span(),
                _ => self.select.from.first().map_or(Span::empty(), Spanned::span),
            };
            return Err(Mistake::new(span, "with a window in FROM, GROUP BY contains window_start")
                .label("window_start is missing")
                .help("add window_start to GROUP BY; without windows write the table alone in FROM"));
        }
        if let Some(at) = window_at {
            let beyond = |index| Expr::Column { index, data_type: DataType::Timestamp };
            reduced.push(ReducedKey { input: beyond(width), output: at, nullable: false });
            reduced.push(ReducedKey { input: beyond(width + 1), output: keys.len(), nullable: false });
        }
        let first_aggregate = keys.len() + usize::from(self.window.is_some());
        Ok((keys, Reduction { keys: reduced, first_aggregate, aggregates: Vec::new(), in_core: true }))
    }

    /// `WHERE`: over records, and (conditions on windows) over finished rows.
    fn filters(&self, width: usize, above: &Context<'_>) -> Planned<(Option<Expr>, Vec<Expr>)> {
        let Some(selection) = &self.select.selection else { return Ok((None, Vec::new())) };
        let below = self.rows_context(&self.scope, "WHERE");
        let (mut of_records, mut of_windows) = (Vec::new(), Vec::new());
        for (ast, condition) in all(select::conjuncts(selection).into_iter().map(|c| Ok((c, below.condition(c)?))))? {
            if uses_beyond(&condition, width) {
                of_windows.push(above.condition(ast).map_err(|_| {
                    Mistake::new(ast.span(), "a condition on windows can use grouped columns only")
                        .label("mixes the window with other columns")
                        .help("join conditions on the window and on records by AND, or compare the time column itself")
                })?);
            } else {
                of_records.push(condition);
            }
        }
        Ok((select::conjunction(of_records), of_windows))
    }
}

fn uses_beyond(expr: &Expr, width: usize) -> bool {
    let mut found = false;
    expr.walk(&mut |e| found |= matches!(e, Expr::Column { index, .. } if *index >= width));
    found
}

/// Names that stored columns of views cannot have.
fn is_reserved(name: &str, windowed: bool) -> bool {
    [PARTITION_COLUMN, OFFSET_COLUMN].contains(&name)
        || (windowed && [WINDOW_START_COLUMN, WINDOW_END_COLUMN].contains(&name))
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The name without what makes it reserved, however often that stands there.
fn unreserved(mut name: &str) -> String {
    while let Some(rest) = RESERVED_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest;
    }
    if name.is_empty() { "column".to_owned() } else { name.to_owned() }
}

/// The stored columns have the names of the `SELECT` list where they stand in it as they are.
fn name_core_columns(core: &mut Core, output: &[(String, Expr, bool)]) {
    let first_aggregate = core.keys.len() + usize::from(core.window.is_some());
    let windowed = core.window.is_some();
    let mut names: Vec<Option<String>> = vec![None; first_aggregate + core.aggregates.len()];
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (name, expr, _) in output {
        let Expr::Column { index, .. } = expr else { continue };
        if names[*index].is_none() && !is_reserved(name, windowed) && taken.insert(name.clone()) {
            names[*index] = Some(name.clone());
        }
    }
    let mut settle = |given: Option<String>, proposed: &str| match given {
        Some(name) => name,
        None => {
            let name = unique(&unreserved(proposed), &|n| is_reserved(n, windowed) || taken.contains(n));
            taken.insert(name.clone());
            name
        }
    };
    for (index, key) in core.keys.iter_mut().enumerate() {
        if let Key::Expr { name, .. } = key {
            *name = settle(names[index].take(), name);
        }
    }
    for (index, aggregate) in core.aggregates.iter_mut().enumerate() {
        aggregate.name = settle(names[first_aggregate + index].take(), &aggregate.name);
    }
}

/// The tail over the core's own rows.
fn materialized(name: &str, core: Core, filter: Option<Expr>, output: Vec<(String, Expr, bool)>) -> Materialized {
    let scanned = Arc::new(core.output_schema());
    let mut tail = Rel::Scan { view: name.to_owned(), keys: KeyFilter::all(), schema: scanned.clone() };
    if let Some(predicate) = filter {
        tail = Rel::Filter { input: Box::new(tail), predicate };
    }
    let fields = output.iter().map(|(name, expr, nullable)| Field {
        name: name.clone(),
        data_type: expr.data_type(),
        nullable: *nullable,
    });
    let schema = Arc::new(Schema { fields: fields.collect() });
    let as_it_is = output.len() == scanned.fields.len()
        && output.iter().enumerate().all(|(i, (name, expr, _))| {
            matches!(expr, Expr::Column { index, .. } if *index == i) && scanned.fields[i].name == *name
        });
    if !as_it_is {
        let exprs = output.into_iter().map(|(_, expr, _)| expr).collect();
        tail = Rel::Project { input: Box::new(tail), exprs, schema: schema.clone() };
    }
    let keys = core.keys.len();
    pushdown::push_keys(&mut tail, &|_| keys);
    Materialized { core, tail, schema }
}
