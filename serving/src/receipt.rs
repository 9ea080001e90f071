//! Receipts: what an answer covers.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use watershed_log::Position;
use watershed_pipelines::{
    source::{SourceCounts, ViewCounts},
    types::{DataType, Value},
};

/// What an answer covers: it is a function of the views' definitions and of the records below `head`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// The manifest that was pinned; `None` before the first batch run.
    pub manifest: Option<u64>,
    /// The epoch that is the manifest's cut.
    pub epoch: Option<u64>,
    /// The cut: records below it were answered for by the batch side.
    pub cut: Position,
    /// Every record below this position is in the answer, and none above.
    pub head: Position,
    /// The materialized views that the answer is made of.
    pub views: BTreeMap<String, ViewReceipt>,
    /// What happened to the records of the sources of those views, up to the head. A source is left out whose declaration has
    /// changed since the manifest, or that came since, until a batch run has counted its records anew.
    pub sources: BTreeMap<String, SourceCounts>,
}

/// One materialized view's part of a receipt.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ViewReceipt {
    /// What its partials depend on.
    pub fingerprint: String,
    /// The source it reads.
    pub source: String,
    /// Whether its part up to the cut came from the batch side; otherwise the log was replayed from its beginning.
    pub built: bool,
    /// What happened to the source's accepted records in this view, up to the head.
    pub counts: ViewCounts,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.manifest, self.epoch) {
            (Some(manifest), Some(epoch)) => writeln!(f, "cut      epoch {epoch}, manifest {manifest}")?,
            _ => writeln!(f, "cut      none: no batch has run")?,
        }
        for (source, counts) in &self.sources {
            let offsets = |position: &Position| {
                let offsets = position.get(source).unwrap_or(&[]).iter().map(u64::to_string).collect::<Vec<_>>();
                format!("[{}]", offsets.join(" "))
            };
            writeln!(
                f,
                "source   {source}: offsets {} from the batch, {} in all",
                offsets(&self.cut),
                offsets(&self.head)
            )?;
            writeln!(
                f,
                "         {} records = {} accepted ({} late) + {} dead",
                counts.records, counts.accepted, counts.late, counts.dead
            )?;
            if let (Some(first), Some(last)) = (counts.event_time_min, counts.event_time_max) {
                let time = |micros| Value::Timestamp(micros).display(DataType::Timestamp).to_string();
                writeln!(f, "         event time {} to {}", time(first), time(last))?;
            }
        }
        for (name, view) in &self.views {
            let fingerprint: String = view.fingerprint.chars().take(12).collect();
            let built = if view.built { "" } else { ", not built by a batch yet" };
            writeln!(f, "view     {name} ({fingerprint}{built})")?;
            let counts = &view.counts;
            writeln!(
                f,
                "         {} accepted = {} counted + {} filtered + {} deduplicated + {} rejected",
                counts.accepted, counts.counted, counts.filtered, counts.deduplicated, counts.rejected
            )?;
        }
        Ok(())
    }
}
