//! What can go wrong, and whose turn it is: every error has a [`Kind`], and the kind decides the command's exit code.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use watershed_batch::BatchError;
use watershed_log::LogError;
use watershed_pipelines::error::{Diagnostic, PipelineError};
use watershed_serving::ServingError;
use watershed_speed::SpeedError;

/// Mistakes in definitions or in a query, with the texts that they are in.
#[derive(Clone, Debug, Default)]
pub struct Mistakes {
    /// (name, text) of every file.
    pub texts: Vec<(String, String)>,
    /// The mistakes.
    pub diagnostics: Vec<Diagnostic>,
}

/// Whose turn it is after an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// Something failed: look at the message (exit code 1).
    Failure,
    /// The request, the configuration or a definition is wrong: correct it (2).
    Usage,
    /// The answer cannot be given now or any more: a view is being built or stalled, an epoch is not kept, the answer would go
    /// beyond a limit of `[query]` (4).
    Unavailable,
    /// Another process holds what this one needs: stop it, or wait for it (5).
    Busy,
    /// What was compared differs: the message says where (3).
    Different,
    /// The store or the network failed for now: the same call may succeed later (75, `EX_TEMPFAIL`).
    Retryable,
}

impl Kind {
    /// The command's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failure => 1,
            Kind::Usage => 2,
            Kind::Different => 3,
            Kind::Unavailable => 4,
            Kind::Busy => 5,
            Kind::Retryable => 75,
        }
    }
}

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mistake in the configuration.
    #[error("configuration: {0}")]
    Config(String),
    /// A mistake in what was asked for.
    #[error("{0}")]
    Usage(String),
    /// There is no project in this directory.
    #[error("{} is no Watershed project: there is no watershed.toml; `watershed init {}` makes one", .0.display(), .0.display())]
    NotAProject(PathBuf),
    /// Mistakes in definitions or in a query.
    #[error("{}", mistakes_text(.0))]
    Definitions(Mistakes),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        cause: io::Error,
    },
    /// Standard output (or standard input) failed.
    #[error("standard output: {0}")]
    Output(#[source] io::Error),
    /// Records could not be processed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The process that runs the project could not be talked to.
    #[error("control socket: {0}")]
    Control(#[from] crate::control::ControlError),
    /// The process that runs the project answered with an error.
    #[error("{message}")]
    Remote {
        /// Whose turn it is.
        kind: Kind,
        /// Its message.
        message: String,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The batch layer or the store failed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The speed layer failed.
    #[error(transparent)]
    Speed(#[from] SpeedError),
    /// Serving failed.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// Another process holds what is needed.
    #[error("{0}")]
    Busy(String),
    /// Not (any more, or yet) to be had.
    #[error("{0}")]
    Unavailable(String),
    /// A defect in Watershed.
    #[error("{0} (this is a defect in Watershed; please report it)")]
    Internal(String),
}

fn mistakes_text(mistakes: &Mistakes) -> String {
    let lines: Vec<String> = mistakes.diagnostics.iter().map(|d| format!("{}: {}", d.file, d.message)).collect();
    lines.join("\n")
}

impl Error {
    /// A mistake in the configuration.
    pub fn config(message: impl Into<String>) -> Error {
        Error::Config(message.into())
    }

    /// A mistake in what was asked for.
    pub fn usage(message: impl Into<String>) -> Error {
        Error::Usage(message.into())
    }

    /// Turns an operating system's error on `path` into an [`Error`].
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |cause| Error::Io { action, path, cause }
    }

    /// Whose turn it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Config(_) | Error::Usage(_) | Error::NotAProject(_) | Error::Definitions(_) => Kind::Usage,
            Error::Unavailable(_) => Kind::Unavailable,
            Error::Remote { kind, .. } => *kind,
            Error::Busy(_) => Kind::Busy,
            Error::Log(error) => log_kind(error),
            Error::Batch(error) => batch_kind(error),
            Error::Speed(error) => speed_kind(error),
            Error::Serving(error) => serving_kind(error),
            Error::Control(_) | Error::Io { .. } | Error::Output(_) | Error::Pipeline(_) | Error::Internal(_) => {
                Kind::Failure
            }
        }
    }

    /// Whether a head file of the log is damaged or behind, which the next writer mends.
    pub(crate) fn is_stale_head(&self) -> bool {
        matches!(self.of_log(), Some(LogError::StaleHead { .. }))
    }

    /// Whether the log no longer has what was to be read: the archive does.
    pub(crate) fn is_below_start(&self) -> bool {
        matches!(self.of_log(), Some(LogError::BelowStart { .. }))
    }

    fn of_log(&self) -> Option<&LogError> {
        match self {
            Error::Log(error) | Error::Speed(SpeedError::Log(error)) | Error::Batch(BatchError::Log(error)) => {
                Some(error)
            }
            Error::Serving(ServingError::Log(error) | ServingError::Speed(SpeedError::Log(error))) => Some(error),
            _ => None,
        }
    }

    /// Whether the reader of standard output has gone (`watershed query … | head`), which is no failure.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Error::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn log_kind(error: &LogError) -> Kind {
    match error {
        LogError::Locked { .. } => Kind::Busy,
        LogError::TooManyProducers { .. } => Kind::Retryable,
        LogError::UnknownSource { .. }
        | LogError::UnknownPartition { .. }
        | LogError::PartitionsFixed { .. }
        | LogError::Invalid { .. }
        | LogError::NumberGap { .. }
        | LogError::ProducerForgotten { .. }
        | LogError::RecordTooLarge { .. } => Kind::Usage,
        _ => Kind::Failure,
    }
}

fn batch_kind(error: &BatchError) -> Kind {
    match error {
        BatchError::StoreOptions { .. } | BatchError::Schedule { .. } => Kind::Usage,
        BatchError::Store { .. } if error.is_refused() => Kind::Usage,
        BatchError::Store { .. } | BatchError::Gone { .. } => Kind::Retryable,
        BatchError::LostRace { .. } => Kind::Busy,
        BatchError::ParityDiffers(_) | BatchError::FullDiffers { .. } => Kind::Different,
        BatchError::UnknownEpoch { .. } | BatchError::UnknownView { .. } | BatchError::OtherDefinition { .. } => {
            Kind::Unavailable
        }
        BatchError::Log(error) => log_kind(error),
        _ => Kind::Failure,
    }
}

fn speed_kind(error: &SpeedError) -> Kind {
    match error {
        SpeedError::Log(error) => log_kind(error),
        SpeedError::Stalled { .. }
        | SpeedError::Building { .. }
        | SpeedError::NotBuilt { .. }
        | SpeedError::Stopped { .. } => Kind::Unavailable,
        SpeedError::UnknownView { .. } => Kind::Usage,
        _ => Kind::Failure,
    }
}

fn serving_kind(error: &ServingError) -> Kind {
    match error {
        ServingError::Query(_)
        | ServingError::NotFound { .. }
        | ServingError::NoKey { .. }
        | ServingError::Key { .. } => Kind::Usage,
        ServingError::Stalled(_)
        | ServingError::NotBuilt(_)
        | ServingError::NotKept { .. }
        | ServingError::NotReached { .. }
        | ServingError::OutOfStep { .. }
        | ServingError::Limit(_) => Kind::Unavailable,
        ServingError::Batch(error) => batch_kind(error),
        ServingError::Log(error) => log_kind(error),
        ServingError::Speed(error) => speed_kind(error),
        _ => Kind::Failure,
    }
}
