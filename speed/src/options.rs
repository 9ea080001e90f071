//! Bounds of the speed layer.

use serde::{Deserialize, Serialize};

/// Bounds and batch sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeedOptions {
    /// Memory of one view's partials, in bytes; a view that reaches it is stalled.
    pub view_bytes_max: usize,
    /// At this share of `view_bytes_max`, in percent, an early batch run is asked for.
    pub wants_batch_percent: u8,
    /// Bytes of log that one step takes of one source at most.
    pub step_bytes_max: usize,
    /// Merges of more records than this are left to another thread while the layer runs.
    pub inline_merge_records_max: u64,
    /// Rejected records that are listed per view and run; the counts are always exact. (Dead letters are not listed here: any number
    /// of them takes no memory.)
    pub listed_max: usize,
}

impl Default for SpeedOptions {
    fn default() -> Self {
        SpeedOptions {
            view_bytes_max: 512 << 20,
            wants_batch_percent: 75,
            step_bytes_max: 32 << 20,
            inline_merge_records_max: 20_000,
            listed_max: 1000,
        }
    }
}

impl SpeedOptions {
    /// Bytes at which an early batch run is asked for.
    pub fn wants_batch_bytes(&self) -> usize {
        self.view_bytes_max / 100 * usize::from(self.wants_batch_percent)
    }
}
