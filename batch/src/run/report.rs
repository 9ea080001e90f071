//! What a run did.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use watershed_log::Position;
use watershed_pipelines::source::SourceCounts;

use super::parity::ParityReport;

/// What a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The manifest that was published; `None` if there was nothing to do.
    pub published: Option<u64>,
    /// The epoch that was taken as the cut.
    pub epoch: u64,
    /// The cut.
    pub cut: Position,
    /// What happened to the records since the previous cut, by source.
    pub sources: BTreeMap<String, SourceCounts>,
    /// Records read, for whatever purpose.
    pub records: u64,
    /// Their payloads, in bytes.
    pub bytes: u64,
    /// What happened to each view.
    pub views: BTreeMap<String, ViewReport>,
    /// Views of the previous manifest that the definitions no longer have.
    pub dropped: Vec<String>,
    /// Files written into the archive.
    pub archive_files: u64,
    /// Bytes written into the store.
    pub bytes_written: u64,
    /// Sorted runs that went to the scratch directory.
    pub spilled_runs: u64,
    /// With `full`: the partitions in which the recomputed rows differed (and were repaired).
    pub repaired: Vec<String>,
    /// Files of the archive that were damaged and have been made anew.
    pub archived_again: Vec<String>,
    /// How the new records' partials compared with the speed layer's; `None` if none runs, or nothing was to be compared.
    pub parity: Option<ParityReport>,
    /// Reading, decoding and building.
    pub scan: Duration,
    /// Merging and writing.
    pub merge: Duration,
    /// From beginning to end.
    pub total: Duration,
}

impl Report {
    /// Records read in a second, while scanning.
    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.scan.as_secs_f64().max(1e-9)
    }
}

/// How a view was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewBuild {
    /// From the previous partials and the new records.
    #[default]
    Incremental,
    /// From the first record on: the definition is new.
    New,
    /// From the first record on: the definition has changed.
    Changed,
    /// From the first record on: what was stored is damaged.
    Repaired,
}

/// What a run did to a view.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ViewReport {
    /// How it was built.
    pub build: ViewBuild,
    /// Partitions that were written.
    pub written: Vec<String>,
    /// How many partitions stayed as they were.
    pub kept: u64,
    /// Of those written, the ones that late records changed: older than the newest one before the run.
    pub late: Vec<String>,
    /// Rows of its main table.
    pub rows: u64,
    /// Bytes of its files.
    pub bytes: u64,
}
