//! Queries over views: `WITH`, `UNION ALL`, `VALUES`, and the order and limit of the whole.

use std::sync::Arc;

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    coerce::{Typed, coerce, common_type},
    diagnostic::{Mistake, Planned, all},
    expression::Context,
    function::constant_whole,
    name::fold,
    operator, pushdown,
    ranking::sort_key,
    relation::{Relation, Views, check_size},
    scope::Scope,
};
use crate::{
    core::Core,
    expr::Expr,
    tail::{Rel, SortKey},
    types::{Field, Schema},
};

/// Plans a query, keys pushed down.
pub(crate) fn plan(views: Views<'_>, query: &ast::Query, span: Span) -> Planned<Relation> {
    let planner = Planner { views, ctes: Vec::new() };
    let relation = planner.query(query).map_err(|m| m.at(span))?;
    let visible = relation.visible;
    let mut rel =
        if visible == relation.rel.schema().fields.len() { relation.rel } else { only(relation.rel, visible) };
    check_size(&rel, span)?;
    pushdown::push_keys(&mut rel, &|view| {
        views.views.get(view).and_then(|v| v.core.as_ref()).map_or(0, |core: &Core| core.keys.len())
    });
    Ok(Relation::new(rel))
}

/// The first columns.
pub(crate) fn only(rel: Rel, count: usize) -> Rel {
    let fields = rel.schema().fields[..count].to_vec();
    let schema = Arc::new(Schema { fields });
    let exprs = (0..count).map(|i| Expr::column(&schema, i)).collect();
    Rel::Project { input: Box::new(rel), exprs, schema }
}

/// Plans queries; knows the views and the `WITH` tables in reach.
#[derive(Clone)]
pub(crate) struct Planner<'a> {
    pub(crate) views: Views<'a>,
    pub(crate) ctes: Vec<(String, Arc<Relation>)>,
}

impl Planner<'_> {
    pub(crate) fn query(&self, query: &ast::Query) -> Planned<Relation> {
        let mut planner = self.clone();
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(Mistake::new(with.with_token.0.span, "WITH RECURSIVE is not supported"));
            }
            for cte in &with.cte_tables {
                let name = fold(&cte.alias.name);
                let names: Vec<&ast::Ident> = cte.alias.columns.iter().map(|c| &c.name).collect();
                let relation = planner.query(&cte.query)?.renamed(&names)?;
                check_size(&relation.rel, cte.alias.name.span)?;
                planner.ctes.push((name, Arc::new(relation)));
            }
        }
        planner.body(query)
    }

    fn body(&self, query: &ast::Query) -> Planned<Relation> {
        if !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(Mistake::new(query.body.span(), "FOR, SETTINGS, FORMAT and pipes are not supported"));
        }
        let order = order_items(query.order_by.as_ref())?;
        let limit = limit(query)?;
        let relation = match &*query.body {
            ast::SetExpr::Select(select) => self.select(select, order)?,
            other => {
                let relation = self.set(other)?;
                sort_output(self, relation, order)?
            }
        };
        Ok(match limit {
            Some((offset, count)) => limited(relation, offset, count),
            None => relation,
        })
    }

    fn set(&self, body: &ast::SetExpr) -> Planned<Relation> {
        match body {
            ast::SetExpr::Select(select) => self.select(select, &[]),
            ast::SetExpr::Query(query) => self.query(query),
            ast::SetExpr::Values(values) => self.values(values),
            ast::SetExpr::SetOperation { left, op: ast::SetOperator::Union, set_quantifier, right } => {
                let distinct = match set_quantifier {
                    ast::SetQuantifier::All => false,
                    ast::SetQuantifier::None | ast::SetQuantifier::Distinct => true,
                    _ => {
                        return Err(Mistake::new(body.span(), "UNION BY NAME is not supported")
                            .help("list the columns in one order"));
                    }
                };
                let sides = all([self.set(left), self.set(right)])?;
                let mut rel = union(sides, right.span())?;
                if distinct {
                    rel = Rel::Distinct { input: Box::new(rel) };
                }
                Ok(Relation::new(rel))
            }
            ast::SetExpr::SetOperation { op, right, .. } => {
                Err(Mistake::new(right.span(), format!("{op} is not supported"))
                    .label(format!("after {op}"))
                    .help("write a LEFT JOIN, and keep the rows whose right side IS NULL (or IS NOT NULL)"))
            }
            other => Err(Mistake::new(other.span(), "only SELECT, VALUES and UNION ALL make a query")
                .help("write SELECT … FROM view")),
        }
    }

    fn values(&self, values: &ast::Values) -> Planned<Relation> {
        let scope = Scope::default();
        let context = Context::rows(self.views.registry, &scope, "VALUES");
        let rows = all(values.rows.iter().map(|row| all(row.content.iter().map(|e| context.plan(e)))))?;
        let width = rows.first().map_or(0, Vec::len);
        if let Some((row, _)) = values.rows.iter().zip(&rows).find(|(_, typed)| typed.len() != width) {
            return Err(Mistake::new(
                row.span(),
                format!("the first row has {width} values, this one {}", row.content.len()),
            ));
        }
        let mut columns = Vec::new();
        for at in 0..width {
            let column: Vec<Typed> = rows.iter().map(|row| row[at].clone()).collect();
            columns.push(operator::unify(&column, "a column of VALUES has one type")?);
        }
        let fields = columns.iter().enumerate().map(|(i, column)| Field {
            name: format!("column{}", i + 1),
            data_type: operator::type_of(column, None),
            nullable: true,
        });
        let schema = Arc::new(Schema { fields: fields.collect() });
        let rows = (0..rows.len()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect();
        Ok(Relation::new(Rel::Values { rows, schema }))
    }
}

