//! All definitions of a project: in any order, in any number of texts.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use sqlparser::{
    ast::{self, Spanned, Statement, Visit, Visitor},
    tokenizer::Span,
};

use super::{
    SqlFile,
    bounds::{DEFINITIONS_MAX, PARTITIONS_MAX, check_view_name, folded},
    core, ddl,
    diagnostic::{Mistake, Planned, Text},
    fingerprint,
    name::{fold, simple},
    option::given,
    parse::{Parsed, parse},
    query,
    relation::Views,
};
use crate::{
    catalog::{Catalog, View},
    error::Diagnostic,
    registry::Registry,
    tail::Rel,
};

/// One definition and its place.
struct Definition<'a> {
    name: String,
    statement: &'a Statement,
    span: Span,
    file: usize,
}

/// Syntax trees are walked by recursion: work on them runs with at least this much stack, whatever thread calls.
const STACK: usize = 16 << 20;

/// Plans all texts.
pub(crate) fn plan(files: &[SqlFile], registry: &Registry) -> Result<Catalog, Vec<Diagnostic>> {
    stacker::maybe_grow(STACK, 4 * STACK, || plan_all(files, registry))
}

fn plan_all(files: &[SqlFile], registry: &Registry) -> Result<Catalog, Vec<Diagnostic>> {
    let texts: Vec<Text<'_>> = files.iter().map(|f| Text::new(&f.name, &f.text)).collect();
    let parsed: Vec<(usize, Planned<Parsed>)> =
        files.iter().enumerate().flat_map(|(i, f)| parse(&f.text).into_iter().map(move |p| (i, p))).collect();
    let mut planning = Planning::new(registry, &texts);
    let mut definitions = Vec::new();
    // By what file systems and readers can tell apart.
    let mut names: BTreeMap<String, (&str, String)> = BTreeMap::new();
    if let Some((file, _)) = parsed.get(DEFINITIONS_MAX) {
        let message = format!("there are {} statements; {DEFINITIONS_MAX} are possible", parsed.len());
        planning.report(*Mistake::new(Span::empty(), message), *file, Span::empty());
        return planning.finish();
    }
    for (file, parsed) in &parsed {
        let Parsed { statement, span } = match parsed {
            Ok(parsed) => parsed,
            Err(mistake) => {
                planning.report(Mistake::clone(mistake), *file, Span::empty());
                continue;
            }
        };
        match name_of(statement, *span) {
            Err(mistake) => planning.report(*mistake, *file, *span),
            Ok((name, name_span)) => match names.get(&folded(&name)) {
                Some((other, first)) if *first == name => {
                    let mistake = Mistake::new(name_span, format!("`{name}` is defined twice")).label("again");
                    let place = format!("the first definition is in {other}; tables and views share one namespace");
                    planning.report(*mistake.help(place), *file, *span);
                }
                Some((other, first)) => {
                    let message =
                        format!("`{name}` and `{first}` differ only in case or in how characters are written");
                    let place = format!("the other one is in {other}; not every file system tells the two apart");
                    planning.report(
                        *Mistake::new(name_span, message).label("nearly the same").help(place),
                        *file,
                        *span,
                    );
                }
                None => {
                    names.insert(folded(&name), (texts[*file].name, name.clone()));
                    definitions.push(Definition { name, statement, span: *span, file: *file });
                }
            },
        }
    }
    planning.run(&definitions);
    planning.finish()
}

