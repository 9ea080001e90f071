//! The compiled core.
#![allow(unused_variables)]

use std::collections::BTreeMap;

use polars::prelude::DataFrame;

use crate::{
    core::Core, error::PipelineError, key::KeyFilter, partial::Partials, registry::Registry, source::ViewCounts,
    types::Schema,
};

/// A compiled core. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CoreKernel {}

/// Which columns a table of partials is stored with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableLayout {
    /// `groups`, or `distinct_<i>` for the aggregate `i`.
    pub name: String,
    /// Columns to read it back: keys, then finished aggregates; the `_state_` columns follow.
    pub schema: Schema,
    /// How many leading columns are the key.
    pub key_columns: usize,
}

/// Which partitions of a view can hold the keys of a filter.
#[derive(Clone, Debug)]
pub struct PartitionFilter {}

impl PartitionFilter {
    /// Whether the partition `name` can.
    pub fn matches(&self, name: &str) -> bool {
        true
    }
}

/// Builds partials from batches.
#[derive(Debug)]
pub struct PartialsBuilder {}

impl PartialsBuilder {
    /// Adds decoded records.
    pub fn push(&mut self, batch: &DataFrame) -> Result<(), PipelineError> {
        todo!()
    }
    /// Memory it takes, about.
    pub fn memory_bytes(&self) -> usize {
        todo!()
    }
    /// The partials of all records pushed.
    pub fn finish(self) -> Result<Partials, PipelineError> {
        todo!()
    }
}

#[allow(missing_docs)]
impl CoreKernel {
    pub fn compile(core: &Core, registry: &Registry) -> Result<CoreKernel, PipelineError> {
        todo!()
    }
    pub fn core(&self) -> &Core {
        todo!()
    }
    pub fn builder(&self) -> PartialsBuilder {
        todo!()
    }
    /// No records.
    pub fn empty(&self) -> Partials {
        todo!()
    }
    pub fn merge(&self, inputs: &[&Partials]) -> Result<Partials, PipelineError> {
        todo!()
    }
    pub fn select(&self, partials: &Partials, filter: &KeyFilter) -> Partials {
        todo!()
    }
    pub fn partials_filter(&self, filter: &KeyFilter) -> KeyFilter {
        todo!()
    }
    pub fn finish(&self, partials: &Partials) -> Result<DataFrame, PipelineError> {
        todo!()
    }
    /// [`CoreKernel::finish`], without the rows outside the filter (of the finished keys).
    pub fn finish_within(&self, partials: &Partials, filter: &KeyFilter) -> Result<DataFrame, PipelineError> {
        todo!()
    }
    /// By the name of the view's partition. Counts and rejected records are not divided: take them before.
    pub fn split(&self, partials: Partials) -> Result<BTreeMap<String, Partials>, PipelineError> {
        todo!()
    }
    /// `filter`: of the partials' keys ([`CoreKernel::partials_filter`]).
    pub fn partitions_of(&self, filter: &KeyFilter) -> PartitionFilter {
        todo!()
    }
    pub fn tables(&self) -> Vec<TableLayout> {
        todo!()
    }
    pub fn to_frame(&self, table: usize, partials: &Partials) -> Result<DataFrame, PipelineError> {
        todo!()
    }
    pub fn from_frames(&self, frames: Vec<DataFrame>, counts: ViewCounts) -> Result<Partials, PipelineError> {
        todo!()
    }
    pub fn digest(&self, partials: &Partials) -> [u8; 32] {
        todo!()
    }
    /// (key bytes, row bytes), sorted by table and key.
    pub fn canonical<'a>(&'a self, partials: &'a Partials) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a> {
        todo!()
    }
    pub fn describe_key(&self, key: &[u8]) -> String {
        todo!()
    }
}
