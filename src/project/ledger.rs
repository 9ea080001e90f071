//! The ledger: nothing is dropped, and the numbers show it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use watershed_batch::Manifest;
use watershed_log::Position;
use watershed_pipelines::{
    catalog::Catalog,
    source::{SourceCounts, ViewCounts},
};
use watershed_speed::{SpeedSnapshot, ViewState};

/// What the speed layer holds: of this process, of the one that runs, or of a replay.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LiveFigures {
    /// The process that runs the speed layer; absent: nobody does, the log was replayed.
    pub pid: Option<u32>,
    /// Where it begins.
    pub cut: Position,
    /// Where it ends.
    pub position: Position,
    /// By source: what happened to the records between.
    pub sources: BTreeMap<String, SourceCounts>,
    /// By materialized view.
    pub views: BTreeMap<String, LiveView>,
}

/// One view's live part.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LiveView {
    /// Whether it can be asked.
    pub state: ViewState,
    /// Memory that it takes.
    pub bytes: u64,
    /// Rows of its partials, those of one key in several slices counted each time.
    pub rows: u64,
    /// What happened to the records above the cut.
    pub above_cut: ViewCounts,
    /// What happened to all records, for a view without a batch part.
    pub in_all: ViewCounts,
}

impl LiveFigures {
    pub(super) fn of(catalog: &Catalog, snapshot: &SpeedSnapshot, pid: Option<u32>) -> LiveFigures {
        let cut = snapshot.cut().clone();
        let sources = catalog
            .sources
            .keys()
            .map(|name| (name.clone(), snapshot.source_counts(name, &cut, None).unwrap_or_default()))
            .collect();
        let sum = |view: &str, low: Option<&Position>| {
            let mut counts = ViewCounts::default();
            let partials = snapshot.view(view, low, None).unwrap_or_default();
            partials.iter().for_each(|p| counts.merge(&p.counts));
            (counts, partials.iter().map(|p| p.len() as u64).sum())
        };
        let views = snapshot
            .views()
            .into_iter()
            .map(|(name, (state, bytes))| {
                let (above_cut, rows) = sum(&name, Some(&cut));
                let (in_all, _) = sum(&name, None);
                (name, LiveView { state, bytes: bytes as u64, rows, above_cut, in_all })
            })
            .collect();
        LiveFigures { pid, cut, position: snapshot.position().clone(), sources, views }
    }
}

/// What happened to every record of the project, up to a position.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Ledger {
    /// The sources whose records below the cut have been counted as they are declared now.
    pub sources: BTreeMap<String, SourceLedger>,
    /// The others: declared otherwise, or new, since the newest manifest. The next batch run counts their records anew.
    pub to_be_counted: BTreeSet<String>,
    /// Their materialized views whose live part can be asked.
    pub views: BTreeMap<String, ViewLedger>,
}

/// `log = records = accepted + dead`.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct SourceLedger {
    /// Records that were ever appended: the sum of the offsets.
    pub log: u64,
    /// What happened to them.
    pub counts: SourceCounts,
}

/// `accepted of the source = accepted = counted + filtered + deduplicated + rejected`.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ViewLedger {
    /// The source.
    pub source: String,
    /// Records that the source accepted.
    pub source_accepted: u64,
    /// What happened to them.
    pub counts: ViewCounts,
}

impl SourceLedger {
    /// Whether the numbers add up.
    pub fn adds_up(&self) -> bool {
        self.log == self.counts.records && self.counts.records == self.counts.accepted + self.counts.dead
    }
}

impl ViewLedger {
    /// Whether the numbers add up.
    pub fn adds_up(&self) -> bool {
        let counts = &self.counts;
        self.source_accepted == counts.accepted
            && counts.accepted == counts.counted + counts.filtered + counts.deduplicated + counts.rejected
    }
}

impl Ledger {
    /// From what the manifest holds up to the cut and the live part above it, which begins there.
    pub(super) fn of(catalog: &Catalog, manifest: Option<&Manifest>, live: &LiveFigures) -> Ledger {
        let mut ledger = Ledger::default();
        for (name, source) in &catalog.sources {
            let below = manifest.map_or(Some(SourceCounts::default()), |manifest| manifest.source_counts(source));
            let Some(mut counts) = below else {
                ledger.to_be_counted.insert(name.clone());
                continue;
            };
            counts.merge(&live.sources.get(name).copied().unwrap_or_default());
            let log = live.position.get(name).unwrap_or_default().iter().sum();
            ledger.sources.insert(name.clone(), SourceLedger { log, counts });
        }
        for (view, core) in catalog.materialized() {
            let Some(figures) = live.views.get(&view.name).filter(|v| v.state == ViewState::Ready) else { continue };
            let stored = manifest.and_then(|m| m.views.get(&view.name)).filter(|v| v.fingerprint == view.fingerprint);
            let counts = match stored {
                Some(stored) => {
                    let mut counts = stored.counts;
                    counts.merge(&figures.above_cut);
                    counts
                }
                None => figures.in_all,
            };
            let source = core.source.name.clone();
            let Some(source_accepted) = ledger.sources.get(&source).map(|s| s.counts.accepted) else { continue };
            ledger.views.insert(view.name.clone(), ViewLedger { source, source_accepted, counts });
        }
        ledger
    }

    /// Whether all numbers add up.
    pub fn adds_up(&self) -> bool {
        self.sources.values().all(SourceLedger::adds_up) && self.views.values().all(ViewLedger::adds_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_record_is_seen() {
        let counts = SourceCounts { records: 10, accepted: 9, dead: 1, ..SourceCounts::default() };
        let mut source = SourceLedger { log: 10, counts };
        assert!(source.adds_up());
        source.log = 11;
        assert!(!source.adds_up());
        let counts = ViewCounts { accepted: 9, counted: 5, filtered: 2, deduplicated: 1, rejected: 1 };
        let mut view = ViewLedger { source: "s".to_owned(), source_accepted: 9, counts };
        assert!(view.adds_up());
        view.counts.counted = 4;
        assert!(!view.adds_up());
    }
}
