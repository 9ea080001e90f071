//! Which records are recomputed, and from what.

use std::{collections::BTreeMap, sync::Arc};

use watershed_batch::{Manifest, ViewReader};
use watershed_log::Position;
use watershed_pipelines::catalog::View;

use super::{
    VerifyOptions,
    cuts::{self, Cut},
    result::Verified,
};
use crate::{
    error::Error,
    project::{Project, history::History},
};

/// What is covered.
pub(super) struct Scope {
    /// From where on records are recomputed.
    pub from: Position,
    pub head: Position,
    pub log_start: Position,
    /// What is stored below `from`, if something is: the rows that the recomputed ones are merged with.
    pub base: Option<ViewReader>,
    pub chain: Vec<Cut>,
    /// Records that are recomputed.
    pub records: u64,
    by_source: BTreeMap<String, (u64, u64)>,
}

impl Scope {
    pub fn new(project: &Project, history: &History, options: &VerifyOptions) -> Result<Scope, Error> {
        let (head, log_start, store) = (history.log.head()?, history.start.clone(), project.store()?);
        let mut kept: Vec<Arc<Manifest>> = Vec::new();
        for number in store.manifest_numbers()? {
            // One that was forgotten since the listing is not kept.
            kept.extend(store.manifest(number)?.filter(|manifest| manifest.cut.le(&head)).map(Arc::new));
        }
        let near = |position: &Position| Position::records_between(position, &head) <= options.records_max;
        let (from, base) = if near(&Position::new()) {
            (Position::new(), None)
        } else if let Some(manifest) = kept.iter().find(|manifest| log_start.le(&manifest.cut) && near(&manifest.cut)) {
            (manifest.cut.clone(), Some(Arc::clone(manifest)))
        } else {
            (newest(&head, &log_start, options.records_max), None)
        };
        // At or above `from`, ascending; of a quick check the newest one only.
        let mut manifests: Vec<Arc<Manifest>> = kept.into_iter().filter(|manifest| from.le(&manifest.cut)).collect();
        if !options.sweeps && manifests.len() > 1 {
            manifests.drain(..manifests.len() - 1);
        }
        let chain = cuts::chain(&store, (&from, &log_start, &head), &manifests, options)?;
        let mut by_source: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (source, partition, offset) in head.iter() {
            let (records, in_all) = by_source.entry(source.to_owned()).or_default();
            *records += offset.saturating_sub(from.partition(source, partition));
            *in_all += offset;
        }
        let records = Position::records_between(&from, &head);
        let base = base.map(|manifest| ViewReader::new(store, manifest));
        Ok(Scope { from, head, log_start, base, chain, records, by_source })
    }

    /// Whether the first records are no longer in the log.
    pub fn begins_below_log(&self) -> bool {
        !self.log_start.le(&self.from)
    }

    /// Whether everything stored can be recomputed: nothing lies below `from`, or it is merged with what is stored there.
    pub fn has_base(&self, view: &View) -> bool {
        self.from.is_zero() || self.base.as_ref().is_some_and(|base| base.state(&view.name, &view.fingerprint).is_ok())
    }

    /// The result for a view, with what is known beforehand.
    pub fn begin(&self, view: &View, source: &str) -> Verified {
        let mut verified = Verified::new(&view.name, true);
        (verified.records, verified.records_in_all) = self.by_source.get(source).copied().unwrap_or_default();
        verified.complete = self.from.is_zero();
        verified.cuts = self.chain.iter().map(|cut| cut.name.clone()).collect();
        if !verified.complete {
            let (some, all) = (verified.records, verified.records_in_all);
            let below = match &self.base {
                Some(base) => format!("those before are taken from manifest {}", base.manifest().number),
                None => "those before, and what is stored of them, are not recomputed".to_owned(),
            };
            verified.not_covered.push(format!("the newest {some} of {all} records were recomputed; {below}"));
        }
        verified
    }
}

/// A position with about so many records above it.
fn newest(head: &Position, log_start: &Position, records: u64) -> Position {
    let all = Position::records_between(&Position::new(), head).max(1);
    let mut from = Position::new();
    for (source, partition, offset) in head.iter() {
        let share = u128::from(offset) * u128::from(records) / u128::from(all);
        let low = offset - (share as u64).min(offset);
        from.set(source, partition, low.max(log_start.partition(source, partition)));
    }
    from
}
