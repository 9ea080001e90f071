//! What can go wrong, and what the user should do about it.

use std::path::PathBuf;

use watershed_log::LogError;
use watershed_pipelines::error::PipelineError;

use crate::{run::parity::ParityReport, store::failure};

/// The result of every call of this crate.
pub type Result<T, E = BatchError> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The store's URL or options are not usable. Correct the configuration.
    #[error("store {url:?}: {reason}")]
    StoreOptions {
        /// The URL, without secrets.
        url: String,
        /// What is wrong, and what is accepted.
        reason: String,
    },

    /// The store refused a request, after bounded retries. The message says what to do; the run can be repeated once that is
    /// mended, or later ([`BatchError::is_refused`] tells which).
    #[error("cannot {action} {object:?} in the store: {cause}; {}", failure::advice(.cause))]
    Store {
        /// What was tried.
        action: &'static str,
        /// The object or prefix.
        object: String,
        /// The store's answer.
        #[source]
        cause: object_store::Error,
    },

    /// An object that a manifest names is gone. A reader pins a newer manifest; if the newest one names it, restore it, or
    /// build the views anew.
    #[error("{object:?} is gone from the store")]
    Gone {
        /// The object.
        object: String,
    },

    /// An object is not what was written. Nothing of it is served. Restore it from a copy, or build the view anew with
    /// `--full --repair`.
    #[error("{object:?} in the store is damaged: {reason}")]
    Damaged {
        /// The object.
        object: String,
        /// What does not fit.
        reason: String,
    },

    /// An object was written by a newer version of Watershed. Use that version.
    #[error("{object:?} has format {found:?}; this version reads {expected:?}")]
    Format {
        /// The object.
        object: String,
        /// The format it says it has.
        found: String,
        /// The format this version writes.
        expected: &'static str,
    },

    /// Another run published first. The view is whole and newer; run again if there is more to do.
    #[error("manifest {number} was published by another run, {winner}")]
    LostRace {
        /// The number both wanted.
        number: u64,
        /// The other writer.
        winner: String,
    },

    /// A position that should lie above another does not: the log was replaced, or belongs to another project.
    #[error("{what} must not move back: {from} → {to}")]
    MovedBack {
        /// What would move.
        what: &'static str,
        /// Where it stands.
        from: String,
        /// Where it would go.
        to: String,
    },

    /// No epoch has been recorded, so there is no cut to choose. Record one first.
    #[error("the store has no epoch yet; record one before a batch run")]
    NoEpoch,

    /// There is no such epoch, or it has been forgotten.
    #[error("the store has no epoch {number}")]
    UnknownEpoch {
        /// Its number.
        number: u64,
    },

    /// The view is not in the manifest: it has not been built. Run the batch first.
    #[error("view {view:?} is not in manifest {manifest}; run the batch to build it")]
    UnknownView {
        /// The view.
        view: String,
        /// The manifest's number.
        manifest: u64,
    },

    /// The view's definition has changed since the manifest was published. Run the batch to build the new one.
    #[error("view {view:?} in manifest {manifest} was built from another definition; run the batch to build this one")]
    OtherDefinition {
        /// The view.
        view: String,
        /// The manifest's number.
        manifest: u64,
    },

    /// Records that are needed are in neither the log nor the archive: the log begins above the archive's end.
    #[error(
        "records {from} to {log_start} of {source_name:?}/{partition} are in neither the log nor the archive; restore the \
         log's segments, or the store's newest manifest"
    )]
    Hole {
        /// The source.
        source_name: String,
        /// Its partition.
        partition: u32,
        /// The first record that is missing.
        from: u64,
        /// Where the log begins.
        log_start: u64,
    },

    /// A full run gave other rows than the incremental runs did. This is a defect of Watershed, or damage: please report
    /// it; `--repair` publishes the recomputed rows.
    #[error("the full run differs from the incremental ones in {}", .partitions.join(", "))]
    FullDiffers {
        /// `view/partition` names, and `view (counts)`.
        partitions: Vec<String>,
    },

    /// What the run made of the new records differs from what the speed layer made of them. Nothing was published; the old cut
    /// stays, and so do the answers. If a function that a definition calls is not pure, correct it; if `verify` finds the batch
    /// side right, restart the process that runs the speed layer; then run again.
    #[error("nothing was published, for the run differs from the speed layer:\n  {}", .0.lines().join("\n  "))]
    ParityDiffers(Box<ParityReport>),

    /// The run was asked to stop. The previous view is untouched.
    #[error("the batch run was stopped; nothing was published")]
    Stopped,

    /// A cron expression or time zone does not parse. Correct the configuration.
    #[error("schedule {schedule:?}: {reason}")]
    Schedule {
        /// The expression and zone.
        schedule: String,
        /// What is wrong.
        reason: String,
    },

    /// The operating system refused an operation on a scratch file or a local store.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        cause: std::io::Error,
    },

    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),

    /// A view's plan could not be run.
    #[error("view {view:?}: {cause}")]
    Pipeline {
        /// The view, or the source whose records are decoded.
        view: String,
        /// Why.
        #[source]
        cause: PipelineError,
    },

    /// A table could not be turned into Parquet or back: a defect of Watershed, or damage that the checksums do not cover.
    #[error("table {table:?}: {reason}")]
    Table {
        /// The object, or the table's name.
        table: String,
        /// Why.
        reason: String,
    },

    /// The process could not start its threads.
    #[error("cannot start threads: {0}")]
    Threads(String),
}

impl BatchError {
    /// Whether an object was gone: the sign for a reader to pin a newer manifest and try again.
    pub fn is_gone(&self) -> bool {
        matches!(self, BatchError::Gone { .. })
    }

    /// Whether the store is as it should be and the configuration is not: credentials, permissions, the bucket's name. To
    /// repeat the request is useless.
    pub fn is_refused(&self) -> bool {
        matches!(self, BatchError::Store { cause, .. } if failure::is_refused(cause))
    }

    pub(crate) fn store(action: &'static str, object: &str) -> impl FnOnce(object_store::Error) -> BatchError {
        move |cause| match failure::is_not_found(&cause) {
            true => BatchError::Gone { object: object.to_owned() },
            false => BatchError::Store { action, object: object.to_owned(), cause },
        }
    }

    pub(crate) fn damaged(object: &str, reason: impl Into<String>) -> BatchError {
        BatchError::Damaged { object: object.to_owned(), reason: reason.into() }
    }

    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> BatchError {
        move |cause| BatchError::Io { action, path: path.to_owned(), cause }
    }

    pub(crate) fn pipeline(view: &str) -> impl Fn(PipelineError) -> BatchError {
        move |cause| BatchError::Pipeline { view: view.to_owned(), cause }
    }

    pub(crate) fn table(table: &str) -> impl Fn(String) -> BatchError {
        move |reason| BatchError::Table { table: table.to_owned(), reason }
    }
}
