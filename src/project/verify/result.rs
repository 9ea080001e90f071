//! What a check found.

use serde::Serialize;
use watershed_pipelines::{partial::RowDifferences, source::ViewCounts};

use super::LISTED_MAX;

/// What a check of one view found.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verified {
    /// The view.
    pub view: String,
    /// Whether it is kept by both layers; of a derived one, the answers are compared.
    pub materialized: bool,
    /// Whether every record was recomputed, from the first one on.
    pub complete: bool,
    /// Records of its source that were recomputed.
    pub records: u64,
    /// Records of its source in all.
    pub records_in_all: u64,
    /// Its rows (groups, or panes of hopping windows) of those records.
    pub rows: u64,
    /// What happened to those records.
    pub counts: ViewCounts,
    /// Digest of the canonical rows (hex).
    pub digest: String,
    /// The cuts tried, by name.
    pub cuts: Vec<String>,
    /// The ways whose rows were compared with batch only, by name.
    pub ways: Vec<String>,
    /// Stored partitions that were read and compared with the manifest's digests.
    pub stored_partitions: u64,
    /// Stored partitions in all.
    pub stored_partitions_in_all: u64,
    /// What was not covered, and why.
    pub not_covered: Vec<String>,
    /// How many differences there are, as far as they were counted.
    pub differing: u64,
    /// The first of them; empty if all is well.
    pub differences: Vec<Difference>,
}

/// A difference between batch only and another way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// The other way.
    pub way: String,
    /// The key whose row differs (`card = a, window_start = 2024-01-01T00:00:00Z`), or what else does.
    pub key: String,
    /// The values in batch only; `None`: there is no such row.
    pub expected: Option<String>,
    /// The values in the other way; `None`: there is no such row.
    pub found: Option<String>,
}

impl Verified {
    pub(super) fn new(view: &str, materialized: bool) -> Verified {
        Verified {
            view: view.to_owned(),
            materialized,
            complete: true,
            records: 0,
            records_in_all: 0,
            rows: 0,
            counts: ViewCounts::default(),
            digest: String::new(),
            cuts: Vec::new(),
            ways: Vec::new(),
            stored_partitions: 0,
            stored_partitions_in_all: 0,
            not_covered: Vec::new(),
            differing: 0,
            differences: Vec::new(),
        }
    }

    /// Whether all ways gave the same.
    pub fn is_equal(&self) -> bool {
        self.differing == 0
    }

    /// Notes a way that was compared.
    pub(super) fn way(&mut self, way: &str) {
        if !self.ways.iter().any(|known| known == way) {
            self.ways.push(way.to_owned());
        }
    }

    pub(super) fn differ(&mut self, way: &str, key: &str, expected: Option<String>, found: Option<String>) {
        self.differing += 1;
        if self.has_room(way) {
            let (way, key) = (way.to_owned(), key.to_owned());
            self.differences.push(Difference { way, key, expected, found });
        }
    }

    /// Differing rows: the left ones are those of batch only.
    pub(super) fn rows_differ(&mut self, way: &str, rows: RowDifferences) {
        let listed = rows.listed.len() as u64;
        for row in rows.listed {
            self.differ(way, &row.key, row.left, row.right);
        }
        self.differing += rows.count - listed;
    }

    /// Counts that are not the same.
    pub(super) fn compare<T: PartialEq + std::fmt::Debug>(&mut self, way: &str, what: &str, expected: &T, found: &T) {
        if expected != found {
            self.differ(way, what, Some(format!("{expected:?}")), Some(format!("{found:?}")));
        }
    }

    /// A way that differs is always named, also if others have filled the list.
    fn has_room(&self, way: &str) -> bool {
        self.differences.len() < LISTED_MAX || self.differences.iter().all(|known| known.way != way)
    }
}
