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
    name::{did_you_mean, fold, simple},
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

fn later(name: &str, clause: &str) -> String {
    format!("leave it out here and put it on top: CREATE VIEW top_{name} AS SELECT * FROM {name} {clause}")
}

/// The one `SELECT` of the query; everything around it belongs into a view on top.
fn reduction_only<'a>(query: &'a ast::Query, name: &str) -> Planned<&'a ast::Select> {
    let refuse = |span: Span, what: &str, help: String| {
        Err(Mistake::new(span, format!("{what} is not supported in a materialized view")).label("not here").help(help))
    };
    if let Some(with) = &query.with {
        return refuse(
            with.with_token.0.span,
            "WITH",
            "write one SELECT over one table, and what follows as a CREATE VIEW".to_owned(),
        );
    }
    if let Some(order_by) = &query.order_by {
        return refuse(order_by.span(), "ORDER BY", later(name, "ORDER BY …"));
    }
    if let Some(limit) = &query.limit_clause {
        return refuse(limit.span(), "LIMIT", later(name, "ORDER BY … LIMIT …"));
    }
    if let Some(fetch) = &query.fetch {
        return refuse(fetch.span(), "FETCH", later(name, "ORDER BY … LIMIT …"));
    }
    let select = match &*query.body {
        ast::SetExpr::Select(select) => select,
        ast::SetExpr::Query(inner) => return reduction_only(inner, name),
        other => {
            let help = "write a materialized view for each side, and CREATE VIEW … AS SELECT * FROM a UNION ALL SELECT * FROM b";
            return refuse(other.span(), "UNION, EXCEPT or VALUES", help.to_owned());
        }
    };
    select::plain(select)?;
    if let Some(distinct) = &select.distinct {
        let span = match distinct {
            ast::Distinct::On(on) => on.first().map_or(select.select_token.0.span, Spanned::span),
            _ => select.select_token.0.span,
        };
        return refuse(span, "DISTINCT", "write GROUP BY with the columns that are to be distinct".to_owned());
    }
    if let Some(qualify) = &select.qualify {
        return refuse(qualify.span(), "QUALIFY", later(name, "QUALIFY …"));
    }
    Ok(select)
}

type NamedSource = (String, Arc<Source>);

/// The one table, perhaps within a window function.
fn input(definitions: &Definitions<'_>, select: &ast::Select) -> Planned<(NamedSource, Option<Window>)> {
    let from = match select.from.as_slice() {
        [one] => one,
        [] => {
            return Err(Mistake::new(select.select_token.0.span, "a materialized view reads a table")
                .label("FROM is missing")
                .help("write SELECT … FROM table"));
        }
        [_, second, ..] => return Err(joined(second.relation.span())),
    };
    if let Some(join) = from.joins.first() {
        return Err(joined(join.relation.span()));
    }
    match &from.relation {
        ast::TableFactor::Table { name, alias, args, .. } => {
            let table = simple(name)?;
            let alias = table_alias(alias.as_ref())?;
            match args {
                Some(args) if window::is_window(&table) => {
                    windowed(definitions, &table, &args.args, alias, name.span())
                }
                Some(_) => Err(Mistake::new(name.span(), format!("there is no window function `{table}`"))
                    .label("unknown")
                    .help(
                        did_you_mean(&table, ["tumble", "hop"])
                            .unwrap_or_else(|| "there are TUMBLE and HOP".to_owned()),
                    )),
                None => {
                    let source = source(definitions, &table, name.span())?;
                    Ok(((alias.unwrap_or(table), source), None))
                }
            }
        }
        ast::TableFactor::TableFunction { expr: ast::Expr::Function(call), alias } => {
            let name = simple(&call.name)?;
            let alias = table_alias(alias.as_ref())?;
            match &call.args {
                ast::FunctionArguments::List(list) if window::is_window(&name) => {
                    windowed(definitions, &name, &list.args, alias, call.name.span())
                }
                _ => Err(Mistake::new(call.span(), format!("there is no window function `{name}`"))
                    .help("there are TUMBLE and HOP")),
            }
        }
        ast::TableFactor::Derived { subquery, .. } => {
            Err(Mistake::new(subquery.span(), "a subquery is not supported in a materialized view")
                .label("not here")
                .help("write it as a materialized view of its own, and what is around it as a CREATE VIEW"))
        }
        other => Err(joined(other.span())),
    }
}

fn joined(span: Span) -> Box<Mistake> {
    Mistake::new(span, "joins are not supported yet in a materialized view")
        .label("a second table")
        .help("write a materialized view for each table, and join them in a CREATE VIEW")
}

/// An alias without column names.
pub(crate) fn table_alias(alias: Option<&ast::TableAlias>) -> Planned<Option<String>> {
    match alias {
        None => Ok(None),
        Some(alias) if alias.columns.is_empty() => Ok(Some(fold(&alias.name))),
        Some(alias) => Err(Mistake::new(alias.name.span, "column names in a table's alias are not supported here")
            .help("rename columns in the SELECT list: x AS y")),
    }
}

fn windowed(
    definitions: &Definitions<'_>,
    name: &str,
    args: &[ast::FunctionArg],
    alias: Option<String>,
    span: Span,
) -> Planned<(NamedSource, Option<Window>)> {
    let call = window::plan(name, args, span)?;
    let source = source(definitions, &call.table, call.table_span)?;
    let row_schema = source.row_schema();
    let scope = Scope::of(Some(&call.table), &row_schema);
    let typed = Context::rows(definitions.registry, &scope, "FROM").plan(&call.time)?;
    let Expr::Column { index, data_type } = typed.expr else {
        return Err(Mistake::new(call.time.span(), "the time of a window is a column")
            .label("not a column")
            .help("windows are over a TIMESTAMP column of the table, or `_append_time`"));
    };
    if data_type != DataType::Timestamp {
        return Err(Mistake::new(
            call.time.span(),
            format!("the time of a window is a TIMESTAMP, this is {data_type}"),
        )
        .label(format!("this is {data_type}"))
        .help("declare the column as TIMESTAMP, or use `_append_time`"));
    }
    Ok(((alias.unwrap_or_else(|| call.table.clone()), source), Some(call.window(index))))
}

fn source(definitions: &Definitions<'_>, name: &str, span: Span) -> Planned<Arc<Source>> {
    if let Some(source) = definitions.sources.get(name) {
        return Ok(source.clone());
    }
    if definitions.views.contains(name) {
        return Err(Mistake::new(span, format!("`{name}` is a view, and a materialized view reads a table"))
            .label("a view")
            .help("write CREATE VIEW … (without MATERIALIZED) over views"));
    }
    let known = definitions.sources.keys().map(String::as_str);
    Err(Mistake::new(span, format!("there is no table `{name}`"))
        .label("unknown table")
        .help(did_you_mean(name, known).unwrap_or_else(|| format!("declare it: CREATE TABLE {name} (…)"))))
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
        || name.starts_with("_state_")
}

fn unreserved(name: &str) -> String {
    name.strip_prefix("_state_").unwrap_or(name).to_owned()
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
