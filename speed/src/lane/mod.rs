//! A lane: one source's slices, and how far its log has been folded.
//!
//! Invariants: `bounds` ascend, none below `cut`; there is one slice more than bounds; slice `i` holds exactly the records from
//! `bounds[i - 1]` (`cut` for the first) up to `bounds[i]` (none for the last, the open one) that lie below `read`, as
//! contiguous runs in order.

mod advance;
mod compact;
mod rebuild;

use std::{collections::VecDeque, sync::Arc};

use watershed_log::{EventLog, LogError, Offset};
use watershed_pipelines::{
    partial::{CoreKernel, Partials},
    source::Source,
};

use self::compact::Compaction;
use crate::{
    error::Result,
    fold::{Folded, Folder},
    options::SpeedOptions,
    pieces::{Pieces, RecordBytes},
    run::{Offsets, Run, Span, ViewRun, max, min},
    snapshot::ViewState,
};

/// One source's part of the speed layer.
pub(crate) struct Lane {
    pub source: Arc<Source>,
    pub folder: Arc<Folder>,
    pub views: Vec<LaneView>,
    pub options: SpeedOptions,
    pub cut: Offsets,
    pub bounds: Vec<Offsets>,
    pub read: Offsets,
    record_bytes: RecordBytes,
    pub slices: Vec<Vec<Arc<Run>>>,
    pub base: Base,
    /// Whether large merges are left to another thread.
    pub background: bool,
    /// Why the log could not be read: nothing more is folded, and no view can be asked.
    damaged: Option<String>,
    compaction: Option<Compaction>,
}

/// A view's state in its lane.
pub(crate) struct LaneView {
    pub name: String,
    /// Whether the batch side answers for it up to the cut.
    pub built: bool,
    pub status: Status,
}

/// Whether a view's partials are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Kept,
    Stalled,
    NotBuilt,
    Failed(String),
}

/// Partials below the cut, for views without a batch part.
#[derive(Default)]
pub(crate) struct Base {
    /// What is still to be folded.
    pub todo: VecDeque<Span>,
    pub runs: Vec<Arc<Run>>,
}

impl Lane {
    pub fn new(source: &Arc<Source>, views: Vec<(String, CoreKernel)>, cut: Offsets, options: &SpeedOptions) -> Lane {
        let (names, kernels): (Vec<String>, Vec<CoreKernel>) = views.into_iter().unzip();
        Lane {
            source: source.clone(),
            folder: Arc::new(Folder::new(source, kernels)),
            views: names.into_iter().map(|name| LaneView { name, built: true, status: Status::Kept }).collect(),
            options: options.clone(),
            read: cut.clone(),
            record_bytes: RecordBytes::default(),
            cut,
            bounds: Vec::new(),
            slices: vec![Vec::new()],
            base: Base::default(),
            background: false,
            damaged: None,
            compaction: None,
        }
    }

    /// The slice that a record belongs to.
    fn slice_of(&self, partition: usize, offset: Offset) -> usize {
        self.bounds.partition_point(|bound| bound[partition] <= offset)
    }

    /// The part of `span` that lies in one slice.
    fn within(&self, slice: usize, span: &Span) -> Span {
        let low = if slice == 0 { &self.cut } else { &self.bounds[slice - 1] };
        let clamp = |offsets: &Offsets| {
            let above = max(offsets, low);
            self.bounds.get(slice).map_or(above.clone(), |bound| min(&above, bound))
        };
        Span { low: clamp(&span.low), high: clamp(&span.high) }
    }

    /// Views that are kept.
    pub fn kept(&self) -> Vec<bool> {
        self.views.iter().map(|view| view.status == Status::Kept).collect()
    }

    /// Folds records up to `head`, but no more than a step's worth, and of one slice only. Returns whether it did anything, and
    /// whether there is more.
    pub fn pull(&mut self, log: &dyn EventLog, head: &[Offset]) -> Result<Pulled> {
        self.adopt_compaction();
        let unread = (0..head.len()).filter(|&partition| self.read[partition] < head[partition]);
        let lowest = unread.map(|partition| self.slice_of(partition, self.read[partition])).min();
        let Some(slice) = lowest.filter(|_| self.damaged.is_none()) else { return Ok(Pulled::default()) };
        let to = self.bounds.get(slice).map_or(head.to_vec(), |bound| min(bound, head));
        let span = Span { low: self.read.clone(), high: max(&self.read, &to) };
        let (taken, folded) = self.fold_some(log, &span, &self.kept())?;
        self.read.clone_from(&taken.high);
        let run = self.run(self.within(slice, &taken), folded);
        self.push(slice, run);
        Ok(Pulled { some: true, more: self.read.iter().zip(head).any(|(read, head)| read < head) })
    }

