//! Fingerprints: what a view's stored partials depend on, hashed.

use serde::Serialize;

use super::SEMANTICS_VERSION;
use crate::{
    aggregate::AggregateCall,
    core::{Core, Key, Partitioning, Window},
    expr::Expr,
    types::Schema,
};

/// What is hashed. User functions stand in the expressions with their names and versions. A source's number of partitions,
/// `partition_by` and `lateness` are not part of it: they change where records lie and what is called late, not what is
/// accepted.
#[derive(Serialize)]
struct Covered<'a> {
    semantics: u32,
    source: &'a str,
    columns: &'a Schema,
    event_time: Option<usize>,
    max_ahead_micros: i64,
    filter: &'a Option<Expr>,
    window: &'a Option<Window>,
    keys: &'a [Key],
    aggregates: &'a [AggregateCall],
    partitioning: Partitioning,
}

/// The fingerprint of a core, in hexadecimal digits.
pub(crate) fn of(core: &Core) -> Result<String, serde_json::Error> {
    let Core { source, filter, window, keys, aggregates, partitioning } = core;
    let covered = Covered {
        semantics: SEMANTICS_VERSION,
        source: &source.name,
        columns: &source.schema,
        event_time: source.event_time,
        max_ahead_micros: source.max_ahead_micros,
        filter,
        window,
        keys,
        aggregates,
        partitioning: *partitioning,
    };
    Ok(blake3::hash(&serde_json::to_vec(&covered)?).to_hex().to_string())
}
