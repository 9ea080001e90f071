//! The catalog: every source and view of a project, planned.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    core::Core,
    error::Diagnostic,
    registry::Registry,
    source::Source,
    sql::{self, SqlFile},
    tail::Rel,
    types::Schema,
};

/// A planned set of definitions. Built by [`crate::sql`] (and by the builder, through the same planner).
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Sources by name.
    pub sources: BTreeMap<String, Arc<Source>>,
    /// Views by name, materialized and derived.
    pub views: BTreeMap<String, Arc<View>>,
}

/// A view.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// The core, for a materialized view; `None` for a derived one.
    pub core: Option<Core>,
    /// Hash of what the stored partials depend on (hex); empty for a derived view.
    pub fingerprint: String,
    /// The derived tail: over `Scan`s of materialized views (of the view itself, for a materialized one).
    pub tail: Rel,
    /// Columns of its answer.
    pub schema: Arc<Schema>,
    /// The definition's text, rendered.
    pub sql: String,
}

/// A planned query.
#[derive(Clone, Debug)]
pub struct Query {
    /// The plan; key bounds are pushed into its scans.
    pub rel: Rel,
    /// Columns of the answer.
    pub schema: Arc<Schema>,
}

impl Catalog {
    /// Plans definitions: `CREATE TABLE`, `CREATE MATERIALIZED VIEW` and `CREATE VIEW`, in any order. All mistakes are
    /// reported at once where possible.
    pub fn from_sql(files: &[SqlFile], registry: &Registry) -> Result<Catalog, Vec<Diagnostic>> {
        sql::plan_definitions(files, registry)
    }

    /// Plans a query over the views.
    pub fn plan_query(&self, sql: &str, registry: &Registry) -> Result<Query, Diagnostic> {
        sql::plan_query(self, sql, registry)
    }

    /// The source `name`.
    pub fn source(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.get(name)
    }

    /// The view `name`.
    pub fn view(&self, name: &str) -> Option<&Arc<View>> {
        self.views.get(name)
    }

    /// The materialized views with their cores, by name.
    pub fn materialized(&self) -> impl Iterator<Item = (&Arc<View>, &Core)> {
        self.views.values().filter_map(|view| view.core.as_ref().map(|core| (view, core)))
    }

    /// The materialized views whose rows the answer of `view` is made of (for a materialized view: itself).
    pub fn dependencies(&self, view: &str) -> BTreeSet<String> {
        self.views.get(view).map(|v| v.tail.scans().into_keys().map(str::to_owned).collect()).unwrap_or_default()
    }
}
