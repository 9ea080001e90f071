//! A batch side that has nothing: what speed answers alone.

use std::sync::Arc;

use watershed_batch::{Asked, BatchError, Manifest};
use watershed_log::Position;
use watershed_pipelines::{key::KeyFilter, partial::Partials};
use watershed_serving::BatchSide;

/// No batch has ever run.
pub struct NoBatch;

impl BatchSide for NoBatch {
    fn newest(&self, _known: Option<&Arc<Manifest>>) -> Result<Option<Arc<Manifest>>, BatchError> {
        Ok(None)
    }

    fn at_or_below(&self, _epoch: u64) -> Result<Option<Arc<Manifest>>, BatchError> {
        Ok(None)
    }

    fn epoch(&self, _epoch: u64) -> Result<Option<Position>, BatchError> {
        Ok(None)
    }

    fn oldest_epoch(&self) -> Result<Option<u64>, BatchError> {
        Ok(None)
    }

    fn read(&self, _manifest: &Arc<Manifest>, asked: &Asked<'_>, _filter: &KeyFilter) -> Result<Partials, BatchError> {
        Err(BatchError::Gone { object: asked.view.to_owned() })
    }
}
