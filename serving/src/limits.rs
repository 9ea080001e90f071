//! What one question may take.

use std::time::{Duration, Instant};

use watershed_pipelines::{error::PipelineError, tail::Exceeded};

use crate::error::{LimitReached, ServingError};

/// What one question may take of memory and time, and how many rows its answer may have. The default is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of the answer.
    pub rows_max: u64,
    /// Bytes that it may hold at any moment: partials and rows that were read, what steps make of them, and what they need beside.
    /// It is counted as it is taken, so that a question goes beyond the limit by one stretch of rows, or one stored file, at most.
    pub bytes_max: u64,
    /// Time from the question to the answer. It is looked at between steps and between stretches of rows.
    pub time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { rows_max: u64::MAX, bytes_max: u64::MAX, time_max: Duration::MAX }
    }
}

impl Limits {
    /// The smaller one of each.
    #[must_use]
    pub fn at_most(self, other: Limits) -> Limits {
        Limits {
            rows_max: self.rows_max.min(other.rows_max),
            bytes_max: self.bytes_max.min(other.bytes_max),
            time_max: self.time_max.min(other.time_max),
        }
    }

    /// Whether the time is up for a question that was asked at `begun`.
    pub(crate) fn is_late(&self, begun: Instant) -> bool {
        begun.elapsed() > self.time_max
    }

    /// A plan's error, the limits named as the asker knows them.
    pub(crate) fn error(&self, error: PipelineError) -> ServingError {
        match error {
            PipelineError::Exceeded(Exceeded::Bytes { bytes_max }) => {
                ServingError::Limit(LimitReached::Bytes { bytes_max })
            }
            PipelineError::Exceeded(Exceeded::Rows { rows_max }) => {
                ServingError::Limit(LimitReached::Rows { rows_max })
            }
            PipelineError::Exceeded(Exceeded::Stopped) => {
                ServingError::Limit(LimitReached::Time { time_max: self.time_max })
            }
            PipelineError::Relation(cause) => match cause.downcast::<ServingError>() {
                Ok(cause) => *cause,
                Err(cause) => match cause.downcast::<PipelineError>() {
                    Ok(cause) => self.error(*cause),
                    Err(cause) => ServingError::Pipeline(PipelineError::Relation(cause)),
                },
            },
            error => ServingError::Pipeline(error),
        }
    }
}
