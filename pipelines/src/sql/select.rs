//! The parts of a `SELECT` that cores and tails share: its list, grouping, and what is refused.

use std::{collections::BTreeMap, ops::ControlFlow};

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    aggregate,
    bounds::COLUMNS_MAX,
    coerce::Typed,
    diagnostic::{Mistake, Planned, all},
    expression::Context,
    name::fold,
    reduction::unique,
    scope::{Scope, ScopeColumn, Visibility},
};
use crate::{expr::Expr, registry::Registry};

/// One column of the `SELECT` list, `*` written out.
pub(crate) struct Item<'a> {
    /// Its name in the output.
    pub(crate) name: String,
    /// The name was given or is a column's; else it is made up and gives way.
    named: bool,
    pub(crate) what: What<'a>,
    pub(crate) span: Span,
}

/// What an item stands for.
pub(crate) enum What<'a> {
    Ast(&'a ast::Expr),
    /// From `*`.
    Column(ScopeColumn),
}

impl<'a> Item<'a> {
    /// Plans it where `context` says.
    pub(crate) fn plan(&self, context: &Context<'_>) -> Planned<Typed> {
        let column = match &self.what {
            What::Ast(ast) => return context.plan(ast),
            What::Column(column) => column,
        };
        let Some(reduction) = context.reduction else { return Ok(column.typed(self.span)) };
        match reduction.borrow().key(&column.expr) {
            Some((expr, nullable)) => Ok(Typed { expr, free: false, nullable, span: self.span }),
            None => Err(Mistake::new(self.span, format!("`{}` is neither grouped nor in an aggregate", column.name))
                .label("of `*`")
                .help("with GROUP BY, list the grouped columns and the aggregates instead of `*`")),
        }
    }

    pub(crate) fn ast(&self) -> Option<&'a ast::Expr> {
        match self.what {
            What::Ast(ast) => Some(ast),
            What::Column(_) => None,
        }
    }
}

/// The list of a `SELECT`, each column under a name of its own.
pub(crate) fn items<'a>(select: &'a ast::Select, scope: &Scope) -> Planned<Vec<Item<'a>>> {
    let mut items = Vec::new();
    let mut count = 0;
    let expanded = select.projection.iter().map(|item| {
        let columns = expand(item, scope)?;
        count += columns.len();
        if count > COLUMNS_MAX {
            let span = select.select_token.0.span;
            return Err(Mistake::new(span, format!("the SELECT list has more than {COLUMNS_MAX} columns")));
        }
        Ok(columns)
    });
    for item in all(expanded)? {
        items.extend(item);
    }
    if items.is_empty() {
        return Err(
            Mistake::new(select.select_token.0.span, "the SELECT list is empty").help("write `SELECT *` or columns")
        );
    }
    name_columns(&mut items)?;
    Ok(items)
}

fn expand<'a>(item: &'a ast::SelectItem, scope: &Scope) -> Planned<Vec<Item<'a>>> {
    match item {
        ast::SelectItem::UnnamedExpr(ast) => {
            let (name, named) = natural_name(ast);
            Ok(vec![Item { name, named, what: What::Ast(ast), span: ast.span() }])
        }
        ast::SelectItem::ExprWithAlias { expr, alias } => {
            let span = expr.span().union(&alias.span);
            Ok(vec![Item { name: fold(alias), named: true, what: What::Ast(expr), span }])
        }
        ast::SelectItem::Wildcard(options) => {
            let span = options.wildcard_token.0.span;
            plain_wildcard(options, span)?;
            star(scope, None, span)
        }
        ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
            let span = name.span();
            plain_wildcard(options, span)?;
            star(scope, Some(&super::name::simple(name)?), span)
        }
        other => Err(Mistake::new(other.span(), format!("`{other}` is not supported in a SELECT list"))),
    }
}

