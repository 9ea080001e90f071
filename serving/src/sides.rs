//! The two sides that an answer is merged from.

use std::{sync::Arc, time::Duration};

use polars::prelude::DataFrame;
use watershed_batch::{Asked, BatchError, Manifest};
use watershed_log::Position;
use watershed_pipelines::{key::KeyFilter, partial::Partials, tail::Take};
use watershed_speed::{SpeedLayer, SpeedSnapshot};

use crate::error::Result;

/// Where manifests and the partials they name are read from.
pub trait BatchSide: Send + Sync {
    /// The newest manifest; `known`, if that still is the newest.
    fn newest(&self, known: Option<&Arc<Manifest>>) -> Result<Option<Arc<Manifest>>, BatchError>;

    /// The newest kept manifest whose cut is the epoch `epoch` or one before it.
    fn at_or_below(&self, epoch: u64) -> Result<Option<Arc<Manifest>>, BatchError>;

    /// The position of an epoch, if it is kept.
    fn epoch(&self, epoch: u64) -> Result<Option<Position>, BatchError>;

    /// The oldest epoch that a kept manifest has as its cut.
    fn oldest_epoch(&self) -> Result<Option<u64>, BatchError>;

    /// A view's partials at the manifest's cut: all that the needed columns of the finished rows with keys in `filter` are made of; others
    /// may be left out. Stops reading where they take more than the budget.
    fn read(&self, manifest: &Arc<Manifest>, asked: &Asked<'_>, filter: &KeyFilter) -> Result<Partials, BatchError>;

    /// What the needed columns of all finished rows of a view at the manifest's cut are made of, together with the partials `others`: rows
    /// that are finished as they are stored, if the side has such (with those columns alone), and the partials of the rest, among them
    /// those of every key in `others`.
    fn read_beside(
        &self,
        manifest: &Arc<Manifest>,
        asked: &Asked<'_>,
        _others: &Partials,
    ) -> Result<(Option<DataFrame>, Partials), BatchError> {
        Ok((None, self.read(manifest, asked, &KeyFilter::all())?))
    }

    /// [`BatchSide::read_beside`], the rows given to `take` in parts, from several threads. Ends with an error of `take`, if there is one.
    fn read_parts_beside(
        &self,
        manifest: &Arc<Manifest>,
        asked: &Asked<'_>,
        others: &Partials,
        take: Take<'_>,
    ) -> Result<Partials, BatchError> {
        let (rows, partials) = self.read_beside(manifest, asked, others)?;
        let taken = rows.map_or(Ok(()), take);
        taken.map_err(|cause| BatchError::Pipeline { view: asked.view.to_owned(), cause })?;
        Ok(partials)
    }
}

/// Where the live part is kept.
pub trait SpeedSide: Send + Sync {
    /// Its newest state.
    fn snapshot(&self) -> Arc<SpeedSnapshot>;

    /// The first state for which `good` holds; the newest one after `timeout`.
    fn wait_until(&self, good: &mut dyn FnMut(&SpeedSnapshot) -> bool, timeout: Duration)
    -> Result<Arc<SpeedSnapshot>>;
}

impl SpeedSide for SpeedLayer {
    fn snapshot(&self) -> Arc<SpeedSnapshot> {
        SpeedLayer::snapshot(self)
    }

    fn wait_until(
        &self,
        good: &mut dyn FnMut(&SpeedSnapshot) -> bool,
        timeout: Duration,
    ) -> Result<Arc<SpeedSnapshot>> {
        Ok(SpeedLayer::wait_until(self, good, timeout)?)
    }
}

/// A live part that does not move: of a process that runs no speed layer and replayed the log once
/// ([`watershed_speed::replay`]).
#[derive(Clone, Debug)]
pub struct FixedSpeed(pub Arc<SpeedSnapshot>);

impl SpeedSide for FixedSpeed {
    fn snapshot(&self) -> Arc<SpeedSnapshot> {
        self.0.clone()
    }

    fn wait_until(
        &self,
        _good: &mut dyn FnMut(&SpeedSnapshot) -> bool,
        _timeout: Duration,
    ) -> Result<Arc<SpeedSnapshot>> {
        Ok(self.0.clone())
    }
}
