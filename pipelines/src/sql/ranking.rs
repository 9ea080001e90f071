//! Ranking window functions: `ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)`.

use sqlparser::{ast, tokenizer::Span};

use super::{
    coerce::Typed,
    diagnostic::{Mistake, Planned, all},
    expression::Context,
    function::{constant_whole, plain_arguments},
    name::fold,
};
use crate::{
    expr::Expr,
    tail::{RankFunction, SortKey, WindowFunction},
    types::{DataType, Field},
};

const NAMES: &[&str] = &["dense_rank", "lag", "lead", "ntile", "rank", "row_number"];

/// The window functions of one `SELECT`, collected while expressions are planned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranking {
    /// Number of columns of the input: the functions' columns follow.
    pub(crate) width: usize,
    /// The functions so far.
    pub(crate) functions: Vec<WindowFunction>,
    /// Their output columns.
    pub(crate) fields: Vec<Field>,
    /// `WINDOW name AS (…)`.
    pub(crate) named: Vec<(String, ast::WindowSpec)>,
}

/// Whether the name is that of a ranking function.
pub(crate) fn is_ranking(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Plans a call with `OVER`.
pub(crate) fn plan(context: &Context<'_>, call: &ast::Function, name: &str, span: Span) -> Planned<Typed> {
    let Some(ranking) = context.ranking else {
        let place = context.clause;
        return Err(Mistake::new(span, format!("window functions cannot stand in {place}")).label("OVER").help(
            match place {
                "a materialized view" => "rank in a CREATE VIEW over the materialized view",
                "WHERE" | "HAVING" | "GROUP BY" => "filter on ranks with QUALIFY, or in a query around this one",
                _ => "window functions stand in SELECT, QUALIFY and ORDER BY",
            },
        ));
    };
    if !is_ranking(name) {
        let listed = NAMES.join(", ").to_uppercase();
        return Err(Mistake::new(span, format!("{} cannot be used with OVER", name.to_uppercase()))
            .label("not a ranking function")
            .help(format!("there are {listed}; for aggregates write GROUP BY and join the views")));
    }
    // Arguments and keys stand below the window functions.
    let inner = Context { ranking: None, clause: "a window function", aliases: &[], ..*context };
    let spec = match &call.over {
        Some(ast::WindowType::WindowSpec(spec)) => spec.clone(),
        Some(ast::WindowType::NamedWindow(ident)) => named(&ranking.borrow(), ident)?,
        None => return Err(Mistake::new(span, "OVER is missing")),
    };
    if spec.window_frame.is_some() {
        return Err(
            Mistake::new(span, "frames (ROWS or RANGE BETWEEN …) are not supported").help("leave the frame out")
        );
    }
    if let Some(base) = &spec.window_name {
        return Err(
            Mistake::new(base.span, "windows cannot be built on others").help("write PARTITION BY and ORDER BY here")
        );
    }
    let args = plain_arguments(call, span)?;
    let (function, data_type) = function(&inner, name, &args, span)?;
    let partition_by = all(spec.partition_by.iter().map(|e| Ok(inner.plan(e)?.expr)))?;
    let order_by = all(spec.order_by.iter().map(|item| {
        let expr = inner.plan(&item.expr)?.expr;
        Ok(sort_key(expr, &item.options))
    }))?;
    let function = WindowFunction { function, partition_by, order_by };
    let mut ranking = ranking.borrow_mut();
    let at = match ranking.functions.iter().position(|f| *f == function) {
        Some(at) => at,
        None => {
            ranking.functions.push(function);
            ranking.fields.push(Field { name: name.to_owned(), data_type, nullable: matches!(name, "lag" | "lead") });
            ranking.functions.len() - 1
        }
    };
    Ok(Typed::new(Expr::Column { index: ranking.width + at, data_type }, span))
}

fn named(ranking: &Ranking, ident: &ast::Ident) -> Planned<ast::WindowSpec> {
    let name = fold(ident);
    ranking.named.iter().find(|(known, _)| *known == name).map(|(_, spec)| spec.clone()).ok_or_else(|| {
        let known = ranking.named.iter().map(|(n, _)| n.as_str());
        Mistake::new(ident.span, format!("there is no window `{name}`"))
            .maybe_help(super::name::did_you_mean(&name, known))
            .maybe_help(ranking.named.is_empty().then(|| "write OVER (PARTITION BY … ORDER BY …)".to_owned()))
    })
}

fn function(inner: &Context<'_>, name: &str, args: &[&ast::Expr], span: Span) -> Planned<(RankFunction, DataType)> {
    let arity = |least: usize, most: usize, usage: &str| {
        if (least..=most).contains(&args.len()) {
            return Ok(());
        }
        Err(Mistake::new(span, format!("{} is called with {} arguments", name.to_uppercase(), args.len()))
            .help(format!("write {usage}")))
    };
    Ok(match name {
        "ntile" => {
            arity(1, 1, "NTILE(4) OVER (…)")?;
            let buckets = constant_whole(args[0], "the number of buckets", u64::MAX)?;
            if buckets == 0 {
                return Err(Mistake::new(span, "NTILE needs at least one bucket"));
            }
            (RankFunction::NTile(buckets), DataType::BigInt)
        }
        "lag" | "lead" => {
            arity(1, 2, "LAG(x[, rows]) OVER (…); for another value than NULL write COALESCE(LAG(x) OVER (…), value)")?;
            let value = inner.plan(args[0])?.expr;
            let by = match args.get(1) {
                Some(by) => constant_whole(by, "the number of rows", u64::MAX)?,
                None => 1,
            };
            let data_type = value.data_type();
            let function =
                if name == "lag" { RankFunction::Lag { value, by } } else { RankFunction::Lead { value, by } };
            (function, data_type)
        }
        _ => {
            arity(0, 0, &format!("{}() OVER (…)", name.to_uppercase()))?;
            let function = match name {
                "rank" => RankFunction::Rank,
                "dense_rank" => RankFunction::DenseRank,
                _ => RankFunction::RowNumber,
            };
            (function, DataType::BigInt)
        }
    })
}

/// One `ORDER BY` item. NULLs are last when ascending, first when descending, as in PostgreSQL.
pub(crate) fn sort_key(expr: Expr, options: &ast::OrderByOptions) -> SortKey {
    let descending = matches!(options.sort, Some(ast::OrderBySort::Desc));
    SortKey { expr, descending, nulls_first: options.nulls_first.unwrap_or(descending) }
}
