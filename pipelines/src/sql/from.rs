//! `FROM` of a tail: views, `WITH` tables, subqueries and joins.

use std::sync::Arc;

use sqlparser::{
    ast::{self, JoinConstraint, JoinOperator, Spanned},
    tokenizer::Span,
};

use super::{
    coerce::{cast_to, common_type},
    diagnostic::{Mistake, Planned, all},
    expression::Context,
    name::{fold, simple},
    query::Planner,
    reduction::with_unique_names,
    relation::{Relation, check_size},
    scope::{Scope, ScopeColumn, Visibility},
    select::{conjunction, conjuncts},
    window,
};
use crate::{
    expr::{Expr, Function},
    tail::{JoinKind, Rel},
    types::Schema,
};

impl Planner<'_> {
    /// The rows of `FROM`, and their names. Its parts are joined from left to right.
    pub(crate) fn from(&self, from: &[ast::TableWithJoins]) -> Planned<(Relation, Scope)> {
        let mut joined: Option<(Relation, Scope)> = None;
        for table in from {
            let side = self.table_with_joins(table)?;
            joined = Some(match joined {
                None => side,
                Some(left) => self.join(left, side, JoinKind::Inner, &JoinConstraint::None, table.relation.span())?,
            });
        }
        Ok(joined.unwrap_or_else(|| (Relation::one_row(), Scope::default())))
    }

    fn table_with_joins(&self, table: &ast::TableWithJoins) -> Planned<(Relation, Scope)> {
        let mut left = self.factor(&table.relation)?;
        for join in &table.joins {
            let right = self.factor(&join.relation)?;
            let span = join.relation.span();
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
                JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
                JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
                JoinOperator::FullOuter(c) => (JoinKind::Full, c),
                JoinOperator::CrossJoin(c) => (JoinKind::Inner, c),
                _ => {
                    return Err(Mistake::new(span, "this kind of join is not supported")
                        .help("there are INNER, LEFT, RIGHT, FULL and CROSS JOIN"));
                }
            };
            let is_cross = matches!(join.join_operator, JoinOperator::CrossJoin(_));
            if matches!(constraint, JoinConstraint::None) && !is_cross {
                return Err(Mistake::new(span, "a join needs a condition")
                    .label("joined with what?")
                    .help("write JOIN … USING (card) or JOIN … ON a.card = b.card; for all pairs write CROSS JOIN"));
            }
            left = self.join(left, right, kind, constraint, span)?;
        }
        Ok(left)
    }

    fn factor(&self, factor: &ast::TableFactor) -> Planned<(Relation, Scope)> {
        let (relation, name, alias) = match factor {
            ast::TableFactor::Table { name, alias, args: None, .. } => {
                let table = simple(name)?;
                let relation = match self.ctes.iter().rev().find(|(cte, _)| *cte == table) {
                    Some((_, relation)) => Relation::clone(relation),
                    None => {
                        let ctes: Vec<&str> = self.ctes.iter().map(|(name, _)| name.as_str()).collect();
                        self.views.read(&table, name.span(), &ctes)?
                    }
                };
                (relation, Some(table), alias)
            }
            ast::TableFactor::Table { name, .. } | ast::TableFactor::Function { name, .. } => {
                return Err(function_in_from(&simple(name)?, name.span()));
            }
            ast::TableFactor::TableFunction { expr, .. } => return Err(function_in_from("table", expr.span())),
            ast::TableFactor::Derived { lateral: false, subquery, alias, .. } => (self.query(subquery)?, None, alias),
            ast::TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.table_with_joins(table_with_joins);
            }
            other => {
                return Err(Mistake::new(other.span(), "this is not supported in FROM")
                    .help("FROM takes views, subqueries and joins of them"));
            }
        };
        check_size(&relation.rel, factor.span())?;
        let names: Vec<&ast::Ident> = alias.iter().flat_map(|a| a.columns.iter().map(|c| &c.name)).collect();
        let relation = relation.renamed(&names)?;
        let table = alias.as_ref().map(|a| fold(&a.name)).or(name);
        let scope = relation.scope(table.as_deref());
        Ok((relation, scope))
    }

    fn join(
        &self,
        (left, left_scope): (Relation, Scope),
        (right, right_scope): (Relation, Scope),
        kind: JoinKind,
        constraint: &JoinConstraint,
        span: Span,
    ) -> Planned<(Relation, Scope)> {
        let width = left.rel.schema().fields.len();
        let (left_nulls, right_nulls) =
            (matches!(kind, JoinKind::Right | JoinKind::Full), matches!(kind, JoinKind::Left | JoinKind::Full));
        unique_tables(&left_scope, &right_scope, span)?;
        let mut scope = left_scope;
        scope.columns.iter_mut().for_each(|c| c.nullable |= left_nulls);
        scope.columns.extend(right_scope.columns.into_iter().map(|c| ScopeColumn {
            expr: shifted(&c.expr, width),
            nullable: c.nullable || right_nulls,
            ..c
        }));
        let (mut left, mut right) = (left.rel, right.rel);
        let mut on = Vec::new();
        let mut residual = Vec::new();
        match constraint {
            JoinConstraint::None => {}
            JoinConstraint::Natural => {
                return Err(
                    Mistake::new(span, "NATURAL JOIN is not supported").help("name the columns: JOIN … USING (card)")
                );
            }
            JoinConstraint::Using(columns) => {
                for name in columns {
                    on.push(using(&mut scope, &simple(name)?, name.span(), width, kind)?);
                }
            }
            JoinConstraint::On(condition) => {
                let context = Context::rows(self.views.registry, &scope, "ON");
                let conditions = all(conjuncts(condition).into_iter().map(|ast| Ok((ast, context.condition(ast)?))))?;
                for (ast, condition) in conditions {
                    match (sides(&condition, width), equality(&condition, width)) {
                        (_, Some(pair)) => on.push(pair),
                        ((_, false), None) if kind == JoinKind::Right => left = filtered(left, condition),
                        ((false, _), None) if kind == JoinKind::Left => {
                            right = filtered(right, unshifted(&condition, width));
                        }
                        _ if kind == JoinKind::Inner => residual.push(condition),
                        _ => {
                            return Err(Mistake::new(ast.span(), "an outer join takes equalities of its two sides")
                                .label("not an equality of both sides")
                                .help(
                                    "write this condition in WHERE, or in a subquery around the side that it is about",
                                ));
                        }
                    }
                }
                if on.is_empty() && kind != JoinKind::Inner {
                    return Err(Mistake::new(condition.span(), "an outer join needs an equality of its two sides")
                        .help("write ON a.card = b.card"));
                }
            }
        }
        let mut fields = left.schema().fields.clone();
        fields.iter_mut().for_each(|f| f.nullable |= left_nulls);
        fields.extend(right.schema().fields.iter().cloned().map(|mut f| {
            f.nullable |= right_nulls;
            f
        }));
        let schema = Arc::new(with_unique_names(Schema { fields }));
        let (left, right) = (Box::new(left), Box::new(right));
        let rel = Rel::Join { left, right, kind, on, residual: conjunction(residual), schema };
        Ok((Relation::new(rel), scope))
    }
}