/// The name that a statement defines; refuses statements that define nothing here.
fn name_of(statement: &Statement, span: Span) -> Planned<(String, Span)> {
    match statement {
        Statement::CreateTable(create) => Ok((simple(&create.name)?, create.name.span())),
        Statement::CreateView(create) => {
            let name = simple(&create.name)?;
            check_view_name(&name, create.name.span())?;
            Ok((name, create.name.span()))
        }
        other => {
            let text = other.to_string();
            let verb: String = text.split_whitespace().take(1).collect();
            let help = match other {
                Statement::Query(_) => {
                    "this text defines; ask with the query command, or write CREATE VIEW name AS SELECT …"
                }
                Statement::Insert(_) => "records are appended to the log, not inserted with SQL",
                Statement::Update(_) | Statement::Delete(_) => {
                    "records are events: append a new one that says what changed"
                }
                Statement::Drop { .. } => "to drop a definition, delete its text",
                Statement::AlterTable { .. } | Statement::AlterView { .. } => {
                    "change the definition's text: the view is then built anew"
                }
                _ => "there are CREATE TABLE, CREATE MATERIALIZED VIEW and CREATE VIEW",
            };
            Err(Mistake::new(span, format!("{verb} does not define anything")).label("not a definition").help(help))
        }
    }
}

struct Planning<'a> {
    registry: &'a Registry,
    texts: &'a [Text<'a>],
    catalog: Catalog,
    /// Definitions with mistakes: those that read them are left out without further words.
    failed: BTreeSet<String>,
    diagnostics: Vec<(usize, Diagnostic)>,
}