fn plain_wildcard(options: &ast::WildcardAdditionalOptions, span: Span) -> Planned<()> {
    let ast::WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    let plain = opt_ilike.is_none()
        && opt_exclude.is_none()
        && opt_except.is_none()
        && opt_replace.is_none()
        && opt_rename.is_none()
        && opt_alias.is_none();
    plain.then_some(()).ok_or_else(|| {
        Mistake::new(span, "`*` takes no EXCEPT, REPLACE or RENAME").help("list the columns that you want")
    })
}

fn star<'a>(scope: &Scope, table: Option<&str>, span: Span) -> Planned<Vec<Item<'a>>> {
    let visible = scope.columns.iter().filter(|c| match table {
        Some(table) => c.table.as_deref() == Some(table) && c.visibility != Visibility::Hidden,
        None => c.visibility == Visibility::Full,
    });
    let items: Vec<Item<'a>> =
        visible.map(|c| Item { name: c.name.clone(), named: true, what: What::Column(c.clone()), span }).collect();
    if items.is_empty() {
        let what = table
            .map_or("there is no FROM to take columns from".to_owned(), |t| format!("there is no table `{t}` in FROM"));
        return Err(Mistake::new(span, what).label("no columns"));
    }
    Ok(items)
}

/// The name of an expression without an alias, and whether it is one that users expect.
pub(crate) fn natural_name(ast: &ast::Expr) -> (String, bool) {
    match ast {
        ast::Expr::Identifier(ident) => (fold(ident), true),
        ast::Expr::CompoundIdentifier(idents) => (idents.last().map(fold).unwrap_or_default(), true),
        ast::Expr::Nested(inner) => natural_name(inner),
        ast::Expr::Cast { expr, .. } => (natural_name(expr).0, false),
        ast::Expr::Extract { field, .. } => (field.to_string().to_lowercase(), false),
        ast::Expr::Case { .. } => ("case".to_owned(), false),
        ast::Expr::Function(call) => (aggregate::name_of(call), false),
        _ => ("column".to_owned(), false),
    }
}

fn name_columns(items: &mut [Item<'_>]) -> Planned<()> {
    let mut taken: BTreeMap<String, Span> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for item in items.iter().filter(|i| i.named) {
        if taken.insert(item.name.clone(), item.span).is_some() {
            mistakes.push(Err(Mistake::new(item.span, format!("there are two columns `{}`", item.name))
                .label("again")
                .help(match item.what {
                    What::Ast(_) => format!("give one of them another name: … AS other_{}", item.name),
                    What::Column(_) => format!("list the columns instead of `*`, or join with USING ({})", item.name),
                })));
        }
    }
    all::<()>(mistakes)?;
    for item in items.iter_mut().filter(|i| !i.named) {
        item.name = unique(&item.name, &|name| taken.contains_key(name));
        taken.insert(item.name.clone(), item.span);
    }
    Ok(())
}

/// One grouping expression.
pub(crate) struct GroupKey {
    pub(crate) typed: Typed,
    pub(crate) name: String,
}

/// `GROUP BY`: by expressions, names of the list, or positions in it.
pub(crate) fn group_keys(
    registry: &Registry,
    scope: &Scope,
    select: &ast::Select,
    items: &[Item<'_>],
) -> Planned<Vec<GroupKey>> {
    let expressions = match &select.group_by {
        ast::GroupByExpr::Expressions(expressions, modifiers) if modifiers.is_empty() => expressions,
        _ => {
            return Err(Mistake::new(
                select.group_by.span(),
                "GROUP BY lists expressions; ALL, ROLLUP and the like are not supported",
            )
            .help("list the columns: GROUP BY card, window_start"));
        }
    };
    let context = Context::rows(registry, scope, "GROUP BY");
    let mut keys: Vec<GroupKey> = Vec::new();
    for key in all(expressions.iter().map(|ast| group_key(&context, ast, items)))? {
        if !keys.iter().any(|k| k.typed.expr == key.typed.expr) {
            keys.push(key);
        }
    }
    Ok(keys)
}

fn group_key(context: &Context<'_>, ast: &ast::Expr, items: &[Item<'_>]) -> Planned<GroupKey> {
    let of_item = |item: &Item<'_>| {
        let typed = item.plan(context)?;
        Ok(GroupKey { typed: Typed { span: ast.span(), ..typed }, name: item.name.clone() })
    };
    match ast {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(text, _), span }) => {
            let item = text.parse::<usize>().ok().and_then(|n| items.get(n.checked_sub(1)?));
            of_item(item.ok_or_else(|| {
                Mistake::new(*span, format!("the SELECT list has no column {text}"))
                    .help(format!("positions go from 1 to {}", items.len()))
            })?)
        }
        ast::Expr::Identifier(ident) if !context.scope.has(ident) => {
            match items.iter().find(|item| item.name == fold(ident)) {
                Some(item) => of_item(item),
                None => Ok(GroupKey { typed: context.plan(ast)?, name: fold(ident) }),
            }
        }
        ast::Expr::GroupingSets(_) | ast::Expr::Cube(_) | ast::Expr::Rollup(_) | ast::Expr::Tuple(_) => {
            Err(Mistake::new(ast.span(), "grouping sets are not supported")
                .help("list columns; for several groupings write several views"))
        }
        _ => Ok(GroupKey { typed: context.plan(ast)?, name: natural_name(ast).0 }),
    }
}

