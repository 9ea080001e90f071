//! The batch side of serving: manifests and views in the store.

use std::sync::Arc;

use polars::prelude::DataFrame;

use crate::sides::BatchSide;
use watershed_batch::{Asked, BatchError, Manifest, Store, ViewReader};
use watershed_log::Position;
use watershed_pipelines::{key::KeyFilter, partial::Partials, tail::Take};

/// The views and manifests of a store.
#[derive(Clone, Debug)]
pub struct StoredViews(pub Store);

impl BatchSide for StoredViews {
    fn newest(&self, known: Option<&Arc<Manifest>>) -> Result<Option<Arc<Manifest>>, BatchError> {
        let newer = self.0.latest_manifest_above(known.map_or(0, |manifest| manifest.number))?;
        Ok(newer.map(Arc::new).or_else(|| known.cloned()))
    }

    fn at_or_below(&self, epoch: u64) -> Result<Option<Arc<Manifest>>, BatchError> {
        Ok(self.0.manifest_at_or_below_epoch(epoch)?.map(Arc::new))
    }

    fn epoch(&self, epoch: u64) -> Result<Option<Position>, BatchError> {
        Ok(self.0.epoch(epoch)?.map(|epoch| epoch.position))
    }

    fn oldest_epoch(&self) -> Result<Option<u64>, BatchError> {
        for number in self.0.manifest_numbers()? {
            if let Some(manifest) = self.0.manifest(number)? {
                return Ok(Some(manifest.epoch));
            }
        }
        Ok(None)
    }

    fn read(&self, manifest: &Arc<Manifest>, asked: &Asked<'_>, filter: &KeyFilter) -> Result<Partials, BatchError> {
        self.reader(manifest).read_within(fingerprint(manifest, asked.view), asked, filter)
    }

    fn read_beside(
        &self,
        manifest: &Arc<Manifest>,
        asked: &Asked<'_>,
        others: &Partials,
    ) -> Result<(Option<DataFrame>, Partials), BatchError> {
        self.reader(manifest).read_beside(fingerprint(manifest, asked.view), asked, others)
    }

    fn read_parts_beside(
        &self,
        manifest: &Arc<Manifest>,
        asked: &Asked<'_>,
        others: &Partials,
        take: Take<'_>,
    ) -> Result<Partials, BatchError> {
        self.reader(manifest).read_parts_beside(fingerprint(manifest, asked.view), asked, others, take)
    }
}

impl StoredViews {
    fn reader(&self, manifest: &Arc<Manifest>) -> ViewReader {
        ViewReader::new(self.0.clone(), Arc::clone(manifest))
    }
}

fn fingerprint<'a>(manifest: &'a Manifest, view: &str) -> &'a str {
    manifest.views.get(view).map_or("", |state| &state.fingerprint)
}