impl<'a> Planning<'a> {
    fn new(registry: &'a Registry, texts: &'a [Text<'a>]) -> Planning<'a> {
        Planning { registry, texts, catalog: Catalog::default(), failed: BTreeSet::new(), diagnostics: Vec::new() }
    }

    fn report(&mut self, mistake: Mistake, file: usize, statement: Span) {
        self.diagnostics.extend(mistake.diagnostics(&self.texts[file], statement).into_iter().map(|d| (file, d)));
    }

    fn fail(&mut self, definition: &Definition<'_>, mistake: Mistake) {
        self.failed.insert(definition.name.clone());
        self.report(mistake, definition.file, definition.span);
    }

    fn run(&mut self, definitions: &[Definition<'_>]) {
        let mut partitions = 0;
        for definition in definitions {
            if let Statement::CreateTable(create) = definition.statement {
                match ddl::source(create) {
                    Ok(source) if partitions + u64::from(source.partitions) > PARTITIONS_MAX => {
                        let message = format!("the tables have more than {PARTITIONS_MAX} partitions in all");
                        self.fail(definition, *Mistake::new(create.name.span(), message).label("too many"));
                    }
                    Ok(source) => {
                        partitions += u64::from(source.partitions);
                        self.catalog.sources.insert(source.name.clone(), Arc::new(source));
                    }
                    Err(mistake) => self.fail(definition, *mistake),
                }
            }
        }
        let view_names: BTreeSet<String> = definitions
            .iter()
            .filter(|d| matches!(d.statement, Statement::CreateView(_)))
            .map(|d| d.name.clone())
            .collect();
        let mut derived = Vec::new();
        for definition in definitions {
            let Statement::CreateView(create) = definition.statement else { continue };
            let reads = names_read(&definition.name, &create.query);
            if !create.materialized {
                derived.push((definition, create, reads));
                continue;
            }
            if reads.keys().any(|name| self.failed.contains(name)) {
                self.failed.insert(definition.name.clone());
                continue;
            }
            match self.materialized(definition, create, &view_names) {
                Ok(view) => self.add(view),
                Err(mistake) => self.fail(definition, *mistake),
            }
        }
        self.derived(derived);
    }

    /// Derived views, each after those that it reads.
    fn derived(&mut self, mut waiting: Vec<(&Definition<'_>, &ast::CreateView, BTreeMap<String, Span>)>) {
        while !waiting.is_empty() {
            let names: BTreeSet<String> = waiting.iter().map(|(d, ..)| d.name.clone()).collect();
            let (ready, blocked): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, _, reads)| !reads.keys().any(|r| names.contains(r)));
            if ready.is_empty() {
                // Only views on a cycle, and those that read them, are left.
                for (definition, _, reads) in &blocked {
                    if let Some(path) = cycle(&definition.name, &blocked) {
                        let span =
                            reads.iter().find(|(name, _)| path.contains(name)).map_or(definition.span, |(_, s)| *s);
                        let mistake = Mistake::new(span, format!("the view `{}` reads itself", definition.name))
                            .label("a cycle")
                            .help(format!("the cycle: {}", path.join(" → ")));
                        self.fail(definition, *mistake);
                    }
                }
                return;
            }
            for (definition, create, reads) in ready {
                if reads.keys().any(|name| self.failed.contains(name)) {
                    self.failed.insert(definition.name.clone());
                    continue;
                }
                match self.derive(definition, create) {
                    Ok(view) => self.add(view),
                    Err(mistake) => self.fail(definition, *mistake),
                }
            }
            waiting = blocked;
        }
    }

    fn add(&mut self, view: View) {
        self.catalog.views.insert(view.name.clone(), Arc::new(view));
    }

    fn materialized(
        &self,
        definition: &Definition<'_>,
        create: &ast::CreateView,
        views: &BTreeSet<String>,
    ) -> Planned<View> {
        plain_view(create)?;
        let options = given(&create.options, &["buckets"], "a materialized view")?;
        let buckets = match options.first() {
            Some(option) => Some((option.whole(1, 4096)?, option.name_span)),
            None => None,
        };
        let query = with_column_names(create)?;
        let definitions = core::Definitions { registry: self.registry, sources: &self.catalog.sources, views };
        let planned = core::plan(&definitions, &definition.name, &query, buckets)?;
        let fingerprint = fingerprint::of(&planned.core)
            .map_err(|e| Mistake::new(definition.span, format!("the plan cannot be written down: {e}")))?;
        Ok(View {
            name: definition.name.clone(),
            core: Some(planned.core),
            fingerprint,
            tail: planned.tail,
            schema: planned.schema,
            sql: definition.statement.to_string(),
        })
    }

    fn derive(&self, definition: &Definition<'_>, create: &ast::CreateView) -> Planned<View> {
        plain_view(create)?;
        given(&create.options, &[], "a derived view")?;
        let views = Views { registry: self.registry, sources: &self.catalog.sources, views: &self.catalog.views };
        let names: Vec<&ast::Ident> = create.columns.iter().map(|c| &c.name).collect();
        let tail: Rel = query::plan(views, &create.query, definition.span)?.renamed(&names)?.rel;
        let schema = tail.schema().clone();
        let (name, sql) = (definition.name.clone(), definition.statement.to_string());
        Ok(View { name, core: None, fingerprint: String::new(), tail, schema, sql })
    }

    fn finish(mut self) -> Result<Catalog, Vec<Diagnostic>> {
        if self.diagnostics.is_empty() {
            return Ok(self.catalog);
        }
        self.diagnostics.sort_by_key(|(file, d)| (*file, d.span.start, d.span.end));
        Err(self.diagnostics.into_iter().map(|(_, d)| d).collect())
    }
}

/// The views and tables that a query names, with the place of each.
#[derive(Default)]
struct NamesRead {
    names: BTreeMap<String, Span>,
    ctes: BTreeSet<String>,
}

impl Visitor for NamesRead {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ast::ObjectName) -> ControlFlow<()> {
        if let Ok(simple) = simple(name) {
            self.names.entry(simple).or_insert(name.span());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        self.ctes.extend(query.with.iter().flat_map(|w| &w.cte_tables).map(|cte| fold(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    // A window's table stands among its arguments.
    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<()> {
        let args = match factor {
            ast::TableFactor::Table { args: Some(args), .. } => args.args.as_slice(),
            ast::TableFactor::TableFunction { expr: ast::Expr::Function(call), .. } => match &call.args {
                ast::FunctionArguments::List(list) => list.args.as_slice(),
                _ => &[],
            },
            _ => &[],
        };
        if let Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Identifier(table)))) = args.first()
        {
            self.names.entry(fold(table)).or_insert(table.span);
        }
        ControlFlow::Continue(())
    }
}

fn names_read(definition: &str, query: &ast::Query) -> BTreeMap<String, Span> {
    let mut read = NamesRead::default();
    let _ = query.visit(&mut read);
    if read.ctes.contains(definition) {
        // The name means the `WITH` table.
        read.names.remove(definition);
    }
    read.names
}

/// A way from a view back to itself.
fn cycle(start: &str, among: &[(&Definition<'_>, &ast::CreateView, BTreeMap<String, Span>)]) -> Option<Vec<String>> {
    let mut paths = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop() {
        let (_, _, reads) = among.iter().find(|(d, ..)| Some(&d.name) == path.last())?;
        for name in reads.keys().filter(|name| among.iter().any(|(d, ..)| d.name == **name)) {
            let mut next = path.clone();
            next.push(name.clone());
            if name == start {
                return Some(next);
            }
            if seen.insert(name.clone()) {
                paths.push(next);
            }
        }
    }
    None
}

fn plain_view(create: &ast::CreateView) -> Planned<()> {
    let span = create.name.span();
    if create.or_replace || create.or_alter || create.if_not_exists {
        return Err(Mistake::new(span, "OR REPLACE and IF NOT EXISTS are not needed")
            .help("leave them out: the definitions say what there is, and a changed one replaces the old one"));
    }
    if create.temporary || create.secure || create.to.is_some() || !create.cluster_by.is_empty() {
        return Err(Mistake::new(span, "this form of CREATE VIEW is not supported")
            .help("write CREATE [MATERIALIZED] VIEW name AS SELECT …"));
    }
    Ok(())
}

/// `CREATE VIEW name (a, b) AS SELECT x, y` is `… AS SELECT x AS a, y AS b`.
fn with_column_names(create: &ast::CreateView) -> Planned<ast::Query> {
    let mut query = ast::Query::clone(&create.query);
    let Some(last) = create.columns.last() else { return Ok(query) };
    let ast::SetExpr::Select(list) = &mut *query.body else {
        return Err(Mistake::new(last.name.span, "column names before AS go with a SELECT")
            .help("name the columns in the first SELECT: x AS a"));
    };
    let has_star = list
        .projection
        .iter()
        .any(|item| !matches!(item, ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. }));
    if has_star || list.projection.len() != create.columns.len() {
        return Err(Mistake::new(
            last.name.span,
            format!("{} names are given for another number of columns", create.columns.len()),
        )
        .help("give a name for each item of the SELECT list, which has no `*` then"));
    }
    for (item, column) in list.projection.iter_mut().zip(&create.columns) {
        if let ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } = item {
            *item = ast::SelectItem::ExprWithAlias { expr: expr.clone(), alias: column.name.clone() };
        }
    }
    Ok(query)
}

/// Plans one query over the views of a catalog.
pub(crate) fn plan_query(
    catalog: &Catalog,
    sql: &str,
    registry: &Registry,
) -> Result<crate::catalog::Query, Diagnostic> {
    stacker::maybe_grow(STACK, 4 * STACK, || plan_one(catalog, sql, registry))
}

fn plan_one(catalog: &Catalog, sql: &str, registry: &Registry) -> Result<crate::catalog::Query, Diagnostic> {
    const NAME: &str = "query";
    let text = Text::new(NAME, sql);
    let planned = (|| {
        let mut parsed = parse(sql);
        let one = match parsed.len() {
            0 => Err(Mistake::new(Span::empty(), "there is no query").help("write SELECT … FROM view")),
            1 => parsed.remove(0),
            _ => match parsed.remove(1) {
                Ok(second) => Err(Mistake::new(second.span, "one query at a time").label("a second statement")),
                Err(mistake) => Err(mistake),
            },
        }?;
        let Statement::Query(query) = &one.statement else {
            return Err(Mistake::new(one.span, "this is not a query")
                .label("not a SELECT")
                .help("write SELECT … FROM view; definitions belong in the project's SQL files"));
        };
        let views = Views { registry, sources: &catalog.sources, views: &catalog.views };
        query::plan(views, query, one.span)
    })();
    match planned {
        Ok(relation) => {
            let schema = relation.rel.schema().clone();
            Ok(crate::catalog::Query { rel: relation.rel, schema })
        }
        Err(mistake) => {
            let mut all = mistake.diagnostics(&text, Span::empty());
            Err(all.remove(0))
        }
    }
}
