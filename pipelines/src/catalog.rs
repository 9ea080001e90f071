//! The catalog: every source and view of a project, planned.

use std::{collections::BTreeMap, sync::Arc};

use crate::{core::Core, source::Source, tail::Rel, types::Schema};

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
