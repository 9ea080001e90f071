//! What one query reads: a manifest, and a state of the live part that has an edge at its cut.

use std::sync::Arc;

use watershed_batch::Manifest;
use watershed_log::Position;
use watershed_speed::{SpeedSnapshot, replay};

use crate::{
    error::{Result, ServingError},
    serving::{ReadOptions, Serving, built_by},
};

/// A manifest and a snapshot that fit. Nothing that happens later changes what is read through it.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub manifest: Option<Arc<Manifest>>,
    pub snapshot: Arc<SpeedSnapshot>,
    /// The manifest's cut.
    pub low: Position,
    /// Up to where is read; the snapshot's position if `None`.
    pub high: Option<Position>,
}

impl Pin {
    fn new(manifest: Option<Arc<Manifest>>, snapshot: Arc<SpeedSnapshot>, high: Option<Position>) -> Pin {
        let low = cut(manifest.as_ref());
        Pin { manifest, snapshot, low, high }
    }

    /// Every record below it is in the answer.
    pub fn head(&self) -> Position {
        self.high.clone().unwrap_or_else(|| self.snapshot.position().max(&self.low))
    }
}

/// A manifest's cut; before the first one, the beginning of the log.
fn cut(manifest: Option<&Arc<Manifest>>) -> Position {
    manifest.map(|manifest| manifest.cut.clone()).unwrap_or_default()
}

impl Serving {
    pub(crate) fn pin(&self, options: &ReadOptions) -> Result<Pin> {
        match options.as_of {
            Some(epoch) => self.pin_at(epoch, options),
            None => self.pin_now(options),
        }
    }

    /// The newest manifest, or the one before it while the live part has not heard of the newest.
    fn pin_now(&self, options: &ReadOptions) -> Result<Pin> {
        let reaches = |snapshot: &SpeedSnapshot| options.at_least.as_ref().is_none_or(|p| snapshot.reaches(p));
        let fit = |snapshot: &Arc<SpeedSnapshot>| {
            let manifests = self.manifests();
            let fitting = manifests.into_iter().find(|manifest| self.fits(manifest.as_ref(), snapshot, None));
            fitting.map(|manifest| Pin::new(manifest, snapshot.clone(), None))
        };
        let snapshot = self.speed.snapshot();
        if reaches(&snapshot)
            && let Some(pin) = fit(&snapshot)
        {
            return Ok(pin);
        }
        // A store that fails for now keeps nobody from an answer that needs no newer manifest.
        let refreshed = self.refresh();
        let mut fits = |snapshot: &SpeedSnapshot| {
            let manifests = self.manifests();
            reaches(snapshot) && manifests.iter().any(|manifest| self.fits(manifest.as_ref(), snapshot, None))
        };
        let snapshot = self.speed.wait_until(&mut fits, options.timeout)?;
        if !reaches(&snapshot) {
            return Err(ServingError::NotReached { waited: options.timeout });
        }
        // The cut may have moved while waiting.
        if let Some(pin) = fit(&snapshot) {
            return Ok(pin);
        }
        refreshed?;
        self.refresh()?;
        let newest = self.manifests()[0].as_ref().map_or(0, |manifest| manifest.number);
        fit(&snapshot).ok_or(ServingError::OutOfStep { manifest: newest })
    }

    /// The newest kept manifest at or below the epoch, and the log from there to exactly the epoch.
    fn pin_at(&self, epoch: u64, options: &ReadOptions) -> Result<Pin> {
        let not_kept = |reason: String| ServingError::NotKept { epoch, reason };
        let Some(high) = self.batch.epoch(epoch)? else {
            return Err(not_kept("the store does not have it".to_owned()));
        };
        if options.at_least.as_ref().is_some_and(|position| !position.le(&high)) {
            return Err(not_kept("the position asked for lies above it".to_owned()));
        }
        let manifest = self.batch.at_or_below(epoch)?;
        let low = cut(manifest.as_ref());
        let snapshot = self.speed.snapshot();
        if self.fits(manifest.as_ref(), &snapshot, Some(&high)) {
            return Ok(Pin::new(manifest, snapshot, Some(high)));
        }
        let Some(log) = &self.log else {
            return Err(not_kept("this process has no log to replay".to_owned()));
        };
        // The views' own log records must still be there.
        let start = log.start()?;
        if !start.le(&low) {
            let oldest = self.batch.oldest_epoch()?;
            let oldest = oldest.map_or("no epoch".to_owned(), |oldest| format!("epoch {oldest}"));
            return Err(not_kept(format!(
                "the records above the manifest before it are no longer in the log; the oldest manifest kept is of {oldest}"
            )));
        }
        let built = manifest.as_ref().map(|manifest| built_by(manifest)).unwrap_or_default();
        let (catalog, options) = (self.catalog.clone(), self.speed_options.clone());
        let snapshot = replay(catalog, &self.registry, log.clone(), options, &built, Some(&high))?;
        if !self.fits(manifest.as_ref(), &snapshot, Some(&high)) {
            return Err(not_kept("the log does not reach it".to_owned()));
        }
        Ok(Pin::new(manifest, snapshot, Some(high)))
    }

    /// Whether the live part has, for every view, what the manifest does not.
    fn fits(&self, manifest: Option<&Arc<Manifest>>, snapshot: &SpeedSnapshot, high: Option<&Position>) -> bool {
        let low = cut(manifest);
        snapshot.covers(&low, high)
            && self.catalog.materialized().all(|(view, _)| {
                let built = manifest.is_some_and(|manifest| self.is_built(manifest, &view.name));
                // What no run has built, the live part answers from the first record on: it must have read up to the cut.
                (built || snapshot.reaches(&low)) && snapshot.fits(&view.name, built.then_some(&low), high)
            })
    }
}
