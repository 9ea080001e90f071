//! Errors of definitions and of their evaluation.

use std::ops::Range;

use crate::tail::Exceeded;

/// A mistake in a definition or query, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Diagnostic {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Name of the text (a file's path, or `query`).
    pub file: String,
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
    /// A short label under the text.
    pub label: String,
    /// What would be right.
    pub help: Option<String>,
}

/// Why an expression failed for a row. Its `Display` is the reason that is listed for a rejected record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// `/` or `%` by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// An integer or decimal result out of its type's range.
    #[error("numeric value out of range")]
    OutOfRange,
    /// `CAST` of a text that is not a value of the target type, or of a value outside its range.
    #[error("invalid value for CAST")]
    InvalidCast,
    /// A timestamp or date outside the supported range (years 1 to 9999).
    #[error("timestamp out of range")]
    TimestampOutOfRange,
    /// An argument outside a function's domain (`LN(0)`, `SQRT(-1)`).
    #[error("argument out of the function's domain")]
    Domain,
    /// A user's function reported an error.
    #[error("user function failed")]
    User,
    /// A text longer than 64 MiB.
    #[error("text too long")]
    TextTooLong,
}

/// Why data could not be processed (not the fault of one record).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The column engine refused a plan or a batch: a defect in Watershed.
    #[error("column engine: {0}")]
    Engine(#[from] polars::error::PolarsError),
    /// Stored partials that this plan cannot read: they are damaged, or of another fingerprint.
    #[error("stored partials cannot be read: {0}")]
    Stored(String),
    /// An aggregate's result does not fit its type.
    #[error("{aggregate} does not fit {data_type}: {hint}")]
    Overflow {
        /// The aggregate's output column.
        aggregate: String,
        /// Its type.
        data_type: String,
        /// What to do.
        hint: String,
    },
    /// An expression of the derived tail failed for a row.
    #[error("column \"{column}\": {failure}, in the row {row}")]
    Tail {
        /// The output column (or clause) whose expression failed.
        column: String,
        /// Why.
        failure: Failure,
        /// The row, as text.
        row: String,
    },
    /// The rows of a view could not be had.
    #[error("{0}")]
    Relation(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A query took all that it may have ([`crate::tail::Budget`]).
    #[error("the query {0}")]
    Exceeded(#[from] Exceeded),
    /// A time zone that the compiled-in IANA data does not have, or a regular expression that does not compile.
    #[error("{0}")]
    Definition(String),
}
