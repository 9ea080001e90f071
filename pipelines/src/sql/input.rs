//! What a materialized view reads: one table, perhaps in windows; and what around its `SELECT` is refused.

use std::sync::Arc;

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    core::Definitions,
    diagnostic::{Mistake, Planned},
    expression::Context,
    name::{did_you_mean, fold, simple},
    scope::Scope,
    select, window,
};
use crate::{core::Window, expr::Expr, source::Source, types::DataType};

fn later(name: &str, clause: &str) -> String {
    format!("leave it out here and put it on top: CREATE VIEW top_{name} AS SELECT * FROM {name} {clause}")
}

/// The one `SELECT` of the query; everything around it belongs into a view on top.
pub(crate) fn reduction_only<'a>(query: &'a ast::Query, name: &str) -> Planned<&'a ast::Select> {
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

/// A table under the name that expressions use.
pub(crate) type NamedSource = (String, Arc<Source>);

/// The one table, perhaps within a window function.
pub(crate) fn input(definitions: &Definitions<'_>, select: &ast::Select) -> Planned<(NamedSource, Option<Window>)> {
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
fn table_alias(alias: Option<&ast::TableAlias>) -> Planned<Option<String>> {
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