fn function_in_from(name: &str, span: Span) -> Box<Mistake> {
    if window::is_window(name) || name == "table" {
        return Mistake::new(span, "windows are over a table's records, in a materialized view")
            .label("a window")
            .help("write CREATE MATERIALIZED VIEW … FROM TUMBLE(…); here group by DATE_TRUNC('hour', window_start)");
    }
    Mistake::new(span, format!("there is no table function `{name}`"))
        .help("FROM takes views, subqueries and joins of them")
}

fn unique_tables(left: &Scope, right: &Scope, span: Span) -> Planned<()> {
    let twice = right
        .columns
        .iter()
        .filter_map(|c| c.table.as_ref())
        .find(|t| left.columns.iter().any(|c| c.table.as_ref() == Some(t)));
    match twice {
        None => Ok(()),
        Some(table) => Err(Mistake::new(span, format!("`{table}` is in FROM twice"))
            .label("again")
            .help(format!("give one of them another name: {table} AS other"))),
    }
}

/// `USING (name)`: one column for both, which a plain name and `*` mean.
fn using(scope: &mut Scope, name: &str, span: Span, width: usize, kind: JoinKind) -> Planned<(Expr, Expr)> {
    let is_left = |c: &ScopeColumn| sides(&c.expr, width) == (true, false);
    let find = |left: bool| {
        let found: Vec<usize> = scope
            .columns
            .iter()
            .enumerate()
            .filter(|(_, c)| c.name == name && c.visibility != Visibility::Qualified && is_left(c) == left)
            .map(|(i, _)| i)
            .collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(Mistake::new(span, format!("USING needs `{name}` on both sides"))
                .label(if left { "not on the left side" } else { "not on the right side" })
                .help("write ON a.x = b.y where the names differ")),
            _ => Err(Mistake::new(span, format!("`{name}` is ambiguous"))
                .help(format!("write ON with the tables' names: a.{name} = b.{name}"))),
        }
    };
    let (left, right) = (find(true)?, find(false)?);
    let (l, r) = (scope.columns[left].clone(), scope.columns[right].clone());
    let (a, b) = (l.expr.data_type(), r.expr.data_type());
    let Some(to) = common_type(a, b) else {
        return Err(Mistake::new(span, format!("`{name}` is {a} on the left side and {b} on the right side"))
            .label("cannot be compared"));
    };
    let (from_left, from_right) = (cast_to(l.expr.clone(), to), cast_to(r.expr.clone(), to));
    let merged = match kind {
        JoinKind::Inner | JoinKind::Left => from_left.clone(),
        JoinKind::Right => from_right.clone(),
        JoinKind::Full => {
            let args = vec![from_left.clone(), from_right.clone()];
            Expr::Call { function: Function::Coalesce, args, data_type: to }
        }
    };
    let nullable = match kind {
        JoinKind::Right => r.nullable,
        _ => l.nullable,
    };
    scope.columns[left].visibility = Visibility::Qualified;
    scope.columns[right].visibility = Visibility::Qualified;
    let column =
        ScopeColumn { table: None, name: name.to_owned(), expr: merged, nullable, visibility: Visibility::Full };
    // It stands first, as the standard says, after those merged before.
    let at = scope.columns.iter().take_while(|c| c.table.is_none() && c.visibility == Visibility::Full).count();
    scope.columns.insert(at, column);
    Ok((from_left, unshifted(&from_right, width)))
}

