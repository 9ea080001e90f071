//! What can go wrong with a question, by what the asker should do about it.

use std::time::Duration;

use watershed_batch::BatchError;
use watershed_log::LogError;
use watershed_pipelines::error::{Diagnostic, PipelineError};
use watershed_speed::SpeedError;

/// The result of every call of this crate.
pub type Result<T, E = ServingError> = std::result::Result<T, E>;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServingError {
    /// The query is not valid. Correct it where the diagnostic points.
    #[error(transparent)]
    Query(#[from] Diagnostic),

    /// There is no such view. Correct the name.
    #[error("there is no view \"{view}\"; there are: {known}")]
    NotFound {
        /// The name asked for.
        view: String,
        /// The views that there are.
        known: String,
    },

    /// The view's rows cannot be looked up by key. Ask with SQL.
    #[error("view \"{view}\" cannot be looked up by key: {reason}; ask with SQL instead")]
    NoKey {
        /// The view.
        view: String,
        /// Why.
        reason: String,
    },

    /// The key does not fit the view. Correct it.
    #[error("view \"{view}\": {reason}")]
    Key {
        /// The view.
        view: String,
        /// What does not fit.
        reason: String,
    },

    /// The live part of the view reached its memory bound. Run a batch; other views are not affected.
    #[error("{0}")]
    Stalled(SpeedError),

    /// The view is being built from the log, or must be built by a batch run first.
    #[error("{0}")]
    NotBuilt(SpeedError),

    /// The state asked for is no longer kept.
    #[error("epoch {epoch} is not kept: {reason}")]
    NotKept {
        /// The epoch asked for.
        epoch: u64,
        /// What is kept.
        reason: String,
    },

    /// The position was not reached in time. Ask again; if it recurs, look whether the speed layer runs.
    #[error("the position asked for was not reached within {} ms", waited.as_millis())]
    NotReached {
        /// How long was waited.
        waited: Duration,
    },

    /// The live part has no edge at the manifest's cut, and did not get one in time. Ask again; if it recurs, look whether the
    /// speed layer follows the manifests.
    #[error("the live part does not fit manifest {manifest}")]
    OutOfStep {
        /// The manifest.
        manifest: u64,
    },

    /// The question would take more than it may. Ask for less: a condition on the key, an aggregate, a smaller page; or raise the
    /// limit that the message names.
    #[error("{0}")]
    Limit(LimitReached),

    /// An expression of the query or view failed for a row, or an aggregate does not fit its type.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),

    /// The store could not be read, or what it holds is damaged. See its error.
    #[error(transparent)]
    Batch(#[from] BatchError),

    /// The log could not be read, or is damaged. See its error.
    #[error(transparent)]
    Log(#[from] LogError),

    /// The speed layer does not answer.
    #[error(transparent)]
    Speed(SpeedError),
}

/// Which limit a question reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitReached {
    /// Memory.
    #[error(
        "the answer takes more memory than {bytes_max} bytes, the limit of one query: narrow it with a condition on the key, or \
         aggregate; or raise the limit (query.max_bytes)"
    )]
    Bytes {
        /// The limit.
        bytes_max: u64,
    },
    /// Rows of the answer.
    #[error(
        "the answer has more than {rows_max} rows, the limit of one query: add LIMIT, or a condition on the key; or raise the limit \
         (query.max_rows)"
    )]
    Rows {
        /// The limit.
        rows_max: u64,
    },
    /// Time.
    #[error(
        "the answer takes longer than {} s, the limit of one query: narrow it with a condition on the key, or aggregate in a \
         materialized view; or raise the limit (query.timeout)",
        time_max.as_secs_f64()
    )]
    Time {
        /// The limit.
        time_max: Duration,
    },
}

impl From<SpeedError> for ServingError {
    fn from(error: SpeedError) -> Self {
        match error {
            SpeedError::Stalled { .. } => ServingError::Stalled(error),
            SpeedError::NotBuilt { .. } | SpeedError::Building { .. } => ServingError::NotBuilt(error),
            SpeedError::Log(error) => ServingError::Log(error),
            SpeedError::Pipeline(error) => ServingError::Pipeline(error),
            error => ServingError::Speed(error),
        }
    }
}

impl ServingError {
    /// Whether the question may succeed unchanged later.
    pub fn may_retry(&self) -> bool {
        matches!(
            self,
            ServingError::NotReached { .. }
                | ServingError::OutOfStep { .. }
                | ServingError::Stalled(_)
                | ServingError::NotBuilt(_)
                | ServingError::Batch(BatchError::Store { .. } | BatchError::Gone { .. })
        )
    }
}
