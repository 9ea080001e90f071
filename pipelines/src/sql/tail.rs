//! One `SELECT` over views.

use std::{cell::RefCell, sync::Arc};

use sqlparser::ast::{self, Spanned};

use super::{
    coerce::Typed,
    diagnostic::{Mistake, Planned, all, both},
    expression::Context,
    name::fold,
    query::{Planner, only, ordinal},
    ranking::{Ranking, sort_key},
    reduction::{ReducedKey, Reduction, unique, with_unique_names},
    relation::Relation,
    scope::Scope,
    select::{self, GroupKey, Item},
};
use crate::{
    expr::Expr,
    tail::{Rel, SortKey},
    types::{Field, Schema},
};

/// What the clauses above `FROM` and `WHERE` plan to.
struct Above {
    having: Vec<Expr>,
    items: Vec<Typed>,
    qualify: Vec<Expr>,
    order: Vec<Order>,
}

/// One `ORDER BY` item: a column of the list, or something beside it.
struct Order {
    at: Result<usize, Typed>,
    options: ast::OrderByOptions,
}

impl Planner<'_> {
    /// Plans a `SELECT` with the order of its query.
    pub(crate) fn select(&self, select: &ast::Select, order: &[ast::OrderByExpr]) -> Planned<Relation> {
        select::plain(select)?;
        if let Some(ast::Distinct::On(on)) = &select.distinct {
            let span = on.first().map_or(select.select_token.0.span, Spanned::span);
            return Err(Mistake::new(span, "DISTINCT ON is not supported")
                .help("write QUALIFY ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) = 1"));
        }
        let (input, scope) = self.from(&select.from)?;
        let mut rel = input.rel;
        let items = select::items(select, &scope)?;
        let rows = |clause| Context::rows(self.views.registry, &scope, clause);
        if let Some(selection) = &select.selection {
            let predicate = rows("WHERE").condition(selection)?;
            rel = Rel::Filter { input: Box::new(rel), predicate };
        }
        let reduction = if select::is_reduction(select, &items, order) {
            let group = select::group_keys(self.views.registry, &scope, select, &items)?;
            Some((reduction_over(&group), group))
        } else {
            None
        };
        let (reduction, group) = match reduction {
            Some((reduction, group)) => (Some(RefCell::new(reduction)), group),
            None => (None, Vec::new()),
        };
        let named = named_windows(select)?;
        // Aggregates are collected first: the columns of window functions come after them.
        let ranking = RefCell::new(Ranking { width: 0, named: named.clone(), ..Ranking::default() });
        let above = |ranking: &RefCell<Ranking>| self.above(&scope, reduction.as_ref(), ranking, select, &items, order);
        let mut planned = above(&ranking)?;
        let reduction_done = reduction.as_ref().map(|r| r.borrow().clone());
        if let Some(reduction) = reduction_done {
            rel = aggregate(rel, reduction, &group);
        }
        if !ranking.borrow().functions.is_empty() {
            let width = rel.schema().fields.len();
            let settled = RefCell::new(Ranking { width, named, ..Ranking::default() });
            planned = above(&settled)?;
            rel = filter(rel, std::mem::take(&mut planned.having));
            rel = window(rel, settled.into_inner());
        }
        rel = filter(rel, planned.having);
        rel = filter(rel, planned.qualify);
        project(rel, select, &items, planned.items, planned.order)
    }

    fn above(
        &self,
        scope: &Scope,
        reduction: Option<&RefCell<Reduction>>,
        ranking: &RefCell<Ranking>,
        select: &ast::Select,
        items: &[Item<'_>],
        order: &[ast::OrderByExpr],
    ) -> Planned<Above> {
        let aliases: Vec<(String, &ast::Expr)> =
            items.iter().filter_map(|i| Some((i.name.clone(), i.ast()?))).collect();
        let context = |clause| Context { reduction, ..Context::rows(self.views.registry, scope, clause) };
        let conditions = |context: Context<'_>, ast: &Option<ast::Expr>| {
            all(ast.iter().flat_map(select::conjuncts).map(|c| context.condition(c)))
        };
        let in_list = Context { ranking: Some(ranking), ..context("SELECT") };
        let ((having, planned), (qualify, order)) = both(
            both(
                conditions(Context { aliases: &aliases, ..context("HAVING") }, &select.having),
                all(items.iter().map(|item| item.plan(&in_list))),
            ),
            both(
                conditions(
                    Context { aliases: &aliases, ranking: Some(ranking), ..context("QUALIFY") },
                    &select.qualify,
                ),
                all(order.iter().map(|item| {
                    let context = Context { aliases: &aliases, ranking: Some(ranking), ..context("ORDER BY") };
                    order_item(item, items, &context)
                })),
            ),
        )?;
        Ok(Above { having, items: planned, qualify, order })
    }
}