/// Whether an aggregate is called (not with `OVER`).
pub(crate) fn has_aggregate(ast: &ast::Expr) -> bool {
    ast::visit_expressions(ast, |expr: &ast::Expr| match expr {
        ast::Expr::Function(call) if call.over.is_none() && aggregate::is_aggregate(call) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// Whether the `SELECT` reduces its rows.
pub(crate) fn is_reduction(select: &ast::Select, items: &[Item<'_>], order: &[ast::OrderByExpr]) -> bool {
    let grouped = !matches!(&select.group_by, ast::GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
    grouped
        || select.having.is_some()
        || items.iter().filter_map(Item::ast).chain(&select.qualify).any(has_aggregate)
        || order.iter().any(|item| has_aggregate(&item.expr))
}

/// The conditions that `AND` joins.
pub(crate) fn conjuncts(ast: &ast::Expr) -> Vec<&ast::Expr> {
    match ast {
        ast::Expr::Nested(inner) => conjuncts(inner),
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        other => vec![other],
    }
}

/// Conditions joined by `AND`.
pub(crate) fn conjunction(conditions: impl IntoIterator<Item = Expr>) -> Option<Expr> {
    conditions.into_iter().reduce(|left, right| Expr::Call {
        function: crate::expr::Function::And,
        args: vec![left, right],
        data_type: crate::types::DataType::Boolean,
    })
}

/// Refuses clauses of other dialects.
pub(crate) fn plain(select: &ast::Select) -> Planned<()> {
    let span = select.select_token.0.span;
    let found = [
        (select.top.is_some(), "TOP", "write LIMIT"),
        (select.into.is_some(), "INTO", "write CREATE VIEW name AS SELECT …"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW", "arrays are not taken apart"),
        (select.prewhere.is_some(), "PREWHERE", "write WHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY", "write joins"),
        (
            !select.cluster_by.is_empty() || !select.distribute_by.is_empty() || !select.sort_by.is_empty(),
            "SORT BY",
            "write ORDER BY",
        ),
        (select.value_table_mode.is_some() || select.exclude.is_some(), "this form of SELECT", "list the columns"),
        (select.flavor != ast::SelectFlavor::Standard, "FROM before SELECT", "write SELECT … FROM …"),
    ];
    match found.into_iter().find(|(is, ..)| *is) {
        Some((_, what, help)) => Err(Mistake::new(span, format!("{what} is not supported")).help(help)),
        None => Ok(()),
    }
}
