//! What readers see: one consistent state of all slices.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use watershed_log::Position;
use watershed_pipelines::{
    partial::{Partials, Rejected},
    source::{SourceCounts, ViewCounts},
};

use crate::{
    error::{Result, SpeedError},
    run::Run,
};

/// Whether the live part of a view can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// It can.
    Ready,
    /// The log is being replayed for it.
    Building,
    /// It reached its memory bound.
    Stalled,
    /// It has no batch part, and the log does not reach back to its first records.
    NotBuilt,
    /// Its kernel failed, or records of its source cannot be read.
    Failed(String),
}

/// A state of the speed layer. Immutable; holding it costs the memory of what has been dropped since.
#[derive(Clone, Debug, Default)]
pub struct SpeedSnapshot {
    pub(crate) cut: Position,
    pub(crate) position: Position,
    pub(crate) bounds: Vec<Position>,
    pub(crate) lanes: BTreeMap<String, LaneSnapshot>,
    pub(crate) view_bytes_max: usize,
}

/// One source's part of a snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneSnapshot {
    pub views: Vec<ViewSnapshot>,
    pub base: Vec<Arc<Run>>,
    pub slices: Vec<Vec<Arc<Run>>>,
}

/// One view of a lane.
#[derive(Clone, Debug)]
pub(crate) struct ViewSnapshot {
    pub name: String,
    /// Whether the batch side answers for it up to the cut, so that nothing is kept here from below.
    pub built: bool,
    pub state: ViewState,
}

/// Whether two positions are the same (a partition not named stands at 0).
pub(crate) fn same(a: &Position, b: &Position) -> bool {
    a.le(b) && b.le(a)
}

impl SpeedSnapshot {
    /// The low edge: records below it are not here (but for views without a batch part).
    pub fn cut(&self) -> &Position {
        &self.cut
    }

    /// Every record from the cut up to here is in the snapshot.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The positions above the cut at which slices end, ascending; the last slice is open.
    pub fn bounds(&self) -> &[Position] {
        &self.bounds
    }

    /// Whether the snapshot can answer from `low` up to `high` (its own position if `None`): both are edges of slices.
    pub fn covers(&self, low: &Position, high: Option<&Position>) -> bool {
        self.slices(Some(low), high).is_ok()
    }

    /// Whether every record below `position` is covered, as far as this project's sources go.
    pub fn reaches(&self, position: &Position) -> bool {
        position
            .iter()
            .filter(|(source, ..)| self.lanes.contains_key(*source))
            .all(|(source, partition, offset)| offset <= self.position.partition(source, partition))
    }

    /// Whether [`SpeedSnapshot::view`] can be asked for this range: both ends are edges, and the part from the beginning of the
    /// log is kept for this view if `low` is `None`. (The view may still be stalled.)
    pub fn fits(&self, view: &str, low: Option<&Position>, high: Option<&Position>) -> bool {
        self.locate(view, low, high).is_ok()
    }

    /// The partials of a view from the edge `low` up to the edge `high` (to its position if `None`). Without `low`: from the
    /// beginning of the log, for a view without a batch part.
    pub fn view(&self, view: &str, low: Option<&Position>, high: Option<&Position>) -> Result<Vec<Arc<Partials>>> {
        let (lane, index, slices) = self.locate(view, low, high)?;
        match &lane.views[index].state {
            ViewState::Ready => {}
            ViewState::Building => return Err(SpeedError::Building { view: view.to_owned() }),
            ViewState::NotBuilt => return Err(SpeedError::NotBuilt { view: view.to_owned() }),
            ViewState::Stalled => {
                return Err(SpeedError::Stalled { view: view.to_owned(), bytes_max: self.view_bytes_max });
            }
            ViewState::Failed(reason) => {
                return Err(SpeedError::Failed { view: view.to_owned(), reason: reason.clone() });
            }
        }
        let base = if low.is_none() { lane.base.as_slice() } else { &[] };
        let runs = base.iter().chain(lane.slices[slices].iter().flatten());
        Ok(runs.filter_map(|run| run.views[index].as_ref()).map(|view| view.partials.clone()).collect())
    }

    /// What happened to the records of a source between two edges; zero for a source that is not tailed.
    pub fn source_counts(&self, source: &str, low: &Position, high: Option<&Position>) -> Result<SourceCounts> {
        let slices = self.slices(Some(low), high)?;
        let mut counts = SourceCounts::default();
        if let Some(lane) = self.lanes.get(source) {
            lane.slices[slices].iter().flatten().for_each(|run| counts.merge(&run.counts));
        }
        Ok(counts)
    }

    /// What happened to a view's records above the low edge.
    pub fn view_counts(&self, view: &str) -> Result<ViewCounts> {
        let mut counts = ViewCounts::default();
        for partials in self.view(view, Some(&self.cut), None)? {
            counts.merge(&partials.counts);
        }
        Ok(counts)
    }

    /// Rejected records of a view above the low edge, by place: the first ones (`listed_max` of the options).
    pub fn rejected(&self, view: &str, listed_max: usize) -> Result<Vec<Rejected>> {
        let mut rejected = Vec::new();
        for partials in self.view(view, Some(&self.cut), None)? {
            rejected.extend_from_slice(&partials.rejected);
        }
        rejected.sort_unstable();
        rejected.truncate(listed_max);
        Ok(rejected)
    }

    /// The state and the memory in bytes of every materialized view.
    pub fn views(&self) -> BTreeMap<String, (ViewState, usize)> {
        let mut views = BTreeMap::new();
        for lane in self.lanes.values() {
            for (index, view) in lane.views.iter().enumerate() {
                let runs = lane.base.iter().chain(lane.slices.iter().flatten());
                let bytes = runs.filter_map(|run| run.views[index].as_ref()).map(|view| view.bytes).sum();
                views.insert(view.name.clone(), (view.state.clone(), bytes));
            }
        }
        views
    }

    fn locate(
        &self,
        view: &str,
        low: Option<&Position>,
        high: Option<&Position>,
    ) -> Result<(&LaneSnapshot, usize, Range<usize>)> {
        let slices = self.slices(low, high)?;
        let (lane, index) = self.find(view)?;
        if low.is_none() && lane.views[index].built {
            return Err(SpeedError::NoEdge { position: Position::new() });
        }
        Ok((lane, index, slices))
    }

    fn find(&self, view: &str) -> Result<(&LaneSnapshot, usize)> {
        self.lanes
            .values()
            .find_map(|lane| lane.views.iter().position(|other| other.name == view).map(|index| (lane, index)))
            .ok_or_else(|| SpeedError::UnknownView { view: view.to_owned() })
    }

    /// The slices between two edges.
    fn slices(&self, low: Option<&Position>, high: Option<&Position>) -> Result<Range<usize>> {
        let edge = |position: &Position| {
            let bound = self.bounds.iter().position(|bound| same(bound, position)).map(|index| index + 1);
            bound.or_else(|| same(&self.cut, position).then_some(0))
        };
        let no_edge = |position: &Position| SpeedError::NoEdge { position: position.clone() };
        let begin = low.map_or(Ok(0), |low| edge(low).ok_or_else(|| no_edge(low)))?;
        let end = match high {
            None => self.bounds.len() + 1,
            Some(high) if !self.reaches(high) => return Err(no_edge(high)),
            Some(high) => edge(high).filter(|end| begin <= *end).ok_or_else(|| no_edge(high))?,
        };
        Ok(begin..end)
    }
}