fn union(sides: Vec<Relation>, span: Span) -> Planned<Rel> {
    let sides: Vec<Rel> = sides.into_iter().map(only_visible).collect();
    let first = sides[0].schema().clone();
    let second = sides[1].schema().clone();
    if first.fields.len() != second.fields.len() {
        let (a, b) = (first.fields.len(), second.fields.len());
        return Err(Mistake::new(span, format!("the sides of UNION have {a} and {b} columns"))
            .label("the second side")
            .help("both sides need the same columns in the same order"));
    }
    let fields = all(first.fields.iter().zip(&second.fields).map(|(a, b)| {
        let data_type = common_type(a.data_type, b.data_type).ok_or_else(|| {
            Mistake::new(
                span,
                format!("`{}` is {} on one side of UNION and {} on the other", a.name, a.data_type, b.data_type),
            )
            .label("the second side")
            .help("both sides need the same columns in the same order; CAST one of them if that is what is meant")
        })?;
        Ok(Field { name: a.name.clone(), data_type, nullable: a.nullable || b.nullable })
    }))?;
    let schema = Arc::new(Schema { fields });
    let inputs = all(sides.into_iter().map(|side| {
        let from = side.schema().clone();
        if from.fields.iter().zip(&schema.fields).all(|(a, b)| a.data_type == b.data_type && a.name == b.name) {
            return Ok(side);
        }
        let exprs = all(schema
            .fields
            .iter()
            .enumerate()
            .map(|(i, field)| coerce(&Typed::new(Expr::column(&from, i), span), field.data_type)))?;
        Ok(Rel::Project { input: Box::new(side), exprs, schema: schema.clone() })
    }))?;
    // `a UNION ALL b UNION ALL c` is one union of three.
    let mut flat = Vec::new();
    for input in inputs {
        match input {
            Rel::Union { inputs, schema: inner } if inner == schema => flat.extend(inputs),
            other => flat.push(other),
        }
    }
    Ok(Rel::Union { inputs: flat, schema })
}

fn only_visible(relation: Relation) -> Rel {
    if relation.visible == relation.rel.schema().fields.len() {
        relation.rel
    } else {
        only(relation.rel, relation.visible)
    }
}

