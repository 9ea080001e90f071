//! The speed layer: tails the durable log above the cut and keeps what the batch views do not hold yet.
//!
//! Records are decoded once per source, folded by each view's [`CoreKernel`](watershed_pipelines::partial::CoreKernel) and kept
//! in *slices*, one per epoch above the cut and an open one. A slice is a short list of immutable *runs* (consecutive records
//! and all views' partials over them), merged by size, so that publishing a new state never copies a large map: one
//! atomic swap publishes a [`SpeedSnapshot`], and readers never block the writer. When a manifest moves the cut, the slices
//! up to it are dropped and nothing else changes.
//!
//! Architecture invariant: this crate writes nothing, knows no object store and no manifest. Where the batch side stands is
//! told to it ([`Built`]); which records belong to a slice is decided by offsets alone.

mod error;
mod fold;
mod lane;
mod layer;
mod options;
mod pieces;
mod run;
mod snapshot;
#[cfg(test)]
mod tests;

pub use error::{Result, SpeedError};
pub use layer::{Built, SpeedLayer, replay};
pub use options::SpeedOptions;
pub use run::Run;
pub use snapshot::{SpeedSnapshot, ViewState};