/// A name of the list goes before a column of the input, as the standard says.
fn order_item(item: &ast::OrderByExpr, items: &[Item<'_>], context: &Context<'_>) -> Planned<Order> {
    let position = match &item.expr {
        ast::Expr::Identifier(ident) => items.iter().position(|i| i.name == fold(ident)),
        other => ordinal(other, items.len())?,
    };
    let at = match position {
        Some(index) => Ok(index),
        None => Err(context.plan(&item.expr)?),
    };
    Ok(Order { at, options: item.options.clone() })
}

fn reduction_over(group: &[GroupKey]) -> Reduction {
    let keys = group.iter().enumerate().map(|(output, key)| ReducedKey {
        input: key.typed.expr.clone(),
        output,
        nullable: key.typed.nullable,
    });
    Reduction { keys: keys.collect(), first_aggregate: group.len(), aggregates: Vec::new(), in_core: false }
}

fn aggregate(input: Rel, reduction: Reduction, group: &[GroupKey]) -> Rel {
    let mut fields: Vec<Field> = group
        .iter()
        .map(|key| Field { name: key.name.clone(), data_type: key.typed.data_type(), nullable: key.typed.nullable })
        .collect();
    let mut aggregates = reduction.aggregates;
    fields.extend(aggregates.iter().map(|a| Field { name: a.name.clone(), data_type: a.data_type, nullable: true }));
    let schema = with_unique_names(Schema { fields });
    for (aggregate, field) in aggregates.iter_mut().zip(&schema.fields[group.len()..]) {
        aggregate.name = field.name.clone();
    }
    let keys = group.iter().map(|key| key.typed.expr.clone()).collect();
    Rel::Aggregate { input: Box::new(input), keys, aggregates, schema: Arc::new(schema) }
}

fn named_windows(select: &ast::Select) -> Planned<Vec<(String, ast::WindowSpec)>> {
    all(select.named_window.iter().map(|ast::NamedWindowDefinition(name, window)| match window {
        ast::NamedWindowExpr::WindowSpec(spec) => Ok((fold(name), spec.clone())),
        ast::NamedWindowExpr::NamedWindow(other) => Err(Mistake::new(other.span, "windows cannot be built on others")),
    }))
}

fn window(input: Rel, ranking: Ranking) -> Rel {
    let mut fields = input.schema().fields.clone();
    fields.extend(ranking.fields);
    let schema = Arc::new(with_unique_names(Schema { fields }));
    Rel::Window { input: Box::new(input), functions: ranking.functions, schema }
}

fn filter(input: Rel, conditions: Vec<Expr>) -> Rel {
    match select::conjunction(conditions) {
        Some(predicate) => Rel::Filter { input: Box::new(input), predicate },
        None => input,
    }
}

/// The list, `DISTINCT` and `ORDER BY`.
fn project(
    input: Rel,
    select: &ast::Select,
    items: &[Item<'_>],
    planned: Vec<Typed>,
    order: Vec<Order>,
) -> Planned<Relation> {
    let distinct = select.distinct.as_ref().is_some_and(|d| matches!(d, ast::Distinct::Distinct));
    let mut exprs: Vec<Expr> = Vec::new();
    let mut fields: Vec<Field> = Vec::new();
    for (item, typed) in items.iter().zip(planned) {
        fields.push(Field { name: item.name.clone(), data_type: typed.data_type(), nullable: typed.nullable });
        exprs.push(typed.expr);
    }
    let visible = exprs.len();
    let mut by: Vec<SortKey> = Vec::new();
    for item in order {
        let index = match item.at {
            Ok(index) => index,
            Err(typed) => match exprs.iter().position(|e| *e == typed.expr) {
                Some(index) => index,
                None if distinct => {
                    return Err(Mistake::new(typed.span, "with SELECT DISTINCT, ORDER BY names columns of the list")
                        .label("not in the list")
                        .help("add it to the SELECT list"));
                }
                None => {
                    let name = unique("sort_key", &|n| fields.iter().any(|f| f.name == n));
                    fields.push(Field { name, data_type: typed.data_type(), nullable: true });
                    exprs.push(typed.expr);
                    exprs.len() - 1
                }
            },
        };
        let expr = Expr::Column { index, data_type: fields[index].data_type };
        by.push(sort_key(expr, &item.options));
    }
    let schema = Arc::new(Schema { fields });
    let mut rel = if is_identity(&exprs, &schema, input.schema()) {
        input
    } else {
        Rel::Project { input: Box::new(input), exprs, schema: schema.clone() }
    };
    if distinct {
        rel = Rel::Distinct { input: Box::new(rel) };
    }
    if !by.is_empty() {
        rel = Rel::Sort { input: Box::new(rel), by };
    }
    if schema.fields.len() > visible {
        rel = only(rel, visible);
    }
    Ok(Relation::new(rel))
}

fn is_identity(exprs: &[Expr], schema: &Schema, input: &Schema) -> bool {
    exprs.len() == input.fields.len()
        && exprs.iter().enumerate().all(|(i, e)| {
            matches!(e, Expr::Column { index, .. } if *index == i) && schema.fields[i].name == input.fields[i].name
        })
}
