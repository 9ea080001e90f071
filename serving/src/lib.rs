//! Serving: one exact answer from the batch views up to the cut and the live part above it.
//!
//! A query pins one manifest and one snapshot of the speed layer that has an edge at that manifest's cut. For every view it
//! scans, the stored partials (selected by key through the files' indexes) are merged with the slices' partials by the view's
//! own kernel and finished into rows; the derived tail runs over those. Each [`Answer`] carries a [`Receipt`] of what it covers.
//!
//! Architecture invariant: nothing is computed here that the kernels do not compute. Where manifests come from ([`BatchSide`])
//! and where the live part is kept ([`SpeedSide`]) are behind traits: the sides may be in other processes.

mod answer;
mod error;
mod json;
mod keys;
mod limits;
mod pin;
mod receipt;
mod rows;
mod serving;
mod sides;
mod stored;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use error::{LimitReached, Result, ServingError};
pub use limits::Limits;
pub use receipt::{Receipt, ViewReceipt};
pub use serving::{ReadOptions, Serving, built_by};
pub use sides::{BatchSide, FixedSpeed, SpeedSide};
pub use stored::StoredViews;
