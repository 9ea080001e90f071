//! The batch layer: log → Parquet views and archive on any object store, and the manifests that commit them.
//!
//! One run chooses the cut (the newest [`Epoch`]), decodes the records since the last cut once, in parallel, feeds every
//! view's compiled plan, merges with the previous partials, writes what changed, and publishes a [`Manifest`]: one create-only
//! object, the commit point. Killed at any moment, it leaves the previous manifest and all it names untouched.
//!
//! It serves no queries (that is `serving`, through [`ViewReader`]), decides nothing by event time, and reads no clock.
//!
//! | subject | where |
//! | --- | --- |
//! | the store and its layout | [`Store`], [`StoreOptions`] |
//! | numbered positions | [`Epoch`], [`Store::record_epoch`] |
//! | commits | [`Manifest`], [`Store::latest_manifest`] |
//! | one run | [`BatchRun`], [`BatchOptions`], [`Report`], [`Progress`] |
//! | partials that do not fit into memory | [`Scratch`], [`Spilled`] |
//! | the gate before a manifest | [`Parity`], [`SpeedParity`], [`ParityReport`] |
//! | reading views at a manifest | [`ViewReader`] |
//! | the master dataset | [`ArchiveReader`] |
//! | whether every object is what was written | [`Store::check`] |
//! | forgetting | [`Store::collect_garbage`], [`Retention`] |
//! | when to run | [`Schedule`] |

mod archive;
mod check;
pub mod columns;
mod epoch;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod manifest;
mod reader;
mod run;
mod schedule;
mod store;
mod table;
#[cfg(test)]
mod testing;

pub use archive::{ArchiveReader, ArchivedRecord, ArchivedRecords};
pub use check::{StoreCheck, StoreDamage, StoreFinding};
pub use epoch::Epoch;
pub use error::{BatchError, Result};
pub use gc::{Collected, Retention};
pub use manifest::{ArchiveFile, Manifest, PartitionState, Previous, SourceState, StoredFile, ViewState};
pub use reader::{Asked, ViewReader};
pub use run::{
    options::{BatchOptions, BatchRun, NoProgress, Progress},
    parity::{
        AskedView, Parity, ParityPolicy, ParityQuestion, ParityReport, ParitySummary, ParityView, SpeedParity,
        ViewSummary,
    },
    plan::declaration,
    report::{Report, ViewBuild, ViewReport},
    scratch::{Scratch, Spilled},
};
pub use schedule::Schedule;
pub use store::{Secrets, Store, StoreOptions, WriterId};