/// Whether an expression uses columns of the left and of the right side.
fn sides(expr: &Expr, width: usize) -> (bool, bool) {
    let (mut left, mut right) = (false, false);
    expr.walk(&mut |e| {
        if let Expr::Column { index, .. } = e {
            left |= *index < width;
            right |= *index >= width;
        }
    });
    (left, right)
}

/// `left = right`, either way around.
fn equality(condition: &Expr, width: usize) -> Option<(Expr, Expr)> {
    let Expr::Call { function: Function::Equal, args, .. } = condition else { return None };
    let [a, b] = args.as_slice() else { return None };
    match (sides(a, width), sides(b, width)) {
        ((true, false), (false, true)) => Some((a.clone(), unshifted(b, width))),
        ((false, true), (true, false)) => Some((b.clone(), unshifted(a, width))),
        _ => None,
    }
}

fn filtered(input: Rel, predicate: Expr) -> Rel {
    Rel::Filter { input: Box::new(input), predicate }
}

fn shifted(expr: &Expr, by: usize) -> Expr {
    mapped(expr, &|index| index + by)
}

fn unshifted(expr: &Expr, by: usize) -> Expr {
    mapped(expr, &|index| index.saturating_sub(by))
}

/// The same over other columns.
fn mapped(expr: &Expr, to: &dyn Fn(usize) -> usize) -> Expr {
    let each = |args: &[Expr]| args.iter().map(|a| mapped(a, to)).collect::<Vec<_>>();
    match expr {
        Expr::Column { index, data_type } => Expr::Column { index: to(*index), data_type: *data_type },
        Expr::Literal { .. } => expr.clone(),
        Expr::Call { function, args, data_type } => {
            Expr::Call { function: function.clone(), args: each(args), data_type: *data_type }
        }
        Expr::Case { branches, otherwise, data_type } => Expr::Case {
            branches: branches.iter().map(|(c, v)| (mapped(c, to), mapped(v, to))).collect(),
            otherwise: otherwise.as_ref().map(|o| Box::new(mapped(o, to))),
            data_type: *data_type,
        },
        Expr::Cast { input, to: data_type, safe } => {
            Expr::Cast { input: Box::new(mapped(input, to)), to: *data_type, safe: *safe }
        }
        Expr::User { name, version, args, data_type } => {
            Expr::User { name: name.clone(), version: *version, args: each(args), data_type: *data_type }
        }
    }
}
