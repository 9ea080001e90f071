//! The speed side of the gate before a manifest: what the process that holds the log says to a batch run.

use std::{collections::BTreeMap, sync::Arc};

use watershed_batch::{AskedView, ParityQuestion, ParitySummary, SpeedParity, ViewSummary, declaration};
use watershed_log::simulation::SimulatedProcess;
use watershed_pipelines::{
    partial::{CoreKernel, Partials},
    source::ViewCounts,
};
use watershed_speed::{SpeedLayer, SpeedSnapshot};

use super::definitions::ALL;

/// The holder's speed layer, as long as the holder lives.
pub struct HolderParity {
    /// The holder.
    pub process: Arc<SimulatedProcess>,
    /// Its speed layer.
    pub speed: Arc<SpeedLayer>,
    /// Its definitions.
    pub definitions: usize,
}

impl SpeedParity for HolderParity {
    fn summary(&self, question: &ParityQuestion) -> Result<Option<ParitySummary>, String> {
        if !self.process.is_running() {
            return Ok(None);
        }
        let snapshot = self.snapshot_for(question)?;
        let mut summary = ParitySummary::default();
        for (view, asked) in &question.views {
            summary.views.insert(view.clone(), self.summarise(&snapshot, question, view, asked));
        }
        for (source, declared) in &ALL[self.definitions].catalog.sources {
            if question.declarations.get(source) != Some(&declaration(declared)) {
                continue;
            }
            let counts = snapshot.source_counts(source, &question.low, Some(&question.high));
            summary.sources.insert(source.clone(), counts.map_err(|error| error.to_string())?);
        }
        Ok(Some(summary))
    }

    fn partition(
        &self,
        question: &ParityQuestion,
        view: &str,
        partition: &str,
        kernel: &CoreKernel,
    ) -> Result<Partials, String> {
        let snapshot = self.snapshot_for(question)?;
        let asked = &question.views[view];
        let whole = self.whole(&snapshot, question, view, asked)?;
        let mut parts = kernel.split(whole).map_err(|error| error.to_string())?;
        Ok(parts.remove(partition).unwrap_or_else(|| kernel.empty()))
    }
}

impl HolderParity {
    /// A snapshot with edges at both cuts. Nobody else acts meanwhile, so the speed layer is made to read that far.
    fn snapshot_for(&self, question: &ParityQuestion) -> Result<Arc<SpeedSnapshot>, String> {
        self.speed.add_epoch(&question.high).map_err(|error| error.to_string())?;
        while !self.speed.snapshot().reaches(&question.high) {
            if !self.speed.step().map_err(|error| error.to_string())? {
                return Err("the speed layer has not read up to the new cut".to_owned());
            }
        }
        let snapshot = self.speed.snapshot();
        match snapshot.covers(&question.low, Some(&question.high)) {
            true => Ok(snapshot),
            false => Err("the speed layer does not begin at the old cut".to_owned()),
        }
    }

    fn parts(
        &self,
        snapshot: &SpeedSnapshot,
        question: &ParityQuestion,
        view: &str,
        asked: &AskedView,
    ) -> Result<Vec<Arc<Partials>>, String> {
        let definitions = &ALL[self.definitions];
        if !definitions.kernels.contains_key(view) || definitions.fingerprint(view) != asked.fingerprint {
            return Err("the process that runs the speed layer has another definition".to_owned());
        }
        let from_zero = snapshot.cut().is_zero() && question.low.is_zero();
        let low = (!asked.all || from_zero).then_some(&question.low);
        if low.is_none() && !snapshot.fits(view, None, Some(&question.high)) {
            return Err("it is built anew, and the speed layer has only what is new".to_owned());
        }
        snapshot.view(view, low, Some(&question.high)).map_err(|error| error.to_string())
    }

    fn whole(
        &self,
        snapshot: &SpeedSnapshot,
        question: &ParityQuestion,
        view: &str,
        asked: &AskedView,
    ) -> Result<Partials, String> {
        let parts = self.parts(snapshot, question, view, asked)?;
        let kernel = &ALL[self.definitions].kernels[view];
        kernel.merge(&parts.iter().map(|part| &**part).collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    fn summarise(
        &self,
        snapshot: &SpeedSnapshot,
        question: &ParityQuestion,
        view: &str,
        asked: &AskedView,
    ) -> Result<ViewSummary, String> {
        let mut counts = ViewCounts::default();
        self.parts(snapshot, question, view, asked)?.iter().for_each(|part| counts.merge(&part.counts));
        let kernel = &ALL[self.definitions].kernels[view];
        let parts = kernel.split(self.whole(snapshot, question, view, asked)?).map_err(|error| error.to_string())?;
        let hex = |part: &Partials| blake3::Hash::from_bytes(kernel.digest(part)).to_hex().to_string();
        let partitions: BTreeMap<String, String> = parts.iter().map(|(name, part)| (name.clone(), hex(part))).collect();
        Ok(ViewSummary { partitions, counts })
    }
}
