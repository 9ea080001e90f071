//! Partials: the mergeable state of a view, one row per key and window.
//!
//! A [`CoreKernel`] is a [`Core`](crate::core::Core) compiled once. It builds [`Partials`] from batches of records, merges, selects
//! and divides them, finishes them into rows and turns them into frames for storage and back. Whatever way the records took
//! (batches, threads, order of merges), the same records give the same bytes.

mod differences;
mod digest;
mod finish;
mod grouping;
mod inputs;
mod kernel;
mod panes;
mod partitions;
mod reduction;
mod storage;
mod stored;
mod table;
#[cfg(test)]
mod tests;

use self::table::Table;
use crate::{error::Failure, source::ViewCounts};

pub use self::{
    differences::{RowDifference, RowDifferences},
    kernel::{CoreKernel, PartialsBuilder, Selection},
    partitions::{PartitionFilter, PartitionRows},
    reduction::{Reduced, Reduction, RowFailure},
    storage::TableLayout,
    stored::StoredColumns,
};
pub(crate) use self::{reduction::ReductionPart, storage::RESERVED_PREFIXES, table::WORTH_THREADS};

/// A record for which an expression of a view failed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rejected {
    /// Log partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// Why.
    pub failure: Failure,
    /// The output column (or `WHERE`) whose expression failed.
    pub column: String,
}

/// The state that a set of records gives one view.
#[derive(Clone, Debug)]
pub struct Partials {
    /// What happened to the records.
    pub counts: ViewCounts,
    /// The rejected records, sorted by partition and offset.
    pub rejected: Vec<Rejected>,
    /// The groups, then the values of each `COUNT(DISTINCT)`.
    pub(crate) tables: Vec<Table>,
}

impl Partials {
    /// Rows of the groups' table.
    pub fn len(&self) -> usize {
        self.tables.first().map_or(0, |table| table.keys.len())
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory it takes, about.
    pub fn memory_bytes(&self) -> usize {
        let rejected = self.rejected.iter().map(|r| size_of::<Rejected>() + r.column.len()).sum::<usize>();
        rejected + self.tables.iter().map(Table::memory_bytes).sum::<usize>()
    }
}
