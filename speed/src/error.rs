//! What can go wrong, and what the user should do about it.

use watershed_log::{LogError, Position};
use watershed_pipelines::error::PipelineError;

/// The result of every call of this crate.
pub type Result<T, E = SpeedError> = std::result::Result<T, E>;

/// Why the speed layer cannot go on, or cannot answer for a view.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpeedError {
    /// The log could not be read. See its error.
    #[error(transparent)]
    Log(#[from] LogError),

    /// A view's definition does not compile, or its partials do not merge.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),

    /// The view's live part reached its memory bound, so it is not kept until the cut moves. Run a batch, or raise
    /// `view_bytes_max`. Other views are not affected.
    #[error(
        "view \"{view}\" is stalled: its live part reached {bytes_max} bytes; run a batch to move the cut, or raise the bound"
    )]
    Stalled {
        /// The view.
        view: String,
        /// The bound.
        bytes_max: usize,
    },

    /// The view is new, or was stalled, and the log is being replayed for it. Ask again later.
    #[error("view \"{view}\" is being built from the log; ask again shortly, or run a batch")]
    Building {
        /// The view.
        view: String,
    },

    /// The view has no batch part, and the log no longer holds the records it would be built from. Run a batch.
    #[error("view \"{view}\" is not built yet and the log no longer has all its records: run a batch")]
    NotBuilt {
        /// The view.
        view: String,
    },

    /// Records of the view's source are damaged or gone (check the project with `fsck`), or its kernel failed on a batch: a defect
    /// in Watershed. Other sources' views are not affected.
    #[error("view \"{view}\" failed: {reason}")]
    Failed {
        /// The view.
        view: String,
        /// The kernel's error.
        reason: String,
    },

    /// There is no such materialized view.
    #[error("there is no materialized view \"{view}\"")]
    UnknownView {
        /// The name asked for.
        view: String,
    },

    /// The position is neither above nor below an epoch that is known: it is not from this log.
    #[error("the position {} is not on the chain of epochs of this log", text(position))]
    NotOnChain {
        /// The position.
        position: Position,
    },

    /// The snapshot has no slice edge at the position asked for.
    #[error("the live part has no edge at {}", text(position))]
    NoEdge {
        /// The position.
        position: Position,
    },

    /// The speed layer has stopped, and so will not reach the position waited for.
    #[error("the speed layer has stopped{}", reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default())]
    Stopped {
        /// Why, if by an error.
        reason: Option<String>,
    },
}

fn text(position: &Position) -> String {
    let parts: Vec<String> = position.iter().map(|(source, p, offset)| format!("{source}/{p}:{offset}")).collect();
    if parts.is_empty() { "of an empty log".to_owned() } else { parts.join(" ") }
}
