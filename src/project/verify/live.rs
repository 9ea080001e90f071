//! Speed only: the records through a real speed layer, whose slices are taken away and gathered.

use std::sync::Arc;

use watershed_log::{EventLog, Position};
use watershed_speed::{Built, SpeedLayer, SpeedOptions, SpeedSnapshot};

use super::{
    Checking,
    cuts::{self, Cut},
    gather::Gather,
};
use crate::error::Error;

/// Bytes of a step and numbers of threads that rounds of a thorough check go through.
const SWEEP: [(usize, usize); 4] = [(32 << 20, 2), (4 << 10, 1), (64 << 10, 3), (1 << 20, 1)];

/// A speed layer with edges at the cuts reads all records; its slices are gathered by stretch. Those that memory has no room for
/// are gathered as soon as they are whole, and the layer's cut moves over them.
pub(super) fn fold<'a>(checking: &Checking<'a>, chain: &[Cut], round: usize) -> Result<Gather<'a>, Error> {
    let gather = Gather::new(checking.budget, checking.kernels);
    let scope = checking.scope;
    // What the log no longer has is a stretch of its own, which only the batch side has.
    let skipped = usize::from(scope.begins_below_log());
    let mut stretches = cuts::stretches(&scope.from, chain, &scope.head);
    let own = stretches.split_off(skipped);
    let low = scope.from.max(&scope.log_start);
    let layer = layer(checking, &low, chain, round)?;
    let threads = if checking.options.sweeps { SWEEP[round % SWEEP.len()].1 } else { 0 };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Internal(format!("threads cannot be started: {error}")))?;
    let mut taking = Taking { checking, layer: &layer, gather: &gather, cut: low, stretch: skipped };
    loop {
        let before = layer.snapshot().position().clone();
        let some = pool.install(|| layer.step())?;
        let snapshot = layer.snapshot();
        checking.read(Position::records_between(&before, snapshot.position()));
        if !some || snapshot.reaches(&scope.head) {
            break;
        }
        let bytes: usize = snapshot.views().values().map(|(_, bytes)| bytes).sum();
        if bytes > checking.budget.share() {
            taking.take_whole(&own, skipped)?;
        }
    }
    taking.take_rest(&own, skipped)?;
    Ok(gather)
}

fn layer(checking: &Checking<'_>, low: &Position, chain: &[Cut], round: usize) -> Result<SpeedLayer, Error> {
    // All views count as built up to where it begins.
    let fingerprints = checking.kernels.iter().map(|of| (of.view.name.clone(), of.view.fingerprint.clone())).collect();
    let built = Built { cut: low.clone(), fingerprints };
    let mut options =
        SpeedOptions { view_bytes_max: usize::MAX, listed_max: usize::MAX, ..checking.project.speed_options() };
    if checking.options.sweeps {
        options.step_bytes_max = SWEEP[round % SWEEP.len()].0;
    }
    let log: Arc<dyn EventLog> = Arc::clone(&checking.history.log);
    let layer = SpeedLayer::new(Arc::clone(&checking.catalog), checking.project.registry(), log, options, &built)?;
    for cut in chain {
        layer.add_epoch(&cut.position)?;
    }
    layer.add_epoch(&checking.scope.head)?;
    Ok(layer)
}

/// Slices on their way from the layer to a gathering.
struct Taking<'a> {
    checking: &'a Checking<'a>,
    layer: &'a SpeedLayer,
    gather: &'a Gather<'a>,
    /// Up to where they were taken.
    cut: Position,
    /// The stretch that begins or goes on there.
    stretch: usize,
}

impl Taking<'_> {
    /// Takes everything that was read, and moves the layer's cut.
    fn take_whole(&mut self, stretches: &[cuts::Stretch], first: usize) -> Result<(), Error> {
        let read = self.layer.snapshot().position().clone();
        while let Some((_, high)) = stretches.get(self.stretch - first) {
            let (whole, high) = (high, self.below(&read, high));
            self.layer.add_epoch(&high)?;
            self.take(&self.layer.snapshot(), &high)?;
            let fingerprints =
                self.checking.kernels.iter().map(|of| (of.view.name.clone(), of.view.fingerprint.clone()));
            self.layer.advance_cut(&Built { cut: high.clone(), fingerprints: fingerprints.collect() })?;
            if !whole.le(&high) {
                break;
            }
            self.stretch += 1;
        }
        Ok(())
    }

    /// The part of an edge that was read. Sources that no view reads are not waited for.
    fn below(&self, read: &Position, edge: &Position) -> Position {
        let mut position = Position::new();
        for (source, partition, offset) in edge.iter() {
            let is_read = self.checking.catalog.source(source).is_some();
            let offset = if is_read { offset.min(read.partition(source, partition)) } else { offset };
            position.set(source, partition, offset);
        }
        position
    }

    /// Takes what is left, all slices at once.
    fn take_rest(&mut self, stretches: &[cuts::Stretch], first: usize) -> Result<(), Error> {
        let snapshot = self.layer.snapshot();
        while let Some((_, high)) = stretches.get(self.stretch - first) {
            self.take(&snapshot, high)?;
            self.stretch += 1;
        }
        Ok(())
    }

    fn take(&mut self, snapshot: &SpeedSnapshot, high: &Position) -> Result<(), Error> {
        for (index, of) in self.checking.kernels.iter().enumerate() {
            for partials in snapshot.view(&of.view.name, Some(&self.cut), Some(high))? {
                self.gather.add(index, self.stretch, &partials)?;
            }
        }
        self.cut = high.clone();
        Ok(())
    }
}