    /// Folds a span from its low end on, about a step's worth of bytes at most. Returns how far it came.
    fn fold_some(&mut self, log: &dyn EventLog, span: &Span, wanted: &[bool]) -> Result<(Span, Folded)> {
        let pieces = Pieces::new(log, &self.source.name, span, self.options.step_bytes_max, self.record_bytes);
        let folded = self.folder.fold(&pieces, wanted)?;
        Ok((pieces.finish(&mut self.record_bytes), folded))
    }

    /// Records of this source cannot be read: its views cannot be asked until the cut lies above. Other sources go on.
    pub fn fail(&mut self, error: &LogError) -> Pulled {
        tracing::error!(source = self.source.name, %error, "a source's records cannot be read; its views cannot be asked");
        self.damaged = Some(error.to_string());
        Pulled { some: true, more: false }
    }

    /// A run of what was folded; a view whose kernel failed is not kept from here on.
    fn run(&mut self, span: Span, folded: Folded) -> Run {
        let mut views = Vec::with_capacity(folded.views.len());
        for (view, partials) in self.views.iter_mut().zip(folded.views) {
            views.push(match partials {
                Some(Ok(partials)) => Some(ViewRun::new(partials, self.options.listed_max)),
                Some(Err(error)) => {
                    tracing::error!(view = view.name, %error, "a view's kernel failed; the view is not kept");
                    view.status = Status::Failed(error.to_string());
                    None
                }
                None => None,
            });
        }
        Run { span, counts: folded.counts, views }
    }

    fn push(&mut self, slice: usize, run: Run) {
        let mut runs = std::mem::take(&mut self.slices[slice]);
        runs.push(Arc::new(run));
        self.compact(&mut runs);
        self.slices[slice] = runs;
    }

    /// Stops keeping views that failed or have reached their memory bound. Returns the most memory a view takes, or would take
    /// if it were not stalled.
    pub fn check_memory(&mut self) -> usize {
        let mut most = 0;
        for index in 0..self.views.len() {
            let bytes: usize = self.all_runs().filter_map(|run| run.views[index].as_ref()).map(|view| view.bytes).sum();
            let view = &mut self.views[index];
            if view.status == Status::Kept && bytes > self.options.view_bytes_max {
                tracing::warn!(view = view.name, bytes, "the view reached its memory bound and is stalled");
                view.status = Status::Stalled;
            }
            most = most.max(if view.status == Status::Stalled { self.options.view_bytes_max } else { bytes });
            if view.status != Status::Kept && bytes > 0 {
                self.forget(index);
            }
        }
        most
    }

    fn all_runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.base.runs.iter().chain(self.slices.iter().flatten())
    }

    /// Drops a view's partials everywhere.
    fn forget(&mut self, view: usize) {
        for run in self.base.runs.iter_mut().chain(self.slices.iter_mut().flatten()) {
            Arc::make_mut(run).views[view] = None;
        }
    }

    /// See [`SpeedLayer::replace_slices_for_tests`](crate::SpeedLayer::replace_slices_for_tests).
    pub fn replace_slices_for_tests(&mut self, view: &str, replace: &dyn Fn(&CoreKernel, &Partials) -> Partials) {
        let Some(index) = self.views.iter().position(|known| known.name == view) else { return };
        let kernel = self.folder.kernels()[index].clone();
        for run in self.slices.iter_mut().flatten() {
            if let Some(kept) = &mut Arc::make_mut(run).views[index] {
                kept.partials = Arc::new(replace(&kernel, &kept.partials));
            }
        }
    }

    /// What readers are told about a view.
    pub fn state(&self, index: usize) -> ViewState {
        let view = &self.views[index];
        let lacks = |run: &Arc<Run>| run.views[index].is_none();
        if let Some(reason) = &self.damaged {
            return ViewState::Failed(reason.clone());
        }
        match &view.status {
            Status::Stalled => ViewState::Stalled,
            Status::NotBuilt => ViewState::NotBuilt,
            Status::Failed(reason) => ViewState::Failed(reason.clone()),
            Status::Kept if !view.built && (!self.base.todo.is_empty() || self.base.runs.iter().any(lacks)) => {
                ViewState::Building
            }
            Status::Kept if self.slices.iter().flatten().any(lacks) => ViewState::Building,
            Status::Kept => ViewState::Ready,
        }
    }
}

/// What a pull did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulled {
    pub some: bool,
    pub more: bool,
}
