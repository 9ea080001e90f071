//! What one question may take: as configured, and as asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watershed_serving::Limits;

use crate::config::QueryConfig;

/// What one question may take, where it is not to be as configured (`[query]`). Where a running process answers, its own
/// configuration still is the most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryLimits {
    /// Rows of the answer.
    pub max_rows: Option<u64>,
    /// Bytes of memory.
    pub max_bytes: Option<u64>,
    /// Milliseconds until the answer.
    pub timeout_millis: Option<u64>,
}

impl QueryLimits {
    /// These limits; what is not given, as configured.
    pub(super) fn or(self, configured: &QueryConfig) -> Limits {
        Limits {
            rows_max: self.max_rows.unwrap_or(configured.max_rows),
            bytes_max: self.max_bytes.unwrap_or(configured.max_bytes.0),
            time_max: self.timeout_millis.map_or(configured.timeout.0, Duration::from_millis),
        }
    }

    /// These limits, but no more than configured.
    pub(super) fn at_most(self, configured: &QueryConfig) -> Limits {
        self.or(configured).at_most(QueryLimits::default().or(configured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_can_only_ask_for_less() {
        let configured = QueryConfig { max_rows: 10, ..QueryConfig::default() };
        let asked = QueryLimits { max_rows: Some(20), max_bytes: Some(1), timeout_millis: None };
        assert_eq!(asked.or(&configured).rows_max, 20);
        let limits = asked.at_most(&configured);
        assert_eq!((limits.rows_max, limits.bytes_max, limits.time_max), (10, 1, configured.timeout.0));
    }
}
