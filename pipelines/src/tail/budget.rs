//! What one run of a tail may take: memory, counted as it is taken, and time.
//!
//! Every frame that a step makes is counted until the step above has used it up, and so is what a step needs beside its frames
//! (encoded keys, pairs of a join, groups). Steps that can make much of little (joins, texts, groups) count while they work, so a
//! run goes beyond its memory by no more than one stretch of rows.

use std::sync::atomic::{AtomicU64, Ordering};

use polars::prelude::{Column, DataFrame, DataType as PolarsType};

use crate::error::PipelineError;

/// Rows that are worked on between two looks at the budget.
pub(super) const ROWS_AT_ONCE: usize = 1 << 16;

/// Why a run was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exceeded {
    /// It needs more memory than it may have.
    #[error("needs more than {bytes_max} bytes of memory")]
    Bytes {
        /// What it may have.
        bytes_max: u64,
    },
    /// Its result has more rows than it may have.
    #[error("gives more than {rows_max} rows")]
    Rows {
        /// What it may have.
        rows_max: u64,
    },
    /// It was told to stop.
    #[error("was stopped")]
    Stopped,
}

/// What one run may take.
pub struct Budget<'a> {
    bytes_max: u64,
    rows_max: u64,
    stopped: &'a (dyn Fn() -> bool + Sync),
    taken: AtomicU64,
}

impl std::fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("bytes_max", &self.bytes_max).field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl<'a> Budget<'a> {
    /// As much as it likes.
    pub fn unlimited() -> Budget<'a> {
        Budget::new(u64::MAX, u64::MAX, &|| false)
    }

    /// At most so many bytes at any moment and so many rows in the end; `stopped` is asked again and again whether to go on.
    pub fn new(bytes_max: u64, rows_max: u64, stopped: &'a (dyn Fn() -> bool + Sync)) -> Budget<'a> {
        Budget { bytes_max, rows_max, stopped, taken: AtomicU64::new(0) }
    }

    /// Whether to go on.
    pub fn check(&self) -> Result<(), PipelineError> {
        if (self.stopped)() { Err(Exceeded::Stopped.into()) } else { Ok(()) }
    }

    /// Takes memory, until the value that is returned is dropped.
    pub fn take(&self, bytes: u64) -> Result<Taken<'_>, PipelineError> {
        let mut taken = Taken { budget: self.taken(), bytes_max: self.bytes_max, bytes: 0 };
        taken.grow(bytes)?;
        Ok(taken)
    }

    fn taken(&self) -> &AtomicU64 {
        &self.taken
    }

    /// Bytes that may still be taken.
    pub(super) fn left(&self) -> u64 {
        self.bytes_max.saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    pub(super) fn check_rows(&self, rows: usize) -> Result<(), PipelineError> {
        let rows_max = self.rows_max;
        if rows as u64 > rows_max { Err(Exceeded::Rows { rows_max }.into()) } else { Ok(()) }
    }

    /// Counts a frame.
    pub(super) fn hold(&self, frame: DataFrame) -> Result<Held<'_>, PipelineError> {
        self.check()?;
        let taken = self.take(frame_bytes(&frame))?;
        Ok(Held { frame, _taken: taken })
    }

    /// Counts what the encoded rows of a frame take.
    pub(super) fn take_encoded(&self, frame: &DataFrame) -> Result<Taken<'_>, PipelineError> {
        self.check()?;
        self.take(encoded_bytes(frame))
    }
}

/// Memory that is counted until this is dropped.
#[derive(Debug)]
pub struct Taken<'b> {
    budget: &'b AtomicU64,
    bytes_max: u64,
    bytes: u64,
}

impl Taken<'_> {
    /// Takes more.
    pub fn grow(&mut self, bytes: u64) -> Result<(), PipelineError> {
        let before = self.budget.fetch_add(bytes, Ordering::Relaxed);
        self.bytes = self.bytes.saturating_add(bytes);
        if before.saturating_add(bytes) > self.bytes_max {
            return Err(Exceeded::Bytes { bytes_max: self.bytes_max }.into());
        }
        Ok(())
    }

    /// Takes so much in all; gives nothing back.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), PipelineError> {
        self.grow(bytes.saturating_sub(self.bytes))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A frame that is counted.
pub(super) struct Held<'b> {
    pub(super) frame: DataFrame,
    _taken: Taken<'b>,
}

/// What the rows of a frame take when written out one after the other. (Columns may share texts; then it is more than is in use.)
pub fn frame_bytes(frame: &DataFrame) -> u64 {
    frame.columns().iter().map(column_bytes).sum()
}

/// What [`crate::canonical`] makes of the rows.
fn encoded_bytes(frame: &DataFrame) -> u64 {
    const END: u64 = 8;
    frame_bytes(frame) + frame.height() as u64 * (frame.width() as u64 + END)
}

pub(super) fn column_bytes(column: &Column) -> u64 {
    // Also one that is not needed, and is NULL throughout: what joins or appends rows writes it out.
    let height = column.len() as u64;
    let width = match column.dtype() {
        PolarsType::Boolean => 1,
        PolarsType::Int32 | PolarsType::Date => 4,
        PolarsType::Decimal(..) | PolarsType::String => 16,
        _ => 8,
    };
    let texts = match (column.dtype(), column) {
        (PolarsType::String, Column::Scalar(scalar)) => {
            scalar.scalar().value().get_str().map_or(0, |text| text.len() as u64) * height
        }
        (PolarsType::String, column) => {
            column.str().map_or(0, |texts| texts.downcast_iter().map(|array| array.total_bytes_len() as u64).sum())
        }
        _ => 0,
    };
    height * width + texts
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(100, 10, &|| false);
        let mut first = budget.take(60).unwrap();
        assert!(budget.take(41).is_err());
        first.grow(40).unwrap();
        assert_eq!(budget.left(), 0);
        drop(first);
        assert_eq!(budget.left(), 100);
        assert!(budget.check_rows(10).is_ok() && budget.check_rows(11).is_err());
        assert!(Budget::new(1, 1, &|| true).check().is_err());
    }

    #[test]
    fn texts_count_as_long_as_they_are() {
        let frame = df!("a" => [Some("x".repeat(1000)), None], "b" => [1i64, 2]).unwrap();
        assert_eq!(frame_bytes(&frame), 1000 + 2 * 16 + 2 * 8);
        // Shared or not.
        let twice = frame.vstack(&frame).unwrap();
        assert_eq!(frame_bytes(&twice), 2 * frame_bytes(&frame));
    }
}