/// The items of `ORDER BY`.
fn order_items(order_by: Option<&ast::OrderBy>) -> Planned<&[ast::OrderByExpr]> {
    let Some(order_by) = order_by else { return Ok(&[]) };
    let ast::OrderByKind::Expressions(items) = &order_by.kind else {
        return Err(Mistake::new(order_by.span(), "ORDER BY ALL is not supported").help("list the columns"));
    };
    for item in items {
        if matches!(item.options.sort, Some(ast::OrderBySort::Using(_))) || item.with_fill.is_some() {
            return Err(Mistake::new(item.span(), "ORDER BY takes ASC, DESC and NULLS FIRST or LAST"));
        }
    }
    Ok(items)
}

/// `ORDER BY` a position in the list.
pub(crate) fn ordinal(ast: &ast::Expr, count: usize) -> Planned<Option<usize>> {
    let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(text, _), span }) = ast else {
        return Ok(None);
    };
    match text.parse::<usize>() {
        Ok(n) if (1..=count).contains(&n) => Ok(Some(n - 1)),
        _ => Err(Mistake::new(*span, format!("the SELECT list has no column {text}"))
            .help(format!("positions go from 1 to {count}"))),
    }
}

/// Sorts what is not a `SELECT`, by columns of its output.
fn sort_output(planner: &Planner<'_>, relation: Relation, order: &[ast::OrderByExpr]) -> Planned<Relation> {
    if order.is_empty() {
        return Ok(relation);
    }
    let rel = only_visible(relation);
    let scope = Scope::of(None, rel.schema());
    let context = Context::rows(planner.views.registry, &scope, "ORDER BY");
    let by: Vec<SortKey> = all(order.iter().map(|item| {
        let expr = match ordinal(&item.expr, rel.schema().fields.len())? {
            Some(index) => Expr::column(rel.schema(), index),
            None => context.plan(&item.expr)?.expr,
        };
        Ok(sort_key(expr, &item.options))
    }))?;
    Ok(Relation::new(Rel::Sort { input: Box::new(rel), by }))
}

type Limit = (u64, Option<u64>);

/// `LIMIT` and `OFFSET`, or `FETCH FIRST`.
fn limit(query: &ast::Query) -> Planned<Option<Limit>> {
    let whole = |ast: &ast::Expr, what| constant_whole(ast, what, u64::MAX);
    let (mut offset, mut count) = (0, None);
    match &query.limit_clause {
        None => {}
        Some(ast::LimitClause::LimitOffset { limit, offset: skip, limit_by }) => {
            if let Some(by) = limit_by.first() {
                return Err(Mistake::new(by.span(), "LIMIT BY is not supported")
                    .help("write QUALIFY ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) <= n"));
            }
            count = limit.as_ref().map(|l| whole(l, "LIMIT")).transpose()?;
            offset = skip.as_ref().map(|o| whole(&o.value, "OFFSET")).transpose()?.unwrap_or(0);
        }
        Some(ast::LimitClause::OffsetCommaLimit { offset: skip, limit }) => {
            offset = whole(skip, "OFFSET")?;
            count = Some(whole(limit, "LIMIT")?);
        }
    }
    if let Some(fetch) = &query.fetch {
        if fetch.with_ties || fetch.percent || count.is_some() {
            return Err(Mistake::new(fetch.span(), "this form of FETCH is not supported").help("write LIMIT n"));
        }
        count = Some(fetch.quantity.as_ref().map_or(Ok(1), |q| whole(q, "FETCH"))?);
    }
    Ok((offset > 0 || count.is_some()).then_some((offset, count)))
}

/// Directly on the sort, below the projection that drops its helper columns.
fn limited(relation: Relation, offset: u64, limit: Option<u64>) -> Relation {
    let Relation { rel, visible } = relation;
    let rel = match rel {
        Rel::Project { input, exprs, schema } if matches!(*input, Rel::Sort { .. }) => {
            Rel::Project { input: Box::new(Rel::Limit { input, offset, limit }), exprs, schema }
        }
        other => Rel::Limit { input: Box::new(other), offset, limit },
    };
    Relation { rel, visible }
}
